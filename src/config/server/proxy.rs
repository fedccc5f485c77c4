//! Which proxy stands before which address of Vault, by the rules of Vault's own client (Go's `httpproxy`).
//!
//! - BAO_PROXY_ADDR, else BAO_HTTP_PROXY (and VAULT_…), or `http_proxy:` in dbt-lease.yml, is a proxy for all addresses, this
//!   machine's and NO_PROXY's too: it was said for Vault.
//! - Else HTTPS_PROXY for https and HTTP_PROXY for http, in small letters where those are not there; never for this machine, nor for
//!   what NO_PROXY lists. ALL_PROXY is not read. Under CGI (REQUEST_METHOD) a client could set HTTP_PROXY by its `Proxy:` header:
//!   there only the small letters count.
//! - A socket has no proxy.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::address;
use crate::secret::{self, Secret};
use crate::variables::Variables;

/// A proxy as it was said: its URL may hold a password, and shows in no Debug.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// The URL, with a scheme.
    #[serde(with = "secret::told")]
    pub url: Secret,
    /// Who says so: a variable's name, or the key in dbt-lease.yml.
    pub said: String,
}

impl Proxy {
    /// A proxy from a text; without a scheme it is plain http's, as everybody reads it.
    pub(super) fn new(text: &str, said: &str) -> Self {
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        Self {
            url: Secret::new(url),
            said: said.to_owned(),
        }
    }

    /// The URL without user and password.
    pub fn shown(&self) -> String {
        let url = self.url.expose();
        match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
            _ => url.to_owned(),
        }
    }
}

/// What a layer says of a proxy for Vault alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// `http_proxy: none`: no proxy, whatever the machine's variables say.
    No,
    /// This one, for everything.
    For(Proxy),
}

/// All that decides on the proxy of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxies {
    fixed: Option<Proxy>,
    http: Option<Proxy>,
    https: Option<Proxy>,
    except: String,
}

impl Proxies {
    /// What the machine's variables say.
    pub(super) fn of_variables(variables: &Variables) -> Self {
        let first = |names: &[&str]| {
            let name = names.iter().find(|name| variables.text(name).is_some())?;
            Some(Proxy::new(variables.text(name)?, name))
        };
        let http: &[&str] = if variables.os("REQUEST_METHOD").is_some() {
            &["http_proxy"]
        } else {
            &["HTTP_PROXY", "http_proxy"]
        };
        Self {
            fixed: None,
            http: first(http),
            https: first(&["HTTPS_PROXY", "https_proxy"]),
            except: ["NO_PROXY", "no_proxy"]
                .iter()
                .find_map(|name| variables.text(name))
                .unwrap_or_default()
                .to_owned(),
        }
    }

    /// The same under what was said for Vault.
    pub(super) fn under(self, said: Option<Said>) -> Self {
        match said {
            None => self,
            Some(Said::No) => Self::default(),
            Some(Said::For(proxy)) => Self {
                fixed: Some(proxy),
                ..Self::default()
            },
        }
    }

    /// The proxy that a request to this address goes through.
    pub fn of(&self, address: &str) -> Option<&Proxy> {
        let (host, port) = address::host_and_port(address)?;
        if let Some(fixed) = &self.fixed {
            return Some(fixed);
        }
        let proxy = if address.starts_with("https://") {
            self.https.as_ref()
        } else {
            self.http.as_ref()
        }?;
        (!address::is_loopback(host) && !is_excepted(&self.except, host, port)).then_some(proxy)
    }
}

/// NO_PROXY: `*`, an address, a network (`10.0.0.0/8`), `.example.com` (what is below it) or `example.com` (itself and what is below
/// it), each but the network with or without a port.
fn is_excepted(list: &str, host: &str, port: u16) -> bool {
    let ip = host.parse::<IpAddr>().ok();
    list.split(',').map(str::trim).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = entry.split_once('/') {
            return ip.is_some_and(|ip| lies_in(ip, network, bits));
        }
        let (name, only) = without_port(entry);
        if name.is_empty() || only.is_some_and(|only| only != port) {
            return false;
        }
        match (ip, name.parse::<IpAddr>()) {
            (Some(ip), Ok(name)) => ip == name,
            (Some(_), Err(_)) | (None, Ok(_)) => false,
            (None, Err(_)) => is_below(host, &name.to_ascii_lowercase()),
        }
    })
}

