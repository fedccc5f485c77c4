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
    /// Whether Vault said of each lease that it is gone, as far as anything can end what it stands for.
    pub fn all_proven(&self) -> bool {
        self.leases.iter().all(|taken| {
            matches!(
                taken.returned,
                Returned::Revoked | Returned::NotRevocable { .. }
            )
        })
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
    let end = Instant::now() + within;
    let ours = token.own && token.kind == TokenKind::Service;
    let mut attempts = Vec::with_capacity(leases.len());
    for (done, lease) in leases.iter().enumerate() {
        let shares = leases.len() - done + usize::from(ours);
        let share = remaining(end) / u32::try_from(shares).unwrap_or(u32::MAX);
        attempts.push(one(client, token, ours, lease, Instant::now() + share).await);
    }
    let token_end = if !token.own {
        TokenEnd::NotOurs
    } else if token.kind == TokenKind::Batch {
        TokenEnd::Batch
    } else {
        match lease::revoke_self_by(client, token, Some(end)).await {
            Ok(()) => TokenEnd::Revoked,
            Err(error) if error.code() == Some(403) && has_ended(token) => TokenEnd::Expired,
            Err(error) => TokenEnd::Failed {
                why: error.to_string(),
                hint: error.hint(),
            },
        }
    };
    let leases = leases
        .into_iter()
        .zip(attempts)
        .map(|(lease, attempt)| Taken {
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
            lease,
        });
    }
    taken
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
