//! Python's `pprint.pformat` of the list that dbt hashes: pairs of a key and a plain value, 80 columns wide (CPython's `PrettyPrinter`,
//! the same from 3.9 to 3.13).
#![forbid(unsafe_code)]

use crate::dbt::jinja::Value;

/// What stands at a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Hashed {
    /// A value.
    Value(Value),
    /// What Python shows of a member of an enumeration.
    Shown(&'static str),
}

/// The width of pformat.
const WIDTH: usize = 80;

/// What pformat makes of the pairs, in their order; none where a value's form is not known for certain.
pub(super) fn pformat(pairs: &[(&str, &Hashed)]) -> Option<String> {
    let reprs = pairs
        .iter()
        .map(|(key, value)| Some((Value::text(*key).repr().ok()?, repr(value)?, *value)))
        .collect::<Option<Vec<_>>>()?;
    let line = |(key, value, _): &(String, String, &Hashed)| format!("({key}, {value})");
    let whole = format!(
        "[{}]",
        reprs.iter().map(line).collect::<Vec<_>>().join(", ")
    );
    if columns(&whole) <= WIDTH {
        return Some(whole);
    }
    let mut lines = Vec::with_capacity(reprs.len());
    for pair in &reprs {
        // What stands behind the pair on its line: `,` or the list's `]`; before it `[` or a space.
        let whole = line(pair);
        if columns(&whole) <= WIDTH - 2 {
            lines.push(whole);
            continue;
        }
        let (key, value, of) = pair;
        lines.push(format!("({key},\n  {})", broken(value, of)?));
    }
    Some(format!("[{}]", lines.join(",\n ")))
}

/// A value on a line of its own, two columns in; a text that is too long for it is broken behind blanks.
fn broken(repr: &str, value: &Hashed) -> Option<String> {
    const INDENT: usize = 2;
    // `)` and then `,` or the list's `]`.
    const BEHIND: usize = 2;
    if columns(repr) <= WIDTH - INDENT - BEHIND {
        return Some(repr.to_owned());
    }
    let Hashed::Value(value) = value else {
        return None;
    };
    let text = value.as_text()?;
    // Other white space has rules of its own.
    if text.chars().any(|c| c.is_whitespace() && c != ' ') {
        return None;
    }
    let mut chunks = Vec::new();
    let mut current = String::new();
    let parts = parts(text);
    let last = parts.len().checked_sub(1)?;
    for (place, part) in parts.into_iter().enumerate() {
        let width = WIDTH - INDENT - if place == last { BEHIND } else { 0 };
        let candidate = format!("{current}{part}");
        if columns(&Value::text(candidate.as_str()).repr().ok()?) > width {
            if !current.is_empty() {
                chunks.push(Value::text(current).repr().ok()?);
            }
            current = part;
        } else {
            current = candidate;
        }
    }
    if !current.is_empty() {
        chunks.push(Value::text(current).repr().ok()?);
    }
    Some(chunks.join("\n  "))
}

/// Words with the blanks behind them, as `\S*\s*` finds them.
fn parts(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut current = String::new();
    let mut blank = false;
    for character in text.chars() {
        if blank && character != ' ' {
            parts.push(std::mem::take(&mut current));
        }
        blank = character == ' ';
        current.push(character);
    }
    if !current.is_empty() {
        parts.push(current);
    }
    parts
}

/// The repr of a value; lists and mappings only where they are empty.
fn repr(value: &Hashed) -> Option<String> {
    let value = match value {
        Hashed::Value(value) => value,
        Hashed::Shown(text) => return Some((*text).to_owned()),
    };
    match value {
        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(..) => {
            value.repr().ok()
        }
        Value::List(items) if items.is_empty() => Some("[]".to_owned()),
        Value::Dict(entries) if entries.is_empty() => Some("{}".to_owned()),
        _ => None,
    }
}

fn columns(text: &str) -> usize {
    text.chars().count()
}
