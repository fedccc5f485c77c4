//! dbt's own words, read as dbt's click reads them (facts dbt B6), from the table of [`super::options`].
//!
//! click's parser is small and peculiar: an option's value may begin with `-`, `-t=prod` means the target `=prod`, and a
//! greedy option eats words up to the next that begins with `-`. This is that parser (click 8, `click/parser.py` and dbt's
//! `MultiOption`), without the parts that dbt does not use.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use super::accepted::fits;
use super::options::{Command, Kind, Opt};

/// What dbt makes of its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A command with its options.
    Command(Invocation),
    /// Nothing that reads a project: help, the version, no command at all.
    Nothing,
    /// click refuses them, for this reason, and dbt ends with exit code 2 before it reads anything.
    Usage(String),
}

/// A dbt command with the options it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Which command.
    pub command: &'static Command,
    /// The options as they were given, in order.
    pub given: Vec<Given>,
}

/// One option as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which option.
    pub option: &'static Opt,
    /// Its value; the first word of a greedy one.
    pub value: Option<String>,
    /// The further words of a greedy one.
    pub more: Vec<String>,
    /// Whether a flag was switched on, not off.
    pub on: bool,
    /// How deep in `dbt GROUP COMMAND` it stood: 0 is before the subcommand.
    depth: usize,
    /// The places of its words among dbt's words.
    places: Vec<usize>,
}

impl Invocation {
    /// Whether an option was given there: 0 is before the subcommand.
    pub fn is_given(&self, name: &str, depth: usize) -> bool {
        self.given
            .iter()
            .any(|given| given.depth == depth && given.option.name == name)
    }

    /// The value that an option was given there; the last one counts.
    pub fn value_at(&self, name: &str, depth: usize) -> Option<&str> {
        self.given
            .iter()
            .rev()
            .find(|given| given.depth == depth && given.option.name == name)?
            .value
            .as_deref()
    }

    /// The value that an option was given; the last one counts.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.given
            .iter()
            .rev()
            .find(|given| given.option.name == name)?
            .value
            .as_deref()
    }

    /// Whether a flag was switched on.
    pub fn flag(&self, name: &str) -> bool {
        self.given
            .iter()
            .rev()
            .find(|given| given.option.name == name)
            .is_some_and(|given| given.on)
    }

    /// The places, among dbt's words, of every word that belongs to an option of this name.
    pub fn places(&self, name: &str) -> impl Iterator<Item = usize> {
        self.given
            .iter()
            .filter(move |given| given.option.name == name)
            .flat_map(|given| given.places.iter().copied())
    }
}

/// Reads dbt's words (without the program) by a table of commands, whose first entry is dbt itself.
pub fn read(words: &[String], commands: &'static [Command]) -> Reading {
    let mut given = Vec::new();
    let mut rest: VecDeque<Word> = words
        .iter()
        .enumerate()
        .map(|(place, text)| Word {
            text: text.clone(),
            place,
        })
        .collect();
    let Some(mut command) = commands.first() else {
        return Reading::Nothing;
    };
    let mut depth = 0;
    loop {
        if command.group && rest.is_empty() {
            return Reading::Nothing;
        }
        let mut parser = Parser {
            command,
            depth,
            rest,
            given: Vec::new(),
            positional: VecDeque::new(),
        };
        match parser.run() {
            Err(usage) => return Reading::Usage(usage),
            Ok(Asked::Help) => return Reading::Nothing,
            Ok(Asked::Command) => {}
        }
        given.append(&mut parser.given);
        rest = parser.positional;
        if !command.group {
            if rest.len() > command.arguments {
                let extra = rest
                    .get(command.arguments)
                    .map(|word| word.text.as_str())
                    .unwrap_or_default();
                return Reading::Usage(format!("got unexpected extra argument `{extra}`"));
            }
            if rest.len() < command.required {
                return Reading::Usage("missing argument".to_owned());
            }
            break;
        }
        let Some(word) = rest.pop_front() else {
            return if command.alone {
                Reading::Nothing
            } else {
                Reading::Usage("missing command".to_owned())
            };
        };
        let inner = commands.iter().find(|candidate| {
            candidate
                .words
                .split_last()
                .is_some_and(|(last, outer)| *last == word.text && outer == command.words)
        });
        match inner {
            Some(inner) => command = inner,
            None => {
                // click reads an option in the command's place (`dbt -- --version`) once more as one.
                rest.push_front(word.clone());
                let mut parser = Parser {
                    command,
                    depth,
                    rest,
                    given: Vec::new(),
                    positional: VecDeque::new(),
                };
                return match parser.run() {
                    Ok(Asked::Help) if word.text.starts_with('-') => Reading::Nothing,
                    _ => Reading::Usage(format!("no such command `{}`", word.text)),
                };
            }
        }
        depth += 1;
    }
    match refused(&given) {
        Some(usage) => Reading::Usage(usage),
        None => Reading::Command(Invocation { command, given }),
    }
}

