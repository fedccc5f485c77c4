//! Tells each signal that it gets, in its order: a line `TERM` for SIGTERM into the named pipe of `REPORT_SIGNALS_TO`. The first line is
//! `ready PID PARENT`. Ends with 7 when a byte comes from the named pipe of `REPORT_SIGNALS_GATE`, after a last look; its arguments are
//! whatever the test likes.
//!
//! All signals are blocked and read from a descriptor, so that none ends or stops it but KILL and STOP, and none is lost unless it comes twice
//! before it is read: then the kernel itself makes one of two.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};

/// The size of a signalfd_siginfo; its first four bytes are the signal's number.
const INFO: usize = 128;

fn main() -> ExitCode {
    SigSet::all().thread_block().expect("signals are blocked");
    let mut signals = signals();
    let path = |name| std::env::var_os(name).unwrap_or_else(|| panic!("{name} names a named pipe"));
    let mut report = OpenOptions::new()
        .write(true)
        .open(path("REPORT_SIGNALS_TO"))
        .expect("the report is opened");
    let gate = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path("REPORT_SIGNALS_GATE"))
        .expect("the gate is opened");
    let (pid, parent) = (nix::unistd::getpid(), nix::unistd::getppid());
    writeln!(report, "ready {pid} {parent}").expect("reported");
    loop {
        wait_for(&signals, &gate);
        let is_open = matches!((&gate).read(&mut [0]), Ok(1));
        tell(&mut signals, &mut report);
        if is_open {
            return ExitCode::from(7);
        }
    }
}

/// A descriptor on which all signals arrive.
fn signals() -> File {
    // SAFETY: an all-zero set is a valid value to be filled; the new descriptor is ours alone.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        let descriptor = libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        assert!(descriptor >= 0, "there is no signalfd");
        File::from_raw_fd(descriptor)
    }
}

fn wait_for(signals: &File, gate: &File) {
    let mut waited = [signals, gate].map(|file| libc::pollfd {
        fd: file.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: the array outlives the call, and its length is two.
    unsafe { libc::poll(waited.as_mut_ptr(), 2, -1) };
}

/// Tells all that has come so far.
fn tell(signals: &mut File, report: &mut File) {
    let mut info = [0; INFO];
    loop {
        match signals.read(&mut info) {
            Ok(INFO) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            other => panic!("signals cannot be read: {other:?}"),
        }
        let number = i32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
        let name = Signal::try_from(number).map_or_else(
            |_| number.to_string(),
            |signal| signal.as_str().trim_start_matches("SIG").to_owned(),
        );
        writeln!(report, "{name}").expect("reported");
    }
}
