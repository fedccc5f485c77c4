//! What can be wrong with a YAML text, and with a tree that is to become one.
#![forbid(unsafe_code)]

use thiserror::Error;

use super::Mark;
use super::limits::{MAX_BYTES, MAX_DEPTH, MAX_EMITTED_BYTES, MAX_EMITTED_NODES, MAX_NODES};

/// A YAML text that dbt would refuse, or that goes beyond our limits. It never holds text of the file: a value that begins
/// with `!`, `*`, `&` or `@` and stands without quotes may be a password.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {}, column {}: {problem}", .mark.line, .mark.column)]
pub struct YamlError {
    /// Where it was found.
    pub mark: Mark,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a YAML text.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// Bytes that are no UTF-8.
    #[error("the file is not UTF-8 text")]
    NotUtf8,
    /// Beyond `MAX_BYTES`.
    #[error("the file is larger than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    /// A character that may not stand in YAML.
    #[error("a control character that YAML does not allow")]
    ControlCharacter,
    /// libyaml's words for what it could not read.
    #[error("{what}{}", context(.during))]
    Syntax {
        /// The problem.
        what: &'static str,
        /// What was being read.
        during: Option<&'static str>,
    },
    /// A character that only quotes let a value begin with.
    #[error("a value cannot begin with this character unless it is in quotes")]
    ReservedCharacter,
    /// A tab where YAML wants spaces.
    #[error("a tab character where YAML allows only spaces")]
    Tab,
    /// `{{ … }}` that YAML reads as a map.
    #[error("a template that is not in quotes, so YAML reads its braces as a map")]
    UnquotedTemplate,
    /// `&name` twice.
    #[error("an anchor (&…) whose name is already taken in this file")]
    DuplicateAnchor,
    /// `*name` without `&name` before it.
    #[error("an alias (*…) without an anchor (&…) of that name before it")]
    UndefinedAlias,
    /// `*name` inside the very node that `&name` marks.
    #[error("an alias (*…) inside the node that it stands for")]
    RecursiveAlias,
    /// `---` in the middle.
    #[error("a second document begins here; dbt reads files of one document")]
    SecondDocument,
    /// `!name`, `!!python/…`.
    #[error("a tag (!…) that dbt does not know")]
    UnknownTag,
    /// `=` or `<<` as a value.
    #[error("this lone sign has a meaning of its own in YAML 1.1, and none as a value")]
    LoneSign,
    /// A list or a map as a key.
    #[error("a list or a map cannot be a key")]
    UnhashableKey,
    /// A scalar that its type's rules refuse: `2024-13-01`, `!!int abc`.
    #[error("this reads as {0}, but it is none that can be")]
    BadScalar(&'static str),
    /// A tag on a node of another shape.
    #[error("the tag of this node wants {0}")]
    WrongShape(&'static str),
    /// `<<: text`
    #[error("`<<` takes a map or a list of maps")]
    BadMerge,
    /// What PyYAML 6.0.4 merges otherwise than those before it.
    #[error(
        "what `<<` merges here has one key with several values, and which of them counts depends on the version of PyYAML, which is not known"
    )]
    MergeConflict,
    /// Beyond `MAX_DEPTH`.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Beyond `MAX_NODES`, merged keys included.
    #[error("more than {MAX_NODES} values, or merges (<<) that come to as many")]
    TooManyNodes,
    /// The vendored parser met what it takes for impossible.
    #[error("the YAML parser of dbt-lease failed")]
    Bug,
}

fn context(during: &Option<&'static str>) -> String {
    during
        .map(|during| format!(" ({during})"))
        .unwrap_or_default()
}

impl YamlError {
    pub(super) fn new(problem: Problem, mark: Mark) -> Self {
        Self { mark, problem }
    }

    /// 1-based.
    pub fn line(&self) -> usize {
        self.mark.line
    }

    /// 1-based, in characters.
    pub fn column(&self) -> usize {
        self.mark.column
    }

