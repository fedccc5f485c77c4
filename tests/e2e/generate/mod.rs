//! `generate`: what it makes is applied and run for real, passes its validators, and says when it is stale.

mod files;
mod mysql;
mod run;
mod setup;
mod valid;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dbt_lease_sandbox::{Home, venv};

use crate::support::{DBT_LEASE, DBT_LEASED, Ran, ran};

/// A name with what is special in some language, or in all.
pub(crate) const HOSTILE: &str =
    "we'ird \"env\" $(touch pwned) `touch pwned` ; % #{x} {{ x }} ${X} ünï \u{65e5}";

/// A project in a home, and no server.
pub(crate) struct Bench {
    pub(crate) home: Home,
    pub(crate) project: PathBuf,
}

impl Bench {
    /// The fixtures' project.
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let project = home.copy_project("jaffle");
        // The repository's root.
        std::fs::create_dir(project.join(".git")).expect("made");
        Self { home, project }
    }

    /// A project with this dbt-lease.yml and these outputs.
    pub(crate) fn with(lease: &str, outputs: &str) -> Self {
        let bench = Self::new();
        bench.write("dbt-lease.yml", lease);
        bench.write(
            "profiles.yml",
            &format!("jaffle:\n  target: dev\n  outputs:\n{outputs}"),
        );
        bench
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.project.join(name), text).expect("written");
    }

    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.home.command(program);
        let tools = Path::new(DBT_LEASED).parent().expect("a directory");
        let path = format!(
            "{}:{}:{}:/usr/local/bin:/usr/bin:/bin",
            tools.display(),
            venv().bin().display(),
            venv().postgres().display()
        );
        command
            .args(arguments)
            .env("PATH", path)
            .env("DBT_LEASE_TRUST", "any")
            .current_dir(&self.project)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self
            .command(DBT_LEASE, arguments)
            .output()
            .expect("it starts"))
    }

    /// `generate` of a kind: what it prints.
    #[track_caller]
    pub(crate) fn made(&self, arguments: &[&str]) -> String {
        let words: Vec<&str> = std::iter::once("generate")
            .chain(arguments.iter().copied())
            .collect();
        self.run(&words).success()
    }
}
