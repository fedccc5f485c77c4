//! Named points at which a test can have this process killed, held, or refused something by the system.
//!
//! `DBT_LEASE_FAILPOINT=POINT:WAY` or `POINT:WAY:PATH`, in debug builds alone: a release build has neither the variable's name nor the
//! look at it. The janitor, whose environment is empty, gets `DBT_LEASE_FAILPOINT_JANITOR`'s under that name.
//!
//! | way | what happens at the point | PATH |
//! | --- | --- | --- |
//! | `kill`, `panic` | the process ends so | a fuse: a file that is burnt (unlinked) by the first who comes; where there is none, nothing happens |
//! | `emfile` | from now on no descriptor is to be had | as for `hold`, which comes first |
//! | `enospc`, `eio` | what the system was to do here fails so | - |
//! | `hold` | it says so by a byte into the pipe `PATH/reached`, and waits for one from `PATH/go` | the directory |
#![forbid(unsafe_code)]

#[cfg(debug_assertions)]
pub(crate) use armed::{forked, halves, passed, reached, variables_of_the_janitor};

/// A point was reached: nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn reached(_point: &str) {}

/// The command's process was forked, and has done nothing yet: nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn forked() {}

/// A point was reached at which the system may refuse: it does not.
#[cfg(not(debug_assertions))]
pub(crate) fn passed(_point: &str) -> std::io::Result<()> {
    Ok(())
}

/// What is written before a point and after it: all, and nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    (bytes, &[])
}

/// What the janitor's environment holds: nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn variables_of_the_janitor() -> Option<(&'static str, std::ffi::OsString)> {
    None
}

#[cfg(debug_assertions)]
mod armed {
    use std::ffi::OsString;
    use std::fs::{File, OpenOptions};
    use std::io::{self, Read, Write};
    use std::os::fd::AsRawFd;
    use std::path::Path;

    use nix::errno::Errno;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    const OURS: &str = "DBT_LEASE_FAILPOINT";
    const THE_JANITORS: &str = "DBT_LEASE_FAILPOINT_JANITOR";

    /// A point was reached.
    pub(crate) fn reached(point: &str) {
        let Ok(wanted) = std::env::var(OURS) else {
            return;
        };
        let mut parts = wanted.splitn(3, ':');
        if parts.next() != Some(point) {
            return;
        }
        let (way, path) = (parts.next(), parts.next().map(Path::new));
        let burns = || path.is_none_or(|fuse| std::fs::remove_file(fuse).is_ok());
        match way {
            Some("kill") if burns() => {
                let _ = kill(Pid::this(), Signal::SIGKILL);
            }
            Some("panic") if burns() => panic!("the failpoint {point}"),
            Some("emfile") => {
                path.into_iter().for_each(hold);
                take_descriptors();
            }
            Some("hold") => hold(path.unwrap_or(Path::new("."))),
            _ => {}
        }
    }

    /// A point was reached at which the system may refuse what follows.
    pub(crate) fn passed(point: &str) -> io::Result<()> {
        reached(point);
        let wanted = std::env::var(OURS).unwrap_or_default();
        match wanted.split_once(':') {
            Some((name, "enospc")) if name == point => Err(Errno::ENOSPC.into()),
            Some((name, "eio")) if name == point => Err(Errno::EIO.into()),
            _ => Ok(()),
        }
    }

    /// The command's process was forked, and has done nothing yet: `forked:kill` kills its session process, and not the process itself, which
    /// is not the command yet.
    pub(crate) fn forked() {
        if std::env::var(OURS).is_ok_and(|wanted| wanted == "forked:kill") {
            let _ = kill(nix::unistd::getppid(), Signal::SIGKILL);
        }
    }

    /// What is written before a point and after it.
    pub(crate) fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
        bytes.split_at(bytes.len() / 2)
    }

    /// What the janitor's environment holds.
    pub(crate) fn variables_of_the_janitor() -> Option<(&'static str, OsString)> {
        Some((OURS, std::env::var_os(THE_JANITORS)?))
    }

    /// Leaves no descriptor to be had but those that are closed from now on.
    fn take_descriptors() {
        let free = File::open("/").map(|file| file.as_raw_fd());
        if let (Ok(free), Ok((_, hard))) = (free, getrlimit(Resource::RLIMIT_NOFILE)) {
            let _ = setrlimit(
                Resource::RLIMIT_NOFILE,
                u64::try_from(free).unwrap_or_default(),
                hard,
            );
        }
    }

    fn hold(pipes: &Path) {
        let told = OpenOptions::new()
            .write(true)
            .open(pipes.join("reached"))
            .and_then(|mut pipe| pipe.write_all(b"."));
        if told.is_ok() {
            let _ = File::open(pipes.join("go")).and_then(|mut pipe| pipe.read_exact(&mut [0]));
        }
    }
}
