//! Borrowing: the login, the secrets, the life that their leases get. What is answered is kept, also when a signal comes meanwhile.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use super::failure::Failure;
use super::giving_back::{LAST_ANSWER, ending_signal};
use super::session::{Borrowed, Session, Stop};
use super::terminal::Terminal;
use crate::failpoint;
use crate::supervise::janitor::handle::Janitor;
use crate::supervise::signals::Signals;
use crate::vault::auth::{self, Surroundings, Token};
use crate::vault::client::Client;
use crate::vault::lease::Lease;
use crate::vault::renew;
use crate::vault::secret;

impl Session<'_> {
    pub(super) async fn log_in(
        &self,
        client: &Client,
        signals: &Signals,
        janitor: &Janitor<'_>,
        borrowed: &mut Borrowed,
    ) -> Result<(), Stop> {
        let jitter = self.wanted.session.server.start_jitter;
        tokio::select! {
            biased;
            signal = ending_signal(signals) => return Err(Stop::Signal(signal)),
            () = client.stagger(jitter) => {}
        }
        janitor.token_coming();
        let person = Terminal::new(self.variables, self.no_browser);
        let around = Surroundings {
            variables: self.variables,
            person: &person,
        };
        let work = auth::login(client, &self.wanted.session.auth, around);
        let logged_in = until_signal(signals, work, |token| {
            janitor.token(&token);
            borrowed.token = Some(token);
        });
        let logged_in = logged_in.await;
        borrowed.unseen_token = client.has_unseen_login();
        logged_in?;
        failpoint::reached("logged_in");
        let Some(token) = &borrowed.token else {
            return Ok(());
        };
        for note in &token.notes {
            self.say.warning(&note.to_string(), None);
        }
        if token.is_root {
            let message = format!(
                "the login to the environment `{}` gave a root token, which may do everything in this Vault",
                self.environment
            );
            let hint =
                "log in with a role whose policy allows what `dbt-lease plan` lists, and no more";
            if self.protected {
                return Err(Failure::new("root_token", message, Some(hint)).into());
            }
            self.say.warning(&message, Some(hint));
        }
        Ok(())
    }

    pub(super) async fn read(
        &self,
        client: &Client,
        signals: &Signals,
        janitor: &Janitor<'_>,
        borrowed: &mut Borrowed,
    ) -> Result<(), Stop> {
        let Borrowed {
            token: Some(token),
            secrets,
            ..
        } = borrowed
        else {
            return Ok(());
        };
        for wanted in self.loans().flat_map(|(_, lent)| &lent.secrets) {
            janitor.is_there()?;
            let ttl = self.ttl.or(wanted.ttl);
            let request = wanted.request_for(ttl);
            let work = secret::read(client, token, &request);
            until_signal(signals, work, |secret| {
                if let Some(lease) = &secret.lease {
                    janitor.lease(lease);
                }
                secrets.push(secret);
            })
            .await?;
            let lease = secrets.last_mut().and_then(|secret| secret.lease.as_mut());
            if let (Some(lease), Some(ttl)) = (lease, ttl) {
                self.give_the_wanted_life(client, token, lease, ttl, signals)
                    .await?;
                janitor.lease(lease);
            }
        }
        failpoint::reached("read");
        for secret in secrets.iter() {
            for warning in &secret.warnings {
                self.say
                    .note(|| format!("Vault says of `{}`: {warning}", secret.path));
            }
        }
        Ok(())
    }

    /// Renews a lease whose engine's default is less than is wanted, or more than twice as much.
    pub(super) async fn give_the_wanted_life(
        &self,
        client: &Client,
        token: &Token,
        lease: &mut Lease,
        ttl: Duration,
        signals: &Signals,
    ) -> Result<(), Stop> {
        if lease.duration >= ttl && lease.duration <= ttl * 2 {
            return Ok(());
        }
        if !lease.renewable {
            // A session's key was issued a moment before its answer came.
            const A_MOMENT: Duration = Duration::from_secs(5);
            if lease.duration + A_MOMENT < ttl {
                let message = format!(
                    "the lease on `{}` was to live {} s, and lives {} s: it cannot be renewed",
                    lease.path,
                    ttl.as_secs(),
                    lease.duration.as_secs()
                );
                self.say.warning(&message, Some("raise its role's longest TTL; the command goes on, and what it connects to after that time is refused"));
            }
            return Ok(());
        }
        let asked = SystemTime::now();
        let mut granted = Ok(lease.duration);
        // What cannot be renewed is still a credential: that is told, and no reason to give up.
        let work = async {
            Ok::<_, Stop>(
                renew::lease(
                    client,
                    token,
                    lease,
                    ttl,
                    self.wanted.session.server.timeout,
                )
                .await,
            )
        };
        until_signal(signals, work, |answer| granted = answer).await?;
        let path = lease.path.clone();
        match granted {
            Ok(duration) => {
                (lease.issued, lease.duration) = (asked, duration);
                if duration < ttl {
                    self.say.warning(
                        &format!(
                            "the lease on `{path}` was to live {} s, and Vault grants {} s",
                            ttl.as_secs(),
                            duration.as_secs()
                        ),
                        Some("its role's max_ttl is lower; it is renewed while the command runs, as far as that goes"),
                    );
                }
            }
            Err(error) => self.say.warning(
                &format!(
                    "the lease on `{path}` was to live {} s, and lives {} s: {error}",
                    ttl.as_secs(),
                    lease.duration.as_secs()
                ),
                error.hint().as_deref(),
            ),
        }
        Ok(())
    }
}

/// Waits for an answer and keeps it. A signal that wants us gone lets the answer come for a moment more, since it may hold what must be
/// given back; then nothing further is asked for.
async fn until_signal<T, E>(
    signals: &Signals,
    work: impl Future<Output = Result<T, E>>,
    keep: impl FnOnce(T),
) -> Result<(), Stop>
where
    Stop: From<E>,
{
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        signal = ending_signal(signals) => {
            if let Ok(Ok(answer)) = tokio::time::timeout(LAST_ANSWER, work).await {
                keep(answer);
            }
            Err(Stop::Signal(signal))
        }
        answer = &mut work => {
            keep(answer?);
            Ok(())
        }
    }
}
