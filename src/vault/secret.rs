//! Reading a secret, with the lease that comes with it.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use reqwest::Method;

use super::answer::Answer;
use super::auth::{Token, TokenKind};
use super::call::{Call, Repeat, Reply};
use super::client::Client;
use super::error::{Missing, VaultError, Wanted};
use super::fields::{Field, Fields};
use super::lease::{Lease, LeaseId, Revocation};
use super::words;
use crate::config::engines::End;
use crate::config::{Operation, SecretRequest, Shape};

/// A secret as Vault lent it.
#[derive(Clone, Debug)]
pub struct Lent {
    /// Its name in dbt-lease.yml.
    pub name: String,
    /// The API path that it came from.
    pub path: String,
    /// Its fields.
    pub fields: Fields,
    /// The lease of a dynamic secret; static ones have none, and cannot be taken back.
    pub lease: Option<Lease>,
    /// The id of the request, as in Vault's audit log.
    pub request_id: Option<String>,
    /// What Vault says beside the answer, tamed.
    pub warnings: Vec<String>,
    /// How long a static role's password still stands (`data.ttl`), from the request on: after that it is rotated, and
    /// connections opened later fail.
    pub rotates_in: Option<Duration>,
    /// When a credential without a lease ends, where its engine tells: nothing ends it before.
    pub ends: Option<SystemTime>,
}

/// Reads one secret, by one request.
///
/// Reading credentials makes a database user each time, so it is tried again only where nothing was done; or, with a
/// service token of our own, also after a lost answer, since the end of that token sweeps what the lost answer left. It
/// does not sweep what a write leaves (a certificate, a key), nor can a batch token be ended.
///
/// # Errors
/// [`VaultError::NoData`] for deleted versions and empty answers; what the client gives.
pub async fn read(
    client: &Client,
    token: &Token,
    request: &SecretRequest,
) -> Result<Lent, VaultError> {
    let write = matches!(request.operation, Operation::Write(_));
    let wanted = Wanted::Secret {
        name: request.name.clone(),
        path: request.path.clone(),
        write,
    };
    let mut call = match &request.operation {
        Operation::Read => Call::new(wanted, Method::GET, &request.path),
        Operation::Write(data) => Call::new(wanted, Method::POST, &request.path).with_body(data),
    }
    .with_token(&token.value);
    call.query = request
        .query
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    call.repeat = if token.own && token.kind == TokenKind::Service && !write {
        Repeat::Always
    } else {
        Repeat::WhenNothingWasDone
    };

    let issued = SystemTime::now();
    let reply = client.send(&call).await?;
    match reply.code {
        200..300 => {}
        404 => return Err(absent(client, &call, &reply)),
        _ => return Err(client.refusal(&call, &reply)),
    }
    let missing = |why| VaultError::NoData {
        asked: Box::new(client.asked(&call)),
        why,
    };
    // A write may be answered by 204 alone, and then gives no secret.
    if reply.body.is_empty() {
        return Err(missing(Missing::Empty));
    }
    let answer = client.parse(&call, &reply)?;
    let mut lease = lease(&answer, request, issued);
    let hidden: Vec<&str> = std::iter::once(token.value.expose())
        .chain(lease.as_ref().map(|lease| lease.id.expose()))
        .collect();
    let warnings: Vec<String> = answer
        .warnings
        .iter()
        .flatten()
        .map(|text| words::tame(text, &hidden))
        .collect();
    let fields = match (request.shape, answer.data) {
        (Shape::Plain, Some(Field::Map(fields))) => fields,
        (Shape::KvV2, Some(Field::Map(mut outer))) => match outer.take("data") {
            Some(Field::Map(fields)) => fields,
            _ => return Err(missing(Missing::IsNotKvV2)),
        },
        (_, _) => {
            return Err(missing(if is_versioned_kv(&warnings) {
                Missing::IsKvV2
            } else {
                Missing::Empty
            }));
        }
    };
    if fields.is_empty() {
        return Err(missing(Missing::Empty));
    }
    let rotates_in = lease
        .is_none()
        .then(|| {
            fields
                .get("last_vault_rotation")
                .and(fields.get("ttl"))
                .and_then(Field::whole)
        })
        .flatten()
        .map(Duration::from_secs);
    let mut ends = None;
    if let Some(known) = request.known {
        let has_session = ["session_token", "security_token"]
            .iter()
            .any(|name| !matches!(fields.get(name), None | Some(Field::Null)));
        match &mut lease {
            Some(lease) => lease.revocation = known.revocation(has_session),
            None if known.end != End::Nothing => ends = end_of(&fields, issued),
            None => {}
        }
    }
    Ok(Lent {
        name: request.name.clone(),
        path: request.path.clone(),
        fields,
        lease,
        request_id: answer.request_id.filter(|id| !id.is_empty()),
        warnings,
        rotates_in,
        ends,
    })
}

/// The end that an engine tells in the credential itself: a moment (Google's tokens, certificates), or seconds from now.
fn end_of(fields: &Fields, issued: SystemTime) -> Option<SystemTime> {
    let whole = |name| fields.get(name).and_then(Field::whole);
    let moment = whole("expires_at_seconds")
        .or_else(|| whole("expiration"))
        .map(Duration::from_secs);
    match moment {
        Some(moment) => SystemTime::UNIX_EPOCH.checked_add(moment),
        None => issued.checked_add(whole("ttl").map(Duration::from_secs)?),
    }
}

/// A 404 says nothing, or (KV version 2) tells of a version that was deleted, or of a path in version 1's form.
fn absent(client: &Client, call: &Call<'_>, reply: &Reply) -> VaultError {
    let why = client.parse(call, reply).ok().and_then(|answer| {
        let warnings = answer.warnings.unwrap_or_default();
        if is_versioned_kv(&warnings) {
            return Some(Missing::IsKvV2);
        }
        let Some(Field::Map(data)) = answer.data else {
            return None;
        };
        let Some(Field::Map(metadata)) = data.get("metadata") else {
            return None;
        };
        let version = metadata.get("version").and_then(Field::whole)?;
        if metadata.get("destroyed") == Some(&Field::Bool(true)) {
            return Some(Missing::Destroyed { version });
        }
        let at = words::tame(metadata.get("deletion_time").and_then(Field::plain)?, &[]);
        Some(Missing::Deleted { version, at })
    });
    match why {
        Some(why) => VaultError::NoData {
            asked: Box::new(client.asked(call)),
            why,
        },
        None => client.refusal(call, reply),
    }
}

/// The words of the KV engine, version 2, to a request in version 1's form.
fn is_versioned_kv(warnings: &[String]) -> bool {
    warnings
        .iter()
        .any(|warning| warning.contains("versioned K/V"))
}

fn lease(answer: &Answer, request: &SecretRequest, issued: SystemTime) -> Option<Lease> {
    let id = answer.lease_id.as_ref().filter(|id| !id.is_empty())?;
    Some(Lease {
        id: LeaseId::new(id.clone()),
        path: request.path.clone(),
        issued,
        duration: Duration::from_secs(answer.lease_duration.unwrap_or(0)),
        renewable: answer.renewable.unwrap_or(false),
        revocation: Revocation::Ends,
    })
}
