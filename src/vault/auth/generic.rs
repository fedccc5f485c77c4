//! Any other method: its path, and what is sent there.
#![forbid(unsafe_code)]

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::source::{self, Found};
use super::{Attempt, Note, Surroundings, Token};
use crate::config::{Datum, Generic};
use crate::secret::Secret;
use crate::vault::client::Client;
use crate::vault::error::VaultError;

/// What is sent, in the file's order.
struct Body<'a>(Vec<(&'a str, Value<'a>)>);

enum Value<'a> {
    Said(&'a serde_json::Value),
    Read(Secret),
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            match value {
                Value::Said(value) => map.serialize_entry(key, value)?,
                Value::Read(secret) => map.serialize_entry(key, secret.expose())?,
            }
        }
        map.end()
    }
}

/// Reads what is to be read, and logs in.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Generic,
) -> Result<Token, VaultError> {
    let mut notes: Vec<Note> = Vec::new();
    let mut body = Body(Vec::new());
    for (key, datum) in &login.data {
        let value = match datum {
            Datum::Said(value) => Value::Said(value),
            Datum::Read(source) => {
                let Found { value, note } =
                    source::read("login's credential", source, around.variables).await?;
                notes.extend(note);
                Value::Read(value)
            }
        };
        body.0.push((key, value));
    }
    let (mount, below) = login.mount_and_rest();
    let hide = body
        .0
        .iter()
        .filter_map(|(_, value)| match value {
            Value::Read(secret) => Some(secret.expose()),
            Value::Said(_) => None,
        })
        .collect();
    let attempt = Attempt {
        method: "generic",
        mount,
        below,
        role: None,
        about: None,
        hide,
    };
    let mut token = super::send(client, around, attempt, &body).await?;
    token.notes.append(&mut notes);
    Ok(token)
}
