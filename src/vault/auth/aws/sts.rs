//! STS: a role for an identity, which may be another role's, or a token of a cluster or CI system.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use reqwest::{Method, Url};
use zeroize::Zeroizing;

use super::super::web::{Ask, Web};
use super::credentials::{Credentials, Trouble};
use super::sigv4::{CONTENT_TYPE, Signing};
use crate::secret::Secret;
use crate::variables::Variables;
use crate::vault::client::Client;

/// Where the global STS is.
pub(super) const GLOBAL_REGION: &str = "us-east-1";

/// The host of a region's STS; the global one's without a region.
pub(super) fn host(region: Option<&str>) -> String {
    match region {
        None => "sts.amazonaws.com".to_owned(),
        Some(region) if region.starts_with("cn-") => format!("sts.{region}.amazonaws.com.cn"),
        Some(region) => format!("sts.{region}.amazonaws.com"),
    }
}

/// Asks for a role: signed by `identity`, where one is given; else the parameters hold a token that speaks for itself.
pub(super) async fn assume(
    client: &Client,
    variables: &Variables,
    region: Option<&str>,
    identity: Option<&Credentials>,
    parameters: &[(&str, &str)],
    source: String,
) -> Result<Credentials, Trouble> {
    let region = region
        .or_else(|| variables.text("AWS_REGION"))
        .or_else(|| variables.text("AWS_DEFAULT_REGION"));
    // AWS's own variables for it: a private endpoint, or a test's.
    let named = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| Some((name, variables.text(name)?)));
    let url = match named {
        Some((name, text)) => Web::private(text, name)?,
        None => Web::address(&format!("https://{}/", host(region)), "AWS_REGION")?,
    };
    let body = form(parameters);
    let authority = authority(&url);
    let signed;
    let headers: Vec<(&'static str, &str)> = match identity {
        None => vec![("Content-Type", CONTENT_TYPE)],
        Some(credentials) => {
            signed = Signing {
                credentials,
                region: region.unwrap_or(GLOBAL_REGION),
                service: "sts",
                host: &authority,
                body: &body,
                extra: &[],
            }
            .headers(SystemTime::now());
            signed
                .iter()
                // The HTTP client says the host itself.
                .filter(|(name, _)| *name != "Host")
                .map(|(name, value)| (*name, value.as_str()))
                .collect()
        }
    };
    let hide = parameters
        .iter()
        .filter(|(name, _)| *name == "WebIdentityToken" || *name == "TokenCode")
        .map(|(_, value)| *value)
        .collect();
    let ask = Ask {
        method: Method::POST,
        url,
        headers,
        body: Some(body.as_bytes().to_vec()),
        hide,
    };
    let address = ask.address();
    let reply = Web::through_proxy().send(client, &ask).await?;
    let xml = std::str::from_utf8(&reply.body).unwrap_or_default();
    match (
        element(xml, "AccessKeyId"),
        element(xml, "SecretAccessKey"),
        element(xml, "SessionToken"),
    ) {
        (Some(access_key), Some(secret_key), Some(token)) => Ok(Credentials {
            access_key: access_key.to_owned(),
            secret_key: Secret::new(secret_key.to_owned()),
            session_token: Some(Secret::new(token.to_owned())),
            source,
        }),
        _ => Err(Trouble::NoCredentials { address }),
    }
}

/// A form's body.
fn form(parameters: &[(&str, &str)]) -> Zeroizing<String> {
    let mut url = Url::parse("http://form").expect("an address");
    url.query_pairs_mut()
        .extend_pairs(parameters)
        .append_pair("Version", "2011-06-15");
    Zeroizing::new(url.query().unwrap_or_default().to_owned())
}

/// Host, and port where it is not the scheme's own.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// The text of the first element of that name. STS's answers hold nothing that would need more of XML.
fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim()).filter(|text| !text.is_empty())
}
