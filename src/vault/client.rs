//! One connection to one Vault: bounded, retried with care, redirected at most once.
//!
//! - TLS by rustls; who is trusted is said by `tls.rs`, which nodes there are by `ways.rs`, which proxy by `config`.
//! - An answer has [`ANSWER_LIMIT`] bytes at most, and `timeout` from the request's start to its last byte.
//! - What may be tried again, and when, is `Repeat`'s and `Client::carry`'s; the pauses are the official client's.
//! - A redirect is followed once, by a 307 or 308 to the same path, and only to a node that is the cluster's: one of the addresses that
//!   were configured; or, from https whose certificate was verified, another port of the same host. A token goes to no host that
//!   nobody listed, and never from https to http. What single sign-on proxies do (a 302 to a page of theirs) would hand them the
//!   token: that is refused, and it is said where they pointed.
//! - What Vault says of its own state (`X-Vault-Index`) is sent back with the next request, so that a standby that lags behind says
//!   412 instead of "permission denied" to a token that it has not heard of yet.
#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::answer;
pub use super::call::ANSWER_LIMIT;
use super::call::{Call, Repeat, Reply, pause};
use super::error::{Asked, Refusal, Transport, VaultError, Wanted};
use super::pace::Pace;
use super::transport::Failure;
use super::ways::{Way, Ways};
use super::{tls, words, wrapping};
use crate::config::Server;
use crate::secret::Secret;

/// The request header that carries the session's id; Vault's audit log shows it once it is told to.
pub const SESSION_HEADER: &str = "x-dbt-lease-session";

/// What waits between two tries; a test's own waits for nothing.
pub type Pause = Box<dyn Fn(Duration) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A client of one cluster, for one session.
pub struct Client {
    ways: Ways,
    namespace: Option<String>,
    timeout: Duration,
    max_retries: u32,
    follows: bool,
    wrap_ttl: Option<Duration>,
    pace: Option<Pace>,
    /// The newest state that Vault told.
    index: RefCell<Option<HeaderValue>>,
    /// Whether the answer to the last login was not seen.
    unseen_login: Cell<bool>,
    pause: Pause,
}

impl Client {
    /// A client for this server; nothing is sent yet. `session` goes into User-Agent and [`SESSION_HEADER`].
    ///
    /// # Errors
    /// [`VaultError::Settings`] for an address, certificate, proxy or header value that cannot be used.
    pub fn new(server: &Server, session: &str) -> Result<Self, VaultError> {
        tls::install_provider();
        let agent = concat!("dbt-lease/", env!("CARGO_PKG_VERSION")).to_owned()
            + &format!(" (session {session})");
        Ok(Self {
            ways: Ways::new(server, headers(server, session)?, agent)?,
            namespace: server.namespace.clone(),
            timeout: server.timeout,
            max_retries: server.max_retries,
            follows: !server.disable_redirects,
            wrap_ttl: server.wrap_ttl,
            pace: server.rate_limit.map(Pace::new),
            index: RefCell::default(),
            unseen_login: Cell::new(false),
            pause: Box::new(|time| Box::pin(tokio::time::sleep(time))),
        })
    }

    /// The same client with another way to wait between two tries.
    pub fn pausing_with(mut self, pause: Pause) -> Self {
        self.pause = pause;
        self
    }

    /// The same client with other name servers for SRV.
    #[cfg(test)]
    pub(crate) fn asking(mut self, name_servers: Vec<std::net::SocketAddr>) -> Self {
        self.ways = self.ways.asking(name_servers);
        self
    }

    /// Waits between two tries, also of somebody else's request.
    pub(crate) async fn wait(&self, time: Duration) {
        (self.pause)(time).await;
    }

    /// Waits a random part of `within`: runs that are started in the same minute do not come at once.
    pub async fn stagger(&self, within: Duration) {
        if !within.is_zero() {
            // Without a random number all of a fleet wait alike: worse, not wrong.
            let part = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
            self.wait(within.mul_f64(part)).await;
        }
    }

