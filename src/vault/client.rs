//! One connection to one Vault: bounded, retried with care, redirected at most once.
//!
//! - TLS by rustls and ring; who is trusted is said by `tls.rs`. No proxy is used, also where HTTPS_PROXY is set.
//! - An answer has [`ANSWER_LIMIT`] bytes at most, and `timeout` from the request's start to its last byte.
//! - What may be tried again, and when, is `Repeat`'s and `Client::send`'s; the pauses are the official client's.
//! - A redirect is followed once, and only so: a 307 or 308, from https whose certificate was verified, to https, to the
//!   same path. That is how a standby points to its cluster's active node. The token already went to the server that sends
//!   us on, and it proved who it is. Over http anybody on the way could send us on, and what single sign-on proxies do (a
//!   302 to a page of theirs) would hand them the token: both are refused, and it is said where they pointed.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use tokio::time::Instant;

use super::answer;
pub use super::call::ANSWER_LIMIT;
use super::call::{Call, Repeat, Reply, pause};
use super::error::{Asked, Refusal, Transport, VaultError};
use super::route::Route;
use super::transport::{self, Failure};
use super::{tls, words};
use crate::config::Server;
use crate::secret::Secret;

/// The request header that carries the session's id; Vault's audit log shows it once it is told to.
pub const SESSION_HEADER: &str = "x-dbt-lease-session";

/// How long an idle connection is kept: load balancers close theirs after about 60 s, Go servers after 5 minutes.
const IDLE: Duration = Duration::from_secs(55);
/// The official client's bound on making a connection.
const CONNECT: Duration = Duration::from_secs(30);

/// What waits between two tries; a test's own waits for nothing.
pub type Pause = Box<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A client of one server, for one session.
pub struct Client {
    http: reqwest::Client,
    route: Route,
    namespace: Option<String>,
    timeout: Duration,
    max_retries: u32,
    verified: bool,
    pause: Pause,
}

impl Client {
    /// A client for this server; nothing is sent yet. `session` goes into User-Agent and [`SESSION_HEADER`].
    ///
    /// # Errors
    /// [`VaultError::Settings`] for an address, certificate or header value that cannot be used.
    pub fn new(server: &Server, session: &str) -> Result<Self, VaultError> {
        tls::install_provider();
        let route = Route::new(server)?;
        let timeout = server.timeout;
        let mut builder = reqwest::Client::builder()
            .default_headers(headers(server, session)?)
            .user_agent(
                concat!("dbt-lease/", env!("CARGO_PKG_VERSION")).to_owned()
                    + &format!(" (session {session})"),
            )
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .connect_timeout(CONNECT.min(timeout * 3 / 4));
        if route.is_https() {
            builder = builder
                .tls_certs_only(if server.skip_verify {
                    Vec::new()
                } else {
                    tls::authorities(server)?
                })
                .tls_danger_accept_invalid_certs(server.skip_verify);
            if let Some(identity) = tls::identity(server)? {
                builder = builder.identity(identity);
            }
        } else {
            builder = builder.tls_certs_only([]);
        }
        if let Some(socket) = route.socket() {
            builder = builder.unix_socket(socket);
        }
        if let Some(resolver) = route.resolver() {
            builder = builder.dns_resolver(resolver);
        }
        let http = builder.build().map_err(|error| VaultError::Settings {
            setting: if server.client_cert.is_some() {
                "client_cert"
            } else {
                "address"
            },
            value: server
                .client_cert
                .as_ref()
                .map_or(server.address.clone(), |path| path.display().to_string()),
            problem: transport::deepest(&error),
        })?;
        Ok(Self {
            http,
            verified: route.is_https() && !server.skip_verify,
            route,
            namespace: server.namespace.clone(),
            timeout,
            max_retries: server.max_retries,
            pause: Box::new(|time| Box::pin(tokio::time::sleep(time))),
        })
    }

    /// The same client with another way to wait between two tries.
    pub fn pausing_with(mut self, pause: Pause) -> Self {
        self.pause = pause;
        self
    }

