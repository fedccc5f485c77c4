//! The fields of a session's secrets, as templates and adapters' keys ask for them.

use std::collections::BTreeMap;

use crate::config;
use crate::config::engines::EnginePath;
use crate::render::RenderError;
use crate::secret::Secret;
use crate::vault::{fields, secret};

/// One field of a secret.
#[derive(Clone, Debug)]
pub enum Field {
    /// A string.
    Text(Secret),
    /// A number or a truth value, as JSON writes it.
    Plain(String),
    /// A mapping or a list that a template made.
    Tree(fields::Field),
}

impl Field {
    /// The field as text.
    pub fn text(&self) -> Secret {
        match self {
            Self::Text(secret) => secret.clone(),
            Self::Plain(text) => Secret::new(text.clone()),
            Self::Tree(tree) => Secret::new(tree.expose_json().to_string()),
        }
    }
}

/// The secrets by name, each with its fields by name.
#[derive(Debug)]
pub enum Secrets {
    /// What Vault gave.
    Leased(BTreeMap<String, BTreeMap<String, Field>>),
    /// What stands in their place for a dbt command that does not connect, and for `render`: every field is [`PLACEHOLDER`].
    Placeholders(Vec<Placeholder>),
    /// The same where a number is wanted: every field is 0.
    NumberPlaceholders(Vec<Placeholder>),
}

/// A secret that is not asked for.
#[derive(Clone, Debug)]
pub struct Placeholder {
    /// Its name.
    name: String,
    /// Its path.
    path: String,
    /// What is known of what it would hold.
    known: Option<&'static EnginePath>,
}

/// What stands for a secret that was not asked for. Constant, so that it does not cost dbt its parse cache from run to run.
pub const PLACEHOLDER: &str = "dbt-lease-placeholder";

impl Secrets {
    /// What Vault gave. Lists and maps become JSON text; a null is no field.
    pub fn leased(secrets: &[secret::Lent]) -> Self {
        let field = |value: &fields::Field| match value {
            fields::Field::Number(_) | fields::Field::Bool(_) => {
                Some(Field::Plain(value.expose_json().to_string()))
            }
            _ => value.text().map(Field::Text),
        };
        let fields = |lent: &secret::Lent| {
            lent.fields
                .iter()
                .filter_map(|(name, value)| Some((name.to_owned(), field(value)?)))
                .collect()
        };
        Self::Leased(
            secrets
                .iter()
                .map(|lent| (lent.name.clone(), fields(lent)))
                .collect(),
        )
    }

    /// Placeholders for a target's secrets.
    pub fn placeholders(lent: &config::Lent) -> Self {
        Self::Placeholders(
            lent.secrets
                .iter()
                .map(|secret| Placeholder {
                    name: secret.request.name.clone(),
                    path: secret.request.path.clone(),
                    known: secret.request.known,
                })
                .collect(),
        )
    }

    /// One field; an error names what there is.
    pub fn field(&self, secret: &str, field: &str) -> Result<Field, RenderError> {
        match self {
            Self::Leased(secrets) => {
                let fields = secrets
                    .get(secret)
                    .ok_or_else(|| self.unknown_secret(secret))?;
                fields
                    .get(field)
                    .cloned()
                    .ok_or_else(|| RenderError::UnknownField {
                        secret: secret.to_owned(),
                        field: field.to_owned(),
                        known: fields.keys().cloned().collect(),
                    })
            }
            Self::Placeholders(known) if known.iter().any(|known| known.name == secret) => {
                Ok(Field::Text(Secret::new(PLACEHOLDER.to_owned())))
            }
            Self::NumberPlaceholders(known) if known.iter().any(|known| known.name == secret) => {
                Ok(Field::Plain("0".to_owned()))
            }
            Self::Placeholders(_) | Self::NumberPlaceholders(_) => Err(self.unknown_secret(secret)),
        }
    }

    /// Placeholders that are numbers, for a key or an expression that takes no text; none where the fields are real.
    pub fn as_numbers(&self) -> Option<Self> {
        match self {
            Self::Placeholders(names) => Some(Self::NumberPlaceholders(names.clone())),
            Self::Leased(_) | Self::NumberPlaceholders(_) => None,
        }
    }

    /// Whether a secret may have a field. A placeholder has what its engine may answer, or any field where that is not known.
    pub fn has(&self, secret: &str, field: &str) -> bool {
        match self {
            Self::Leased(secrets) => secrets
                .get(secret)
                .is_some_and(|fields| fields.contains_key(field)),
            Self::Placeholders(known) | Self::NumberPlaceholders(known) => {
                known.iter().any(|placeholder| {
                    let fields = placeholder.known.map_or(&[][..], |known| known.fields);
                    placeholder.name == secret && (fields.is_empty() || fields.contains(&field))
                })
            }
        }
    }

    /// Whether a secret has a field for certain.
    pub fn surely_has(&self, secret: &str, field: &str) -> bool {
        match self {
            Self::Leased(_) => self.has(secret, field),
            Self::Placeholders(known) | Self::NumberPlaceholders(known) => {
                known.iter().any(|placeholder| {
                    let surely = placeholder.known.map_or(&[][..], |known| known.surely);
                    placeholder.name == secret && surely.contains(&field)
                })
            }
        }
    }

    /// The fields of a secret, or what its engine may answer: for messages.
    pub fn fields_of(&self, secret: &str) -> Vec<String> {
        let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Self::Leased(secrets) => secrets
                .get(secret)
                .map(|fields| fields.keys().cloned().collect())
                .unwrap_or_default(),
            Self::Placeholders(known) | Self::NumberPlaceholders(known) => known
                .iter()
                .find(|placeholder| placeholder.name == secret)
                .and_then(|placeholder| placeholder.known)
                .map(|known| named(known.fields))
                .unwrap_or_default(),
        }
    }

    /// The path of a secret that is not asked for; none of one that is there.
    pub fn path_of(&self, secret: &str) -> Option<&str> {
        match self {
            Self::Leased(_) => None,
            Self::Placeholders(known) | Self::NumberPlaceholders(known) => known
                .iter()
                .find(|placeholder| placeholder.name == secret)
                .map(|placeholder| placeholder.path.as_str()),
        }
    }

    /// The names of the secrets.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Leased(secrets) => secrets.keys().map(String::as_str).collect(),
            Self::Placeholders(known) | Self::NumberPlaceholders(known) => {
                known.iter().map(|known| known.name.as_str()).collect()
            }
        }
    }

    fn unknown_secret(&self, secret: &str) -> RenderError {
        RenderError::UnknownSecret {
            secret: secret.to_owned(),
            known: self.names().into_iter().map(str::to_owned).collect(),
        }
    }
}
