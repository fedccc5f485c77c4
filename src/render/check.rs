//! What dbt would refuse in the chosen output, found before anything is lent: `Profile.render_profile` and what follows it.
//!
//! Only what is certain: a value that cannot be evaluated for certain, and one that comes with a lease, is dbt's to judge.

use std::collections::BTreeSet;

use crate::dbt::jinja::{self, JinjaError};
use crate::dbt::yaml::{Mapping, Node, Value};
use crate::dbt::{Profile, Rendering};
use crate::place::Place;
use crate::render::key_values::{Demand, demands};
use crate::render::{RenderError, adapters, key_types};

/// What surrounds an output.
pub struct Around<'a> {
    /// What templates see.
    pub rendering: &'a Rendering<'a>,
    /// Variables whose values come later, with the lease.
    pub later: &'a BTreeSet<String>,
    /// Whether `threads:` counts: nothing else says how many.
    pub threads_count: bool,
    /// Whether the output is lent something: then it need not be whole, since the command may be no dbt.
    pub is_lent: bool,
}

/// Checks an output: the profile's own, or that with our keys set.
///
/// # Errors
/// What dbt would refuse for certain, with its place.
pub fn check(profile: &Profile, output: &Node, around: &Around<'_>) -> Result<(), RenderError> {
    let Some(keys) = output.map() else {
        return Ok(());
    };
    let checker = Checker { profile, around };
    let adapter = profile.adapter.as_deref().unwrap_or_default();
    let required = required(adapter);
    let optional = key_types::optional(adapter);
    for (key, value) in &keys.0 {
        let path = key.text().unwrap_or("?");
        let at = place(profile, key);
        let found = checker.walk(value, path, &at)?;
        // Fusion has types of its own.
        if around.rendering.is_fusion() {
            continue;
        }
        // Else dbt ends with a traceback.
        if path == "type" {
            expect(path, Wanted::Text, found, &at)?;
        }
        if path == "threads" && around.threads_count {
            expect(path, Wanted::Int, found, &at)?;
        }
        if let Some((_, wanted)) = required
            .iter()
            .chain(optional)
            .find(|(names, _)| names.contains(&path))
        {
            expect(path, *wanted, found, &at)?;
        }
        if let Some((_, demand)) = demands(adapter).iter().find(|(name, _)| *name == path) {
            checker.demand(*demand, keys, path, value, &at)?;
        }
    }
    if around.rendering.is_fusion() {
        return Ok(());
    }
    spellings(profile, output)?;
    // A lease may bring them.
    if !around.is_lent {
        for (names, _) in required {
            if names.iter().all(|name| keys.get(name).is_none()) {
                return Err(RenderError::KeyMissing {
                    key: names[0],
                    target: profile.target.clone(),
                    at: Place::of_file(&profile.file),
                });
            }
        }
    }
    Ok(())
}

/// Refuses one key under two spellings, which dbt does not take.
///
/// # Errors
/// There is one.
pub fn spellings(profile: &Profile, output: &Node) -> Result<(), RenderError> {
    let (Some(adapter), Some(keys)) = (profile.adapter.as_deref(), output.map()) else {
        return Ok(());
    };
    let database: &[&str] = match adapter {
        "postgres" | "redshift" | "risingwave" => &["database", "dbname"],
        "trino" | "athena" => &["database", "catalog"],
        "bigquery" => &["schema", "dataset"],
        _ => &[],
    };
    for names in adapters::spellings(adapter).chain([database]) {
        let mut used = keys
            .0
            .iter()
            .filter(|(key, _)| key.text().is_some_and(|text| names.contains(&text)));
        if let (Some((first, _)), Some((second, _))) = (used.next(), used.next()) {
            return Err(RenderError::TwoSpellings {
                first: first.text().unwrap_or_default().to_owned(),
                second: second.text().unwrap_or_default().to_owned(),
                at: Some(place(profile, second)),
            });
        }
    }
    Ok(())
}

/// What a key takes, in JSON Schema's sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A text.
    Text,
    /// A text or null.
    TextOrNull,
    /// A whole number; `4.0` is one, `true` is none.
    Int,
    /// A whole number or null.
    IntOrNull,
    /// A truth value.
    Bool,
    /// A truth value or null.
    BoolOrNull,
    /// A mapping or null.
    MapOrNull,
}

/// A key with its alias.
pub(super) type Key = (&'static [&'static str], Wanted);

const SCHEMA: Key = (&["schema"], Wanted::Text);
const HOST: Key = (&["host"], Wanted::Text);
const PORT: Key = (&["port"], Wanted::Int);
const DBNAME: Key = (&["database", "dbname"], Wanted::Text);

