//! Where a part of a login is read: `{file: …}`, `{env: …}` or `{command: […]}`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::super::error::ConfigError;
use super::super::walk::Cursor;
use super::{Claim, Context};

/// A file, a variable, or what a program prints. Each gives one line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `file:`, absolute.
    File(PathBuf),
    /// `env:`
    Variable(String),
    /// `command:`: a program and its arguments; no shell reads them.
    Command(Vec<String>),
}

impl Source {
    /// One of the three, by its key.
    pub(super) fn of(
        (key, cursor): (&str, &Cursor<'_>),
        context: &Context<'_>,
    ) -> Result<Self, ConfigError> {
        Ok(match key {
            "file" => Self::File(cursor.file(context.home)?),
            "env" => Self::Variable(cursor.variable()?),
            _ => Self::Command(command(cursor, context)?),
        })
    }

    /// For people, after what it holds: `from FILE`, `printed by …`.
    pub fn said(&self) -> String {
        match self {
            Self::File(file) => format!("from {}", file.display()),
            Self::Variable(name) => format!("from the variable {name}"),
            Self::Command(words) => format!("printed by `{}`", words.join(" ")),
        }
    }

    /// The variable that the child must not get.
    pub(super) fn variable(&self) -> Option<&str> {
        match self {
            Self::Variable(name) => Some(name),
            Self::File(_) | Self::Command(_) => None,
        }
    }

    /// What another environment may not read too.
    pub(super) fn claim(&self, what: &'static str) -> Claim {
        match self {
            Self::File(file) => Claim::File(what, file.clone()),
            Self::Variable(name) => Claim::Variable(what, name.clone()),
            Self::Command(words) => Claim::Command(what, words.clone()),
        }
    }
}

/// A program and its arguments. A program with a `/` in it is a path, as all paths of dbt-lease.yml; one without is found on PATH.
pub(super) fn command(
    cursor: &Cursor<'_>,
    context: &Context<'_>,
) -> Result<Vec<String>, ConfigError> {
    const EXAMPLE: &str =
        "a list of the program and its arguments, for example `[vault-token, --role, dbt]`";
    let items = cursor.items(EXAMPLE)?;
    let mut words = items
        .iter()
        .map(|item| item.text("a text (quote it)").map(str::to_owned))
        .collect::<Result<Vec<_>, _>>()?;
    let (Some(program), Some(first)) = (words.first_mut(), items.first()) else {
        return Err(cursor.bad("an empty list", &format!("write {EXAMPLE}")));
    };
    if program.trim().is_empty() {
        return Err(first.bad("an empty program", &format!("write {EXAMPLE}")));
    }
    if program.contains('/') {
        *program = first
            .file(context.home)?
            .into_os_string()
            .into_string()
            .map_err(|_| first.bad("not UTF-8", "move the program to another directory"))?;
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(cursor.bad(
            "a NUL character in it",
            "take it out: no program can be given one",
        ));
    }
    Ok(words)
}
