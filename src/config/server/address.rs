//! Addresses of Vault, and the parts of them that decisions hang on.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use crate::config::path;

/// What to write instead of an address that cannot be used.
pub(super) const HINT: &str = "write https://HOST:PORT, http://127.0.0.1:PORT or unix:///PATH";

/// The address with its scheme and host in small letters and no slash at its end.
pub(super) fn normal(text: &str) -> Result<String, &'static str> {
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
    let (name, port) = split_port(host);
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

/// Host (without brackets) and port of an address; none of a socket. The port is the scheme's own where none is said.
pub(super) fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = address.split_once("://")?;
    let own = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let (name, port) = split_port(rest.split('/').next().unwrap_or(rest));
    Some((name, port.and_then(|port| port.parse().ok()).unwrap_or(own)))
}

/// Whether an address names its port.
pub(super) fn names_port(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    split_port(rest.split('/').next().unwrap_or(rest))
        .1
        .is_some()
}

/// Whether a host is this machine by its name alone: one that resolves to 127.0.0.1 today may not tomorrow.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// `host`, `host:port`, `[v6]`, `[v6]:port`; what follows a bracket without its colon is a port that no number is.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
    {
        Some((name, "")) => (name, None),
        Some((name, rest)) => (name, Some(rest.strip_prefix(':').unwrap_or_default())),
        None => match authority.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (authority, None),
        },
    }
}
