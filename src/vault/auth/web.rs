//! Requests to others than Vault: whoever gives a login its identity.
//!
//! Bounded as Vault's own: an answer's size and time, no redirect, two more tries at most, and only where nobody answered or something is
//! wrong at the other side for the moment. The client is made when it is needed, so that no other login pays for it.
#![forbid(unsafe_code)]

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Method, Url};

use crate::vault::call::{Reply, pause};
use crate::vault::client::Client;
use crate::vault::error::{Cause, IdentityProblem};
use crate::vault::transport::Failure;
use crate::vault::{tls, words};

/// A bound on each request.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a request is made again.
const RETRIES: u32 = 2;

/// How the other side is reached.
pub(super) struct Web {
    through_proxy: bool,
    patience: Duration,
    retries: u32,
}

/// One request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, &'a str)>,
    pub(super) body: Option<Vec<u8>>,
    /// What an answer's words must not show.
    pub(super) hide: Vec<&'a str>,
}

impl Ask<'_> {
    /// Where it goes, for people: without its query.
    pub(super) fn address(&self) -> String {
        let mut url = self.url.clone();
        url.set_query(None);
        format!("{} {}", self.method, words::tame(url.as_str(), &[]))
    }
}

impl Web {
    /// By HTTPS_PROXY and NO_PROXY of the process environment, where they are set: the internet.
    pub(super) fn through_proxy() -> Self {
        Self {
            through_proxy: true,
            patience: PATIENCE,
            retries: RETRIES,
        }
    }

    /// Without a proxy: metadata servers of the machine.
    pub(super) fn direct() -> Self {
        Self {
            through_proxy: false,
            patience: PATIENCE,
            retries: RETRIES,
        }
    }

    /// The same for a server that answers at once, or is not there.
    pub(super) fn at_once(patience: Duration) -> Self {
        Self {
            through_proxy: false,
            patience,
            retries: 0,
        }
    }

    /// An address that a variable says.
    pub(super) fn address(text: &str, variable: &str) -> Result<Url, IdentityProblem> {
        let wrong = |problem| IdentityProblem::NotAnAddress {
            variable: variable.to_owned(),
            problem,
        };
        let url = Url::parse(text).map_err(|_| wrong("it is none"))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(url),
            _ => Err(wrong("it begins with neither `https://` nor `http://`")),
        }
    }

    /// One that a secret may be sent to: over https, or to this machine.
    pub(super) fn private(text: &str, variable: &str) -> Result<Url, IdentityProblem> {
        let url = Self::address(text, variable)?;
        let local = match url.host_str() {
            Some("localhost") => true,
            Some(host) => host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback()),
            None => false,
        };
        if url.scheme() == "https" || local {
            Ok(url)
        } else {
            Err(IdentityProblem::NotAnAddress {
                variable: variable.to_owned(),
                problem: "a secret would be sent there without TLS",
            })
        }
    }

    /// Sends a request and gives its answer, where that is a 2xx. `vault` waits between two tries.
    pub(super) async fn send(
        &self,
        vault: &Client,
        ask: &Ask<'_>,
    ) -> Result<Reply, IdentityProblem> {
        let http = self.client(ask)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = self.attempt(&http, ask).await;
            let again = match &outcome {
                Ok(reply) => reply.code == 429 || (500..600).contains(&reply.code),
                Err(Failure::Before(_) | Failure::Lost(_)) => true,
                Err(_) => false,
            };
            if again && attempts <= self.retries {
                let asked = outcome.as_ref().ok().and_then(|reply| reply.retry_after);
                vault
                    .wait(pause(attempts, asked.map(|asked| asked.min(PATIENCE))))
                    .await;
                continue;
            }
            return match outcome {
                Ok(reply) if (200..300).contains(&reply.code) => Ok(reply),
                Ok(reply) => Err(IdentityProblem::Refused {
                    address: ask.address(),
                    code: reply.code,
                    said: words::tame(&String::from_utf8_lossy(&reply.body), &ask.hide),
                }),
                Err(failure) => Err(IdentityProblem::NoAnswer {
                    address: ask.address(),
                    cause: failure.cause(),
                    attempts,
                }),
            };
        }
    }

    async fn attempt(&self, http: &reqwest::Client, ask: &Ask<'_>) -> Result<Reply, Failure> {
        let work = async {
            let mut request = http.request(ask.method.clone(), ask.url.clone());
            for (name, value) in &ask.headers {
                request = request.header(*name, *value);
            }
            if let Some(body) = &ask.body {
                request = request.body(body.clone());
            }
            let response = request.send().await.map_err(|error| Failure::of(&error))?;
            Reply::read(response).await
        };
        match tokio::time::timeout(self.patience, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::NoAnswer {
                millis: self.patience.as_millis(),
            }),
        }
    }

    fn client(&self, ask: &Ask<'_>) -> Result<reqwest::Client, IdentityProblem> {
        tls::install_provider();
        let roots: Vec<Certificate> = if ask.url.scheme() == "https" {
            tls::machine_roots()
        } else {
            Vec::new()
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("dbt-lease/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(self.patience / 2)
            .tls_certs_only(roots);
        if !self.through_proxy {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| IdentityProblem::NoAnswer {
            address: ask.address(),
            cause: Cause::Connect(crate::vault::transport::deepest(&error)),
            attempts: 0,
        })
    }
}
