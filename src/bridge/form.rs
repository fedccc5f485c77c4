//! What a credential's text is to dbt: a literal, one lone `env_var(…)`, or a template of another kind.
#![forbid(unsafe_code)]

use crate::dbt::jinja::{self, JinjaError, LookupOwned, Scope, Secrets, Vars};

/// The form of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Without a template.
    Literal,
    /// `{{ env_var('NAME') }}`, perhaps with a default or a filter that changes nothing.
    Lone(Lone),
    /// One expression whose value is no text: `… | int`, `fromjson(…)`. A secret variable can only give text.
    Native {
        /// Whether a literal stands in it.
        literal: bool,
    },
    /// `{{ vault.NAME.FIELD }}`, ours: the expression.
    Vault(String),
    /// Any other template.
    Template,
    /// Braces that do not close: dbt refuses it, but under `password`.
    Broken,
}

/// One `env_var(…)` and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lone {
    /// The variable.
    pub(super) name: String,
    /// The default as it is written, where it says anything.
    pub(super) default: Option<String>,
    /// Whether the default is nothing that could be a credential: `''`, `none`.
    pub(super) is_empty_default: bool,
    /// Whether a filter stands behind it.
    pub(super) filtered: bool,
}

/// An `env_var(…)` anywhere in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// The variable.
    pub(super) name: String,
    /// The default as it is written.
    pub(super) default: Option<String>,
}

/// Filters that give another type than text.
const NATIVE: [&str; 9] = [
    "int",
    "float",
    "as_native",
    "as_number",
    "as_bool",
    "list",
    "fromjson",
    "fromyaml",
    "length",
];

impl Form {
    /// Reads a text as dbt does: Jinja makes every line break a line feed and drops the last one.
    pub(super) fn of(text: &str) -> Self {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = text.strip_suffix('\n').unwrap_or(&text);
        if !jinja::is_template(text) {
            return Self::Literal;
        }
        if is_broken(text) {
            return Self::Broken;
        }
        let Some(expression) = lone_expression(text) else {
            return Self::Template;
        };
        if let Some(lone) = lone(expression) {
            return Self::Lone(lone);
        }
        if is_native(expression) {
            return Self::Native {
                literal: has_literal(expression),
            };
        }
        if is_vault(expression) {
            return Self::Vault(expression.to_owned());
        }
        Self::Template
    }
}

