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

/// Programs that run the command that they are given.
const LAUNCHERS: &[&str] = &[
    "aws-vault",
    "chronic",
    "conda",
    "direnv",
    "doas",
    "dotenv",
    "doppler",
    "env",
    "hatch",
    "infisical",
    "ionice",
    "mamba",
    "micromamba",
    "nice",
    "nohup",
    "op",
    "pdm",
    "pipenv",
    "pipx",
    "pixi",
    "poetry",
    "rye",
    "setsid",
    "sops",
    "stdbuf",
    "strace",
    "sudo",
    "time",
    "timeout",
    "uv",
    "uvx",
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

/// Options of Python that take no value and leave the script's words alone.
const PYTHON_FLAGS: &[&str] = &["-B", "-E", "-I", "-O", "-OO", "-P", "-q", "-s", "-u"];

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
        "poetry" => match command.get(1).and_then(|word| word.to_str()) {
            Some("run") => direct(command, 2),
            _ => None,
        },
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

/// `python [FLAGS] -m dbt.cli.main`, or `python [FLAGS] …/dbt`.
fn python(command: &[OsString], mut place: usize) -> Option<(usize, bool)> {
    while PYTHON_FLAGS.contains(&command.get(place)?.to_str()?) {
        place += 1;
    }
    let word = command.get(place)?;
    if word == "-m" {
        return (command.get(place + 1)? == "dbt.cli.main").then_some((place + 2, false));
    }
    (name(word) == "dbt" && !word.to_str()?.starts_with('-')).then_some((place + 1, false))
}

/// `uv run [FLAGS] [--] dbt`. An env file would give dbt variables that we do not see, a working
/// directory another place.
fn uv_run(command: &[OsString], variables: &Variables) -> Option<(usize, bool)> {
    let elsewhere = ["UV_ENV_FILE", "UV_WORKING_DIRECTORY", "UV_WORKING_DIR"];
    if command.get(1)? != "run" || elsewhere.iter().any(|name| variables.os(name).is_some()) {
        return None;
    }
    let mut place = 2;
    while UV_FLAGS.contains(&command.get(place)?.to_str()?) {
        place += 1;
    }
    if command.get(place)? == "--" {
        place += 1;
    }
    direct(command, place)
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
    if !LAUNCHERS.contains(&program) && !is_python(program) {
        return None;
    }
    (1..command.len()).find(|place| {
        matches!(name(&command[*place]), "dbt" | "dbtf" | "dbt-ol")
            || command[*place] == "dbt.cli.main"
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
            "python -W ignore -m dbt.cli.main run",
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
