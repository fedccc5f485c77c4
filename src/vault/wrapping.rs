//! Secrets in a wrapped answer (`wrap_ttl:`), for policies that allow a path only so (`min_wrapping_ttl`), and so that what stands
//! between us and Vault sees no secret but the one that it cannot use a second time.
//!
//! Two requests more for each secret: a lookup says where the wrapping token was made, which must be the path that was asked for;
//! then it is unwrapped, once. What is lost on the way is swept by the end of the session's own token.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;

use super::call::{Call, Repeat, Reply};
use super::client::Client;
use super::error::{Tampering, VaultError};
use super::fields::Field;
use super::words;
use crate::secret::Secret;

#[derive(Deserialize)]
struct Wrapped {
    wrap_info: Option<WrapInfo>,
}

#[derive(Deserialize)]
struct WrapInfo {
    #[serde(deserialize_with = "crate::secret::told::deserialize")]
    token: Secret,
}

/// The answer to a request, asked for in a wrapping that lives so long and taken out of it.
///
/// # Errors
/// [`VaultError::Exchanged`]; [`VaultError::BadAnswer`] for an answer that is not wrapped; what the client gives.
pub(crate) async fn send(
    client: &Client,
    call: &Call<'_>,
    ttl: Duration,
) -> Result<Reply, VaultError> {
    let wrapped = Call {
        wanted: call.wanted.clone(),
        method: call.method.clone(),
        query: call.query.clone(),
        body: call.body.clone(),
        hide: call.hide.clone(),
        wrap: Some(ttl),
        ..*call
    };
    let reply = client.carry(&wrapped).await?;
    if !(200..300).contains(&reply.code) {
        return Ok(reply);
    }
    let info = serde_json::from_slice::<Wrapped>(&reply.body).ok();
    let Some(WrapInfo { token }) = info.and_then(|wrapped| wrapped.wrap_info) else {
        return Err(client.bad(
            &wrapped,
            "it is not wrapped, though that was asked for".to_owned(),
        ));
    };
    let exchanged = |tampering| VaultError::Exchanged {
        asked: Box::new(client.asked(&wrapped)),
        tampering,
    };
    let body = BTreeMap::from([("token", token.expose())]);
    let mut lookup =
        Call::new(call.wanted.clone(), Method::PUT, "sys/wrapping/lookup").with_body(&body);
    lookup.hide = vec![token.expose()];
    lookup.deadline = call.deadline;
    let answer = client.carry(&lookup).await?;
    match answer.code {
        200..300 => {}
        400 | 403 | 404 => return Err(exchanged(Tampering::Spent)),
        _ => return Err(client.refusal(&lookup, &answer)),
    }
    let data = client.parse(&lookup, &answer)?.data;
    let found = match &data {
        Some(Field::Map(fields)) => fields.get("creation_path").and_then(Field::plain),
        _ => None,
    };
    if found != Some(call.path) {
        return Err(exchanged(Tampering::Foreign {
            expected: call.path.to_owned(),
            found: words::tame(found.unwrap_or_default(), &[]),
        }));
    }
    let mut unwrap =
        Call::new(call.wanted.clone(), Method::PUT, "sys/wrapping/unwrap").with_token(&token);
    unwrap.repeat = Repeat::WhenNothingWasDone;
    unwrap.hide = call.hidden();
    unwrap.deadline = call.deadline;
    let answer = client.carry(&unwrap).await?;
    match answer.code {
        400 | 403 | 404 => Err(exchanged(Tampering::Spent)),
        _ => Ok(answer),
    }
}