impl Form {
    /// Why dbt fails to render a text of this form, where that is certain whatever the variables hold. Under a key `password`, dbt then
    /// takes the text as it is.
    pub(super) fn refusal(&self, text: &str) -> Option<String> {
        match self {
            Self::Broken => Some("its template does not end".to_owned()),
            Self::Template => {
                let mentions = mentions(text);
                let secrets = mentions
                    .iter()
                    .filter(|mention| mention.name.starts_with("DBT_ENV_SECRET"));
                if secrets.count() > 1 {
                    let why = "two secret variables, or one twice, stand in one value";
                    return Some(why.to_owned());
                }
                let scope = Scope {
                    env_var: &|_| LookupOwned::Unknown,
                    secrets: Secrets::Placeholder,
                    vars: &Vars::Unknown,
                    vault: None,
                };
                match jinja::render(text, &scope) {
                    Err(JinjaError::Failed { why }) => Some(why),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// All `env_var(…)` of a text whose name is a plain string.
pub(super) fn mentions(text: &str) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("env_var") {
        let before = rest[..at].chars().next_back();
        rest = &rest[at + "env_var".len()..];
        if before.is_some_and(|ch| ch.is_alphanumeric() || ch == '_') {
            continue;
        }
        if let Some((call, _)) = call(rest) {
            found.push(call);
        }
    }
    found
}

/// The expression of a text that is `{{ … }}` and nothing else.
fn lone_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    let end = outside_strings(inner, |rest| {
        rest.starts_with("}}") || rest.starts_with("{%")
    });
    end.is_none().then_some(inner.trim())
}

/// `env_var(…)`, with filters that keep a text as it is.
fn lone(expression: &str) -> Option<Lone> {
    let (Mention { name, default }, mut rest) = call(expression.strip_prefix("env_var")?)?;
    let filtered = !rest.trim().is_empty();
    while let Some(after) = rest.trim_start().strip_prefix('|') {
        let after = after.trim_start();
        rest = ["as_text", "string"]
            .iter()
            .find_map(|filter| after.strip_prefix(filter))
            .filter(|rest| {
                !rest.starts_with(|ch: char| ch.is_alphanumeric() || "_(.".contains(ch))
            })?;
    }
    let plain = name
        .chars()
        .all(|ch| ch.is_ascii_alphanumeric() || ch == '_');
    if !rest.trim().is_empty() || !plain {
        return None;
    }
    // A default of None counts as none, and Jinja reads the empty string in two ways.
    let is_empty_default = default
        .as_deref()
        .is_none_or(|text| ["''", "\"\"", "none", "None"].contains(&text));
    Some(Lone {
        name,
        default,
        is_empty_default,
        filtered,
    })
}

/// Reads `('NAME')` or `('NAME', default)`; gives what stands behind it.
fn call(text: &str) -> Option<(Mention, &str)> {
    let text = text.trim_start().strip_prefix('(')?.trim_start();
    let text = match text.strip_prefix("var") {
        Some(rest) => rest.trim_start().strip_prefix('=')?.trim_start(),
        None => text,
    };
    let quote = text.chars().next().filter(|ch| "'\"".contains(*ch))?;
    let (name, text) = text[1..].split_once(quote)?;
    // dbt would take any name; one that needs escapes is left to dbt.
    if name.is_empty() || name.contains(['\\', '{', '}', '\n']) {
        return None;
    }
    let text = text.trim_start();
    let end = closing(text)?;
    let arguments = text[..end].trim().trim_end_matches(',').trim();
    let default = match arguments.strip_prefix(',') {
        None if arguments.is_empty() => None,
        None => return None,
        Some(default) => {
            let default = default.trim();
            let named = default
                .strip_prefix("default")
                .and_then(|rest| rest.trim_start().strip_prefix('='));
            Some(named.unwrap_or(default).trim().to_owned())
        }
    };
    let name = name.to_owned();
    Some((Mention { name, default }, &text[end + 1..]))
}

/// The `)` that closes what is open.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    outside_strings(text, |rest| {
        match rest.as_bytes().first() {
            Some(b'(' | b'[' | b'{') => depth += 1,
            Some(b')') if depth == 0 => return true,
            Some(b')' | b']' | b'}') => depth -= 1,
            _ => {}
        }
        false
    })
}

/// The first place outside of strings where something holds.
fn outside_strings(text: &str, mut holds: impl FnMut(&str) -> bool) -> Option<usize> {
    let mut quote = None;
    let mut characters = text.char_indices();
    while let Some((at, ch)) = characters.next() {
        match (quote, ch) {
            (Some(_), '\\') => {
                characters.next();
            }
            (Some(open), _) if open == ch => quote = None,
            (Some(_), _) => {}
            (None, _) if holds(&text[at..]) => return Some(at),
            (None, '\'' | '"') => quote = Some(ch),
            (None, _) => {}
        }
    }
    None
}

fn is_native(expression: &str) -> bool {
    let filter = |rest: &str| {
        let rest = rest.strip_prefix('|')?.trim_start();
        let end = rest.find(|ch: char| !(ch.is_alphanumeric() || ch == '_'));
        Some(NATIVE.contains(&&rest[..end.unwrap_or(rest.len())]))
    };
    ["fromjson", "fromyaml"]
        .iter()
        .any(|call| expression.starts_with(call))
        || outside_strings(expression, |rest| filter(rest) == Some(true)).is_some()
}

/// `vault.NAME.FIELD`
fn is_vault(expression: &str) -> bool {
    expression.starts_with("vault.")
        && expression.split('.').all(|part| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|ch| ch.is_ascii_alphanumeric() || ch == '_')
        })
        && expression.split('.').count() == 3
}

/// Whether anything but names of variables stands in an expression's strings.
fn has_literal(expression: &str) -> bool {
    mentions(expression)
        .iter()
        .any(|mention| mention.default.is_some())
        || !expression.contains("env_var")
}

