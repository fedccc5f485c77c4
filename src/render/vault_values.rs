//! `{{ vault.NAME.FIELD }}` in profiles.yml itself: the strings of the output that use it are evaluated, by dbt's semantics, and written as
//! finished literals. All others stay templates, for dbt.

use std::rc::Rc;

use zeroize::Zeroizing;

use crate::dbt::Rendering;
use crate::dbt::jinja;
use crate::dbt::yaml::{Mapping, Node, Value};
use crate::render::RenderError;
use crate::render::secrets::{Field, Secrets};

/// An output with its `vault` values filled in.
pub struct Filled {
    /// The output.
    pub node: Rc<Node>,
    /// The key paths that were filled, with the fields that went in.
    pub leased: Vec<(String, String)>,
}

/// Fills the output's `vault` values in. An output without any comes back as it is.
pub fn fill(
    output: &Rc<Node>,
    secrets: &Secrets,
    rendering: &Rendering<'_>,
) -> Result<Filled, RenderError> {
    let mut leased = Vec::new();
    let node = walk(output, "", &mut |path, text| {
        let used = std::cell::RefCell::new(Vec::new());
        let render_with = |secrets: &Secrets| {
            used.borrow_mut().clear();
            let vault = |name: &str, field: &str| {
                used.borrow_mut().push(format!("{name}.{field}"));
                secrets.field(name, field).ok().map(as_python_has_it)
            };
            rendering.render(text, Some(&vault))
        };
        // A placeholder that is no number cannot go through `| int`.
        let rendered = match (render_with(secrets), secrets.as_numbers()) {
            (Err(jinja::JinjaError::Failed { .. }), Some(numbers)) => render_with(&numbers),
            (rendered, _) => rendered,
        };
        let used = used.into_inner();
        if used.is_empty() {
            // The word stands in it and no secret is used: dbt's own affair.
            return match rendered {
                Err(error @ jinja::JinjaError::Uncertain { .. }) => {
                    Err(RenderError::vault(path, error.to_string()))
                }
                _ => Ok(None),
            };
        }
        for name in &used {
            if let Some((name, field)) = name.split_once('.') {
                secrets.field(name, field)?;
            }
        }
        let value = rendered
            .map_err(|error| RenderError::vault(path, error.to_string()))?
            .value;
        leased.push((path.to_owned(), used.join(", ")));
        finished(value)
            .map(Some)
            .ok_or_else(|| RenderError::vault(path, "its value is not a plain one".to_owned()))
    })?;
    Ok(Filled { node, leased })
}

/// Whether any string of the output may use `vault`.
pub fn mentions_vault(node: &Node) -> bool {
    match &node.value {
        Value::Str(text) => may_use_vault(text),
        Value::List(items) => items.iter().any(|item| mentions_vault(item)),
        Value::Map(mapping) => mapping.0.iter().any(|(_, value)| mentions_vault(value)),
        _ => false,
    }
}

fn may_use_vault(text: &str) -> bool {
    jinja::is_template(text)
        && text.match_indices("vault").any(|(at, word)| {
            let before = text[..at].chars().next_back();
            let after = text[at + word.len()..].trim_start().chars().next();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.')
                && matches!(after, Some('.' | '['))
        })
}

/// Copies a tree with the strings that may use `vault` replaced by what `fill` gives.
fn walk(
    node: &Rc<Node>,
    path: &str,
    fill: &mut impl FnMut(&str, &str) -> Result<Option<Value>, RenderError>,
) -> Result<Rc<Node>, RenderError> {
    if !mentions_vault(node) {
        return Ok(Rc::clone(node));
    }
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    let value = match &node.value {
        Value::Str(text) => fill(path, text)?.unwrap_or_else(|| node.value.clone()),
        Value::List(items) => {
            let items = items
                .iter()
                .enumerate()
                .map(|(at, item)| walk(item, &below(&at.to_string()), fill));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        Value::Map(mapping) => {
            let entries = mapping.0.iter().map(|(key, value)| {
                let value = walk(value, &below(key.text().unwrap_or("?")), fill)?;
                Ok((Rc::clone(key), value))
            });
            Value::Map(Mapping(entries.collect::<Result<_, RenderError>>()?))
        }
        other => other.clone(),
    };
    Ok(Rc::new(Node {
        value,
        mark: node.mark,
    }))
}

fn as_python_has_it(field: Field) -> jinja::Value {
    match field {
        Field::Text(_) | Field::Tree(_) => jinja::Value::text(field.text().expose()),
        Field::Plain(text) => match text.as_str() {
            "true" => jinja::Value::Bool(true),
            "false" => jinja::Value::Bool(false),
            number => number
                .parse()
                .map(jinja::Value::Int)
                .or_else(|_| number.parse().map(jinja::Value::Float))
                .unwrap_or_else(|_| jinja::Value::text(number)),
        },
    }
}

fn finished(value: jinja::Value) -> Option<Value> {
    match value {
        jinja::Value::None => Some(Value::Null),
        jinja::Value::Bool(value) => Some(Value::Bool(value)),
        jinja::Value::Int(value) => Some(Value::Int(value.to_string())),
        jinja::Value::Float(value) => Some(Value::Float(value)),
        jinja::Value::Str(text, _) => Some(Value::Literal(Zeroizing::new(text.to_string()))),
        _ => None,
    }
}
