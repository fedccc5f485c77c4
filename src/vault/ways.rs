//! The ways to a cluster: one for each address that is configured, for each node that DNS SRV names, and for the node that a standby
//! sent us to. What answers stays the way for the rest of the session.
#![forbid(unsafe_code)]

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;

use super::error::VaultError;
use super::route::Route;
use super::{srv, tls, transport};
use crate::config::{Proxy, Server, host_and_port, names_port};

/// How long an idle connection is kept: load balancers close theirs after about 60 s, Go servers after 5 minutes.
const IDLE: Duration = Duration::from_secs(55);
/// The official client's bound on making a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// The same where another address may answer.
const CONNECT_OF_SEVERAL: Duration = Duration::from_secs(5);

/// The way to one node.
pub(super) struct Way {
    pub(super) route: Route,
    /// Whether the node's certificate is verified.
    pub(super) verified: bool,
    /// The proxy before it.
    pub(super) proxy: Option<Proxy>,
    /// Whether the name behind it is still to be looked up.
    unresolved: Option<String>,
    http: OnceCell<reqwest::Client>,
}

/// All ways, and the one that is gone now.
pub(super) struct Ways {
    server: Server,
    headers: HeaderMap,
    agent: String,
    authorities: OnceCell<Vec<Certificate>>,
    all: RefCell<Vec<Rc<Way>>>,
    current: Cell<usize>,
    /// Whom to ask for SRV; none: the machine's own.
    name_servers: Option<Vec<SocketAddr>>,
}

impl Ways {
    /// The ways to all addresses. The first is made ready, so that settings that cannot be used are found now.
    pub(super) fn new(
        server: &Server,
        headers: HeaderMap,
        agent: String,
    ) -> Result<Self, VaultError> {
        let ways = Self {
            server: server.clone(),
            headers,
            agent,
            authorities: OnceCell::new(),
            all: RefCell::default(),
            current: Cell::new(0),
            name_servers: None,
        };
        for address in server.addresses() {
            let way = ways.way(address)?;
            ways.all.borrow_mut().push(Rc::new(way));
        }
        ways.current().client(&ways)?;
        Ok(ways)
    }

    /// The same with other name servers.
    #[cfg(test)]
    pub(super) fn asking(mut self, name_servers: Vec<SocketAddr>) -> Self {
        self.name_servers = Some(name_servers);
        self
    }

    /// The way that is gone now.
    pub(super) fn current(&self) -> Rc<Way> {
        Rc::clone(&self.all.borrow()[self.current.get()])
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.borrow().len()
    }

    /// Takes the next one.
    pub(super) fn advance(&self) {
        self.current.set((self.current.get() + 1) % self.count());
    }

    /// Takes the way to a node of this scheme, host and port, where one of the addresses leads there.
    pub(super) fn take_listed(&self, origin: &str) -> bool {
        let all = self.all.borrow();
        let listed = all
            .iter()
            .position(|way| way.route.origin().as_deref() == Some(origin));
        if let Some(at) = listed {
            self.current.set(at);
        }
        listed.is_some()
    }

    /// Takes the way to a further node.
    pub(super) fn take_new(&self, address: &str) -> Result<(), VaultError> {
        let way = Rc::new(self.way(address)?);
        let mut all = self.all.borrow_mut();
        all.push(way);
        self.current.set(all.len() - 1);
        Ok(())
    }

    /// Puts the nodes that DNS names in the current address's place, where that is wanted and not yet done. Where DNS says nothing
    /// the address stands for itself, as for the official client.
    pub(super) async fn resolve(&self) -> Result<(), VaultError> {
        let way = self.current();
        let Some(address) = &way.unresolved else {
            return Ok(());
        };
        let host = host_and_port(address).map_or("", |(host, _)| host);
        let found = match &self.name_servers {
            Some(servers) => srv::lookup(host, servers).await,
            None => srv::lookup(host, &srv::machine_servers()).await,
        };
        let mut nodes = Vec::new();
        for node in &found {
            let route = Route::new(address, &self.server, Some(node))?;
            nodes.push(Rc::new(self.way_by(address, route, None)?));
        }
        if nodes.is_empty() {
            let route = Route::new(address, &self.server, None)?;
            nodes.push(Rc::new(self.way_by(address, route, None)?));
        }
        let mut all = self.all.borrow_mut();
        // Two requests of one session may have asked at once.
        if let Some(at) = all.iter().position(|other| Rc::ptr_eq(other, &way)) {
            all.splice(at..=at, nodes);
            self.current.set(at);
        }
        Ok(())
    }