/// What dbt refuses after click's own parser: an option on both sides of the subcommand, a value of the wrong type.
fn refused(given: &[Given]) -> Option<String> {
    for (at, one) in given.iter().enumerate() {
        let name = one.option.name;
        if given[..at]
            .iter()
            .any(|other| other.option.name == name && other.depth != one.depth)
        {
            return Some(format!(
                "`{name}` was given both before and after the subcommand"
            ));
        }
        if name.starts_with("deprecated_") {
            return Some(format!(
                "`{name}` can only be set by an environment variable"
            ));
        }
        let Some(value) = one.value.as_deref() else {
            continue;
        };
        let unfit = if one.option.kind == Kind::Greedy {
            // Every occurrence counts, and dbt splits the first word of each.
            value
                .split(' ')
                .chain(one.more.iter().map(String::as_str))
                .find(|word| !fits(one.option.accepts, word))
        } else {
            let last = !given[at + 1..]
                .iter()
                .any(|other| other.option.name == name);
            Some(value).filter(|value| last && !fits(one.option.accepts, value))
        };
        if let Some(value) = unfit {
            return Some(format!(
                "`{value}` is not a value for `{}`",
                one.option.opts[0]
            ));
        }
    }
    None
}

/// A word, or the glued rest of one, with its place among dbt's words.
#[derive(Clone, Debug)]
struct Word {
    text: String,
    place: usize,
}

/// What the options of one level ask for.
enum Asked {
    /// Help or the version: click prints it and ends.
    Help,
    /// To go on.
    Command,
}

/// click's parser for one level of `dbt GROUP COMMAND`.
struct Parser {
    command: &'static Command,
    depth: usize,
    rest: VecDeque<Word>,
    given: Vec<Given>,
    positional: VecDeque<Word>,
}

impl Parser {
    fn run(&mut self) -> Result<Asked, String> {
        let mut help = false;
        while let Some(word) = self.rest.pop_front() {
            if word.text == "--" {
                break;
            }
            if word.text.starts_with('-') && word.text.len() > 1 {
                help |= self.option(word)?;
            } else if self.command.group {
                // The first word that is no option is the command; what follows is the command's.
                self.rest.push_front(word);
                break;
            } else {
                self.positional.push_back(word);
            }
        }
        self.positional.append(&mut self.rest);
        Ok(if help { Asked::Help } else { Asked::Command })
    }

    /// One word that begins with `-`; whether it asks for help.
    fn option(&mut self, word: Word) -> Result<bool, String> {
        let (spelling, glued) = match word.text.split_once('=') {
            Some((spelling, value)) => (spelling.to_owned(), Some(value.to_owned())),
            None => (word.text.clone(), None),
        };
        if spelling == "--help" {
            return match glued {
                Some(_) => Err("option `--help` does not take a value".to_owned()),
                None => Ok(true),
            };
        }
        // click's long options are all that have more than one character after the prefix.
        let long = spelling
            .strip_prefix("--")
            .is_some_and(|name| !name.is_empty());
        if long {
            let option = self
                .command
                .option(&spelling)
                .ok_or_else(|| format!("no such option `{spelling}`"))?;
            if option.kind == Kind::Flag {
                if glued.is_some() {
                    return Err(format!("option `{spelling}` does not take a value"));
                }
                return Ok(self.push(
                    option,
                    !option.off.contains(&spelling.as_str()),
                    None,
                    Vec::new(),
                    vec![word.place],
                ));
            }
            if let Some(value) = glued {
                self.rest.push_front(Word {
                    text: value,
                    place: word.place,
                });
            }
            return self.take(option, &spelling, word.place);
        }
        if word.text.starts_with("--") {
            return Err(format!("no such option `{}`", word.text));
        }
        self.bundle(&word)
    }

    /// Short options in one word: `-xtprod`.
    fn bundle(&mut self, word: &Word) -> Result<bool, String> {
        let mut help = false;
        let mut characters = word.text.char_indices().skip(1).peekable();
        while let Some((_, character)) = characters.next() {
            let spelling = format!("-{character}");
            let Some(option) = self.command.option(&spelling) else {
                if character == 'h' {
                    help = true;
                    continue;
                }
                return Err(format!("no such option `{spelling}`"));
            };
            if option.kind == Kind::Flag {
                help |= self.push(option, true, None, Vec::new(), vec![word.place]);
                continue;
            }
            if let Some((at, _)) = characters.peek() {
                self.rest.push_front(Word {
                    text: word.text[*at..].to_owned(),
                    place: word.place,
                });
            }
            return Ok(self.take(option, &spelling, word.place)? || help);
        }
        Ok(help)
    }

