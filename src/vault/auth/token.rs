//! The user's own token. It is looked up instead of a login, since only that tells root; and it is never revoked by us.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use reqwest::Method;

use super::source::{self, Found};
use super::{Token, helper, kind};
use crate::variables::Variables;
use crate::vault::call::Call;
use crate::vault::client::Client;
use crate::vault::error::{Place, VaultError, Wanted};
use crate::vault::fields::{Field, Fields};

/// Finds the token, and asks Vault what it is.
pub(super) async fn login(client: &Client, variables: &Variables) -> Result<Token, VaultError> {
    let (found, place) = find(variables).await?;
    look_up(client, found, place).await
}

/// Asks Vault what a token is that was there before us.
pub(super) async fn look_up(
    client: &Client,
    found: Found,
    place: Place,
) -> Result<Token, VaultError> {
    let wanted = Wanted::LookupToken { place: Some(place) };
    let call = Call::new(wanted, Method::GET, "auth/token/lookup-self").with_token(&found.value);
    let issued = SystemTime::now();
    let answer = client.ask(&call).await?;
    let Some(Field::Map(data)) = &answer.data else {
        return Err(client.bad(&call, "it does not describe a token".to_owned()));
    };
    let policies = texts(data, "policies");
    let text = |name| {
        data.get(name)
            .and_then(Field::plain)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Ok(Token {
        accessor: text("accessor"),
        is_root: policies.iter().any(|policy| policy == "root"),
        policies,
        issued,
        lifetime: data
            .get("ttl")
            .and_then(Field::whole)
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        renewable: data.get("renewable") == Some(&Field::Bool(true)),
        own: false,
        kind: kind(text("type").as_deref()),
        identity: text("display_name")
            .map(|name| ("display_name".to_owned(), name))
            .into_iter()
            .collect(),
        made_by: made_by(data),
        request_id: answer.request_id.filter(|id| !id.is_empty()),
        notes: found.note.into_iter().collect(),
        value: found.value,
    })
}

/// BAO_TOKEN, VAULT_TOKEN, the token helper or file. BAO_TOKEN wins even when it is empty, as in the official client; an empty one
/// leads to the helper.
async fn find(variables: &Variables) -> Result<(Found, Place), VaultError> {
    let mut looked = Vec::new();
    for name in ["BAO_TOKEN", "VAULT_TOKEN"] {
        looked.push(name.to_owned());
        if let Some(value) = variables.os(name) {
            if !value.is_empty() {
                let found = source::variable("token", variables, name)?;
                return Ok((found, Place::Variable(name.to_owned())));
            }
            if name == "BAO_TOKEN" {
                looked.pop();
                looked.push("BAO_TOKEN (set, and empty: VAULT_TOKEN is then not asked)".to_owned());
                break;
            }
        }
    }
    looked.push(
        match (helper::program(variables), helper::file(variables)) {
            (Some(program), _) => format!("the token helper `{program}`"),
            (None, Some(path)) => format!("`{}`", path.display()),
            (None, None) => "~/.vault-token (HOME is not set)".to_owned(),
        },
    );
    helper::get(variables)
        .await?
        .ok_or(VaultError::NoToken { looked })
}

/// The path of the login that made it, and the login's role.
fn made_by(data: &Fields) -> Option<(String, String)> {
    let plain = |fields: &Fields, name| fields.get(name).and_then(Field::plain).map(str::to_owned);
    let role = match data.get("meta") {
        Some(Field::Map(meta)) => plain(meta, "role").unwrap_or_default(),
        _ => String::new(),
    };
    Some((plain(data, "path")?, role))
}

fn texts(data: &Fields, name: &str) -> Vec<String> {
    match data.get(name) {
        Some(Field::List(list)) => list
            .iter()
            .filter_map(Field::plain)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}
