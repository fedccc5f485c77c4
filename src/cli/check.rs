//! `check`: look, and say what to do. Nothing is lent, but by `--rehearse`.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::arguments::{Check as Arguments, Global};
use super::exec::{in_loop, profile, watch_signals};
use super::failure::Failure;
use super::giving_back::{LAST_ANSWER, ending_signal};
use super::lending::unless_it_panics;
use super::output;
use super::rehearsal;
use super::say::Say;
use super::session::new_id;
use super::steps::{Surroundings, no_config};
use super::terminal::Terminal;
use crate::check::outputs::{self, Output};
use crate::check::{self, Cure, Finding, Held, Looker, Seen, State, machine, quoted};
use crate::config::{Config, Environment, Lending, Target};
use crate::dbt::Resolved;
use crate::plan;
use crate::render::view::view;
use crate::supervise::child;
use crate::trust::{self, TrustError};

/// What was found. Its JSON is an interface.
#[derive(Default, Serialize)]
struct Report {
    findings: Vec<Finding>,
    /// By environment: what the look asked with beside what a run needs.
    policies: serde_json::Map<String, serde_json::Value>,
    ok: usize,
    warnings: usize,
    failures: usize,
    not_proven: usize,
}

/// `dbt-lease check`: 1 where something failed.
pub(crate) fn run(say: &Say, global: &Global, arguments: &Arguments) -> ExitCode {
    let outcome = look(global, arguments).and_then(|seen| {
        let report = Report::of(seen);
        if arguments.json {
            output::json(Ok(&report))?;
        } else {
            output::text(&report.text())?;
        }
        Ok(report.failures)
    });
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            say.failure(&failure);
            ExitCode::FAILURE
        }
    }
}

fn look(global: &Global, arguments: &Arguments) -> Result<Seen, Failure> {
    let surroundings = Surroundings::look()?;
    let mut seen = Seen::default();
    let read = surroundings
        .resolve(&[], &arguments.selection)
        .and_then(|resolved| {
            let config = surroundings.config(global, &resolved)?;
            let config = config
                .ok_or_else(|| no_config(&surroundings.cwd, "it is not known what to lend"))?;
            Ok((resolved, config))
        });
    let config = read.as_ref().ok().map(|(_, config)| config);
    let of_machine = machine::look(&surroundings.variables, config);
    let (resolved, config) = match &read {
        Ok(read) => read,
        Err(failure) => {
            seen.findings
                .push(failed("configuration", failure, "nothing can be lent"));
            seen.findings.extend(of_machine);
            return Ok(seen);
        }
    };
    seen.findings.push(Finding::ok(
        "configuration",
        format!(
            "`{}` keeps the isolation rules",
            trust::account::shown(&config.file.display().to_string())
        ),
    ));
    seen.findings.push(dbt(&surroundings, resolved));
    let chosen = chosen(&surroundings, arguments, resolved, config)?;
    let mut with_role_key = BTreeSet::new();
    for environment in &chosen {
        for target in &environment.targets {
            let (finding, has_role) =
                of_target(&surroundings, arguments, config, (environment, target));
            seen.findings.extend(finding);
            if has_role {
                with_role_key.insert(environment.name.clone());
            }
        }
    }
    seen.findings.extend(of_machine);
    seen.findings
        .extend(check::ways(&chosen, &surroundings.variables));
    let trusted = trusted(&surroundings, config, resolved);
    let is_trusted = trusted.state == State::Ok;
    seen.findings.push(trusted);
    if !is_trusted {
        return Ok(seen);
    }
    let is_named = is_named(resolved);
    let of_servers = ask_servers(
        &surroundings,
        arguments,
        config,
        (&chosen, &with_role_key, is_named && !arguments.all),
    )?;
    seen.findings.extend(of_servers.findings);
    seen.policies = of_servers.policies;
    seen.at_hand = of_servers.at_hand;
    if arguments.rehearse {
        let all = arguments.all;
        for environment in chosen
            .iter()
            .filter(|environment| environment.auth.is_some())
        {
            let finding = if seen.at_hand.contains(&environment.name) {
                rehearse(global, arguments, resolved, environment, all || is_named)
            } else {
                Some(Finding::new(
                    State::NotProven,
                    "rehearsal",
                    "nothing was rehearsed: its identity is not here, or does not log in",
                    "that a run can borrow, connect and give back shows only where it is",
                ))
            };
            seen.findings
                .extend(finding.map(|finding| finding.of(&environment.name)));
        }
    }
    Ok(seen)
}

/// A refusal of another step's, as a finding.
fn failed(id: &'static str, failure: &Failure, why: &'static str) -> Finding {
    Finding::new(State::Failure, id, failure.message.clone(), why)
        .with(failure.hint.clone().map(Cure::Action))
}

