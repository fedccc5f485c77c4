//! Signals that reach us, with who sent them.
//!
//! Whether a signal must be passed on depends on `si_code`: what the terminal's driver sends, the whole foreground group has
//! already got; what a process sends, only we have. So the handler keeps the siginfo (tokio's and signal-hook's plain streams
//! lose it): it writes six bytes to a pipe, and nothing else.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

/// The pipe's writing end, for the handler.
static WRITER: AtomicI32 = AtomicI32::new(-1);
/// The process whose signals are noted. A child has the handler too, from its fork to its exec.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// How many signals were noted, but for those about a child's state.
static NOTED: AtomicU32 = AtomicU32::new(0);
/// How many had been noted at [`Signals::mark`].
static MARK: AtomicU32 = AtomicU32::new(0);

/// What a terminal or an orchestrator may send, and the child's own end; and all that would otherwise end us
/// before we have cleaned up: a timer that outlives exec (`perl -e 'alarm 60; exec …'`), a limit on the size of files.
///
/// SIGTSTP is not here: where no child runs, ^Z stops us as it stops anybody.
const WATCHED: &[Signal] = &[
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGWINCH,
    Signal::SIGCHLD,
    // A watchdog's; abort(3) itself ends us all the same, it does not ask the handler twice.
    Signal::SIGABRT,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    #[cfg(target_os = "linux")]
    Signal::SIGPWR,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
];

/// Whether a signal asks its receiver to end, by what it does where nobody handles it. SIGXFSZ is about a write of our own, whose
/// error is answered where it is written.
pub fn asks_to_end(signal: Signal) -> bool {
    !matches!(
        signal,
        Signal::SIGCHLD | Signal::SIGCONT | Signal::SIGTSTP | Signal::SIGWINCH | Signal::SIGXFSZ
    )
}

/// One signal that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub signal: Signal,
    /// Whether the kernel sent it (for the watched ones: the terminal's driver), not a process.
    pub from_kernel: bool,
    /// The process that sent it; 0 where that is not in our PID namespace, or where the kernel sent it.
    pub sender: i32,
}

/// The stream of signals. There is one in a process; while it lives, the watched signals no longer act by themselves. Dropping it lets
/// them act as before.
pub struct Signals {
    reader: AsyncFd<OwnedFd>,
    _writer: OwnedFd,
    replaced: Vec<(Signal, SigAction)>,
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (signal, before) in &self.replaced {
            // SAFETY: puts back the action that was there.
            let _ = unsafe { sigaction(*signal, before) };
        }
        // The descriptor's number may soon be another file's.
        WRITER.store(-1, Ordering::SeqCst);
    }
}

impl Signals {
    /// Watches the signals, but for those that were ignored when we started (`nohup`, a script's `&`): the child must find them
    /// ignored too, and exec keeps only that. SIGCHLD is always watched.
    ///
    /// Must be called inside the tokio runtime.
    pub fn install() -> io::Result<Self> {
        let (reader, writer) = pipe()?;
        WRITER.store(writer.as_raw_fd(), Ordering::SeqCst);
        OWNER.store(Pid::this().as_raw(), Ordering::SeqCst);
        let mut replaced = Vec::with_capacity(WATCHED.len());
        for &signal in WATCHED {
            if let Some(before) = watch(signal)? {
                replaced.push((signal, before));
            }
        }
        // SAFETY: the descriptor is owned by the `AsyncFd` from here on, and closed by nobody else.
        let reader = unsafe { AsyncFd::register(reader) }?;
        Ok(Self {
            reader,
            _writer: writer,
            replaced,
        })
    }

    /// Watches SIGTSTP too, for as long as the value lives: while a child runs it is the child that decides whether ^Z stops it, and we
    /// follow.
    pub fn watch_stops(&self) -> io::Result<Stops> {
        Ok(Stops(watch(Signal::SIGTSTP)?))
    }

    /// Forgets what has arrived and was not asked for.
    pub fn forget_pending(&self) {
        while let Ok(Some(_)) = self.read() {}
    }

    /// Takes what has arrived so far; the first that asks us to end, where there is one.
    ///
    /// To be called before a child is forked: what the terminal sent before that, the child has not got. [`came_after_the_mark`] tells the
    /// child whether anything has come in between.
    pub fn mark(&self) -> Option<Signal> {
        MARK.store(NOTED.load(Ordering::SeqCst), Ordering::SeqCst);
        while let Ok(Some(received)) = self.read() {
            if asks_to_end(received.signal) {
                return Some(received.signal);
            }
        }
        None
    }

