//! userpass and ldap: a name and a password.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::source::{self, Found};
use super::{Attempt, Surroundings, Token};
use crate::config::{Password, Source, Text};
use crate::vault::client::Client;
use crate::vault::error::{SourceProblem, VaultError};

#[derive(Serialize)]
struct Body<'a> {
    password: &'a str,
}

/// Reads or asks for both, and logs in.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Password,
) -> Result<Token, VaultError> {
    let name = user_name(&login.username, around).await?;
    let method = login.kind.method();
    let Found { value, note } =
        password(login.password.as_ref(), around, method, &login.mount, &name).await?;
    let attempt = Attempt {
        method,
        mount: &login.mount,
        below: &format!("login/{name}"),
        role: Some(&name),
        about: None,
        hide: vec![value.expose()],
    };
    let body = Body {
        password: value.expose(),
    };
    let mut token = super::send(client, around, attempt, &body).await?;
    token.notes.extend(note);
    Ok(token)
}

/// The user's name: part of a path, so what is read must be as plain as what dbt-lease.yml may say.
pub(super) async fn user_name(
    name: &Text,
    around: &Surroundings<'_>,
) -> Result<String, VaultError> {
    const WHAT: &str = "user's name";
    let source = match name {
        Text::Literal(name) => return Ok(name.clone()),
        Text::Read(source) => source,
    };
    let found = source::read(WHAT, source, around.variables).await?;
    let name = found.value.expose();
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte));
    if plain && name != "." && name != ".." {
        Ok(name.to_owned())
    } else {
        Err(VaultError::Source {
            what: WHAT,
            place: source::place(source),
            problem: SourceProblem::NotAName,
        })
    }
}

/// The password: read, or typed.
pub(super) async fn password(
    password: Option<&Source>,
    around: &Surroundings<'_>,
    method: &'static str,
    mount: &str,
    name: &str,
) -> Result<Found, VaultError> {
    if let Some(source) = password {
        return source::read("password", source, around.variables).await;
    }
    match around
        .person
        .ask(&format!("password of {name} at auth/{mount}"))
        .await
    {
        Some(value) if !value.is_empty() => Ok(Found { value, note: None }),
        _ => Err(VaultError::NobodyToAsk {
            what: "the password",
            method,
            mount: mount.to_owned(),
        }),
    }
}
