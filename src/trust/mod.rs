//! Trust: dbt-lease.yml comes with a checkout and says where tokens go. Before one is read, the user must have said that the
//! file may be obeyed, and no file that decides may be another user's to change.
//!
//! What the user said is tied to the file's values ([`Config::fingerprint`]): any change of them asks again. It is kept in
//! [`store`], or said by DBT_LEASE_TRUST: hashes, or `any`.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::plan::{Loan, Plan};
use crate::variables::{DBT_LEASE_TRUST, Variables};

pub mod account;
mod error;
mod owners;
pub mod store;

pub use error::TrustError;
use store::Store;

/// Refuses a run that the user has not allowed.
///
/// A run that borrows obeys the whole file, so the file must be trusted, and `files` (what else decided: `.env`, the user's
/// settings), dbt-lease.yml and profiles.yml must be ours or root's alone. A run on placeholders asks nobody for anything; it
/// needs trust only where `env:` sets variables that other programs read too, which could lead them anywhere. A run on
/// nothing obeys nothing of the file but which variables are kept from the child.
///
/// # Errors
/// It is not allowed, a file is a stranger's to change, or the store cannot be relied on.
pub fn check(
    config: &Config,
    plan: &Plan,
    files: &[PathBuf],
    variables: &Variables,
) -> Result<(), TrustError> {
    let Some(loan) = &plan.loan else {
        return Ok(());
    };
    let borrows = loan.session.is_some();
    let word = Word::of(variables);
    if word.any || !(borrows || steers(loan)) {
        return Ok(());
    }
    if borrows {
        let deciding = std::iter::once(config.named.as_path())
            .chain(config.extends.iter().map(PathBuf::as_path))
            .chain(plan.profiles_file.as_deref())
            .chain(files.iter().map(PathBuf::as_path));
        for file in deciding {
            owners::check(file)?;
        }
    }
    demand_the_word(config, word, variables, || account::of_plan(plan, loan))
}

/// Refuses a command that obeys the file for the logins of its environments alone, as `sweep` does.
///
/// # Errors
/// As [`check`].
pub fn check_logins(config: &Config, variables: &Variables) -> Result<(), TrustError> {
    check_look(config, &[], variables)
}

/// The same, for a command that looks at what runs would obey: of `files` too it is asked whose they are.
///
/// # Errors
/// As [`check`].
pub fn check_look(
    config: &Config,
    files: &[PathBuf],
    variables: &Variables,
) -> Result<(), TrustError> {
    let word = Word::of(variables);
    if word.any {
        return Ok(());
    }
    for file in std::iter::once(&config.named)
        .chain(&config.extends)
        .chain(files)
    {
        owners::check(file)?;
    }
    demand_the_word(config, word, variables, || {
        vec!["log in to the Vaults that it names".to_owned()]
    })
}

/// Refuses where the user has not said that this file may be obeyed; `would` tells what the command would do.
fn demand_the_word(
    config: &Config,
    word: Word,
    variables: &Variables,
    would: impl FnOnce() -> Vec<String>,
) -> Result<(), TrustError> {
    if word.hashes.contains(&config.fingerprint) {
        return Ok(());
    }
    let store = Store::of(variables);
    if let Some(store) = &store
        && store.has(&config.fingerprint)?
    {
        return Ok(());
    }
    Err(TrustError::NotTrusted {
        file: config.file.clone(),
        fingerprint: config.fingerprint.clone(),
        changed: store
            .as_ref()
            .is_some_and(|store| store.knows(&config.file)),
        would: would(),
        can_be_kept: store.is_some(),
        odd_word: word.odd,
    })
}

/// What the user's own environment says, for `trust --show`; none where it says nothing of this file.
pub fn said(config: &Config, variables: &Variables) -> Result<Option<&'static str>, TrustError> {
    let word = Word::of(variables);
    if word.any {
        return Ok(Some("trusted: DBT_LEASE_TRUST is `any`"));
    }
    if word.hashes.contains(&config.fingerprint) {
        return Ok(Some("trusted: DBT_LEASE_TRUST names this hash"));
    }
    match Store::of(variables) {
        Some(store) if store.has(&config.fingerprint)? => Ok(Some("trusted")),
        _ => Ok(None),
    }
}

/// Whether `env:` sets what programs read by themselves. `DBT_ENV_SECRET_*` is read by `env_var()` alone.
fn steers(loan: &Loan) -> bool {
    loan.lent
        .env
        .iter()
        .any(|bridge| !bridge.name.starts_with("DBT_ENV_SECRET_"))
}

/// DBT_LEASE_TRUST.
struct Word {
    any: bool,
    hashes: Vec<String>,
    /// Something in it is neither `any` nor a hash.
    odd: bool,
}

impl Word {
    fn of(variables: &Variables) -> Self {
        let text = variables.text(DBT_LEASE_TRUST).unwrap_or_default();
        let words = || {
            text.split(|c: char| c == ',' || c.is_whitespace())
                .filter(|word| !word.is_empty())
        };
        let hashes: Vec<String> = words()
            .filter(|word| is_hash(word))
            .map(str::to_ascii_lowercase)
            .collect();
        Self {
            any: words().any(|word| word == "any"),
            odd: words().any(|word| word != "any" && !is_hash(word)),
            hashes,
        }
    }
}

fn is_hash(word: &str) -> bool {
    word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The command that shows this file and asks; it works from any directory.
pub fn command(file: &Path) -> String {
    let path = file.display().to_string();
    let plain = path
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@:,".contains(&byte));
    if plain {
        format!("dbt-lease trust --config {path}")
    } else {
        format!(
            "dbt-lease trust --config '{}'",
            account::shown(&path).replace('\'', r"'\''")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dbt_lease_trust_takes_several_hashes_or_any_and_tells_what_is_neither() {
        let one = "a".repeat(64);
        let read = |text: &str| Word::of(&[(DBT_LEASE_TRUST, text)].into_iter().collect());
        let word = read(&format!("{one},{}  {}", "B".repeat(64), "0".repeat(64)));
        assert_eq!(word.hashes, [one.clone(), "b".repeat(64), "0".repeat(64)]);
        assert!(!word.any && !word.odd);
        assert!(read("any").any && !read("any").odd);
        for odd in [
            "1",
            "true",
            "ANY",
            "anything",
            &one[1..],
            &format!("{one}0"),
        ] {
            let word = read(odd);
            assert!(!word.any && word.hashes.is_empty() && word.odd, "{odd}");
        }
        let none = read("");
        assert!(!none.any && none.hashes.is_empty() && !none.odd);
    }

    #[test]
    fn the_command_can_be_pasted() {
        assert_eq!(
            command(Path::new("/p/dbt-lease.yml")),
            "dbt-lease trust --config /p/dbt-lease.yml"
        );
        assert_eq!(
            command(Path::new("/a b/it's.yml")),
            r"dbt-lease trust --config '/a b/it'\''s.yml'"
        );
    }
}
