//! `render`: the output as dbt will see it. No network; works without dbt-lease.yml.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::arguments::{Global, Render as Arguments};
use super::exec::profile;
use super::failure::Failure;
use super::output;
use super::say::Say;
use super::steps::Surroundings;
use crate::render;
use crate::render::secrets::Secrets;
use crate::render::view::{View, view};

/// The JSON of `render --json`, an interface.
#[derive(Serialize)]
struct Rendered {
    profile: String,
    target: String,
    output: Map<String, Json>,
    unrendered: Map<String, Json>,
    leased: Map<String, Json>,
}

/// `dbt-lease render`
pub(crate) fn run(global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let rendered = rendered(global, arguments);
    if arguments.json {
        return output::json(rendered);
    }
    output::text(&text(&rendered?))
}

fn rendered(global: &Global, arguments: &Arguments) -> Result<Rendered, Failure> {
    let surroundings = Surroundings::look()?;
    let resolved = surroundings.resolve(&arguments.command, &arguments.selection)?;
    if !resolved.others.is_empty() {
        return Err(Failure::new(
            "several_profiles",
            "`render` shows one output, and several profiles are named",
            Some("ask for each by itself"),
        ));
    }
    if let Some(note) = resolved.engine.note() {
        Say::new(global).note(|| note);
    }
    let rendering = surroundings.rendering(&resolved)?;
    let config = surroundings.config(global, &resolved)?;
    let plan = surroundings.plan_to_look_at(&resolved, config.as_ref())?;
    if resolved.profile.is_none() {
        return Err(Failure::new(
            "no_profile",
            "this command reads no profile, so there is nothing to render",
            None,
        ));
    }
    let profile = profile(&resolved)?;
    surroundings.check(
        &arguments.command,
        &resolved,
        plan.loan.as_ref().map(|loan| &loan.lent),
        &rendering,
    )?;
    let (node, leased) = match &plan.loan {
        Some(loan) => {
            let secrets = Secrets::placeholders(&loan.lent);
            let made = render::output(
                profile,
                &loan.lent,
                &secrets,
                &rendering,
                Some(Path::new("…")),
            )?;
            (made.node, made.leased)
        }
        None => (std::rc::Rc::clone(&profile.output), Vec::new()),
    };
    let View { output, unrendered } = view(&node, &leased, &rendering, arguments.reveal)?;
    let strings = |pairs: Vec<(String, String)>| {
        pairs
            .into_iter()
            .map(|(key, text)| (key, Json::String(text)))
            .collect()
    };
    Ok(Rendered {
        profile: profile.name.clone(),
        target: profile.target.clone(),
        output,
        unrendered: strings(unrendered),
        leased: strings(leased),
    })
}

/// The output for people: a key a line, and what is to be known of it.
fn text(rendered: &Rendered) -> String {
    let mut text = format!("profile {}, target {}\n", rendered.profile, rendered.target);
    for (key, value) in &rendered.output {
        let note = match (rendered.leased.get(key), rendered.unrendered.get(key)) {
            (Some(from), _) => format!("  (leased: {})", from.as_str().unwrap_or_default()),
            (None, Some(why)) => format!("  (not rendered: {})", why.as_str().unwrap_or_default()),
            (None, None) => String::new(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {key}: {value}{note}");
    }
    text
}
