//! Jinja's filters, tests and Python's methods, those that are certain.
#![forbid(unsafe_code)]

use super::super::dotenv::is_python_space;
use super::value::{Marker, Number, undefined};
use super::{JinjaError, Value, texts};

/// The filters of [`filter`]. Jinja looks each one up when it compiles, also where it never runs.
pub(super) const FILTERS: &[&str] = &[
    "as_bool",
    "as_native",
    "as_number",
    "as_text",
    "capitalize",
    "count",
    "d",
    "default",
    "first",
    "float",
    "format",
    "int",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "replace",
    "string",
    "title",
    "trim",
    "truncate",
    "upper",
    "urlencode",
];

/// The tests of [`test`].
pub(super) const TESTS: &[&str] = &[
    "boolean",
    "defined",
    "false",
    "float",
    "integer",
    "mapping",
    "none",
    "number",
    "string",
    "true",
    "undefined",
];

/// Arguments as they were given: by place or by name.
pub(super) type Arguments = [(Option<String>, Value)];

/// Binds arguments to a function's parameters; what is left out is `None`.
pub(super) fn bound<'v, const N: usize>(
    arguments: &'v Arguments,
    names: [&str; N],
) -> Result<[Option<&'v Value>; N], JinjaError> {
    let mut found = [None; N];
    for (place, (name, value)) in arguments.iter().enumerate() {
        let place = match name {
            None => place,
            Some(name) => match names.iter().position(|known| known == name) {
                Some(place) => place,
                None => {
                    return Err(JinjaError::failed(format!(
                        "unexpected keyword argument '{name}'"
                    )));
                }
            },
        };
        match found.get_mut(place) {
            Some(slot @ None) => *slot = Some(value),
            Some(_) => return Err(JinjaError::failed("an argument is given twice")),
            None => return Err(JinjaError::failed("too many arguments")),
        }
    }
    Ok(found)
}

