//! What can be wrong with dbt-lease.yml. A value that may be a secret is never quoted here, only keys and places.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::place::{Place, Spot};

/// Two environments that say the same thing, where each does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twice {
    /// The environment that says it first.
    pub earlier: String,
    /// Where.
    pub first: Place,
    /// The environment that says it again.
    pub later: String,
    /// Where.
    pub second: Place,
}

impl Twice {
    /// The two places, the earlier first.
    pub fn spots(&self) -> Vec<Spot> {
        let first = Spot {
            at: self.first.clone(),
            label: "already here",
            is_main: false,
        };
        vec![first, Spot::main(self.second.clone())]
    }
}

/// Why dbt-lease.yml, or a Vault variable that completes it, cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `--config` or DBT_LEASE_CONFIG names a file that is not there.
    #[error("{}: no such file, though {said} names it", file.display())]
    NotFound {
        /// The file as it was named.
        file: PathBuf,
        /// `--config` or the variable.
        said: &'static str,
    },
    /// The file is there under a name that is not read.
    #[error("{}: not read, since the configuration is named dbt-lease.yml", found.display())]
    Misnamed {
        /// What is there.
        found: PathBuf,
        /// Where it should be.
        expected: PathBuf,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {problem}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's words.
        problem: String,
    },
    /// Nothing but space and comments.
    #[error("{}: empty", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// Not YAML.
    #[error("{at}: not valid YAML: {problem}")]
    Syntax {
        /// Where the parser gave up.
        at: Place,
        /// Its words.
        problem: String,
    },
    /// A key that means nothing here.
    #[error("{at}: unknown key `{key}`{}", inside(parent))]
    UnknownKey {
        /// Where the key stands.
        at: Place,
        /// The key.
        key: String,
        /// The key path of the mapping, empty at the top.
        parent: String,
        /// What to do.
        hint: String,
    },
    /// A word of the design that this version does not know yet.
    #[error("{at}: `{what}` is not there yet in dbt-lease {}", short_version())]
    NotYet {
        /// Where it stands.
        at: Place,
        /// The key path, with the value where that is what is missing.
        what: String,
        /// What to do meanwhile.
        hint: String,
    },
    /// A value of another kind.
    #[error("{at}: `{key}` must be {expected}, not {found}")]
    WrongType {
        /// Where the value stands.
        at: Place,
        /// Its key path.
        key: String,
        /// What is wanted, with an example.
        expected: String,
        /// The kind that is there; never the value.
        found: &'static str,
    },
    /// A value of the right kind that cannot be used.
    #[error("{at}: `{key}`: {problem}")]
    BadValue {
        /// Where the value stands.
        at: Place,
        /// Its key path.
        key: String,
        /// What is wrong.
        problem: String,
        /// What to write instead.
        hint: String,
    },
    /// A key that must be there is not.
    #[error("{at}: {what} is missing{}", inside(parent))]
    Missing {
        /// Where the mapping begins.
        at: Place,
        /// `` `version` `` or ``one of `role_id`, `role_id_file` ``.
        what: String,
        /// The key path of the mapping, empty at the top.
        parent: String,
        /// What to write.
        hint: String,
    },
    /// Two keys that say the same thing, or contradict each other.
    #[error("{at}: {} stand together{}", listed(keys), inside(parent))]
    Conflict {
        /// Where the second stands.
        at: Place,
        /// The keys.
        keys: Vec<String>,
        /// The key path of the mapping.
        parent: String,
        /// Which to keep.
        hint: String,
    },
    /// What looks like a secret, in a file that is committed.
    #[error("{at}: `{key}` {looks}; dbt-lease.yml holds no secret")]
    LiteralSecret {
        /// Where it stands.
        at: Place,
        /// The key path.
        key: String,
        /// What gives it away, after the key.
        looks: String,
        /// What to write instead.
        hint: String,
    },
    /// A target that stands twice.
    #[error(
        "{}: target {target} stands in environment `{}`, and already in environment `{}` ({})",
        twice.second, twice.later, twice.earlier, line_of(&twice.first)
    )]
    TargetTwice {
        /// The two environments, which may be one.
        twice: Box<Twice>,
        /// `` `prod` `` or `` `prod` of profile `edr` ``.
        target: String,
    },
    /// A target that needs a login in an environment that has none.
    #[error(
        "{at}: target `{target}` needs a secret, but environment `{environment}` has no `auth`"
    )]
    NoLogin {
        /// Where the target stands.
        at: Place,
        /// Its key.
        target: String,
        /// Its environment.
        environment: String,
    },
    /// Two environments that are not kept apart.
    #[error(
        "{}: environment `{}` shares {what} with environment `{}` ({})",
        twice.second, twice.later, twice.earlier, line_of(&twice.first)
    )]
    NotIsolated {
        /// The two environments.
        twice: Box<Twice>,
        /// What both have: a role, a path, a source of tokens.
        what: String,
        /// How to keep them apart.
        hint: &'static str,
    },
    /// A variable of Vault's that cannot be used.
    #[error("variable {name}: {problem}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong; never the value.
        problem: &'static str,
        /// What to set.
        hint: &'static str,
    },
}

