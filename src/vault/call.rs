//! One request, one answer, and when the request may be made again.
#![forbid(unsafe_code)]

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{DATE, HeaderName, LOCATION, RETRY_AFTER};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::answer;
use super::error::Wanted;
use super::transport::Failure;
use crate::secret::Secret;

/// The longest answer that is read, in bytes.
pub const ANSWER_LIMIT: usize = 1 << 20;

/// When a request may be sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It does no harm: it is idempotent, or the end of our own token sweeps what an unseen answer left.
    Always,
    /// Only when it is certain that nothing was done.
    WhenNothingWasDone,
}

/// One request.
pub(crate) struct Call<'a> {
    pub(crate) wanted: Wanted,
    pub(crate) method: Method,
    /// Below `/v1/`.
    pub(crate) path: &'a str,
    pub(crate) token: Option<&'a Secret>,
    /// Parameters of the address.
    pub(crate) query: Vec<(&'static str, &'a str)>,
    pub(crate) body: Option<Zeroizing<Vec<u8>>>,
    pub(crate) repeat: Repeat,
    /// What the server's words must not show, beside the token.
    pub(crate) hide: Vec<&'a str>,
    /// The end of all tries together; `timeout` bounds each.
    pub(crate) deadline: Option<Instant>,
    /// Ask for the answer in a wrapping that lives so long.
    pub(crate) wrap: Option<Duration>,
}

impl<'a> Call<'a> {
    /// A request without body and token that may be repeated.
    pub(crate) fn new(wanted: Wanted, method: Method, path: &'a str) -> Self {
        Self {
            wanted,
            method,
            path,
            token: None,
            query: Vec::new(),
            body: None,
            repeat: Repeat::Always,
            hide: Vec::new(),
            deadline: None,
            wrap: None,
        }
    }

    /// The same with a token.
    pub(crate) fn with_token(mut self, token: &'a Secret) -> Self {
        self.token = Some(token);
        self
    }

    /// The same with a JSON body.
    pub(crate) fn with_body(mut self, body: &impl serde::Serialize) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(512));
        serde_json::to_writer(&mut *bytes, body)
            .expect("maps of texts and JSON values always serialise");
        self.body = Some(bytes);
        self
    }

    pub(crate) fn verb(&self) -> &'static str {
        match self.method {
            Method::GET => "GET",
            Method::PUT => "PUT",
            _ => "POST",
        }
    }

    pub(crate) fn hidden(&self) -> Vec<&str> {
        self.hide
            .iter()
            .copied()
            .chain(self.token.map(Secret::expose))
            .collect()
    }
}

/// An answer as it came.
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
    pub(crate) attempts: u32,
    /// Whether the answer to an earlier try was lost.
    pub(crate) after_loss: bool,
    /// What other addresses said before.
    pub(crate) elsewhere: Vec<String>,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) location: Option<String>,
    /// The server's clock, as it writes it.
    pub(crate) date: Option<String>,
}

impl Reply {
    pub(crate) async fn read(mut response: reqwest::Response) -> Result<Self, Failure> {
        let header =
            |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let location = header(LOCATION);
        let date = header(DATE);
        let retry_after = header(RETRY_AFTER)
            .and_then(|text| text.trim().parse().ok())
            .map(Duration::from_secs);
        let code = response.status().as_u16();
        let length = response
            .content_length()
            .and_then(|length| usize::try_from(length).ok());
        if length.is_some_and(|length| length > ANSWER_LIMIT) {
            return Err(Failure::TooLarge);
        }
        let mut body = Zeroizing::new(Vec::with_capacity(length.unwrap_or(8192)));
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| Failure::of(&error))?
        {
            let needed = body.len() + chunk.len();
            if needed > ANSWER_LIMIT {
                return Err(Failure::TooLarge);
            }
            if needed > body.capacity() {
                // Growing in place would leave the old bytes behind unwiped.
                let mut wider = Zeroizing::new(Vec::with_capacity(needed * 2));
                wider.extend_from_slice(&body);
                body = wider;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self {
            code,
            body,
            attempts: 1,
            after_loss: false,
            elsewhere: Vec::new(),
            retry_after,
            location,
            date,
        })
    }

    pub(crate) fn is_worth_another_try(&self, repeat: Repeat) -> bool {
        match self.code {
            412 | 429 | 473 => true,
            // A disaster recovery secondary stays one.
            501 | 472 => false,
            500..600 => repeat == Repeat::Always || self.is_nodes_own(),
            _ => false,
        }
    }

    /// Whether this node alone cannot do it, and did nothing: it is sealed, a standby, or a secondary.
    pub(crate) fn is_nodes_own(&self) -> bool {
        match self.code {
            472 | 473 => true,
            500 | 503 => answer::errors(&self.body).is_some_and(|errors| {
                errors.iter().any(|error| {
                    let error = error.to_ascii_lowercase();
                    [
                        "sealed",
                        "standby",
                        "not active",
                        "active cluster node not found",
                    ]
                    .iter()
                    .any(|state| error.contains(state))
                })
            }),
            _ => false,
        }
    }
}

/// The pause before try number `retry` (the first is 1): 1.0 to 1.5 s, times the number, as the official client's
/// LinearJitterBackoff; or what the server asks for, if that is longer, plus half a second at most.
pub(crate) fn pause(retry: u32, asked: Option<Duration>) -> Duration {
    // Without a random number all of a fleet wait alike: worse, not wrong.
    let jitter = Duration::from_millis(u64::from(getrandom::u32().unwrap_or(0) % 501));
    let own = (Duration::from_secs(1) + jitter) * retry;
    asked.map_or(own, |asked| if asked > own { asked + jitter } else { own })
}
