//! Named points where a test can have this process killed: `DBT_LEASE_FAILPOINT=NAME:kill` or `NAME:panic`; and `forked:kill`, where the
//! command's process, which is not the command yet, kills its session process.
//!
//! In debug builds alone: a release build has neither the variable's name nor the look at it.
#![forbid(unsafe_code)]

/// A point was reached.
#[cfg(debug_assertions)]
pub(crate) fn reached(point: &str) {
    let Ok(wanted) = std::env::var("DBT_LEASE_FAILPOINT") else {
        return;
    };
    match wanted.split_once(':') {
        Some((name, "kill")) if name == point => {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::SIGKILL);
        }
        Some((name, "panic")) if name == point => panic!("the failpoint {name}"),
        _ => {}
    }
}

/// A point was reached: nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn reached(_point: &str) {}

/// The command's process was forked, and has done nothing yet.
#[cfg(debug_assertions)]
pub(crate) fn forked() {
    if std::env::var("DBT_LEASE_FAILPOINT").is_ok_and(|wanted| wanted == "forked:kill") {
        let _ = nix::sys::signal::kill(nix::unistd::getppid(), nix::sys::signal::SIGKILL);
    }
}

/// The command's process was forked: nothing.
#[cfg(not(debug_assertions))]
pub(crate) fn forked() {}