    /// Sends a request and gives its answer, whatever its status; a secret's by way of a wrapping where that is wanted.
    pub(crate) async fn send(&self, call: &Call<'_>) -> Result<Reply, VaultError> {
        match (self.wrap_ttl, &call.wanted) {
            (Some(ttl), Wanted::Secret { .. }) => wrapping::send(self, call, ttl).await,
            (_, Wanted::Login { .. } | Wanted::SecondFactor { .. }) => {
                // It stays so where nobody waits for the answer any more.
                self.unseen_login.set(true);
                let outcome = self.carry(call).await;
                self.unseen_login.set(match &outcome {
                    Ok(reply) => reply.after_loss,
                    Err(error) => error.is_after_the_request(),
                });
                outcome
            }
            _ => self.carry(call).await,
        }
    }

    /// Whether a login was sent whose answer nobody has seen: Vault may have made a token for it, which nobody can name.
    pub fn has_unseen_login(&self) -> bool {
        self.unseen_login.get()
    }

    /// Sends a request and gives its answer, whatever its status, after the tries that `call.repeat` allows. The next address is
    /// asked at once; only after all were asked comes a pause, and that is what `max_retries` counts:
    ///
    /// - no connection: the next address, then again; a certificate that is refused once is refused always, and only the next
    ///   address may have another;
    /// - 472, 473 and a sealed or standby 503 or 500, which all mean that this node does nothing: the next address, then again;
    /// - 429 and 412, which mean that nothing was done: again, after what Retry-After asks for (a server that asks for more than
    ///   `timeout` is not waited for);
    /// - 5xx but 501, and a connection lost before the answer: only with [`Repeat::Always`]. The first loss is tried
    ///   again at once and not counted: the server had closed an idle connection, and that is no trouble of its own;
    /// - an answer that does not come in time: never here.
    pub(crate) async fn carry(&self, call: &Call<'_>) -> Result<Reply, VaultError> {
        let token = call.token.map(sensitive).transpose()?;
        let mut tries = Tries::default();
        loop {
            self.ways.resolve().await?;
            let way = self.ways.current();
            let mut url = way.route.url(call.path)?;
            if !call.query.is_empty() {
                url.query_pairs_mut().extend_pairs(&call.query);
            }
            if let Some(pace) = &self.pace {
                let wait = pace.take(Instant::now());
                if !wait.is_zero() {
                    self.wait(wait).await;
                }
            }
            tries.attempts += 1;
            tries.round.asked += 1;
            let outcome = self.attempt(call, &way, &url, token.as_ref()).await?;
            let mut asked = None;
            let mut again = true;
            let mut astray = false;
            match &outcome {
                Ok(reply) if (300..400).contains(&reply.code) && reply.location.is_some() => {
                    if !self.follow(call, &way, &url, reply, &tries.round)? {
                        // It points to a leader that does not lead: where another node leads is known in a moment.
                        astray = true;
                    } else {
                        tries.round.redirected = true;
                        tries.attempts -= 1;
                        tries.round.asked -= 1;
                        continue;
                    }
                }
                Ok(reply) => {
                    asked = reply.retry_after;
                    again = reply.is_worth_another_try(call.repeat);
                }
                Err(Failure::Lost(_)) if call.repeat == Repeat::Always && !tries.lost => {
                    tries.lost = true;
                    tries.round.asked -= 1;
                    continue;
                }
                Err(Failure::Lost(_)) if call.repeat == Repeat::Always => {}
                Err(failure) => again = failure.is_before_request(),
            }
            let nodes_own = astray || is_this_node_alone(&outcome, call.repeat);
            if nodes_own {
                tries.round.failed.extend(way.route.origin());
            }
            if nodes_own && tries.round.asked < self.ways.count() && in_time(call, Duration::ZERO) {
                tries.round.elsewhere.push(told(&way, &outcome));
                tries.round.redirected = false;
                self.ways.advance();
                continue;
            }
            let wait = pause(tries.retries + 1, asked);
            let may_wait = in_time(call, wait) && asked.is_none_or(|asked| asked <= self.timeout);
            if !again || tries.retries >= self.max_retries || !may_wait {
                if let (true, Ok(reply)) = (astray, &outcome) {
                    return Err(not_followed(
                        call,
                        &way,
                        reply,
                        "what it names does not answer",
                    ));
                }
                return self.conclude(call, &way, outcome, tries);
            }
            if nodes_own {
                self.ways.advance();
            }
            tries.retries += 1;
            tries.round = Round::default();
            self.wait(wait).await;
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
        asked_by(&self.ways.current(), call)
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
            after_loss: reply.after_loss,
            elsewhere: reply.elsewhere.clone(),
            wait: reply.retry_after.filter(|wait| *wait > self.timeout),
        }))
    }

    fn conclude(
        &self,
        call: &Call<'_>,
        way: &Way,
        outcome: Result<Reply, Failure>,
        tries: Tries,
    ) -> Result<Reply, VaultError> {
        match outcome {
            Ok(mut reply) => {
                reply.attempts = tries.attempts;
                reply.after_loss = tries.lost;
                reply.elsewhere = tries.round.elsewhere;
                Ok(reply)
            }
            Err(Failure::TooLarge) => Err(VaultError::TooLarge {
                asked: Box::new(asked_by(way, call)),
                limit: ANSWER_LIMIT,
            }),
            Err(failure) => Err(VaultError::Transport(Box::new(Transport {
                asked: asked_by(way, call),
                cause: failure.cause(),
                attempts: tries.attempts,
                after_loss: tries.lost,
                proxy: way
                    .proxy
                    .as_ref()
                    .map(|proxy| (proxy.shown(), proxy.said.clone())),
                elsewhere: tries.round.elsewhere,
            }))),
        }
    }

    /// One try. The outer error is a setting that cannot be used.
    async fn attempt(
        &self,
        call: &Call<'_>,
        way: &Way,
        url: &Url,
        token: Option<&HeaderValue>,
    ) -> Result<Result<Reply, Failure>, VaultError> {
        let http = way.client(&self.ways)?;
        let start = Instant::now();
        let end = call.deadline.map_or(start + self.timeout, |deadline| {
            deadline.min(start + self.timeout)
        });
        let index = self.index.borrow().clone();
        let work = async {
            let mut request = http.request(call.method.clone(), url.clone());
            if let Some(host) = way.route.host_header(url) {
                request = request.header(HOST, host);
            }
            if let Some(token) = token {
                request = request.header("x-vault-token", token.clone());
            }
            if let Some(ttl) = call.wrap {
                request = request.header("x-vault-wrap-ttl", ttl.as_secs().max(1));
            }
            if let Some(index) = index {
                request = request.header(INDEX, index);
            }
            if let Some(body) = &call.body {
                // hyper owns this copy; the allocator that zeroes on free wipes it.
                request = request
                    .header(CONTENT_TYPE, "application/json")
                    .body(body.to_vec());
            }
            let response = request.send().await.map_err(|error| Failure::of(&error))?;
            if let Some(index) = response.headers().get(INDEX) {
                self.index.replace(Some(index.clone()));
            }
            Reply::read(response).await
        };
        Ok(match tokio::time::timeout_at(end, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::NoAnswer {
                millis: end.saturating_duration_since(start).as_millis(),
            }),
        })
    }

    /// Goes the way that a redirect points to, if we go there; false where it leads to an address that just failed.
    fn follow(
        &self,
        call: &Call<'_>,
        way: &Way,
        from: &Url,
        reply: &Reply,
        round: &Round,
    ) -> Result<bool, VaultError> {
        let location = reply.location.as_deref().unwrap_or_default();
        let refuse = |why| not_followed(call, way, reply, why);
        if !self.follows {
            return Err(refuse("`disable_redirects` is set"));
        }
        if !matches!(reply.code, 307 | 308) {
            return Err(refuse("Vault redirects with 307 only"));
        }
        let here = way.route.visible(from);
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
        if here.scheme() == "https" && to.scheme() != "https" {
            return Err(refuse("it leads from https to http"));
        }
        let origin = to.origin().ascii_serialization();
        if round.failed.contains(&origin) {
            return Ok(false);
        }
        if round.redirected {
            return Err(refuse("it is the second redirect"));
        }
        if self.ways.take_listed(&origin) {
            return Ok(true);
        }
        if here.scheme() != "https" {
            return Err(refuse("without TLS nobody has proven to be Vault"));
        }
        if !way.verified {
            return Err(refuse("the server's certificate was not verified"));
        }
        if to.host() != here.host() {
            return Err(refuse("it leads to a host that is not listed"));
        }
        let below = to.path().strip_suffix(&format!("/v1/{}", call.path));
        self.ways
            .take_new(&format!("{origin}{}", below.unwrap_or_default()))?;
        Ok(true)
    }
}

