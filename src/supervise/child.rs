//! The child: started as if we were not there, given every signal once, and waited for.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{self, Signal};
use nix::unistd::{AccessFlags, Pid};
use serde::{Deserialize, Serialize};

use super::course::{Course, Due, Ended};
use super::footprint;
use super::inherited::Inherited;
use super::janitor::handle::Announcement;
use super::signals::{self, Received, Signals};
use crate::failpoint;
use crate::variables::Variables;

/// When the wait has become quiet: what stands beside it has begun, and needs its memory no more.
const SETTLED: Duration = Duration::from_secs(1);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Code(i32),
    /// It died of this signal: a number, since a real-time signal has no name.
    Signal(i32),
}

/// `SIGTERM`, or the number where there is no name.
pub fn signal_name(signal: i32) -> String {
    Signal::try_from(signal)
        .map_or_else(|_| signal.to_string(), |signal| signal.as_str().to_owned())
}

/// Why a program cannot be started; the cases that a shell tells apart by 126 and 127.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no such program.
    #[error("`{}` was not found{}", .0.display(), if .0.components().count() == 1 { " on PATH" } else { "" })]
    NotFound(PathBuf),
    /// There is such a file, and it cannot be run.
    #[error("`{}` cannot be run: {cause}", .program.display())]
    NotExecutable {
        /// The file.
        program: PathBuf,
        /// The kernel's reason.
        cause: io::Error,
    },
}

/// Where the shell would find `program`: itself where it holds a slash, else the first executable of that name on PATH.
///
/// Asked before anything is lent, so that a misspelt command costs no login.
pub fn find(program: &OsStr, variables: &Variables) -> Result<PathBuf, StartError> {
    let path = Path::new(program);
    if program.as_encoded_bytes().contains(&b'/') {
        return executable(path)
            .map(|()| path.to_owned())
            .map_err(|errno| refused(path, errno));
    }
    let mut refusal = StartError::NotFound(path.to_owned());
    if program.is_empty() {
        return Err(refusal);
    }
    for directory in std::env::split_paths(search_path(variables)) {
        let candidate = directory.join(path);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => refusal = refused(&candidate, Errno::EACCES),
            Err(_) => {}
        }
    }
    Err(refusal)
}

/// PATH, or where it is unset what execvp(3) takes instead.
pub fn search_path(variables: &Variables) -> &OsStr {
    variables
        .os("PATH")
        .unwrap_or_else(|| OsStr::new("/bin:/usr/bin"))
}

/// Whether a path leads to a file that we may execute.
pub fn executable(path: &Path) -> Result<(), Errno> {
    nix::unistd::access(path, AccessFlags::X_OK)?;
    if path.is_dir() {
        Err(Errno::EACCES)
    } else {
        Ok(())
    }
}

fn refused(program: &Path, errno: Errno) -> StartError {
    if errno == Errno::ENOENT || errno == Errno::ENOTDIR {
        return StartError::NotFound(program.to_owned());
    }
    StartError::NotExecutable {
        program: program.to_owned(),
        cause: errno.into(),
    }
}

/// A running child.
pub struct Child {
    pid: Pid,
    /// Whether it shares our process group, so that the terminal reaches it without us.
    shares_group: bool,
    purpose: Purpose,
    reach: Reach,
}

/// What a child is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// dbt, on leased credentials: TERM and HUP reach it as INT, see [`super::course`].
    LeasedDbt,
    /// dbt without a lease: it gets what we get.
    Dbt,
    /// Any other command, which may have started dbt: without a terminal its whole group gets what we get.
    Other,
}

impl Purpose {
    /// For a command that may be dbt.
    pub fn of(is_dbt: bool, is_leased: bool) -> Self {
        match (is_dbt, is_leased) {
            (true, true) => Self::LeasedDbt,
            (true, false) => Self::Dbt,
            (false, _) => Self::Other,
        }
    }
}

/// Who gets a signal that is meant for the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// Its process: its group is ours.
    Process,
    /// Its process, and its whole group at KILL: what it has started cannot be told any more.
    ProcessOrKilledGroup,
    /// Its whole group.
    Group,
}