    /// Takes the value of an option from the words that follow.
    fn take(&mut self, option: &'static Opt, spelling: &str, place: usize) -> Result<bool, String> {
        let value = self
            .rest
            .pop_front()
            .ok_or_else(|| format!("option `{spelling}` requires an argument"))?;
        let mut places = vec![place];
        if value.place != place {
            places.push(value.place);
        }
        let mut more = Vec::new();
        if option.kind == Kind::Greedy {
            while let Some(word) = self.rest.pop_front_if(|word| !word.text.starts_with('-')) {
                places.push(word.place);
                more.push(word.text);
            }
        }
        Ok(self.push(option, true, Some(value.text), more, places))
    }

    /// Keeps an option; whether it is `--version`, which ends like help.
    fn push(
        &mut self,
        option: &'static Opt,
        on: bool,
        value: Option<String>,
        more: Vec<String>,
        places: Vec<usize>,
    ) -> bool {
        self.given.push(Given {
            option,
            value,
            more,
            on,
            depth: self.depth,
            places,
        });
        option.name == "version"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Reading, read};
    use crate::dbt::options_1_12::TABLE;

    fn reading(line: &str) -> Reading {
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| word.trim_matches('\'').to_owned())
            .collect();
        read(&words, TABLE.commands)
    }

    fn target(line: &str) -> Option<String> {
        match reading(line) {
            Reading::Command(invocation) => invocation.value("target").map(str::to_owned),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_target_is_read_in_every_spelling() {
        for line in [
            "run --target prod",
            "run --target=prod",
            "run -t prod",
            "run -tprod",
            "run -xtprod",
            "run -xt prod",
            "-t prod run",
            "-dt prod run",
            "-- run -t prod",
            "docs -t prod generate",
            "run -t dev -t prod",
        ] {
            assert_eq!(target(line).as_deref(), Some("prod"), "{line}");
        }
    }

    #[test]
    fn an_equals_sign_after_a_short_option_belongs_to_the_value() {
        assert_eq!(target("run -t=prod").as_deref(), Some("=prod"));
    }

    #[test]
    fn a_value_may_look_like_an_option() {
        assert_eq!(target("run -t --profile").as_deref(), Some("--profile"));
        // --vars takes `-t`, so `prod` is an extra word.
        assert!(matches!(reading("run --vars -t prod"), Reading::Usage(_)));
        assert!(matches!(reading("run --vars -t -t dev"), Reading::Usage(_)));
        assert_eq!(target("run --log-path -t -t dev").as_deref(), Some("dev"));
    }

    #[test]
    fn a_greedy_option_eats_words_but_not_options() {
        assert_eq!(target("run -s a b c -t prod").as_deref(), Some("prod"));
        assert_eq!(target("run -s -t prod"), None);
        assert_eq!(target("run --select=a b -t prod").as_deref(), Some("prod"));
        assert_eq!(target("init -s -t prod").as_deref(), Some("prod"));
    }

    #[test]
    fn what_click_refuses_is_a_usage_error() {
        for line in [
            "run --tar prod",
            "run -t",
            "bogus",
            "-t a run -t b",
            "run -- -t prod",
            "run extra",
            "--profiles-dir x run",
            "run --threads four",
            "run --log-level loud",
            "run --debug=1",
            "docs -x",
            "run --deprecated-state x",
            "build --resource-type all returns",
            "build --resource-type model --resource-type x --resource-type test",
            "run --sample 3",
            "run --sample 3_days",
            "run --vars 5",
            "run-operation m --args [1]",
            "run --event-time-start 2024-02-30",
        ] {
            assert!(
                matches!(reading(line), Reading::Usage(_)),
                "{line}: {:?}",
                reading(line)
            );
        }
    }

    #[test]
    fn help_and_version_and_no_command_read_nothing() {
        for line in [
            "",
            "--version",
            "-h",
            "run --help",
            "-t prod",
            "--",
            "docs",
            "run -xh",
            "docs generate -h",
        ] {
            assert_eq!(reading(line), Reading::Nothing, "{line}");
        }
    }

    #[test]
    fn the_places_of_an_option_are_all_its_words() {
        let Reading::Command(invocation) =
            reading("run --profiles-dir a -x --profiles-dir=b --state --profiles-dir")
        else {
            panic!("not read");
        };
        assert_eq!(
            invocation.places("profiles_dir").collect::<Vec<_>>(),
            [1, 2, 4]
        );
    }

    proptest! {
        #[test]
        fn no_words_make_it_panic(words in prop::collection::vec("(-|--|-t|-s|run|docs|--target|--vars|[-=a-zé]{0,6})", 0..8)) {
            let _ = read(&words, TABLE.commands);
        }
    }
}
