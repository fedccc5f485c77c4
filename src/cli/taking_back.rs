//! How a session's end is told: what was given back, by what that is known, and what is left.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use super::say::Say;
use crate::record::audit::stamp;
use crate::record::back::{Back, Looked};
use crate::vault::take_back::{Outcome, Returned, Taken, TokenEnd};
use crate::verify::search::Found;

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
        tell_verified(say, taken, &place);
    }
    for lease in &back.abandoned {
        let until = stamp(lease.expires());
        say.alarm(
            &format!(
                "the lease on `{}` may not be revoked: there was no time left for that after a signal; the janitor goes on with it, and the record will tell; \
                 it lives until {until} at the latest ({place})",
                lease.path
            ),
            None,
        );
    }
    if back.broken_off && back.abandoned.is_empty() {
        say.alarm(
            &format!(
                "the session's token may not be revoked: there was no time left for that after a signal; the janitor goes on with it, and \
                 the record will tell (session {session})"
            ),
            None,
        );
    }
    if let Some(TokenEnd::Failed { why, hint }) = back.returned.as_ref().map(|back| &back.token) {
        say.alarm(
            &format!("the session's token was not revoked: {why} (session {session})"),
            hint.as_deref(),
        );
    }
    if back.unseen_token {
        say.warning(
            &format!(
                "no answer was seen to a login: if Vault made a token for it, nobody can name it; it holds no lease, and ends by its time (session {session})"
            ),
            Some("keep the login role's `token_ttl` short: tokens are renewed while a run lives"),
        );
    }
    tell_found(say, back, session);
    say.note(|| summary(back, session, elapsed));
}

fn tell(say: &Say, taken: &Taken, place: &str) {
    let path = &taken.lease.path;
    let until = stamp(taken.lives_until);
    match &taken.returned {
        Returned::Revoked => {}
        Returned::NotRevocable { why } => say.note(|| {
            format!("the credential of `{path}` is not revoked, and lives until {until}: {why}")
        }),
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

/// What `--verify` saw: silent where all is gone.
fn tell_verified(say: &Say, taken: &Taken, place: &str) {
    let path = &taken.lease.path;
    let Some(verified) = &taken.verified else {
        return;
    };
    match &verified.outcome {
        Outcome::Gone(how) => say.note(|| format!("the lease on `{path}`: {how}")),
        Outcome::StillThere(how) => say.alarm(
            &format!("the lease on `{path}` is NOT gone: {how} ({place})"),
            Some("drop the database user by hand, and correct the role's revocation statements"),
        ),
        Outcome::NotKnown(why) => say.alarm(
            &format!("the end of the lease on `{path}` is not verified: {why} ({place})"),
            None,
        ),
    }
}

/// The search in what the command wrote: loud where something was found, or could have been missed.
fn tell_found(say: &Say, back: &Back, session: &str) {
    for Found {
        file,
        offset,
        secret,
        form,
    } in back.found()
    {
        say.alarm(
            &format!(
                "`{secret}`, which was lent, stands in `{}`, {form}, at byte {offset} (session {session})",
                file.display()
            ),
            Some("remove the file, and find the model, macro or package that writes it"),
        );
    }
    match &back.looked {
        Some(Looked::Through(searched)) => {
            if let Some(missed) = &searched.missed {
                say.warning(
                    &format!(
                        "not everything that the command wrote was searched for what was lent: {missed}"
                    ),
                    None,
                );
            }
            say.note(|| {
                format!(
                    "searched {} files that the command wrote ({} kB) for what was lent",
                    searched.files,
                    searched.bytes / 1000
                )
            });
        }
        Some(Looked::Skipped(why)) => {
            say.note(|| {
                format!("what the command wrote was not searched for what was lent: {why}")
            });
        }
        None => {}
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
    let by_time = back
        .returned
        .iter()
        .flat_map(|back| &back.leases)
        .filter(|taken| matches!(taken.returned, Returned::NotRevocable { .. }))
        .count();
    let verified = match (leases, revoked, leases - revoked - by_time) {
        (0, ..) => "nothing to revoke".to_owned(),
        (_, 0, 0) => "which ends by its time alone (see above)".to_owned(),
        (_, _, 0) if by_time > 0 => {
            format!("{revoked} revoked and verified, {by_time} left to its time (see above)")
        }
        (_, _, 0) => {
            format!("{revoked} revoked, verified by Vault's answer to a sync revocation")
        }
        (_, _, open) => format!("{revoked} revoked and verified, {open} not (see above)"),
    };
    let without = match back.without_lease.as_slice() {
        [] => String::new(),
        paths => format!(
            "; without a lease, and not to be revoked: `{}`",
            paths.join("`, `")
        ),
    };
    format!(
        "session {session}: {leases} lease{plural}, {verified}{without}; {:.1} s",
        elapsed.as_secs_f64()
    )
}
