//! Keeping the token and the leases of a session alive while its command runs, and saying once what cannot be kept.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use super::say::Say;
use crate::failpoint;
use crate::record::audit::stamp;
use crate::supervise::footprint;
use crate::supervise::janitor::handle::Janitor;
use crate::supervise::renewal::{self, Event, Life, Trouble, boottime, jitter};
use crate::vault::auth::{Token, TokenKind};
use crate::vault::client::Client;
use crate::vault::lease::Lease;
use crate::vault::renew;

/// What is kept alive: the token first where it is ours and can be renewed, then the leases.
pub(super) struct Keeper<'a> {
    say: &'a Say,
    client: &'a Client,
    token: &'a Token,
    leases: Vec<&'a Lease>,
    lives: RefCell<Vec<Life>>,
    /// It gives back what lives longer now, if we are killed.
    janitor: &'a Janitor<'a>,
}

impl<'a> Keeper<'a> {
    /// A keeper of what was lent.
    pub(super) fn new(
        say: &'a Say,
        client: &'a Client,
        token: &'a Token,
        leases: Vec<&'a Lease>,
        janitor: &'a Janitor<'a>,
    ) -> Self {
        let now = boottime();
        // Vault's answers are dated by the wall clock, which is near the other one for the moment that has passed since.
        let since = |issued: SystemTime| now.saturating_sub(issued.elapsed().unwrap_or_default());
        // Somebody else's token is not ours to prolong; a batch token cannot be; one without a lifetime needs not.
        let renewable = token.own && token.renewable && token.kind == TokenKind::Service;
        let token_life = Life::new(
            since(token.issued),
            token.lifetime.unwrap_or(Duration::MAX / 4),
            renewable,
            jitter(),
        );
        let lease_lives = leases.iter().map(|lease| {
            Life::new(
                since(lease.issued),
                lease.duration,
                lease.renewable,
                jitter(),
            )
        });
        let lives = std::iter::once(token_life).chain(lease_lives).collect();
        Self {
            say,
            client,
            token,
            leases,
            lives: RefCell::new(lives),
            janitor,
        }
    }

    /// Renews for as long as it is polled.
    pub(super) async fn keep(&self) -> std::convert::Infallible {
        let renew = async |number: usize, increment: Duration, within: Duration| {
            failpoint::reached("renewing");
            let granted = match number.checked_sub(1) {
                None => renew::token(self.client, self.token, increment, within).await,
                Some(lease) => {
                    renew::lease(
                        self.client,
                        self.token,
                        self.leases[lease],
                        increment,
                        within,
                    )
                    .await
                }
            };
            if let Ok(duration) = granted {
                self.tell_the_janitor(number, duration);
            }
            // The next one may be hours away.
            footprint::give_back_when_asleep();
            granted.map_err(Trouble::from)
        };
        renewal::keep(&self.lives, boottime, jitter, renew, |number, event| {
            self.tell(number, &event)
        })
        .await
    }

    /// The token with the life that it has now.
    pub(super) fn token(&self) -> Token {
        let mut token = self.token.clone();
        if let (Some(lifetime), Some(life)) = (&mut token.lifetime, self.lives.borrow().first()) {
            let (from, lasts) = life.granted();
            token.issued = SystemTime::now() - boottime().saturating_sub(from);
            *lifetime = lasts;
        }
        token
    }

    /// The leases with the lives that they have now.
    pub(super) fn leases(&self) -> Vec<Lease> {
        let lives = self.lives.borrow();
        let now = (boottime(), SystemTime::now());
        let kept = |(lease, life): (&&Lease, &Life)| {
            let (from, lasts) = life.granted();
            Lease {
                issued: now.1 - now.0.saturating_sub(from),
                duration: lasts,
                ..(*lease).clone()
            }
        };
        self.leases
            .iter()
            .zip(lives.iter().skip(1))
            .map(kept)
            .collect()
    }

    fn tell_the_janitor(&self, number: usize, granted: Duration) {
        let issued = SystemTime::now();
        match number.checked_sub(1) {
            None => self.janitor.token(&Token {
                issued,
                lifetime: Some(granted),
                ..self.token.clone()
            }),
            Some(lease) => self.janitor.lease(&Lease {
                issued,
                duration: granted,
                ..self.leases[lease].clone()
            }),
        }
    }

    fn tell(&self, number: usize, event: &Event) {
        let what = match number.checked_sub(1) {
            None => "the session's token (its leases end with it)".to_owned(),
            Some(lease) => format!("the lease on `{}`", self.leases[lease].path),
        };
        let until = |left: &Duration| {
            format!(
                "it ends in {} s, at {}",
                left.as_secs(),
                stamp(SystemTime::now() + *left)
            )
        };
        match event {
            Event::Failing { why, ends_in } => self.say.warning(
                &format!("{what} could not be renewed: {why}. It is tried again; otherwise {}", until(ends_in)),
                Some("the command goes on; what it connects to after that time is refused"),
            ),
            Event::Recovered => self.say.warning(&format!("{what} is renewed again"), None),
            Event::LastEnd { ends_in } => self.say.warning(
                &format!("{what} has met its max_ttl and cannot be renewed beyond it: {}", until(ends_in)),
                Some("the command goes on; what it connects to after that time is refused. For longer runs raise the role's max_ttl"),
            ),
            Event::Refused { why, ends_in } => self.say.warning(
                &format!("{what} cannot be renewed: {why}. {}", upper(&until(ends_in))),
                Some("the command goes on; what it connects to after that time is refused"),
            ),
            Event::Ended { why } => {
                let why = why
                    .as_ref()
                    .map(|why| format!(" It could not be renewed: {why}"))
                    .unwrap_or_default();
                self.say.warning(
                    &format!("{what} has ended while the command runs: its new connections are refused from now on.{why}"),
                    None,
                );
            }
        }
    }
}

/// Says of what no lease keeps alive (a token of Google's, a static role's password) when it has ended, for as long as it is polled.
pub(super) async fn tell_ends(
    say: &Say,
    mut ends: Vec<(String, SystemTime)>,
) -> std::convert::Infallible {
    ends.sort_by_key(|(_, end)| *end);
    for (path, end) in ends {
        let left = end.duration_since(SystemTime::now()).unwrap_or_default();
        tokio::time::sleep(left).await;
        say.warning(
            &format!("the credential of `{path}` has ended while the command runs: its new connections are refused from now on"),
            Some("nothing prolongs it: run less at once, or lend from a path whose leases can be renewed"),
        );
    }
    std::future::pending().await
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
