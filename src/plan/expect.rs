//! `expect:`: an output that leads elsewhere gets no lease. An edited `host:` would else get the password.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::error::Compared;
use super::{Loan, Plan, PlanError};
use crate::config::{Expect, Place};
use crate::dbt::jinja::Value as Rendered;
use crate::dbt::yaml::Value;
use crate::dbt::{Profile, Rendering, Resolved};
use crate::variables::{DBT_ENV_CUSTOM_ENV_LEASE_SESSION, DBT_LEASE_SESSION};

/// What libpq obeys before the host that it is given.
const LEADS_ELSEWHERE: [&str; 2] = ["PGHOSTADDR", "PGSERVICE"];

/// Compares the chosen output with `expect:` of its target, where a lease is planned.
///
/// # Errors
/// A value is another, or is not known for certain: it is missing, uses what we do not evaluate, or reads a variable that
/// the child does not get as we see it.
pub fn check(resolved: &Resolved, plan: &Plan, rendering: &Rendering<'_>) -> Result<(), PlanError> {
    let Some(loan) = &plan.loan else {
        return Ok(());
    };
    if loan.session.is_none() {
        return Ok(());
    }
    for (profile, lent) in resolved.profiles().zip(loan.all()) {
        if let Some((_, expect)) = lent {
            check_one(resolved, plan, rendering, (profile, expect))?;
        }
    }
    Ok(())
}

fn check_one(
    resolved: &Resolved,
    plan: &Plan,
    rendering: &Rendering<'_>,
    (profile, expect): (&Profile, &Expect),
) -> Result<(), PlanError> {
    let Some(at) = &expect.at else {
        return Ok(());
    };
    let comparison = Comparison {
        profile,
        rendering,
        at,
        changed: changed(resolved, plan),
    };
    if let Some(host) = &expect.host {
        comparison.nothing_leads_elsewhere()?;
        comparison.compare("host", host)?;
    }
    if let Some(port) = expect.port {
        comparison.compare("port", &port.to_string())?;
    }
    if let Some(sslmode) = &expect.sslmode {
        comparison.compare("sslmode", sslmode)?;
    }
    Ok(())
}

/// The variables that the child does not see as we do: an output could tell by them that it is being looked at.
fn changed(resolved: &Resolved, plan: &Plan) -> BTreeSet<String> {
    let mut names = plan.login_variables.clone();
    names.extend(
        plan.loan
            .iter()
            .flat_map(Loan::all)
            .flatten()
            .flat_map(|(lent, _)| &lent.env)
            .map(|bridge| bridge.name.clone()),
    );
    names.extend([DBT_LEASE_SESSION, DBT_ENV_CUSTOM_ENV_LEASE_SESSION].map(str::to_owned));
    let mut options = vec!["PROFILES_DIR"];
    if !resolved.is_dbt {
        options.extend(["PROFILE", "TARGET", "PROJECT_DIR"]);
    }
    for option in options {
        names.insert(format!("DBT_{option}"));
        names.insert(format!("DBT_ENGINE_{option}"));
    }
    names
}

struct Comparison<'a> {
    profile: &'a Profile,
    rendering: &'a Rendering<'a>,
    at: &'a Place,
    changed: BTreeSet<String>,
}