/// `value | name(arguments)`.
pub(super) fn filter(name: &str, value: Value, arguments: &Arguments) -> Result<Value, JinjaError> {
    match name {
        "default" | "d" => {
            let [default, boolean] = bound(arguments, ["default_value", "boolean"])?;
            let missing = matches!(value, Value::Undefined(_))
                || (boolean.is_some_and(Value::is_true) && !value.is_true());
            Ok(if missing {
                default.cloned().unwrap_or_else(|| Value::text(""))
            } else {
                value
            })
        }
        "lower" | "upper" | "capitalize" => {
            let [] = bound(arguments, [])?;
            cased(name, &value.shown()?)
        }
        "title" => {
            let [] = bound(arguments, [])?;
            texts::title(&value.shown()?)
        }
        "truncate" => texts::truncated(value, arguments),
        "urlencode" => {
            let [] = bound(arguments, [])?;
            match value {
                Value::Str(text, _) => Ok(Value::text(texts::url_quoted(&text))),
                _ => Err(JinjaError::uncertain("`urlencode` of what is no text")),
            }
        }
        "format" => {
            if arguments.is_empty() || arguments.iter().any(|(name, _)| name.is_some()) {
                return Err(JinjaError::uncertain("`format` of an unusual kind"));
            }
            let values: Vec<Value> = arguments.iter().map(|(_, value)| value.clone()).collect();
            texts::percent(&value.shown()?, &values)
        }
        "trim" => {
            let [characters] = bound(arguments, ["chars"])?;
            stripped(&value.shown()?, characters, true, true)
        }
        "replace" => {
            let [old, new, count] = bound(arguments, ["old", "new", "count"])?;
            let (Some(old), Some(new)) = (old, new) else {
                return Err(JinjaError::failed("replace needs two arguments"));
            };
            replaced(&value.shown()?, &old.shown()?, &new.shown()?, count)
        }
        "string" => {
            let [] = bound(arguments, [])?;
            match value {
                Value::Str(..) => Ok(value),
                other => Ok(Value::text(other.shown()?)),
            }
        }
        "int" => {
            let [default, base] = bound(arguments, ["default", "base"])?;
            if base.is_some() {
                return Err(JinjaError::uncertain("the filter `int` with a base"));
            }
            int(value, default)
        }
        "float" => {
            let [default] = bound(arguments, ["default"])?;
            let default = default.cloned().unwrap_or(Value::Float(0.0));
            match (&value, value.number()) {
                (_, Some(number)) => Ok(Value::Float(number.float()?)),
                (Value::Str(text, _), _) => Ok(float_of(text)?.map_or(default, Value::Float)),
                (Value::Undefined(name), _) => Err(undefined(name)),
                _ => Ok(default),
            }
        }
        "length" | "count" => {
            let [] = bound(arguments, [])?;
            let length = match &value {
                Value::Str(text, _) => text.chars().count(),
                Value::List(items) | Value::Tuple(items) => items.len(),
                Value::Dict(entries) => entries.len(),
                Value::Undefined(_) => 0,
                other => {
                    return Err(JinjaError::failed(format!(
                        "object of type '{}' has no len()",
                        other.type_name()
                    )));
                }
            };
            i128::try_from(length)
                .map(Value::Int)
                .map_err(|_| JinjaError::uncertain("a very long text"))
        }
        "list" => {
            let [] = bound(arguments, [])?;
            items_of(value, name).map(Value::List)
        }
        "first" | "last" => {
            let [] = bound(arguments, [])?;
            let mut items = items_of(value, name)?;
            let item = if name == "last" {
                items.pop()
            } else {
                (!items.is_empty()).then(|| items.swap_remove(0))
            };
            Ok(item.unwrap_or_else(|| Value::Undefined("an item of an empty sequence".to_owned())))
        }
        "join" => {
            let [between] = bound(arguments, ["d"])?;
            let between = between.map_or(Ok(String::new()), Value::shown)?;
            let shown = items_of(value, name)?
                .iter()
                .map(Value::shown)
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Value::text(shown.join(&between)))
        }
        "as_text" | "as_native" | "as_bool" | "as_number" => {
            let [] = bound(arguments, [])?;
            let marker = match name {
                "as_text" => Marker::Text,
                "as_native" => Marker::Native,
                "as_bool" => Marker::Bool,
                _ => Marker::Number,
            };
            Ok(Value::Str(value.shown()?.into(), marker))
        }
        _ => Err(JinjaError::uncertain(format!("the filter `{name}`"))),
    }
}

/// `value is name`.
pub(super) fn test(name: &str, value: &Value) -> Result<bool, JinjaError> {
    Ok(match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "string" => matches!(value, Value::Str(..)),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => value.number().is_some(),
        "mapping" => matches!(value, Value::Dict(_)),
        _ => return Err(JinjaError::uncertain(format!("the test `{name}`"))),
    })
}

