//! What dbt would refuse in the chosen output, found before anything is lent: `Profile.render_profile` and what follows it.
//!
//! Only what is certain: a value that cannot be evaluated for certain, and one that comes with a lease, is dbt's to judge.

use std::collections::BTreeSet;

use crate::dbt::jinja::{self, JinjaError};
use crate::dbt::yaml::{Node, Value};
use crate::dbt::{Profile, Rendering};
use crate::place::Place;
use crate::render::{RenderError, adapters};

/// What surrounds an output.
pub struct Around<'a> {
    /// What templates see.
    pub rendering: &'a Rendering<'a>,
    /// Variables whose values come later, with the lease.
    pub later: &'a BTreeSet<String>,
    /// Whether `threads:` counts: nothing else says how many.
    pub threads_count: bool,
    /// Whether the output is lent something: then it need not be whole, since the command may be no dbt.
    pub is_lent: bool,
}

/// Checks an output: the profile's own, or that with our keys set.
///
/// # Errors
/// What dbt would refuse for certain, with its place.
pub fn check(profile: &Profile, output: &Node, around: &Around<'_>) -> Result<(), RenderError> {
    let Some(keys) = output.map() else {
        return Ok(());
    };
    let checker = Checker { profile, around };
    for (key, value) in &keys.0 {
        let path = key.text().unwrap_or("?");
        let at = place(profile, key);
        let found = checker.walk(value, path, &at)?;
        // Fusion has types of its own.
        if around.rendering.is_fusion() {
            continue;
        }
        if path == "threads" && around.threads_count {
            expect(path, Wanted::Int, found, &at)?;
        }
        if profile.adapter.as_deref() == Some("postgres")
            && let Some((_, wanted)) = POSTGRES.iter().find(|(names, _)| names.contains(&path))
        {
            expect(path, *wanted, found, &at)?;
        }
    }
    if around.rendering.is_fusion() {
        return Ok(());
    }
    spellings(profile, output)?;
    if !around.is_lent && profile.adapter.as_deref() == Some("postgres") {
        for (names, _) in &POSTGRES[..REQUIRED] {
            if names.iter().all(|name| keys.get(name).is_none()) {
                return Err(RenderError::KeyMissing {
                    key: names[0],
                    target: profile.target.clone(),
                    at: Place::of_file(&profile.file),
                });
            }
        }
    }
    Ok(())
}

/// Refuses one key under two spellings, which dbt does not take.
///
/// # Errors
/// There is one.
pub fn spellings(profile: &Profile, output: &Node) -> Result<(), RenderError> {
    let (Some(adapter), Some(keys)) = (profile.adapter.as_deref(), output.map()) else {
        return Ok(());
    };
    let database: &[&str] = match adapter {
        "postgres" => &["database", "dbname"],
        _ => &[],
    };
    for names in adapters::spellings(adapter).chain([database]) {
        let mut used = keys
            .0
            .iter()
            .filter(|(key, _)| key.text().is_some_and(|text| names.contains(&text)));
        if let (Some((first, _)), Some((second, _))) = (used.next(), used.next()) {
            return Err(RenderError::TwoSpellings {
                first: first.text().unwrap_or_default().to_owned(),
                second: second.text().unwrap_or_default().to_owned(),
                at: Some(place(profile, second)),
            });
        }
    }
    Ok(())
}

/// What a key takes, in JSON Schema's sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A text.
    Text,
    /// A text or null.
    TextOrNull,
    /// A whole number; `4.0` is one, `true` is none.
    Int,
    /// A truth value or null.
    BoolOrNull,
}

/// dbt-postgres 1.10's credentials: each key with its alias.
const POSTGRES: &[(&[&str], Wanted)] = &[
    (&["host"], Wanted::Text),
    (&["port"], Wanted::Int),
    (&["database", "dbname"], Wanted::Text),
    (&["schema"], Wanted::Text),
    (&["user"], Wanted::Text),
    (&["password", "pass"], Wanted::Text),
    (&["connect_timeout"], Wanted::Int),
    (&["role"], Wanted::TextOrNull),
    (&["search_path"], Wanted::TextOrNull),
    (&["keepalives_idle"], Wanted::Int),
    (&["sslmode"], Wanted::TextOrNull),
    (&["sslcert"], Wanted::TextOrNull),
    (&["sslkey"], Wanted::TextOrNull),
    (&["sslrootcert"], Wanted::TextOrNull),
    (&["application_name"], Wanted::TextOrNull),
    (&["autocommit"], Wanted::BoolOrNull),
    (&["retries"], Wanted::Int),
];
/// So many of them, from the first, must be there. dbt wants `user` and `password` too, which a lease may bring.
const REQUIRED: usize = 4;

