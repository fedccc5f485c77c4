//! aws: the machine's AWS identity. It signs a request to STS (`GetCallerIdentity`), which is not sent but handed to Vault; Vault sends it,
//! and learns from STS who signed it.
//!
//! The signature is our own code ([`sigv4`]): SHA-256 and HMAC are ring's, which is here anyway. The crates that do the same were weighed
//! (docs/logins.md): they bring some sixty more crates for one fixed request. The identity is found as AWS's own programs find it
//! ([`credentials`]).
#![forbid(unsafe_code)]

mod credentials;
mod metadata;
mod profiles;
mod sigv4;
mod sts;

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Attempt, Surroundings, Token};
use crate::config::Aws;
use crate::vault::client::Client;
use crate::vault::error::VaultError;
use credentials::Credentials;
use sigv4::Signing;

/// The request that Vault sends on.
const BODY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

#[derive(Serialize)]
struct Body<'a> {
    role: &'a str,
    iam_http_request_method: &'static str,
    iam_request_url: &'a str,
    iam_request_body: &'a str,
    iam_request_headers: &'a str,
}

/// Finds the identity, signs, and logs in.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Aws,
) -> Result<Token, VaultError> {
    let credentials = credentials::find(client, around, login.profile.as_deref()).await?;
    let (url, headers) = signed(login, &credentials, SystemTime::now());
    let url = STANDARD.encode(url);
    let body = STANDARD.encode(BODY);
    let headers = Zeroizing::new(STANDARD.encode(&*headers));
    let attempt = Attempt {
        method: "aws",
        mount: &login.mount,
        below: "login",
        role: Some(&login.role),
        about: Some(format!("AWS credentials from {}", credentials.source)),
        hide: vec![&headers],
    };
    let body = Body {
        role: &login.role,
        iam_http_request_method: "POST",
        iam_request_url: &url,
        iam_request_body: &body,
        iam_request_headers: &headers,
    };
    super::send(client, around, attempt, &body).await
}

/// The address and the headers, as JSON, of the signed request.
fn signed(login: &Aws, credentials: &Credentials, now: SystemTime) -> (String, Zeroizing<String>) {
    let region = login.region.as_deref();
    let host = sts::host(region);
    let mut extra = Vec::new();
    if let Some(id) = &login.server_id {
        extra.push(("X-Vault-AWS-IAM-Server-ID", id.as_str()));
    }
    let signing = Signing {
        credentials,
        region: region.unwrap_or(sts::GLOBAL_REGION),
        service: "sts",
        host: &host,
        body: BODY,
        extra: &extra,
    };
    let headers: BTreeMap<&str, [Zeroizing<String>; 1]> = signing
        .headers(now)
        .into_iter()
        .map(|(name, value)| (name, [value]))
        .collect();
    let headers: BTreeMap<&str, [&str; 1]> = headers
        .iter()
        .map(|(name, [value])| (*name, [value.as_str()]))
        .collect();
    let json = serde_json::to_string(&headers).expect("texts always serialise");
    (format!("https://{host}/"), Zeroizing::new(json))
}