/// The keys that an adapter's credentials must have, in all of its releases for dbt 1.9 to 1.12. What their code checks
/// beyond types is theirs.
fn required(adapter: &str) -> &'static [Key] {
    match adapter {
        "postgres" | "risingwave" => &[
            HOST,
            PORT,
            DBNAME,
            SCHEMA,
            (&["user"], Wanted::Text),
            (&["password", "pass"], Wanted::Text),
        ],
        "redshift" => &[HOST, PORT, DBNAME, SCHEMA],
        "snowflake" => &[
            (&["account"], Wanted::Text),
            (&["database"], Wanted::Text),
            SCHEMA,
        ],
        "bigquery" => &[
            (&["method"], Wanted::Text),
            (&["schema", "dataset"], Wanted::Text),
        ],
        "trino" => &[HOST, PORT, (&["database", "catalog"], Wanted::Text), SCHEMA],
        "spark" => &[(&["method"], Wanted::Text), HOST, SCHEMA],
        "athena" => &[
            (&["database", "catalog"], Wanted::Text),
            SCHEMA,
            (&["region_name"], Wanted::Text),
        ],
        _ => &[],
    }
}

/// A rendered value's kind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Text,
    Int,
    Float,
    Bool,
    Null,
    List,
    Map,
    Undefined,
    /// It is not known, or comes later.
    Unknown,
}

impl Found {
    fn in_words(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Int => "a whole number",
            Self::Float => "a number with a fraction",
            Self::Bool => "a truth value",
            Self::Null => "null",
            Self::List => "a list",
            Self::Map => "a mapping",
            Self::Undefined => "undefined",
            Self::Unknown => "unknown",
        }
    }
}

fn expect(key: &str, wanted: Wanted, found: Found, at: &Place) -> Result<(), RenderError> {
    let fits = match wanted {
        Wanted::Text => found == Found::Text,
        Wanted::TextOrNull => matches!(found, Found::Text | Found::Null),
        Wanted::Int => found == Found::Int,
        Wanted::IntOrNull => matches!(found, Found::Int | Found::Null),
        Wanted::Bool => found == Found::Bool,
        Wanted::MapOrNull => matches!(found, Found::Map | Found::Null),
        Wanted::BoolOrNull => matches!(found, Found::Bool | Found::Null),
    };
    if fits || found == Found::Unknown {
        return Ok(());
    }
    Err(RenderError::KeyType {
        key: key.to_owned(),
        wanted,
        found: found.in_words(),
        at: at.clone(),
    })
}

struct Checker<'a> {
    profile: &'a Profile,
    around: &'a Around<'a>,
}

impl Checker<'_> {
    /// Renders what is in a node. `at` is the nearest key.
    fn walk(&self, node: &Node, path: &str, at: &Place) -> Result<Found, RenderError> {
        Ok(match &node.value {
            Value::Null => Found::Null,
            Value::Bool(_) => Found::Bool,
            Value::Int(_) => Found::Int,
            Value::Float(value) => of_float(*value),
            Value::Timestamp(_) => Found::Text,
            Value::Literal(_) | Value::Unusable(_) => Found::Unknown,
            Value::Str(text) => self.text(text, path, at)?,
            Value::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.walk(item, &format!("{path}.{number}"), at)?;
                }
                Found::List
            }
            Value::Map(mapping) => {
                for (key, value) in &mapping.0 {
                    let below = format!("{path}.{}", key.text().unwrap_or("?"));
                    self.walk(value, &below, &place(self.profile, key))?;
                }
                Found::Map
            }
        })
    }

    fn demand(
        &self,
        demand: Demand,
        keys: &Mapping,
        key: &str,
        value: &Node,
        at: &Place,
    ) -> Result<(), RenderError> {
        if let (Demand::OfTexts, Some(entries)) = (demand, value.map()) {
            for (name, value) in &entries.0 {
                let path = format!("{key}.{}", name.text().unwrap_or("?"));
                let at = place(self.profile, name);
                let found = self.walk(value, &path, &at)?;
                expect(&path, Wanted::Text, found, &at)?;
            }
            return Ok(());
        }
        let of = |name: &str| keys.get(name).and_then(|node| self.certain(node));
        let Some(why) = self
            .certain(value)
            .and_then(|text| demand.refuses(&text, of))
        else {
            return Ok(());
        };
        Err(RenderError::KeyValue {
            key: key.to_owned(),
            why,
            at: at.clone(),
        })
    }

    /// The text that a node is rendered to, where that is certain. It may be a secret: no message may show it.
    fn certain(&self, node: &Node) -> Option<String> {
        let rendering = self.around.rendering;
        match rendering.render_before(node.text()?, self.around.later) {
            Ok(jinja::Rendered {
                value: jinja::Value::Str(text, _),
                ..
            }) => Some(text.to_string()),
            _ => None,
        }
    }

    fn text(&self, text: &str, path: &str, at: &Place) -> Result<Found, RenderError> {
        let fusion = self.around.rendering.is_fusion();
        match self.around.rendering.render_before(text, self.around.later) {
            Ok(rendered) => Ok(match rendered.value {
                jinja::Value::None => Found::Null,
                jinja::Value::Bool(_) => Found::Bool,
                jinja::Value::Int(_) => Found::Int,
                jinja::Value::Float(value) => of_float(value),
                jinja::Value::Str(..) => Found::Text,
                jinja::Value::List(_) => Found::List,
                jinja::Value::Dict(_) => Found::Map,
                jinja::Value::Undefined(_) => Found::Undefined,
                jinja::Value::Tuple(_) => Found::Unknown,
            }),
            Err(JinjaError::Uncertain { .. }) => Ok(Found::Unknown),
            // dbt takes the raw text.
            Err(_) if path.split('.').any(|part| part == "password") => Ok(Found::Text),
            Err(JinjaError::Failed { .. }) if fusion => Ok(Found::Unknown),
            Err(error) => Err(RenderError::Dbt {
                path: path.to_owned(),
                why: error.to_string(),
                kind: error.kind(),
                at: Some(at.clone()),
            }),
        }
    }
}

