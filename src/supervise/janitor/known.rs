//! What the janitor was told so far.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::detached::Detached;
use super::protocol::{Introduction, Message, Proof};
use super::system::Process;
use crate::record::audit::Record;
use crate::supervise::child::Reach;
use crate::vault::auth::Token;
use crate::vault::lease::Lease;

/// All that must be given back, and who is asked about it.
#[derive(Default)]
pub(super) struct Known {
    /// The session, and its Vault.
    pub(super) introduction: Option<Introduction>,
    /// The session process.
    pub(super) session: Option<Process>,
    /// The record.
    pub(super) record: Option<Record>,
    /// Directories that may have been made.
    pub(super) coming: Vec<PathBuf>,
    /// Directories that are made, with their locks.
    pub(super) directories: Vec<(PathBuf, OwnedFd)>,
    /// Whether a login was about to be sent.
    pub(super) token_coming: bool,
    /// The token.
    pub(super) token: Option<Token>,
    /// The leases.
    pub(super) leases: Vec<Lease>,
    /// How the command ended, where the session process still saw it.
    pub(super) result: Option<String>,
    /// The command.
    pub(super) child: Option<Command>,
}

/// The command that runs on what was lent.
pub(super) struct Command {
    /// Its process.
    pub(super) process: Process,
    /// Who gets the signals that end it.
    pub(super) reach: Reach,
}

/// What a message asks for beyond being known.
pub(super) enum News {
    /// Nothing.
    Nothing,
    /// The session lives on without its process.
    Detached(Detached),
    /// `status` and `end` will be asked here.
    Listen(UnixListener),
    /// The session has ended by itself.
    Done(Proof),
}

impl Known {
    /// Takes a message in. One that cannot be read is passed over: it is of this very program, and losing one thing is better than
    /// ending the session for it.
    pub(super) fn take(&mut self, message: &[u8], descriptors: Vec<OwnedFd>) -> News {
        let Ok(message) = serde_json::from_slice(message) else {
            return News::Nothing;
        };
        let mut descriptors = descriptors.into_iter();
        match message {
            Message::Session {
                introduction,
                has_process,
            } => {
                self.introduction = Some(*introduction);
                self.session = has_process
                    .then(|| descriptors.next())
                    .flatten()
                    .map(Process::of);
                self.record = descriptors.next().map(Record::shared);
            }
            Message::Coming(path) if self.coming.contains(&path) => {}
            Message::Coming(path) => self.coming.push(path),
            Message::Directory(path) => {
                self.coming.retain(|coming| *coming != path);
                if let Some(lock) = descriptors.next() {
                    self.directories.push((path, lock));
                }
                if let Some(socket) = descriptors.next() {
                    return News::Listen(UnixListener::from(socket));
                }
            }
            Message::TokenComing => self.token_coming = true,
            Message::Token(token) => self.token = Some(token.into()),
            Message::Lease(lease) => {
                let lease = Lease::from(lease);
                self.leases.retain(|known| known.id != lease.id);
                self.leases.push(lease);
            }
            Message::Child { reach } => {
                // What the command said of itself stands where the session process has no descriptor to tell it again.
                if let Some(process) = descriptors.next() {
                    self.child = Some(Command {
                        process: Process::of(process),
                        reach,
                    });
                }
            }
            Message::Detach(until) => {
                return News::Detached(Detached::new(until, self.token.as_ref()));
            }
            Message::Leave(result) => self.result = Some(result),
            Message::Done(proof) => return News::Done(proof),
        }
        News::Nothing
    }
}
