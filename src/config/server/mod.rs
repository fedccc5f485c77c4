//! Vault's settings: dbt-lease.yml's `vault:` and environments, and Vault's own variables below both.
#![forbid(unsafe_code)]

mod address;
mod headers;
mod proxy;
#[cfg(test)]
mod tests;
mod variables;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use headers::Header;
pub use proxy::{Proxies, Proxy};
pub use variables::own_addresses;

use super::error::ConfigError;
use super::path;
use super::walk::{Cursor, Keys, Object};
use crate::secret::{self, Secret};
use crate::variables::Variables;

/// What is written here out of habit, with what to write.
const ELSEWHERE: [(&str, &str); 6] = [
    (
        "auth",
        "a login stands under its environment: `environments: {NAME: {auth: …}}`",
    ),
    (
        "agent_address",
        "an agent's listener is an address like any other: `address: http://127.0.0.1:8100`",
    ),
    (
        "addresses",
        "`address` takes a list, tried in order: `address: [https://a:8200, https://b:8200]`",
    ),
    ("proxy_address", "the key is `http_proxy`"),
    ("https_proxy", "the key is `http_proxy`, for https too"),
    ("ca_cert_bytes", "write it to a file: `ca_cert: FILE`"),
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
        "http_proxy",
        "headers",
        "rate_limit",
        "srv_lookup",
        "disable_redirects",
        "wrap_ttl",
        "start_jitter",
    ],
    later: &[],
    elsewhere: &ELSEWHERE,
};
/// An environment: its own keys and all of `vault:`.
pub(super) const ENVIRONMENT: Keys = Keys {
    known: &joined::<_, { 4 + VAULT.known.len() }>(
        &["protected", "child_core_dumps", "auth", "targets"],
        VAULT.known,
    ),
    later: &[],
    // A login does stand here.
    elsewhere: &joined::<_, { 1 + ELSEWHERE.len() }>(
        &[
            (
                "vault",
                "Vault's settings stand directly under the environment: `address: https://HOST:8200`",
            ),
            ("target", "write `targets: {NAME: database/creds/ROLE}`"),
        ],
        ELSEWHERE.split_at(1).1,
    ),
};

/// Two lists in one, when the program is built.
const fn joined<T: Copy, const N: usize>(first: &[T], second: &[T]) -> [T; N] {
    assert!(first.len() + second.len() == N);
    let mut all = [first[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < first.len() {
            first[at]
        } else {
            second[at - first.len()]
        };
        at += 1;
    }
    all
}

/// Vault's official client waits so long for one request and tries it so often again.
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_RETRIES: u32 = 2;
/// More would only keep a dead run alive.
const MOST_RETRIES: u64 = 20;
/// More addresses than any cluster has nodes.
const MOST_ADDRESSES: usize = 9;

/// How to reach one Vault: dbt-lease.yml and Vault's own variables, merged for one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `https://host:port`, `http://…` or `unix:///path`, without a trailing slash. The record names the server by it.
    pub address: String,
    /// Further addresses of the same cluster, tried in order where the ones before do not answer.
    pub more_addresses: Vec<String>,
    /// The namespace, sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// A PEM file of certificate authorities; then the machine's own roots are not loaded.
    pub ca_cert: Option<PathBuf>,
    /// Certificate authorities, PEM; after `ca_cert`.
    pub ca_pem: Option<String>,
    /// A directory of PEM files; after the other two.
    pub ca_path: Option<PathBuf>,
    /// A client certificate, PEM.
    pub client_cert: Option<PathBuf>,
    /// Its key, PEM.
    pub client_key: Option<PathBuf>,
    /// Both, where they come by value (BAO_CLIENT_CERT_BYTES, BAO_CLIENT_KEY_BYTES); after the files.
    pub client_pem: Option<ClientPem>,
    /// The name to verify in the server's certificate, where it is not the address's host.
    pub tls_server_name: Option<String>,
    /// Do not verify the server's certificate.
    pub skip_verify: bool,
    /// A bound on each request, from start to the answer's last byte.
    pub timeout: Duration,
    /// How often a request is tried again.
    pub max_retries: u32,
    /// What decides on the proxy of an address.
    pub proxies: Proxies,
    /// Further headers of each request.
    pub headers: Vec<Header>,
    /// How fast requests may follow each other.
    pub rate_limit: Option<RateLimit>,
    /// Look the host up by DNS SRV where its address names no port.
    pub srv_lookup: bool,
    /// Follow no redirect at all.
    pub disable_redirects: bool,
    /// Ask for secrets in a wrapped answer that lives so long.
    pub wrap_ttl: Option<Duration>,
    /// Wait a random part of this before the login, so that jobs of one minute do not come at once.
    pub start_jitter: Duration,
}

