//! `method: token`: the user's own token.
#![forbid(unsafe_code)]

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::{Claim, Login};

/// The user's own token, from BAO_TOKEN, VAULT_TOKEN or the token file. Never revoked by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token;

pub(super) const KEYS: Keys = Keys {
    known: &["method"],
    later: &[],
    elsewhere: &[
        ("role", "the token has its role already"),
        ("mount", "the token is made already"),
        ("keep", "the token is kept already; `keep` is oidc's"),
    ],
};

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>) -> Result<Token, ConfigError> {
    if let Some((_, token)) = cursor
        .entries("a mapping")?
        .iter()
        .find(|(key, _)| *key == "token")
    {
        let hint = "leave it out: `method: token` takes BAO_TOKEN, VAULT_TOKEN or the token file (~/.vault-token)";
        return Err(token.secret("holds a secret by its name", hint));
    }
    cursor.object(&KEYS, "a mapping")?;
    Ok(Token)
}

impl Login for Token {
    fn method(&self) -> &'static str {
        "token"
    }

    fn source(&self) -> String {
        "the user's own token: BAO_TOKEN, VAULT_TOKEN or the token file".to_owned()
    }

    fn requests(&self) -> Vec<(&'static str, String)> {
        vec![("GET", "auth/token/lookup-self".to_owned())]
    }

    fn is_ready_made(&self) -> bool {
        true
    }

    fn takes_users_token(&self) -> bool {
        true
    }

    fn claims(&self) -> Vec<Claim> {
        vec![Claim::UserToken]
    }
}