    /// Sends a request and gives its answer, whatever its status, after the retries that `call.repeat` allows:
    ///
    /// - no connection: `max_retries` times; a certificate that is refused once is refused always, and not tried again;
    /// - 429, 412, 473 and a sealed or standby 503, which all mean that nothing was done: `max_retries` times, after what
    ///   Retry-After asks for (a server that asks for more than `timeout` is not waited for);
    /// - 5xx but 501, and a connection lost before the answer: only with [`Repeat::Always`]. The first loss is tried
    ///   again at once and not counted: the server had closed an idle connection, and that is no trouble of its own;
    /// - an answer that does not come in time: never here.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Reply, VaultError> {
        let mut url = self.route.url(call.path)?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(call.query);
        }
        let token = call.token.map(sensitive).transpose()?;
        let mut attempts = 0;
        let mut retries = 0;
        let mut redirected = false;
        let mut lost_before = false;
        loop {
            attempts += 1;
            let outcome = self.attempt(call, &url, token.as_ref()).await;
            let mut asked = None;
            match &outcome {
                Ok(reply) if (300..400).contains(&reply.code) && reply.location.is_some() => {
                    url = self.follow(call, &url, reply, redirected)?;
                    redirected = true;
                    attempts -= 1;
                    continue;
                }
                Ok(reply) if reply.is_worth_another_try(call.repeat) => asked = reply.retry_after,
                Ok(_) => {}
                Err(Failure::Lost(_)) if call.repeat == Repeat::Always && !lost_before => {
                    lost_before = true;
                    continue;
                }
                Err(Failure::Lost(_)) if call.repeat == Repeat::Always => {}
                Err(failure) if failure.is_before_request() => {}
                Err(_) => retries = self.max_retries,
            }
            let done = matches!(&outcome, Ok(reply) if !reply.is_worth_another_try(call.repeat));
            let wait = pause(retries + 1, asked);
            let in_time = call
                .deadline
                .is_none_or(|deadline| Instant::now() + wait < deadline)
                && asked.is_none_or(|asked| asked <= self.timeout);
            if done || retries >= self.max_retries || !in_time {
                return self.conclude(call, outcome, attempts);
            }
            retries += 1;
            (self.pause)(wait).await;
        }
    }

    /// [`Client::send`], where only a 2xx will do.
    pub(crate) async fn demand(&self, call: &Call<'_>) -> Result<Reply, VaultError> {
        let reply = self.send(call).await?;
        if (200..300).contains(&reply.code) {
            Ok(reply)
        } else {
            Err(self.refusal(call, &reply))
        }
    }

    /// The answer of a 2xx, parsed.
    pub(crate) async fn ask(&self, call: &Call<'_>) -> Result<answer::Answer, VaultError> {
        let reply = self.demand(call).await?;
        self.parse(call, &reply)
    }

    /// The body as Vault's JSON.
    pub(crate) fn parse(
        &self,
        call: &Call<'_>,
        reply: &Reply,
    ) -> Result<answer::Answer, VaultError> {
        answer::parse(&reply.body).map_err(|problem| self.bad(call, problem))
    }

    /// An answer that cannot be used.
    pub(crate) fn bad(&self, call: &Call<'_>, problem: String) -> VaultError {
        VaultError::BadAnswer {
            asked: Box::new(self.asked(call)),
            problem,
        }
    }

    /// A request as messages name it.
    pub(crate) fn asked(&self, call: &Call<'_>) -> Asked {
        Asked {
            wanted: call.wanted.clone(),
            method: call.verb(),
            url: self.route.shown(call.path),
        }
    }

    /// A refusal in full.
    pub(crate) fn refusal(&self, call: &Call<'_>, reply: &Reply) -> VaultError {
        let hidden = call.hidden();
        let listed = answer::errors(&reply.body);
        let errors = match &listed {
            Some(list) => words::errors(list, &hidden),
            None => words::errors(
                &[String::from_utf8_lossy(&reply.body).into_owned()],
                &hidden,
            ),
        };
        VaultError::Refused(Box::new(Refusal {
            asked: self.asked(call),
            code: reply.code,
            namespace: self.namespace.clone(),
            errors,
            from_vault: listed.is_some(),
            attempts: reply.attempts,
            wait: reply.retry_after.filter(|wait| *wait > self.timeout),
        }))
    }

    fn conclude(
        &self,
        call: &Call<'_>,
        outcome: Result<Reply, Failure>,
        attempts: u32,
    ) -> Result<Reply, VaultError> {
        match outcome {
            Ok(mut reply) => {
                reply.attempts = attempts;
                Ok(reply)
            }
            Err(Failure::TooLarge) => Err(VaultError::TooLarge {
                asked: Box::new(self.asked(call)),
                limit: ANSWER_LIMIT,
            }),
            Err(failure) => Err(VaultError::Transport(Box::new(Transport {
                asked: self.asked(call),
                cause: failure.into_cause(),
                attempts,
            }))),
        }
    }

    async fn attempt(
        &self,
        call: &Call<'_>,
        url: &Url,
        token: Option<&HeaderValue>,
    ) -> Result<Reply, Failure> {
        let start = Instant::now();
        let end = call.deadline.map_or(start + self.timeout, |deadline| {
            deadline.min(start + self.timeout)
        });
        let work = async {
            let mut request = self.http.request(call.method.clone(), url.clone());
            if let Some(host) = self.route.host_header(url) {
                request = request.header(HOST, host);
            }
            if let Some(token) = token {
                request = request.header("x-vault-token", token.clone());
            }
            if let Some(body) = &call.body {
                // hyper owns this copy; the allocator that zeroes on free wipes it.
                request = request
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.to_vec());
            }
            let response = request.send().await.map_err(|error| Failure::of(&error))?;
            Reply::read(response).await
        };
        match tokio::time::timeout_at(end, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::NoAnswer {
                millis: end.saturating_duration_since(start).as_millis(),
            }),
        }
    }

    /// Where a redirect leads, if we go there.
    fn follow(
        &self,
        call: &Call<'_>,
        from: &Url,
        reply: &Reply,
        redirected: bool,
    ) -> Result<Url, VaultError> {
        let location = reply.location.as_deref().unwrap_or_default();
        let refuse = |why| VaultError::Redirected {
            asked: Box::new(self.asked(call)),
            code: reply.code,
            to: words::tame(location, &call.hidden()),
            why,
        };
        if redirected {
            return Err(refuse("it is the second redirect"));
        }
        if !matches!(reply.code, 307 | 308) {
            return Err(refuse("Vault redirects with 307 only"));
        }
        let here = self.route.visible(from);
        let to = here
            .join(location)
            .map_err(|_| refuse("it is not an address"))?;
        if to.path() != here.path()
            || to.query() != here.query()
            || !to.username().is_empty()
            || to.password().is_some()
        {
            return Err(refuse("it leads to another path"));
        }
        if to == here {
            return Err(refuse("it leads back to itself"));
        }
        match (here.scheme(), to.scheme()) {
            ("https", "https") => {}
            ("https", _) => return Err(refuse("it leads from https to http")),
            _ => return Err(refuse("without TLS nobody has proven to be Vault")),
        }
        if !self.verified {
            return Err(refuse("the server's certificate was not verified"));
        }
        Ok(self.route.hidden(to))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("address", &self.route.shown(""))
            .finish_non_exhaustive()
    }
}

fn headers(server: &Server, session: &str) -> Result<HeaderMap, VaultError> {
    let mut headers = HeaderMap::new();
    headers.insert("x-vault-request", HeaderValue::from_static("true"));
    headers.insert(SESSION_HEADER, plain("session", session)?);
    if let Some(namespace) = &server.namespace {
        headers.insert("x-vault-namespace", plain("namespace", namespace)?);
    }
    Ok(headers)
}

fn plain(setting: &'static str, value: &str) -> Result<HeaderValue, VaultError> {
    HeaderValue::from_str(value).map_err(|_| VaultError::Settings {
        setting,
        value: words::tame(value, &[]),
        problem: "it holds characters that no HTTP header can carry".to_owned(),
    })
}

fn sensitive(token: &Secret) -> Result<HeaderValue, VaultError> {
    let mut value = HeaderValue::from_str(token.expose()).map_err(|_| VaultError::Settings {
        setting: "token",
        value: "…".to_owned(),
        problem: "it holds characters that no HTTP header can carry".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
