//! Which program a command is: dbt in one of its forms, or another (DESIGN, "The command line").
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::error::DbtError;
use crate::variables::Variables;

/// What a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// dbt, whose own words begin at this place.
    Dbt {
        /// The place of the first word after dbt.
        words: usize,
        /// dbtf, whose command line is Fusion's: alike, but not the same.
        fusion: bool,
    },
    /// Any other program.
    Other,
}

/// The module of dbt that is a program.
pub(super) const MODULE: &str = "dbt.cli.main";

/// Programs that run the command that they are given.
const LAUNCHERS: &[&str] = &[
    "asdf",
    "aws-vault",
    "chamber",
    "chpst",
    "chronic",
    "conda",
    "coverage",
    "ddtrace-run",
    "devbox",
    "direnv",
    "doas",
    "doppler",
    "dotenv",
    "dumb-init",
    "entr",
    "env",
    "flock",
    "gosu",
    "hatch",
    "infisical",
    "ionice",
    "ltrace",
    "mamba",
    "memray",
    "micromamba",
    "mise",
    "newrelic-admin",
    "nice",
    "nix",
    "nohup",
    "op",
    "opentelemetry-instrument",
    "parallel",
    "pdm",
    "pipenv",
    "pipx",
    "pixi",
    "poetry",
    "prlimit",
    "proxychains",
    "proxychains4",
    "py",
    "py-spy",
    "pyenv",
    "pypy",
    "pypy3",
    "runuser",
    "rye",
    "s6-setuidgid",
    "scalene",
    "setpriv",
    "setsid",
    "sops",
    "stdbuf",
    "strace",
    "su-exec",
    "sudo",
    "summon",
    "systemd-run",
    "taskset",
    "teller",
    "time",
    "timeout",
    "tini",
    "unbuffer",
    "unshare",
    "uv",
    "uvx",
    "valgrind",
    "watchexec",
    "xargs",
];

/// Options of `uv run` that take no value and leave the command's variables and directory alone.
const UV_FLAGS: &[&str] = &[
    "--active",
    "--all-extras",
    "--all-groups",
    "--all-packages",
    "--exact",
    "--frozen",
    "--isolated",
    "--locked",
    "--no-cache",
    "--no-default-groups",
    "--no-dev",
    "--no-editable",
    "--no-env-file",
    "--no-progress",
    "--no-project",
    "--no-sync",
    "--offline",
    "--only-dev",
    "--quiet",
    "-q",
    "--verbose",
    "-v",
];

/// Options of `uv run` with a value that change what is installed, and leave the command's variables and directory alone.
const UV_VALUES: &[&str] = &[
    "--extra",
    "--group",
    "--no-extra",
    "--no-group",
    "--only-group",
    "--package",
    "--project",
    "--python",
    "-p",
    "--with",
    "--with-editable",
    "--with-requirements",
];

/// Options of poetry itself that leave the command's variables and directory alone.
const POETRY_FLAGS: &[&str] = &[
    "--ansi",
    "--no-ansi",
    "--no-cache",
    "--no-interaction",
    "--no-plugins",
    "--quiet",
    "--verbose",
    "-n",
    "-q",
    "-v",
    "-vv",
    "-vvv",
];

/// Letters of Python that take no value and leave the script's words alone; they may stand together.
const PYTHON_FLAGS: &str = "BEIOPbdqsuv";

/// Tells what a command is. `told` is whether our own options name the target: they then decide for a launcher too.
///
/// # Errors
/// A launcher that visibly runs dbt, in a form that we cannot read.
pub(super) fn recognise(
    command: &[OsString],
    variables: &Variables,
    told: bool,
) -> Result<Program, DbtError> {
    let Some(first) = command.first() else {
        return Ok(Program::Other);
    };
    let found = match name(first) {
        "dbt" | "dbt-ol" => Some((1, false)),
        "dbtf" => Some((1, true)),
        "uv" => uv_run(command, variables),
        "poetry" => poetry_run(command),
        program if is_python(program) => python(command, 1),
        _ => None,
    };
    match found {
        Some((words, _)) if is_lineage(command, words) => Err(unreadable(
            command,
            words,
            "`--consume-structured-logs` is dbt-ol's own, and where it stands changes what dbt reads",
        )),
        Some((words, fusion)) => Ok(Program::Dbt { words, fusion }),
        None => match visible(command) {
            Some(place) if !told => Err(unreadable(
                command,
                place + 1,
                "the words before it are not known to us",
            )),
            _ => Ok(Program::Other),
        },
    }
}

