//! Attributes, items and slices.
#![forbid(unsafe_code)]

use super::value::undefined;
use super::{JinjaError, Value};

/// Attributes that a Python dict has of its own: they come before its keys.
pub(crate) const DICT_ATTRIBUTES: &[&str] = &[
    "clear",
    "copy",
    "fromkeys",
    "get",
    "items",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];

/// `value.name`.
pub(super) fn attribute_of(value: &Value, name: &str) -> Result<Value, JinjaError> {
    match value {
        Value::Undefined(missing) => Err(undefined(missing)),
        Value::Dict(entries) if !name.starts_with('_') && !DICT_ATTRIBUTES.contains(&name) => {
            Ok(entries
                .iter()
                .find(|(key, _)| key.as_text() == Some(name))
                .map_or_else(
                    || Value::Undefined(name.to_owned()),
                    |(_, value)| value.clone(),
                ))
        }
        _ => Err(JinjaError::uncertain(format!("the attribute `{name}`"))),
    }
}

/// `value[key]`: Jinja's `environment.getitem`.
pub(super) fn item_of(value: &Value, key: &Value) -> Result<Value, JinjaError> {
    match (value, key) {
        (Value::Undefined(missing), _) => Err(undefined(missing)),
        (Value::Dict(entries), Value::Str(name, _)) => {
            match entries.iter().find(|(known, _)| known == key) {
                Some((_, found)) => Ok(found.clone()),
                None => attribute_of(value, name),
            }
        }
        (Value::List(items) | Value::Tuple(items), Value::Int(at)) => Ok(place(*at, items.len())
            .map_or_else(
                || Value::Undefined("an item".to_owned()),
                |at| items[at].clone(),
            )),
        (Value::Str(text, _), Value::Int(at)) => {
            let characters: Vec<char> = text.chars().collect();
            Ok(place(*at, characters.len()).map_or_else(
                || Value::Undefined("an item".to_owned()),
                |at| Value::text(characters[at]),
            ))
        }
        _ => Err(JinjaError::uncertain(format!(
            "an item of a {}",
            value.type_name()
        ))),
    }
}

/// Python's index: negative ones count from the end.
fn place(at: i128, length: usize) -> Option<usize> {
    let length = i128::try_from(length).ok()?;
    let at = if at < 0 { at + length } else { at };
    (0..length)
        .contains(&at)
        .then(|| usize::try_from(at).ok())
        .flatten()
}

/// `value[start:stop]`.
pub(super) fn sliced(
    value: &Value,
    start: Option<&Value>,
    stop: Option<&Value>,
) -> Result<Value, JinjaError> {
    let range = |length: usize| -> Result<std::ops::Range<usize>, JinjaError> {
        let bound = |bound: Option<&Value>, otherwise: usize| match bound {
            None | Some(Value::None) => Ok(otherwise),
            Some(Value::Int(at)) => {
                let whole = i128::try_from(length).unwrap_or(i128::MAX);
                let at = if *at < 0 {
                    at.saturating_add(whole)
                } else {
                    *at
                };
                Ok(usize::try_from(at.clamp(0, whole)).unwrap_or(length))
            }
            Some(_) => Err(JinjaError::uncertain("a slice by something that is no int")),
        };
        let (start, stop) = (bound(start, 0)?, bound(stop, length)?);
        Ok(start..stop.max(start))
    };
    match value {
        Value::Undefined(name) => Err(undefined(name)),
        Value::Str(text, _) => {
            let characters: Vec<char> = text.chars().collect();
            Ok(Value::text(
                characters[range(characters.len())?]
                    .iter()
                    .collect::<String>(),
            ))
        }
        Value::List(items) => Ok(Value::List(items[range(items.len())?].to_vec())),
        Value::Tuple(items) => Ok(Value::Tuple(items[range(items.len())?].to_vec())),
        // Jinja folds it to an undefined value in a constant, and Python fails when it runs.
        _ => Err(JinjaError::uncertain(format!(
            "a slice of a {}",
            value.type_name()
        ))),
    }
}