impl Comparison<'_> {
    fn compare(&self, key: &'static str, expected: &str) -> Result<(), PlanError> {
        let found = self.value(key)?;
        if found == expected {
            return Ok(());
        }
        Err(PlanError::Unexpected {
            compared: self.compared(key),
            expected: expected.to_owned(),
            found: plain(&found),
        })
    }

    /// The value of a key as dbt will have it.
    fn value(&self, key: &'static str) -> Result<String, PlanError> {
        let uncertain = |why: &str| {
            Err(PlanError::NotComparable {
                compared: self.compared(key),
                why: why.to_owned(),
            })
        };
        let node = self.profile.output.map().and_then(|output| output.get(key));
        let text = match node.map(|node| &node.value) {
            None => return uncertain("it is not there"),
            Some(Value::Int(digits)) => return Ok(digits.clone()),
            Some(Value::Str(text)) => text,
            Some(_) => return uncertain("it is neither a text nor a number"),
        };
        let rendered = match self.rendering.render(text, None) {
            Ok(rendered) => rendered,
            Err(error) => return uncertain(&error.to_string()),
        };
        if let Some(name) = rendered.variables.intersection(&self.changed).next() {
            return uncertain(&format!(
                "it reads {name}, which dbt does not get as it is now"
            ));
        }
        if rendered.secret {
            return uncertain("it is made from a secret");
        }
        match rendered.value {
            Rendered::Str(text, _) => Ok(text.to_string()),
            Rendered::Int(number) => Ok(number.to_string()),
            _ => uncertain("it is neither a text nor a number"),
        }
    }

    fn nothing_leads_elsewhere(&self) -> Result<(), PlanError> {
        for name in LEADS_ELSEWHERE {
            let asked = format!("{{{{ env_var('{name}', '') }}}}");
            let is_set = match self.rendering.render(&asked, None) {
                Ok(rendered) => {
                    !matches!(rendered.value, Rendered::Str(text, _) if text.is_empty())
                }
                Err(_) => true,
            };
            if is_set && !self.changed.contains(name) {
                return Err(PlanError::LedElsewhere {
                    name,
                    at: self.at.clone(),
                });
            }
        }
        Ok(())
    }

    /// The key's place, else the output's.
    fn compared(&self, key: &'static str) -> Box<Compared> {
        let output = &self.profile.output;
        let line = output
            .map()
            .and_then(|keys| keys.get(key))
            .map_or(output.mark.line, |node| node.mark.line);
        Box::new(Compared {
            file: self.profile.file.clone(),
            line,
            key,
            at: self.at.clone(),
        })
    }
}