    fn way(&self, address: &str) -> Result<Way, VaultError> {
        let route = Route::new(address, &self.server, None)?;
        let by_name = host_and_port(address)
            .is_some_and(|(host, _)| host.parse::<std::net::IpAddr>().is_err());
        let unresolved =
            (self.server.srv_lookup && by_name && !names_port(address)).then(|| address.to_owned());
        self.way_by(address, route, unresolved)
    }

    fn way_by(
        &self,
        address: &str,
        route: Route,
        unresolved: Option<String>,
    ) -> Result<Way, VaultError> {
        let proxy = self.server.proxies.of(address).cloned();
        if let Some(proxy) = &proxy {
            // The proxy would be asked for the name that only verifies, and go there.
            let setting = if unresolved.is_some() {
                Some("srv_lookup")
            } else if route.is_disguised() {
                Some("tls_server_name")
            } else {
                None
            };
            if let Some(setting) = setting {
                return Err(VaultError::Settings {
                    setting,
                    value: self
                        .server
                        .tls_server_name
                        .clone()
                        .filter(|_| setting == "tls_server_name")
                        .unwrap_or_else(|| address.to_owned()),
                    problem: format!(
                        "it does not go with a proxy ({}: {}); `http_proxy: none`, or NO_PROXY, goes around that",
                        proxy.said,
                        proxy.shown()
                    ),
                });
            }
        }
        Ok(Way {
            verified: route.is_https() && !self.server.skip_verify,
            route,
            proxy,
            unresolved,
            http: OnceCell::new(),
        })
    }

    fn authorities(&self) -> Result<Vec<Certificate>, VaultError> {
        if self.server.skip_verify {
            return Ok(Vec::new());
        }
        if let Some(known) = self.authorities.get() {
            return Ok(known.clone());
        }
        let found = tls::authorities(&self.server)?;
        Ok(self.authorities.get_or_init(|| found).clone())
    }
}

impl Way {
    /// The HTTP client of this way, made when it is first gone.
    pub(super) fn client(&self, ways: &Ways) -> Result<&reqwest::Client, VaultError> {
        if let Some(made) = self.http.get() {
            return Ok(made);
        }
        let made = self.make(ways)?;
        Ok(self.http.get_or_init(|| made))
    }

    fn make(&self, ways: &Ways) -> Result<reqwest::Client, VaultError> {
        let server = &ways.server;
        let connect = if ways.count() > 1 {
            CONNECT_OF_SEVERAL
        } else {
            CONNECT
        };
        let mut builder = reqwest::Client::builder()
            .default_headers(ways.headers.clone())
            .user_agent(ways.agent.clone())
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            // Also where a proxy is used: only ours, none of the environment's.
            .no_proxy()
            .referer(false)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .connect_timeout(connect.min(server.timeout * 3 / 4));
        let through_https = |proxy: &Proxy| proxy.url.expose().starts_with("https://");
        if self.route.is_https() || self.proxy.as_ref().is_some_and(through_https) {
            builder = builder
                .tls_certs_only(ways.authorities()?)
                .tls_danger_accept_invalid_certs(server.skip_verify);
        } else {
            builder = builder.tls_certs_only([]);
        }
        if self.route.is_https()
            && let Some(identity) = tls::identity(server)?
        {
            builder = builder.identity(identity);
        }
        if let Some(proxy) = &self.proxy {
            let wrong = |problem: String| VaultError::Settings {
                setting: "http_proxy",
                value: proxy.shown(),
                problem: format!("{problem} ({})", proxy.said),
            };
            let url = proxy.url.expose();
            if !["http://", "https://"]
                .iter()
                .any(|scheme| url.starts_with(scheme))
            {
                return Err(wrong(
                    "a proxy begins with `http://` or `https://`".to_owned(),
                ));
            }
            let made =
                reqwest::Proxy::all(url).map_err(|error| wrong(transport::deepest(&error)))?;
            builder = builder.proxy(made);
        }
        if let Some(socket) = self.route.socket() {
            builder = builder.unix_socket(socket);
        }
        if let Some(resolver) = self.route.resolver() {
            builder = builder.dns_resolver(resolver);
        }
        builder.build().map_err(|error| {
            let (setting, value) = match &server.client_cert {
                Some(path) => ("client_cert", path.display().to_string()),
                None if server.client_pem.is_some() => {
                    ("client_cert", "BAO_CLIENT_CERT_BYTES".to_owned())
                }
                None => ("address", server.address.clone()),
            };
            VaultError::Settings {
                setting,
                value,
                problem: transport::deepest(&error),
            }
        })
    }
}
