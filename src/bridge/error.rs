//! Why a profiles.yml is not bridged.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::dbt::yaml::YamlError;
use crate::place::{Place, Spot};

/// Why a profiles.yml is not bridged. The file is untouched.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// It is no YAML as dbt reads it.
    #[error("`{}` is not valid: {error}", file.display())]
    Yaml {
        /// profiles.yml.
        file: PathBuf,
        /// The loader's error, with its place.
        error: YamlError,
    },
    /// Nothing stands in it.
    #[error("`{}` is empty", file.display())]
    Empty {
        /// profiles.yml.
        file: PathBuf,
    },
    /// dbt could use none of its outputs.
    #[error("{}: dbt could use nothing in this file: {why}", at.in_words())]
    Unusable {
        /// The first place that dbt refuses.
        at: Place,
        /// What dbt refuses there.
        why: String,
    },
    /// One key under two spellings.
    #[error("{}: `{first}` and `{second}` are one key in two spellings, which dbt refuses", at.in_words())]
    TwoSpellings {
        /// Where the second stands.
        at: Place,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A template of a credential that dbt cannot read.
    #[error("{}: dbt cannot render `{path}`: {why}", at.in_words())]
    Template {
        /// Where the key stands.
        at: Place,
        /// Profile, target, key: dotted.
        path: String,
        /// dbt's reason; holds no value.
        why: String,
    },
    /// A credential's anchor is used where no variable can stand.
    #[error("{}: `{path}` shares an anchor (&…) with {other}, which must stay as it is", at.in_words())]
    SharedAnchor {
        /// Where the credential stands.
        at: Place,
        /// Profile, target, key: dotted.
        path: String,
        /// What else uses it.
        other: &'static str,
    },
    /// Aliases that unfold beyond all reason.
    #[error("`{}` has more than {most} values with its aliases written out", file.display())]
    TooLarge {
        /// profiles.yml.
        file: PathBuf,
        /// The limit.
        most: usize,
    },
    /// The result is not what was meant.
    #[error(
        "a mistake in dbt-lease: the edited text would differ from the old one in more than its credentials; nothing was changed"
    )]
    Unverified,
}

impl BridgeError {
    /// A stable word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Yaml { .. } => "yaml",
            Self::Empty { .. } => "empty_profiles_file",
            Self::Unusable { .. } => "bad_profile",
            Self::TwoSpellings { .. } => "two_spellings",
            Self::Template { .. } => "template",
            Self::SharedAnchor { .. } => "shared_anchor",
            Self::TooLarge { .. } => "too_large",
            Self::Unverified => "bug",
        }
    }

    /// Where it points to.
    pub fn spots(&self) -> Vec<Spot> {
        match self {
            Self::Unusable { at, .. }
            | Self::TwoSpellings { at, .. }
            | Self::Template { at, .. }
            | Self::SharedAnchor { at, .. } => vec![Spot::main(at.clone())],
            _ => Vec::new(),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Yaml { error, .. } => return error.hint(),
            Self::Empty { .. } => return None,
            Self::Unusable { .. } => {
                "mend it until `dbt debug` can read it, then bridge it".to_owned()
            }
            Self::TwoSpellings { first, second, .. } => {
                format!("leave one of `{first}` and `{second}`")
            }
            Self::Template { .. } => {
                "close its braces; braces of the value itself go into quotes: `{{ '{{' }}`"
                    .to_owned()
            }
            Self::SharedAnchor { .. } => "write the value out in one of the two places".to_owned(),
            Self::TooLarge { .. } => "write the values out instead of nesting aliases".to_owned(),
            Self::Unverified => {
                "please report it, with the file's shape and without its values".to_owned()
            }
        })
    }
}