impl Reach {
    fn of(shares_group: bool, purpose: Purpose) -> Self {
        match purpose {
            _ if shares_group => Self::Process,
            Purpose::LeasedDbt | Purpose::Dbt => Self::ProcessOrKilledGroup,
            Purpose::Other => Self::Group,
        }
    }

    /// Whether its whole group gets this signal.
    pub fn is_group(self, signal: Signal) -> bool {
        match self {
            Self::Process => false,
            Self::ProcessOrKilledGroup => signal == Signal::SIGKILL,
            Self::Group => true,
        }
    }
}

/// How a start came out.
pub enum Started {
    /// The child runs.
    Running(Child),
    /// It does not: this signal, which asks us to end, had come before.
    Asked(Signal),
}

/// How a child that was waited for left us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// How it ended, and when we must be gone.
    pub ended: Ended,
    /// Whether it still runs: its time was over, and the janitor sees to it.
    pub still_runs: bool,
}

impl Child {
    /// Starts `argv` with exactly `variables` as its environment.
    ///
    /// With a controlling terminal the child stays in our group: prompts, pagers and ^Z work only so. Without one it gets its own,
    /// so that whoever signals our group does not reach it twice. `announce` makes it known to the janitor by itself, before it becomes the
    /// command: there is no moment at which it runs and the janitor does not know.
    pub fn start(
        argv: &[OsString],
        variables: &Variables,
        purpose: Purpose,
        signals: &Signals,
        announce: impl FnOnce(Reach) -> Option<Announcement>,
    ) -> Result<Started, StartError> {
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| StartError::NotFound(PathBuf::new()))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(variables.iter());
        let shares_group = has_terminal();
        if !shares_group {
            command.process_group(0);
        }
        let reach = Reach::of(shares_group, purpose);
        let announcement = announce(reach);
        let inherited = Inherited::found();
        // Also where nothing is to be done in it: with posix_spawn, which std takes otherwise, the child finds signals 32 and 33 ignored.
        // SAFETY: the closure makes async-signal-safe system calls and reads atomics alone; `forked` does nothing in a release build.
        unsafe {
            command.pre_exec(move || {
                // What the terminal sent before the fork, we alone have got.
                if signals::came_after_the_mark() {
                    return Err(Errno::EINTR.into());
                }
                failpoint::forked();
                if let Some(announcement) = &announcement {
                    announcement.make();
                }
                inherited.restore();
                Ok(())
            });
        }
        let child = loop {
            if let Some(signal) = signals.mark() {
                return Ok(Started::Asked(signal));
            }
            match command.spawn() {
                Ok(child) => break child,
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                Err(error) => return Err(start_error(program, error)),
            }
        };
        #[expect(
            clippy::cast_possible_wrap,
            reason = "pid_t is an i32; std hands it out as u32"
        )]
        let pid = Pid::from_raw(child.id() as i32);
        Ok(Started::Running(Self {
            pid,
            shares_group,
            purpose,
            reach,
        }))
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Who gets the signals that are meant for it.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Waits for the end and passes signals on meanwhile; not longer than the [`Course`] of a signal allows.
    pub async fn wait(self, signals: &Signals) -> io::Result<Waited> {
        let mut course = Course::new(self.purpose == Purpose::LeasedDbt, self.shares_group);
        let _stops = signals.watch_stops()?;
        let mut settling = std::pin::pin!(tokio::time::sleep(SETTLED));
        let mut has_settled = false;
        loop {
            // Asked before waiting too: SIGCHLD may have come before we listened.
            if let Some(end) = self.ended()? {
                return Ok(Waited {
                    ended: course.ended(end, Instant::now()),
                    still_runs: false,
                });
            }
            if Pid::this().as_raw() == 1 {
                self.reap_orphans();
            }
            let due = async {
                match course.next() {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                received = signals.next() => self.pass_on(received?, &mut course),
                () = due => {}
                () = &mut settling, if !has_settled => {
                    has_settled = true;
                    footprint::give_back_when_asleep();
                }
            }
            while let Some(due) = course.due(Instant::now()) {
                match due {
                    Due::Send(signal) => self.signal(signal),
                    Due::Leave(ended) => {
                        return Ok(Waited {
                            ended,
                            still_runs: true,
                        });
                    }
                }
            }
        }
    }

    fn ended(&self) -> io::Result<Option<End>> {
        loop {
            let mut status = 0;
            // nix's waitpid has no value for a death by a real-time signal.
            // SAFETY: `status` outlives the call.
            let found = unsafe {
                libc::waitpid(
                    self.pid.as_raw(),
                    &raw mut status,
                    libc::WNOHANG | libc::WUNTRACED,
                )
            };
            match found {
                0 => return Ok(None),
                -1 if Errno::last() == Errno::EINTR => {}
                -1 => return Err(Errno::last().into()),
                _ if libc::WIFEXITED(status) => {
                    return Ok(Some(End::Code(libc::WEXITSTATUS(status))));
                }
                _ if libc::WIFSIGNALED(status) => {
                    return Ok(Some(End::Signal(libc::WTERMSIG(status))));
                }
                // The child stopped (^Z): stop too, or the shell would not see its job stop. We run on at SIGCONT, which is then
                // passed on like any other. Where no shell watches, whoever stopped the child continues it, and does not know of us.
                _ if libc::WIFSTOPPED(status) && self.shares_group => {
                    signal::kill(Pid::this(), Signal::SIGSTOP)?;
                }
                _ => {}
            }
        }
    }

    /// Takes the status of processes whose parents have died, as a PID 1 must. The janitor's may be among them: its handle does not rely
    /// on it.
    fn reap_orphans(&self) {
        loop {
            // SAFETY: an all-zero siginfo is a valid value to be overwritten.
            let mut found: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            // SAFETY: `found` outlives the call.
            let asked = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut found, options) };
            // SAFETY: waitid has filled it in, or left it zero.
            let pid = unsafe { signals::sender(&raw const found) };
            // The child's own status is taken where it is waited for.
            if asked != 0 || pid == 0 || pid == self.pid.as_raw() {
                return;
            }
            // SAFETY: a null status is not written.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        }
    }

    fn pass_on(&self, received: Received, course: &mut Course) {
        // SIGXFSZ is about a write of our own.
        if matches!(received.signal, Signal::SIGCHLD | Signal::SIGXFSZ) {
            return;
        }
        let is_echo = || is_echo_of_a_parent(received);
        if let Some(signal) = course.received(received, Instant::now(), is_echo) {
            self.signal(signal);
        }
    }

    /// A child that has just ended is waited for next; ESRCH is no news.
    fn signal(&self, signal: Signal) {
        let _ = if self.reach.is_group(signal) {
            signal::killpg(self.pid, signal)
        } else {
            signal::kill(self.pid, signal)
        };
    }
}