/// The value where it is a name or a number and nothing else: what stands in a profiles.yml may be a secret.
fn plain(found: &str) -> Option<String> {
    let is_plain = found.len() <= 100
        && found
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:/".contains(&byte));
    (is_plain && !found.is_empty()).then(|| found.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::dbt::jinja::Vars;
    use crate::dbt::{Context, Engine, Need};
    use crate::plan::plan;
    use crate::plan::tests::command;
    use crate::variables::Variables;

    const EXPECT: &str = "{host: db.example.com, port: 5432, sslmode: verify-full}";
    const GOOD: [(&str, &str); 3] = [
        ("host", "db.example.com"),
        ("port", "{{ env_var('DB_PORT') | int }}"),
        ("sslmode", "{{ env_var('DB_MODE', 'verify-full') }}"),
    ];

    /// What is said of an output, with `kind`; `extra` stands beside `expect` in the target.
    fn compared(
        output: &[(&str, &str)],
        expect: &str,
        extra: &str,
        variables: &[(&str, &str)],
        is_dbt: bool,
    ) -> Result<(), (&'static str, String)> {
        let text = format!(
            "version: 1\nvault: {{address: 'https://v:8200'}}\nenvironments:\n  e:\n    auth: {{method: approle, role_id_env: \
             ROLE_ID, secret_id_env: SECRET_ID}}\n    targets:\n      prod: {{secrets: {{warehouse: database/creds/x}}, \
             expect: {expect}{extra}}}\n"
        );
        let variables: Variables = [("DB_PORT", "5432")]
            .into_iter()
            .chain(variables.iter().copied())
            .collect();
        let config =
            Config::parse(Path::new("/p/dbt-lease.yml"), &text, &variables).expect("a good file");
        let mut resolved = command(Need::Lease, "prod", true, output);
        resolved.is_dbt = is_dbt;
        let plan = plan(&resolved, Some(&config), &variables).expect("a plan");
        let cwd = tempfile::tempdir().expect("a directory");
        let context = Context {
            variables: &variables,
            cwd: cwd.path(),
        };
        let rendering =
            Rendering::of(&Engine::default(), Vars::default(), &context).expect("a rendering");
        check(&resolved, &plan, &rendering).map_err(|error| (error.kind(), error.to_string()))
    }

    /// GOOD with one key another.
    fn with(key: &str, value: &str) -> Result<(), (&'static str, String)> {
        let output = GOOD.map(|(name, good)| (name, if name == key { value } else { good }));
        compared(
            &output,
            EXPECT,
            "",
            &[("DBT_ENV_SECRET_HOST", "db.example.com")],
            true,
        )
    }

    #[test]
    fn an_output_that_leads_where_it_should_is_lent_to() {
        assert_eq!(compared(&GOOD, EXPECT, "", &[], true), Ok(()));
        assert_eq!(with("port", "5432"), Ok(()));
        assert_eq!(
            compared(&[("host", "elsewhere")], "{port: 5432}", "", &[], true)
                .expect_err("no port")
                .0,
            "output_not_comparable"
        );
        assert_eq!(
            compared(
                &[("port", "5432")],
                "{port: 5432}",
                "",
                &[("PGHOSTADDR", "192.0.2.1")],
                true
            ),
            Ok(())
        );
    }

    #[test]
    fn another_value_is_refused_with_both() {
        assert_eq!(
            with("host", "evil.example.com"),
            Err((
                "unexpected_output",
                "/home/u/.dbt/profiles.yml:5: `host` is `evil.example.com`, and /p/dbt-lease.yml:7 expects `db.example.com`".to_owned()
            ))
        );
        for (key, value) in [
            ("host", "db.example.com,evil.example.com"),
            ("host", "DB.example.com"),
            ("host", "db.example.com "),
            ("host", "{{ 'evil.' ~ 'db.example.com' }}"),
            ("port", "5433"),
            ("port", "05432"),
            ("sslmode", "disable"),
        ] {
            assert_eq!(
                with(key, value).expect_err(value).0,
                "unexpected_output",
                "{key}: {value}"
            );
        }
        assert_eq!(
            compared(&GOOD, EXPECT, "", &[("DB_MODE", "disable")], true)
                .expect_err("refused")
                .0,
            "unexpected_output"
        );
    }

    #[test]
    fn a_value_that_may_be_a_secret_is_not_quoted() {
        let (_, said) = with("host", "postgres://user:hunter2@db").expect_err("refused");
        assert!(said.contains("`host` is something else"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn what_is_not_known_for_certain_is_refused() {
        for (value, why) in [
            (
                "{{ env_var('UNSET') }}",
                "Env var required but not provided",
            ),
            (
                "{{ env_var('DBT_ENV_SECRET_HOST') }}",
                "it is made from a secret",
            ),
            ("{{ vault.warehouse.host }}", "it uses"),
            ("{{ range(3) | sum }}", "it uses"),
        ] {
            let (kind, said) = with("host", value).expect_err(value);
            assert_eq!(kind, "output_not_comparable", "{value}: {said}");
            assert!(said.contains(why), "{value}: {said}");
        }
        let missing = compared(&GOOD[..2], EXPECT, "", &[], true).expect_err("refused");
        assert!(missing.1.ends_with("it is not there"), "{}", missing.1);
    }

    #[test]
    fn an_output_cannot_tell_that_it_is_only_looked_at() {
        let cases = [
            // What we set, what we take away, what the bridge brings.
            (
                "{{ 'evil' if env_var('DBT_LEASE_SESSION', '') else 'db.example.com' }}",
                true,
            ),
            (
                "{{ 'evil' if env_var('DBT_ENV_CUSTOM_ENV_LEASE_SESSION', '') else 'db.example.com' }}",
                true,
            ),
            (
                "{{ 'evil' if env_var('DBT_ENGINE_PROFILES_DIR', '') else 'db.example.com' }}",
                true,
            ),
            (
                "{{ 'db.example.com' if env_var('VAULT_' ~ 'TOKEN', '') else 'evil' }}",
                true,
            ),
            ("{{ env_var('PGPASS' ~ 'WORD', 'db.example.com') }}", true),
            ("{{ env_var('DBT_TARGET', 'db.example.com') }}", false),
        ];
        let extra = ", env: {PGPASSWORD: '{{ vault.warehouse.password }}'}";
        for (value, is_dbt) in cases {
            let (kind, said) = compared(
                &[("host", value)],
                "{host: db.example.com}",
                extra,
                &[("VAULT_TOKEN", "x")],
                is_dbt,
            )
            .expect_err(value);
            assert_eq!(kind, "output_not_comparable", "{value}: {said}");
            assert!(
                said.contains("which dbt does not get as it is now"),
                "{value}: {said}"
            );
        }
    }

    #[test]
    fn a_variable_that_leads_past_the_host_is_refused_unless_the_trusted_file_sets_it() {
        for name in LEADS_ELSEWHERE {
            let (kind, said) =
                compared(&GOOD, EXPECT, "", &[(name, "192.0.2.1")], true).expect_err(name);
            assert_eq!(kind, "unexpected_output");
            assert!(said.contains(name), "{said}");
        }
        let extra = ", env: {PGHOSTADDR: '192.0.2.7'}";
        assert_eq!(
            compared(&GOOD, EXPECT, extra, &[("PGHOSTADDR", "x")], true),
            Ok(())
        );
    }
}
