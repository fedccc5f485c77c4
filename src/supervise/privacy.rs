//! Keeping our memory from other processes of the same user, and out of core dumps.
#![forbid(unsafe_code)]

/// From here on nobody of this user's reads this process's memory or environment, and it leaves no core dump. A program that it starts is
/// free of that again at its exec.
///
/// A kernel that knows no such thing keeps nothing from working.
#[cfg(target_os = "linux")]
pub fn withdraw_memory() {
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// No core dump; who may read the memory is the system's to say.
#[cfg(not(target_os = "linux"))]
pub fn withdraw_memory() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_CORE) {
        let _ = setrlimit(Resource::RLIMIT_CORE, 0, hard);
    }
}

/// From here on neither this process nor what it starts can leave a core file. A kernel that hands cores to a program
/// (`core_pattern` with a pipe) asks no limit.
pub fn forbid_core_dumps() {
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
}
