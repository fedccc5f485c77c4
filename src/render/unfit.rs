//! A secret that does not fit its output's adapter.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt;

use super::error::list;

/// What was there, and what would have been taken.
#[derive(Debug)]
pub struct Unfit {
    /// The secret.
    pub secret: String,
    /// Its path, where it was not asked for yet: nothing that comes from there fits.
    pub path: Option<String>,
    /// `type:` of the output.
    pub adapter: String,
    /// The fields that the adapter takes, a credential each.
    pub wanted: Vec<String>,
    /// The fields that there are.
    pub known: Vec<String>,
    /// The keys of the output that take a credential's field.
    pub keys: Vec<&'static str>,
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the secret `{}`", self.secret)?;
        if let Some(path) = &self.path {
            write!(formatter, " (`{path}`)")?;
        }
        write!(formatter, " does not fit `type: {}`: ", self.adapter)?;
        if self.wanted.is_empty() {
            formatter.write_str("no key of it takes a credential")?;
        } else {
            write!(formatter, "it takes {}", self.wanted.join(", or "))?;
        }
        let gave = match &self.path {
            Some(_) => "its engine gives",
            None => "Vault gave",
        };
        write!(formatter, "; {gave} {}", list(&self.known))
    }
}

impl Unfit {
    /// What to do next.
    pub(super) fn hint(&self) -> String {
        let secret = &self.secret;
        let mut seen = BTreeSet::new();
        let keys: Vec<&str> = self
            .keys
            .iter()
            .copied()
            .filter(|key| seen.insert(*key))
            .collect();
        match keys.first() {
            None => format!(
                "its client reads variables; name them in the long form of the target in dbt-lease.yml, for example\n\
                 \x20   env: {{AWS_ACCESS_KEY_ID: \"{{{{ vault.{secret}.access_key }}}}\"}}"
            ),
            Some(first) => format!(
                "say which key ({}, or another) takes which field, in the long form of the target in dbt-lease.yml:\n\
                 \x20   fields: {{{first}: \"{{{{ vault.{secret}.FIELD }}}}\"}}",
                keys.join(", ")
            ),
        }
    }
}
