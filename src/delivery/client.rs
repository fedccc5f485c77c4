//! The leased target as libpq's variables, for PostgreSQL's own clients: where dbt-postgres would connect, and how.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::bridge::lone_variable;
use crate::dbt::Rendering;
use crate::dbt::jinja::Value as Rendered;
use crate::dbt::yaml::{Node, Value};
use crate::plan::client::READS;
use crate::secret::Secret;
use crate::variables::Variables;

/// Why an output does not say where to connect.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A value is not known for certain.
    #[error("`{key}:` of the output is not known for certain: {why}")]
    NotKnown {
        /// The key.
        key: &'static str,
        /// Why; holds no value.
        why: String,
    },
    /// A key without which libpq would connect elsewhere.
    #[error("the output has no `{key}:`, and the client would connect to some other place")]
    Missing {
        /// The key.
        key: &'static str,
    },
}

impl ClientError {
    /// A stable word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotKnown { .. } => "not_known",
            Self::Missing { .. } => "missing_key",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotKnown { .. } => {
                Some("write the value, or one lone `env_var(…)`, in profiles.yml".to_owned())
            }
            Self::Missing { key } => Some(format!("give the target its `{key}:` in profiles.yml")),
        }
    }
}

/// What the values of an output are read in.
pub struct Reading<'a> {
    /// dbt's templates.
    pub rendering: &'a Rendering<'a>,
    /// The process environment.
    pub variables: &'a Variables,
    /// The bridge's variables.
    pub bridge: &'a [(String, Secret)],
}

/// libpq's variables for an output whose leased keys are set.
///
/// `options` as dbt-postgres 1.10 has them: `search_path` with its blanks escaped in place of PGOPTIONS, `role` as `set role` would.
///
/// # Errors
/// See [`ClientError`].
pub fn variables(
    output: &Rc<Node>,
    reading: &Reading<'_>,
) -> Result<Vec<(String, Secret)>, ClientError> {
    let mut made: Vec<(String, Secret)> = Vec::new();
    for (keys, name) in READS {
        match reading.value(output, keys)? {
            Some(value) => made.push((name.to_owned(), value)),
            None if ["PGHOST", "PGUSER"].contains(&name) => {
                return Err(ClientError::Missing { key: keys[0] });
            }
            None => {}
        }
    }
    let search_path = reading.value(output, &["search_path"])?;
    let role = reading.value(output, &["role"])?;
    if search_path.is_some() || role.is_some() {
        let mut options = match search_path {
            Some(path) => format!("-c search_path={}", path.expose().replace(' ', "\\ ")),
            None => reading
                .variables
                .text("PGOPTIONS")
                .unwrap_or_default()
                .to_owned(),
        };
        if let Some(role) = role {
            options.push_str(&format!(" -c role={}", escaped(&folded(role.expose()))));
        }
        made.push((
            "PGOPTIONS".to_owned(),
            Secret::new(options.trim_start().to_owned()),
        ));
    }
    Ok(made)
}

/// A name as SQL reads it: in small letters, unless it stands in quotes.
fn folded(name: &str) -> String {
    let name = name.trim();
    match name
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

/// For PGOPTIONS, which is split at blanks.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(' ', "\\ ")
}

