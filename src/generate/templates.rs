//! The templates, and filling them. A name that a template forgets to quote is refused here, not printed.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use super::connection::Connection;
use super::error::GenerateError;
use super::facts::{Facts, Zone};
use super::{Format, Kind, Options, Shell, quote};

/// A file without its head.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) at_root: bool,
    pub(super) executable: bool,
    pub(super) text: String,
}

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        /// All templates, by name.
        const TEMPLATES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../templates/", $name)))),+];
    };
}

templates!(
    "vault/head.sh",
    "vault/zone.sh",
    "vault/policy.sh",
    "vault/auth.sh",
    "vault/database.sh",
    "vault/end.sh",
    "vault/tail.sh",
    "vault/policy.hcl",
    "vault/setup.tf",
    "sql/postgres.sql",
    "sql/mysql.sql",
    "sql/redshift.sql",
    "sql/snowflake.sql",
    "sql/sqlserver.sql",
    "run/makefile",
    "run/justfile",
    "run/alias.sh",
    "run/alias.fish",
    "ci/github.yml",
    "ci/gitlab.yml",
    "ci/buildkite.yml",
    "ci/circleci.yml",
    "ci/azure.yml",
    "ci/pre-commit.yml",
);

/// Fills the templates of a kind.
pub(super) fn fill(
    kind: Kind,
    options: &Options,
    facts: &Facts,
) -> Result<Vec<Part>, GenerateError> {
    let engine = engine();
    let of = |zone: Option<&Zone>| {
        Value::from(Serde(Context {
            facts,
            zone,
            ..Context::of(facts)
        }))
    };
    let whole = |template| filled(&engine, template, of(None));
    let one = |path: &str, at_root: bool, text: String| {
        vec![Part {
            path: PathBuf::from(path),
            at_root,
            executable: text.starts_with("#!"),
            text,
        }]
    };
    Ok(match kind {
        Kind::VaultPolicy => {
            let mut parts = Vec::new();
            for zone in &facts.zones {
                let text = filled(&engine, "vault/policy.hcl", of(Some(zone)))?;
                parts.extend(one(&format!("vault/{}.hcl", zone.role), false, text));
            }
            parts
        }
        Kind::VaultSetup if options.format == Format::Terraform => {
            one("vault/dbt-lease.tf", false, whole("vault/setup.tf")?)
        }
        Kind::VaultAuth => one("vault/auth.sh", false, script(&engine, facts, "auth")?),
        Kind::VaultDatabase => one(
            "vault/database.sh",
            false,
            script(&engine, facts, "database")?,
        ),
        Kind::VaultSetup => one("vault/setup.sh", false, script(&engine, facts, "setup")?),
        Kind::Makefile => one("dbt-lease.mk", false, whole("run/makefile")?),
        Kind::Justfile => one("dbt-lease.just", false, whole("run/justfile")?),
        Kind::ShellAlias => match options.shell {
            Shell::Fish => one("dbt-lease.fish", false, whole("run/alias.fish")?),
            shell => one(
                &format!("dbt-lease.{}", shell.name()),
                false,
                whole("run/alias.sh")?,
            ),
        },
        Kind::GitHub => one(".github/workflows/dbt.yml", true, whole("ci/github.yml")?),
        Kind::GitLab => one(".gitlab-ci.yml", true, whole("ci/gitlab.yml")?),
        Kind::Buildkite => {
            refuse_names(facts, "a pipeline of Buildkite", &["\\$"])?;
            one(".buildkite/pipeline.yml", true, whole("ci/buildkite.yml")?)
        }
        Kind::CircleCi => {
            refuse_names(facts, "a pipeline of CircleCI", &["<<"])?;
            one(".circleci/config.yml", true, whole("ci/circleci.yml")?)
        }
        Kind::Azure => {
            refuse_names(facts, "a pipeline of Azure DevOps", &["$(", "${{", "$["])?;
            one("azure-pipelines.yml", true, whole("ci/azure.yml")?)
        }
        Kind::PreCommit => one(".pre-commit-config.yaml", true, whole("ci/pre-commit.yml")?),
    })
}

