//! Ending the command: INT, so that dbt cancels its queries; TERM, since what a script started with `&` ignores INT; KILL.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::known::Command;

/// The signals in their order.
const STEPS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL];
/// How long each may take effect.
const PATIENCE: Duration = Duration::from_secs(5);

/// An end under way.
pub(super) struct Stopping {
    steps: std::slice::Iter<'static, Signal>,
    next: Option<Instant>,
}

impl Stopping {
    /// Not begun yet.
    pub(super) fn new() -> Self {
        Self {
            steps: STEPS.iter(),
            next: None,
        }
    }

    /// Sends the next signal if its time has come; when to look again, while there is one left.
    pub(super) fn step(&mut self, command: &Command, now: Instant) -> Option<Instant> {
        if self.next.is_none_or(|next| next <= now)
            && let Some(signal) = self.steps.next()
        {
            let whole_group = command.reach.is_group(*signal);
            command.process.signal(*signal, whole_group);
            self.next = Some(now + PATIENCE);
        }
        self.next.filter(|_| !self.steps.as_slice().is_empty())
    }
}
