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

use crate::supervise::inherited::Inherited;
use crate::supervise::signals::{Received, Signals};
use crate::variables::Variables;

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
    /// Whether signals go to its whole group: a command that is not dbt may have started dbt.
    whole_group: bool,
    /// The last signal passed on, for senders who signal the process and then its group.
    last: Option<(Signal, Instant)>,
}

/// A signal that comes again within this time from a sender without a terminal is the same one: `timeout` signals the process,
/// then its group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

impl Child {
    /// Starts `argv` with exactly `variables` as its environment.
    ///
    /// With a controlling terminal the child stays in our group: prompts, pagers and ^Z work only so. Without one it gets its own,
    /// so that whoever signals our group does not reach it twice.
    pub fn start(
        argv: &[OsString],
        variables: &Variables,
        is_dbt: bool,
    ) -> Result<Self, StartError> {
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| StartError::NotFound(PathBuf::new()))?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(variables.iter());
        let shares_group = has_terminal();
        if !shares_group {
            command.process_group(0);
        }
        let inherited = Inherited::found();
        if inherited.needs_restoring() {
            // SAFETY: `restore` makes async-signal-safe system calls alone.
            unsafe {
                command.pre_exec(move || {
                    inherited.restore();
                    Ok(())
                });
            }
        }
        let child = command
            .spawn()
            .map_err(|error| start_error(program, error))?;
        #[expect(
            clippy::cast_possible_wrap,
            reason = "pid_t is an i32; std hands it out as u32"
        )]
        let pid = Pid::from_raw(child.id() as i32);
        Ok(Self {
            pid,
            shares_group,
            whole_group: !shares_group && !is_dbt,
            last: None,
        })
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether signals go to its whole group.
    pub fn has_own_group(&self) -> bool {
        self.whole_group
    }

    /// Waits for the end and passes signals on meanwhile.
    pub async fn wait(mut self, signals: &Signals) -> io::Result<End> {
        loop {
            // Asked before waiting too: SIGCHLD may have come before we listened.
            if let Some(end) = self.ended()? {
                return Ok(end);
            }
            let received = signals.next().await?;
            // SIGXFSZ is about a write of our own.
            if !matches!(received.signal, Signal::SIGCHLD | Signal::SIGXFSZ) {
                self.pass_on(received, Instant::now());
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

    fn pass_on(&mut self, received: Received, now: Instant) {
        if self.shares_group
            && received.from_kernel
            && reaches_the_foreground_group(received.signal)
        {
            return;
        }
        if !self.shares_group {
            let again = self
                .last
                .is_some_and(|(signal, at)| signal == received.signal && now - at < SAME_SIGNAL);
            if again {
                return;
            }
            self.last = Some((received.signal, now));
        }
        // A child that has just ended is waited for next; ESRCH is no news.
        let _ = if self.whole_group {
            signal::killpg(self.pid, received.signal)
        } else {
            signal::kill(self.pid, received.signal)
        };
    }
}

/// What the terminal's driver sends to the whole foreground group. A hangup goes to the session's leader alone, so SIGHUP is not here.
fn reaches_the_foreground_group(signal: Signal) -> bool {
    matches!(
        signal,
        Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP | Signal::SIGWINCH
    )
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
