//! `plan`: what would be used, and why. No network.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use super::arguments::{Global, Plan as Arguments};
use super::failure::Failure;
use super::output;
use super::steps::Surroundings;
use crate::plan::{Lease, Plan};

/// `dbt-lease plan`
pub(crate) fn run(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let planned = plan(global, arguments);
    if arguments.json {
        return output::json(planned);
    }
    output::text(&table(&planned?))
}

fn plan(global: &Global, arguments: &Arguments) -> Result<Plan, Failure> {
    let surroundings = Surroundings::look()?;
    let resolved = surroundings.resolve(&arguments.command, &arguments.selection)?;
    let config = surroundings.config(global, &resolved)?;
    surroundings.plan(&resolved, config.as_ref())
}

/// The plan for people: a line a fact, where it came from behind it.
fn table(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str, source: Option<&str>| {
        let from = plan
            .sources
            .get(source.unwrap_or_default())
            .map(|said| format!("  ({said})"))
            .unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<13} {value}{from}");
    };
    if let Some(project) = &plan.project {
        line(
            "project",
            &format!("{} in {}", project.name, project.dir.display()),
            Some("project"),
        );
    }
    if let Some(file) = &plan.profiles_file {
        line(
            "profiles",
            &file.display().to_string(),
            Some("profiles_dir"),
        );
    }
    if let Some(profile) = &plan.profile {
        line("profile", profile, Some("profile"));
    }
    if let Some(target) = &plan.target {
        line("target", target, Some("target"));
    }
    if let Some(environment) = &plan.environment {
        let protected = if plan.protected == Some(true) {
            ", protected"
        } else {
            ""
        };
        line(
            "environment",
            &format!("{environment}{protected}"),
            Some("environment"),
        );
    }
    let lease = match plan.lease {
        Lease::Needed => "needed",
        Lease::Placeholder => {
            "not needed: the command reads its profile and does not connect; it gets placeholders"
        }
        Lease::None => "not needed",
    };
    line("lease", lease, None);
    if let Some(session) = plan.loan.as_ref().and_then(|loan| loan.session.as_ref()) {
        line("vault", &session.server.address, None);
    }
    if let Some(login) = &plan.login {
        let mount = login
            .mount
            .as_ref()
            .map(|mount| format!(" at auth/{mount}"))
            .unwrap_or_default();
        let role = login
            .role
            .as_ref()
            .map(|role| format!(", role {role}"))
            .unwrap_or_default();
        line(
            "login",
            &format!("{}{mount}{role}", login.method),
            Some("login"),
        );
    }
    for secret in plan.secrets.iter().flatten() {
        line("secret", &format!("{}: {}", secret.name, secret.path), None);
    }
    if let Some(loan) = &plan.loan {
        let how = match loan.lent.delivery {
            crate::config::Delivery::File => {
                "file: a private profiles.yml that holds the credential"
            }
            crate::config::Delivery::Env => {
                "env: variables for env_var(); the private profiles.yml holds no secret"
            }
        };
        line("delivery", how, None);
    }
    for (number, request) in plan.requests.iter().flatten().enumerate() {
        line(
            if number == 0 { "requests" } else { "" },
            &format!("{:<4} {}", request.method, request.path),
            None,
        );
    }
    for (number, row) in plan
        .policy
        .iter()
        .flat_map(|policy| policy.lines())
        .enumerate()
    {
        line(if number == 0 { "policy" } else { "" }, row, None);
    }
    if plan.environment.is_none() && plan.requests.is_none() {
        line(
            "",
            "there is no dbt-lease.yml here: this is what dbt would use",
            None,
        );
    }
    // Empty first columns leave their blanks behind.
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
        + "\n"
}
