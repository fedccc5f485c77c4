//! The child's environment: ours, less what logs in, and with what points dbt to its private directory.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use crate::secret::Secret;
use crate::variables::{DBT_ENV_CUSTOM_ENV_LEASE_SESSION, DBT_LEASE_SESSION, Variables};

/// The variables that the child gets from us.
#[derive(Debug, Default)]
pub struct Additions<'a> {
    /// The private profiles directory.
    pub profiles_dir: Option<&'a Path>,
    /// The session's id.
    pub session: Option<&'a str>,
    /// The bridge's variables.
    pub bridge: &'a [(String, Secret)],
    /// dbt's own variables for a command that is not dbt, by their name without `DBT_`: what we were told before `--`, so that a dbt that
    /// it starts chooses the same.
    pub selection: Vec<(&'static str, OsString)>,
}

/// The child's environment.
///
/// Both names are set of what dbt reads under two (`DBT_ENGINE_X` wins over `DBT_X`, dbt ≥ 1.11), and a name that `.env` sets is not
/// taken from it when the process has it.
pub fn for_child(
    ours: &Variables,
    withheld: &BTreeSet<String>,
    additions: &Additions<'_>,
) -> Variables {
    let mut variables = ours.clone();
    for name in withheld {
        variables.remove(name);
    }
    add(&mut variables, additions);
    variables
}

/// The additions alone, for a shell.
pub fn alone(additions: &Additions<'_>) -> Variables {
    let mut variables = Variables::default();
    add(&mut variables, additions);
    variables
}

fn add(variables: &mut Variables, additions: &Additions<'_>) {
    if let Some(directory) = additions.profiles_dir {
        set_both(variables, "PROFILES_DIR", directory.as_os_str());
    }
    for (name, value) in &additions.selection {
        set_both(variables, name, value);
    }
    if let Some(session) = additions.session {
        variables.set(DBT_LEASE_SESSION, session);
        variables.set(DBT_ENV_CUSTOM_ENV_LEASE_SESSION, session);
    }
    for (name, value) in additions.bridge {
        variables.set(name, value.expose());
    }
}

fn set_both(variables: &mut Variables, name: &str, value: &std::ffi::OsStr) {
    variables.set(format!("DBT_{name}"), value);
    variables.set(format!("DBT_ENGINE_{name}"), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_sources_are_withheld_and_both_names_point_to_the_private_directory() {
        let ours: Variables = [
            ("VAULT_TOKEN", "t"),
            ("DBT_ENGINE_PROFILES_DIR", "/old"),
            ("PATH", "/bin"),
        ]
        .into_iter()
        .collect();
        let withheld = BTreeSet::from(["VAULT_TOKEN".to_owned()]);
        let additions = Additions {
            profiles_dir: Some(Path::new("/new")),
            session: Some("s1"),
            ..Additions::default()
        };
        let child = for_child(&ours, &withheld, &additions);
        assert_eq!(child.text("VAULT_TOKEN"), None);
        assert_eq!(child.text("DBT_PROFILES_DIR"), Some("/new"));
        assert_eq!(child.text("DBT_ENGINE_PROFILES_DIR"), Some("/new"));
        assert_eq!(child.text("DBT_ENV_CUSTOM_ENV_LEASE_SESSION"), Some("s1"));
        assert_eq!(child.text("PATH"), Some("/bin"));
    }
}
