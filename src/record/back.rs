//! What became of everything that a session borrowed, as the record tells it.
#![forbid(unsafe_code)]

use std::io;
use std::time::Duration;

use super::audit::{self, Ended, TakenBack, stamp};
use crate::vault::lease::{Lease, LeaseId};
use crate::vault::take_back::{Outcome, Returned, TakeBack, Taken, TokenEnd, Verified, Way};
use crate::verify::search::{Found, Searched};

/// What became of everything that was borrowed.
pub struct Back {
    /// The directory; `None` where there was none.
    pub directory: Option<io::Result<()>>,
    /// Leases and token; `None` where there was no token, or where taking back was broken off: the janitor does it, where there is one.
    pub returned: Option<TakeBack>,
    /// Whether `lent` is on record.
    pub recorded: bool,
    /// Whether taking back was broken off: the janitor does it, where there is one.
    pub broken_off: bool,
    /// Whether a login was sent, and nobody has seen its answer: Vault may have made a token that nobody can name.
    pub unseen_token: bool,
    /// The leases that nobody waited for.
    pub abandoned: Vec<Lease>,
    /// The paths of secrets that came without a lease, and so cannot be taken back: stored ones, static roles, cloud tokens.
    pub without_lease: Vec<String>,
    /// Whether our secrets stand in what the command wrote; none where nothing was run, or by a janitor.
    pub looked: Option<Looked>,
}

/// The search for our own secrets.
#[derive(Debug)]
pub enum Looked {
    /// It was made.
    Through(Searched),
    /// It was not, for this reason.
    Skipped(&'static str),
}

impl Back {
    /// Whether nothing was borrowed at all.
    pub fn is_nothing(&self) -> bool {
        self.directory.is_none()
            && self.returned.is_none()
            && !self.broken_off
            && !self.unseen_token
    }

    /// Takes in what a second look saw of leases that were taken back.
    pub fn verify(&mut self, seen: Vec<(LeaseId, Verified)>) {
        for (lease, verified) in seen {
            let mut leases = self.returned.iter_mut().flat_map(|back| &mut back.leases);
            if let Some(taken) = leases.find(|taken| taken.lease.id == lease) {
                taken.verified = Some(verified);
            }
        }
    }

    /// What was found of our secrets.
    pub fn found(&self) -> &[Found] {
        match &self.looked {
            Some(Looked::Through(searched)) => &searched.found,
            Some(Looked::Skipped(_)) | None => &[],
        }
    }

    /// Whether something was found.
    pub fn has_found(&self) -> bool {
        !self.found().is_empty()
    }

    /// Whether a second look saw something that should be gone.
    pub fn still_there(&self) -> bool {
        self.returned.as_ref().is_some_and(TakeBack::still_there)
    }

    /// Whether Vault said of every lease that it is gone, and nothing else is left.
    pub fn is_proven(&self) -> bool {
        let directory = !matches!(self.directory, Some(Err(_)));
        let returned = self
            .returned
            .as_ref()
            .is_none_or(|back| back.all_proven() && !matches!(back.token, TokenEnd::Failed { .. }));
        directory && returned && !self.broken_off
    }

    /// The record's last event of the session.
    pub fn event<'a>(&'a self, environment: &'a str, result: &str, elapsed: Duration) -> Ended<'a> {
        let mut leases: Vec<TakenBack<'a>> = Vec::new();
        for taken in self.returned.iter().flat_map(|back| &back.leases) {
            let (result, proof) = outcome(&taken.returned);
            leases.push(TakenBack {
                lease_id: taken.lease.id.expose(),
                result,
                proof,
                lives_until: lives_until(taken),
                verified: taken.verified.as_ref().map(seen),
            });
        }
        for lease in &self.abandoned {
            leases.push(TakenBack {
                lease_id: lease.id.expose(),
                result: "unknown",
                proof: "broken off by a signal".to_owned(),
                lives_until: Some(stamp(lease.expires())),
                verified: None,
            });
        }
        Ended {
            environment,
            result: result.to_owned(),
            seconds: (elapsed.as_secs_f64() * 1000.0).round() / 1000.0,
            directory: match &self.directory {
                None => "none".to_owned(),
                Some(Ok(())) => "removed".to_owned(),
                Some(Err(error)) => format!("not removed: {error}"),
            },
            leases,
            without_lease: &self.without_lease,
            search: self.looked.as_ref().map(searched),
            unseen_token: self.unseen_token,
            token: match self.returned.as_ref().map(|back| &back.token) {
                None => "unknown".to_owned(),
                Some(TokenEnd::Revoked) => "revoked".to_owned(),
                Some(TokenEnd::NotOurs) => "kept: the user's own".to_owned(),
                Some(TokenEnd::Batch) => "expires: a batch token cannot be revoked".to_owned(),
                Some(TokenEnd::Expired) => "expired: it had ended before".to_owned(),
                Some(TokenEnd::Failed { why, .. }) => format!("not revoked: {why}"),
            },
        }
    }
}

fn seen(verified: &Verified) -> audit::Verified {
    let (result, why) = match &verified.outcome {
        Outcome::Gone(how) => ("gone", how),
        Outcome::StillThere(how) => ("still_there", how),
        Outcome::NotKnown(why) => ("not_known", why),
    };
    audit::Verified {
        by: match verified.way {
            Way::Lookup => "lookup",
            Way::Login => "login",
        },
        result,
        why: why.clone(),
    }
}

fn searched(looked: &Looked) -> audit::Search<'_> {
    match looked {
        Looked::Skipped(why) => audit::Search {
            result: "skipped",
            why: Some(why),
            ..audit::Search::default()
        },
        Looked::Through(searched) => audit::Search {
            result: match (searched.found.is_empty(), &searched.missed) {
                (false, _) => "found",
                (true, None) => "nothing",
                (true, Some(_)) => "incomplete",
            },
            files: searched.files,
            bytes: searched.bytes,
            why: searched.missed.as_deref(),
            found: searched
                .found
                .iter()
                .map(|found| audit::Found {
                    file: &found.file,
                    offset: found.offset,
                    secret: &found.secret,
                    form: found.form,
                })
                .collect(),
        },
    }
}

fn lives_until(taken: &Taken) -> Option<String> {
    (taken.returned != Returned::Revoked).then(|| stamp(taken.lives_until))
}

/// The record's word, and by what it is known.
pub fn outcome(returned: &Returned) -> (&'static str, String) {
    match returned {
        Returned::Revoked => (
            "revoked",
            "Vault revoked it with sync and answered 204".to_owned(),
        ),
        Returned::NotRevocable { why } => ("not_revocable", (*why).to_owned()),
        Returned::EndedWithToken { why, .. } => ("ended_with_token", why.clone()),
        Returned::Shortened { why, .. } => ("shortened", why.clone()),
        Returned::Queued { why, .. } => ("queued", why.clone()),
        Returned::Failed { why, .. } => ("failed", why.clone()),
    }
}