/// Whether an opening brace of Jinja's has no closing one.
fn is_broken(text: &str) -> bool {
    let mut rest = text;
    loop {
        let next = ["{{", "{%", "{#"]
            .iter()
            .filter_map(|open| rest.find(open).map(|at| (at, *open)))
            .min();
        let Some((at, open)) = next else {
            return false;
        };
        let close = match open {
            "{{" => "}}",
            "{%" => "%}",
            _ => "#}",
        };
        let inner = &rest[at + 2..];
        let end = match open {
            "{#" => inner.find(close),
            _ => outside_strings(inner, |rest| rest.starts_with(close)),
        };
        match end {
            Some(end) => rest = &inner[end + 2..],
            None => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, Lone, Mention, mentions};

    fn lone(name: &str, default: Option<&str>, is_empty_default: bool, filtered: bool) -> Form {
        Form::Lone(Lone {
            name: name.to_owned(),
            default: default.map(str::to_owned),
            is_empty_default,
            filtered,
        })
    }

    #[test]
    fn a_lone_env_var_is_known_in_every_spelling() {
        for (text, expected) in [
            ("{{ env_var('A') }}", lone("A", None, true, false)),
            ("{{env_var(\"A\")}}", lone("A", None, true, false)),
            ("{{- env_var ( 'A' ) -}}\n", lone("A", None, true, false)),
            ("{{ env_var('A', '') }}", lone("A", Some("''"), true, false)),
            (
                "{{ env_var('A', none) }}",
                lone("A", Some("none"), true, false),
            ),
            (
                "{{ env_var('A', 'b, (c') }}",
                lone("A", Some("'b, (c'"), false, false),
            ),
            (
                "{{ env_var('A', default='b') }}",
                lone("A", Some("'b'"), false, false),
            ),
            ("{{ env_var(var='A') }}", lone("A", None, true, false)),
            ("{{ env_var('A') | as_text }}", lone("A", None, true, true)),
            (
                "{{ env_var('A', 'b') | string | as_text }}",
                lone("A", Some("'b'"), false, true),
            ),
            (
                "{{ env_var('A', env_var('B')) }}",
                lone("A", Some("env_var('B')"), false, false),
            ),
        ] {
            assert_eq!(Form::of(text), expected, "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_lone_env_var() {
        for (text, expected) in [
            ("plain", Form::Literal),
            ("a}}b{", Form::Literal),
            (" {{ env_var('A') }}", Form::Template),
            ("{{ env_var('A') }}{{ env_var('B') }}", Form::Template),
            ("{{ env_var('A') }}\n\n", Form::Template),
            ("{{ env_var('A') | trim }}", Form::Template),
            ("{{ env_var('A') ~ 'x' }}", Form::Template),
            ("{{ env_var(name) }}", Form::Template),
            ("{{ var('a') }}", Form::Template),
            ("{% if x %}a{% endif %}", Form::Template),
            ("{{ env_var('A') | int }}", Form::Native { literal: false }),
            (
                "{{ env_var('A', '1') | as_number }}",
                Form::Native { literal: true },
            ),
            (
                "{{ fromjson(env_var('A')) }}",
                Form::Native { literal: false },
            ),
            (
                "{{ vault.warehouse.password }}",
                Form::Vault("vault.warehouse.password".to_owned()),
            ),
            ("a{{b", Form::Broken),
            ("{{ '}}' ", Form::Broken),
            ("{{ '}}' }}", Form::Template),
            ("a{% b", Form::Broken),
        ] {
            assert_eq!(Form::of(text), expected, "{text}");
        }
    }

    #[test]
    fn mentions_are_found_anywhere() {
        let mention = |name: &str, default: Option<&str>| Mention {
            name: name.to_owned(),
            default: default.map(str::to_owned),
        };
        assert_eq!(
            mentions("x{{ env_var('A', 1) ~ env_var(\"B\") }}{% if my_env_var('C') %}"),
            [mention("A", Some("1")), mention("B", None)]
        );
    }
}
