//! Why an output cannot be made, and what to do then.
#![forbid(unsafe_code)]

use super::check::Wanted;
use super::filters;
use super::unfit::Unfit;
use crate::dbt::yaml;
use crate::place::{Place, Spot};

/// Why an output cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template of dbt-lease.yml does not parse, or uses what is not there.
    #[error("the template at `{place}` in dbt-lease.yml cannot be used: {why}")]
    Template {
        /// The key.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// `vault.NAME…` where there is no such secret.
    #[error("there is no secret `{secret}`; this target has {}", list(.known))]
    UnknownSecret {
        /// The name that was used.
        secret: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// `vault.NAME.FIELD` where Vault gave no such field.
    #[error("the secret `{secret}` has no field `{field}`; Vault gave {}", list(.known))]
    UnknownField {
        /// The secret.
        secret: String,
        /// The field that was used.
        field: String,
        /// The fields that there are.
        known: Vec<String>,
    },
    /// The adapter's keys are not in our table.
    #[error(
        "the output has `type: {adapter}`, and which of its keys take a credential is not known to dbt-lease"
    )]
    UnknownAdapter {
        /// `type:` of the output.
        adapter: String,
    },
    /// `type:` is missing, or is a template.
    #[error(
        "the output has no `type:` that is plain text, so it is not known which keys take the credential"
    )]
    NoAdapter,
    /// A template of dbt-lease.yml uses a filter that there is not.
    #[error("the template at `{place}` in dbt-lease.yml cannot be used: {why}")]
    UnknownFilter {
        /// The key.
        place: String,
        /// Which.
        why: String,
    },
    /// The secret lacks the fields that the adapter's keys take.
    #[error("{0}")]
    Unfit(Box<Unfit>),
    /// A field is not what the adapter's key can be made of.
    #[error("`{key}` takes a mapping, and `{field}` is not base64 of a JSON one")]
    NoMapping {
        /// The secret and its field.
        field: String,
        /// The key of the output.
        key: &'static str,
    },
    /// The output says another way to log in than the credential is for.
    #[error(
        "the output's `{key}:` in profiles.yml says another way to log in than the leased credential is for; that one wants `{key}: {wanted}`"
    )]
    OtherWay {
        /// The key.
        key: &'static str,
        /// What it must say.
        wanted: &'static str,
    },
    /// The output has a key under two spellings; dbt refuses it.
    #[error(
        "the output has both `{first}` and `{second}`, which are one key to dbt; it would refuse them"
    )]
    TwoSpellings {
        /// One spelling.
        first: String,
        /// The other.
        second: String,
        /// Where the other stands.
        at: Option<Place>,
    },
    /// `fields:` names a path through something that is no map.
    #[error("`fields:` sets `{path}`, and `{part}` in the output is not a map")]
    NoMap {
        /// The key path.
        path: String,
        /// The part that is no map.
        part: String,
    },
    /// A string of profiles.yml that uses `vault` and cannot be evaluated for certain.
    #[error("`{path}` in profiles.yml uses `vault`, and its value cannot be made: {why}")]
    VaultValue {
        /// The key path.
        path: String,
        /// The reason.
        why: String,
    },
    /// A value that dbt refuses to render.
    #[error("`{path}` in profiles.yml cannot be rendered, by dbt neither: {why}")]
    Dbt {
        /// The key path.
        path: String,
        /// dbt's reason.
        why: String,
        /// The kind of reason.
        kind: &'static str,
        /// Where the key stands.
        at: Option<Place>,
    },
    /// A value of a type that dbt refuses.
    #[error("`{key}` in {} must be {}, and is {found}; dbt would refuse it", at.in_words(), in_words(*.wanted))]
    KeyType {
        /// The key of the output.
        key: String,
        /// What it takes.
        wanted: Wanted,
        /// What it is, rendered.
        found: &'static str,
        /// Where the key stands.
        at: Place,
    },
    /// A value that the adapter refuses whatever its type.
    #[error("`{key}` in {} {why}; dbt would refuse it", at.in_words())]
    KeyValue {
        /// The key of the output.
        key: String,
        /// What is wrong with it.
        why: String,
        /// Where the key stands.
        at: Place,
    },
    /// A key that the adapter must have.
    #[error("the output `{target}` in {} has no `{key}:`; dbt would refuse it", at.in_words())]
    KeyMissing {
        /// The key.
        key: &'static str,
        /// The output.
        target: String,
        /// profiles.yml.
        at: Place,
    },
    /// profiles.yml uses `vault`, and the delivery is `env`.
    #[error("profiles.yml uses `vault`, and `delivery: env` writes no secret into it")]
    VaultInEnvDelivery,
    /// A value that dbt could not read back.
    #[error(transparent)]
    Emit(#[from] yaml::EmitError),
}

