//! The janitor's own loop: one thread that waits for messages, for questions, and for its session's death.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::cleaning;
use super::detached::Detached;
use super::known::{Known, News};
use super::serve::Reception;
use super::stopping::Stopping;
use super::system;
use crate::failpoint;
use crate::supervise::footprint;

/// When nothing was told for so long, the wait has begun.
const SETTLED: Duration = Duration::from_secs(1);
/// The record's word for the end of a session that lived on without a process.
const ITS_TIME: &str = "ended by its time";
/// The same where `dbt-lease end` ended it.
const ASKED: &str = "ended by `dbt-lease end`";

/// Whether this process was started to be the janitor.
pub fn is_called() -> bool {
    std::env::args_os()
        .next()
        .is_some_and(|name| name.as_bytes() == system::NAME.as_bytes())
}

/// What the janitor does, from its start to its end. Its socket is its standard input.
pub fn run() -> ExitCode {
    let socket = system::withdraw();
    let mut known = Known::default();
    let mut reception = Reception::default();
    if let Some(proof) = wait(socket.as_fd(), &mut known, &mut reception) {
        reception.close(&proof);
        return ExitCode::SUCCESS;
    }
    let proof = cleaning::clean_up(known);
    reception.close(&proof);
    ExitCode::SUCCESS
}

/// Waits for the session's last word; `None` where there is none, and everything is to be cleaned up: its process died, or it lived on
/// without one and its time is over.
fn wait(
    socket: BorrowedFd<'_>,
    known: &mut Known,
    reception: &mut Reception,
) -> Option<super::protocol::Proof> {
    let mut stopping: Option<Stopping> = None;
    let mut detached: Option<Detached> = None;
    let mut session = Some(socket);
    let mut settles = None;
    loop {
        if settles.is_some_and(|at| at <= Instant::now()) {
            settles = None;
            footprint::give_back();
        }
        if let Some(detached) = &mut detached {
            if detached.is_over() {
                known.result = Some(ITS_TIME.to_owned());
                return None;
            }
            detached.keep(known);
        }
        let next = match (&mut stopping, &known.child) {
            (Some(stopping), Some(child)) => stopping.step(child, Instant::now()),
            _ => detached.as_ref().map(Detached::next),
        };
        let next = next.into_iter().chain(settles).min();
        if !told_something(session, reception, next) {
            let is_asked_to_end = reception.serve(known);
            if is_asked_to_end && detached.is_some() {
                known.result = Some(ASKED.to_owned());
                return None;
            }
            if is_asked_to_end && stopping.is_none() {
                // Before the command runs, the session process ends at a signal as it does at anybody's.
                if let (None, Some(session)) = (&known.child, &known.session) {
                    session.signal(Signal::SIGTERM, false);
                }
                stopping = Some(Stopping::new());
            }
            continue;
        }
        // What cannot be received is as good as the end: no message will come any more.
        let Some((message, descriptors)) = system::receive(socket).ok().flatten() else {
            detached.as_ref()?;
            session = None;
            continue;
        };
        failpoint::reached("told");
        settles = Some(Instant::now() + SETTLED);
        match known.take(&message, descriptors) {
            News::Nothing => {}
            News::Listen(socket) => reception.open(socket),
            News::Detached(from_now_on) => detached = Some(from_now_on),
            News::Done(proof) => {
                // Normally all are gone; one that could only half be made is not.
                let _ = cleaning::remove(&known.coming, &known.directories);
                return Some(proof);
            }
        }
    }
}

/// Waits until there is something to do; whether the session process has said something, or died.
fn told_something(
    session: Option<BorrowedFd<'_>>,
    reception: &Reception,
    until: Option<Instant>,
) -> bool {
    let mut waited: Vec<PollFd<'_>> = session
        .into_iter()
        .chain(reception.descriptors())
        .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
        .collect();
    match poll(&mut waited, timeout(until)) {
        Ok(0) | Err(Errno::EINTR | Errno::EAGAIN) => false,
        // Without poll there is no waiting; receiving then waits, or ends.
        Err(_) => true,
        Ok(_) => session.is_some() && waited[0].any().unwrap_or(true),
    }
}

/// For poll: rounded up, so that it does not come back too early.
pub(super) fn timeout(until: Option<Instant>) -> PollTimeout {
    let Some(until) = until else {
        return PollTimeout::NONE;
    };
    let left = until.saturating_duration_since(Instant::now());
    PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX)
}