/// Whether the second of two signals was sent to our group by a parent that had sent it to us: timeout(1) does so, and ignores the signal
/// itself meanwhile. One that only asks twice does not ignore it.
fn is_echo_of_a_parent(received: Received) -> bool {
    if received.sender != nix::unistd::getppid().as_raw()
        || nix::unistd::getpgid(Some(Pid::from_raw(received.sender))) != Ok(nix::unistd::getpgrp())
    {
        return false;
    }
    // Where there is no such file the second one is passed on.
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", received.sender)).unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (received.signal as i32 - 1)) != 0)
}

fn start_error(program: &OsStr, error: io::Error) -> StartError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => refused(Path::new(program), errno),
        None => StartError::NotExecutable {
            program: program.into(),
            cause: error,
        },
    }
}

/// Whether this session has a controlling terminal.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Ends this process by `signal`, as the child was ended: a shell's loop stops on ^C only if it sees the signal. Returns the code to
/// exit with where the signal does not end us (PID 1 has no default actions).
pub fn die_of(signal: i32) -> i32 {
    // No core of ours beside the child's: ours would hold more secrets.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: an all-zero set is a valid value to be emptied; the default action needs no handler.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::signal(signal, libc::SIG_DFL);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::raise(signal);
    }
    128 + signal
}
