//! docs/faults.md: written by a whole run, and compared with the matrix by every run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use crate::matrix::{Cell, OUTCOMES, Outcome, STEPS, VICTIMS, WAYS, cells};

const HEAD: &str = "# What can go wrong, and what is left then

Written by `just faults`, which runs every cell of these tables against a real OpenBao and PostgreSQL; `cargo test` runs a part of them
and compares this page with the runner's own list. A session is brought to a step and held there; then the fault happens to its victim.
After each cell, once the last process of the session has ended: the session directory, the lease, the database user and the token are
looked for, and so are processes and zombies that nobody waited for; the end must be the right one (the command's own code, the signal
that was sent, 125 where the command never ran). Nothing waits for a time: steps are reached by named points of a debug build
(src/failpoint.rs) or by an answer that a proxy holds back.

";

const NOTES: &str = "
- The supervisor is the session process, the group the supervisor and the command (what a kill by group or by session id reaches),
  all of them these and the janitor.
- ENOSPC and EIO come from the file operation that follows the step. For the janitor the supervisor is killed at the step, and the
  janitor's line in the record (ENOSPC), its overwriting (EIO), all further descriptors (EMFILE), or the server fail while it cleans up.
- A panic is a bug. While the command runs it leaves everything to the janitor, which stops the command, too.
- The gate's steps run a dbt that reads profiles.yml as dbt 1.12 does; the others a shell.
";

/// Writes the page.
pub(crate) fn write(results: &[(Cell, Outcome)]) {
    let mut text = HEAD.to_owned();
    text.push_str("| result | what it means | cells |\n| --- | --- | --- |\n");
    for (outcome, word, meaning) in OUTCOMES {
        let count = results
            .iter()
            .filter(|(_, found)| *found == outcome)
            .count();
        let _ = writeln!(text, "| {word} | {meaning} | {count} |");
    }
    let impossible = cells().filter(|cell| cell.expected().is_err()).count();
    let _ = writeln!(
        text,
        "| (a letter) | there is no such cell, see below its table | {impossible} |"
    );
    text.push_str("| leak | something was left, and nobody knew | 0 |\n");
    text.push_str(NOTES);
    for (victim, name) in VICTIMS {
        let _ = write!(text, "\n## {}\n\n| step |", capital(name));
        for (_, way) in WAYS {
            let _ = write!(text, " {way} |");
        }
        let _ = writeln!(text, "\n|{}", " --- |".repeat(WAYS.len() + 1));
        let mut reasons = BTreeMap::new();
        for (step, name) in STEPS {
            let _ = write!(text, "| {name} |");
            for (way, _) in WAYS {
                let cell = Cell { step, way, victim };
                let _ = write!(text, " {} |", shown(cell, results, &mut reasons));
            }
            text.push('\n');
        }
        text.push('\n');
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, letter)| *letter);
        for (reason, letter) in reasons {
            let _ = writeln!(text, "- {letter}: {reason}");
        }
    }
    std::fs::write(page(), text).expect("docs/faults.md is written");
}

fn shown(
    cell: Cell,
    results: &[(Cell, Outcome)],
    reasons: &mut BTreeMap<&'static str, char>,
) -> String {
    if let Err(reason) = cell.expected() {
        let next = (b'a'..=b'z').map(char::from).nth(reasons.len());
        return reasons
            .entry(reason)
            .or_insert_with(|| next.expect("fewer reasons than letters"))
            .to_string();
    }
    let found = results.iter().find(|(other, _)| *other == cell);
    found
        .map_or("not run", |(_, outcome)| word(*outcome))
        .to_owned()
}

/// Whether the page and the matrix say the same; what they do not.
pub(crate) fn compare() -> Result<(), String> {
    let text =
        std::fs::read_to_string(page()).map_err(|error| format!("docs/faults.md: {error}"))?;
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && line.matches('|').count() == WAYS.len() + 2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let mut rows = rows.iter().filter(|row| row[0] != "---");
    let mut different = Vec::new();
    for (victim, name) in VICTIMS {
        let head: Vec<&str> = std::iter::once("step")
            .chain(WAYS.map(|(_, way)| way))
            .collect();
        if rows.next() != Some(&head) {
            different.push(format!("{name}: the ways"));
        }
        for (step, name_of_step) in STEPS {
            let row = rows.next().map(Vec::as_slice).unwrap_or_default();
            let cell_words = WAYS.map(|(way, _)| match (Cell { step, way, victim }).expected() {
                Ok(expected) => word(expected.outcome),
                Err(_) => "",
            });
            let same = row.first() == Some(&name_of_step)
                && row[1..].iter().zip(cell_words).all(|(found, wanted)| {
                    *found == wanted || (wanted.is_empty() && found.len() == 1)
                });
            if !same {
                different.push(format!(
                    "{name}, {name_of_step}: {row:?}, not {cell_words:?}"
                ));
            }
        }
    }
    if rows.next().is_some() {
        different.push("rows that the matrix does not have".to_owned());
    }
    if different.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "docs/faults.md and the matrix differ (`just faults` writes it):\n{}",
            different.join("\n")
        ))
    }
}

pub(crate) fn word(outcome: Outcome) -> &'static str {
    OUTCOMES
        .into_iter()
        .find(|(other, ..)| *other == outcome)
        .map_or("", |(_, word, _)| word)
}

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md")
}

fn capital(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}