impl ConfigError {
    /// A stable word for JSON output.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "config_not_found",
            Self::Misnamed { .. } => "config_misnamed",
            Self::Unreadable { .. } => "config_unreadable",
            Self::Empty { .. } => "config_empty",
            Self::Syntax { .. } => "config_syntax",
            Self::UnknownKey { .. } => "config_unknown_key",
            Self::NotYet { .. } => "config_not_there_yet",
            Self::WrongType { .. } => "config_wrong_type",
            Self::BadValue { .. } => "config_bad_value",
            Self::Missing { .. } => "config_missing_key",
            Self::Conflict { .. } => "config_conflict",
            Self::LiteralSecret { .. } => "config_literal_secret",
            Self::TargetTwice { .. } => "config_target_twice",
            Self::NoLogin { .. } => "config_no_login",
            Self::NotIsolated { .. } => "config_not_isolated",
            Self::Variable { .. } => "config_variable",
        }
    }

    /// Where it points to, in the order of the file.
    pub fn spots(&self) -> Vec<Spot> {
        match self {
            Self::Syntax { at, .. }
            | Self::UnknownKey { at, .. }
            | Self::NotYet { at, .. }
            | Self::WrongType { at, .. }
            | Self::BadValue { at, .. }
            | Self::Missing { at, .. }
            | Self::Conflict { at, .. }
            | Self::LiteralSecret { at, .. }
            | Self::NoLogin { at, .. } => vec![Spot::main(at.clone())],
            Self::TargetTwice { twice, .. } | Self::NotIsolated { twice, .. } => twice.spots(),
            Self::NotFound { .. }
            | Self::Misnamed { .. }
            | Self::Unreadable { .. }
            | Self::Empty { .. }
            | Self::Variable { .. } => Vec::new(),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { said, .. } => Some(format!(
                "correct {said}, or leave it out: dbt-lease.yml beside dbt_project.yml is found"
            )),
            Self::Misnamed { found, expected } => {
                Some(format!("mv {} {}", found.display(), expected.display()))
            }
            Self::Unreadable { .. } => {
                Some("name a dbt-lease.yml that this user can read".to_owned())
            }
            Self::Empty { .. } => Some(format!("the shortest that works:\n{SHORTEST}")),
            Self::Syntax { problem, .. } => Some(
                if problem.starts_with("duplicate") {
                    "a key stands once in a mapping: remove one of the two"
                } else if problem.starts_with("more than one") {
                    "keep one: remove the line `---` and what follows"
                } else if problem == "not UTF-8" {
                    "save the file as UTF-8"
                } else {
                    "quote what holds `: `, `#`, `{` or `*`; indent by spaces, not tabs"
                }
                .to_owned(),
            ),
            Self::UnknownKey { hint, .. }
            | Self::NotYet { hint, .. }
            | Self::BadValue { hint, .. }
            | Self::Missing { hint, .. }
            | Self::Conflict { hint, .. }
            | Self::LiteralSecret { hint, .. } => Some(hint.clone()),
            Self::WrongType { .. } => None,
            Self::TargetTwice { .. } => {
                Some("a target belongs to one environment: remove one of the two".to_owned())
            }
            Self::NoLogin {
                environment,
                target,
                ..
            } => Some(format!(
                "give `environments.{environment}` its `auth: {{method: approle, …}}`, or say `{target}: none` if it needs nothing from Vault"
            )),
            Self::NotIsolated { hint, .. } => Some((*hint).to_owned()),
            Self::Variable { hint, .. } => Some((*hint).to_owned()),
        }
    }
}

const SHORTEST: &str = "    version: 1
    environments:
      production:
        protected: true
        auth: {method: approle, role_id_env: DBT_ROLE_ID, secret_id_file: /run/secrets/dbt_secret_id}
        targets:
          prod: database/creds/dbt-production";

/// `0.1`
fn short_version() -> String {
    format!(
        "{}.{}",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR")
    )
}

fn inside(parent: &str) -> String {
    if parent.is_empty() {
        String::new()
    } else {
        format!(" in `{parent}`")
    }
}

fn line_of(place: &Place) -> String {
    match place.line {
        Some(line) => format!("line {line}"),
        None => place.file.display().to_string(),
    }
}

/// `` `a` and `b` ``
fn listed(keys: &[String]) -> String {
    keys.iter()
        .map(|key| format!("`{key}`"))
        .collect::<Vec<_>>()
        .join(" and ")
}
