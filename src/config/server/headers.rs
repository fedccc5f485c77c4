//! Headers that what stands before Vault wants to see (`headers:`, VAULT_HEADERS).
#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

use crate::config::error::ConfigError;
use crate::config::literal;
use crate::config::walk::{Cursor, Keys};
use crate::secret::{self, Secret};
use crate::variables::Variables;

/// One header of every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name, in small letters.
    pub name: String,
    /// Its value; it may be a secret. Empty where `variable` is not set.
    #[serde(with = "secret::told")]
    pub value: Secret,
    /// The variable that it was read from.
    pub variable: Option<String>,
}

impl Header {
    /// For people: a value from a variable is not shown.
    pub(super) fn shown(&self) -> String {
        match &self.variable {
            Some(variable) => format!("{}: from the variable {variable}", self.name),
            None => format!("{}: {}", self.name, self.value.expose()),
        }
    }
}

const VALUE: Keys = Keys {
    known: &["env"],
    later: &[],
    elsewhere: &[],
};

/// `headers:`: a name and its value, or `{env: NAME}` for one that no file may hold.
pub(super) fn read(cursor: &Cursor<'_>, variables: &Variables) -> Result<Vec<Header>, ConfigError> {
    cursor
        .entries("a mapping of headers by name")?
        .into_iter()
        .map(|(name, cursor)| {
            let name = name.to_ascii_lowercase();
            if let Some(problem) = problem(&name) {
                let hint = "name a header that what stands before Vault wants, for example `cf-access-client-id`";
                return Err(cursor.bad(problem, hint));
            }
            if !cursor.is_text() {
                let object = cursor.object(&VALUE, "a text, or `{env: NAME}`")?;
                let variable = object.need("env", "write `{env: NAME}`")?.variable()?;
                let value = variables.text(&variable).unwrap_or_default().to_owned();
                return Ok(Header {
                    name,
                    value: Secret::new(value),
                    variable: Some(variable),
                });
            }
            let value = cursor.text("a text, or `{env: NAME}`")?;
            if is_secret(&name) || literal::instead_of_a_name(value) {
                let hint = "write `{env: NAME}`, the name of the variable that holds it";
                return Err(cursor.secret("holds a secret by its name or its looks", hint));
            }
            Ok(Header {
                name,
                value: Secret::new(value.to_owned()),
                variable: None,
            })
        })
        .collect()
}

/// VAULT_HEADERS: a JSON object of texts.
pub(super) fn of_variable(variable: &str, text: &str) -> Result<Vec<Header>, &'static str> {
    let parsed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| "not a JSON object")?;
    parsed
        .into_iter()
        .map(|(name, value)| {
            let serde_json::Value::String(value) = value else {
                return Err("a JSON object with a value that is no text");
            };
            let name = name.to_ascii_lowercase();
            match problem(&name) {
                Some(problem) => Err(problem),
                None => Ok(Header {
                    name,
                    value: Secret::new(value),
                    variable: Some(variable.to_owned()),
                }),
            }
        })
        .collect()
}

/// These headers, completed by those of the layer below that have other names.
pub(super) fn over(mut above: Vec<Header>, below: Vec<Header>) -> Vec<Header> {
    for header in below {
        if above.iter().all(|other| other.name != header.name) {
            above.push(header);
        }
    }
    above
}

fn problem(name: &str) -> Option<&'static str> {
    let is_token = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !is_token {
        Some("not the name of a header")
    } else if name.starts_with("x-vault-")
        || name.starts_with("x-dbt-lease-")
        || OURS.contains(&name)
    {
        Some("a header that is Vault's or the connection's own")
    } else {
        None
    }
}

/// What the request itself says.
const OURS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "te",
    "upgrade",
    "trailer",
    "proxy-authorization",
];

fn is_secret(name: &str) -> bool {
    [
        "authorization",
        "cookie",
        "secret",
        "token",
        "password",
        "api-key",
        "apikey",
    ]
    .iter()
    .any(|word| name.contains(word))
}
