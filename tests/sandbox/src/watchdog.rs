//! One helper process a test process: it starts the servers, and ends them when a pipe from here closes.
//!
//! The kernel closes the pipe whatever happens to this process: normal exit, panic, a signal, SIGKILL. So there is one way
//! to clean up, and it is taken every time. See `watchdog.py` for why it is not a parent-death signal.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::venv::{is_reachable_by_others, venv};

/// A directory that is removed when this process ends, however it ends; other users may pass through it, not list it.
pub fn scratch() -> &'static Path {
    &watchdog().scratch
}

/// Makes a new directory below [`scratch`], mode 0700, with this prefix.
pub fn scratch_directory(prefix: &str) -> PathBuf {
    make_directory(scratch(), prefix)
}

/// Makes a new directory like [`scratch_directory`], in memory where the machine has a tmpfs for it.
pub fn memory_directory(prefix: &str) -> PathBuf {
    make_directory(&watchdog().memory, prefix)
}

fn make_directory(root: &Path, prefix: &str) -> PathBuf {
    let path = root.join(format!("{prefix}-{}", crate::random_hex(4)));
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(&path)
        .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
    path
}

/// The watchdog's process id; it lives as long as this process.
pub fn pid() -> u32 {
    watchdog().pid
}

/// What to start.
pub(crate) struct Program<'a> {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: BTreeMap<&'a str, String>,
    pub(crate) directory: &'a Path,
    /// Its standard output and error.
    pub(crate) log: PathBuf,
    /// The user and group to run as; ours where there are none.
    pub(crate) user: Option<(u32, u32)>,
    /// What asks it to end at once; SIGKILL follows after 6 s.
    pub(crate) end_signal: Signal,
}

/// A running program. It ends with this handle, or with this process.
#[derive(Debug)]
pub(crate) struct Running {
    pid: u32,
    log: PathBuf,
    ended: bool,
}

impl Running {
    /// Starts the program in a session of its own.
    pub(crate) fn start(program: &Program<'_>) -> Result<Self, String> {
        let answer = watchdog().ask(&json!({
            "run": program.arguments,
            "env": program.environment,
            "directory": program.directory,
            "log": program.log,
            "user": program.user,
            "end_signal": program.end_signal as i32,
        }))?;
        let pid = answer["pid"]
            .as_u64()
            .and_then(|pid| u32::try_from(pid).ok());
        pid.map(|pid| Self {
            pid,
            log: program.log.clone(),
            ended: false,
        })
        .ok_or_else(|| format!("cannot start {}: {answer}", program.arguments[0]))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its exit code (negative: the signal that ended it), once it has ended by itself.
    pub(crate) fn exited(&self) -> Option<i32> {
        let mut file = self.log.clone().into_os_string();
        file.push(".exit");
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// Waits until this holds.
    ///
    /// # Panics
    /// Where the program ends before, or it takes longer than `most`: with what it said last.
    pub(crate) fn wait_until(&self, what: &str, most: Duration, mut holds: impl FnMut() -> bool) {
        let end = Instant::now() + most;
        while !holds() {
            assert!(
                Instant::now() < end && self.exited().is_none(),
                "{what}: not within {} s: {}",
                most.as_secs(),
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it listens on this port of 127.0.0.1.
    ///
    /// # Panics
    /// As [`Running::wait_until`].
    pub(crate) fn wait_for_port(&self, port: u16, most: Duration) {
        self.wait_until("it answers", most, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
    }

    /// Ends it and waits until it has gone.
    pub(crate) fn end(&mut self) {
        // Where the watchdog has gone, so have its servers.
        if !std::mem::replace(&mut self.ended, true) {
            let _ = watchdog().ask(&json!({ "end": self.pid }));
        }
    }

    /// The end of what it wrote, for a message.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n  ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

struct Watchdog {
    pid: u32,
    scratch: PathBuf,
    memory: PathBuf,
    channel: Mutex<Option<Channel>>,
}

struct Channel {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Watchdog {
    fn ask(&self, request: &Value) -> Result<Value, String> {
        let mut guard = self.lock();
        let channel = guard.as_mut().ok_or("the sandbox's watchdog has ended")?;
        channel.ask(request)
    }

    // A test that panics while it holds the lock has not harmed the channel: it is in a known state between two lines.
    fn lock(&self) -> MutexGuard<'_, Option<Channel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel {
    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let failed =
            |error: std::io::Error| format!("the sandbox's watchdog does not answer: {error}");
        self.requests
            .write_all(format!("{request}\n").as_bytes())
            .map_err(failed)?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(|error| format!("the sandbox's watchdog does not answer: {error}"))?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|_| format!("the sandbox's watchdog ended, or answered {line:?}"))?;
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}

fn watchdog() -> &'static Watchdog {
    static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();
    WATCHDOG.get_or_init(|| {
        let watchdog = start().unwrap_or_else(|message| panic!("{message}"));
        // SAFETY: `end_at_exit` is an `extern "C"` function without arguments, which never unwinds.
        unsafe { libc::atexit(end_at_exit) };
        watchdog
    });

    /// Waits until the servers have gone, so that nothing is left when `cargo test` returns. A process that is killed does
    /// not come here; then the watchdog does the same a moment later.
    extern "C" fn end_at_exit() {
        if let Some(watchdog) = WATCHDOG.get()
            && let Ok(mut channel) = watchdog.channel.try_lock()
            && let Some(Channel {
                mut process,
                requests,
                answers,
            }) = channel.take()
        {
            drop((requests, answers));
            let _ = process.wait();
        }
    }
    WATCHDOG.get().expect("it was made above")
}

fn start() -> Result<Watchdog, String> {
    let mut command = Command::new(venv().python());
    command
        .args([
            "-I",
            "-S",
            concat!(env!("CARGO_MANIFEST_DIR"), "/src/watchdog.py"),
        ])
        .args([scratch_base(), memory_base()])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // SAFETY: setsid is async-signal-safe and touches no memory of this process.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(Into::into));
    }
    let mut process = command
        .spawn()
        .map_err(|error| format!("cannot start the sandbox's watchdog: {error}"))?;
    let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
        unreachable!("both were asked for");
    };
    let mut channel = Channel {
        process,
        requests,
        answers: BufReader::new(answers),
    };
    let answer = channel.answer()?;
    let [Some(scratch), Some(memory)] = [0, 1].map(|place| answer["roots"][place].as_str()) else {
        return Err(format!(
            "the sandbox's watchdog named no directories: {answer}"
        ));
    };
    let (scratch, memory) = (PathBuf::from(scratch), PathBuf::from(memory));
    Ok(Watchdog {
        pid: channel.process.id(),
        scratch,
        memory,
        channel: Mutex::new(Some(channel)),
    })
}

/// TMPDIR, or where root's own is closed to PostgreSQL's user, /tmp.
fn scratch_base() -> PathBuf {
    let own = std::env::temp_dir();
    if nix::unistd::geteuid().is_root() && !is_reachable_by_others(&own) {
        return PathBuf::from("/tmp");
    }
    own
}

/// A tmpfs, or the place on disk where there is none.
fn memory_base() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    let writable = shared
        .metadata()
        .is_ok_and(|found| found.mode() & 0o002 != 0);
    if writable { shared } else { scratch_base() }
}
