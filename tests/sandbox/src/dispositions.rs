//! Signals that a command does not find ignored, however the tests were started.
//!
//! nohup ignores HUP, a script's `&` INT and QUIT, and whoever is started finds them ignored too: a shell's `trap` does nothing for them then,
//! and a test that waits for what it says would wait for ever. The test process itself keeps what it was given.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// What a shell or an orchestrator may have ignored for us.
const SIGNALS: [libc::c_int; 6] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// The command will find each of these as the kernel gives it to a new session.
pub(crate) fn by_default(command: &mut Command) {
    // SAFETY: signal is async-signal-safe, and the default action needs no handler.
    unsafe {
        command.pre_exec(|| {
            for signal in SIGNALS {
                libc::signal(signal, libc::SIG_DFL);
            }
            Ok(())
        });
    }
}