impl Server {
    /// The server at that address, with nothing else said.
    pub fn at(address: String) -> Self {
        Self {
            address,
            more_addresses: Vec::new(),
            namespace: None,
            ca_cert: None,
            ca_pem: None,
            ca_path: None,
            client_cert: None,
            client_key: None,
            client_pem: None,
            tls_server_name: None,
            skip_verify: false,
            timeout: TIMEOUT,
            max_retries: MAX_RETRIES,
            proxies: Proxies::default(),
            headers: Vec::new(),
            rate_limit: None,
            srv_lookup: false,
            disable_redirects: false,
            wrap_ttl: None,
            start_jitter: Duration::ZERO,
        }
    }

    /// All addresses, the first one first.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.address)
            .chain(&self.more_addresses)
            .map(String::as_str)
    }
}

/// A client certificate and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientPem {
    /// The certificate, with what signed it.
    pub certificate: String,
    /// The key.
    #[serde(with = "secret::told")]
    pub key: Secret,
}

/// How fast requests may follow each other: Go's token bucket, as Vault's own client has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// How long one request's place takes to come back.
    pub interval: Duration,
    /// How many may go at once.
    pub burst: u32,
}

impl RateLimit {
    /// `RATE` or `RATE:BURST`, requests a second; without a burst it is the rate's whole number, and one at least.
    fn parse(text: &str) -> Option<Self> {
        let (rate, burst) = match text.split_once(':') {
            Some((rate, burst)) => (rate, Some(burst.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let rate: f64 = rate.parse().ok()?;
        let interval = Duration::try_from_secs_f64(1.0 / rate).ok()?;
        let whole = (rate as u32).max(1);
        (rate > 0.0 && rate.is_finite() && burst != Some(0)).then_some(Self {
            interval,
            burst: burst.unwrap_or(whole),
        })
    }
}

/// The settings of one layer: what it says nothing about is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    addresses: Option<Vec<String>>,
    namespace: Option<String>,
    ca_cert: Option<PathBuf>,
    ca_pem: Option<String>,
    ca_path: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    client_pem: Option<(String, Secret)>,
    tls_server_name: Option<String>,
    skip_verify: Option<bool>,
    timeout: Option<Duration>,
    max_retries: Option<u32>,
    proxy: Option<proxy::Said>,
    headers: Vec<Header>,
    rate_limit: Option<RateLimit>,
    srv_lookup: Option<bool>,
    disable_redirects: Option<bool>,
    wrap_ttl: Option<Duration>,
    start_jitter: Option<Duration>,
}

impl Settings {
    /// Reads a mapping whose keys are checked.
    pub(super) fn of(
        object: &Object<'_>,
        home: Option<&Path>,
        variables: &Variables,
    ) -> Result<Self, ConfigError> {
        let file = |key: &str| object.get(key).map(|cursor| cursor.file(home)).transpose();
        let flag = |key: &str| object.get(key).map(Cursor::flag).transpose();
        let duration = |key: &str| object.get(key).map(Cursor::duration).transpose();
        let settings = Self {
            addresses: object.get("address").map(addresses).transpose()?,
            namespace: object.get("namespace").map(namespace).transpose()?,
            ca_cert: file("ca_cert")?,
            ca_pem: None,
            ca_path: file("ca_path")?,
            client_cert: file("client_cert")?,
            client_key: file("client_key")?,
            client_pem: None,
            tls_server_name: object.get("tls_server_name").map(server_name).transpose()?,
            skip_verify: flag("skip_verify")?,
            timeout: duration("timeout")?,
            max_retries: object.get("max_retries").map(retries).transpose()?,
            proxy: object.get("http_proxy").map(http_proxy).transpose()?,
            headers: object
                .get("headers")
                .map(|cursor| headers::read(cursor, variables))
                .transpose()?
                .unwrap_or_default(),
            rate_limit: object.get("rate_limit").map(rate_limit).transpose()?,
            srv_lookup: flag("srv_lookup")?,
            disable_redirects: flag("disable_redirects")?,
            wrap_ttl: duration("wrap_ttl")?,
            start_jitter: duration("start_jitter")?,
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

    /// Reads Vault's variables.
    pub(super) fn of_variables(variables: &Variables) -> Result<Self, ConfigError> {
        variables::read(variables)
    }

    /// These settings, completed by those of the layer below.
    pub(super) fn over(self, below: Self) -> Self {
        // A certificate and its key are one setting.
        let (client_cert, client_key, client_pem) =
            match (self.client_cert, self.client_key, self.client_pem) {
                (None, None, None) => (below.client_cert, below.client_key, below.client_pem),
                own => own,
            };
        // So are the ways to say whom to trust.
        let (ca_cert, ca_pem, ca_path) = match (self.ca_cert, self.ca_pem, self.ca_path) {
            (None, None, None) => (below.ca_cert, below.ca_pem, below.ca_path),
            own => own,
        };
        Self {
            addresses: self.addresses.or(below.addresses),
            namespace: self.namespace.or(below.namespace),
            ca_cert,
            ca_pem,
            ca_path,
            client_cert,
            client_key,
            client_pem,
            tls_server_name: self.tls_server_name.or(below.tls_server_name),
            skip_verify: self.skip_verify.or(below.skip_verify),
            timeout: self.timeout.or(below.timeout),
            max_retries: self.max_retries.or(below.max_retries),
            proxy: self.proxy.or(below.proxy),
            headers: headers::over(self.headers, below.headers),
            rate_limit: self.rate_limit.or(below.rate_limit),
            srv_lookup: self.srv_lookup.or(below.srv_lookup),
            disable_redirects: self.disable_redirects.or(below.disable_redirects),
            wrap_ttl: self.wrap_ttl.or(below.wrap_ttl),
            start_jitter: self.start_jitter.or(below.start_jitter),
        }
    }

    /// What is set, for people: key and value, as in dbt-lease.yml.
    pub(super) fn rows(&self) -> Vec<(&'static str, String)> {
        let file = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let flag = |flag: Option<bool>| flag.map(|flag| flag.to_string());
        let seconds = |time: Option<Duration>| time.map(|time| format!("{} s", time.as_secs_f64()));
        let rows = [
            ("address", self.addresses.as_ref().map(|all| all.join(", "))),
            ("namespace", self.namespace.clone()),
            ("ca_cert", file(&self.ca_cert)),
            ("ca_path", file(&self.ca_path)),
            ("client_cert", file(&self.client_cert)),
            ("client_key", file(&self.client_key)),
            ("tls_server_name", self.tls_server_name.clone()),
            ("skip_verify", flag(self.skip_verify)),
            ("timeout", seconds(self.timeout)),
            (
                "max_retries",
                self.max_retries.map(|number| number.to_string()),
            ),
            (
                "http_proxy",
                self.proxy.as_ref().map(|said| match said {
                    proxy::Said::No => "none".to_owned(),
                    proxy::Said::For(proxy) => proxy.shown(),
                }),
            ),
            (
                "rate_limit",
                self.rate_limit.map(|limit| {
                    let interval = limit.interval.as_secs_f64();
                    format!("a request every {interval:.3} s, {} at once", limit.burst)
                }),
            ),
            ("srv_lookup", flag(self.srv_lookup)),
            ("disable_redirects", flag(self.disable_redirects)),
            ("wrap_ttl", seconds(self.wrap_ttl)),
            ("start_jitter", seconds(self.start_jitter)),
        ];
        let headers = self
            .headers
            .iter()
            .map(|header| ("headers", header.shown()));
        rows.into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .chain(headers)
            .collect()
    }

    /// The server, where there is an address; `variables` say what proxies the machine has.
    pub(super) fn server(self, variables: &Variables) -> Option<Server> {
        let mut addresses = self.addresses?.into_iter();
        let plain = Server::at(addresses.next()?);
        Some(Server {
            more_addresses: addresses.collect(),
            namespace: self.namespace.filter(|namespace| !namespace.is_empty()),
            ca_cert: self.ca_cert,
            ca_pem: self.ca_pem,
            ca_path: self.ca_path,
            client_cert: self.client_cert,
            client_key: self.client_key,
            client_pem: self
                .client_pem
                .map(|(certificate, key)| ClientPem { certificate, key }),
            tls_server_name: self.tls_server_name,
            skip_verify: self.skip_verify.unwrap_or(plain.skip_verify),
            timeout: self.timeout.unwrap_or(plain.timeout),
            max_retries: self.max_retries.unwrap_or(plain.max_retries),
            proxies: Proxies::of_variables(variables).under(self.proxy),
            headers: self.headers,
            rate_limit: self.rate_limit,
            srv_lookup: self.srv_lookup.unwrap_or(plain.srv_lookup),
            disable_redirects: self.disable_redirects.unwrap_or(plain.disable_redirects),
            wrap_ttl: self.wrap_ttl,
            start_jitter: self.start_jitter.unwrap_or(plain.start_jitter),
            ..plain
        })
    }
}

/// Host (without brackets) and port of an address, the scheme's own where none is said; none of a socket.
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    address::host_and_port(address)
}

/// Whether an address names its port.
pub fn names_port(address: &str) -> bool {
    address::names_port(address)
}

/// Whether a host is this machine by its name alone.
pub fn is_loopback(host: &str) -> bool {
    address::is_loopback(host)
}

/// Whether an address is this machine's by its name alone; a socket is.
pub fn is_this_machines(address: &str) -> bool {
    host_and_port(address).is_none_or(|(host, _)| is_loopback(host))
}

fn addresses(cursor: &Cursor<'_>) -> Result<Vec<String>, ConfigError> {
    let one = |cursor: &Cursor<'_>| {
        address::normal(
            cursor.text("Vault's address, for example `https://vault.example.com:8200`")?,
        )
        .map_err(|problem| cursor.bad(problem, address::HINT))
    };
    let Some(items) = cursor.listed() else {
        return Ok(vec![one(cursor)?]);
    };
    let found = items.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() || found.len() > MOST_ADDRESSES {
        let hint = format!("write one address, or a list of at most {MOST_ADDRESSES}");
        return Err(cursor.bad("a list that no cluster has", &hint));
    }
    Ok(found)
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

fn http_proxy(cursor: &Cursor<'_>) -> Result<proxy::Said, ConfigError> {
    let text = cursor.text("a proxy, for example `http://proxy.example.com:3128`, or `none`")?;
    if text == "none" {
        return Ok(proxy::Said::No);
    }
    if text.contains('@') {
        let hint = "set BAO_HTTP_PROXY (or VAULT_HTTP_PROXY) to the proxy with its password";
        return Err(cursor.secret("holds a user and a password", hint));
    }
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let hint = "write `http://HOST:PORT`, or `none`";
        return Err(cursor.bad("not a proxy", hint));
    }
    Ok(proxy::Said::For(Proxy::new(text, "http_proxy")))
}

fn rate_limit(cursor: &Cursor<'_>) -> Result<RateLimit, ConfigError> {
    let hint = "write requests a second, for example 10, or with a burst '10:20'";
    let said = match cursor.is_text() {
        true => cursor.text(hint)?.to_owned(),
        false => cursor
            .whole("requests a second, for example 10")?
            .to_string(),
    };
    RateLimit::parse(&said).ok_or_else(|| cursor.bad("not a rate", hint))
}
