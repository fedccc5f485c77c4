//! Signals that reach us, with who sent them.
//!
//! Whether a signal must be passed on depends on `si_code`: what the terminal's driver sends, the whole foreground group has
//! already got; what a process sends, only we have. So the handler keeps the siginfo (tokio's and signal-hook's plain streams
//! lose it): it writes two bytes to a pipe, and nothing else.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use tokio::io::unix::AsyncFd;

/// The pipe's writing end, for the handler.
static WRITER: AtomicI32 = AtomicI32::new(-1);

/// What a job control shell, a terminal or an orchestrator may send, and the child's own end; and all that would otherwise end us
/// before we have cleaned up: a timer that outlives exec (`perl -e 'alarm 60; exec …'`), a limit on the size of files.
const WATCHED: [Signal; 18] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGTSTP,
    Signal::SIGWINCH,
    Signal::SIGCHLD,
    // A watchdog's; abort(3) itself ends us all the same, it does not ask the handler twice.
    Signal::SIGABRT,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
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
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        WRITER.store(writer.as_raw_fd(), Ordering::SeqCst);
        let action = SigAction::new(
            SigHandler::SigAction(note),
            SaFlags::SA_RESTART,
            SigSet::empty(),
        );
        let mut replaced = Vec::with_capacity(WATCHED.len());
        for signal in WATCHED {
            // SAFETY: the handler is async-signal-safe: it reads an atomic, writes to a descriptor and keeps errno.
            let before = unsafe { sigaction(signal, &action) }?;
            if matches!(before.handler(), SigHandler::SigIgn) && signal != Signal::SIGCHLD {
                // SAFETY: puts back the action that was there.
                unsafe { sigaction(signal, &before) }?;
            } else {
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

    /// Forgets what has arrived and was not asked for.
    pub fn forget_pending(&self) {
        let mut bytes = [0; 256];
        while matches!(
            nix::unistd::read(self.reader.get_ref(), &mut bytes),
            Ok(1..)
        ) {}
    }

    /// Waits for the next signal. Dropping the future loses none.
    pub async fn next(&self) -> io::Result<Received> {
        loop {
            let mut ready = self.reader.readable().await?;
            let mut bytes = [0; 2];
            match nix::unistd::read(self.reader.get_ref(), &mut bytes) {
                Ok(2) => {
                    let signal = Signal::try_from(i32::from(bytes[0]))?;
                    return Ok(Received {
                        signal,
                        from_kernel: bytes[1] == 1,
                    });
                }
                Ok(_) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Two bytes a signal: its number, and whether the kernel sent it. A write of two bytes to a pipe is whole or not at all; a full pipe
/// (32,000 signals unread) drops the newest.
extern "C" fn note(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    let errno = Errno::last_raw();
    // SAFETY: with SA_SIGINFO the kernel hands a valid siginfo.
    let code = unsafe { (*info).si_code };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "signal numbers are 1 to 64"
    )]
    let bytes = [signal as u8, u8::from(code > 0)];
    // SAFETY: write(2) is async-signal-safe; the buffer lives on this stack; a closed descriptor gives EBADF.
    unsafe { libc::write(WRITER.load(Ordering::SeqCst), bytes.as_ptr().cast(), 2) };
    Errno::set_raw(errno);
}