fn in_words(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Text => "a text",
        Wanted::TextOrNull => "a text or null",
        Wanted::Int => "a whole number",
        Wanted::IntOrNull => "a whole number or null",
        Wanted::Bool => "a truth value",
        Wanted::MapOrNull => "a mapping or null",
        Wanted::BoolOrNull => "a truth value or null",
    }
}

pub(super) fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl RenderError {
    pub(super) fn vault(path: &str, why: String) -> Self {
        Self::VaultValue {
            path: path.to_owned(),
            why,
        }
    }

    /// Whether no answer of Vault's could cure it: then it is found with placeholders too, before anything is lent.
    pub fn is_certain(&self) -> bool {
        if let Self::Unfit(unfit) = self {
            return unfit.path.is_some();
        }
        matches!(
            self,
            Self::UnknownSecret { .. }
                | Self::UnknownAdapter { .. }
                | Self::NoAdapter
                | Self::TwoSpellings { .. }
                | Self::NoMap { .. }
                | Self::VaultInEnvDelivery
                | Self::UnknownFilter { .. }
                | Self::OtherWay { .. }
        )
    }

    /// Where it points to.
    pub fn spots(&self) -> Vec<Spot> {
        match self {
            Self::Dbt { at: Some(at), .. }
            | Self::TwoSpellings { at: Some(at), .. }
            | Self::KeyType { at, .. }
            | Self::KeyValue { at, .. }
                if at.line.is_some() =>
            {
                vec![Spot::main(at.clone())]
            }
            _ => Vec::new(),
        }
    }

    /// A stable word for JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Template { .. } => "template",
            Self::UnknownSecret { .. } => "unknown_secret",
            Self::UnknownField { .. } => "unknown_field",
            Self::UnknownAdapter { .. } | Self::NoAdapter => "unknown_adapter",
            Self::UnknownFilter { .. } => "unknown_filter",
            Self::Unfit(_) | Self::NoMapping { .. } => "unfit_secret",
            Self::OtherWay { .. } => "other_way",
            Self::TwoSpellings { .. } => "two_spellings",
            Self::NoMap { .. } => "no_map",
            Self::VaultValue { .. } | Self::VaultInEnvDelivery => "vault_value",
            Self::Dbt { kind, .. } => kind,
            Self::KeyType { .. } | Self::KeyValue { .. } | Self::KeyMissing { .. } => "bad_output",
            Self::Emit(_) => "emit",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unfit(unfit) => Some(unfit.hint()),
            Self::NoMapping { .. } => Some(
                "its engine's role must give Google's JSON key (`key_type: TYPE_GOOGLE_CREDENTIALS_FILE`)".to_owned(),
            ),
            Self::OtherWay { key, wanted } => Some(format!(
                "write `{key}: {wanted}` in the output, or leave it out; another way to log in has its keys set by `fields:` in dbt-lease.yml"
            )),
            Self::UnknownFilter { .. } => Some(format!(
                "filters: {}, and minijinja's own",
                filters::NAMES.join(", ")
            )),
            Self::UnknownAdapter { .. } | Self::NoAdapter => Some(
                "say which keys take which fields, in the long form of the target in dbt-lease.yml:\n\
                 \x20   fields: {user: \"{{ vault.warehouse.username }}\", password: \"{{ vault.warehouse.password }}\"}"
                    .to_owned(),
            ),
            Self::TwoSpellings { second, .. } => Some(format!("remove `{second}` from the output in profiles.yml")),
            Self::VaultValue { .. } | Self::VaultInEnvDelivery => Some(
                "give the target `env: {DBT_ENV_SECRET_PASSWORD: \"{{ vault.warehouse.password }}\"}` in dbt-lease.yml, and write \
                 `env_var('DBT_ENV_SECRET_PASSWORD')` in profiles.yml, with any expression that dbt knows around it"
                    .to_owned(),
            ),
            Self::Emit(error) => error.hint(),
            Self::Dbt { kind: "env_var_missing", .. } => Some(
                "set the variable, or give it a default: `env_var('NAME', 'default')`".to_owned(),
            ),
            Self::KeyType { key, wanted: Wanted::Int | Wanted::IntOrNull, found: "a text", .. } => Some(format!(
                "write the number without quotes; a template needs a filter: `{key}: \"{{{{ env_var('NAME') | int }}}}\"`"
            )),
            Self::KeyType { wanted: Wanted::Text | Wanted::TextOrNull, found: "a whole number" | "a truth value" | "a number with a fraction", .. } => {
                Some("put the value in quotes".to_owned())
            }
            Self::KeyType { found: "null", .. } => Some(
                "give it a value; one that begins with `#` or `&` goes in quotes".to_owned(),
            ),
            Self::KeyMissing { key, .. } => Some(format!(
                "add `{key}:` to the output, or let a dbt-lease.yml lend the target what it lacks"
            )),
            Self::Template { .. } | Self::UnknownSecret { .. } | Self::UnknownField { .. } | Self::NoMap { .. } | Self::Dbt { .. } | Self::KeyType { .. } | Self::KeyValue { .. } => None,
        }
    }
}
