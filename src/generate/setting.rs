//! What an output says of where it leads, as far as that is known whatever the environment holds: a generated file must be the same on
//! every machine.
#![forbid(unsafe_code)]

use crate::config::is_variable_name;
use crate::dbt::yaml::{Node, Value};

/// What a key of an output says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Setting {
    /// It stands there.
    Known(String),
    /// A variable, and what counts without it: `{{ env_var('NAME', 'default') }}`.
    Variable(String, Option<String>),
    /// Nothing, or a template that is more than that.
    #[default]
    Unknown,
}

impl Setting {
    /// The first of some keys that an output has.
    pub(super) fn of(output: &Node, keys: &[&str]) -> Self {
        let Some(map) = output.map() else {
            return Self::Unknown;
        };
        let Some(node) = keys.iter().find_map(|key| map.get(key)) else {
            return Self::Unknown;
        };
        match &node.value {
            Value::Str(text) | Value::Literal(text) => Self::of_text(text),
            Value::Int(digits) => Self::Known(digits.clone()),
            _ => Self::Unknown,
        }
    }

    fn of_text(text: &str) -> Self {
        if text.contains("{%") || text.contains("{#") {
            return Self::Unknown;
        }
        if !text.contains("{{") {
            return Self::Known(text.to_owned());
        }
        Self::variable(text).unwrap_or_default()
    }

    /// `{{ env_var('NAME') }}`, perhaps with a default, perhaps made a number.
    fn variable(text: &str) -> Option<Self> {
        let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        let (call, filter) = match inner.rsplit_once('|') {
            Some((call, filter)) => (call, filter.trim()),
            None => (inner, ""),
        };
        if !["", "int", "as_number", "as_native", "as_text"].contains(&filter) {
            return None;
        }
        let rest = call.trim().strip_prefix("env_var")?.trim_start();
        let rest = rest.strip_prefix('(')?.trim().strip_suffix(')')?;
        let (name, rest) = literal(rest)?;
        if !is_variable_name(&name) {
            return None;
        }
        match rest.trim().strip_prefix(',') {
            None if rest.trim().is_empty() => Some(Self::Variable(name, None)),
            None => None,
            Some(rest) => {
                let (default, rest) = literal(rest)?;
                rest.trim()
                    .is_empty()
                    .then_some(Self::Variable(name, Some(default)))
            }
        }
    }

    /// The text where it is known.
    pub(super) fn known(&self) -> Option<&str> {
        match self {
            Self::Known(text) => Some(text),
            Self::Variable(..) | Self::Unknown => None,
        }
    }

    /// What counts where nobody says otherwise.
    pub(super) fn or_default(&self) -> Option<&str> {
        match self {
            Self::Known(text) | Self::Variable(_, Some(text)) => Some(text),
            Self::Variable(_, None) | Self::Unknown => None,
        }
    }
}

/// A plain string literal at the start, and what follows; none with a backslash in it.
fn literal(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let quote = text.chars().next().filter(|c| *c == '\'' || *c == '"')?;
    let (inner, rest) = text[1..].split_once(quote)?;
    (!inner.contains('\\')).then(|| (inner.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::Setting;

    #[test]
    fn a_lone_variable_is_known_by_its_name_and_default_and_more_is_not_guessed() {
        let of = Setting::of_text;
        let variable = |name: &str, default: Option<&str>| {
            Setting::Variable(name.to_owned(), default.map(str::to_owned))
        };
        assert_eq!(of("db"), Setting::Known("db".to_owned()));
        assert_eq!(of("{{ env_var('H') }}"), variable("H", None));
        assert_eq!(
            of("{{env_var( \"P\" , '5432' ) | int}}"),
            variable("P", Some("5432"))
        );
        for unknown in [
            "{{ env_var('H') }}.example.com",
            "{{ env_var('A') ~ env_var('B') }}",
            "{{ env_var('H') | upper }}",
            "{{ env_var('H', env_var('I')) }}",
            "{{ env_var('a b') }}",
            "{% if x %}a{% endif %}",
        ] {
            assert_eq!(of(unknown), Setting::Unknown, "{unknown}");
        }
    }
}
