//! Taking back what dead sessions had borrowed, by their lease ids on record, with a living session's token.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use super::say::Say;
use crate::delivery::sweep::Swept;
use crate::record::audit::{Ended, Kind, Record, TakenBack, stamp};
use crate::record::back::outcome;
use crate::record::dead::Dead;
use crate::vault::auth::Token;
use crate::vault::client::Client;
use crate::vault::take_back::{Returned, take_back_for_the_dead};

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// In words, a line a session.
    pub(super) lines: Vec<String>,
    /// How many leases are not known to be gone.
    pub(super) open: usize,
}

/// Whether a dead session borrowed from that environment of that Vault, and no directory of its name is alive.
pub(super) fn is_of(
    dead: &Dead,
    environment: &str,
    server: &crate::config::Server,
    swept: &Swept,
) -> bool {
    dead.environment == environment
        && server.addresses().any(|address| dead.address == address)
        && dead.namespace == server.namespace
        && !swept
            .living
            .iter()
            .any(|path| path.ends_with(&dead.session))
}

/// Takes back the leases of dead sessions and puts on record what became of them. A session of which a lease lives on stays dead on
/// record, so that the next one tries again.
pub(super) async fn take_back(
    say: &Say,
    client: &Client,
    token: &Token,
    record: &mut Record,
    swept: &Swept,
    (dead, within): (Vec<Dead>, Duration),
) -> Outcome {
    let mut found = Outcome::default();
    let count = u32::try_from(dead.len()).unwrap_or(u32::MAX).max(1);
    for dead in dead {
        let taken = take_back_for_the_dead(client, token, dead.leases, within / count).await;
        let open = taken
            .iter()
            .filter(|taken| {
                !matches!(
                    taken.returned,
                    Returned::Revoked | Returned::NotRevocable { .. }
                )
            })
            .count();
        found.open += open;
        let session = &dead.session;
        let mut leases = Vec::new();
        for taken in &taken {
            let (result, proof) = outcome(&taken.returned);
            found.lines.push(format!(
                "session {session} of the environment {}, which is over: its lease on `{}`: {result}: {proof}",
                dead.environment, taken.lease.path
            ));
            leases.push(TakenBack {
                lease_id: taken.lease.id.expose(),
                result,
                proof,
                lives_until: matches!(taken.returned, Returned::NotRevocable { .. })
                    .then(|| stamp(taken.lives_until)),
            });
        }
        if taken
            .iter()
            .any(|taken| matches!(taken.returned, Returned::Failed { .. }))
        {
            continue;
        }
        let removed = swept.removed.iter().any(|path| path.ends_with(session));
        let ended = Ended {
            environment: &dead.environment,
            result: "swept".to_owned(),
            seconds: SystemTime::now()
                .duration_since(dead.lent)
                .unwrap_or_default()
                .as_secs_f64()
                .round(),
            directory: if removed { "removed" } else { "unknown" }.to_owned(),
            leases,
            token: "unknown: it ends by its time".to_owned(),
        };
        if let Err(error) = record.append(session, Kind::Ended(ended)) {
            say.warning(
                &format!(
                    "the record `{}` could not be written: {error}",
                    record.path().display()
                ),
                None,
            );
        }
    }
    found
}