/// A rendered value's kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Text,
    Int,
    Float,
    Bool,
    Null,
    List,
    Map,
    Undefined,
    /// It is not known, or comes later.
    Unknown,
}

impl Found {
    fn in_words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Int => "a whole number",
            Self::Float => "a number with a fraction",
            Self::Bool => "a truth value",
            Self::Null => "null",
            Self::List => "a list",
            Self::Map => "a mapping",
            Self::Undefined => "undefined",
            Self::Unknown => "unknown",
        }
    }
}

fn expect(key: &str, wanted: Wanted, found: Found, at: &Place) -> Result<(), RenderError> {
    let fits = match wanted {
        Wanted::Text => found == Found::Text,
        Wanted::TextOrNull => matches!(found, Found::Text | Found::Null),
        Wanted::Int => found == Found::Int,
        Wanted::BoolOrNull => matches!(found, Found::Bool | Found::Null),
    };
    if fits || found == Found::Unknown {
        return Ok(());
    }
    Err(RenderError::KeyType {
        key: key.to_owned(),
        wanted,
        found: found.in_words(),
        at: at.clone(),
    })
}

struct Checker<'a> {
    profile: &'a Profile,
    around: &'a Around<'a>,
}

impl Checker<'_> {
    /// Renders what is in a node. `at` is the nearest key.
    fn walk(&self, node: &Node, path: &str, at: &Place) -> Result<Found, RenderError> {
        Ok(match &node.value {
            Value::Null => Found::Null,
            Value::Bool(_) => Found::Bool,
            Value::Int(_) => Found::Int,
            Value::Float(value) => of_float(*value),
            Value::Timestamp(_) => Found::Text,
            Value::Literal(_) | Value::Unusable(_) => Found::Unknown,
            Value::Str(text) => self.text(text, path, at)?,
            Value::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.walk(item, &format!("{path}.{number}"), at)?;
                }
                Found::List
            }
            Value::Map(mapping) => {
                for (key, value) in &mapping.0 {
                    let below = format!("{path}.{}", key.text().unwrap_or("?"));
                    self.walk(value, &below, &place(self.profile, key))?;
                }
                Found::Map
            }
        })
    }

    fn text(&self, text: &str, path: &str, at: &Place) -> Result<Found, RenderError> {
        let fusion = self.around.rendering.is_fusion();
        match self.around.rendering.render_before(text, self.around.later) {
            Ok(rendered) => Ok(match rendered.value {
                jinja::Value::None => Found::Null,
                jinja::Value::Bool(_) => Found::Bool,
                jinja::Value::Int(_) => Found::Int,
                jinja::Value::Float(value) => of_float(value),
                jinja::Value::Str(..) => Found::Text,
                jinja::Value::List(_) => Found::List,
                jinja::Value::Dict(_) => Found::Map,
                jinja::Value::Undefined(_) => Found::Undefined,
                jinja::Value::Tuple(_) => Found::Unknown,
            }),
            Err(JinjaError::Uncertain { .. }) => Ok(Found::Unknown),
            // dbt takes the raw text.
            Err(_) if path.split('.').any(|part| part == "password") => Ok(Found::Text),
            Err(JinjaError::Failed { .. }) if fusion => Ok(Found::Unknown),
            Err(error) => Err(RenderError::Dbt {
                path: path.to_owned(),
                why: error.to_string(),
                kind: error.kind(),
                at: Some(at.clone()),
            }),
        }
    }
}

fn place(profile: &Profile, key: &Node) -> Place {
    if key.mark.line == 0 {
        // A key of ours.
        return Place::of_file(&profile.file);
    }
    let text = key.text().unwrap_or_default();
    Place::of_key(&profile.file, key.mark.line, key.mark.column, text)
}

fn of_float(value: f64) -> Found {
    if value.is_finite() && value.fract() == 0.0 {
        Found::Int
    } else {
        Found::Float
    }
}
