//! `method: command`: a program that prints a token of Vault's.
#![forbid(unsafe_code)]

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::source::{self, Source};
use super::{Claim, Context, Login};

/// A token that a program prints. It is looked up, and never revoked by us: who knows who else uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Printed {
    /// The program.
    pub command: Source,
}

pub(super) const KEYS: Keys = Keys {
    known: &["method", "command"],
    later: &[],
    elsewhere: &[
        ("mount", "the token is made already"),
        ("role", "the token has its role already"),
    ],
};

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Printed, ConfigError> {
    let object = cursor.object(&KEYS, "a mapping")?;
    let command = object.need("command", "write `command: [PROGRAM, ARGUMENT]`")?;
    Ok(Printed {
        command: Source::Command(source::command(command, context)?),
    })
}

impl Login for Printed {
    fn method(&self) -> &'static str {
        "command"
    }

    fn source(&self) -> String {
        format!("a token {}", self.command.said())
    }

    fn requests(&self) -> Vec<(&'static str, String)> {
        vec![("GET", "auth/token/lookup-self".to_owned())]
    }

    fn is_ready_made(&self) -> bool {
        true
    }

    fn claims(&self) -> Vec<Claim> {
        vec![self.command.claim("token")]
    }
}
