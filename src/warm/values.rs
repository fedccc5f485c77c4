//! The values of an output's connection keys, as dbt has them.
#![forbid(unsafe_code)]

use crate::bridge::lone_variable;
use crate::dbt::Rendering;
use crate::dbt::jinja::Value;
use crate::dbt::yaml::{self, Node};
use crate::render::Output;
use crate::render::secret_keys::{Role, role};
use crate::secret::Secret;

use super::Cold;
use super::adapters::Adapter;
use super::python::Hashed;
use super::remembered::Values;

/// A connection key that the lease fills.
pub struct Filled {
    key: String,
    /// As the output spells it.
    spelling: String,
    /// The variable of the bridge that feeds it.
    variable: Option<String>,
    value: String,
}

impl Filled {
    /// The key, by its own name.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The key as the output spells it.
    pub fn spelling(&self) -> &str {
        &self.spelling
    }

    /// The variable that feeds it, where the bridge does.
    pub fn variable(&self) -> Option<&str> {
        self.variable.as_deref()
    }

    pub(super) fn value(&self) -> &str {
        &self.value
    }
}

/// The connection keys that the lease fills, in the output itself or by the bridge's variables.
pub(super) fn filled(
    adapter: &Adapter,
    output: &Output,
    bridge: &[(String, Secret)],
) -> Result<Vec<Filled>, Cold> {
    let mut found: Vec<Filled> = Vec::new();
    let lists: Vec<&str> = adapter
        .lists()
        .flatten()
        .map(|(key, _)| adapter.canonical(key))
        .collect();
    let Some(mapping) = output.node.map() else {
        return Ok(found);
    };
    for (name, node) in &mapping.0 {
        let Some(spelling) = name.text() else {
            continue;
        };
        let key = adapter.canonical(spelling);
        if !lists.contains(&key) {
            continue;
        }
        let below = format!("{spelling}.");
        let is_leased = |path: &str| path == spelling || path.starts_with(&below);
        let (variable, value) = if output.leased.iter().any(|(path, _)| is_leased(path)) {
            let yaml::Value::Literal(text) = &node.value else {
                return Err(Cold::Value(spelling.to_owned()));
            };
            (None, text.to_string())
        } else {
            let yaml::Value::Str(text) = &node.value else {
                continue;
            };
            let lone = lone_variable(text);
            let lone = lone.and_then(|name| bridge.iter().find(|(of, _)| *of == name));
            let (name, secret) = match lone {
                Some(found) => found,
                None if bridge.iter().any(|(name, _)| text.contains(name.as_str())) => {
                    return Err(Cold::Value(spelling.to_owned()));
                }
                None => continue,
            };
            (Some(name.clone()), secret.expose().to_owned())
        };
        if role(Some(adapter.name), spelling, false) == Role::Secret
            || role(Some(adapter.name), key, false) == Role::Secret
        {
            return Err(Cold::Secret(spelling.to_owned()));
        }
        found.push(Filled {
            key: key.to_owned(),
            spelling: spelling.to_owned(),
            variable,
            value,
        });
    }
    Ok(found)
}

/// The pairs that dbt hashes, not sorted; `values` stand in the place of the lease's.
pub(super) fn connection(
    adapter: &Adapter,
    list: usize,
    output: &Node,
    values: &Values,
    rendering: &Rendering<'_>,
) -> Result<Vec<(&'static str, Hashed)>, Cold> {
    let unclear = |key: &str| Cold::Value(key.to_owned());
    let keys = adapter.lists().nth(list).unwrap_or_default();
    let mapping = output.map().ok_or_else(|| unclear("type"))?;
    let mut pairs = Vec::with_capacity(keys.len());
    for (key, default) in keys {
        let value = if let Some(value) = values.get(adapter.canonical(key)) {
            Hashed::Value(Value::text(value.as_str()))
        } else {
            let own = adapter.canonical(key);
            let mut spelled = adapter.spellings(own).filter_map(|name| mapping.get(name));
            match (spelled.next(), spelled.next(), default) {
                (Some(node), None, default) => {
                    let value = of_node(node, rendering).ok_or_else(|| unclear(key))?;
                    Hashed::Value(match (value, default) {
                        // A key of floats takes whole numbers.
                        (Value::Int(whole), Some(Hashed::Value(Value::Float(_)))) =>
                        {
                            #[expect(
                                clippy::cast_precision_loss,
                                reason = "as Python's float() does"
                            )]
                            Value::Float(whole as f64)
                        }
                        (value, _) => value,
                    })
                }
                (None, _, Some(default)) => default,
                _ => return Err(unclear(key)),
            }
        };
        pairs.push((key, value));
    }
    adapter.finish(&mut pairs);
    Ok(pairs)
}

/// A scalar of the output with dbt's type; what it makes of others is not known.
fn of_node(node: &Node, rendering: &Rendering<'_>) -> Option<Value> {
    Some(match &node.value {
        yaml::Value::Null => Value::None,
        yaml::Value::Bool(value) => Value::Bool(*value),
        yaml::Value::Int(digits) => Value::Int(digits.parse().ok()?),
        yaml::Value::Float(value) => Value::Float(*value),
        yaml::Value::Literal(text) => Value::text(text.as_str()),
        yaml::Value::Str(text) => match rendering.render(text, None).ok()?.value {
            value @ (Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Str(..)) => value,
            _ => return None,
        },
        yaml::Value::List(items) if items.is_empty() => Value::List(Vec::new()),
        _ => return None,
    })
}
