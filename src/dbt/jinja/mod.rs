//! dbt's Jinja for the values that we must know ourselves: `profile:`, `target:`, and what mentions `vault`.
//!
//! The parser is minijinja's; the evaluator is ours, over Python's value types (facts rendering §4, design B). It gives
//! what dbt's native environment gives, or says which construct it does not know: never a guess.
#![forbid(unsafe_code)]

mod evaluate;
mod filters;
mod items;
mod literal;
mod operators;
mod source;
mod texts;
mod value;

use std::collections::BTreeSet;

pub(crate) use items::DICT_ATTRIBUTES;
pub use value::Value;

use super::environment::Lookup;

/// What `env_var()` does with a name that begins `DBT_ENV_SECRET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// The expression sees a placeholder, which is replaced after rendering: profiles.yml.
    Placeholder,
    /// dbt refuses: everywhere else.
    Refused,
}

/// What `var()` knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Vars {
    /// What `--vars` gave, empty without it: by name, `None` where a template cannot be given the value for certain.
    Known(Vec<(String, Option<Value>)>),
    /// There are some, and they cannot be known for certain.
    Unknown,
}

/// No `--vars`.
impl Default for Vars {
    fn default() -> Self {
        Self::Known(Vec::new())
    }
}

/// What a template can see.
pub struct Scope<'a> {
    /// `env_var()`: the environment as dbt has it.
    pub env_var: &'a dyn Fn(&str) -> LookupOwned,
    /// Whether secret variables may be named.
    pub secrets: Secrets,
    /// `var()`.
    pub vars: &'a Vars,
    /// `vault.NAME.FIELD`; without it any mention of `vault` is uncertain.
    pub vault: Option<&'a Vault<'a>>,
}

/// Gives the value of `vault.NAME.FIELD`, where there is one.
pub type Vault<'a> = dyn Fn(&str, &str) -> Option<Value> + 'a;

/// A variable of the environment, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupOwned {
    /// It is set.
    Text(String),
    /// It is set, or may be, and its value is not known for certain.
    Unknown,
    /// It is not set.
    Missing,
}

impl From<Lookup<'_>> for LookupOwned {
    fn from(found: Lookup<'_>) -> Self {
        match found {
            Lookup::Text(text) => Self::Text(text.to_owned()),
            Lookup::Unknown => Self::Unknown,
            Lookup::Missing => Self::Missing,
        }
    }
}

/// A rendered value, with what it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The value with Python's type.
    pub value: Value,
    /// Whether a `DBT_ENV_SECRET` variable or a `vault` value went into it.
    pub secret: bool,
    /// The environment variables that were asked for.
    pub variables: BTreeSet<String>,
}

/// Why a template has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JinjaError {
    /// We do not know for certain what dbt makes of this construct.
    #[error("it uses {construct}, which dbt-lease does not evaluate")]
    Uncertain {
        /// What it is, for people.
        construct: String,
    },
    /// dbt fails too: the variable is not set and there is no default.
    #[error("Env var required but not provided: '{name}'")]
    EnvVarMissing {
        /// The variable.
        name: String,
    },
    /// dbt fails too, for this reason.
    #[error("{why}")]
    Failed {
        /// dbt's or Python's reason; holds no value.
        why: String,
    },
}

impl JinjaError {
    /// A stable word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Uncertain { .. } => "uncertain",
            Self::EnvVarMissing { .. } => "env_var_missing",
            Self::Failed { .. } => "template",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::EnvVarMissing { name } => Some(format!("set {name}")),
            Self::Uncertain { .. } | Self::Failed { .. } => None,
        }
    }

    pub(super) fn uncertain(construct: impl Into<String>) -> Self {
        Self::Uncertain {
            construct: construct.into(),
        }
    }

    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into() }
    }
}

/// Whether a text holds Jinja at all. Without it, rendering still drops one final newline and evens line ends.
pub fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
}

/// Renders a string value of profiles.yml as dbt does (`SecretRenderer.render_value`, native).
///
/// The rule for keys named `password`, where dbt takes the raw text when rendering fails, is the caller's: it applies to
/// [`JinjaError::EnvVarMissing`] and [`JinjaError::Failed`].
///
/// # Errors
/// dbt would fail too, or what it would do is not known for certain.
pub fn render(text: &str, scope: &Scope<'_>) -> Result<Rendered, JinjaError> {
    let (value, asked) = evaluate::template(text, scope)?;
    let shown = value.shown()?;
    if !shown.contains(SECRET_PREFIX) {
        return Ok(Rendered {
            value,
            secret: asked.vault,
            variables: asked.variables,
        });
    }
    let Value::Str(text, _) = &value else {
        return Err(JinjaError::failed(
            "a secret variable's value cannot stand in a list or mapping",
        ));
    };
    // dbt's `re.search` with a greedy group: from the first start to the last end on one line.
    let Some((whole, name)) = placeholder_in(text) else {
        return Ok(Rendered {
            value: Value::None,
            secret: true,
            variables: asked.variables,
        });
    };
    let LookupOwned::Text(secret) = (scope.env_var)(name) else {
        return Err(JinjaError::failed(
            "two secret variables, or one twice, stand in one value",
        ));
    };
    let value = Value::text(text.replace(whole, &secret));
    Ok(Rendered {
        value,
        secret: true,
        variables: asked.variables,
    })
}

