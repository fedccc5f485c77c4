//! `method: generic`: any other method of Vault's, by its path and what is sent there.
#![forbid(unsafe_code)]

use serde_json::Value;

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::super::{literal, path};
use super::source::Source;
use super::{Claim, Context, Identity, Login};

/// A login by a request as the method's documentation has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generic {
    /// The path, with `auth/`.
    pub path: String,
    /// What is sent, in the file's order.
    pub data: Vec<(String, Datum)>,
}

/// One value that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    /// As it stands in dbt-lease.yml.
    Said(Value),
    /// Read before the login.
    Read(Source),
}

pub(super) const KEYS: Keys = Keys {
    known: &["method", "path", "data"],
    later: &[],
    elsewhere: &[
        ("mount", "it is part of `path: auth/MOUNT/login`"),
        ("role", "it is part of what is sent: `data: {role: NAME}`"),
    ],
};

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Generic, ConfigError> {
    let object = cursor.object(&KEYS, "a mapping")?;
    const EXAMPLE: &str = "the path of the login, for example `auth/github/login`";
    let at = object.need("path", &format!("write {EXAMPLE}"))?;
    let path = path::canonical(at, EXAMPLE)?;
    match path.split('/').collect::<Vec<_>>()[..] {
        ["auth", _, _, ..] if !path.starts_with("auth/token/") => {}
        _ => return Err(at.bad("not the path of a login", &format!("write {EXAMPLE}"))),
    }
    let data = match object.get("data") {
        None => Vec::new(),
        Some(cursor) => cursor
            .entries("a mapping of what is sent")?
            .iter()
            .map(|(key, cursor)| Ok(((*key).to_owned(), datum(key, cursor, context)?)))
            .collect::<Result<_, ConfigError>>()?,
    };
    Ok(Generic {
        path: path.to_owned(),
        data,
    })
}

fn datum(key: &str, cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Datum, ConfigError> {
    if literal::secret_name(key) && cursor.is_text() {
        let hint = "write where it is: `{file: FILE}`, `{env: VARIABLE}` or `{command: [PROGRAM, ARGUMENT]}`";
        return Err(cursor.secret("holds a secret by its name", hint));
    }
    match cursor.json()? {
        Value::Object(_) => Source::read(cursor, context, "value").map(Datum::Read),
        said => Ok(Datum::Said(said)),
    }
}

impl Generic {
    /// Where the method is mounted, and what follows.
    pub fn mount_and_rest(&self) -> (&str, &str) {
        let below = self.path.strip_prefix("auth/").unwrap_or(&self.path);
        let at = below.find("/login").or_else(|| below.rfind('/'));
        at.map_or((below, ""), |at| (&below[..at], &below[at + 1..]))
    }

    fn sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.data.iter().filter_map(|(key, datum)| match datum {
            Datum::Read(source) => Some((key.as_str(), source)),
            Datum::Said(_) => None,
        })
    }
}

impl Login for Generic {
    fn method(&self) -> &'static str {
        "generic"
    }

    fn mount(&self) -> Option<&str> {
        Some(self.mount_and_rest().0)
    }

    fn role(&self) -> Option<&str> {
        self.data.iter().find_map(|(key, datum)| match datum {
            Datum::Said(Value::String(role)) if key == "role" => Some(role.as_str()),
            _ => None,
        })
    }

    fn source(&self) -> String {
        let mut parts: Vec<String> = self
            .sources()
            .map(|(key, source)| format!("{key} {}", source.said()))
            .collect();
        if parts.is_empty() {
            parts.push("all of it from dbt-lease.yml".to_owned());
        }
        parts.join(", ")
    }

    fn variables(&self) -> Vec<&str> {
        self.sources()
            .filter_map(|(_, source)| source.variable())
            .collect()
    }

    fn requests(&self) -> Vec<(&'static str, String)> {
        vec![("POST", self.path.clone())]
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims: Vec<Claim> = self
            .sources()
            .map(|(_, source)| source.claim("login's credential"))
            .collect();
        let (mount, rest) = self.mount_and_rest();
        // `auth/X/login/USER` names who logs in; else a role does, where there is one.
        let user = rest.strip_prefix("login/");
        let identity = match (user, self.role()) {
            (Some(user), _) => Some(Identity::User(super::Text::Literal(
                user.to_ascii_lowercase(),
            ))),
            (None, Some(role)) => Some(Identity::Role(role.to_owned())),
            (None, None) => None,
        };
        claims.extend(identity.map(|identity| Claim::Role(mount.to_owned(), identity)));
        claims
    }
}
