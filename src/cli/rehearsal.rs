//! `check --rehearse`: the very command that a user would type lends, connects and gives back, as a process of its own.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::{Command, Stdio};

use super::arguments::{Global, SelectionArguments};
use crate::check::{Cure, Finding, State};
use crate::trust::account::shown;

const ID: &str = "rehearsal";

/// `exec --strict -- dbt debug` for one target. It gets our terminal's signals itself, and gives back what it borrowed also where we are
/// killed.
pub(super) fn of(global: &Global, selection: &SelectionArguments, target: &str) -> Finding {
    let mut command = Command::new("/proc/self/exe");
    // What a user's variables say of messages is not for this one.
    command
        .env_remove("DBT_LEASE_LOG_FORMAT")
        .arg("exec")
        .arg("--strict");
    if let Some(config) = &global.config {
        command.arg("--config").arg(config);
    }
    let mut words: Vec<OsString> = ["dbt", "debug"].map(OsString::from).to_vec();
    words.extend(selection.as_arguments());
    command.arg("--").args(&words).stdin(Stdio::null());
    let name = format!("`dbt debug --target {}`", shown(target));
    let failed = |what: String| {
        Finding::new(State::Failure, ID, what, "a run would fail in the same way").cured_by(
            Cure::Action(format!(
                "see the whole of it: `dbt-lease -v exec -- dbt debug --target {}`",
                shown(target)
            )),
        )
    };
    match command.output() {
        Err(error) => failed(format!("{name} cannot be started: {error}")),
        Ok(output) if output.status.success() => Finding::ok(
            ID,
            format!("{name} borrowed, connected, and gave everything back"),
        ),
        Ok(output) => failed(format!(
            "{name} ended with {}: {}",
            output.status,
            last_words(&output.stdout, &output.stderr)
        )),
    }
}

/// The line that says why, of what was printed: the last of ours, else dbt's error.
fn last_words(stdout: &[u8], stderr: &[u8]) -> String {
    let (stdout, stderr) = (
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr),
    );
    let ours = stderr
        .lines()
        .find(|line| line.starts_with("dbt-lease: error"));
    let line = ours
        .or_else(|| {
            stdout
                .lines()
                .rev()
                .find(|line| line.to_ascii_lowercase().contains("error"))
        })
        .or_else(|| stdout.lines().rev().find(|line| !line.trim().is_empty()))
        .unwrap_or("it said nothing");
    shown(line.trim()).chars().take(400).collect()
}
