//! The janitor's own loop: one thread that waits for messages, for questions, and for its session's death.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::cleaning;
use super::known::{Known, News};
use super::serve::Reception;
use super::stopping::Stopping;
use super::system;
use crate::failpoint;

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

/// Waits for the session's last word; `None` where it died without one.
fn wait(
    socket: BorrowedFd<'_>,
    known: &mut Known,
    reception: &mut Reception,
) -> Option<super::protocol::Proof> {
    let mut stopping: Option<Stopping> = None;
    loop {
        let next = match (&mut stopping, &known.child) {
            (Some(stopping), Some(child)) => stopping.step(child, Instant::now()),
            _ => None,
        };
        if !told_something(socket, reception, next) {
            if reception.serve(known) && stopping.is_none() {
                // Before the command runs, the session process ends at a signal as it does at anybody's.
                if let (None, Some(session)) = (&known.child, &known.session) {
                    session.signal(Signal::SIGTERM, false);
                }
                stopping = Some(Stopping::new());
            }
            continue;
        }
        // What cannot be received is as good as the end: no message will come any more.
        let (message, descriptors) = system::receive(socket).ok().flatten()?;
        failpoint::reached("told");
        match known.take(&message, descriptors) {
            News::Nothing => {}
            News::Listen(socket) => reception.open(socket),
            News::Done(proof) => {
                // Normally all are gone; one that could only half be made is not.
                let _ = cleaning::remove(&known.coming, &known.directories);
                return Some(proof);
            }
        }
    }
}

/// Waits until there is something to do; whether the session process has said something, or died.
fn told_something(socket: BorrowedFd<'_>, reception: &Reception, until: Option<Instant>) -> bool {
    let mut waited: Vec<PollFd<'_>> = std::iter::once(socket)
        .chain(reception.descriptors())
        .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
        .collect();
    match poll(&mut waited, timeout(until)) {
        Ok(0) | Err(Errno::EINTR | Errno::EAGAIN) => false,
        // Without poll there is no waiting; receiving then waits, or ends.
        Err(_) => true,
        Ok(_) => waited[0].any().unwrap_or(true),
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
