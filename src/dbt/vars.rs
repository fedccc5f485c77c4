//! `--vars`: what `var()` knows in profiles.yml and for `profile:`.
#![forbid(unsafe_code)]

use super::jinja::{self, Vars};
use super::yaml::{self, Merging, Node, Problem, Value};

/// `--vars` as dbt reads it: a YAML mapping.
pub(super) fn vars(text: Option<&str>, merging: Option<Merging>) -> Result<Vars, String> {
    let Some(text) = text else {
        return Ok(Vars::default());
    };
    let root = match yaml::load_merging(text.as_bytes(), merging) {
        Ok(root) => root,
        Err(error) if error.problem == Problem::MergeConflict => return Ok(Vars::Unknown),
        Err(_) => return Err("`--vars` is not YAML".to_owned()),
    };
    let Some(map) = root.map() else {
        return Err("`--vars` is not a mapping".to_owned());
    };
    // A name that is no text can never be asked for.
    let named = map
        .0
        .iter()
        .filter_map(|(key, value)| Some((key.text()?.to_owned(), of_node(value, 0))));
    Ok(Vars::Known(named.collect()))
}

/// Deeper vars are not known to us.
const MAX_DEPTH: usize = 30;

fn of_mapping(map: &yaml::Mapping, depth: usize) -> Option<Vec<(jinja::Value, jinja::Value)>> {
    map.0
        .iter()
        .map(|(key, value)| {
            let key = key.text().map(jinja::Value::text)?;
            Some((key, of_node(value, depth + 1)?))
        })
        .collect()
}

/// A YAML value as Python has it; `None` for what templates cannot be given for certain.
fn of_node(node: &Node, depth: usize) -> Option<jinja::Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    Some(match &node.value {
        Value::Null => jinja::Value::None,
        Value::Bool(value) => jinja::Value::Bool(*value),
        Value::Int(digits) => jinja::Value::Int(digits.parse().ok()?),
        Value::Float(value) => jinja::Value::Float(*value),
        Value::Str(text) | Value::Literal(text) => jinja::Value::text(text.as_str()),
        Value::List(items) => jinja::Value::List(
            items
                .iter()
                .map(|item| of_node(item, depth + 1))
                .collect::<Option<_>>()?,
        ),
        Value::Map(map) => jinja::Value::Dict(of_mapping(map, depth)?),
        Value::Timestamp(_) | Value::Unusable(_) => return None,
    })
}
