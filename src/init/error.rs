//! Why nothing is proposed.
#![forbid(unsafe_code)]

use std::path::PathBuf;

/// Why nothing is proposed.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// No profile of any project was found.
    #[error("none of {} has an output of {}", files_in_words(files), profiles.join(", "))]
    NoOutputs {
        /// The files that were read.
        files: Vec<PathBuf>,
        /// The profiles that were looked for, each in backquotes.
        profiles: Vec<String>,
    },
    /// A flag names what is not there.
    #[error("`{flag} {value}` names no {what}; there are {known}")]
    Unknown {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// A target, an environment.
        what: &'static str,
        /// What there is.
        known: String,
    },
    /// One name for several environments.
    #[error("`--role {role}` would give {environments} one login role")]
    SharedRole {
        /// The role.
        role: String,
        /// The environments.
        environments: String,
    },
    /// dbt-lease.yml is not in a form that can be added to.
    #[error("`{}` cannot be added to: {why}", file.display())]
    NotMerged {
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
        /// What is missing in it.
        missing: String,
    },
}

fn files_in_words(files: &[PathBuf]) -> String {
    let names: Vec<String> = files
        .iter()
        .map(|file| format!("`{}`", file.display()))
        .collect();
    names.join(", ")
}

impl InitError {
    /// A stable word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoOutputs { .. } => "no_outputs",
            Self::Unknown { .. } => "unknown_name",
            Self::SharedRole { .. } => "shared_role",
            Self::NotMerged { .. } => "not_merged",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoOutputs { .. } => {
                "name the directory of the right profiles.yml: `dbt-lease init --profiles-dir DIR`"
                    .to_owned()
            }
            Self::Unknown { .. } => return None,
            Self::SharedRole { .. } => {
                "give each its own: `--role ENVIRONMENT=ROLE`, once for each".to_owned()
            }
            Self::NotMerged { missing, .. } => {
                format!("add it by hand, or let `--force` replace the file:\n{missing}")
            }
        })
    }
}
