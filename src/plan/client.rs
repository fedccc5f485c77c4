//! PostgreSQL's own clients, which `exec` gives the leased target as libpq's variables: `exec --target prod -- psql`.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::Path;

use serde::Serialize;

use super::PlanError;
use crate::dbt::Profile;

/// The programs. Any other command reads profiles.yml by itself, or should not have the credential in its environment.
const PROGRAMS: [&str; 4] = ["psql", "pg_dump", "pg_restore", "pgcli"];
/// The adapters whose outputs say where libpq connects, by the keys of [`READS`].
const ADAPTERS: [&str; 5] = [
    "postgres",
    "redshift",
    "materialize",
    "risingwave",
    "timescaledb",
];
/// Keys of the output, each with its aliases, and libpq's variable. `search_path` and `role` go into PGOPTIONS.
pub const READS: [(&[&str], &str); 10] = [
    (&["host"], "PGHOST"),
    (&["port"], "PGPORT"),
    (&["user"], "PGUSER"),
    (&["password", "pass"], "PGPASSWORD"),
    (&["dbname", "database"], "PGDATABASE"),
    (&["connect_timeout"], "PGCONNECT_TIMEOUT"),
    (&["sslmode"], "PGSSLMODE"),
    (&["sslcert"], "PGSSLCERT"),
    (&["sslkey"], "PGSSLKEY"),
    (&["sslrootcert"], "PGSSLROOTCERT"),
];
/// What libpq obeys before those: a service of its own file would lead elsewhere, with the leased password.
pub(super) const LEADS_ELSEWHERE: [&str; 3] = ["PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR"];

/// A client that gets the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientView {
    /// The program.
    pub program: &'static str,
    /// The variables that it gets, as far as the output has the keys.
    pub variables: Vec<&'static str>,
}

/// The client that a command is.
pub(super) fn of(argv: &[OsString]) -> Option<&'static str> {
    let name = Path::new(argv.first()?).file_name()?;
    PROGRAMS.into_iter().find(|program| name == *program)
}

/// What a client gets of an output.
pub(super) fn view(program: &'static str, profile: &Profile) -> Result<ClientView, PlanError> {
    match profile.adapter.as_deref() {
        Some(adapter) if ADAPTERS.contains(&adapter) => {}
        adapter => {
            return Err(PlanError::OtherDatabase {
                program,
                target: profile.target.clone(),
                adapter: adapter.unwrap_or("not known").to_owned(),
            });
        }
    }
    let has = |key: &&str| {
        let keys = profile.output.map();
        keys.is_some_and(|keys| keys.get(key).is_some())
    };
    let mut variables: Vec<&str> = READS
        .iter()
        // What is lent is set by us.
        .filter(|(keys, name)| keys.iter().any(&has) || ["PGUSER", "PGPASSWORD"].contains(name))
        .map(|(_, name)| *name)
        .collect();
    if has(&"search_path") || has(&"role") {
        variables.push("PGOPTIONS");
    }
    Ok(ClientView { program, variables })
}
