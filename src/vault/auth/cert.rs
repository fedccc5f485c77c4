//! cert: the client certificate of the TLS connection, which [`crate::vault::client`] shows.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::{Attempt, Surroundings, Token};
use crate::config::Cert;
use crate::vault::client::Client;
use crate::vault::error::VaultError;

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Logs in.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Cert,
) -> Result<Token, VaultError> {
    let attempt = Attempt {
        method: "cert",
        mount: &login.mount,
        below: "login",
        role: login.name.as_deref(),
        about: None,
        hide: Vec::new(),
    };
    let body = Body {
        name: login.name.as_deref(),
    };
    super::send(client, around, attempt, &body).await
}