/// dbt itself, or Python with it, at this place.
fn direct(command: &[OsString], place: usize) -> Option<(usize, bool)> {
    match name(command.get(place)?) {
        "dbt" | "dbt-ol" => Some((place + 1, false)),
        "dbtf" => Some((place + 1, true)),
        program if is_python(program) => python(command, place + 1),
        _ => None,
    }
}

/// `python [FLAGS] -m dbt.cli.main`, in one word or two, or `python [FLAGS] …/dbt`.
fn python(command: &[OsString], mut place: usize) -> Option<(usize, bool)> {
    loop {
        let word = command.get(place)?.to_str()?;
        place += 1;
        let Some(letters) = word.strip_prefix('-') else {
            return (name(OsStr::new(word)) == "dbt").then_some((place, false));
        };
        let rest = letters.trim_start_matches(|letter| PYTHON_FLAGS.contains(letter));
        let mut rest = rest.chars();
        // The value stands behind the letter or in the next word.
        let (letter, attached) = (rest.next(), rest.as_str());
        match letter {
            None if letters.is_empty() => return None,
            None => {}
            Some('W' | 'X') if attached.is_empty() => place += 1,
            Some('W' | 'X') => {}
            Some('m') if attached.is_empty() => {
                return (command.get(place)? == MODULE).then_some((place + 1, false));
            }
            Some('m') => return (attached == MODULE).then_some((place, false)),
            Some(_) => return None,
        }
    }
}

/// `poetry [FLAGS] run dbt`.
fn poetry_run(command: &[OsString]) -> Option<(usize, bool)> {
    let mut place = 1;
    while POETRY_FLAGS.contains(&command.get(place)?.to_str()?) {
        place += 1;
    }
    (command.get(place)? == "run").then(|| direct(command, place + 1))?
}

/// `uv run [OPTIONS] [--] dbt`. An env file would give dbt variables that we do not see, a working
/// directory another place.
fn uv_run(command: &[OsString], variables: &Variables) -> Option<(usize, bool)> {
    let elsewhere = ["UV_ENV_FILE", "UV_WORKING_DIRECTORY", "UV_WORKING_DIR"];
    if command.get(1)? != "run" || elsewhere.iter().any(|name| variables.os(name).is_some()) {
        return None;
    }
    let mut place = 2;
    loop {
        let word = command.get(place)?.to_str()?;
        if matches!(word, "-m" | "--module") {
            return (command.get(place + 1)? == MODULE).then_some((place + 2, false));
        }
        place += match word {
            _ if UV_FLAGS.contains(&word) => 1,
            _ if UV_VALUES.contains(&word) => 2,
            _ if word.starts_with("--") && changes_what_is_installed(word) => 1,
            _ => break,
        };
    }
    if command.get(place)? == "--" {
        place += 1;
    }
    direct(command, place)
}

/// Whether a word is an option of `uv run` after which it is not known which dbt is installed.
pub(super) fn changes_what_is_installed(word: &str) -> bool {
    UV_VALUES.contains(&word.split('=').next().unwrap_or_default())
}

/// Whether it is dbt-ol with its own option among dbt's words.
fn is_lineage(command: &[OsString], words: usize) -> bool {
    command
        .get(words - 1)
        .is_some_and(|program| name(program) == "dbt-ol")
        && command[words..]
            .iter()
            .any(|word| word.as_encoded_bytes().starts_with(b"--consume"))
}

/// The place of dbt among a launcher's words.
fn visible(command: &[OsString]) -> Option<usize> {
    let program = name(command.first()?);
    // `python3.14t`, `python3-config`: whatever is called so.
    if !LAUNCHERS.contains(&program) && !program.starts_with("python") {
        return None;
    }
    (1..command.len()).find(|place| {
        let word = &command[*place];
        matches!(name(word), "dbt" | "dbtf" | "dbt-ol")
            || word.as_encoded_bytes().ends_with(MODULE.as_bytes())
    })
}

