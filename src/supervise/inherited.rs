//! What we were started with and Rust's runtime changes before `main`: recorded first, so that the child gets it unchanged.
//!
//! Rust ignores SIGPIPE and reopens closed descriptors 0 to 2 on /dev/null before `main` runs; both would be lost for the
//! child. A constructor (`.init_array`, run by the loader before the runtime) looks first.

use std::sync::atomic::{AtomicU8, Ordering};

use nix::libc;

/// Bits of what was found: descriptors 0–2 closed (1, 2, 4), SIGPIPE ignored (8), SIGCHLD ignored (16).
static FOUND: AtomicU8 = AtomicU8::new(0);
const PIPE_IGNORED: u8 = 8;
const CHILD_IGNORED: u8 = 16;

#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static LOOK: extern "C" fn() = look;

/// Runs before Rust's runtime: system calls and an atomic alone, no allocation.
extern "C" fn look() {
    let mut found = 0;
    for descriptor in 0..3 {
        // SAFETY: F_GETFD on any number is harmless; it fails with EBADF where the descriptor is closed.
        if unsafe { libc::fcntl(descriptor, libc::F_GETFD) } == -1 {
            found |= 1 << descriptor;
        }
    }
    if ignored(libc::SIGPIPE) {
        found |= PIPE_IGNORED;
    }
    if ignored(libc::SIGCHLD) {
        found |= CHILD_IGNORED;
    }
    FOUND.store(found, Ordering::Relaxed);
}

fn ignored(signal: libc::c_int) -> bool {
    // SAFETY: an all-zero sigaction is a valid value to be overwritten; a null new action asks only.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// What we were started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited(u8);

impl Inherited {
    /// What the constructor found.
    pub fn found() -> Self {
        Self(FOUND.load(Ordering::Relaxed))
    }

    /// Whether a child started by `Command` alone would see another state than we did. SIGCHLD is never left ignored in us
    /// (there would be no wait status), so it counts too.
    pub fn needs_restoring(self) -> bool {
        self.0 != 0
    }

    /// Puts the state back, between fork and exec: system calls alone.
    pub fn restore(self) {
        for descriptor in 0..3 {
            if self.0 & (1 << descriptor) != 0 {
                // SAFETY: closes what the runtime opened on /dev/null; nothing in this process uses it after exec.
                unsafe { libc::close(descriptor) };
            }
        }
        for (bit, signal) in [
            (PIPE_IGNORED, libc::SIGPIPE),
            (CHILD_IGNORED, libc::SIGCHLD),
        ] {
            if self.0 & bit != 0 {
                // SAFETY: SIG_IGN needs no handler; signal() is async-signal-safe.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
        }
    }
}
