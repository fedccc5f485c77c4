//! An output of profiles.yml: whether the connection that gets the credential is encrypted.
#![forbid(unsafe_code)]

use serde_json::{Map, Value};

use super::finding::{Cure, Finding, State};
use crate::config;

/// An output as dbt will see it.
pub struct Output<'a> {
    /// The environment that its target belongs to.
    pub environment: &'a str,
    /// Whether that is protected.
    pub protected: bool,
    /// The profile and target, `jaffle/prod`.
    pub name: String,
    /// The adapter.
    pub adapter: Option<&'a str>,
    /// Its keys, rendered; what cannot be rendered is missing.
    pub keys: Map<String, Value>,
}

impl Output<'_> {
    /// Whether each connection takes a role.
    pub fn has_role(&self) -> bool {
        self.keys.get("role").is_some_and(|role| !role.is_null())
    }
}

/// Looks at `sslmode`, where libpq reads it.
pub fn look(output: &Output<'_>) -> Option<Finding> {
    const ID: &str = "sslmode";
    if !matches!(
        output.adapter,
        Some("postgres" | "redshift" | "materialize" | "greenplum" | "alloydb")
    ) {
        return None;
    }
    let text = |key: &str| output.keys.get(key).and_then(Value::as_str);
    let host = text("host").unwrap_or_default();
    let is_here = host.starts_with('/') || config::is_loopback(host);
    let mode = text("sslmode");
    let said = mode.map_or("no sslmode".to_owned(), |mode| {
        format!("sslmode `{}`", crate::trust::account::shown(mode))
    });
    let is_encrypted = matches!(mode, Some("require" | "verify-ca" | "verify-full"));
    let finding = if is_here {
        Finding::ok(ID, format!("{} connects to this machine", output.name))
    } else if is_encrypted && (!output.protected || mode != Some("require")) {
        Finding::ok(ID, format!("{} has {said}", output.name))
    } else {
        let (state, why) = if is_encrypted {
            (
                State::Warning,
                "whoever stands between can be the server, and gets the password: `require` encrypts, and verifies nobody",
            )
        } else {
            (
                if output.protected || mode == Some("disable") {
                    State::Failure
                } else {
                    State::Warning
                },
                "whoever stands between reads the queries, and can have them sent in clear: without it libpq encrypts only where the server asks",
            )
        };
        Finding::new(state, ID, format!("{} has {said}", output.name), why)
            .cured_by(Cure::Config("sslmode: verify-full".to_owned()))
    };
    Some(finding.of(output.environment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sslmode_is_judged_by_host_and_environment() {
        let state = |host: &str, mode: Option<&str>, protected| {
            let mut keys = Map::new();
            keys.insert("host".to_owned(), host.into());
            if let Some(mode) = mode {
                keys.insert("sslmode".to_owned(), mode.into());
            }
            let output = Output {
                environment: "e",
                protected,
                name: "p/t".to_owned(),
                adapter: Some("postgres"),
                keys,
            };
            look(&output).expect("postgres").state
        };
        assert_eq!(state("127.0.0.1", Some("disable"), true), State::Ok);
        assert_eq!(state("db", Some("disable"), false), State::Failure);
        assert_eq!(state("db", None, false), State::Warning);
        assert_eq!(state("db", None, true), State::Failure);
        assert_eq!(state("db", Some("require"), false), State::Ok);
        assert_eq!(state("db", Some("require"), true), State::Warning);
        assert_eq!(state("db", Some("verify-full"), true), State::Ok);
    }
}
