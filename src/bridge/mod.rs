//! The bridge: a profiles.yml in which every credential is `{{ env_var('DBT_ENV_SECRET_…') }}`, and the variables that feed it. Pure.
//!
//! | file | gives |
//! | --- | --- |
//! | `uses` | each value that dbt reads from an output, with the bytes where it stands |
//! | `usable` | whether dbt could use anything in the file at all |
//! | `form` | what a text is: a literal, one lone `env_var(…)`, another template |
//! | `literal` | credentials inside of other texts and in comments |
//! | `names` | the scheme of names |
//! | `decide` | for each credential: kept, or replaced by which variable |
//! | `edit`, `diff` | the edits in place, and how they are shown without a value |
//! | `notes` | what the user should know beside that |
//! | `seen` | each credential of a file, and what stands under its key, for those who only look |
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
mod notes;
pub mod seen;
mod usable;
mod uses;
mod verify;

use std::path::Path;

use crate::dbt::yaml::{self, Merging, Written};
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

/// Without the text: comments and numbers stay in it, whatever they are.
impl std::fmt::Debug for Bridged {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Bridged")
            .field("edits", &self.edits)
            .field("variables", &self.variables)
            .field("left", &self.left)
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
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
    /// A user's name that is a word which stands elsewhere too: in a secret variable, dbt hides it wherever it comes in a log line.
    Word {
        /// The value, dotted.
        path: String,
    },
    /// A comment that looks like a credential; comments stay as they are.
    Comment {
        /// 1-based.
        line: usize,
        /// Its bytes: not to be shown.
        span: std::ops::Range<usize>,
    },
}

/// The variable that a text is the value of, where it is `{{ env_var('NAME') }}` and nothing else.
pub fn lone_variable(text: &str) -> Option<String> {
    match form::Form::of(text) {
        form::Form::Lone(lone) => Some(lone.name),
        _ => None,
    }
}