impl Reading<'_> {
    /// The value of a key, under the first of its names; none where there is nothing in it.
    fn value(&self, output: &Node, keys: &[&'static str]) -> Result<Option<Secret>, ClientError> {
        let found = keys
            .iter()
            .find_map(|key| Some((*key, output.map()?.get(key)?)));
        let Some((key, node)) = found else {
            return Ok(None);
        };
        let not_known = |why: &str| ClientError::NotKnown {
            key,
            why: why.to_owned(),
        };
        let text = match &node.value {
            Value::Null => return Ok(None),
            Value::Int(digits) => return Ok(Some(Secret::new(digits.clone()))),
            Value::Literal(text) => return Ok(whole(text)),
            Value::Str(text) => text,
            _ => return Err(not_known("it is neither a text nor a number")),
        };
        if let Some(name) = lone_variable(text) {
            if let Some((_, value)) = self.bridge.iter().find(|(other, _)| *other == name) {
                return Ok(Some(value.clone()));
            }
            if let (true, Some(value)) = (
                name.starts_with("DBT_ENV_SECRET"),
                self.variables.text(&name),
            ) {
                return Ok(whole(value));
            }
        }
        let later: BTreeSet<String> = self.bridge.iter().map(|(name, _)| name.clone()).collect();
        let rendered = self
            .rendering
            .render_before(text, &later)
            .map_err(|error| not_known(&error.to_string()))?;
        if rendered.secret {
            return Err(not_known("it is made from a secret variable and more"));
        }
        match rendered.value {
            Rendered::Str(text, _) => Ok(whole(&text)),
            Rendered::Int(number) => Ok(Some(Secret::new(number.to_string()))),
            Rendered::None => Ok(None),
            _ => Err(not_known("it is neither a text nor a number")),
        }
    }
}

fn whole(text: &str) -> Option<Secret> {
    (!text.is_empty()).then(|| Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dbt::jinja::Vars;
    use crate::dbt::yaml;
    use crate::dbt::{Context, Engine};

    fn made(output: &str) -> Result<Vec<(String, String)>, ClientError> {
        let variables: Variables = [
            ("DBT_ENV_SECRET_HOST", "db"),
            ("PORT", "5433"),
            ("PGOPTIONS", "-c x=1"),
        ]
        .into_iter()
        .collect();
        let cwd = tempfile::tempdir().expect("a directory");
        let context = Context {
            variables: &variables,
            cwd: cwd.path(),
        };
        let rendering =
            Rendering::of(&Engine::default(), Vars::default(), &context).expect("a rendering");
        let bridge = [(
            "DBT_ENV_SECRET_PW".to_owned(),
            Secret::new("it's".to_owned()),
        )];
        let reading = Reading {
            rendering: &rendering,
            variables: &variables,
            bridge: &bridge,
        };
        let node = yaml::load(output.as_bytes()).expect("YAML");
        let made = super::variables(&node, &reading)?;
        Ok(made
            .into_iter()
            .map(|(name, value)| (name, value.expose().to_owned()))
            .collect())
    }

    #[test]
    fn the_variables_say_where_dbt_would_connect_and_how() {
        let output = "{host: \"{{ env_var('DBT_ENV_SECRET_HOST') }}\", port: \"{{ env_var('PORT') | int }}\", user: u, \
                      pass: \"{{ env_var('DBT_ENV_SECRET_PW') }}\", database: d, sslmode: verify-full, sslrootcert: /ca.pem, \
                      sslcert: ~, search_path: 'a, b', role: '\"My Group\"', connect_timeout: 3}";
        let expected = [
            ("PGHOST", "db"),
            ("PGPORT", "5433"),
            ("PGUSER", "u"),
            ("PGPASSWORD", "it's"),
            ("PGDATABASE", "d"),
            ("PGCONNECT_TIMEOUT", "3"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/ca.pem"),
            ("PGOPTIONS", "-c search_path=a,\\ b -c role=My\\ Group"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(made(output).expect("known"), expected);
        let role = made("{host: h, user: u, role: Grp}").expect("known");
        assert_eq!(role[2].1, "-c x=1 -c role=grp");
    }

    #[test]
    fn what_is_not_known_for_certain_is_refused_and_not_shown() {
        for output in [
            "{host: \"x-{{ env_var('DBT_ENV_SECRET_HOST') }}\", user: u}",
            "{host: \"x-{{ env_var('DBT_ENV_SECRET_PW') }}\", user: u}",
            "{host: h, user: \"{{ modules.re }}\"}",
            "{host: h, user: [u]}",
        ] {
            let error = made(output).expect_err(output);
            assert_eq!(error.kind(), "not_known", "{output}");
            assert!(!error.to_string().contains("it's"), "{error}");
        }
        for output in ["{user: u}", "{host: '', user: u}", "{host: h}"] {
            assert_eq!(made(output).expect_err(output).kind(), "missing_key");
        }
    }
}
