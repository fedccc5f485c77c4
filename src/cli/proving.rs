//! What is looked at around the giving back: whether the credential still logs in (`--verify login`), and whether it stands in what dbt
//! wrote. Nothing of it may delay who wants us gone.
#![forbid(unsafe_code)]

use std::time::SystemTime;

use super::arguments::Verify;
use super::failure::Failure;
use super::giving_back::ending_signal;
use super::session::{Borrowed, Session, Stop};
use crate::record::back::{Back, Looked};
use crate::supervise::child::{End, Waited};
use crate::supervise::signals::Signals;
use crate::vault::take_back::Lookups;
use crate::verify::forms::{Needle, needles};
use crate::verify::login::{Before, Logins};
use crate::verify::search::{BOUNDS, search};

/// What is kept for the looks that follow the giving back.
pub(super) struct Proving {
    since: SystemTime,
    needles: Vec<Needle>,
    logins: Option<(Logins, Result<Before, &'static str>)>,
    /// Why nothing is looked for.
    skipped: Option<&'static str>,
}

impl Session<'_> {
    /// Learns what to look for, and tries the logins while they still work.
    pub(super) async fn before_taking_back(
        &self,
        borrowed: &Borrowed,
        signals: &Signals,
        since: SystemTime,
        way: &Result<Waited, Stop>,
    ) -> Option<Proving> {
        let skipped = match way {
            Ok(waited) if waited.still_runs => return None,
            Ok(waited) => match (waited.ended.until, waited.ended.end) {
                (None, End::Code(_)) => None,
                _ => Some("a signal ended the command, or asked us to end"),
            },
            // Nothing was run.
            Err(_) => return None,
        };
        let logins = (self.verify == Some(Verify::Login)).then(|| self.logins(borrowed));
        let logins = match (logins, skipped) {
            (None, _) => None,
            (Some(logins), Some(why)) => Some((logins, Err(why))),
            (Some(logins), None) => {
                let attempts = logins.clone();
                let before = unless_told(signals, move || attempts.before()).await;
                Some((logins, before))
            }
        };
        Some(Proving {
            since,
            needles: needles(&borrowed.secrets),
            logins,
            skipped,
        })
    }

    /// Tries the logins again and searches; what is seen stands in `back` then.
    pub(super) async fn after_taking_back(
        &self,
        proving: Proving,
        signals: &Signals,
        back: &mut Back,
    ) {
        let Proving {
            since,
            needles,
            logins,
            skipped,
        } = proving;
        if let Some((logins, before)) = logins {
            let verified = match before {
                Ok(before) => {
                    let attempts = logins.clone();
                    unless_told(signals, move || attempts.after(&before)).await
                }
                Err(why) => Err(why),
            };
            back.verify(verified.unwrap_or_else(|why| logins.untried(why)));
        }
        back.looked = Some(match skipped {
            Some(why) => Looked::Skipped(why),
            None => {
                let written = &self.wanted.resolved.written;
                tokio::select! {
                    biased;
                    searched = search(written, since, &needles, BOUNDS) => Looked::Through(searched),
                    _ = ending_signal(signals) => Looked::Skipped(BROKEN_OFF),
                }
            }
        });
    }

    /// When Vault is asked whether it still knows a lease.
    pub(super) fn lookups(&self) -> Lookups {
        match self.verify {
            Some(Verify::Lease) => Lookups::Always,
            Some(Verify::Login) | None => Lookups::InDoubt,
        }
    }

    /// The credentials, each with the output that it was lent for.
    fn logins(&self, borrowed: &Borrowed) -> Logins {
        let mut rest = borrowed.secrets.as_slice();
        let mut logins = Logins::default();
        for (profile, lent) in self.loans() {
            let (its_own, others) = rest.split_at(lent.secrets.len().min(rest.len()));
            rest = others;
            logins.add(profile, self.rendering, self.variables, its_own);
        }
        logins
    }

    /// What the end of a command that ended well comes to: 0, or why it is none.
    pub(super) fn judged(&self, back: &Back) -> Result<(), Failure> {
        let strict = self.strict;
        if (strict || self.protected) && back.has_found() {
            return Err(Failure::new(
                "secret_found",
                "the command ended well, but a secret that was lent stands in files that it wrote (see above)",
                Some(
                    "find the model, macro or package that writes it, and remove the files; what was revoked is of no use to whoever reads them",
                ),
            ));
        }
        if (strict || self.protected) && back.still_there() {
            return Err(Failure::new(
                "still_there",
                "the command ended well, but what was revoked is still there (see above)",
                Some(
                    "drop the database user by hand, and correct the role's revocation statements",
                ),
            ));
        }
        if strict && !back.is_proven() {
            return Err(Failure::new(
                "not_taken_back",
                "the command ended well, but not everything that was lent could be taken back (see above)",
                Some(
                    "what is left, and until when, stands above and in the record; without `--strict` this is the command's own 0",
                ),
            ));
        }
        Ok(())
    }
}

const BROKEN_OFF: &str = "a signal broke it off";

/// Does what blocks on another thread, unless a signal wants us gone before it is done.
async fn unless_told<T: Send + 'static>(
    signals: &Signals,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, &'static str> {
    // The ^C that ended the command may still lie in the pipe: it is not about us.
    signals.forget_pending();
    tokio::select! {
        done = tokio::task::spawn_blocking(work) => done.map_err(|_| "the attempt failed by a bug of ours"),
        _ = ending_signal(signals) => Err(BROKEN_OFF),
    }
}
