//! A hermetic place to run a program in: nothing of the tester's environment reaches it.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dispositions;
use crate::venv::venv;
use crate::watchdog::{memory_directory, scratch_directory};

/// A directory that holds a HOME, a TMPDIR, a state and a runtime directory, and copies of dbt projects.
#[derive(Debug)]
pub struct Home {
    directory: PathBuf,
    runtime: PathBuf,
    variables: Vec<(OsString, OsString)>,
}

impl Home {
    /// A new, empty one; removed with its handle.
    ///
    /// # Panics
    /// Where the directories cannot be made.
    pub fn new() -> Self {
        let directory = scratch_directory("home");
        for part in ["home", "tmp", "state"] {
            let path = directory.join(part);
            std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700)
                .create(&path)
                .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        }
        Self {
            directory,
            runtime: memory_directory("run"),
            variables: Vec::new(),
        }
    }

    /// The directory that holds all the others.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `$HOME`
    pub fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// `$TMPDIR`
    pub fn tmp(&self) -> PathBuf {
        self.directory.join("tmp")
    }

    /// `$XDG_RUNTIME_DIR`: in memory, as on a real machine.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// `$XDG_STATE_HOME`
    pub fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The record of dbt-lease.
    pub fn record(&self) -> PathBuf {
        self.state().join("dbt-lease/audit.jsonl")
    }

    /// Sets a variable for every later command.
    pub fn set(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        self.variables
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
    }

    /// Copies `fixtures/NAME` in here; the copy's path.
    ///
    /// # Panics
    /// Where it cannot be copied.
    pub fn copy_project(&self, name: &str) -> PathBuf {
        let target = self.directory.join(name);
        copy(&crate::fixtures().join(name), &target).unwrap_or_else(|error| {
            panic!(
                "cannot copy fixtures/{name} to {}: {error}",
                target.display()
            )
        });
        target
    }

    /// A command with only the variables of this place, and with no signal ignored; its directory is `$HOME` until the caller says another.
    ///
    /// `program` is looked up on this PATH, which begins with the environment's `dbt`, `python` and `bao`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let path = self.path();
        let program = program.as_ref();
        // std looks a bare name up on the new PATH only by chance of platform; here it is certain.
        let found = std::env::split_paths(&path)
            .map(|directory| directory.join(program))
            .find(|candidate| !program.as_encoded_bytes().contains(&b'/') && candidate.is_file());
        let mut command = Command::new(found.as_deref().map_or(program, Path::as_os_str));
        dispositions::by_default(&mut command);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("TMPDIR", self.tmp())
            .env("XDG_RUNTIME_DIR", self.runtime())
            .env("XDG_STATE_HOME", self.state())
            .env("PATH", path)
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC")
            .env("COLUMNS", "120")
            .env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home());
        command
    }

    fn path(&self) -> OsString {
        let mut path = venv().bin().into_os_string();
        path.push(":/usr/local/bin:/usr/bin:/bin");
        path
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
        let _ = fs::remove_dir_all(&self.runtime);
    }
}

/// Copies a tree, but what dbt makes in it.
fn copy(source: &Path, target: &Path) -> std::io::Result<()> {
    fs::create_dir(target)?;
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        let name = entry.file_name();
        if ["target", "logs", "dbt_packages", ".user.yml"]
            .iter()
            .any(|made| name == *made)
        {
            continue;
        }
        let to = target.join(&name);
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
