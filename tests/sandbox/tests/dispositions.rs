//! How the tests were started does not reach what they start.

use dbt_lease_sandbox::Home;
use nix::sys::signal::{SigHandler, Signal, signal};

#[test]
fn a_command_finds_no_signal_ignored_where_the_tests_do() {
    let ignored = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];
    for ignored in ignored {
        // SAFETY: to ignore a signal needs no handler.
        unsafe { signal(ignored, SigHandler::SigIgn) }.expect("set");
    }
    let output = Home::new()
        .command("grep")
        .args(["SigIgn", "/proc/self/status"])
        .output()
        .expect("grep starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mask = text.trim().rsplit('\t').next().unwrap_or_default();
    let mask = u64::from_str_radix(mask, 16).expect("a mask");
    for ignored in ignored {
        assert_eq!(mask & (1 << (ignored as i32 - 1)), 0, "{ignored} in {text}");
    }
}