/// How a request went so far.
#[derive(Default)]
struct Tries {
    /// Requests that were answered by no redirect.
    attempts: u32,
    /// Pauses.
    retries: u32,
    /// Whether an answer was lost.
    lost: bool,
    /// What happened since the last pause.
    round: Round,
}

/// One time round all addresses.
#[derive(Default)]
struct Round {
    /// How many were asked.
    asked: usize,
    /// Whether one of them pointed to another.
    redirected: bool,
    /// Those that cannot do it.
    failed: Vec<String>,
    /// What they said.
    elsewhere: Vec<String>,
}

/// `X-Vault-Index`
const INDEX: &str = "x-vault-index";

/// Whether the trouble is this node's, and nothing was done there that another node could do twice.
fn is_this_node_alone(outcome: &Result<Reply, Failure>, repeat: Repeat) -> bool {
    match outcome {
        Ok(reply) => reply.is_nodes_own(),
        Err(Failure::Before(_) | Failure::Tls(_)) => true,
        Err(Failure::Lost(_)) => repeat == Repeat::Always,
        Err(Failure::NoAnswer { .. } | Failure::TooLarge) => false,
    }
}

fn in_time(call: &Call<'_>, wait: Duration) -> bool {
    call.deadline
        .is_none_or(|deadline| Instant::now() + wait < deadline)
}

