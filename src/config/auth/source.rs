//! Where a part of a login is read: `{file: …}`, `{env: …}` or `{command: […]}`.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
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

/// A text that is no secret: as it stands in dbt-lease.yml, or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// As it stands.
    Literal(String),
    /// Read before the login.
    Read(Source),
}

pub(super) const KEYS: Keys = Keys {
    known: &["file", "env", "command"],
    later: &[],
    elsewhere: &[],
};
const ONE: [&str; 3] = ["file", "env", "command"];

impl Text {
    /// The text where it is known beforehand.
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Read(_) => None,
        }
    }

    /// For people.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Literal(text) => text.clone(),
            Self::Read(source) => source.said(),
        }
    }

    /// For a path that is shown.
    pub(super) fn in_path(&self) -> &str {
        self.literal().unwrap_or("USERNAME")
    }
}

impl Source {
    /// Reads `{file | env | command}`; `what` is what it holds: `password`, `identity token`.
    pub(super) fn read(
        cursor: &Cursor<'_>,
        context: &Context<'_>,
        what: &str,
    ) -> Result<Self, ConfigError> {
        let example = format!(
            "where the {what} is: `{{file: FILE}}`, `{{env: VARIABLE}}` or `{{command: [PROGRAM, ARGUMENT]}}`"
        );
        if cursor.is_text() {
            return Err(cursor.secret(
                &format!("may hold the {what} itself"),
                &format!("write {example}"),
            ));
        }
        let object = cursor.object(&KEYS, &example)?;
        Self::of(object.one_of(&ONE, &example)?, context)
    }

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
