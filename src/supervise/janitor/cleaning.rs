//! What the janitor does when its session process died: shred, stop the command, give back, put on record. Thirty seconds in all.
//!
//! The order is that of what takes microseconds and cannot hang before what may. The command is stopped since its credential is about
//! to go, nobody renews it, and whoever started it believes it to be dead and may start it again.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, poll};

use super::known::{Command, Known};
use super::process::timeout;
use super::protocol::{Introduction, Proof};
use super::stopping::Stopping;
use crate::config::Server;
use crate::delivery::sweep::{self, Fate};
use crate::failpoint;
use crate::record::audit::{Kind, Record};
use crate::record::back::Back;
use crate::vault::auth::Token;
use crate::vault::client::Client;
use crate::vault::lease::Lease;
use crate::vault::take_back::{TakeBack, take_back};

/// All of it takes no longer.
const WITHIN: Duration = Duration::from_secs(30);
/// The record's word for such an end.
const RESULT: &str = "killed: the janitor ended it";

/// Cleans up after the session process; what became of everything.
///
/// Never inlined: its large frame would be there while the janitor waits, too.
#[inline(never)]
pub(super) fn clean_up(known: Known) -> Proof {
    let end = Instant::now() + WITHIN;
    failpoint::reached("cleaning");
    let Known {
        introduction,
        session: _,
        mut record,
        coming,
        directories,
        token_coming,
        token,
        leases,
        result,
        child,
    } = known;
    let removed = remove(&coming, &directories);
    drop(directories);
    if let Some(child) = &child {
        stop(child, end);
    }
    let Some(introduction) = introduction else {
        return Proof::default();
    };
    let session = &introduction.about.session;
    let had_token = token.is_some();
    let (returned, abandoned) = match token {
        Some(token) => give_back(&introduction.server, session, &token, leases, end),
        None => (None, leases),
    };
    let back = Back {
        directory: removed,
        recorded: false,
        broken_off: had_token && returned.is_none(),
        unseen_token: token_coming && !had_token,
        returned,
        abandoned,
        without_lease: Vec::new(),
        looked: None,
    };
    if !back.is_nothing() {
        let result = result.as_deref().unwrap_or(RESULT);
        write_down(record.as_mut(), &introduction, &back, result);
    }
    Proof::of(&back)
}

/// Shreds and removes the directories; `None` where there were none.
pub(super) fn remove(coming: &[PathBuf], locked: &[(PathBuf, OwnedFd)]) -> Option<io::Result<()>> {
    let mut outcome = None;
    for (path, lock) in locked {
        // Absent: the session process had removed it itself.
        let removed = sweep::remove(path, Some(lock)).map(drop);
        outcome = Some(outcome.unwrap_or(Ok(())).and(removed));
    }
    for path in coming {
        match sweep::remove(path, None) {
            // What another session holds was never ours.
            Ok(Fate::Held | Fate::Absent) => {}
            other => outcome = Some(outcome.unwrap_or(Ok(())).and(other.map(drop))),
        }
    }
    outcome
}

/// Ends the command and waits for its end.
fn stop(command: &Command, end: Instant) {
    let mut stopping = Stopping::new();
    loop {
        // After the last signal too, its effect is waited for.
        let next = stopping.step(command, Instant::now()).unwrap_or(end);
        let mut waited = [PollFd::new(command.process.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waited, timeout(Some(next.min(end)))) {
            Ok(0) if Instant::now() < end => {}
            Err(nix::errno::Errno::EINTR) => {}
            _ => return,
        }
    }
}

/// Gives leases and token back. Only here is there a need for HTTP, TLS and an event loop.
fn give_back(
    server: &Server,
    session: &str,
    token: &Token,
    leases: Vec<Lease>,
    end: Instant,
) -> (Option<TakeBack>, Vec<Lease>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let (Ok(runtime), Ok(client)) = (runtime, Client::new(server, session)) else {
        return (None, leases);
    };
    let within = end.saturating_duration_since(Instant::now());
    let returned = runtime.block_on(take_back(&client, token, leases, within));
    runtime.shutdown_background();
    (Some(returned), Vec::new())
}

/// The record's last event of the session. There is nobody left to tell if it cannot be written.
fn write_down(record: Option<&mut Record>, introduction: &Introduction, back: &Back, result: &str) {
    let Some(record) = record else { return };
    let about = &introduction.about;
    let elapsed = SystemTime::now()
        .duration_since(about.since)
        .unwrap_or_default();
    let event = Kind::Ended(back.event(&about.environment, result, elapsed));
    let _ = record.append(&about.session, event);
}