/// A script for Vault's owner: what each environment needs, and that alone.
fn script(engine: &Environment<'_>, facts: &Facts, part: &str) -> Result<String, GenerateError> {
    let around = Context {
        part,
        ..Context::of(facts)
    };
    let mut text = filled(engine, "vault/head.sh", Value::from(Serde(&around)))?;
    for zone in &facts.zones {
        let around = Context {
            zone: Some(zone),
            ..around
        };
        let mut add = |template: &'static str,
                       connection: Option<&Connection>,
                       sql: &str|
         -> Result<(), GenerateError> {
            let context = Context {
                connection,
                sql,
                ..around
            };
            text.push_str(&filled(engine, template, Value::from(Serde(&context)))?);
            Ok(())
        };
        add("vault/zone.sh", None, "")?;
        if part == "setup" {
            add("vault/policy.sh", None, "")?;
        }
        if part != "database" {
            add("vault/auth.sh", None, "")?;
        }
        if part != "auth" {
            for connection in &zone.connections {
                let template = match connection.family {
                    "postgres" => "sql/postgres.sql",
                    "mysql" => "sql/mysql.sql",
                    "redshift" => "sql/redshift.sql",
                    "snowflake" => "sql/snowflake.sql",
                    _ => "sql/sqlserver.sql",
                };
                let context = Context {
                    connection: Some(connection),
                    ..around
                };
                let sql = filled(engine, template, Value::from(Serde(&context)))?;
                add("vault/database.sh", Some(connection), sql.trim_end())?;
            }
        }
        add("vault/end.sh", None, "")?;
    }
    text.push_str(&filled(
        engine,
        "vault/tail.sh",
        Value::from(Serde(&around)),
    )?);
    Ok(text)
}

/// What a template sees.
#[derive(Clone, Copy, Serialize)]
struct Context<'a> {
    facts: &'a Facts,
    zone: Option<&'a Zone>,
    connection: Option<&'a Connection>,
    part: &'a str,
    sql: &'a str,
}

impl<'a> Context<'a> {
    fn of(facts: &'a Facts) -> Self {
        Self {
            facts,
            zone: None,
            connection: None,
            part: "",
            sql: "",
        }
    }
}

/// What a language reads something into, in whatever quotes.
fn refuse_names(facts: &Facts, language: &'static str, read: &[&str]) -> Result<(), GenerateError> {
    for aim in &facts.targets {
        if read.iter().any(|special| aim.arguments.contains(special)) {
            return Err(GenerateError::Unquotable {
                what: format!("the target `{}`", aim.name),
                language,
                why: "it would be read as a variable there, whatever its quotes",
            });
        }
    }
    Ok(())
}

fn filled(
    engine: &Environment<'_>,
    template: &'static str,
    context: Value,
) -> Result<String, GenerateError> {
    engine
        .get_template(template)
        .and_then(|found| found.render(context))
        .map_err(|error| {
            let line = error
                .line()
                .map(|line| format!(", line {line}"))
                .unwrap_or_default();
            GenerateError::Template {
                template,
                why: format!("{error}{line}"),
            }
        })
}

fn engine() -> Environment<'static> {
    let mut engine = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    // Only the whitespace is said: the delimiters are the default ones.
    engine.set_syntax(syntax.unwrap_or_else(|error| unreachable!("{error}")));
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_formatter(|out, state, value| {
        if is_harmless(value) {
            return minijinja::escape_formatter(out, state, value);
        }
        Err(Error::new(
            ErrorKind::InvalidOperation,
            "a name is not quoted",
        ))
    });
    type Filter = fn(&str) -> String;
    let filters: [(&'static str, Filter); 13] = [
        ("sh", quote::sh),
        ("fish", quote::fish),
        ("make", quote::make),
        ("just", quote::just),
        ("yaml", quote::yaml),
        ("hcl", quote::hcl),
        ("json", quote::json),
        ("psql", quote::psql),
        ("sql", quote::sql),
        ("comment", |text| text.to_owned()),
        ("verbatim", |text| text.to_owned()),
        ("github", |text| text.replace("${{", "${{ '${{' }}")),
        ("dollars", |text| text.replace('$', "$$")),
    ];
    for (name, filter) in filters {
        engine.add_filter(name, move |text: &str| {
            Value::from_safe_string(filter(text))
        });
    }
    for (name, text) in TEMPLATES {
        // They are compiled in, and the tests fill each.
        engine
            .add_template(name, text)
            .unwrap_or_else(|error| unreachable!("{name}: {error}"));
    }
    engine
}

/// Whether a value may be printed as it is: it was quoted, or nothing in it is special in any of the languages.
fn is_harmless(value: &Value) -> bool {
    // An undefined name is the engine's to refuse; an `if` without `else` gives one that is nothing.
    if value.is_undefined()
        || value.is_safe()
        || matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
    {
        return true;
    }
    value.as_str().is_some_and(|text| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-/@".contains(c))
    })
}