fn dbt(surroundings: &Surroundings, resolved: &Resolved) -> Finding {
    const ID: &str = "dbt";
    let engine = &resolved.engine;
    if child::find(OsStr::new("dbt"), &surroundings.variables).is_err() {
        let adapter = resolved
            .profile
            .as_ref()
            .and_then(|profile| profile.adapter.as_deref())
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        return Finding::new(
            State::Failure,
            ID,
            "there is no `dbt` on PATH",
            "there is nothing to lend to",
        )
        .cured_by(Cure::Command(format!(
            "pip install dbt-core dbt-{}",
            adapter.unwrap_or("postgres")
        )));
    }
    match engine.note() {
        Some(note) => Finding::new(
            State::Warning,
            ID,
            note,
            "its command line may be read otherwise than dbt itself reads it, and the gate stays open to the end",
        )
        .cured_by(Cure::Action("use a dbt-core of 1.9 to 1.12, or a newer dbt-lease".to_owned())),
        None => Finding::ok(ID, engine.said()),
    }
}

fn is_named(resolved: &Resolved) -> bool {
    let sources = resolved.sources.as_ref();
    sources.is_some_and(|sources| sources.target.named)
}

/// The environment of a target that is named, else all.
fn chosen<'c>(
    surroundings: &Surroundings,
    arguments: &Arguments,
    resolved: &Resolved,
    config: &'c Config,
) -> Result<Vec<&'c Environment>, Failure> {
    if arguments.all || !is_named(resolved) {
        return Ok(config.environments.iter().collect());
    }
    let plan = surroundings.plan_to_look_at(resolved, Some(config))?;
    let chosen = config.environments.iter();
    Ok(chosen
        .filter(|environment| Some(&environment.name) == plan.environment.as_ref())
        .collect())
}

/// A target's output: whether dbt and we accept it; and whether it sets a role itself.
fn of_target(
    surroundings: &Surroundings,
    arguments: &Arguments,
    config: &Config,
    (environment, target): (&Environment, &Target),
) -> (Vec<Finding>, bool) {
    const WHY: &str = "a run with this target ends before it begins";
    let Lending::Lent(lent) = &target.lending else {
        return (Vec::new(), false);
    };
    let selection = arguments
        .selection
        .at(target.profile.as_deref(), &target.target);
    let read = || -> Result<_, Failure> {
        let resolved = surroundings.resolve(&[], &selection)?;
        // The way to the server is told by itself.
        let plan = if plan::reach(environment, &surroundings.variables).is_ok() {
            surroundings.plan(&resolved, Some(config))?
        } else {
            surroundings.plan_to_look_at(&resolved, Some(config))?
        };
        let rendering = surroundings.rendering(&resolved)?;
        plan::expect::check(&resolved, &plan, &rendering)?;
        surroundings.check(&[], &resolved, Some(lent), &rendering)?;
        let profile = profile(&resolved)?.clone();
        let keys = view(&profile.output, &[], &rendering, false)?.output;
        Ok((profile, keys))
    };
    let name = trust::account::shown(&target.key);
    match read() {
        Err(failure) => {
            let finding = failed("output", &failure, WHY).of(&environment.name);
            (vec![finding], false)
        }
        Ok((profile, keys)) => {
            let output = Output {
                environment: &environment.name,
                protected: environment.protected,
                name: format!("the output `{name}`"),
                adapter: profile.adapter.as_deref(),
                keys,
            };
            let fits = Finding::ok("output", format!("what is lent fits the output `{name}`"));
            let mut found = vec![fits.of(&environment.name)];
            found.extend(outputs::look(&output));
            (found, output.has_role())
        }
    }
}

fn trusted(surroundings: &Surroundings, config: &Config, resolved: &Resolved) -> Finding {
    const WHY: &str = "nothing was sent to any server, and no run borrows anything: dbt-lease.yml says where logins go";
    let profiles = resolved.profile.iter().map(|profile| profile.file.clone());
    let files: Vec<_> = profiles
        .chain(resolved.deciding_files.iter().cloned())
        .collect();
    match trust::check_look(config, &files, &surroundings.variables) {
        Ok(()) => Finding::ok("trust", "dbt-lease.yml is trusted"),
        Err(error @ TrustError::NotTrusted { .. }) => {
            let what = error.to_string();
            let what = what
                .split("; this command")
                .next()
                .unwrap_or_default()
                .to_owned();
            Finding::new(State::Failure, "trust", what, WHY)
                .cured_by(Cure::Command(trust::command(&config.file)))
        }
        Err(error) => {
            let cure = match &error {
                TrustError::Foreign { file, cure, .. } if cure.starts_with("chmod ") => {
                    of_file("chmod o-w", file)
                }
                TrustError::Foreign { file, .. } => {
                    of_file(&format!("chown {}", nix::unistd::geteuid()), file)
                }
                error => error.hint().map(Cure::Action),
            };
            Finding::new(State::Failure, error.kind(), error.to_string(), WHY).with(cure)
        }
    }
}

fn of_file(command: &str, file: &Path) -> Option<Cure> {
    let file = quoted(&file.display().to_string());
    Some(Cure::Command(format!("{command} {file}")))
}

