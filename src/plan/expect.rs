//! `expect:`: an output that leads elsewhere gets no lease. An edited `host:` would else get the password.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::{Plan, PlanError};
use crate::config::Place;
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
    let (Some(loan), Some(profile)) = (&plan.loan, &resolved.profile) else {
        return Ok(());
    };
    let (Some(_), Some(at)) = (&loan.session, &loan.expect.at) else {
        return Ok(());
    };
    let comparison = Comparison {
        profile,
        rendering,
        at,
        changed: changed(resolved, plan),
    };
    if let Some(host) = &loan.expect.host {
        comparison.nothing_leads_elsewhere()?;
        comparison.compare("host", host)?;
    }
    if let Some(port) = loan.expect.port {
        comparison.compare("port", &port.to_string())?;
    }
    if let Some(sslmode) = &loan.expect.sslmode {
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
            .flat_map(|loan| &loan.lent.env)
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
            file: self.profile.file.clone(),
            line: self.line(key),
            key,
            expected: expected.to_owned(),
            found: plain(&found),
            at: self.at.clone(),
        })
    }

    /// The value of a key as dbt will have it.
    fn value(&self, key: &'static str) -> Result<String, PlanError> {
        let uncertain = |why: &str| {
            Err(PlanError::NotComparable {
                file: self.profile.file.clone(),
                line: self.line(key),
                key,
                why: why.to_owned(),
                at: self.at.clone(),
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

    /// The key's line, else the output's.
    fn line(&self, key: &str) -> usize {
        let output = &self.profile.output;
        output
            .map()
            .and_then(|keys| keys.get(key))
            .map_or(output.mark.line, |node| node.mark.line)
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
