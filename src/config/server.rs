//! Vault's settings: dbt-lease.yml's `vault:` and environments, and Vault's own variables below both.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::ConfigError;
use super::walk::{Cursor, Keys, Object};
use super::{Server, duration, path};
use crate::variables::Variables;

const LATER: &[&str] = &[
    "agent_address",
    "proxy_address",
    "http_proxy",
    "ca_cert_bytes",
    "srv_lookup",
    "headers",
    "rate_limit",
    "disable_redirects",
    "wrap_ttl",
    "addresses",
];
/// `vault:`
pub(super) const VAULT: Keys = Keys {
    known: &[
        "address",
        "namespace",
        "ca_cert",
        "ca_path",
        "client_cert",
        "client_key",
        "tls_server_name",
        "skip_verify",
        "timeout",
        "max_retries",
    ],
    later: LATER,
    elsewhere: &[(
        "auth",
        "a login stands under its environment: `environments: {NAME: {auth: …}}`",
    )],
};
/// An environment: its own keys and all of `vault:`.
pub(super) const ENVIRONMENT: Keys = Keys {
    known: &[
        "protected",
        "child_core_dumps",
        "auth",
        "targets",
        "address",
        "namespace",
        "ca_cert",
        "ca_path",
        "client_cert",
        "client_key",
        "tls_server_name",
        "skip_verify",
        "timeout",
        "max_retries",
    ],
    later: &[
        "agent_address",
        "proxy_address",
        "http_proxy",
        "ca_cert_bytes",
        "srv_lookup",
        "headers",
        "rate_limit",
        "disable_redirects",
        "wrap_ttl",
        "addresses",
    ],
    elsewhere: &[
        (
            "vault",
            "Vault's settings stand directly under the environment: `address: https://HOST:8200`",
        ),
        ("target", "write `targets: {NAME: database/creds/ROLE}`"),
    ],
};

/// Vault's official client waits so long for one request and tries it so often again.
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_RETRIES: u32 = 2;
/// More would only keep a dead run alive.
const MOST_RETRIES: u64 = 20;

/// The settings of one layer: what it says nothing about is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    address: Option<String>,
    namespace: Option<String>,
    ca_cert: Option<PathBuf>,
    ca_path: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    tls_server_name: Option<String>,
    skip_verify: Option<bool>,
    timeout: Option<Duration>,
    max_retries: Option<u32>,
}

impl Settings {
    /// Reads a mapping whose keys are checked.
    pub(super) fn of(object: &Object<'_>, home: Option<&Path>) -> Result<Self, ConfigError> {
        let file = |key: &str| object.get(key).map(|cursor| cursor.file(home)).transpose();
        let settings = Self {
            address: object.get("address").map(address).transpose()?,
            namespace: object.get("namespace").map(namespace).transpose()?,
            ca_cert: file("ca_cert")?,
            ca_path: file("ca_path")?,
            client_cert: file("client_cert")?,
            client_key: file("client_key")?,
            tls_server_name: object.get("tls_server_name").map(server_name).transpose()?,
            skip_verify: object.get("skip_verify").map(Cursor::flag).transpose()?,
            timeout: object.get("timeout").map(Cursor::duration).transpose()?,
            max_retries: object.get("max_retries").map(retries).transpose()?,
        };
        match (object.get("client_cert"), object.get("client_key")) {
            (Some(cursor), None) => {
                Err(cursor.bad("a certificate without its key", "add `client_key: FILE`"))
            }
            (None, Some(cursor)) => {
                Err(cursor.bad("a key without its certificate", "add `client_cert: FILE`"))
            }
            _ => Ok(settings),
        }
    }

