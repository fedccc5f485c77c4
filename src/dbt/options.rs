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
    /// A path.
    Path(Wanted),
    /// A YAML mapping.
    Mapping,
    /// A date, with a time or without.
    Moment,
    /// One of these words, as it is written.
    Choice(&'static [&'static str]),
    /// One of these words, in capitals or not; each word of a greedy option must be one.
    Word(&'static [&'static str]),
    /// A window of time: `3 days`, or a mapping.
    Sample,
}

/// What click wants of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether it must be there.
    pub exists: bool,
    /// Whether it may be a file.
    pub file: bool,
    /// Whether it may be a directory.
    pub directory: bool,
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

/// Some of a version's options, by their numbers: most commands have most options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// All options of the version.
    pub of: &'static [Opt],
    /// Which of them.
    pub which: &'static [u8],
}

/// A version's command line.
///
/// It lies in the program as text, and is read where it is wanted: a table of references would cost each process of ours memory of its own
/// for every version, since the loader must write the addresses that it has by then; the janitor wants none of them.
#[derive(Debug)]
pub struct Table {
    /// Every command and group, `dbt` itself first.
    pub commands: &'static [Command],
    /// `(DBT_ENGINE_X, DBT_X)`: what dbt takes for one variable in env_var().
    pub twins: &'static [(&'static str, &'static str)],
}

impl Table {
    /// Reads the form that tests/differential/options.py writes. What it gives lives as long as the process.
    ///
    /// # Panics
    /// The text is not of that form.
    pub fn read(text: &'static str) -> Self {
        let mut parts = text
            .split("\n\n")
            .map(|part| part.lines().filter(|line| !line.is_empty()));
        let mut part = || parts.next().into_iter().flatten();
        let of: &[Opt] = part().map(option).collect::<Vec<_>>().leak();
        Self {
            commands: part()
                .map(|line| command(line, of))
                .collect::<Vec<_>>()
                .leak(),
            twins: part()
                .map(|line| line.split_once(' ').expect("a twin has two names"))
                .collect::<Vec<_>>()
                .leak(),
        }
    }
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

/// `name|kind|accepts|opts|off|variables`
fn option(line: &'static str) -> Opt {
    let [name, kind, accepts, opts, off, variables] = fields(line);
    Opt {
        name,
        opts: words(opts),
        off: words(off),
        kind: match kind {
            "Flag" => Kind::Flag,
            "Greedy" => Kind::Greedy,
            _ => Kind::Value,
        },
        accepts: match accepts.split_once(' ').unwrap_or((accepts, "")) {
            ("Choice", choices) => Accepts::Choice(words(choices)),
            ("Word", choices) => Accepts::Word(words(choices)),
            ("Int", _) => Accepts::Int,
            ("Bool", _) => Accepts::Bool,
            ("Path", forms) => Accepts::Path(Wanted {
                exists: forms.contains("existing"),
                file: forms.contains("file"),
                directory: forms.contains("directory"),
            }),
            ("Mapping", _) => Accepts::Mapping,
            ("Moment", _) => Accepts::Moment,
            ("Sample", _) => Accepts::Sample,
            _ => Accepts::Any,
        },
        variables: words(variables),
    }
}

/// `words|group alone|arguments|required|numbers of options`
fn command(line: &'static str, of: &'static [Opt]) -> Command {
    let [spelt, form, arguments, required, which] = fields(line);
    let form = words(form);
    let number = |digits: &str| {
        digits
            .parse()
            .expect("a table has numbers where they belong")
    };
    Command {
        words: words(spelt),
        group: form.contains(&"group"),
        alone: form.contains(&"alone"),
        arguments: usize::from(number(arguments)),
        required: usize::from(number(required)),
        options: Options {
            of,
            which: which
                .split_whitespace()
                .map(number)
                .collect::<Vec<u8>>()
                .leak(),
        },
    }
}

fn fields<const N: usize>(line: &'static str) -> [&'static str; N] {
    let mut fields = line.split('|');
    std::array::from_fn(|_| fields.next().expect("a table's line has all its fields"))
}

fn words(text: &'static str) -> &'static [&'static str] {
    text.split_whitespace().collect::<Vec<_>>().leak()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_its_text_says() {
        let table = Table::read(
            "\
debug|Flag|Any|--debug -d|--no-debug|DBT_ENGINE_DEBUG DBT_DEBUG
output|Value|Choice json text|--output||
threads|Greedy|Int|--threads||

|group alone|0|0|0
docs serve||2|1|2 0

DBT_ENGINE_DEBUG DBT_DEBUG
",
        );
        let [dbt, serve] = table.commands else {
            panic!("{:?}", table.commands);
        };
        assert_eq!((dbt.words, dbt.group, dbt.alone), (&[][..], true, true));
        assert_eq!(
            (serve.words, serve.group, serve.arguments, serve.required),
            (&["docs", "serve"][..], false, 2, 1)
        );
        let names: Vec<&str> = serve.options.iter().map(|option| option.name).collect();
        assert_eq!(names, ["threads", "debug"]);
        let debug = dbt.option("--no-debug").expect("there");
        assert_eq!((debug.kind, debug.accepts), (Kind::Flag, Accepts::Any));
        assert_eq!(debug.opts, ["--debug", "-d"]);
        assert_eq!(debug.variables, ["DBT_ENGINE_DEBUG", "DBT_DEBUG"]);
        let all = serve.options.of;
        assert_eq!(all[1].accepts, Accepts::Choice(&["json", "text"]));
        assert_eq!((all[2].kind, all[2].accepts), (Kind::Greedy, Accepts::Int));
        assert_eq!(table.twins, [("DBT_ENGINE_DEBUG", "DBT_DEBUG")]);
    }
}
