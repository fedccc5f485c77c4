//! `check --rehearse`: the very command that a user would type lends, connects and gives back, as a process of its own.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::arguments::{Global, SelectionArguments};
use crate::check::{Cure, Finding, State, quoted};
use crate::trust::account::shown;

const ID: &str = "rehearsal";

/// `exec --strict -- dbt debug` for one target. It gets our terminal's signals itself, and gives back what it borrowed also where we are
/// killed.
pub(super) fn of(global: &Global, selection: &SelectionArguments, target: &str) -> Finding {
    // The link leads to this very file, also where another one has taken its place meanwhile.
    let own = PathBuf::from("/proc/self/exe");
    let own = if own.exists() {
        own
    } else {
        std::env::current_exe().unwrap_or(own)
    };
    let mut command = Command::new(own);
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
                quoted(target)
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

/// What says why, of all that was printed: our own error, else what follows on dbt's word of the database's, else the last line.
fn last_words(stdout: &[u8], stderr: &[u8]) -> String {
    const OF_THE_DATABASE: &str = "The database returned the following error";
    let (stdout, stderr) = (
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr),
    );
    let words = |lines: &mut dyn Iterator<Item = &str>| {
        let lines = lines.map(str::trim).filter(|line| !line.is_empty()).take(4);
        lines.collect::<Vec<_>>().join(" ")
    };
    let ours = stderr
        .lines()
        .find(|line| line.starts_with("dbt-lease: error"));
    let line = match (ours, stdout.split_once(OF_THE_DATABASE)) {
        (Some(ours), _) => ours.to_owned(),
        (None, Some((_, after))) => words(&mut after.lines().skip(1)),
        (None, None) => words(&mut stdout.lines().rev().take(1)),
    };
    shown(line.trim()).chars().take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn the_reason_is_ours_or_the_database_s() {
        let dbt = b"x\nThe database returned the following error:\n\n  >Database Error\n  no \x1b[31msuch database\n\nCheck it\n";
        assert_eq!(
            last_words(dbt, b""),
            ">Database Error no \\u{1b}[31msuch database Check it"
        );
        let ours = b"dbt-lease: note\ndbt-lease: error: no lease\n";
        assert_eq!(last_words(dbt, ours), "dbt-lease: error: no lease");
        assert_eq!(last_words(b"a\nb\n", b""), "b");
    }
}
