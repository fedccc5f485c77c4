//! The gate: profiles.yml goes as soon as dbt has read it, seconds after its start.
//!
//! dbt opens the file a known number of times ([`crate::dbt::Resolved::profile_reads`]), seconds after its start, and never again. inotify
//! counts; it loses no event (8,000 rounds measured on four file systems). After the last counted close it waits for as long as the opens
//! were apart, and a second more: on a busy machine everything takes longer, what lies between two opens too. A file that lives longer is
//! better than a run that breaks, so whatever is not certain leaves it there.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::time::Instant;

use super::private::PrivateDir;
use super::session::PROFILES_YML;
use super::shred;
use crate::failpoint;

/// How often events are looked for, until dbt has read the file.
const LOOK: Duration = Duration::from_millis(25);
/// A program that has not read it after this time is looked at more rarely.
const SLOW_START: Duration = Duration::from_secs(60);
/// What is waited for beyond the time that the opens were apart.
const MORE: Duration = Duration::from_secs(1);

/// A watch on a session's profiles.yml.
pub struct Gate {
    inotify: Inotify,
    directory: OwnedFd,
    reads: u32,
}

impl Gate {
    /// Watches the file from now on; dbt must not have been started.
    ///
    /// # Errors
    /// The user's limit of inotify instances is reached, or the machine has none: then there is no gate.
    pub(super) fn on(profiles: &PrivateDir, reads: u32) -> io::Result<Self> {
        failpoint::passed("watching")?;
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let events = AddWatchFlags::IN_OPEN | AddWatchFlags::IN_CLOSE_NOWRITE;
        inotify.add_watch(&profiles.path().join(PROFILES_YML), events)?;
        let directory = profiles.as_fd().try_clone_to_owned()?;
        Ok(Self {
            inotify,
            directory,
            reads,
        })
    }

    /// Waits until dbt has read the file, and shreds it. Never returns; `tell` hears how it went.
    pub async fn keep(self, tell: impl FnOnce(io::Result<()>)) -> Infallible {
        let outcome = match self.passed().await {
            Ok(()) => shred::file(&self.directory, OsStr::new(PROFILES_YML)),
            Err(error) => Err(error),
        };
        tell(outcome);
        failpoint::reached("gate_shredded");
        std::future::pending().await
    }

    async fn passed(&self) -> io::Result<()> {
        let started = Instant::now();
        let mut opens: Vec<Instant> = Vec::new();
        let (mut closes, mut last_close) = (0, started);
        loop {
            let now = Instant::now();
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        if event.mask.contains(AddWatchFlags::IN_OPEN) {
                            if opens.is_empty() {
                                failpoint::reached("gate_open");
                            }
                            opens.push(now);
                        }
                        if event.mask.contains(AddWatchFlags::IN_CLOSE_NOWRITE) {
                            (closes, last_close) = (closes + 1, now);
                        }
                    }
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let read = closes >= self.reads as usize && closes >= opens.len();
            if let (true, Some(first), Some(last)) = (read, opens.first(), opens.last())
                && now >= last_close + (*last - *first) + MORE
            {
                return Ok(());
            }
            tokio::time::sleep(if now - started < SLOW_START {
                LOOK
            } else {
                LOOK * 40
            })
            .await;
        }
    }
}
