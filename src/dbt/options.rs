//! The form of dbt's command line as a table, one table a dbt version.
#![forbid(unsafe_code)]

/// One option of one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt {
    /// dbt's own name for it: `target`, `profiles_dir`.
    pub name: &'static str,
    /// All spellings that take a value or switch it on.
    pub opts: &'static [&'static str],
    /// The spellings that switch a flag off: `--no-…`.
    pub off: &'static [&'static str],
    /// Whether words follow.
    pub kind: Kind,
    /// What click checks of the value.
    pub accepts: Accepts,
    /// Its environment variables, the first that is not empty wins.
    pub variables: &'static [&'static str],
}

/// How many words an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None.
    Flag,
    /// One, whatever it looks like.
    Value,
    /// One, whatever it looks like, and all that follow up to one that begins with `-`.
    Greedy,
}

/// What click checks of an option's value before dbt sees it. Only what we can check as surely as click does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Anything, or something that only dbt can judge.
    Any,
    /// Python's `int()`.
    Int,
    /// click's truth words.
    Bool,
    /// A path that exists.
    Existing,
    /// One of these words, as it is written.
    Choice(&'static [&'static str]),
    /// One of these words, in capitals or not; each word of a greedy option must be one.
    Word(&'static [&'static str]),
    /// A window of time: `3 days`, or a mapping.
    Sample,
}

/// A command or a group of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// `[]` for dbt itself, `["docs", "generate"]`.
    pub words: &'static [&'static str],
    /// Whether a further command must follow.
    pub group: bool,
    /// Whether a group may stand without one: it then does nothing.
    pub alone: bool,
    /// How many positional words it takes at most.
    pub arguments: usize,
    /// How many of them it needs.
    pub required: usize,
    /// Its options, `--help` and `-h` aside, which every command has.
    pub options: Options,
}

/// Some of a version's options.
///
/// By their numbers: most commands have most options, and each reference in a table costs every process of ours memory of its own, since
/// the loader must write the address that it has by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// All options of the version.
    pub of: &'static [Opt],
    /// Which of them.
    pub which: &'static [u8],
}

impl Options {
    /// The options.
    pub fn iter(self) -> impl Iterator<Item = &'static Opt> {
        self.which
            .iter()
            .map(move |number| &self.of[usize::from(*number)])
    }
}

impl Command {
    /// The option that is spelt like this.
    pub fn option(&self, spelling: &str) -> Option<&'static Opt> {
        self.options
            .iter()
            .find(|option| option.opts.contains(&spelling) || option.off.contains(&spelling))
    }

    /// The option of this name.
    pub fn named(&self, name: &str) -> Option<&'static Opt> {
        self.options.iter().find(|option| option.name == name)
    }
}
