//! What the session process tells the janitor: one message a packet, before the deed, never answered.
//!
//! | message | comes | descriptors |
//! | --- | --- | --- |
//! | `Session` | first | the session process (pidfd); the record, where there is one |
//! | `Coming` | before a directory is made | |
//! | `Directory` | when it is locked | its lock; the listening socket, where there is one |
//! | `TokenComing` | before the login | |
//! | `Token`, `Lease` | when the answer is parsed | |
//! | `Child` | from the child itself before its exec, and after it started | the child (pidfd) |
//! | `Detach` | when the session is to live on without its process | |
//! | `Leave` | when a signal, or the time that it left, breaks the giving back off | |
//! | `Done` | when all is given back | |
//!
//! A packet is whole or not at all; the socket's end without `Done` or `Detach` is the session process's death.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::config::Server;
use crate::record::audit::stamp;
use crate::record::back::Back;
use crate::secret::Secret;
use crate::supervise::child::Reach;
use crate::vault::auth::{Token, TokenKind};
use crate::vault::lease::{Lease, LeaseId, Revocation};
use crate::vault::take_back::{Returned, TokenEnd};

/// A message.
#[derive(Serialize, Deserialize)]
pub enum Message {
    /// Who it is.
    Session {
        /// Its name and Vault.
        introduction: Box<Introduction>,
        /// Whether the first descriptor is the session process.
        has_process: bool,
    },
    /// This directory is about to be made.
    Coming(PathBuf),
    /// This directory is made and locked.
    Directory(PathBuf),
    /// The login is about to be sent.
    TokenComing,
    /// The login's token, or what it is now.
    Token(TokenTold),
    /// A lease, or what it is now.
    Lease(LeaseTold),
    /// The command runs.
    Child {
        /// Who gets the signals that end it.
        reach: Reach,
    },
    /// The session process ends in order, and the session lives on until then, or until somebody ends it.
    Detach(SystemTime),
    /// The session process is about to leave the rest to the janitor; how the command ended, or is being ended.
    Leave(String),
    /// All is given back, as far as it could be.
    Done(Proof),
}

/// A session, as `status` shows it, and how its Vault is reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Introduction {
    /// The session.
    pub about: About,
    /// Its Vault.
    pub server: Server,
}

/// What is known of a living session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its id.
    pub session: String,
    /// The dbt project's name.
    pub project: Option<String>,
    /// The profile's name.
    pub profile: String,
    /// The target's name.
    pub target: String,
    /// The environment.
    pub environment: String,
    /// Since when.
    pub since: SystemTime,
}

/// A token on its way to the janitor.
#[derive(Serialize, Deserialize)]
pub struct TokenTold {
    #[serde(with = "crate::secret::told")]
    value: Secret,
    issued: SystemTime,
    lifetime: Option<Duration>,
    own: bool,
    batch: bool,
    renewable: bool,
}

impl From<&Token> for TokenTold {
    fn from(token: &Token) -> Self {
        Self {
            value: token.value.clone(),
            issued: token.issued,
            lifetime: token.lifetime,
            own: token.own,
            batch: token.kind == TokenKind::Batch,
            renewable: token.renewable,
        }
    }
}

impl From<TokenTold> for Token {
    /// What is needed to keep it and to give it back; the rest is empty.
    fn from(told: TokenTold) -> Self {
        Self {
            value: told.value,
            accessor: None,
            policies: Vec::new(),
            issued: told.issued,
            lifetime: told.lifetime,
            renewable: told.renewable,
            own: told.own,
            is_root: false,
            kind: if told.batch {
                TokenKind::Batch
            } else {
                TokenKind::Service
            },
            identity: Vec::new(),
            made_by: None,
            request_id: None,
            notes: Vec::new(),
        }
    }
}

/// A lease on its way to the janitor.
#[derive(Serialize, Deserialize)]
pub struct LeaseTold {
    id: String,
    path: String,
    issued: SystemTime,
    duration: Duration,
    renewable: bool,
    revocation: Revocation,
}

impl LeaseTold {
    /// Which lease it tells of.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl From<&Lease> for LeaseTold {
    fn from(lease: &Lease) -> Self {
        Self {
            id: lease.id.expose().to_owned(),
            path: lease.path.clone(),
            issued: lease.issued,
            duration: lease.duration,
            renewable: lease.renewable,
            revocation: lease.revocation,
        }
    }
}

impl From<LeaseTold> for Lease {
    fn from(told: LeaseTold) -> Self {
        Self {
            id: LeaseId::new(told.id),
            path: told.path,
            issued: told.issued,
            duration: told.duration,
            renewable: told.renewable,
            revocation: told.revocation,
        }
    }
}

/// What became of what a session borrowed, for whoever asked for its end. Holds no secret and no lease id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// How many leases there were.
    pub leases: usize,
    /// How many of them Vault said to be revoked.
    pub revoked: usize,
    /// What ends by its time alone, in words.
    #[serde(default)]
    pub by_time: Vec<String>,
    /// What is not known to be gone, in words.
    pub left: Vec<String>,
}

impl Proof {
    /// What a session's end shows.
    pub fn of(back: &Back) -> Self {
        let mut proof = Self::default();
        if let Some(Err(error)) = &back.directory {
            proof
                .left
                .push(format!("the profiles directory was not removed: {error}"));
        }
        for taken in back.returned.iter().flat_map(|back| &back.leases) {
            proof.leases += 1;
            let (result, why) = crate::record::back::outcome(&taken.returned);
            match taken.returned {
                Returned::Revoked => proof.revoked += 1,
                Returned::NotRevocable { why } => proof.by_time.push(format!(
                    "the credential of `{}` is not revoked, and lives until {}: {why}",
                    taken.lease.path,
                    stamp(taken.lives_until)
                )),
                _ => proof.left.push(format!(
                    "the lease on `{}`: {result}: {why}",
                    taken.lease.path
                )),
            }
        }
        for lease in &back.abandoned {
            proof.leases += 1;
            proof
                .left
                .push(format!("the lease on `{}` may not be revoked", lease.path));
        }
        if let Some(TokenEnd::Failed { why, .. }) = back.returned.as_ref().map(|back| &back.token) {
            proof.left.push(format!("the session's token: {why}"));
        }
        proof
    }
}