    /// Reads Vault's variables: BAO_X over VAULT_X, also where BAO_X is empty; AGENT_ADDR over ADDR (OpenBao's `api/client.go`).
    pub(super) fn of_variables(variables: &Variables) -> Result<Self, ConfigError> {
        let text = |name: &str| text_of(variables, name);
        let file = |name: &str| text(name).map(|found| found.map(|(_, text)| PathBuf::from(text)));
        let address = match text("AGENT_ADDR")? {
            Some(found) => Some(found),
            None => text("ADDR")?,
        };
        Ok(Self {
            address: address
                .map(|(name, text)| {
                    normal_address(text).map_err(|problem| ConfigError::Variable {
                        name,
                        problem,
                        hint: ADDRESS_HINT,
                    })
                })
                .transpose()?,
            namespace: text("NAMESPACE")?
                .map(|(name, text)| {
                    let hint = "unset it, or set it to a namespace such as `admin/team`";
                    normal_namespace(text).ok_or(ConfigError::Variable {
                        name,
                        problem: "not a namespace",
                        hint,
                    })
                })
                .transpose()?,
            ca_cert: file("CACERT")?,
            ca_path: file("CAPATH")?,
            client_cert: file("CLIENT_CERT")?,
            client_key: file("CLIENT_KEY")?,
            tls_server_name: text("TLS_SERVER_NAME")?.map(|(_, text)| text.to_owned()),
            skip_verify: text("SKIP_VERIFY")?
                .map(|(name, text)| match text {
                    "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
                    "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
                    _ => Err(ConfigError::Variable {
                        name,
                        problem: "neither true nor false",
                        hint: "unset it, or set it to `true` or `false`",
                    }),
                })
                .transpose()?,
            timeout: text("CLIENT_TIMEOUT")?
                // Nought means "the default" to Vault's own client.
                .filter(|(_, text)| *text != "0")
                .map(|(name, text)| {
                    let hint = "unset it, or set it to a duration such as `60s`";
                    duration::parse_go(text).ok_or(ConfigError::Variable {
                        name,
                        problem: "not a duration",
                        hint,
                    })
                })
                .transpose()?,
            max_retries: text("MAX_RETRIES")?
                .map(|(name, text)| {
                    let hint = "unset it, or set it to a number such as `2`";
                    text.parse::<u64>()
                        .ok()
                        .and_then(|number| u32::try_from(number.min(MOST_RETRIES)).ok())
                        .ok_or(ConfigError::Variable {
                            name,
                            problem: "not a whole number",
                            hint,
                        })
                })
                .transpose()?,
        })
    }

    /// These settings, completed by those of the layer below.
    pub(super) fn over(self, below: Self) -> Self {
        // A certificate and its key are one setting.
        let (client_cert, client_key) = match (self.client_cert, self.client_key) {
            (None, None) => (below.client_cert, below.client_key),
            own => own,
        };
        // So are the two ways to say whom to trust.
        let (ca_cert, ca_path) = match (self.ca_cert, self.ca_path) {
            (None, None) => (below.ca_cert, below.ca_path),
            own => own,
        };
        Self {
            address: self.address.or(below.address),
            namespace: self.namespace.or(below.namespace),
            ca_cert,
            ca_path,
            client_cert,
            client_key,
            tls_server_name: self.tls_server_name.or(below.tls_server_name),
            skip_verify: self.skip_verify.or(below.skip_verify),
            timeout: self.timeout.or(below.timeout),
            max_retries: self.max_retries.or(below.max_retries),
        }
    }

    /// What is set, for people: key and value, as in dbt-lease.yml.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let file = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let rows = [
            ("address", self.address.clone()),
            ("namespace", self.namespace.clone()),
            ("ca_cert", file(&self.ca_cert)),
            ("ca_path", file(&self.ca_path)),
            ("client_cert", file(&self.client_cert)),
            ("client_key", file(&self.client_key)),
            ("tls_server_name", self.tls_server_name.clone()),
            ("skip_verify", self.skip_verify.map(|flag| flag.to_string())),
            (
                "timeout",
                self.timeout
                    .map(|timeout| format!("{} s", timeout.as_secs_f64())),
            ),
            (
                "max_retries",
                self.max_retries.map(|number| number.to_string()),
            ),
        ];
        rows.into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }

    /// The server, where there is an address.
    pub(super) fn server(self) -> Option<Server> {
        Some(Server {
            address: self.address?,
            namespace: self.namespace.filter(|namespace| !namespace.is_empty()),
            ca_cert: self.ca_cert,
            ca_path: self.ca_path,
            client_cert: self.client_cert,
            client_key: self.client_key,
            tls_server_name: self.tls_server_name,
            skip_verify: self.skip_verify.unwrap_or(false),
            timeout: self.timeout.unwrap_or(TIMEOUT),
            max_retries: self.max_retries.unwrap_or(MAX_RETRIES),
        })
    }
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
            normal_address(text).map_err(|problem| ConfigError::Variable {
                name,
                problem,
                hint: ADDRESS_HINT,
            })
        })
        .collect()
}