    fn read(&self) -> io::Result<Option<Received>> {
        let mut bytes = [0; NOTE];
        loop {
            match nix::unistd::read(self.reader.get_ref(), &mut bytes) {
                Ok(NOTE) => {
                    let [signal, from_kernel, sender @ ..] = bytes;
                    return Ok(Some(Received {
                        signal: Signal::try_from(i32::from(signal))?,
                        from_kernel: from_kernel == 1,
                        sender: i32::from_ne_bytes(sender),
                    }));
                }
                Ok(_) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the next signal. Dropping the future loses none.
    pub async fn next(&self) -> io::Result<Received> {
        loop {
            let mut ready = self.reader.readable().await?;
            match self.read()? {
                Some(received) => return Ok(received),
                None => ready.clear_ready(),
            }
        }
    }
}

/// SIGTSTP is watched; dropping this lets it act as before.
pub struct Stops(Option<SigAction>);

impl Drop for Stops {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: puts back the action that was there.
            let _ = unsafe { sigaction(Signal::SIGTSTP, before) };
        }
    }
}

/// Whether a signal was noted since [`Signals::mark`]. For a child between fork and exec: its memory is what ours was at the fork, so that it
/// answers for exactly that moment. Reads atomics alone.
pub fn came_after_the_mark() -> bool {
    NOTED.load(Ordering::SeqCst) != MARK.load(Ordering::SeqCst)
}

/// A pipe that nobody waits at, closed at exec.
#[cfg(target_os = "linux")]
fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
}

/// The same in more steps: there is no thread yet that could start a program between them.
#[cfg(not(target_os = "linux"))]
fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let (reader, writer) = nix::unistd::pipe()?;
    for end in [&reader, &writer] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok((reader, writer))
}

/// Installs the handler; the action that was there, or `None` where the signal was ignored and stays so.
fn watch(signal: Signal) -> io::Result<Option<SigAction>> {
    let action = SigAction::new(
        SigHandler::SigAction(note),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    // SAFETY: the handler is async-signal-safe: it uses atomics, makes system calls alone and keeps errno.
    let before = unsafe { sigaction(signal, &action) }?;
    if matches!(before.handler(), SigHandler::SigIgn) && signal != Signal::SIGCHLD {
        // SAFETY: puts back the action that was there.
        unsafe { sigaction(signal, &before) }?;
        return Ok(None);
    }
    Ok(Some(before))
}

/// The bytes of one note: the signal's number, whether the kernel sent it, the sender.
const NOTE: usize = 6;

/// Notes a signal. A write of six bytes to a pipe is whole or not at all; a full pipe (10,000 signals unread) drops the newest.
extern "C" fn note(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let errno = Errno::last_raw();
    // SAFETY: getpid(2) is async-signal-safe.
    if unsafe { libc::getpid() } != OWNER.load(Ordering::SeqCst) {
        // A child that has not called exec yet: the signal is the child's own, and acts when this handler returns.
        // SAFETY: both are async-signal-safe, and the default action needs no handler.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    if signal != libc::SIGCHLD && signal != libc::SIGXFSZ {
        NOTED.fetch_add(1, Ordering::SeqCst);
    }
    // SAFETY: with SA_SIGINFO the kernel hands a valid siginfo.
    let code = unsafe { (*info).si_code };
    let sender = if code > 0 {
        0
    } else {
        // SAFETY: what a process sent holds the sender's id; it is read as a number.
        unsafe { sender(info) }
    };
    let [a, b, c, d] = sender.to_ne_bytes();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "signal numbers are 1 to 64"
    )]
    let bytes: [u8; NOTE] = [signal as u8, u8::from(code > 0), a, b, c, d];
    // SAFETY: write(2) is async-signal-safe; the buffer lives on this stack; a closed descriptor gives EBADF.
    unsafe { libc::write(WRITER.load(Ordering::SeqCst), bytes.as_ptr().cast(), NOTE) };
    Errno::set_raw(errno);
}

/// The process that a siginfo is about.
///
/// # Safety
/// `info` is valid, and it is about what a process has sent, or how one has ended.
pub(super) unsafe fn sender(info: *const libc::siginfo_t) -> i32 {
    // SAFETY: the caller's promise.
    #[cfg(target_os = "linux")]
    unsafe {
        (*info).si_pid()
    }
    // SAFETY: the caller's promise.
    #[cfg(not(target_os = "linux"))]
    unsafe {
        (*info).si_pid
    }
}
