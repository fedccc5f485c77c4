//! `status`: the living sessions of this user on this machine.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Serialize;

use super::arguments::Status as Arguments;
use super::failure::Failure;
use super::output;
use crate::delivery::{private, sweep};
use crate::record::audit::stamp;
use crate::supervise::janitor::ask::{self, Living};
use crate::variables::Variables;

/// `dbt-lease status`
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let found = sessions();
    if arguments.json {
        return output::json(Ok(View {
            sessions: found.living.iter().map(Row::of).collect(),
            silent: &found.silent,
        }));
    }
    output::text(&table(&found))
}

/// The living sessions.
pub(super) struct Sessions {
    /// Those that answered.
    pub(super) living: Vec<Living>,
    /// The directories of those that did not: they are just ending, or their janitor is stopped.
    pub(super) silent: Vec<PathBuf>,
}

/// Asks every session whose directory is held.
pub(super) fn sessions() -> Sessions {
    let mut found = Sessions {
        living: Vec::new(),
        silent: Vec::new(),
    };
    for directory in sweep::living(&private::places(&Variables::of_process())) {
        match ask::living(&directory) {
            Ok(living) => found.living.push(living),
            // No session's directory, one that lends nothing, or it ended while we asked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => found.silent.push(directory),
        }
    }
    found.living.sort_by_key(|session| session.about.since);
    found
}

/// `status --json`, an interface.
#[derive(Serialize)]
struct View<'a> {
    sessions: Vec<Row<'a>>,
    silent: &'a [PathBuf],
}

#[derive(Serialize)]
struct Row<'a> {
    session: &'a str,
    project: Option<&'a str>,
    profile: &'a str,
    target: &'a str,
    environment: &'a str,
    since: String,
    lease_ends: Option<String>,
}

impl<'a> Row<'a> {
    fn of(living: &'a Living) -> Self {
        let about = &living.about;
        Self {
            session: &about.session,
            project: about.project.as_deref(),
            profile: &about.profile,
            target: &about.target,
            environment: &about.environment,
            since: stamp(about.since),
            lease_ends: living.lease_ends.map(stamp),
        }
    }
}

fn table(found: &Sessions) -> String {
    let mut rows = Vec::new();
    for living in &found.living {
        let row = Row::of(living);
        rows.push([
            row.session.to_owned(),
            row.environment.to_owned(),
            format!("{}/{}", row.project.unwrap_or(row.profile), row.target),
            seconds(living.about.since),
            living
                .lease_ends
                .map_or_else(|| "no lease".to_owned(), seconds),
        ]);
    }
    let mut text = String::new();
    if !rows.is_empty() {
        rows.insert(
            0,
            ["session", "environment", "target", "since", "lease ends"].map(str::to_owned),
        );
        let widths: Vec<usize> = (0..5)
            .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
            .collect();
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    for directory in &found.silent {
        text.push_str(&format!(
            "a session does not answer: {}\n",
            directory.display()
        ));
    }
    text
}

fn seconds(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
