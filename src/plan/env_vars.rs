//! Which variables an output reads by `env_var()`: by its text alone, since the output is not rendered here.
#![forbid(unsafe_code)]

use crate::dbt::yaml::{Node, Value};

/// A variable that an output reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The variable's name.
    pub name: String,
    /// Whether the template says what counts without it.
    pub has_default: bool,
    /// The key path in the output, dotted.
    pub key: String,
    /// The line of profiles.yml, 1-based.
    pub line: usize,
}

/// All variables that the strings of an output read by a literal name.
pub fn read_by(output: &Node) -> Vec<Read> {
    let mut found = Vec::new();
    // Aliases make a node reachable many times over; an output is no bomb once its nodes are looked at once each.
    let mut seen = std::collections::HashSet::new();
    let mut left = vec![(output, String::new())];
    while let Some((node, key)) = left.pop() {
        if !seen.insert(std::ptr::from_ref(node)) {
            continue;
        }
        match &node.value {
            Value::Str(text) => {
                found.extend(names(text).into_iter().map(|(name, has_default)| Read {
                    name,
                    has_default,
                    key: key.clone(),
                    line: node.mark.line,
                }));
            }
            Value::List(items) => {
                left.extend(
                    items
                        .iter()
                        .enumerate()
                        .map(|(at, item)| (&**item, below(&key, &at.to_string()))),
                );
            }
            Value::Map(mapping) => {
                left.extend(
                    mapping
                        .0
                        .iter()
                        .map(|(name, value)| (&**value, below(&key, name.text().unwrap_or("?")))),
                );
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Literal(_)
            | Value::Timestamp(_)
            | Value::Unusable(_) => {}
        }
    }
    found.sort_by(|one, other| {
        (one.line, &one.key, &one.name).cmp(&(other.line, &other.key, &other.name))
    });
    found
}

fn below(key: &str, name: &str) -> String {
    if key.is_empty() {
        name.to_owned()
    } else {
        format!("{key}.{name}")
    }
}

/// The literal first arguments of `env_var(…)` in a template, and whether a second follows; a name that is put together is not one.
fn names(text: &str) -> Vec<(String, bool)> {
    let mut names = Vec::new();
    if !text.contains("{{") && !text.contains("{%") {
        return names;
    }
    for call in text.split("env_var").skip(1) {
        let Some(argument) = call.trim_start().strip_prefix('(') else {
            continue;
        };
        let argument = argument.trim_start();
        let Some(quote) = argument.chars().next().filter(|c| *c == '\'' || *c == '"') else {
            continue;
        };
        let Some((name, after)) = argument[1..].split_once(quote) else {
            continue;
        };
        let after = after.trim_start();
        if after.starts_with([',', ')']) {
            names.push((name.to_owned(), after.starts_with(',')));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn literal_names_are_found_in_every_spelling() {
        let text = "{{ env_var('A') }}{{ env_var( \"B\" , 'x') }}{% if env_var ('C','1') == 'y' %}{% endif %}{{ env_var('D')|int }}";
        let found = names(text);
        let found: Vec<(&str, bool)> = found.iter().map(|(name, has)| (&**name, *has)).collect();
        assert_eq!(
            found,
            [("A", false), ("B", true), ("C", true), ("D", false)]
        );
    }

    #[test]
    fn built_names_and_plain_text_are_not() {
        assert!(names("{{ env_var('A' ~ x) }} {{ env_var(name) }} {{ env_var('A }}").is_empty());
        assert!(names("env_var('A')").is_empty());
    }
}
