//! The end of a session: all is given back, and the record, the janitor and the user are told.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::session::{Borrowed, Session};
use super::taking_back::report;
use crate::delivery::session::SessionDir;
use crate::failpoint;
use crate::record::audit::Record;
use crate::record::back::Back;
use crate::supervise::course::Asked;
use crate::supervise::janitor::handle::Janitor;
use crate::supervise::janitor::protocol::Proof;
use crate::supervise::signals::{Signals, asks_to_end};
use crate::vault::client::Client;
use crate::vault::lease::Lease;
use crate::vault::take_back::take_back_looking;

/// How long Vault may take to end things after the command ended by itself. After a signal it is what is left of
/// [`crate::supervise::course::AT_MOST`].
const PATIENT: Duration = Duration::from_secs(30);
/// How long a request that a signal finds under way may still take: its answer may hold a lease.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(2);

impl Session<'_> {
    /// Puts the end on record, or leaves it to the janitor where that must go on; parts from the janitor, and tells.
    pub(super) fn close(
        &self,
        mut record: Option<Record>,
        janitor: Janitor<'_>,
        signals: Signals,
        back: &Back,
        (result, started, still_runs): (&str, Instant, bool),
    ) {
        let on_record = if (back.broken_off || still_runs) && janitor.is_there().is_ok() {
            // Who wants us gone gets that; the janitor goes on, and tells the record.
            janitor.leave(result);
            back.recorded
        } else {
            let on_record = self.record_end(record.as_mut(), back, result, started.elapsed());
            janitor.done(Proof::of(back));
            failpoint::reached("done_sent");
            on_record
        };
        // All is done that a signal could disturb. A stderr that nobody reads may hold us up for ever; then a signal ends us.
        drop(signals);
        report(
            self.say,
            &self.id,
            record.as_ref().map(Record::path).filter(|_| on_record),
            back,
            started.elapsed(),
        );
    }

    /// Gives everything back, the directory first: that takes microseconds, and cannot hang.
    pub(super) async fn take_back(
        &self,
        client: &Client,
        signals: &Signals,
        borrowed: Borrowed,
        until: Option<Instant>,
        has_janitor: bool,
    ) -> Back {
        let Borrowed {
            token,
            secrets,
            directory,
            recorded,
            unseen_token,
            ..
        } = borrowed;
        let directory = directory.map(SessionDir::remove);
        let without = secrets.iter().filter(|secret| secret.lease.is_none());
        let without_lease = without.map(|secret| secret.path.clone()).collect();
        let leases: Vec<Lease> = secrets
            .into_iter()
            .filter_map(|secret| secret.lease)
            .collect();
        let Some(token) = token else {
            return Back {
                directory,
                returned: None,
                recorded,
                broken_off: false,
                unseen_token,
                abandoned: Vec::new(),
                without_lease: Vec::new(),
                looked: None,
            };
        };
        let known = leases.clone();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // The janitor may still get the answer for which there is no time here; without one, what has no answer in time is said.
        let within = left.filter(|_| !has_janitor).unwrap_or(PATIENT);
        let mut work = std::pin::pin!(take_back_looking(
            client,
            &token,
            leases,
            within,
            self.lookups()
        ));
        // The ^C that ended the command may still lie in the pipe: it is not about us.
        signals.forget_pending();
        let time_is_over = async {
            match left {
                Some(left) if has_janitor => tokio::time::sleep(left).await,
                _ => std::future::pending().await,
            }
        };
        failpoint::reached("revoking");
        let returned = tokio::select! {
            returned = &mut work => Some(returned),
            () = time_is_over => None,
            // Whoever asks again wants us gone.
            _ = ending_signal(signals) => {
                let last = left.map_or(LAST_ANSWER, |left| left.min(LAST_ANSWER));
                tokio::time::timeout(last, work).await.ok()
            }
        };
        let broken_off = returned.is_none();
        Back {
            directory,
            returned,
            recorded,
            broken_off,
            unseen_token,
            abandoned: if broken_off { known } else { Vec::new() },
            without_lease,
            looked: None,
        }
    }
}

/// The next signal that asks us to end.
pub(super) async fn ending_signal(signals: &Signals) -> Asked {
    loop {
        match signals.next().await {
            Ok(received) if asks_to_end(received.signal) => {
                return Asked::now(received.signal);
            }
            Ok(_) => {}
            // The pipe is ours and stays open; without it there is nothing to wait for.
            Err(_) => std::future::pending().await,
        }
    }
}