fn is_below(host: &str, name: &str) -> bool {
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => {
            host == name
                || host
                    .strip_suffix(name)
                    .is_some_and(|rest| rest.ends_with('.'))
        }
    }
}

/// An entry's name and port; an IPv6 address without brackets has colons of its own.
fn without_port(entry: &str) -> (&str, Option<u16>) {
    if let Some((name, rest)) = entry
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
    {
        return (
            name,
            rest.strip_prefix(':').and_then(|port| port.parse().ok()),
        );
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, port.parse().ok()),
        _ => (entry, None),
    }
}

fn lies_in(ip: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else {
        return false;
    };
    let same = |a: u128, b: u128, width: u32| {
        bits <= width && (bits == 0 || a >> (width - bits) == b >> (width - bits))
    };
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)], address: &str) -> Option<String> {
        let variables: Variables = variables.iter().copied().collect();
        Proxies::of_variables(&variables)
            .of(address)
            .map(|proxy| format!("{} {}", proxy.said, proxy.url.expose()))
    }

    #[test]
    fn the_scheme_of_the_address_chooses_and_capitals_win() {
        let all = [
            ("HTTPS_PROXY", "http://a:1"),
            ("https_proxy", "http://b:2"),
            ("http_proxy", "c:3"),
            ("ALL_PROXY", "http://d:4"),
        ];
        assert_eq!(
            of(&all, "https://v").as_deref(),
            Some("HTTPS_PROXY http://a:1")
        );
        assert_eq!(
            of(&all, "http://v").as_deref(),
            Some("http_proxy http://c:3")
        );
        assert_eq!(
            of(&all[1..], "https://v").as_deref(),
            Some("https_proxy http://b:2")
        );
        assert_eq!(of(&all, "unix:///run/vault.sock"), None);
        assert_eq!(
            of(&all[3..], "https://v"),
            None,
            "Vault's own client does not read ALL_PROXY"
        );
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil")];
        assert_eq!(of(&cgi, "http://v"), None);
    }

    #[test]
    fn this_machine_and_what_no_proxy_lists_are_reached_directly() {
        for (no_proxy, address, through) in [
            ("", "https://v.example.com", true),
            ("", "https://localhost:8200", false),
            ("", "https://127.0.0.9:8200", false),
            ("", "https://[::1]:8200", false),
            ("*", "https://v.example.com", false),
            ("other, example.com", "https://v.example.com", false),
            ("example.com", "https://example.com", false),
            ("example.com", "https://notexample.com", true),
            (".example.com", "https://example.com", true),
            (".example.com", "https://v.example.com", false),
            ("*.example.com", "https://v.example.com", false),
            ("V.Example.com", "https://v.example.com", false),
            ("v.example.com:8200", "https://v.example.com:8200", false),
            ("v.example.com:8200", "https://v.example.com", true),
            ("v.example.com:443", "https://v.example.com/below", false),
            ("10.0.0.0/8", "https://10.1.2.3", false),
            ("10.0.0.0/8", "https://11.1.2.3", true),
            ("10.0.0.0/33", "https://10.1.2.3", true),
            ("0.0.0.0/0", "https://10.1.2.3", false),
            ("10.1.2.3", "https://10.1.2.3", false),
            ("fd00::/8", "https://[fd12::1]", false),
            ("fd12::1", "https://[fd12::1]", false),
            ("[fd12::1]:8200", "https://[fd12::1]:8200", false),
        ] {
            let variables = [("HTTPS_PROXY", "http://p"), ("NO_PROXY", no_proxy)];
            assert_eq!(
                of(&variables, address).is_some(),
                through,
                "{no_proxy} {address}"
            );
        }
    }

    #[test]
    fn the_password_of_a_proxy_is_not_shown() {
        let proxy = Proxy::new("http://me:hunter2@proxy:3128", "HTTPS_PROXY");
        assert_eq!(proxy.shown(), "http://…@proxy:3128");
        assert!(!format!("{proxy:?}").contains("hunter2"));
    }
}
