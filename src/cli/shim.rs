//! `dbt-leased`: dbt itself, on leased credentials. A Makefile, an alias or an orchestrator names it instead of dbt.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::arguments::{self, Command};
use super::exec;
use super::failure::Failure;
use super::say::Say;
use crate::supervise::child::{executable, search_path};
use crate::supervise::janitor;
use crate::variables::{DBT_LEASE_DBT, Variables};

/// What `dbt-leased` does: `dbt-lease exec -- DBT ARGUMENTS`, but that a project without dbt-lease.yml runs untouched.
pub fn shim() -> ExitCode {
    // The janitor of a session is this very program.
    if janitor::is_called() {
        return janitor::run();
    }
    // Only the variables of the global options count: all arguments are dbt's.
    let arguments = match arguments::parse(["dbt-lease", "exec", "--", "dbt"]) {
        Ok(arguments) => arguments,
        Err(error) => {
            return arguments::refused(&error, &["dbt-lease".into(), "exec".into()]);
        }
    };
    let Command::Exec(mut exec) = arguments.command else {
        return ExitCode::from(arguments::FAILED_BEFORE_THE_COMMAND);
    };
    let say = Say::new(&arguments.global);
    match real_dbt(&Variables::of_process()) {
        Ok(dbt) => {
            exec.command = std::iter::once(dbt.into())
                .chain(std::env::args_os().skip(1))
                .collect::<Vec<OsString>>();
            exec::run_shim(&say, &arguments.global, &exec)
        }
        Err(failure) => {
            say.failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// The dbt to run: DBT_LEASE_DBT, else the first `dbt` on PATH that is not this program under another name.
fn real_dbt(variables: &Variables) -> Result<PathBuf, Failure> {
    if let Some(dbt) = variables.text(DBT_LEASE_DBT) {
        return Ok(PathBuf::from(dbt));
    }
    let ourselves = std::env::current_exe()
        .ok()
        .and_then(|path| identity(&path));
    std::env::split_paths(search_path(variables))
        .map(|directory| directory.join("dbt"))
        .find(|candidate| executable(candidate).is_ok() && identity(candidate) != ourselves)
        .ok_or_else(|| Failure {
            code: arguments::NOT_FOUND,
            ..Failure::new(
                "not_found",
                "there is no `dbt` on PATH but this program itself",
                Some("install dbt in the environment that PATH names, or set DBT_LEASE_DBT to its path"),
            )
        })
}

/// Device and inode of the file that a path leads to.
fn identity(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|found| (found.dev(), found.ino()))
}
