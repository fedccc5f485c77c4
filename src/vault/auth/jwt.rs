//! jwt: an identity token for a token of Vault's.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use serde::Serialize;

use super::claims::Claims;
use super::source::Found;
use super::{Attempt, Surroundings, Token, identity};
use crate::config::Jwt;
use crate::vault::client::Client;
use crate::vault::error::VaultError;

/// The body of a login by a JWT: the method kubernetes takes the same.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    pub(super) role: &'a str,
    pub(super) jwt: &'a str,
}

/// Has an identity token, and logs in by it.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    jwt: &Jwt,
) -> Result<Token, VaultError> {
    let Found { value, note } = identity::obtain(client, around.variables, jwt).await?;
    let attempt = Attempt {
        method: "jwt",
        mount: &jwt.mount,
        below: "login",
        role: Some(&jwt.role),
        about: Claims::of(&value).map(|claims| {
            format!(
                "the token says of itself: {}",
                claims.said(SystemTime::now())
            )
        }),
        hide: vec![value.expose()],
    };
    let body = Body {
        role: &jwt.role,
        jwt: value.expose(),
    };
    let mut token = super::send(client, around, attempt, &body).await?;
    token.notes.extend(note);
    Ok(token)
}
