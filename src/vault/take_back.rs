//! Taking everything back at the end of a session, in bounded time, and saying only what is proven.
//!
//! Each lease is revoked with sync, whose 204 is the server's word that its engine has dropped the user. Where that is
//! not to be had:
//!
//! | what happened | what follows | said |
//! | --- | --- | --- |
//! | 403: the policy lacks `sys/leases/revoke` | the end of our own token ends its leases, somewhat later | [`Returned::EndedWithToken`] |
//! | the same, and the token is a batch token or the user's own | a renewal to one second, which the default policy allows | [`Returned::Shortened`] |
//! | 400, 500: the engine refuses (the user owns objects, the database is down) | sync is given up: Vault's queue tries on | [`Returned::Queued`] |
//! | 403, and the token's time is over | its leases ended with it | [`Returned::EndedWithToken`] |
//! | no answer | once more, then a lookup: a lease that Vault does not know is gone | by what that says |
//! | the token's revocation is lost, and 403 the second time | a token that may no more what it could a moment ago, revoke its lease, is gone | [`TokenEnd::Revoked`] |
//!
//! The user's own token is never revoked. A batch token cannot be. Nor is a credential called revoked that outlives its lease
//! (a session of AWS): its lease is left to end with the token.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::auth::{Token, TokenKind};
use super::client::Client;
use super::error::{Refusal, VaultError};
use super::lease::{self, Lease, Revocation};

/// What became of a session's leases and token.
#[derive(Debug)]
pub struct TakeBack {
    /// Each lease, in the order given.
    pub leases: Vec<Taken>,
    /// The token.
    pub token: TokenEnd,
}

impl TakeBack {
    /// Whether Vault said of each lease that it is gone, as far as anything can end what it stands for, and a second look, where there was
    /// one, saw the same.
    pub fn all_proven(&self) -> bool {
        let seen = |verified: &Verified| matches!(verified.outcome, Outcome::Gone(_));
        self.leases.iter().all(|taken| {
            matches!(
                taken.returned,
                Returned::Revoked | Returned::NotRevocable { .. }
            ) && taken.verified.as_ref().is_none_or(seen)
        })
    }

    /// Whether a second look saw something that should be gone.
    pub fn still_there(&self) -> bool {
        let seen = |verified: &Verified| matches!(verified.outcome, Outcome::StillThere(_));
        self.leases
            .iter()
            .any(|taken| taken.verified.as_ref().is_some_and(seen))
    }
}

/// What became of one lease.
#[derive(Debug)]
pub struct Taken {
    /// The lease.
    pub lease: Lease,
    /// What became of it.
    pub returned: Returned,
    /// When it ends at the latest where it is not revoked: by its own time, or its token's.
    pub lives_until: SystemTime,
    /// What a second look said; none where nobody looked.
    pub verified: Option<Verified>,
}

/// What a second look said of a lease that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How it was looked at.
    pub way: Way,
    /// What was seen.
    pub outcome: Outcome,
}

/// How a lease is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Vault is asked whether it still knows the lease.
    Lookup,
    /// The database is asked to let the credential in.
    Login,
}

/// What a second look saw; each with words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is gone.
    Gone(String),
    /// It is still there, whatever the revocation's answer was.
    StillThere(String),
    /// It could not be looked at.
    NotKnown(String),
}

/// When Vault is asked whether it still knows a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookups {
    /// Only where the revocation's answer was lost.
    InDoubt,
    /// After every revocation too.
    Always,
}