const ADDRESS_HINT: &str = "write https://HOST:PORT, http://127.0.0.1:PORT or unix:///PATH";

fn address(cursor: &Cursor<'_>) -> Result<String, ConfigError> {
    normal_address(cursor.text("Vault's address, for example `https://vault.example.com:8200`")?)
        .map_err(|problem| cursor.bad(problem, ADDRESS_HINT))
}

/// The address with its scheme and host in small letters and no slash at its end.
fn normal_address(text: &str) -> Result<String, &'static str> {
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("an address with white space");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("an address without its scheme");
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme == "unix" {
        return if rest.starts_with('/') && rest.len() > 1 {
            Ok(format!("unix://{rest}"))
        } else {
            Err("a socket without its path")
        };
    }
    if scheme != "https" && scheme != "http" {
        return Err("an address with a scheme other than https, http or unix");
    }
    if rest.contains('@') {
        return Err("an address with a user in it");
    }
    if rest.contains(['?', '#', '%', '\\']) {
        return Err("an address with `?`, `#`, `%` or a backslash");
    }
    let rest = rest.trim_end_matches('/');
    let (host, below) = match rest.split_once('/') {
        Some((host, below)) => (host, Some(below)),
        None => (rest, None),
    };
    if below.is_some_and(|below| path::problem(below).is_some()) {
        return Err("an address with an odd path");
    }
    let (name, port) = match host
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
    {
        Some((name, port)) => (
            name,
            port.strip_prefix(':')
                .or(if port.is_empty() { None } else { Some("") }),
        ),
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    if name.is_empty() {
        return Err("an address without a host");
    }
    if port.is_some_and(|port| {
        !port.starts_with(|c: char| ('1'..='9').contains(&c)) || port.parse::<u16>().is_err()
    }) {
        return Err("an address with an odd port");
    }
    let host = host.to_ascii_lowercase();
    Ok(match below {
        Some(below) => format!("{scheme}://{host}/{below}"),
        None => format!("{scheme}://{host}"),
    })
}

fn namespace(cursor: &Cursor<'_>) -> Result<String, ConfigError> {
    normal_namespace(cursor.text("a namespace, for example `admin/team`")?).ok_or_else(|| {
        cursor.bad(
            "not a namespace",
            "segments of letters, digits and `._@-`, for example `admin/team`",
        )
    })
}

/// The namespace without slashes at its ends; empty for the root, so that an environment can say so over `vault:`.
fn normal_namespace(text: &str) -> Option<String> {
    let trimmed = text.strip_prefix('/').unwrap_or(text);
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    match trimmed {
        "" | "root" => Some(String::new()),
        _ => path::problem(trimmed).is_none().then(|| trimmed.to_owned()),
    }
}

fn server_name(cursor: &Cursor<'_>) -> Result<String, ConfigError> {
    let text = cursor.text("the name in the server's certificate")?;
    if !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte))
    {
        return Ok(text.to_owned());
    }
    Err(cursor.bad(
        "not a host name",
        "write the name in the server's certificate, for example `vault.example.com`",
    ))
}

fn retries(cursor: &Cursor<'_>) -> Result<u32, ConfigError> {
    let number = cursor.whole("a number of retries, for example 2")?;
    u32::try_from(number)
        .ok()
        .filter(|_| number <= MOST_RETRIES)
        .ok_or_else(|| {
            cursor.bad(
                "more retries than make sense",
                &format!("write 0 to {MOST_RETRIES}"),
            )
        })
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
        None => Err(ConfigError::Variable {
            name,
            problem: "not UTF-8",
            hint: "unset it, or set it to plain text",
        }),
    }
}