/// Words in between may hold a secret (`env PASSWORD=…`), so they are not shown.
fn unreadable(command: &[OsString], words: usize, why: &str) -> DbtError {
    let shown = match &command[..words] {
        [first, .., last] => format!("{} … {}", name(first), name(last)),
        [only] => name(only).to_owned(),
        [] => String::new(),
    };
    DbtError::UnreadableCommand {
        words: shown,
        why: why.to_owned(),
    }
}

/// `python`, `python3`, `python3.11`.
pub(super) fn is_python(program: &str) -> bool {
    program.strip_prefix("python").is_some_and(|version| {
        version
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// The last part of a program's path.
pub(super) fn name(word: &OsStr) -> &str {
    Path::new(word)
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Program, recognise};
    use crate::variables::Variables;

    fn program(line: &str, told: bool) -> Result<Program, &'static str> {
        let command: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        recognise(&command, &Variables::default(), told).map_err(|error| error.kind())
    }

    #[test]
    fn dbt_is_recognised_in_its_forms() {
        for (line, words) in [
            ("dbt run", 1),
            ("/venv/bin/dbt run", 1),
            ("dbt-ol run", 1),
            ("python -m dbt.cli.main run", 3),
            ("/usr/bin/python3.11 -I -m dbt.cli.main run", 4),
            ("python bin/dbt run", 2),
            ("python -mdbt.cli.main run", 2),
            ("python -Im dbt.cli.main run", 3),
            ("python -uImdbt.cli.main run", 2),
            ("python -W ignore -Xdev -X utf8 -m dbt.cli.main run", 8),
            ("python -OWerror bin/dbt run", 3),
            ("uv run --with x --project=p -- dbt run", 7),
            ("uv run --python 3.11 --group dev dbt run", 7),
            ("uv run -m dbt.cli.main run", 4),
            ("uv run python -mdbt.cli.main run", 4),
            ("poetry -q --no-ansi run dbt run", 5),
            ("uv run dbt run", 3),
            ("uv run --frozen -q -- dbt run", 6),
            ("uv run python -m dbt.cli.main run", 5),
            ("poetry run dbt run", 3),
        ] {
            assert_eq!(
                program(line, false),
                Ok(Program::Dbt {
                    words,
                    fusion: false
                }),
                "{line}"
            );
        }
        assert_eq!(
            program("dbtf run", false),
            Ok(Program::Dbt {
                words: 1,
                fusion: true
            })
        );
    }

    #[test]
    fn other_programs_are_other_programs() {
        for line in [
            "make -C dbt build",
            "bash -c dbt",
            "psql",
            "python flow.py",
            "git add dbt",
            "edr monitor",
        ] {
            assert_eq!(program(line, false), Ok(Program::Other), "{line}");
        }
    }

    #[test]
    fn a_launcher_that_visibly_runs_dbt_is_refused_unless_the_target_is_named() {
        for line in [
            "env DBT_TARGET=x dbt run",
            "timeout 60 dbt run",
            "uv run --env-file .e dbt run",
            "poetry -C x run dbt run",
            "uv run --directory x dbt run",
            "uv run --with dbt dbt.py",
            "uv run -mdbt.cli.main run",
            "poetry run pypy -mdbt.cli.main run",
            "python -S -m dbt.cli.main run",
            "python -m coverage run -m dbt.cli.main run",
            "python3.14t -mdbt.cli.main run",
            "pypy3 -mdbt.cli.main run",
            "ddtrace-run dbt run",
            "tini -- dbt run",
        ] {
            assert_eq!(program(line, false), Err("unreadable_command"), "{line}");
            assert_eq!(program(line, true), Ok(Program::Other), "{line}");
        }
        assert_eq!(
            program("dbt-ol --consume-structured-logs run", true),
            Err("unreadable_command")
        );
    }

    #[test]
    fn an_env_file_of_uv_is_not_followed() {
        let variables = Variables::from_iter([("UV_ENV_FILE", "x")]);
        let command = ["uv", "run", "dbt", "run"].map(OsString::from);
        assert!(recognise(&command, &variables, false).is_err());
    }
}
