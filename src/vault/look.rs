//! Questions about a server and a token for those who look and borrow nothing: a run asks none of them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde::Deserialize;

use super::auth::Token;
use super::call::{Call, Reply};
use super::client::Client;
use super::error::{VaultError, Wanted};
use super::fields::{Field, Fields};
use super::words;
use crate::secret::Secret;

/// What a server says of itself without a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether somebody has to unseal it.
    pub sealed: bool,
    /// `shamir`, or what unseals it by itself (`awskms`, `static`, …); tamed.
    pub seal: String,
    /// Its version; tamed.
    pub version: String,
    /// By how much its clock is ahead of ours (positive) or behind, in seconds; none where it does not say its time.
    pub ahead: Option<i64>,
}

#[derive(Deserialize)]
struct SealStatus {
    sealed: bool,
    #[serde(rename = "type")]
    kind: Option<String>,
    version: Option<String>,
}

/// Asks a server for its seal, without a token. A sealed one answers too.
///
/// # Errors
/// What the client gives.
pub async fn health(client: &Client) -> Result<Health, VaultError> {
    let call = Call::new(
        Wanted::Look { what: "the seal" },
        Method::GET,
        "sys/seal-status",
    );
    let reply = client.demand(&call).await?;
    let status: SealStatus = serde_json::from_slice(&reply.body)
        .map_err(|_| client.bad(&call, "it does not tell of a seal".to_owned()))?;
    let text = |text: Option<String>| words::tame(&text.unwrap_or_default(), &[]);
    Ok(Health {
        sealed: status.sealed,
        seal: text(status.kind),
        version: text(status.version),
        ahead: ahead(&reply, SystemTime::now()),
    })
}

fn ahead(reply: &Reply, now: SystemTime) -> Option<i64> {
    let date = http_date(reply.date.as_deref()?)?;
    let seconds = |time: Duration| i64::try_from(time.as_secs()).ok();
    match date.duration_since(now) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => seconds(behind.duration()).map(|seconds| -seconds),
    }
}

/// `Tue, 24 Nov 2026 17:28:14 GMT`, the only form that a server may write today (RFC 9110).
fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_, rest) = text.split_once(", ")?;
    let parts: Vec<&str> = rest.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    humantime::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

/// What a token may do on paths: the capabilities of each, `deny` left out. `token` may be another server's business alone where
/// that is the same cluster.
///
/// # Errors
/// What the client gives; 403 where the policy lacks `sys/capabilities-self`.
pub async fn capabilities(
    client: &Client,
    token: &Token,
    paths: &[String],
) -> Result<BTreeMap<String, Vec<String>>, VaultError> {
    let body = BTreeMap::from([("paths", paths)]);
    let wanted = Wanted::Look {
        what: "what the token may do",
    };
    let call = Call::new(wanted, Method::POST, "sys/capabilities-self")
        .with_token(&token.value)
        .with_body(&body);
    let answer = client.ask(&call).await?;
    let Some(Field::Map(data)) = &answer.data else {
        return Err(client.bad(&call, "it lists no capabilities".to_owned()));
    };
    paths
        .iter()
        .map(|path| {
            let Some(Field::List(found)) = data.get(path) else {
                let problem = format!("it says nothing of `{path}`");
                return Err(client.bad(&call, problem));
            };
            let known = found
                .iter()
                .filter_map(Field::plain)
                .filter(|capability| *capability != "deny")
                .map(|capability| words::tame(capability, &[]))
                .collect();
            Ok((path.clone(), known))
        })
        .collect()
}

/// What stands at a path that holds no secret: a role, a mount, the audit devices. None where nothing does.
///
/// # Errors
/// What the client gives; 403 where the policy lacks it.
pub async fn at(
    client: &Client,
    token: &Token,
    what: &'static str,
    path: &str,
) -> Result<Option<Fields>, VaultError> {
    let call = Call::new(Wanted::Look { what }, Method::GET, path).with_token(&token.value);
    fields(client, &call).await
}

/// What Vault knows of a secret id.
///
/// # Errors
/// What the client gives; 403 where the policy lacks it.
pub async fn secret_id(
    client: &Client,
    token: &Token,
    role_path: &str,
    secret_id: &Secret,
) -> Result<Option<Fields>, VaultError> {
    let path = format!("{role_path}/secret-id/lookup");
    let body = BTreeMap::from([("secret_id", secret_id.expose())]);
    let wanted = Wanted::Look {
        what: "the secret id",
    };
    let mut call = Call::new(wanted, Method::POST, &path)
        .with_token(&token.value)
        .with_body(&body);
    call.hide = vec![secret_id.expose()];
    fields(client, &call).await
}

async fn fields(client: &Client, call: &Call<'_>) -> Result<Option<Fields>, VaultError> {
    let reply = client.send(call).await?;
    match reply.code {
        // An unknown secret id is a 204.
        204 | 404 => Ok(None),
        200..300 => match client.parse(call, &reply)?.data {
            Some(Field::Map(fields)) => Ok(Some(fields)),
            _ => Ok(None),
        },
        _ => Err(client.refusal(call, &reply)),
    }
}

impl Fields {
    /// A text that is no secret, made fit to be shown.
    pub fn said(&self, name: &str) -> Option<String> {
        self.get(name)
            .and_then(Field::plain)
            .map(|text| words::tame(text, &[]))
    }

    /// A number of seconds, or of uses.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(Field::whole)
    }

    /// A list of texts that are no secrets; one text alone is a list of one.
    pub fn texts(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Some(Field::List(list)) => list
                .iter()
                .filter_map(Field::plain)
                .map(str::to_owned)
                .collect(),
            Some(Field::Text(text)) if !text.is_empty() => vec![text.expose().to_owned()],
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_date_is_read_and_nothing_else() {
        let known = humantime::parse_rfc3339("2026-11-04T07:08:09Z").expect("a time");
        assert_eq!(http_date("Wed, 04 Nov 2026 07:08:09 GMT"), Some(known));
        for odd in [
            "",
            "Wed, 04 Nov 2026 07:08:09",
            "Wednesday, 04-Nov-26 07:08:09 GMT",
            "Wed, 99 Nov 2026 07:08:09 GMT",
            "Wed, 04 \u{1b} 2026 07:08:09 GMT",
        ] {
            assert_eq!(http_date(odd), None, "{odd}");
        }
    }
}
