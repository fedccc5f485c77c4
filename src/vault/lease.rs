//! Leases, and the requests that end them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde::Serialize;
use tokio::time::Instant;

use super::auth::Token;
use super::call::Call;
use super::client::Client;
use super::error::{VaultError, Wanted};
use crate::secret::Secret;

pub use crate::config::engines::Revocation;

/// A lease's id. Whoever has it and any token of the default policy can end the lease, so it shows only in the record.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseId(String);

impl LeaseId {
    /// Takes an id over.
    pub fn new(id: String) -> Self {
        Self(id)
    }

    /// The id itself: for requests to Vault, and for the record.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LeaseId(…)")
    }
}

/// Vault's lease on a dynamic secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: LeaseId,
    /// The API path that it came from.
    pub path: String,
    /// When it was asked for: its life is counted from here.
    pub issued: SystemTime,
    /// How long it lives from `issued` on.
    pub duration: Duration,
    /// Whether it can be prolonged.
    pub renewable: bool,
    /// What its revocation does to the credential.
    pub revocation: Revocation,
}

impl Lease {
    /// When it ends, unless it is renewed or its token ends before.
    pub fn expires(&self) -> SystemTime {
        self.issued + self.duration
    }
}

/// Whether Vault still knows the lease.
pub(super) async fn is_known(
    client: &Client,
    token: &Secret,
    lease: &Lease,
    deadline: Option<Instant>,
) -> Result<bool, VaultError> {
    let wanted = Wanted::LookupLease {
        path: lease.path.clone(),
    };
    let body = BTreeMap::from([("lease_id", lease.id.expose())]);
    let mut call = Call::new(wanted, Method::PUT, "sys/leases/lookup")
        .with_token(token)
        .with_body(&body);
    call.hide = vec![lease.id.expose()];
    call.deadline = deadline;
    match client.demand(&call).await {
        Ok(_) => Ok(true),
        Err(VaultError::Refused(refusal))
            if refusal.code == 400 && refusal.says("invalid lease") =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Renews a lease to one second: the default policy allows that where it does not allow revocation.
pub(super) async fn shorten(
    client: &Client,
    token: &Secret,
    lease: &Lease,
    deadline: Option<Instant>,
) -> Result<(), VaultError> {
    let wanted = Wanted::RevokeLease {
        path: lease.path.clone(),
    };
    let mut call = Call::new(wanted, Method::PUT, "sys/leases/renew")
        .with_token(token)
        .with_body(&RenewBody {
            lease_id: lease.id.expose(),
            increment: 1,
        });
    call.hide = vec![lease.id.expose()];
    call.deadline = deadline;
    let answer = client.ask(&call).await?;
    // An engine may round up; half a minute is not "ended".
    match answer.lease_duration {
        Some(0..=5) => Ok(()),
        _ => Err(client.bad(&call, "the lease was not shortened".to_owned())),
    }
}

#[derive(Serialize)]
struct RenewBody<'a> {
    lease_id: &'a str,
    increment: u32,
}

#[derive(Serialize)]
struct RevokeBody<'a> {
    lease_id: &'a str,
    sync: bool,
}

pub(super) async fn revoke_by(
    client: &Client,
    token: &Secret,
    lease: &Lease,
    sync: bool,
    deadline: Option<Instant>,
) -> Result<(), VaultError> {
    let wanted = Wanted::RevokeLease {
        path: lease.path.clone(),
    };
    let mut call = Call::new(wanted, Method::PUT, "sys/leases/revoke")
        .with_token(token)
        .with_body(&RevokeBody {
            lease_id: lease.id.expose(),
            sync,
        });
    call.hide = vec![lease.id.expose()];
    call.deadline = deadline;
    client.demand(&call).await.map(drop)
}

/// Ends our token, and with it, somewhat later, every lease that it still has.
///
/// # Errors
/// What the client gives; 400 for a batch token.
pub async fn revoke_self(
    client: &Client,
    token: &Token,
    deadline: Option<Instant>,
) -> Result<(), VaultError> {
    let mut call = Call::new(Wanted::RevokeToken, Method::POST, "auth/token/revoke-self")
        .with_token(&token.value);
    call.deadline = deadline;
    client.demand(&call).await.map(drop)
}

/// Ends another session's token by its accessor.
///
/// # Errors
/// What the client gives; 403 where the policy lacks it, 400 or 404 where there is no such token any more.
pub async fn revoke_accessor(
    client: &Client,
    token: &Token,
    accessor: &str,
    deadline: Option<Instant>,
) -> Result<(), VaultError> {
    let body = BTreeMap::from([("accessor", accessor)]);
    let mut call = Call::new(
        Wanted::RevokeAccessor,
        Method::POST,
        "auth/token/revoke-accessor",
    )
    .with_token(&token.value)
    .with_body(&body);
    call.deadline = deadline;
    client.demand(&call).await.map(drop)
}
