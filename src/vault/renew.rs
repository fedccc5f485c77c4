//! Renewing leases and our own token.
#![forbid(unsafe_code)]

use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use tokio::time::Instant;

use super::auth::Token;
use super::call::Call;
use super::client::Client;
use super::error::{VaultError, Wanted};
use super::lease::Lease;

/// Renews a lease by `increment`, counted from now: the duration that Vault grants, which is shorter near the role's max_ttl.
///
/// # Errors
/// What the client gives; 400 for a lease that is gone (`lease not found`). [`is_final`] tells whether another try can help.
pub async fn lease(
    client: &Client,
    token: &Token,
    lease: &Lease,
    increment: Duration,
    within: Duration,
) -> Result<Duration, VaultError> {
    let wanted = Wanted::RenewLease {
        path: lease.path.clone(),
    };
    let mut call = Call::new(wanted, Method::PUT, "sys/leases/renew")
        .with_token(&token.value)
        .with_body(&LeaseBody {
            lease_id: lease.id.expose(),
            increment: increment.as_secs(),
        });
    call.hide = vec![lease.id.expose()];
    call.deadline = Some(Instant::now() + within);
    let answer = client.ask(&call).await?;
    granted(answer.lease_duration)
        .ok_or_else(|| client.bad(&call, "it grants no duration".to_owned()))
}

/// Renews our own token by `increment`, counted from now.
///
/// # Errors
/// As [`lease`]; 403 for a token that is gone, 400 for one that cannot be renewed.
pub async fn token(
    client: &Client,
    token: &Token,
    increment: Duration,
    within: Duration,
) -> Result<Duration, VaultError> {
    let mut call = Call::new(Wanted::RenewToken, Method::PUT, "auth/token/renew-self")
        .with_token(&token.value)
        .with_body(&TokenBody {
            increment: increment.as_secs(),
        });
    call.deadline = Some(Instant::now() + within);
    let answer = client.ask(&call).await?;
    granted(answer.auth.and_then(|auth| auth.lease_duration))
        .ok_or_else(|| client.bad(&call, "it grants no duration".to_owned()))
}

/// Whether the server has decided: the lease or token is gone, or may not be renewed. Everything else may pass.
pub fn is_final(error: &VaultError) -> bool {
    match error {
        VaultError::Refused(refusal) => {
            refusal.from_vault && matches!(refusal.code, 400 | 403 | 404 | 405)
        }
        _ => false,
    }
}

fn granted(seconds: Option<u64>) -> Option<Duration> {
    seconds
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

#[derive(Serialize)]
struct LeaseBody<'a> {
    lease_id: &'a str,
    increment: u64,
}

#[derive(Serialize)]
struct TokenBody {
    increment: u64,
}
