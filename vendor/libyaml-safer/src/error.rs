pub type Result<T, E = Error> = core::result::Result<T, E>;

/// The pointer position.
#[derive(Copy, Clone, Default, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The position index, in characters.
    pub index: u64,
    /// The position line, from 0.
    pub line: u64,
    /// The position column, from 0, in characters.
    pub column: u64,
}

impl core::fmt::Display for Mark {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "line {} column {}", self.line + 1, self.column + 1)
    }
}

/// Which part found the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A character that YAML does not allow at all.
    Reader,
    /// No token can be made of the characters.
    Scanner,
    /// The tokens are in no order that YAML knows.
    Parser,
    /// Deeper nested than [`crate::MAX_NESTING`], or too many directives.
    Nesting,
    /// The state of scanner or parser is one that cannot be: a defect of this crate.
    Bug,
}

/// What is wrong and where. It holds no text of the input.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    problem: &'static str,
    problem_mark: Mark,
    context: &'static str,
    context_mark: Mark,
}

impl Error {
    fn without_context(kind: ErrorKind, problem: &'static str, problem_mark: Mark) -> Self {
        Self {
            kind,
            problem,
            problem_mark,
            context: "",
            context_mark: Mark::default(),
        }
    }

    pub(crate) fn reader(problem: &'static str, mark: Mark) -> Self {
        Self::without_context(ErrorKind::Reader, problem, mark)
    }

    pub(crate) fn nesting(mark: Mark) -> Self {
        Self::without_context(ErrorKind::Nesting, "exceeded the limit of nesting", mark)
    }

    pub(crate) fn bug(mark: Mark) -> Self {
        Self::without_context(ErrorKind::Bug, "reached a state that cannot be", mark)
    }

    pub(crate) fn scanner(
        context: &'static str,
        context_mark: Mark,
        problem: &'static str,
        problem_mark: Mark,
    ) -> Self {
        Self {
            kind: ErrorKind::Scanner,
            problem,
            problem_mark,
            context,
            context_mark,
        }
    }

    pub(crate) fn parser(
        context: &'static str,
        context_mark: Mark,
        problem: &'static str,
        problem_mark: Mark,
    ) -> Self {
        Self {
            kind: ErrorKind::Parser,
            problem,
            problem_mark,
            context,
            context_mark,
        }
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where it was found.
    pub fn problem_mark(&self) -> Mark {
        self.problem_mark
    }

    /// Where the thing begins that was being read.
    pub fn context_mark(&self) -> Option<Mark> {
        (!self.context.is_empty()).then_some(self.context_mark)
    }

    /// libyaml's words.
    pub fn problem(&self) -> &'static str {
        self.problem
    }

    /// libyaml's words for what was being read.
    pub fn context(&self) -> Option<&'static str> {
        (!self.context.is_empty()).then_some(self.context)
    }
}

impl std::error::Error for Error {}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.problem_mark, self.problem)?;
        match self.context() {
            Some(context) => write!(f, " {context} ({})", self.context_mark),
            None => Ok(()),
        }
    }
}
