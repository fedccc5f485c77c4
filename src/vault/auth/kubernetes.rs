//! kubernetes: a service account token, which Vault has the cluster review.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use super::claims::Claims;
use super::source::{self, Found};
use super::{Attempt, Surroundings, Token, jwt};
use crate::config::Kubernetes;
use crate::vault::client::Client;
use crate::vault::error::VaultError;
use crate::vault::hint::SERVICE_ACCOUNT;

/// Reads the token, which the kubelet replaces while the pod lives, and logs in by it.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Kubernetes,
) -> Result<Token, VaultError> {
    let Found { value, note: _ } =
        source::read(SERVICE_ACCOUNT, &login.token, around.variables).await?;
    let attempt = Attempt {
        method: "kubernetes",
        mount: &login.mount,
        below: "login",
        role: Some(&login.role),
        about: Claims::of(&value).map(|claims| {
            format!(
                "the token says of itself: {}",
                claims.said(SystemTime::now())
            )
        }),
        hide: vec![value.expose()],
    };
    let body = jwt::Body {
        role: &login.role,
        jwt: value.expose(),
    };
    // No note of a file that others may read: that is how the kubelet writes it.
    super::send(client, around, attempt, &body).await
}