    /// A stable word for machines.
    pub fn kind(&self) -> &'static str {
        match self.problem {
            Problem::NotUtf8 => "yaml_not_utf8",
            Problem::TooLarge => "yaml_too_large",
            Problem::ControlCharacter => "yaml_control_character",
            Problem::Syntax { .. } | Problem::ReservedCharacter => "yaml_syntax",
            Problem::Tab => "yaml_tab",
            Problem::UnquotedTemplate => "yaml_unquoted_template",
            Problem::DuplicateAnchor => "yaml_duplicate_anchor",
            Problem::UndefinedAlias => "yaml_undefined_alias",
            Problem::RecursiveAlias => "yaml_recursive_alias",
            Problem::SecondDocument => "yaml_second_document",
            Problem::UnknownTag => "yaml_unknown_tag",
            Problem::LoneSign | Problem::BadScalar(_) | Problem::WrongShape(_) => "yaml_bad_value",
            Problem::UnhashableKey => "yaml_unhashable_key",
            Problem::BadMerge => "yaml_bad_merge",
            Problem::MergeConflict => "yaml_merge_conflict",
            Problem::TooDeep => "yaml_too_deep",
            Problem::TooManyNodes => "yaml_too_many_nodes",
            Problem::Bug => "yaml_bug",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self.problem {
            Problem::NotUtf8 => "save the file as UTF-8; dbt reads nothing else",
            Problem::TooLarge | Problem::TooManyNodes => {
                "split the file, or move what is not needed here out of it"
            }
            Problem::ControlCharacter => {
                "remove the character, or write it as an escape in double quotes: \"\\x1b\""
            }
            Problem::Syntax {
                during: Some("while scanning a quoted scalar"),
                what: "found unexpected end of stream",
            } => "close the quote of this value",
            Problem::Syntax { what, .. } if what.contains("escape") => {
                "a `\\` in double quotes begins an escape: put the value in single quotes, or write `\\\\`"
            }
            Problem::Syntax {
                what: "could not find expected ':'",
                ..
            } => "a key is followed by a colon and a space: look for one without them just above",
            Problem::Syntax { .. } => {
                "look at the indentation, and put a value with `: `, ` #` or quotes in it in quotes"
            }
            Problem::ReservedCharacter => "put the value in quotes",
            Problem::Tab => "indent with spaces",
            Problem::UnquotedTemplate => "put the template in quotes: \"{{ env_var('NAME') }}\"",
            Problem::DuplicateAnchor => {
                "give each anchor its own name; a value that begins with `&` goes in quotes"
            }
            Problem::UndefinedAlias => {
                "define the anchor above this line; a value that begins with `*` goes in quotes"
            }
            Problem::RecursiveAlias => "write the node out instead of naming the one around it",
            Problem::SecondDocument => "remove the `---` and what follows it",
            Problem::UnknownTag => "remove the tag; a value that begins with `!` goes in quotes",
            Problem::LoneSign | Problem::BadScalar(_) => "put the value in quotes if it is text",
            Problem::WrongShape(_) => "remove the tag",
            Problem::UnhashableKey => "keys are texts, numbers or dates; a template goes in quotes",
            Problem::BadMerge => "name a map: `<<: *anchor`; a key of that name goes in quotes",
            Problem::MergeConflict => {
                "write the key beside `<<` with the value that you mean, which counts in every version"
            }
            Problem::TooDeep => "flatten the file",
            Problem::Bug => "please report it, with a file that shows it and no secrets in it",
        };
        Some(hint.to_owned())
    }
}

/// A tree that must not, or cannot, be written for dbt. It names the key's path, never the value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EmitError {
    /// dbt turns such a rendered text into None.
    #[error("the value for `{path}` contains `DBT_ENV_SECRET`, which dbt does not let through")]
    SecretVariableName {
        /// Keys from the top, joined by dots.
        path: String,
    },
    /// A NUL in a value of ours.
    #[error("the value for `{path}` contains a NUL character")]
    Nul {
        /// Keys from the top, joined by dots.
        path: String,
    },
    /// A value of ours with Jinja's signs in it that Fusion would read as something else than a text.
    #[error("the value for `{path}` holds Jinja's signs, and Fusion would read it as no text")]
    NotForFusion {
        /// Keys from the top, joined by dots.
        path: String,
    },
    /// What dbt refuses in a value.
    #[error("`{path}` (line {}, column {}) is a {tag}, which dbt does not take", .mark.line, .mark.column)]
    Unusable {
        /// Keys from the top, joined by dots.
        path: String,
        /// Where it stands in the file.
        mark: Mark,
        /// `!!set`, `!!binary`, …
        tag: &'static str,
    },
    /// Aliases that unfold beyond `MAX_EMITTED_NODES` or `MAX_EMITTED_BYTES`.
    #[error(
        "with its aliases written out, the output has more than {MAX_EMITTED_NODES} values or {} MiB",
        MAX_EMITTED_BYTES >> 20
    )]
    TooLarge,
    /// Deeper than what [`super::load`] gives.
    #[error("`{path}` is nested too deep")]
    TooDeep {
        /// Keys from the top, joined by dots.
        path: String,
    },
}

impl EmitError {
    /// A stable word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SecretVariableName { .. } => "emit_secret_variable_name",
            Self::Nul { .. } => "emit_nul",
            Self::NotForFusion { .. } => "emit_not_for_fusion",
            Self::Unusable { .. } => "emit_unusable_value",
            Self::TooLarge => "emit_too_large",
            Self::TooDeep { .. } => "emit_too_deep",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::SecretVariableName { .. } | Self::Nul { .. } | Self::NotForFusion { .. } => {
                "let Vault make another value; dbt cannot take this one from profiles.yml"
            }
            Self::Unusable { .. } => "write the value as a text, a list or a map",
            Self::TooLarge => "write the values out instead of nesting aliases",
            Self::TooDeep { .. } => "flatten the output",
        };
        Some(hint.to_owned())
    }
}