/// `value.name(arguments)`.
pub(super) fn method(
    value: &Value,
    name: &str,
    arguments: &Arguments,
) -> Result<Value, JinjaError> {
    let unknown = || JinjaError::uncertain(format!("the method `{name}`"));
    if let Value::Undefined(missing) = value {
        return Err(undefined(missing));
    }
    // Python's own methods take their arguments by place only.
    if arguments.iter().any(|(name, _)| name.is_some()) {
        return Err(unknown());
    }
    let places: Vec<&Value> = arguments.iter().map(|(_, value)| value).collect();
    match (value, name, places.as_slice()) {
        (Value::Str(text, _), "lower" | "upper" | "capitalize", []) => cased(name, text),
        (Value::Str(text, _), "title", []) => texts::title_method(text),
        (Value::Str(text, _), "join", [Value::List(items) | Value::Tuple(items)]) => {
            texts::joined(text, items)
        }
        (Value::Str(text, _), "strip", []) => stripped(text, None, true, true),
        (Value::Str(text, _), "lstrip", []) => stripped(text, None, true, false),
        (Value::Str(text, _), "rstrip", []) => stripped(text, None, false, true),
        (Value::Str(text, _), "strip", [characters @ Value::Str(..)]) => {
            stripped(text, Some(characters), true, true)
        }
        (Value::Str(text, _), "lstrip", [characters @ Value::Str(..)]) => {
            stripped(text, Some(characters), true, false)
        }
        (Value::Str(text, _), "rstrip", [characters @ Value::Str(..)]) => {
            stripped(text, Some(characters), false, true)
        }
        (Value::Str(text, _), "replace", [Value::Str(old, _), Value::Str(new, _)]) => {
            replaced(text, old, new, None)
        }
        (Value::Str(text, _), "startswith", [Value::Str(part, _)]) => {
            Ok(Value::Bool(text.starts_with(part.as_str())))
        }
        (Value::Str(text, _), "endswith", [Value::Str(part, _)]) => {
            Ok(Value::Bool(text.ends_with(part.as_str())))
        }
        (Value::Str(_, _), "split", [Value::Str(mark, _)]) if mark.is_empty() => {
            Err(JinjaError::failed("empty separator"))
        }
        (Value::Str(text, _), "split", [Value::Str(mark, _)]) => Ok(Value::List(
            text.split(mark.as_str()).map(Value::text).collect(),
        )),
        (Value::Str(text, _), "format", _) => formatted(text, &places),
        (Value::Dict(entries), "get", [key @ Value::Str(..), rest @ ..]) if rest.len() < 2 => {
            Ok(entries
                .iter()
                .find(|(known, _)| known == *key)
                .map(|(_, value)| value.clone())
                .or_else(|| rest.first().map(|default| (*default).clone()))
                .unwrap_or(Value::None))
        }
        _ => Err(unknown()),
    }
}

/// Beyond ASCII, case depends on the version of Unicode's tables.
fn cased(name: &str, text: &str) -> Result<Value, JinjaError> {
    if !text.is_ascii() {
        return Err(JinjaError::uncertain(format!("`{name}` beyond ASCII")));
    }
    Ok(Value::text(match name {
        "lower" => text.to_ascii_lowercase(),
        "upper" => text.to_ascii_uppercase(),
        _ => {
            let (first, rest) = text.split_at(text.len().min(1));
            first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
        }
    }))
}

/// `'{}-{}'.format(a, b)`, with plain places only.
fn formatted(text: &str, places: &[&Value]) -> Result<Value, JinjaError> {
    let parts: Vec<&str> = text.split("{}").collect();
    let plain = parts.iter().all(|part| !part.contains(['{', '}']));
    let simple = |value: &&Value| {
        matches!(
            value,
            Value::Str(..) | Value::Int(_) | Value::None | Value::Bool(_)
        )
    };
    if !plain || !places.iter().all(simple) {
        return Err(JinjaError::uncertain("`format` of an unusual kind"));
    }
    if places.len() + 1 < parts.len() {
        return Err(JinjaError::failed("Replacement index out of range"));
    }
    let mut shown = zeroize::Zeroizing::new(String::new());
    for (place, part) in parts.iter().enumerate() {
        shown.push_str(part);
        if let Some(value) = places.get(place).filter(|_| place + 1 < parts.len()) {
            shown.push_str(&value.shown()?);
        }
    }
    Ok(Value::Str(shown, Marker::Plain))
}

fn stripped(
    text: &str,
    characters: Option<&Value>,
    start: bool,
    end: bool,
) -> Result<Value, JinjaError> {
    let given = match characters {
        None | Some(Value::None) => None,
        Some(Value::Str(characters, _)) => Some(characters.as_str()),
        Some(_) => return Err(JinjaError::failed("strip arg must be None or str")),
    };
    let strip = |character: char| {
        given.map_or_else(
            || is_python_space(character),
            |given| given.contains(character),
        )
    };
    let mut text = text;
    if start {
        text = text.trim_start_matches(strip);
    }
    if end {
        text = text.trim_end_matches(strip);
    }
    Ok(Value::text(text))
}

