//! Taking back what dead sessions had borrowed, by their lease ids on record, with a living session's token.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use super::say::Say;
use super::session::Session;
use crate::delivery::sweep::Swept;
use crate::record::again::{Again, Left};
use crate::record::audit::{Ended, Kind, LookedAgain, Record, TakenBack, stamp};
use crate::record::back::outcome;
use crate::record::dead::{Dead, IN_PASSING, LONGEST_LEASE};
use crate::vault::auth::Token;
use crate::vault::client::Client;
use crate::vault::take_back::{Returned, Taken, end_token_of_the_dead, take_back_for_the_dead};

/// How long taking back for killed sessions may delay our own end.
const FOR_THE_DEAD: Duration = Duration::from_secs(5);
/// How long the end of a killed session's token may take.
const TOKEN_WITHIN: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// In words, a line a session.
    pub(super) lines: Vec<String>,
    /// How many leases are not known to be gone.
    pub(super) open: usize,
}

impl Session<'_> {
    /// Takes back what killed sessions of this environment left, and tries again what ended ones could not revoke, while the command runs.
    pub(super) async fn take_back_for_the_dead(
        &self,
        client: &Client,
        token: &Token,
        record: Option<&mut Record>,
    ) {
        let Some(record) = record else { return };
        let (now, server) = (SystemTime::now(), &self.wanted.session.server);
        let recent = now - LONGEST_LEASE;
        let is_dead = |found: &Dead| {
            found.session != self.id
                && found.lent > recent
                && is_of(found, self.environment, server, &self.swept)
        };
        let is_open = |again: &Again| {
            let session = &again.session;
            session.lent > recent
                && again.is_due(now)
                && is_borrowed_from(session, self.environment, server)
        };
        let Left { dead, open } = record
            .left(IN_PASSING, is_dead, is_open)
            .unwrap_or_default();
        if !dead.is_empty() {
            let work = (dead, FOR_THE_DEAD);
            let outcome = take_back(self.say, client, token, record, &self.swept, work).await;
            for line in outcome.lines {
                self.say.note(|| line);
            }
        }
        if !open.is_empty() {
            let work = (open, FOR_THE_DEAD);
            let outcome = look_again(self.say, client, token, record, work).await;
            for line in outcome.lines {
                if outcome.open > 0 {
                    self.say.warning(&line, None);
                } else {
                    self.say.note(|| line);
                }
            }
        }
    }
}

/// Whether a dead session borrowed from that environment of that Vault, and no directory of its name is alive.
pub(super) fn is_of(
    dead: &Dead,
    environment: &str,
    server: &crate::config::Server,
    swept: &Swept,
) -> bool {
    is_borrowed_from(dead, environment, server)
        && !swept
            .living
            .iter()
            .any(|path| path.ends_with(&dead.session))
}

/// Whether a session borrowed from that environment of that Vault.
pub(super) fn is_borrowed_from(
    dead: &Dead,
    environment: &str,
    server: &crate::config::Server,
) -> bool {
    dead.environment == environment
        && server.addresses().any(|address| dead.address == address)
        && dead.namespace == server.namespace
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
                "session {session} of the environment {}, which was killed: its lease on `{}`: {result}: {proof}",
                dead.environment, taken.lease.path
            ));
            leases.push(on_record(taken));
        }
        if taken
            .iter()
            .any(|taken| matches!(taken.returned, Returned::Failed { .. }))
        {
            continue;
        }
        let ended_token = match &dead.accessor {
            Some(accessor) => end_token_of_the_dead(client, token, accessor, TOKEN_WITHIN).await,
            None => "unknown: it ends by its time".to_owned(),
        };
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
            without_lease: &[],
            token: ended_token,
            unseen_token: false,
            search: None,
        };
        append(say, record, session, Kind::Ended(ended));
    }
    found
}

/// Tries again to revoke what ended sessions could not have revoked, and puts on record what came of it.
///
/// A lease that Vault has ended meanwhile is one that it does not know: a revocation with sync is answered by 204 then too.
pub(super) async fn look_again(
    say: &Say,
    client: &Client,
    token: &Token,
    record: &mut Record,
    (open, within): (Vec<Again>, Duration),
) -> Outcome {
    let mut found = Outcome::default();
    let count = u32::try_from(open.len()).unwrap_or(u32::MAX).max(1);
    for Again { session: dead, .. } in open {
        let taken = take_back_for_the_dead(client, token, dead.leases, within / count).await;
        let session = &dead.session;
        for taken in &taken {
            let (result, proof) = outcome(&taken.returned);
            found.open += usize::from(taken.returned != Returned::Revoked);
            found.lines.push(format!(
                "session {session} of the environment {}, whose lease on `{}` was left open: {result}: {proof}",
                dead.environment, taken.lease.path
            ));
        }
        let looked = LookedAgain {
            environment: &dead.environment,
            leases: taken.iter().map(on_record).collect(),
        };
        append(say, record, session, Kind::LookedAgain(looked));
    }
    found
}

fn on_record(taken: &Taken) -> TakenBack<'_> {
    let (result, proof) = outcome(&taken.returned);
    TakenBack {
        lease_id: taken.lease.id.expose(),
        result,
        proof,
        lives_until: (taken.returned != Returned::Revoked).then(|| stamp(taken.lives_until)),
        verified: None,
    }
}

fn append(say: &Say, record: &mut Record, session: &str, event: Kind<'_>) {
    if let Err(error) = record.append(session, event) {
        say.warning(
            &format!(
                "the record `{}` could not be written: {error}",
                record.path().display()
            ),
            None,
        );
    }
}