/// What an address said, for people.
fn told(way: &Way, outcome: &Result<Reply, Failure>) -> String {
    match outcome {
        Ok(reply) => format!("{} answered {}", way.route.address(), reply.code),
        Err(failure) => format!("{}: {}", way.route.address(), failure.cause()),
    }
}

fn not_followed(call: &Call<'_>, way: &Way, reply: &Reply, why: &'static str) -> VaultError {
    VaultError::Redirected {
        asked: Box::new(asked_by(way, call)),
        code: reply.code,
        to: words::tame(
            reply.location.as_deref().unwrap_or_default(),
            &call.hidden(),
        ),
        why,
    }
}

fn asked_by(way: &Way, call: &Call<'_>) -> Asked {
    Asked {
        wanted: call.wanted.clone(),
        method: call.verb(),
        url: way.route.shown(call.path),
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("address", &self.ways.current().route.address())
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
    for header in &server.headers {
        let wrong = |problem: String| VaultError::Settings {
            setting: "headers",
            value: header.name.clone(),
            problem,
        };
        if let Some(variable) = &header.variable
            && header.value.is_empty()
        {
            return Err(wrong(format!("the variable {variable} is not set")));
        }
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_str(header.value.expose());
        let (Ok(name), Ok(mut value)) = (name, value) else {
            return Err(wrong(
                "it holds characters that no HTTP header can carry".to_owned(),
            ));
        };
        value.set_sensitive(true);
        headers.insert(name, value);
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