fn replaced(text: &str, old: &str, new: &str, count: Option<&Value>) -> Result<Value, JinjaError> {
    let replaced = match count {
        None | Some(Value::None) => text.replace(old, new),
        Some(Value::Int(count)) if *count < 0 => text.replace(old, new),
        Some(Value::Int(count)) => {
            text.replacen(old, new, usize::try_from(*count).unwrap_or(usize::MAX))
        }
        Some(_) => {
            return Err(JinjaError::uncertain(
                "`replace` with a count that is no int",
            ));
        }
    };
    Ok(Value::text(replaced))
}

fn items_of(value: Value, name: &str) -> Result<Vec<Value>, JinjaError> {
    match value {
        Value::List(items) | Value::Tuple(items) => Ok(items),
        Value::Str(text, _) => Ok(text.chars().map(Value::text).collect()),
        Value::Undefined(_) if name == "join" => Ok(Vec::new()),
        other => Err(JinjaError::uncertain(format!(
            "the filter `{name}` of a {}",
            other.type_name()
        ))),
    }
}

/// Jinja's `int` filter.
fn int(value: Value, default: Option<&Value>) -> Result<Value, JinjaError> {
    let default = default.cloned().unwrap_or(Value::Int(0));
    match (&value, value.number()) {
        (_, Some(Number::Int(number))) => Ok(Value::Int(number)),
        (_, Some(Number::Float(number))) => truncated(number, default),
        (Value::Undefined(name), _) => Err(undefined(name)),
        (Value::Str(text, _), _) => {
            if let Some(number) = int_of(text)? {
                return Ok(Value::Int(number));
            }
            match float_of(text)? {
                Some(number) => truncated(number, default),
                None => Ok(default),
            }
        }
        _ => Ok(default),
    }
}

/// Python's `int()` of a float; infinity and nan give the default.
fn truncated(number: f64, default: Value) -> Result<Value, JinjaError> {
    if !number.is_finite() {
        return Ok(default);
    }
    if number.abs() >= 1e36 {
        return Err(JinjaError::uncertain("a very large number"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 1e36 it fits")]
    Ok(Value::Int(number.trunc() as i128))
}

/// Python's `int()` of a str.
fn int_of(text: &str) -> Result<Option<i128>, JinjaError> {
    let text = ascii_trimmed(text)?;
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { "-" } else { "" }, digits),
        None => ("", text),
    };
    if !grouped(digits) {
        return Ok(None);
    }
    format!("{sign}{}", digits.replace('_', ""))
        .parse()
        .map(Some)
        .map_err(|_| JinjaError::uncertain("a very large number"))
}

/// Python's `float()` of a str.
fn float_of(text: &str) -> Result<Option<f64>, JinjaError> {
    let text = ascii_trimmed(text)?;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    if ["inf", "infinity", "nan"].contains(&lower.as_str()) {
        return Ok(text.to_ascii_lowercase().parse().ok());
    }
    let (mantissa, exponent) = match lower.split_once('e') {
        Some((mantissa, exponent)) => (
            mantissa,
            Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)),
        ),
        None => (lower.as_str(), None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let part = |digits: &str| digits.is_empty() || grouped(digits);
    let fits = part(whole)
        && part(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(grouped);
    if !fits {
        return Ok(None);
    }
    Ok(text.replace('_', "").parse().ok())
}

/// Digits with single underscores between them.
fn grouped(digits: &str) -> bool {
    digits
        .split('_')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Python reads digits of every script; we only ASCII.
fn ascii_trimmed(text: &str) -> Result<&str, JinjaError> {
    let trimmed = text.trim_matches(is_python_space);
    if trimmed.is_ascii() {
        Ok(trimmed)
    } else {
        Err(JinjaError::uncertain("a number beyond ASCII"))
    }
}
