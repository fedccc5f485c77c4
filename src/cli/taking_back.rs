//! How a session's end is told: what was given back, by what that is known, and what is left.
#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::time::Duration;

use super::say::Say;
use crate::record::audit::{Ended, TakenBack, stamp};
use crate::vault::lease::Lease;
use crate::vault::take_back::{Returned, TakeBack, Taken, TokenEnd};

/// What became of everything that was borrowed.
pub(super) struct Back {
    /// The directory; `None` where there was none.
    pub(super) directory: Option<io::Result<()>>,
    /// Leases and token; `None` where there was no token, or where taking back was broken off.
    pub(super) returned: Option<TakeBack>,
    /// Whether `lent` is on record.
    pub(super) recorded: bool,
    /// The leases that nobody waited for.
    pub(super) abandoned: Vec<Lease>,
}

impl Back {
    /// Whether nothing was borrowed at all.
    pub(super) fn is_nothing(&self) -> bool {
        self.directory.is_none() && self.returned.is_none() && self.abandoned.is_empty()
    }

    /// Whether Vault said of every lease that it is gone, and nothing else is left.
    pub(super) fn is_proven(&self) -> bool {
        let directory = !matches!(self.directory, Some(Err(_)));
        let returned = self
            .returned
            .as_ref()
            .is_none_or(|back| back.all_proven() && !matches!(back.token, TokenEnd::Failed { .. }));
        directory && returned && self.abandoned.is_empty()
    }

    /// The record's last event.
    pub(super) fn event<'a>(
        &'a self,
        environment: &'a str,
        result: &str,
        elapsed: Duration,
    ) -> Ended<'a> {
        let mut leases: Vec<TakenBack<'a>> = Vec::new();
        for taken in self.returned.iter().flat_map(|back| &back.leases) {
            let (result, proof) = outcome(&taken.returned);
            leases.push(TakenBack {
                lease_id: taken.lease.id.expose(),
                result,
                proof,
                lives_until: lives_until(taken),
            });
        }
        for lease in &self.abandoned {
            leases.push(TakenBack {
                lease_id: lease.id.expose(),
                result: "unknown",
                proof: "broken off by a signal".to_owned(),
                lives_until: Some(stamp(lease.expires())),
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

fn lives_until(taken: &Taken) -> Option<String> {
    (taken.returned != Returned::Revoked).then(|| stamp(taken.lives_until))
}

/// The record's word, and by what it is known.
fn outcome(returned: &Returned) -> (&'static str, String) {
    match returned {
        Returned::Revoked => (
            "revoked",
            "Vault revoked it with sync and answered 204".to_owned(),
        ),
        Returned::EndedWithToken { why, .. } => ("ended_with_token", why.clone()),
        Returned::Shortened { why, .. } => ("shortened", why.clone()),
        Returned::Queued { why, .. } => ("queued", why.clone()),
        Returned::Failed { why, .. } => ("failed", why.clone()),
    }
}

/// Says how the session ended: one line at -v where all is well, a warning for each thing that is not.
pub(super) fn report(
    say: &Say,
    session: &str,
    record: Option<&Path>,
    back: &Back,
    elapsed: Duration,
) {
    let place = record.map_or_else(
        || format!("session {session}, which is not on record"),
        |path| {
            format!(
                "session {session}; its lease id stands in `{}`",
                path.display()
            )
        },
    );
    if let Some(Err(error)) = &back.directory {
        say.alarm(
            &format!("the profiles directory was not removed: {error}"),
            Some("look for it below `dbt-lease-UID` in $XDG_RUNTIME_DIR, /dev/shm or /tmp and remove it"),
        );
    }
    for taken in back.returned.iter().flat_map(|back| &back.leases) {
        tell(say, taken, &place);
    }
    for lease in &back.abandoned {
        let until = stamp(lease.expires());
        say.alarm(
            &format!("the lease on `{}` may not be revoked: a signal broke that off; it lives until {until} ({place})", lease.path),
            None,
        );
    }
    if let Some(TokenEnd::Failed { why, hint }) = back.returned.as_ref().map(|back| &back.token) {
        say.alarm(
            &format!("the session's token was not revoked: {why} (session {session})"),
            hint.as_deref(),
        );
    }
    say.note(|| summary(back, session, elapsed));
}

fn tell(say: &Say, taken: &Taken, place: &str) {
    let path = &taken.lease.path;
    let until = stamp(taken.lives_until);
    match &taken.returned {
        Returned::Revoked => {}
        Returned::EndedWithToken { why, hint } => say.alarm(
            &format!(
                "the lease on `{path}` could not be revoked by itself: {why}. Its token was revoked, and Vault ends it with that; \
                 whether the database followed is not known ({place})"
            ),
            hint.as_deref(),
        ),
        Returned::Shortened { why, hint } => say.alarm(
            &format!(
                "the lease on `{path}` could not be revoked: {why}. It was renewed to one second instead; whether the database \
                 followed is not known ({place})"
            ),
            hint.as_deref(),
        ),
        Returned::Queued { why, hint } => say.alarm(
            &format!(
                "the lease on `{path}` is not revoked yet: {why}. Vault goes on trying by itself for some minutes; the credential may \
                 live until {until} ({place})"
            ),
            hint.as_deref(),
        ),
        Returned::Failed { why, hint } => {
            say.alarm(&format!("the lease on `{path}` is NOT revoked: {why}. It lives until {until} ({place})"), hint.as_deref());
        }
    }
}

fn summary(back: &Back, session: &str, elapsed: Duration) -> String {
    let leases = back.returned.as_ref().map_or(0, |back| back.leases.len()) + back.abandoned.len();
    let revoked = back
        .returned
        .iter()
        .flat_map(|back| &back.leases)
        .filter(|taken| taken.returned == Returned::Revoked)
        .count();
    let plural = if leases == 1 { "" } else { "s" };
    let verified = match (leases, leases - revoked) {
        (0, _) => "nothing to revoke".to_owned(),
        (_, 0) => {
            format!("{revoked} revoked, verified by Vault's answer to a sync revocation")
        }
        (_, open) => format!("{revoked} revoked and verified, {open} not (see above)"),
    };
    format!(
        "session {session}: {leases} lease{plural}, {verified}; {:.1} s",
        elapsed.as_secs_f64()
    )
}
