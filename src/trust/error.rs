//! Why a run is not allowed.
#![forbid(unsafe_code)]

use std::io;
use std::path::PathBuf;

use super::command;

/// A refusal of trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The user has not said that this dbt-lease.yml may be obeyed.
    #[error("`{}` {}; this command would\n    {}", file.display(), state(*changed), would.join("\n    "))]
    NotTrusted {
        /// The file.
        file: PathBuf,
        /// Its hash.
        fingerprint: String,
        /// Whether the user trusted something else that it said before.
        changed: bool,
        /// What it would do, in three lines at most.
        would: Vec<String>,
        /// Whether there is a place to keep the user's word in.
        can_be_kept: bool,
        /// Whether DBT_LEASE_TRUST holds a word that means nothing.
        odd_word: bool,
    },
    /// A file that decides what is lent can be changed by another user.
    #[error("`{}` decides what is lent, and {why}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// Whose it is.
        why: String,
        /// The command that puts it right.
        cure: String,
    },
    /// Neither XDG_STATE_HOME nor HOME says where the user's word is kept.
    #[error("there is no place to keep this in: neither XDG_STATE_HOME nor HOME is set")]
    NoPlace {
        /// The file's hash.
        fingerprint: String,
    },
    /// The place where it is kept could be another's.
    #[error("`{}` is where trust is kept, and {why}", path.display())]
    NotPrivate {
        /// The directory or the file in it.
        path: PathBuf,
        /// In what way.
        why: String,
    },
    /// The place where it is kept cannot be read or written.
    #[error("`{}` is where trust is kept, and cannot be used: {cause}", path.display())]
    Unusable {
        /// The directory or the file in it.
        path: PathBuf,
        /// The kernel's reason.
        cause: io::Error,
    },
}

fn state(changed: bool) -> &'static str {
    if changed {
        "says something else than what you trusted"
    } else {
        "is not trusted yet"
    }
}

impl TrustError {
    /// A stable word for JSON output.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotTrusted { .. } => "not_trusted",
            Self::Foreign { .. } => "foreign_file",
            Self::NoPlace { .. } | Self::NotPrivate { .. } | Self::Unusable { .. } => "trust_store",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotTrusted {
                file,
                fingerprint,
                can_be_kept,
                odd_word,
                ..
            } => {
                let mut hint = if *can_be_kept {
                    format!(
                        "if it may: {}\nin CI, and for services: DBT_LEASE_TRUST={fingerprint}",
                        command(file)
                    )
                } else {
                    format!(
                        "if it may: DBT_LEASE_TRUST={fingerprint} (without HOME and XDG_STATE_HOME there is no other way)"
                    )
                };
                if *odd_word {
                    hint.push_str(
                        "\nDBT_LEASE_TRUST holds a word that is neither `any` nor a hash of 64 hexadecimal digits",
                    );
                }
                hint
            }
            Self::Foreign { cure, .. } => {
                format!("{cure}\nor, where only trusted checkouts run: DBT_LEASE_TRUST=any")
            }
            Self::NoPlace { fingerprint } => format!("say it by DBT_LEASE_TRUST={fingerprint}"),
            Self::NotPrivate { path, .. } => format!(
                "look at it, then make it yours alone: chown $(id -u) {0}; chmod go-w {0}",
                path.display()
            ),
            Self::Unusable { .. } => {
                "make it readable and writable for this user, or say the hash by DBT_LEASE_TRUST"
                    .to_owned()
            }
        })
    }
}
