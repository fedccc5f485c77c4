//! `plan`: what would be used, and why. No network.
#![forbid(unsafe_code)]

use super::arguments::{Global, Plan as Arguments, Verify};
use super::failure::Failure;
use super::output;
use super::say::Say;
use super::steps::Surroundings;
use super::warming;
use crate::plan::{Plan, expect};

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
    if let Some(note) = resolved.engine.note() {
        Say::new(global).note(|| note);
    }
    let config = surroundings.config(global, &resolved)?;
    let mut plan = surroundings.plan(&resolved, config.as_ref())?;
    if resolved.profile.is_some() {
        let rendering = surroundings.rendering(&resolved)?;
        expect::check(&resolved, &plan, &rendering)?;
        let lent = plan.loan.as_ref().map(|loan| &loan.lent);
        surroundings.check(&arguments.command, &resolved, lent, &rendering)?;
        if let Some(loan) = plan.loan.as_ref().filter(|_| resolved.is_dbt) {
            let variables = &surroundings.variables;
            plan.parse_cache = warming::view(&resolved, loan, &rendering, variables);
        }
    }
    Ok(match arguments.verify {
        Some(Verify::Lease) => plan.with_lookups(),
        Some(Verify::Login) | None => plan,
    })
}

/// The plan for people: a line a fact, where it came from behind it; the policy last, ready to paste.
fn table(plan: &Plan) -> String {
    let mut text = String::new();
    for (name, lines) in plan.rows() {
        for (number, line) in lines.iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            text.push_str(format!("{name:<13}  {line}").trim_end());
            text.push('\n');
        }
    }
    if let Some(policy) = plan.policy.as_ref().filter(|policy| !policy.is_empty()) {
        text.push_str("\nthe least policy that allows these requests:\n\n");
        text.push_str(policy);
    }
    if plan.requests.is_none() {
        text.push_str("\nthere is no dbt-lease.yml here: this is what dbt would use\n");
    }
    text
}