/// What begins the name of a secret variable; there is no underscore at its end.
pub(super) const SECRET_PREFIX: &str = "DBT_ENV_SECRET";
const PLACEHOLDER_START: &str = "$$$DBT_SECRET_START$$$";
const PLACEHOLDER_END: &str = "$$$DBT_SECRET_END$$$";

/// What an expression sees of a secret variable.
pub(super) fn placeholder(name: &str) -> String {
    format!("{PLACEHOLDER_START}{name}{PLACEHOLDER_END}")
}

/// The text that dbt replaces, and the name within.
fn placeholder_in(text: &str) -> Option<(&str, &str)> {
    let opening = format!("{PLACEHOLDER_START}{SECRET_PREFIX}");
    let mut from = 0;
    while let Some(at) = text[from..].find(&opening) {
        let start = from + at;
        let line = text[start..]
            .find('\n')
            .map_or(text.len(), |end| start + end);
        let inner = start + PLACEHOLDER_START.len();
        if let Some(end) = text[inner + SECRET_PREFIX.len()..line].rfind(PLACEHOLDER_END) {
            let end = inner + SECRET_PREFIX.len() + end;
            return Some((&text[start..end + PLACEHOLDER_END.len()], &text[inner..end]));
        }
        from = inner;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{JinjaError, LookupOwned, Scope, Secrets, Value, Vars, render};

    fn rendered(text: &str) -> Result<(Value, bool), JinjaError> {
        let lookup = |name: &str| match name {
            "A" => LookupOwned::Text("a".to_owned()),
            "DBT_ENV_SECRET_S" => LookupOwned::Text("s3cret".to_owned()),
            "UNKNOWN" => LookupOwned::Unknown,
            _ => LookupOwned::Missing,
        };
        let vault = |name: &str, field: &str| match (name, field) {
            ("warehouse", "username") => Some(Value::text("v-user")),
            ("warehouse", "options") => {
                Some(Value::Dict(vec![(Value::text("ssl"), Value::text("on"))]))
            }
            _ => None,
        };
        let vars = Vars::Known(vec![("odd".to_owned(), None)]);
        let scope = Scope {
            env_var: &lookup,
            secrets: Secrets::Placeholder,
            vars: &vars,
            vault: Some(&vault),
        };
        render(text, &scope).map(|rendered| (rendered.value, rendered.secret))
    }

    #[test]
    fn vault_values_are_looked_up_and_known_as_secret() {
        for (text, expected) in [
            ("{{ vault.warehouse.username }}", "v-user"),
            ("x-{{ vault['warehouse'].username | upper }}", "x-V-USER"),
            ("{{ vault.warehouse.options.ssl }}", "on"),
            ("{{ vault.warehouse.options['ssl'] }}", "on"),
            (
                "{{ vault.warehouse.username ~ '@' ~ env_var('A') }}",
                "v-user@a",
            ),
        ] {
            assert_eq!(rendered(text), Ok((Value::text(expected), true)), "{text}");
        }
        assert_eq!(
            rendered("{{ env_var('A') }}"),
            Ok((Value::text("a"), false))
        );
        assert_eq!(
            rendered("{{ env_var('DBT_ENV_SECRET_S') }}"),
            Ok((Value::text("s3cret"), true))
        );
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (text, construct) in [
            ("{{ vault }}", "`vault`"),
            ("{{ vault.warehouse }}", "`vault` without a field"),
            (
                "{{ env_var('UNKNOWN') }}",
                "UNKNOWN, whose value is not certain",
            ),
            (
                "{{ var('odd') }}",
                "a value of `--vars` that is no plain one",
            ),
            ("{{ modules.re }}", "`modules`"),
            ("{% for x in [] %}{% endfor %}", "the statement `for`"),
        ] {
            assert_eq!(
                rendered(text),
                Err(JinjaError::uncertain(construct)),
                "{text}"
            );
        }
        assert_eq!(
            rendered("{{ vault.warehouse.nope }}"),
            Err(JinjaError::failed("there is no `vault.warehouse.nope`"))
        );
    }

    #[test]
    fn an_expression_that_does_not_end_fails_as_in_dbt() {
        for text in ["{{ env_var('A')", "a{{", "{{{ 'x' }"] {
            assert!(
                matches!(rendered(text), Err(JinjaError::Failed { .. })),
                "{text}"
            );
        }
        assert_eq!(rendered("{# {{ #}"), Ok((Value::text(""), false)));
    }

    #[test]
    fn a_long_chain_is_refused_and_does_not_overflow() {
        let text = format!("{{{{ 1{} }}}}", " ~ 1".repeat(100_000));
        assert!(matches!(rendered(&text), Err(JinjaError::Uncertain { .. })));
        let text = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
        assert!(matches!(rendered(&text), Err(JinjaError::Uncertain { .. })));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\{\\{|\\}\\}|\\{%|%\\}|if|set|else|endif|env_var|\\(|\\)|'A'|\\||int|[-+~*/%.\\[\\]:=<> 0-9a-zé]|\\PC){0,24}") {
            let _ = rendered(&text);
        }
    }
}
