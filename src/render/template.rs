//! The templates of dbt-lease.yml: `{{ vault.NAME.FIELD }}` and what minijinja makes of it.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use zeroize::Zeroizing;

use crate::render::secrets::{Field, Secrets};
use crate::render::{RenderError, filters};
use crate::secret::Secret;

/// What a template printed when it met something that is no text.
const NO_TEXT: &str = "its value is bytes, which are no text: `| b64encode` makes one of them";

/// A template's text with the names that it uses.
pub struct Template<'a> {
    text: &'a str,
    /// `(secret, field)`
    uses: BTreeSet<(String, String)>,
}

impl<'a> Template<'a> {
    /// Parses a template. `place` is the key that it stands under, for messages.
    pub fn parse(place: &str, text: &'a str) -> Result<Self, RenderError> {
        let bad = |why: String| RenderError::Template {
            place: place.to_owned(),
            why,
        };
        let environment = Environment::empty();
        let template = environment
            .template_from_str(text)
            .map_err(|error| bad(syntax(&error)))?;
        let mut uses = BTreeSet::new();
        for name in template.undeclared_variables(true) {
            let parts: Vec<&str> = name.split('.').collect();
            match parts.as_slice() {
                ["vault", secret, field] => {
                    uses.insert(((*secret).to_owned(), (*field).to_owned()))
                }
                ["vault", ..] => {
                    return Err(bad(
                        "a secret's field is written `vault.NAME.FIELD`".to_owned()
                    ));
                }
                [other, ..] => {
                    return Err(bad(format!(
                        "`{other}` is not known here; there is `vault` alone (`vault.NAME.FIELD`)"
                    )));
                }
                [] => false,
            };
        }
        Ok(Self { text, uses })
    }

    /// The fields that the template uses, as `NAME.FIELD`.
    pub fn sources(&self) -> Vec<String> {
        self.uses
            .iter()
            .map(|(secret, field)| format!("{secret}.{field}"))
            .collect()
    }

    /// The template's one field, where it is nothing but `{{ vault.NAME.FIELD }}`.
    fn lone(&self) -> Option<&(String, String)> {
        let inner = self
            .text
            .trim()
            .strip_prefix("{{")?
            .strip_suffix("}}")?
            .trim_matches(['-', ' ', '\t', '\n']);
        let only = self.uses.first().filter(|_| self.uses.len() == 1)?;
        (inner == format!("vault.{}.{}", only.0, only.1)).then_some(only)
    }

    /// The template's one expression, where it is nothing else.
    fn expression(&self) -> Option<&'a str> {
        let inner = self.text.strip_prefix("{{")?.strip_suffix("}}")?;
        let is_one = ["{{", "}}", "{%", "{#"]
            .iter()
            .all(|mark| !inner.contains(mark));
        is_one.then(|| inner.trim_matches(['-', ' ', '\t', '\n']))
    }

    /// Evaluates the template. A lone field, and a lone expression, keeps its type.
    ///
    /// # Errors
    /// A field that is not there, a filter that is not there or cannot take its value.
    pub fn evaluate(&self, place: &str, secrets: &Secrets) -> Result<Field, RenderError> {
        if let Some((secret, field)) = self.lone() {
            return secrets.field(secret, field);
        }
        let mut vault: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
        for (secret, field) in &self.uses {
            let value = Value::from(secrets.field(secret, field)?.text().expose());
            vault
                .entry(secret.clone())
                .or_default()
                .insert(field.clone(), value);
        }
        let context = Value::from(BTreeMap::from([("vault".to_owned(), Value::from(vault))]));
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(syntax_kept());
        filters::add_to(&mut environment);
        environment.set_formatter(|out, state, value| match value.kind() {
            ValueKind::Bytes => Err(Error::new(ErrorKind::BadSerialization, NO_TEXT)),
            _ => minijinja::escape_formatter(out, state, value),
        });
        let made = match self.expression() {
            Some(expression) => environment
                .compile_expression(expression)
                .and_then(|expression| expression.eval(&context))
                .and_then(|value| typed(&value)),
            None => environment
                .render_str(self.text, &context)
                .map(|text| Field::Text(Secret::new(text))),
        };
        made.map_err(|error| refused(place, &error))
    }
}

/// A value with its type.
fn typed(value: &Value) -> Result<Field, Error> {
    match value.kind() {
        ValueKind::Bool => Ok(Field::Plain(value.is_true().to_string())),
        ValueKind::Number => Ok(Field::Plain(value.to_string())),
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => {
            let failed = |_| Error::new(ErrorKind::BadSerialization, "it cannot be written");
            let json = Zeroizing::new(serde_json::to_vec(value).map_err(failed)?);
            serde_json::from_slice(&json)
                .map(Field::Tree)
                .map_err(failed)
        }
        ValueKind::Bytes => Err(Error::new(ErrorKind::BadSerialization, NO_TEXT)),
        ValueKind::Undefined | ValueKind::None | ValueKind::Invalid => Err(Error::new(
            ErrorKind::UndefinedError,
            "its value is nothing",
        )),
        _ => Ok(Field::Text(Secret::new(value.to_string()))),
    }
}