/// How far a lease is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Gone: Vault said so. The only case that may be called revoked.
    Revoked,
    /// Nothing ends the credential before its time, or it is not known whether anything did.
    NotRevocable {
        /// Why.
        why: &'static str,
    },
    /// Its token was revoked or has ended, and Vault ends it with that; whether the database followed is not known.
    EndedWithToken {
        /// Why it could not be revoked by itself.
        why: String,
        /// What helps next time: the policy line.
        hint: Option<String>,
    },
    /// It was renewed to one second only; whether the database followed is not known.
    Shortened {
        /// Why it could not be revoked.
        why: String,
        /// What helps next time: the policy line.
        hint: Option<String>,
    },
    /// Its engine refused; Vault goes on trying by itself, for some minutes.
    Queued {
        /// The engine's words.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// It lives on.
    Failed {
        /// Why.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// What became of the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenEnd {
    /// Revoked.
    Revoked,
    /// The user's own: not ours to revoke.
    NotOurs,
    /// A batch token: it ends by its time alone.
    Batch,
    /// Its time was over before.
    Expired,
    /// It lives on.
    Failed {
        /// Why.
        why: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// How an attempt on one lease ended, before the token's end is known.
enum Attempt {
    Done(Returned),
    /// Only the token's end can still end it.
    Open(VaultError),
}

/// Takes back all leases, then the token, within that time. Nothing is left out for want of time: each step may take half
/// of what its lease's share still holds, and the token keeps a share of its own.
pub async fn take_back(
    client: &Client,
    token: &Token,
    leases: Vec<Lease>,
    within: Duration,
) -> TakeBack {
    take_back_looking(client, token, leases, within, Lookups::InDoubt).await
}

/// The same, and asks of each lease that is revoked whether Vault still knows it, where that is wanted: before the token goes, without
/// which nothing can be asked.
pub async fn take_back_looking(
    client: &Client,
    token: &Token,
    leases: Vec<Lease>,
    within: Duration,
    lookups: Lookups,
) -> TakeBack {
    let end = Instant::now() + within;
    let ours = token.own && token.kind == TokenKind::Service;
    let mut attempts = Vec::with_capacity(leases.len());
    for (done, lease) in leases.iter().enumerate() {
        let shares = leases.len() - done + usize::from(ours);
        let share = remaining(end) / u32::try_from(shares).unwrap_or(u32::MAX);
        let lease_end = Instant::now() + share;
        let attempt = one(client, token, ours, lease, lease_end).await;
        let verified = match (&attempt, lookups) {
            (Attempt::Done(Returned::Revoked), Lookups::Always) => {
                Some(looked_up(client, token, lease, lease_end).await)
            }
            _ => None,
        };
        attempts.push((attempt, verified));
    }
    let token_end = if !token.own {
        TokenEnd::NotOurs
    } else if token.kind == TokenKind::Batch {
        TokenEnd::Batch
    } else {
        match lease::revoke_self(client, token, Some(end)).await {
            Ok(()) => TokenEnd::Revoked,
            Err(error) if error.code() == Some(403) && has_ended(token) => TokenEnd::Expired,
            Err(VaultError::Refused(refusal))
                if refusal.after_loss && is_gone(client, token, &leases, &attempts, end).await =>
            {
                TokenEnd::Revoked
            }
            Err(error) => TokenEnd::Failed {
                why: error.to_string(),
                hint: error.hint(),
            },
        }
    };
    let leases = leases
        .into_iter()
        .zip(attempts)
        .map(|(lease, (attempt, verified))| Taken {
            returned: match attempt {
                Attempt::Done(returned) => returned,
                Attempt::Open(error) => settle(&error, &token_end),
            },
            lives_until: match token.expires() {
                // What no revocation ends does not end with its token, either.
                Some(expires) if lease.revocation == Revocation::Ends => {
                    expires.min(lease.expires())
                }
                _ => lease.expires(),
            },
            verified,
            lease,
        })
        .collect();
    TakeBack {
        leases,
        token: token_end,
    }
}

/// Takes back leases of a session that is dead, with another session's token. Each may take an equal share of the time.
///
/// What cannot be revoked is [`Returned::Failed`]: the end of our token does not end it.
pub async fn take_back_for_the_dead(
    client: &Client,
    token: &Token,
    leases: Vec<Lease>,
    within: Duration,
) -> Vec<Taken> {
    let end = Instant::now() + within;
    let mut taken = Vec::with_capacity(leases.len());
    let count = leases.len();
    for (done, lease) in leases.into_iter().enumerate() {
        let share = remaining(end) / u32::try_from(count - done).unwrap_or(u32::MAX);
        let attempt = one(client, token, false, &lease, Instant::now() + share).await;
        taken.push(Taken {
            returned: match attempt {
                Attempt::Done(returned) => returned,
                Attempt::Open(error) => settle(&error, &TokenEnd::NotOurs),
            },
            lives_until: lease.expires(),
            verified: None,
            lease,
        });
    }
    taken
}

/// Ends the token of a session that is dead, by its accessor; in words what came of it.
///
/// Only a policy that lets whoever has it end every token of the namespace allows that, so most have none: then the token ends by its time.
pub async fn end_token_of_the_dead(
    client: &Client,
    token: &Token,
    accessor: &str,
    within: Duration,
) -> String {
    let deadline = Some(Instant::now() + within);
    match lease::revoke_accessor(client, token, accessor, deadline).await {
        // An accessor that Vault does not know is answered in the same way.
        Ok(()) => "revoked by its accessor, unless it had ended before".to_owned(),
        Err(error) => format!("not revoked, it ends by its time: {error}"),
    }
}

/// What Vault says of a lease that it has just revoked.
async fn looked_up(client: &Client, token: &Token, lease: &Lease, end: Instant) -> Verified {
    let outcome = match lease::is_known(client, &token.value, lease, half_way(end)).await {
        Ok(false) => Outcome::Gone(
            "a lookup after the revocation: Vault does not know the lease any more".to_owned(),
        ),
        Ok(true) => Outcome::StillThere(
            "Vault answered the revocation with 204, and still knows the lease".to_owned(),
        ),
        Err(error) => {
            let hint = error.hint().map(|hint| format!(" ({hint})"));
            Outcome::NotKnown(format!("{error}{}", hint.unwrap_or_default()))
        }
    };
    Verified {
        way: Way::Lookup,
        outcome,
    }
}

async fn one(client: &Client, token: &Token, ours: bool, lease: &Lease, end: Instant) -> Attempt {
    if lease.revocation == Revocation::Nothing {
        return Attempt::Done(Returned::NotRevocable {
            why: "it ends by its time alone: no revocation ends such a credential",
        });
    }
    let mut outcome = lease::revoke_by(client, &token.value, lease, true, half_way(end)).await;
    if matches!(outcome, Err(VaultError::Transport(_))) {
        outcome = lease::revoke_by(client, &token.value, lease, true, half_way(end)).await;
    }
    let error = match outcome {
        Ok(()) if lease.revocation == Revocation::Unsure => {
            return Attempt::Done(Returned::NotRevocable {
                why: "Vault has revoked its lease, which deletes what the engine had made for it; a token of a service account that was \
                      there before lives on",
            });
        }
        Ok(()) => return Attempt::Done(Returned::Revoked),
        Err(error) => error,
    };
    match &error {
        VaultError::Refused(refusal) if is_the_engines(refusal) => {
            // Vault does not go on by itself after a refused sync revocation; asked without sync, it does.
            match lease::revoke_by(client, &token.value, lease, false, half_way(end)).await {
                Ok(()) => Attempt::Done(Returned::Queued {
                    why: refusal.to_string(),
                    hint: error.hint(),
                }),
                Err(_) => Attempt::Open(error),
            }
        }
        VaultError::Refused(refusal) if refusal.code == 403 && !ours && lease.renewable => {
            match lease::shorten(client, &token.value, lease, half_way(end)).await {
                Ok(()) => Attempt::Done(Returned::Shortened {
                    why: error.to_string(),
                    hint: error.hint(),
                }),
                Err(_) => Attempt::Open(error),
            }
        }
        VaultError::Transport(_) => {
            match lease::is_known(client, &token.value, lease, half_way(end)).await {
                Ok(false) => Attempt::Done(Returned::Revoked),
                Ok(true) | Err(_) => Attempt::Open(error),
            }
        }
        _ => Attempt::Open(error),
    }
}

/// What is to be said of a lease that could not be ended by itself.
fn settle(error: &VaultError, token: &TokenEnd) -> Returned {
    let (why, hint) = (error.to_string(), error.hint());
    match (token, error) {
        (TokenEnd::Expired, _) => Returned::EndedWithToken {
            why,
            hint: Some(
                "the run outlived its login: raise the role's `token_ttl` and `token_max_ttl`"
                    .to_owned(),
            ),
        },
        // The engine refuses; with the token gone, Vault itself goes on trying.
        (TokenEnd::Revoked, VaultError::Refused(refusal)) if is_the_engines(refusal) => {
            Returned::Queued { why, hint }
        }
        (TokenEnd::Revoked, _) => Returned::EndedWithToken { why, hint },
        _ => Returned::Failed { why, hint },
    }
}

/// Vault answers 403 to a token that is no more, as to one whose policy lacks something; the clock tells them apart.
fn has_ended(token: &Token) -> bool {
    token
        .expires()
        .is_some_and(|expires| expires <= SystemTime::now())
}

/// Whether a token whose end was asked for, and not answered, has ended: a lease that it revoked a moment ago is revoked again, which
/// Vault grants for as long as the token lives, also where the lease is no more.
async fn is_gone(
    client: &Client,
    token: &Token,
    leases: &[Lease],
    attempts: &[(Attempt, Option<Verified>)],
    end: Instant,
) -> bool {
    let is_revoked = |attempt: &Attempt| matches!(attempt, Attempt::Done(Returned::Revoked));
    let mut revoked = leases.iter().zip(attempts);
    let Some((lease, _)) = revoked.find(|(_, (attempt, _))| is_revoked(attempt)) else {
        return false;
    };
    let again = lease::revoke_by(client, &token.value, lease, true, half_way(end)).await;
    again.is_err_and(|error| error.code() == Some(403))
}

/// Whether Vault took the request, and the engine behind it did not do it.
fn is_the_engines(refusal: &Refusal) -> bool {
    refusal.from_vault && matches!(refusal.code, 400 | 500)
}

fn half_way(end: Instant) -> Option<Instant> {
    Some(Instant::now() + remaining(end) / 2)
}

fn remaining(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}
