//! The process environment, read once, and the names in it that are ours.
//!
//! Everything that decides on a variable takes a [`Variables`], so that a test can say what the environment is and two
//! readers can never see two states.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// A snapshot of environment variables, sorted by name.
#[derive(Clone, Default)]
pub struct Variables(BTreeMap<OsString, OsString>);

impl Variables {
    /// The variables of this process.
    pub fn of_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// The value as it stands, also when it is empty or not UTF-8.
    pub fn os(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str)
    }

    /// The value where it is UTF-8 and not empty: dbt's click, Vault and we take an empty variable for an unset one.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.os(name)
            .and_then(OsStr::to_str)
            .filter(|value| !value.is_empty())
    }

    /// Where the user's state is kept: XDG_STATE_HOME (a relative one is invalid, and ignored, as its specification says), else
    /// `~/.local/state`; none without HOME.
    pub fn state_home(&self) -> Option<PathBuf> {
        // A relative one could lie in a checkout, and a checkout must not bring its own trust.
        let given = self.text("XDG_STATE_HOME").map(PathBuf::from);
        given
            .filter(|path| path.is_absolute())
            .or_else(|| Some(Path::new(self.text("HOME")?).join(".local/state")))
            .filter(|path| path.is_absolute())
    }

    /// Sets or replaces one variable.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Removes one variable; says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(OsStr::new(name)).is_some()
    }

    /// All variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Variables {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

/// Names only: a value may be a secret.
impl std::fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// The path of dbt-lease.yml, where it is not beside dbt_project.yml (`--config`).
pub const DBT_LEASE_CONFIG: &str = "DBT_LEASE_CONFIG";
/// The record's file, where it is not `$XDG_STATE_HOME/dbt-lease/audit.jsonl`.
pub const DBT_LEASE_AUDIT_FILE: &str = "DBT_LEASE_AUDIT_FILE";
/// The hashes of dbt-lease.yml that may be obeyed, or `any`. Only the process's own counts, never one of `.env`.
pub const DBT_LEASE_TRUST: &str = "DBT_LEASE_TRUST";
/// `1`: a project without dbt-lease.yml is refused, by the shim too.
pub const DBT_LEASE_REQUIRED: &str = "DBT_LEASE_REQUIRED";
/// A login in the browser shows its address, and opens no browser (`--no-browser`).
pub const DBT_LEASE_NO_BROWSER: &str = "DBT_LEASE_NO_BROWSER";
/// Set for the child: the session's id. A nested dbt-lease sees by it that it need not lend again.
pub const DBT_LEASE_SESSION: &str = "DBT_LEASE_SESSION";
/// The dbt that the shim `dbt-leased` runs, where it is not the first other `dbt` on PATH.
pub const DBT_LEASE_DBT: &str = "DBT_LEASE_DBT";
/// Set for the child: dbt copies `DBT_ENV_CUSTOM_ENV_*` into its artifacts, so the session's id stands in them.
pub const DBT_ENV_CUSTOM_ENV_LEASE_SESSION: &str = "DBT_ENV_CUSTOM_ENV_LEASE_SESSION";
