//! The bridge: a profiles.yml in which every credential is `{{ env_var('DBT_ENV_SECRET_…') }}`, and the variables that feed it. Pure.
//!
//! | file | gives |
//! | --- | --- |
//! | `uses` | each value that dbt reads from an output, with the bytes where it stands |
//! | `form` | what a text is: a literal, one lone `env_var(…)`, another template |
//! | `literal` | credentials inside of other texts and in comments |
//! | `names` | the scheme of names |
//! | `decide` | for each credential: kept, or replaced by which variable |
//! | `edit`, `diff` | the edits in place, and how they are shown without a value |
//! | `verify` | that nothing but the credentials has changed, before anything is written |
//! | `lease` | `env:` for dbt-lease.yml |
//! | `example` | an example of the variables |
#![forbid(unsafe_code)]

mod decide;
pub mod diff;
pub mod edit;
mod error;
pub mod example;
mod form;
pub mod lease;
mod literal;
mod names;
mod uses;
mod verify;

use std::path::Path;

use crate::dbt::yaml::{self, Written};
use edit::Edit;
pub use error::BridgeError;

/// What the user wants otherwise than usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A lone `env_var(…)` whose name is no secret one gets such a name.
    pub rename: bool,
    /// User names stay as they are.
    pub keep_user: bool,
}

/// A profiles.yml with its bridge.
#[derive(Debug)]
pub struct Bridged {
    /// The edits, in the file's order; none where there is nothing to do.
    pub edits: Vec<Edit>,
    /// The new text.
    pub text: String,
    /// The variables, one entry for each value of an output that reads one, in the file's order.
    pub variables: Vec<Variable>,
    /// Credentials that are literals and stay so, since no variable can give them.
    pub left: Vec<Left>,
    /// What else the user should know.
    pub notes: Vec<Note>,
}

/// A value of an output that a variable feeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The variable.
    pub name: String,
    /// The profile; what no profile reads stands under the outermost key of the file.
    pub profile: String,
    /// The target; none for what no output reads.
    pub target: Option<String>,
    /// The key within the output, dotted.
    pub key: String,
    /// `type:` of the output, where it is a plain text.
    pub adapter: Option<String>,
    /// Where the name comes from.
    pub origin: Origin,
    /// Whether the key is one of a credential; else it only shares an anchor with one.
    pub is_credential: bool,
}

/// Where a variable's name comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file had it.
    Kept,
    /// The scheme made it.
    Made,
    /// It had another one.
    Renamed(String),
    /// The scheme made it for a value that was this expression of ours, `vault.NAME.FIELD`.
    Vault(String),
}

/// A literal that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Profile, target, key: dotted.
    pub path: String,
    /// 1-based.
    pub line: usize,
    /// Why.
    pub why: &'static str,
    /// Its bytes: not to be shown.
    pub span: std::ops::Range<usize>,
}

/// What the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A kept variable whose name is no secret one: dbt shows its value in logs where it comes to it.
    NotSecret {
        /// The variable.
        name: String,
        /// Where it is read first, dotted.
        path: String,
        /// 1-based.
        line: usize,
    },
    /// A kept variable had a default, which is gone: it must be set now.
    DefaultDropped {
        /// The variable.
        name: String,
        /// Where it is read first, dotted.
        path: String,
    },
    /// A value that is no credential shares an anchor with one.
    Shared {
        /// The value, dotted.
        path: String,
        /// The variable that it reads now.
        name: String,
    },
    /// A comment that looks like a credential; comments stay as they are.
    Comment {
        /// 1-based.
        line: usize,
        /// Its bytes: not to be shown.
        span: std::ops::Range<usize>,
    },
}

/// Bridges a profiles.yml.
///
/// # Errors
/// What dbt refuses, and what cannot be bridged without changing another value.
pub fn bridge(file: &Path, bytes: &[u8], options: Options) -> Result<Bridged, BridgeError> {
    let before = yaml::load(bytes).map_err(|error| BridgeError::Yaml {
        file: file.to_owned(),
        error,
    })?;
    let (Some(written), Ok(text)) = (Written::of(bytes), std::str::from_utf8(bytes)) else {
        return Err(BridgeError::Empty {
            file: file.to_owned(),
        });
    };
    let found = uses::find(file, &written)?;
    let decided = decide::decide(file, &written, &found, options)?;
    let new = edit::applied(text, &decided.edits);
    verify::verify(&before, new.as_bytes(), &decided.inserted)?;
    let mut notes = decided.notes;
    notes.extend(decide::suspect_comments(text, &written));
    Ok(Bridged {
        edits: decided.edits,
        text: new,
        variables: decided.variables,
        left: decided.left,
        notes,
    })
}