/// Everything that takes a server. Whatever ends it, the tokens are given back.
fn ask_servers(
    surroundings: &Surroundings,
    arguments: &Arguments,
    config: &Config,
    (chosen, with_role_key, is_named): (&[&Environment], &BTreeSet<String>, bool),
) -> Result<Seen, Failure> {
    // From here on tokens lie in our memory.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
    let session = new_id()?;
    let person = Terminal::new(&surroundings.variables, arguments.no_browser);
    let looker = Looker {
        config,
        variables: &surroundings.variables,
        person: &person,
        session: &session,
        is_named,
        with_role_key,
    };
    in_loop(async {
        let signals = watch_signals()?;
        let held = Held::default();
        let mut work = std::pin::pin!(unless_it_panics(check::environments(
            &looker, chosen, &held
        )));
        let seen = tokio::select! {
            biased;
            asked = ending_signal(&signals) => {
                // A login that is on its way has its token perhaps.
                let answered = async {
                    tokio::select! {
                        biased;
                        _ = &mut work => {}
                        () = held.closed() => {}
                    }
                };
                let _ = tokio::time::timeout(LAST_ANSWER, answered).await;
                Err(asked.signal)
            }
            seen = &mut work => Ok(seen),
        };
        let left = held.give_back().await;
        match seen {
            Err(signal) => {
                child::die_of(signal as i32);
                Err(Failure::new("signal", format!("ended by {signal}"), None))
            }
            Ok(None) => Err(Failure::panicked()),
            Ok(Some(mut seen)) => {
                seen.findings.extend(left);
                Ok(seen)
            }
        }
    })
}

/// The named target of an environment, or its first that lends.
fn rehearse(
    global: &Global,
    arguments: &Arguments,
    resolved: &Resolved,
    environment: &Environment,
    is_asked: bool,
) -> Option<Finding> {
    let own = resolved
        .project
        .as_ref()
        .and_then(|project| project.profile.as_deref());
    let named = resolved.profile.as_ref();
    let lending = || {
        let targets = environment.targets.iter();
        targets.filter(|target| matches!(target.lending, Lending::Lent(_)))
    };
    let target = lending()
        .find(|target| named.is_some_and(|profile| target.is(&profile.name, &profile.target, own)))
        .or_else(|| lending().next())?;
    if environment.protected && !is_asked {
        return Some(
            Finding::new(
                State::NotProven,
                "rehearsal",
                "nothing was rehearsed: the environment is protected, and its target is not named",
                "that a run can borrow, connect and give back shows only when it does",
            )
            .cured_by(Cure::Command(format!(
                "dbt-lease check --rehearse --target {}",
                quoted(&target.target)
            ))),
        );
    }
    let selection = arguments
        .selection
        .at(target.profile.as_deref(), &target.target);
    Some(rehearsal::of(global, &selection, &target.target))
}

impl Report {
    fn of(seen: Seen) -> Self {
        let count = |state| {
            let found = seen.findings.iter();
            found.filter(|finding| finding.state == state).count()
        };
        Self {
            ok: count(State::Ok),
            warnings: count(State::Warning),
            failures: count(State::Failure),
            not_proven: count(State::NotProven),
            policies: seen
                .policies
                .into_iter()
                .map(|(name, policy)| (name, policy.into()))
                .collect(),
            findings: seen.findings,
        }
    }

    /// For people: what is well in a line each, the rest with why and cure.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut groups: Vec<Option<&str>> = Vec::new();
        for finding in &self.findings {
            let group = finding.environment.as_deref();
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        for group in groups {
            text.push_str(&format!(
                "{}\n",
                group.unwrap_or("this project, this machine")
            ));
            for finding in &self.findings {
                if finding.environment.as_deref() == group {
                    text.push_str(&lines(finding));
                }
            }
            text.push('\n');
        }
        if self.not_proven > 0 && !self.policies.is_empty() {
            text.push_str("what check itself asks with, beside what a run needs:\n");
            for (environment, policy) in &self.policies {
                text.push_str(&format!("  {environment}\n"));
                for line in policy.as_str().unwrap_or_default().lines() {
                    text.push_str(&format!("    {line}\n"));
                }
            }
            text.push('\n');
        }
        text.push_str(&format!(
            "{} ok, {} to be better, {} failed, {} not proven\n",
            self.ok, self.warnings, self.failures, self.not_proven
        ));
        text
    }
}

fn lines(finding: &Finding) -> String {
    let state = match finding.state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Failure => "FAILED",
        State::NotProven => "not proven",
    };
    let what = finding.what.replace('\n', "\n              ");
    let mut text = format!("  {state:<10}  {what}\n");
    if !finding.why.is_empty() {
        text.push_str(&format!("              why:  {}\n", finding.why));
    }
    if let Some(cure) = &finding.cure {
        let place = match cure {
            Cure::Command(_) | Cure::Action(_) => "cure: ".to_owned(),
            Cure::Config(_) => "cure, a key: ".to_owned(),
            Cure::Policy { name, .. } => format!("cure, in the policy `{name}`: "),
        };
        // Several lines are to be copied: a document of a shell's ends at a line's beginning.
        let text_of_it = cure.text();
        text.push_str(&if text_of_it.contains('\n') {
            format!("              {place}\n{text_of_it}\n")
        } else {
            format!("              {place}{text_of_it}\n")
        });
    }
    text
}
