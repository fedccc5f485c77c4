//! Where the parts of a login are read: files, variables, and what a program prints.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

use crate::config::Source;
use crate::process::{self, Failed};
use crate::secret::Secret;
use crate::variables::Variables;
use crate::vault::error::{Place, SourceProblem, VaultError};
use crate::vault::words;

/// The longest part of a login, in bytes: a JWT with many claims has some 10 kB.
const LIMIT: u64 = 64 * 1024;

/// A part of a login, with what is to be said of its place.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) value: Secret,
    pub(super) note: Option<Note>,
}

/// Something that works and should be better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Other users of the machine may read the file.
    ReadableByOthers {
        /// `secret id`, `wrapping token`, `token`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The token helper holds another login's token, which is not ours to replace.
    NotKept,
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadableByOthers { what, path, mode } => {
                let path = path.display();
                write!(
                    formatter,
                    "the {what} in `{path}` may be read by other users (mode {mode:04o}): `chmod 600 {path}`"
                )
            }
            Self::NotKept => formatter.write_str(
                "this login is not kept: Vault's token helper holds a living token of another login (`bao token lookup`), which is not replaced",
            ),
        }
    }
}

/// How long a program may take to print a part of a login: some ask a server themselves.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads a part of a login.
pub(super) async fn read(
    what: &'static str,
    source: &Source,
    variables: &Variables,
) -> Result<Found, VaultError> {
    match source {
        Source::File(path) => file(what, path),
        Source::Variable(name) => variable(what, variables, name),
        Source::Command(words) => command(what, words, variables).await,
    }
}

/// Where it is read, for messages.
pub(super) fn place(source: &Source) -> Place {
    match source {
        Source::File(path) => Place::File(path.clone()),
        Source::Variable(name) => Place::Variable(name.clone()),
        Source::Command(words) => Place::Command(words.join(" ")),
    }
}

/// Runs a program that prints one line.
pub(super) async fn command(
    what: &'static str,
    words: &[String],
    variables: &Variables,
) -> Result<Found, VaultError> {
    let place = || Place::Command(words.join(" "));
    let failed = |problem| VaultError::Source {
        what,
        place: place(),
        problem,
    };
    let printed = process::output(words, variables, PATIENCE)
        .await
        .map_err(|error| failed(of_process(error)))?;
    let text = std::str::from_utf8(&printed).map_err(|_| failed(SourceProblem::NotText))?;
    literal(what, text, place())
}

/// What a helper command's failure means.
pub(super) fn of_process(error: Failed) -> SourceProblem {
    match error {
        Failed::NotStarted(error) if error.kind() == ErrorKind::NotFound => {
            SourceProblem::NoProgram
        }
        Failed::NotStarted(error) => SourceProblem::Io(error.to_string()),
        Failed::Ended { status, said } => SourceProblem::Failed {
            status,
            said: words::tame(&said, &[]),
        },
        Failed::TooLong => SourceProblem::TooLong {
            limit: process::LIMIT as u64,
        },
        Failed::TimedOut => SourceProblem::TooSlow {
            seconds: PATIENCE.as_secs(),
        },
        Failed::Io(error) => SourceProblem::Io(error.to_string()),
    }
}

/// Reads a file: one line of text, less its line break. Links are followed: Kubernetes mounts secrets so.
pub(super) fn file(what: &'static str, path: &Path) -> Result<Found, VaultError> {
    let failed = |problem| VaultError::Source {
        what,
        place: Place::File(path.to_owned()),
        problem,
    };
    let io = |error: std::io::Error| {
        failed(match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => SourceProblem::NoFile,
            ErrorKind::PermissionDenied => SourceProblem::NotAllowed,
            _ => SourceProblem::Io(error.to_string()),
        })
    };
    // O_NONBLOCK: to open a named pipe would wait for somebody to write.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(failed(SourceProblem::NotAFile));
    }
    let room = usize::try_from(metadata.len().min(LIMIT) + 1).expect("64 kB fit into usize");
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > LIMIT {
        return Err(failed(SourceProblem::TooLong { limit: LIMIT }));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| failed(SourceProblem::NotText))?;
    let mut found = literal(what, text, Place::File(path.to_owned()))?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o044 != 0 {
        found.note = Some(Note::ReadableByOthers {
            what,
            path: path.to_owned(),
            mode,
        });
    }
    Ok(found)
}

/// Reads a variable.
pub(super) fn variable(
    what: &'static str,
    variables: &Variables,
    name: &str,
) -> Result<Found, VaultError> {
    let place = Place::Variable(name.to_owned());
    match variables.os(name).map(std::ffi::OsStr::to_str) {
        None => Err(VaultError::Source {
            what,
            place,
            problem: SourceProblem::NotSet,
        }),
        Some(None) => Err(VaultError::Source {
            what,
            place,
            problem: SourceProblem::NotText,
        }),
        Some(Some(text)) => literal(what, text, place),
    }
}

/// Takes a text: one line break at its end goes, anything else must be one line.
pub(super) fn literal(what: &'static str, text: &str, place: Place) -> Result<Found, VaultError> {
    let line = text
        .strip_suffix('\n')
        .map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    let problem = if line.trim().is_empty() {
        SourceProblem::Empty
    } else if line.chars().any(char::is_control) {
        SourceProblem::NotText
    } else {
        return Ok(Found {
            value: Secret::new(line.to_owned()),
            note: None,
        });
    };
    Err(VaultError::Source {
        what,
        place,
        problem,
    })
}
