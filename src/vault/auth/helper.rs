//! Where Vault's own program keeps a user's token: a helper program that `~/.vault` or `~/.bao` names, else a file. We have no store of our
//! own.
//!
//! `token_helper = "PROGRAM"` of BAO_CONFIG_PATH, VAULT_CONFIG_PATH, `~/.bao` or `~/.vault` is called as `PROGRAM get`, and `PROGRAM store`
//! with the token on its stdin; the file is BAO_TOKEN_PATH, VAULT_TOKEN_PATH or `~/.vault-token`.
#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::source::{self, Found};
use crate::process;
use crate::secret::Secret;
use crate::variables::Variables;
use crate::vault::error::{Place, SourceProblem, VaultError};

const WHAT: &str = "token";
/// Keyrings may ask their owner.
const PATIENCE: Duration = Duration::from_secs(60);

/// The user's token, where there is one.
pub(super) async fn get(variables: &Variables) -> Result<Option<Found>, VaultError> {
    let absent = |error: &VaultError| {
        matches!(
            error,
            VaultError::Source {
                problem: SourceProblem::NoFile | SourceProblem::Empty,
                ..
            }
        )
    };
    let found = match program(variables) {
        Some(program) => source::command(WHAT, &[program, "get".to_owned()], variables).await,
        None => match file(variables) {
            Some(path) => source::file(WHAT, &path),
            None => return Ok(None),
        },
    };
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps a token.
pub(super) async fn store(variables: &Variables, token: &Secret) -> Result<(), VaultError> {
    if let Some(program) = program(variables) {
        let words = [program, "store".to_owned()];
        return process::output_of(&words, variables, Some(token.expose()), PATIENCE)
            .await
            .map(drop)
            .map_err(|error| VaultError::Source {
                what: WHAT,
                place: Place::Command(words.join(" ")),
                problem: source::of_process(error),
            });
    }
    let Some(path) = file(variables) else {
        return Ok(());
    };
    write(&path, token).map_err(|error| VaultError::Source {
        what: WHAT,
        place: Place::File(path.clone()),
        problem: SourceProblem::Io(error.to_string()),
    })
}

/// The helper program that the user's configuration of Vault's own program names.
pub(super) fn program(variables: &Variables) -> Option<String> {
    let home = variables.text("HOME").map(Path::new);
    let named = ["BAO_CONFIG_PATH", "VAULT_CONFIG_PATH"]
        .into_iter()
        .find_map(|name| variables.text(name).map(PathBuf::from));
    let candidates = match named {
        Some(file) => vec![file],
        None => [".bao", ".vault"]
            .into_iter()
            .filter_map(|name| Some(home?.join(name)))
            .collect(),
    };
    candidates
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .find_map(|text| helper_of(&text))
}

/// `token_helper = "PROGRAM"` of a configuration file, which has no other key of weight.
fn helper_of(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find_map(|line| {
        line.trim_start_matches('"')
            .strip_prefix("token_helper")
            .map(|rest| rest.trim_start_matches('"').trim_start())
    })?;
    let value = line.strip_prefix(['=', ':'])?.trim();
    let program = value.strip_prefix('"')?.split('"').next()?;
    // A relative one would be another program in each directory.
    Path::new(program).is_absolute().then(|| program.to_owned())
}

/// The token file.
pub(super) fn file(variables: &Variables) -> Option<PathBuf> {
    let named = variables
        .os("BAO_TOKEN_PATH")
        .or_else(|| variables.os("VAULT_TOKEN_PATH"));
    match named.filter(|path| !path.is_empty()) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(
            PathBuf::from(variables.os("HOME").filter(|home| !home.is_empty())?)
                .join(".vault-token"),
        ),
    }
}

/// Replaces the file by a new one of mode 0600, whole or not at all.
fn write(path: &Path, token: &Secret) -> std::io::Result<()> {
    let beside = path.with_extension(format!("dbt-lease-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            // A umask may have taken our own bits away, and the next login could not read what this one has kept.
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(token.expose().as_bytes())
        })
        .and_then(|()| fs::rename(&beside, path));
    if let Err(error) = &written
        && error.kind() != ErrorKind::AlreadyExists
    {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_read_from_vault_s_own_configuration() {
        for (text, program) in [
            (
                "token_helper = \"/usr/bin/helper\"\n",
                Some("/usr/bin/helper"),
            ),
            ("# mine\n  token_helper=\"/h\" # x", Some("/h")),
            ("{\"token_helper\": \"/h\"}", None),
            ("\"token_helper\": \"/h\"", Some("/h")),
            ("token_helper = \"helper\"", None),
            ("token_helper = \"\"", None),
            ("# token_helper = \"/h\"", None),
            ("", None),
        ] {
            assert_eq!(helper_of(text).as_deref(), program, "{text}");
        }
    }

    /// Where the test below writes, when it runs itself under another umask.
    const DIRECTORY: &str = "DBT_LEASE_TEST_TOKEN_DIRECTORY";

    #[test]
    fn the_file_is_replaced_by_one_that_only_its_owner_can_read_whatever_the_umask_is() {
        let told = Variables::of_process().os(DIRECTORY).map(PathBuf::from);
        if let Some(directory) = told {
            write(
                &directory.join(".vault-token"),
                &Secret::new("new".to_owned()),
            )
            .expect("replaced");
            return;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(".vault-token");
        // A umask is the whole process's: each has one of its own.
        for umask in ["000", "777"] {
            fs::write(&path, "old").expect("written");
            let ended = std::process::Command::new("sh")
                .args(["-c", "umask $0; exec \"$@\"", umask])
                .arg(std::env::current_exe().expect("this program"))
                .args(["--exact", concat!(module_path!(), "::the_file_is_replaced_by_one_that_only_its_owner_can_read_whatever_the_umask_is").split_once("::").expect("a path").1])
                .env(DIRECTORY, directory.path())
                .output()
                .expect("sh starts");
            assert!(ended.status.success(), "{ended:?}");
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "umask {umask}");
            assert_eq!(fs::read_to_string(&path).expect("read"), "new");
            assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 1);
        }
    }
}
