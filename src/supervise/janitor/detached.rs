//! A session that lives on after its process ended in order (`dbt-lease env`): until its time, or until somebody ends it.
//!
//! Its leases are not renewed, so their life is the session's. The token is, where it would end before them: they would end with it.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant, SystemTime};

use super::known::Known;
use crate::supervise::renewal::{Life, Trouble, boottime, jitter};
use crate::vault::auth::{Token, TokenKind};
use crate::vault::client::Client;
use crate::vault::renew;

/// A suspended machine's timers are late by as long as it slept, and no more than this.
const TICK: Duration = Duration::from_secs(30);
/// Between the session's end and its token's, so that the token can still give everything back.
const MARGIN: Duration = Duration::from_secs(2);

/// How long a session lives on; times are those of CLOCK_BOOTTIME.
pub(super) struct Detached {
    until: Duration,
    token: Option<Life>,
}

impl Detached {
    /// From now on, until then.
    pub(super) fn new(until: SystemTime, token: Option<&Token>) -> Self {
        let (now, clock) = (boottime(), SystemTime::now());
        let token = token.and_then(|token| {
            let since = clock.duration_since(token.issued).unwrap_or_default();
            let renewable = token.own && token.renewable && token.kind == TokenKind::Service;
            Some(Life::new(
                now.saturating_sub(since),
                token.lifetime?,
                renewable,
                jitter(),
            ))
        });
        Self {
            until: now + until.duration_since(clock).unwrap_or_default(),
            token,
        }
    }

    /// When the session is to end, as far as is known now: a token that ends before takes all with it.
    fn end(&self) -> Duration {
        match &self.token {
            Some(life) if !life.is_renewed() => self.until.min(life.ends().saturating_sub(MARGIN)),
            _ => self.until,
        }
    }

    /// Whether its time is over.
    pub(super) fn is_over(&self) -> bool {
        boottime() >= self.end()
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        let now = boottime();
        let token = self.token.as_ref().and_then(Life::due);
        let next = token.map_or(self.end(), |due| due.min(self.end()));
        Instant::now() + next.saturating_sub(now).min(TICK)
    }

    /// Renews the token where it is time to, and it would end before the session.
    pub(super) fn keep(&mut self, known: &mut Known) {
        let now = boottime();
        let Some(life) = &mut self.token else { return };
        let (Some(introduction), Some(token)) = (&known.introduction, &mut known.token) else {
            return;
        };
        if life.ends() >= self.until + MARGIN {
            // It lasts.
            self.token = None;
            return;
        }
        if !life.wants_renewal(now) {
            return;
        }
        let (server, session) = (&introduction.server, &introduction.about.session);
        let client = Client::new(server, session).map_err(Trouble::from);
        let granted = client.and_then(|client| {
            // Without room for an event loop now, there may be some later.
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Trouble::Passing(error.to_string()))?;
            let work = renew::token(&client, token, life.increment(), life.patience(now));
            let granted = runtime.block_on(work);
            runtime.shutdown_background();
            granted.map_err(Trouble::from)
        });
        match granted {
            Ok(lasts) => {
                (token.issued, token.lifetime) = (SystemTime::now(), Some(lasts));
                // There is nobody to tell what that means. Near its max_ttl it is not renewed again, and the session ends before it.
                let _ = life.renewed(now, lasts, boottime(), jitter());
            }
            // What may pass is tried again, after a pause; what is final ends the session in time.
            Err(trouble) => {
                let _ = life.failed(trouble, boottime());
            }
        }
    }
}
