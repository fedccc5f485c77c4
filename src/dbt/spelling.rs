//! Values that dbt-core's YAML (1.1) and Fusion's (1.2) take for different ones: `yes`, `0123`, `1:30`, `1e3` without quotes.
//!
//! Measured with Fusion 2.0.0-preview.196. What is not known to mean the same to both counts as different.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::yaml::{Kind, Mark, Merging, Node, Scalar, Style, Value, Written};

/// The first node of a tree that the two read otherwise, with the nearest key above it.
pub(super) fn read_otherwise<'n>(bytes: &[u8], key: &'n Node, tree: &'n Node) -> Option<&'n Node> {
    let written = Written::of(bytes, Merging::FirstWins)?;
    let scalars: HashMap<(usize, usize), &Scalar> = written
        .nodes()
        .iter()
        .enumerate()
        .filter_map(|(number, node)| Some((place(node.mark), written.scalar(number)?)))
        .collect();
    first(&scalars, key, tree)
}

fn place(mark: Mark) -> (usize, usize) {
    (mark.line, mark.column)
}

fn first<'n>(
    scalars: &HashMap<(usize, usize), &Scalar>,
    key: &'n Node,
    node: &'n Node,
) -> Option<&'n Node> {
    let differs = |node: &Node| {
        let scalar = scalars.get(&place(node.mark));
        scalar.is_some_and(|scalar| {
            scalar.style == Style::Plain && !means_the_same(scalar, &node.value)
        })
    };
    match &node.value {
        Value::List(items) => items.iter().find_map(|item| first(scalars, key, item)),
        Value::Map(mapping) => mapping.0.iter().find_map(|(key, value)| {
            if differs(key) {
                Some(&**key)
            } else {
                first(scalars, key, value)
            }
        }),
        _ => differs(node).then_some(key),
    }
}

/// Whether a plain scalar is one value to both.
fn means_the_same(scalar: &Scalar, value: &Value) -> bool {
    let text = scalar.text.as_str();
    match scalar.kind {
        Kind::Null => matches!(text, "" | "~" | "null" | "Null" | "NULL"),
        Kind::Bool => matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE"),
        Kind::Number => is_decimal(text),
        Kind::Text => match value {
            // It is written in Python's isoformat.
            Value::Timestamp(written) => written == text,
            _ => !is_number(text),
        },
        Kind::Merge => true,
        Kind::Other => false,
    }
}

/// Whether a text to dbt-core may be a number to Fusion: `1e3`, `0o17`.
fn is_number(text: &str) -> bool {
    let octal = text.trim_start_matches(['+', '-']).starts_with("0o");
    let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
    octal || (has_digits && text.parse::<f64>().is_ok())
}

/// `5432`, `-1`, `0.5`: digits without a needless zero, of which a double keeps all.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole)
        && are_digits(fraction)
        && text.len() <= 15
        && (whole == "0" || !whole.starts_with('0'))
        && text != "-0"
}

#[cfg(test)]
mod tests {
    use super::read_otherwise;
    use crate::dbt::yaml::load;

    #[test]
    fn what_the_two_read_otherwise_is_found_with_its_key() {
        for (value, same) in [
            ("yes", false),
            ("y", true),
            ("True", true),
            ("~", true),
            ("", true),
            ("0123", false),
            ("5432", true),
            ("-1.50", true),
            ("1:30", false),
            ("1_000", false),
            ("1e3", false),
            ("0o17", false),
            ("\"0123\"", true),
            ("'yes'", true),
            ("inf", true),
            ("2024-01-31", true),
            ("2024-01-31 10:00:00", false),
            ("[a, {b: no}]", false),
            ("{a: {on: b}}", false),
            ("\"{{ env_var('X') }}\"", true),
            ("12345678901234567890", false),
        ] {
            let text = format!("top: &a\n  key: {value}\n");
            let root = load(text.as_bytes()).expect("YAML");
            let (key, tree) = root.map().expect("a map").entry("top").expect("there");
            let found = read_otherwise(text.as_bytes(), key, tree);
            assert_eq!(found.is_none(), same, "{value}");
        }
    }
}
