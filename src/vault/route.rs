//! Where requests go: the address as people write it, and as the HTTP client needs it.
//!
//! Some addresses need a disguise. `unix:///path` becomes `http://localhost`, sent through the socket. With
//! `tls_server_name` the URL carries that name, since rustls takes the name to ask for and to verify from there; a
//! resolver leads it to the real host, and the Host header tells the real one. A node that DNS SRV named is reached in the
//! same way: the certificate must carry the name that was configured, not the one that the network said.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderValue;

use super::error::VaultError;
use super::srv::Target;
use crate::config::Server;

/// The way to one server.
pub(crate) struct Route {
    /// As configured, for people.
    address: String,
    /// As the HTTP client needs it.
    base: Url,
    socket: Option<PathBuf>,
    /// Name in `base` and real host, where they differ.
    alias: Option<(String, String)>,
}

impl Route {
    /// The way to one of the server's addresses; to the node that DNS SRV named for it, where it did.
    pub(crate) fn new(
        address: &str,
        server: &Server,
        node: Option<&Target>,
    ) -> Result<Self, VaultError> {
        let wrong = |problem: &str| VaultError::Settings {
            setting: "address",
            value: redacted(address),
            problem: problem.to_owned(),
        };
        let mut address = address.trim_end_matches('/').to_owned();
        if let Some(path) = address.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(wrong(
                    "a socket's path is absolute: `unix:///run/vault.sock`",
                ));
            }
            let base = Url::parse("http://localhost").expect("a fixed address parses");
            let socket = Some(PathBuf::from(path));
            return Ok(Self {
                address,
                base,
                socket,
                alias: None,
            });
        }
        let mut base = Url::parse(&address).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("it begins with `https://`, `http://` or `unix:///`"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("it must not hold a user or a password"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("it ends after host and port: no `?`, no `#`"));
        }
        if let Some(node) = node {
            base.set_port(Some(node.port))
                .map_err(|()| wrong("it has no host for a port"))?;
            base.as_str().trim_end_matches('/').clone_into(&mut address);
        }
        let own = base
            .host_str()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_owned();
        let host = node.map_or(own.clone(), |node| node.host.clone());
        let mut alias = node.map(|_| (own, host.clone()));
        if let Some(name) = server
            .tls_server_name
            .as_deref()
            .filter(|name| base.scheme() == "https" && **name != host)
        {
            let wrong = |problem: &str| VaultError::Settings {
                setting: "tls_server_name",
                value: name.to_owned(),
                problem: problem.to_owned(),
            };
            if name.parse::<IpAddr>().is_ok() {
                return Err(wrong(
                    "it is an IP address: only names can be verified in place of the address's host",
                ));
            }
            base.set_host(Some(name))
                .map_err(|_| wrong("it is not a host name"))?;
            if base.host_str() != Some(name) {
                return Err(wrong("it is not a host name"));
            }
            alias = Some((name.to_owned(), host));
        }
        Ok(Self {
            address,
            base,
            socket: None,
            alias,
        })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.base.scheme() == "https"
    }

    /// Whether the URL's host is not the one that the connection goes to.
    pub(crate) fn is_disguised(&self) -> bool {
        self.alias.is_some()
    }

    /// Scheme, host and port as they are without disguise; none of a socket.
    pub(crate) fn origin(&self) -> Option<String> {
        self.socket
            .is_none()
            .then(|| self.visible(&self.base).origin().ascii_serialization())
    }

    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// The address, for people.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The address of an API path, for people.
    pub(crate) fn shown(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.address)
    }

    /// The address of an API path, for the HTTP client.
    pub(crate) fn url(&self, path: &str) -> Result<Url, VaultError> {
        let text = format!("{}/v1/{path}", self.base.as_str().trim_end_matches('/'));
        // A path that the URL's own rules would lead elsewhere (`..`, `?`) is not the path that the plan looked at.
        Url::parse(&text)
            .ok()
            .filter(|url| url.as_str() == text && url.query().is_none() && url.fragment().is_none())
            .ok_or_else(|| VaultError::Settings {
                setting: "path",
                value: path.to_owned(),
                problem: "it is not a canonical API path".to_owned(),
            })
    }

    /// The Host header, where the URL's own host is a disguise.
    pub(crate) fn host_header(&self, url: &Url) -> Option<HeaderValue> {
        let (name, _) = self.alias.as_ref()?;
        if url.host_str() != Some(name) {
            return None;
        }
        let visible = self.visible(url);
        let host = visible.host_str()?;
        HeaderValue::from_str(
            &visible
                .port()
                .map_or(host.to_owned(), |port| format!("{host}:{port}")),
        )
        .ok()
    }

    /// The HTTP client's URL as it is without disguise.
    pub(crate) fn visible(&self, url: &Url) -> Url {
        let mut url = url.clone();
        if let Some((name, host)) = &self.alias
            && url.host_str().map(|host| host.trim_matches(['[', ']'])) == Some(name)
        {
            let bracketed = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.clone()
            };
            url.set_host(Some(&bracketed))
                .expect("it stood in a URL before, or DNS named it and it was looked at");
        }
        url
    }

    /// The resolver that knows the disguise.
    pub(crate) fn resolver(&self) -> Option<Arc<dyn Resolve>> {
        let (name, host) = self.alias.clone()?;
        Some(Arc::new(Alias { name, host }))
    }
}

/// Leads one name to another host's addresses.
struct Alias {
    name: String,
    host: String,
}

impl Resolve for Alias {
    fn resolve(&self, name: Name) -> Resolving {
        let host = if name.as_str() == self.name {
            self.host.clone()
        } else {
            name.as_str().to_owned()
        };
        Box::pin(async move {
            let found: Vec<_> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// An address without what stands before its `@`.
fn redacted(address: &str) -> String {
    match (address.split_once("://"), address.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        _ => address.to_owned(),
    }
}