/// Bridges a profiles.yml. `merging` is how dbt's PyYAML merges (`<<`); where that is not known, either will do, since every literal goes.
///
/// # Errors
/// What dbt refuses, and what cannot be bridged without changing another value.
pub fn bridge(
    file: &Path,
    bytes: &[u8],
    merging: Option<Merging>,
    options: Options,
) -> Result<Bridged, BridgeError> {
    let merging = merging.unwrap_or(Merging::FirstWins);
    let before = yaml::load_merging(bytes, Some(merging)).map_err(|error| BridgeError::Yaml {
        file: file.to_owned(),
        error,
    })?;
    let (Some(written), Ok(text)) = (Written::of(bytes, merging), std::str::from_utf8(bytes))
    else {
        return Err(BridgeError::Empty {
            file: file.to_owned(),
        });
    };
    let found = uses::find(file, &written)?;
    usable::check(file, &written, &found)?;
    let decided = decide::decide(file, &written, &found, options)?;
    let new = edit::applied(text, &decided.edits);
    verify::verify(&before, new.as_bytes(), merging, &decided.inserted)?;
    let mut told = decided.notes;
    told.extend(notes::suspect_comments(text, &written));
    Ok(Bridged {
        edits: decided.edits,
        text: new,
        variables: decided.variables,
        left: decided.left,
        notes: told,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::{BridgeError, Note, Options, bridge};

    fn bridged(text: &str) -> super::Bridged {
        bridge(
            Path::new("profiles.yml"),
            text.as_bytes(),
            None,
            Options::default(),
        )
        .expect("it is bridged")
    }

    #[test]
    fn numbers_and_truth_values_stay_and_are_told() {
        let made = bridged(
            "p:\n  outputs:\n    t: {type: mysql, password: 123, server: s}\n    u: {type: mysql, password: yes}\n    v: {type: mysql, use_password: yes, password: ~}\n",
        );
        assert!(made.edits.is_empty() && made.variables.is_empty());
        let left: Vec<(&str, usize)> = made
            .left
            .iter()
            .map(|left| (left.path.as_str(), left.line))
            .collect();
        assert_eq!(left, [("p.t.password", 3), ("p.u.password", 4)]);
    }

    #[test]
    fn an_output_that_dbt_refuses_does_not_keep_the_others_from_being_bridged() {
        let broken = "p:\n  outputs:\n    bad: {type: mysql, token: 'a{{b', password: 'c{{d'}\n";
        let error = bridge(
            Path::new("profiles.yml"),
            broken.as_bytes(),
            None,
            Options::default(),
        );
        assert_eq!(error.err().map(|error| error.kind()), Some("template"));
        let made = bridged(&format!("{broken}    good: {{type: mysql, password: x}}\n"));
        let names: Vec<&str> = made
            .variables
            .iter()
            .map(|variable| variable.name.as_str())
            .collect();
        // Under `password` dbt takes the text as it is.
        assert_eq!(
            names,
            [
                "DBT_ENV_SECRET_P_BAD_PASSWORD",
                "DBT_ENV_SECRET_P_GOOD_PASSWORD"
            ]
        );
        assert_eq!(made.left.len(), 1);
    }

    #[test]
    fn users_whose_names_are_words_of_the_log_are_told() {
        let made = bridged(
            "p:\n  outputs:\n    t: {type: postgres, dbname: shop, user: shop, password: x}\n    u: {type: postgres, user: v_20241124, password: x}\n",
        );
        let words: Vec<&str> = made
            .notes
            .iter()
            .filter_map(|note| match note {
                Note::Word { path } => Some(path.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(words, ["p.t.user"]);
    }

    #[test]
    fn comments_that_look_like_credentials_are_told_by_their_lines() {
        let made = bridged(
            "p: # password: one\n  outputs: {t: {type: x, url: \"a # password: two\"}}\n# token: three\n# host: four\n",
        );
        let lines: Vec<usize> = made
            .notes
            .iter()
            .filter_map(|note| match note {
                Note::Comment { line, .. } => Some(*line),
                _ => None,
            })
            .collect();
        assert_eq!(lines, [1, 3]);
    }

    #[test]
    fn no_error_and_no_debug_form_shows_a_value() {
        let text = "p: {outputs: {t: {type: postgres, user: u, password: s3cret}}} # s3cret\n";
        assert!(!format!("{:?}", bridged(text)).contains("s3cret"));
    }

    #[test]
    fn an_empty_text_behind_its_tag_or_anchor_gets_a_place_of_its_own() {
        for properties in ["!!str", "!!str ", "&a !!str", "!!str &a"] {
            let text = format!(
                "p:\n  outputs:\n    t:\n      type: x\n      token: {properties}\n      b: 1\n"
            );
            let made = bridged(&text);
            let line = format!("token: {} \"{{{{", properties.trim_end());
            assert!(made.text.contains(&line), "{}", made.text);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_bridged_or_refused_and_never_a_mistake_of_ours(
            text in "(p:\n  outputs:\n    t:\n      type: x\n)?( {0,8}(password|user|token|key_id|outputs|<<|\"a\"|- |\\? |secrets)?: ?|&a |\\*a|!!str |[\\[\\]{}|>,#'\"-]|x y|\\{\\{ env_var\\('A'(, 'b')?\\) \\}\\}|[0-9]{1,3}|é|\n|\r\n){0,24}"
        ) {
            match bridge(Path::new("profiles.yml"), text.as_bytes(), None, Options::default()) {
                Err(BridgeError::Unverified) => prop_assert!(false, "{text:?}"),
                Err(_) => {}
                Ok(made) => {
                    let again = bridge(Path::new("profiles.yml"), made.text.as_bytes(), None, Options::default());
                    prop_assert!(again.is_ok_and(|again| again.edits.is_empty()), "{text:?}");
                }
            }
        }
    }
}
