//! Vault's and OpenBao's own variables. Each has its row in docs/vault.md, with the test that holds it.
//!
//! BAO_X counts before VAULT_X, also where it is empty, as for OpenBao's own client.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use super::proxy::{Proxy, Said};
use super::{MOST_RETRIES, RateLimit, Settings, address, headers, normal_namespace};
use crate::config::duration;
use crate::config::error::ConfigError;
use crate::secret::Secret;
use crate::variables::Variables;

/// What the variables say.
pub(super) fn read(variables: &Variables) -> Result<Settings, ConfigError> {
    let text = |name: &str| text_of(variables, name);
    let file = |name: &str| text(name).map(|found| found.map(|(_, text)| PathBuf::from(text)));
    let flag = |name: &str| -> Result<Option<bool>, ConfigError> {
        text(name)?
            .map(|(name, text)| {
                // Go's `strconv.ParseBool`.
                match text {
                    "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
                    "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
                    _ => Err(unusable(
                        name,
                        "neither true nor false",
                        "unset it, or set it to `true` or `false`",
                    )),
                }
            })
            .transpose()
    };
    let duration = |name: &str| -> Result<Option<Duration>, ConfigError> {
        text(name)?
            // Nought means "the default" to Vault's own client.
            .filter(|(_, text)| *text != "0")
            .map(|(name, text)| {
                let hint = "unset it, or set it to a duration such as `60s`";
                duration::parse_go(text).ok_or_else(|| unusable(name, "not a duration", hint))
            })
            .transpose()
    };
    let at = match text("AGENT_ADDR")? {
        Some(found) => Some(found),
        None => text("ADDR")?,
    };
    let proxy = match text("PROXY_ADDR")? {
        Some(found) => Some(found),
        None => text("HTTP_PROXY")?,
    };
    Ok(Settings {
        addresses: at
            .map(|(name, text)| {
                address::normal(text)
                    .map(|address| vec![address])
                    .map_err(|problem| unusable(name, problem, address::HINT))
            })
            .transpose()?,
        namespace: text("NAMESPACE")?
            .map(|(name, text)| {
                let hint = "unset it, or set it to a namespace such as `admin/team`";
                normal_namespace(text).ok_or_else(|| unusable(name, "not a namespace", hint))
            })
            .transpose()?,
        ca_cert: file("CACERT")?,
        ca_pem: text("CACERT_BYTES")?.map(|(_, text)| text.to_owned()),
        ca_path: file("CAPATH")?,
        client_cert: file("CLIENT_CERT")?,
        client_key: file("CLIENT_KEY")?,
        client_pem: pair(text("CLIENT_CERT_BYTES")?, text("CLIENT_KEY_BYTES")?)?,
        tls_server_name: text("TLS_SERVER_NAME")?.map(|(_, text)| text.to_owned()),
        skip_verify: flag("SKIP_VERIFY")?,
        timeout: duration("CLIENT_TIMEOUT")?,
        max_retries: text("MAX_RETRIES")?
            .map(|(name, text)| {
                let hint = "unset it, or set it to a number such as `2`";
                text.parse::<u64>()
                    .ok()
                    .and_then(|number| u32::try_from(number.min(MOST_RETRIES)).ok())
                    .ok_or_else(|| unusable(name, "not a whole number", hint))
            })
            .transpose()?,
        proxy: proxy.map(|(name, text)| Said::For(Proxy::new(text, &name))),
        headers: text("HEADERS")?
            .map(|(name, text)| {
                let hint = "unset it, or set it to a JSON object such as `{\"name\": \"value\"}`";
                headers::of_variable(&name, text).map_err(|problem| unusable(name, problem, hint))
            })
            .transpose()?
            .unwrap_or_default(),
        rate_limit: text("RATE_LIMIT")?
            .map(|(name, text)| {
                let hint = "unset it, or set it to requests a second such as `10`, or with a burst `10:20`";
                RateLimit::parse(text).ok_or_else(|| unusable(name, "not a rate", hint))
            })
            .transpose()?,
        srv_lookup: flag("SRV_LOOKUP")?,
        disable_redirects: flag("DISABLE_REDIRECTS")?,
        wrap_ttl: None,
        start_jitter: None,
    })
}

/// The user's own addresses, which no file can say: BAO_ADDR (else VAULT_ADDR), and the agent's where that is set.
///
/// # Errors
/// A variable that holds no address.
pub fn own_addresses(variables: &Variables) -> Result<Vec<String>, ConfigError> {
    ["ADDR", "AGENT_ADDR"]
        .into_iter()
        .filter_map(|name| text_of(variables, name).transpose())
        .map(|found| {
            let (name, text) = found?;
            address::normal(text).map_err(|problem| unusable(name, problem, address::HINT))
        })
        .collect()
}

/// A certificate and its key are one setting.
fn pair(
    certificate: Option<(String, &str)>,
    key: Option<(String, &str)>,
) -> Result<Option<(String, Secret)>, ConfigError> {
    match (certificate, key) {
        (None, None) => Ok(None),
        (Some((_, certificate)), Some((_, key))) => {
            Ok(Some((certificate.to_owned(), Secret::new(key.to_owned()))))
        }
        (Some((name, _)), None) => Err(unusable(
            name,
            "a certificate without its key",
            "set BAO_CLIENT_KEY_BYTES too",
        )),
        (None, Some((name, _))) => Err(unusable(
            name,
            "a key without its certificate",
            "set BAO_CLIENT_CERT_BYTES too",
        )),
    }
}

fn unusable(name: String, problem: &'static str, hint: &'static str) -> ConfigError {
    ConfigError::Variable {
        name,
        problem,
        hint,
    }
}

/// The value of BAO_X, or of VAULT_X where BAO_X is not there at all; with the name that was read.
fn text_of<'v>(
    variables: &'v Variables,
    name: &str,
) -> Result<Option<(String, &'v str)>, ConfigError> {
    let (name, value) = match (
        variables.os(&format!("BAO_{name}")),
        variables.os(&format!("VAULT_{name}")),
    ) {
        (Some(value), _) => (format!("BAO_{name}"), value),
        (None, Some(value)) => (format!("VAULT_{name}"), value),
        (None, None) => return Ok(None),
    };
    match value.to_str() {
        Some("") => Ok(None),
        Some(text) => Ok(Some((name, text))),
        None => Err(unusable(
            name,
            "not UTF-8",
            "unset it, or set it to plain text",
        )),
    }
}