fn place(profile: &Profile, key: &Node) -> Place {
    if key.mark.line == 0 {
        // A key of ours.
        return Place::of_file(&profile.file);
    }
    let text = key.text().unwrap_or_default();
    Place::of_key(&profile.file, key.mark.line, key.mark.column, text)
}

fn of_float(value: f64) -> Found {
    if value.is_finite() && value.fract() == 0.0 {
        Found::Int
    } else {
        Found::Float
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::{Around, check};
    use crate::dbt::jinja::Vars;
    use crate::dbt::{Context, Engine, Profile, Rendering, yaml};
    use crate::variables::Variables;

    fn checked(adapter: &str, output: &str, is_lent: bool) -> Result<(), String> {
        checked_with(adapter, output, is_lent, &Variables::default())
    }

    fn checked_with(
        adapter: &str,
        output: &str,
        is_lent: bool,
        variables: &Variables,
    ) -> Result<(), String> {
        let profile = Profile {
            file: "profiles.yml".into(),
            name: "p".to_owned(),
            target: "t".to_owned(),
            output: yaml::load(output.as_bytes()).expect("YAML"),
            config: None,
            adapter: Some(adapter.to_owned()),
        };
        let context = Context {
            variables,
            cwd: Path::new("/"),
        };
        let rendering =
            Rendering::of(&Engine::default(), Vars::default(), &context).expect("a rendering");
        let around = Around {
            rendering: &rendering,
            later: &BTreeSet::new(),
            threads_count: true,
            is_lent,
        };
        check(&profile, &profile.output, &around).map_err(|error| error.to_string())
    }

    /// Measured with the adapters' own credentials of dbt 1.9 and 1.12.
    #[test]
    fn an_output_without_a_key_that_its_adapter_needs_is_refused_unless_something_is_lent() {
        for (adapter, whole) in [
            (
                "postgres",
                "host: h\nport: 1\ndbname: d\nschema: s\nuser: u\npass: p\n",
            ),
            ("redshift", "host: h\nport: 1\ndatabase: d\nschema: s\n"),
            ("bigquery", "method: oauth\ndataset: d\n"),
            ("snowflake", "account: a\ndatabase: d\nschema: s\n"),
            ("trino", "host: h\nport: 1\ncatalog: c\nschema: s\n"),
            ("spark", "method: http\nhost: h\nschema: s\n"),
            ("athena", "database: d\nschema: s\nregion_name: r\n"),
        ] {
            assert_eq!(checked(adapter, whole, false), Ok(()), "{adapter}");
            for line in whole.lines() {
                let rest = whole.replace(&format!("{line}\n"), "");
                assert!(checked(adapter, &rest, false).is_err(), "{adapter}: {line}");
                assert_eq!(checked(adapter, &rest, true), Ok(()), "{adapter}: {line}");
                let (key, _) = line.split_once(": ").expect("a key");
                let listed = format!("{rest}{key}: [a list]\n");
                assert!(checked(adapter, &listed, true).is_err(), "{adapter}: {key}");
            }
        }
        assert_eq!(checked("duckdb", "path: x\n", false), Ok(()));
    }

    /// Measured with dbt 1.12: a TypeError of Python.
    #[test]
    fn an_adapter_s_name_that_is_no_text_is_refused() {
        for value in ["null", "5", "true", "[postgres]", "{a: b}"] {
            let why = checked("x", &format!("type: {value}\n"), true).expect_err(value);
            assert!(why.contains("`type`"), "{why}");
        }
        assert_eq!(checked("x", "type: x\n", true), Ok(()));
    }

    #[test]
    fn a_value_that_no_release_of_its_adapter_takes_is_refused() {
        for (adapter, rest, key, taken, refused) in [
            ("bigquery", "dataset: d", "method", "oauth", "Oauth"),
            ("bigquery", "method: oauth", "dataset", "d", "''"),
            ("databricks", "schema: s", "catalog", "null", "' '"),
            ("duckdb", "schema: s", "path", "':memory:'", "''"),
            ("spark", "host: h\nschema: s", "method", "session", "livy"),
            ("spark", "host: h\nschema: s", "database", "s", "d"),
            (
                "spark",
                "host: h\nschema: s",
                "database",
                "null",
                "\"{{ 'd' }}\"",
            ),
            (
                "spark",
                "host: h\nschema: s",
                "server_side_parameters",
                "{a: 'true'}",
                "{a: true}",
            ),
        ] {
            let checked =
                |value: &str| checked(adapter, &format!("{rest}\n{key}: {value}\n"), true);
            assert_eq!(checked(taken), Ok(()), "{adapter}: {key}");
            let why = checked(refused).expect_err(key);
            assert!(why.contains("dbt would refuse it"), "{why}");
        }
        // What comes with the lease, or is not certain, is dbt's to judge.
        for value in ["\"{{ modules.datetime }}\"", "\"{{ vault.a.b }}\""] {
            let output = format!("dataset: d\nmethod: {value}\n");
            assert_eq!(checked("bigquery", &output, true), Ok(()), "{value}");
        }
    }

    /// dbt puts a secret variable's value in before the adapter looks: `Must specify schema` for an empty one.
    #[test]
    fn a_secret_variable_s_value_is_held_to_the_demand_and_not_shown() {
        for (adapter, rest, key, value, is_taken) in [
            ("bigquery", "method: oauth", "dataset", "", false),
            ("bigquery", "method: oauth", "dataset", "canary", true),
            ("bigquery", "dataset: d", "method", "canary", false),
            ("bigquery", "dataset: d", "method", "oauth", true),
            ("databricks", "schema: s", "catalog", " ", false),
            ("duckdb", "schema: s", "path", "", false),
            ("duckdb", "schema: s", "path", "canary", true),
            ("spark", "host: h\nschema: s", "database", "canary", false),
            ("spark", "host: h\nschema: s", "database", "s", true),
        ] {
            let variables = Variables::from_iter([("DBT_ENV_SECRET_X", value)]);
            let output = format!("{rest}\n{key}: \"{{{{ env_var('DBT_ENV_SECRET_X') }}}}\"\n");
            let outcome = checked_with(adapter, &output, true, &variables);
            assert_eq!(outcome.is_ok(), is_taken, "{adapter}: {key}: {outcome:?}");
            assert!(!format!("{outcome:?}").contains("canary"), "{outcome:?}");
        }
    }

    #[test]
    fn a_key_of_a_type_that_no_release_of_its_adapter_takes_is_refused() {
        for (adapter, key, taken, refused) in [
            ("snowflake", "port", "9999", "'9999'"),
            ("snowflake", "password", "'1'", "1"),
            ("snowflake", "client_session_keep_alive", "true", "'true'"),
            ("bigquery", "keyfile_json", "{a: b}", "text"),
            ("bigquery", "timeout_seconds", "null", "'300'"),
            ("redshift", "connect_timeout", "null", "soon"),
            ("spark", "organization", "'1234'", "1234"),
            ("databricks", "token", "x", "[x]"),
            ("sqlserver", "encrypt", "yes", "'yes'"),
            ("clickhouse", "secure", "true", "'true'"),
            ("dremio", "use_ssl", "null", "text"),
            ("duckdb", "path", "x", "null"),
        ] {
            let checked = |value: &str| checked(adapter, &format!("{key}: {value}\n"), true);
            assert_eq!(checked(taken), Ok(()), "{adapter}: {key}");
            assert!(checked(refused).is_err(), "{adapter}: {key}");
        }
    }
}