/// What is said of a template that failed. minijinja's own message may quote values; its kind says enough, and our filters' words say
/// more.
fn refused(place: &str, error: &Error) -> RenderError {
    let place = place.to_owned();
    if let ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownTest =
        error.kind()
    {
        return RenderError::UnknownFilter {
            place,
            why: syntax(error),
        };
    }
    let problem = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<filters::Problem>());
    let why = match (problem, error.detail()) {
        (Some(problem), _) => problem.to_string(),
        (None, Some(NO_TEXT)) => NO_TEXT.to_owned(),
        _ => error.kind().to_string(),
    };
    RenderError::Template { place, why }
}

/// Jinja's syntax, but that a value's last newline is the user's.
fn syntax_kept() -> SyntaxConfig {
    SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .build()
        .unwrap_or_default()
}

fn syntax(error: &minijinja::Error) -> String {
    error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let fields = [
            (
                "username".to_owned(),
                Field::Text(Secret::new("v-dbt".to_owned())),
            ),
            (
                "password".to_owned(),
                Field::Text(Secret::new("{{ 1 }}<&'".to_owned())),
            ),
            ("port".to_owned(), Field::Plain("5432".to_owned())),
            (
                "json".to_owned(),
                Field::Text(Secret::new(
                    r#"{"port": 5432, "deep": ["a", 1]}"#.to_owned(),
                )),
            ),
            (
                "bytes".to_owned(),
                Field::Text(Secret::new("/w==".to_owned())),
            ),
        ];
        Secrets::Leased(
            [("warehouse".to_owned(), fields.into_iter().collect())]
                .into_iter()
                .collect(),
        )
    }

    fn evaluate(text: &str) -> Result<Field, RenderError> {
        Template::parse("env.X", text)?.evaluate("env.X", &secrets())
    }

    #[test]
    fn a_value_is_neither_escaped_nor_evaluated_again() {
        let value = evaluate("p={{ vault.warehouse.password }}\n").expect("evaluated");
        assert_eq!(value.text().expose(), "p={{ 1 }}<&'\n");
    }

    #[test]
    fn a_lone_field_keeps_its_type() {
        assert!(
            matches!(evaluate("{{ vault.warehouse.port }}"), Ok(Field::Plain(port)) if port == "5432")
        );
        assert!(matches!(
            evaluate("{{ vault.warehouse.port ~ '' }}"),
            Ok(Field::Text(_))
        ));
    }

    #[test]
    fn a_lone_expression_keeps_its_type_and_others_make_text() {
        let made = evaluate("{{ vault.warehouse.json | fromjson }}").expect("a tree");
        let Field::Tree(tree) = &made else {
            panic!("{made:?}");
        };
        assert_eq!(
            tree.expose_json(),
            serde_json::json!({"deep": ["a", 1], "port": 5432})
        );
        for (text, plain) in [
            ("{{ (vault.warehouse.json | fromjson).port }}", "5432"),
            ("{{ vault.warehouse.port | int }}", "5432"),
            ("{{ vault.warehouse.username == 'v-dbt' }}", "true"),
        ] {
            assert!(
                matches!(evaluate(text), Ok(Field::Plain(value)) if value == plain),
                "{text}"
            );
        }
        for (text, expected) in [
            ("{{ (vault.warehouse.json | fromjson).port }}!", "5432!"),
            ("{{ '}}' ~ vault.warehouse.username }}", "}}v-dbt"),
            (
                "{% if vault.warehouse.port %}{{ vault.warehouse.username | b64encode }}{% endif %}",
                "di1kYnQ=",
            ),
        ] {
            let value = evaluate(text).expect(text);
            assert_eq!(value.text().expose(), expected, "{text}");
        }
    }

    #[test]
    fn what_a_filter_cannot_take_is_told_without_its_value() {
        for (text, words) in [
            (
                "{{ vault.warehouse.username | base64 }}",
                "filter base64 is unknown",
            ),
            (
                "{{ vault.warehouse.password | b64decode }}",
                "`b64decode` wants base64",
            ),
            (
                "{{ vault.warehouse.bytes | b64decode }}",
                "which are no text",
            ),
            (
                "x{{ vault.warehouse.bytes | b64decode }}",
                "which are no text",
            ),
            ("{{ (vault.warehouse.json | fromjson).none }}", "undefined"),
        ] {
            let refusal = evaluate(text).expect_err(text).to_string();
            assert!(refusal.contains(words), "{text}: {refusal}");
            assert!(!refusal.contains("{{ 1 }}"), "{text}: {refusal}");
        }
    }

    #[test]
    fn unknown_names_are_refused_by_name() {
        for (text, words) in [
            ("{{ vault.other.password }}", "no secret `other`"),
            ("{{ vault.warehouse.phrase }}", "no field `phrase`"),
            ("{{ env_var('X') }}", "`env_var` is not known here"),
            ("{{ vault.warehouse }}", "`vault.NAME.FIELD`"),
            ("{{ vault.warehouse.password", "env.X"),
        ] {
            let refusal = evaluate(text).expect_err(text).to_string();
            assert!(refusal.contains(words), "{text}: {refusal}");
        }
    }
}
