//! `exec` and the shim: run a command on leased credentials.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use super::arguments::{Delivery, Exec, Global};
use super::asking::Asking;
use super::failure::Failure;
use super::lending;
use super::say::Say;
use super::session;
use super::steps::{Surroundings, no_config};
use super::warming;
use crate::config::{self, Config, Lent};
use crate::dbt::{Need, Profile, Rendering, Resolved};
use crate::delivery::environ::{Additions, for_child};
use crate::delivery::private;
use crate::delivery::session::{Contents, SessionDir, Step};
use crate::plan::{self, Loan, Plan};
use crate::render::secrets::Secrets;
use crate::render::{self, RenderError};
use crate::secret::Secret;
use crate::supervise::child::{self, Child, End, Purpose, Started, Waited};
use crate::supervise::footprint;
use crate::supervise::signals::Signals;
use crate::variables::{DBT_LEASE_REQUIRED, DBT_LEASE_SESSION, Variables};

/// What becomes of a project without dbt-lease.yml.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unadopted {
    /// `exec`: somebody wanted a lease.
    Refuse,
    /// The shim: an alias must not get in the way.
    RunUntouched,
}

/// `dbt-lease exec`
pub(crate) fn run(say: &Say, global: &Global, exec: &Exec) -> ExitCode {
    end(say, outcome(say, global, exec, Unadopted::Refuse))
}

/// `dbt-leased`
pub(crate) fn run_shim(say: &Say, global: &Global, exec: &Exec) -> ExitCode {
    end(say, outcome(say, global, exec, Unadopted::RunUntouched))
}

/// Ends as the child did; a failure of ours has its own codes.
fn end(say: &Say, outcome: Result<End, Failure>) -> ExitCode {
    let code = match outcome {
        Ok(End::Code(code)) => code,
        Ok(End::Signal(signal)) => child::die_of(signal),
        Err(failure) => {
            say.failure(&failure);
            return ExitCode::from(failure.code);
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn outcome(say: &Say, global: &Global, exec: &Exec, unadopted: Unadopted) -> Result<End, Failure> {
    let surroundings = Surroundings::look()?;
    let variables = &surroundings.variables;
    child::find(
        exec.command
            .first()
            .map_or(OsStr::new(""), OsString::as_os_str),
        variables,
    )?;
    if let Some(session) = enclosing_session(variables) {
        say.note(|| {
            format!(
                "the session {session} is already at work here; the command gets its credentials"
            )
        });
        // A target that is asked for here must not be passed over: where the session does not have it, dbt says so.
        let additions = Additions {
            selection: exec.selection.as_variables(&surroundings.cwd),
            ..Additions::default()
        };
        let environ = for_child(variables, &BTreeSet::new(), &additions);
        // Without its `--profiles-dir`, which would win over the session's. What cannot be resolved is dbt's to refuse.
        let resolved = surroundings.resolve(&exec.command, &exec.selection).ok();
        let argv = resolved.map_or_else(|| exec.command.clone(), |resolved| resolved.argv);
        return run_alone(&argv, &environ, true);
    }
    let Some((resolved, config)) = adopted(say, global, exec, &surroundings, unadopted)? else {
        return run_alone(&exec.command, variables, true);
    };
    if let Some(note) = resolved.engine.note() {
        say.note(|| note);
    }
    let plan = surroundings.plan(&resolved, Some(&config))?;
    surroundings.refuse_untrusted(&config, &resolved, &plan)?;
    let Some(loan) = &plan.loan else {
        say.note(|| "nothing is lent: the command needs no credentials".to_owned());
        let environ = for_child(variables, &plan.login_variables, &Additions::default());
        return run_alone(&exec.command, &environ, resolved.is_dbt);
    };
    let rendering = surroundings.rendering(&resolved)?;
    plan::expect::check(&resolved, &plan, &rendering)?;
    let loan = with_delivery(loan, exec.delivery)?;
    surroundings.check(&exec.command, &resolved, Some(&loan.lent), &rendering)?;
    go_on(&plan, variables)?;
    match &loan.session {
        Some(session) => lending::run(
            say,
            &surroundings,
            &rendering,
            exec,
            &Wanted {
                resolved: &resolved,
                plan: &plan,
                session,
                loan: &loan,
            },
        ),
        None => run_on_placeholders(say, &rendering, variables, (&resolved, &plan, &loan.lent)),
    }
}

/// A client gives a person the database itself. Where one sits there, a protected one is asked for twice.
fn go_on(plan: &Plan, variables: &Variables) -> Result<(), Failure> {
    let (Some(client), Some(true)) = (&plan.client, plan.protected) else {
        return Ok(());
    };
    let Some(mut asking) = Asking::of(variables) else {
        return Ok(());
    };
    let question = format!(
        "`{}` on the target `{}`, in the protected environment `{}`: go on?",
        client.program,
        plan.target.as_deref().unwrap_or_default(),
        plan.environment.as_deref().unwrap_or_default()
    );
    if asking.may(&question)? {
        return Ok(());
    }
    Err(Failure::new("not_allowed", "nothing was lent", None))
}

/// The project's resolution with its dbt-lease.yml; `None` where there is none and the command may run all the same.
fn adopted(
    say: &Say,
    global: &Global,
    exec: &Exec,
    surroundings: &Surroundings,
    unadopted: Unadopted,
) -> Result<Option<(Resolved, Config)>, Failure> {
    let required = surroundings.variables.text(DBT_LEASE_REQUIRED) == Some("1");
    let resolved = match surroundings.resolve(&exec.command, &exec.selection) {
        Ok(resolved) => resolved,
        // What is wrong in a project that has nothing to do with us is dbt's to say.
        Err(_)
            if unadopted == Unadopted::RunUntouched
                && !required
                && !surroundings.is_adopted(global, exec)? =>
        {
            say.note(|| "no dbt-lease.yml here: dbt runs untouched".to_owned());
            return Ok(None);
        }
        Err(failure) => return Err(failure),
    };
    if let Some(config) = surroundings.config(global, &resolved)? {
        return Ok(Some((resolved, config)));
    }
    if resolved.need == Need::None || (unadopted == Unadopted::RunUntouched && !required) {
        say.note(|| "no dbt-lease.yml here: the command runs untouched".to_owned());
        return Ok(None);
    }
    let place = resolved
        .project
        .as_ref()
        .map_or_else(|| surroundings.cwd.clone(), |project| project.dir.clone());
    Err(no_config(
        &place,
        "it is not known what to lend for this command",
    ))
}

/// The session that this process runs in, if that is one which is alive: its profiles directory is there and is ours.
///
/// A session lends in one environment and never twice: what is started in it uses what it has. A target of another environment is not
/// in its profiles.yml, and dbt says so.
pub(super) fn enclosing_session(variables: &Variables) -> Option<&str> {
    let session = variables.text(DBT_LEASE_SESSION)?;
    let directory = Path::new(variables.text("DBT_PROFILES_DIR")?);
    let is_its_own =
        directory.parent()?.file_name()? == session && directory.join("profiles.yml").is_file();
    is_its_own.then_some(session)
}

/// Runs a command with nothing lent.
fn run_alone(command: &[OsString], variables: &Variables, is_dbt: bool) -> Result<End, Failure> {
    in_loop(async {
        let signals = watch_signals()?;
        let started = Child::start(
            command,
            variables,
            Purpose::of(is_dbt, false),
            &signals,
            |_| None,
        )?;
        end_of(started, &signals).await
    })
}

/// The end of a command to which nothing is lent.
async fn end_of(started: Started, signals: &Signals) -> Result<End, Failure> {
    match started {
        Started::Running(child) => Ok(wait(child, signals).await?.ended.end),
        Started::Asked(signal) => Ok(End::Signal(signal as i32)),
    }
}

/// Runs a dbt command that reads its profile and does not connect.
fn run_on_placeholders(
    say: &Say,
    rendering: &Rendering<'_>,
    variables: &Variables,
    (resolved, plan, lent): (&Resolved, &Plan, &Lent),
) -> Result<End, Failure> {
    let profile = profile(resolved)?;
    say.note(|| {
        "this command does not connect: it gets placeholders, and nothing is lent".to_owned()
    });
    session::sweep(say, variables);
    let secrets = Secrets::placeholders(lent);
    let last = warming::last(say, resolved, (profile, lent), rendering, variables);
    let mut bridge = render::bridge(lent, &secrets)?;
    for (name, value) in &mut bridge {
        if let Some((_, last)) = last.variables.iter().find(|(of, _)| of == name) {
            *value = Secret::new(last.clone());
        }
    }
    let material = Material {
        profile,
        lent,
        secrets: &secrets,
        others: Vec::new(),
        rendering,
        kept: last.keys,
    };
    in_loop(async {
        // Before the directory is there: a signal must not leave it behind.
        let signals = watch_signals()?;
        // No secret is in it: the next start's sweep is enough for what a SIGKILL leaves.
        let directory = deliver(variables, &session::new_id()?, &material, &|_| {})?;
        let additions = Additions {
            profiles_dir: Some(directory.profiles_dir()),
            bridge: &bridge,
            ..Additions::default()
        };
        let environ = for_child(variables, &plan.login_variables, &additions);
        let purpose = Purpose::of(resolved.is_dbt, false);
        let end = match Child::start(&resolved.argv, &environ, purpose, &signals, |_| None) {
            Ok(started) => end_of(started, &signals).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = directory.remove() {
            say.warning(
                &format!("the profiles directory was not removed: {error}"),
                None,
            );
        }
        end
    })
}

/// What a command that needs a lease runs on.
pub(super) struct Wanted<'a> {
    pub(super) resolved: &'a Resolved,
    pub(super) plan: &'a Plan,
    pub(super) session: &'a plan::Session,
    pub(super) loan: &'a Loan,
}

/// The loan with `--delivery` in the place of dbt-lease.yml's `delivery:`, under the same rules.
fn with_delivery(loan: &Loan, delivery: Option<Delivery>) -> Result<Loan, Failure> {
    let mut loan = loan.clone();
    let Some(delivery) = delivery else {
        return Ok(loan);
    };
    let further = loan.others.iter_mut().flatten();
    let lents = std::iter::once(&mut loan.lent).chain(further.map(|further| &mut further.lent));
    for lent in lents {
        lent.delivery = match delivery {
            Delivery::File => config::Delivery::File,
            Delivery::Env if lent.env.is_empty() || !lent.fields.is_empty() => {
                return Err(Failure::new(
                    "delivery",
                    "`--delivery env` hands credentials over in variables alone, and the target in dbt-lease.yml does not say which",
                    Some(
                        "give the target `env:` and no `fields:`, and read the variables by env_var() in profiles.yml",
                    ),
                ));
            }
            Delivery::Env => config::Delivery::Env,
        };
    }
    Ok(loan)
}

/// The profile, which dbt's rules give to every command that needs one.
pub(super) fn profile(resolved: &Resolved) -> Result<&Profile, Failure> {
    resolved.profile.as_ref().ok_or_else(|| {
        Failure::new(
            "bug",
            "no profile was resolved for a command that needs one; please report this",
            None,
        )
    })
}

/// What a profiles directory is made of.
pub(crate) struct Material<'a> {
    pub(crate) profile: &'a crate::dbt::Profile,
    pub(crate) lent: &'a crate::config::Lent,
    pub(crate) secrets: &'a Secrets,
    pub(crate) others: Vec<Part<'a>>,
    pub(crate) rendering: &'a Rendering<'a>,
    /// Keys of the output that get these texts, whatever the secrets say.
    pub(crate) kept: Vec<(String, String)>,
}

/// A further profile, with what is lent for it.
pub(crate) struct Part<'a> {
    pub(crate) profile: &'a crate::dbt::Profile,
    pub(crate) lent: Option<(&'a crate::config::Lent, Secrets)>,
}

/// Writes the profiles directory of a session.
pub(crate) fn deliver(
    variables: &Variables,
    session: &str,
    material: &Material<'_>,
    tell: &dyn Fn(Step<'_>),
) -> Result<SessionDir, Failure> {
    let Material {
        profile,
        lent,
        secrets,
        others,
        rendering,
        kept,
    } = material;
    // dbt would invent a new anonymous id for each new directory.
    let user_yml = profile
        .file
        .parent()
        .and_then(|beside| std::fs::read(beside.join(".user.yml")).ok());
    let make = |files: Option<&Path>| -> Result<Contents, RenderError> {
        let mut output = render::output(profile, lent, secrets, rendering, files)?;
        for (key, text) in kept {
            output.keep(key, text)?;
        }
        let mut files_of_all = output.files;
        let mut profiles = vec![(*profile, output.node)];
        for Part { profile, lent } in others {
            let node = match lent {
                Some((lent, secrets)) => {
                    let output = render::output(profile, lent, secrets, rendering, files)?;
                    files_of_all.extend(output.files);
                    output.node
                }
                None => std::rc::Rc::clone(&profile.output),
            };
            profiles.push((profile, node));
        }
        Ok(Contents {
            profiles_yml: render::profiles_yml(profiles, rendering.is_fusion())?,
            files: files_of_all,
            user_yml: user_yml.clone(),
        })
    };
    Ok(SessionDir::deliver(
        &private::places(variables),
        session,
        std::iter::once((*profile, *lent, *secrets))
            .chain(others.iter().filter_map(|part| {
                let (lent, secrets) = part.lent.as_ref()?;
                Some((part.profile, *lent, secrets))
            }))
            .any(|(profile, lent, secrets)| render::wants_files(profile, lent, secrets)),
        tell,
        &make,
    )?)
}

/// Runs a future on this thread: signals, requests and timers in one loop.
pub(crate) fn in_loop<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // There are never more than a few; room for the usual 1,024 is 12 kB for as long as the command runs.
        .max_io_events_per_tick(32)
        .on_thread_park(footprint::before_sleep)
        .build()
        .map_err(|error| {
            Failure::new(
                "start",
                format!("the event loop cannot be started: {error}"),
                None,
            )
        })?;
    let outcome = runtime.block_on(work);
    // A name look-up that hangs has a thread of its own, and nobody waits for it.
    runtime.shutdown_background();
    outcome
}

pub(crate) fn watch_signals() -> Result<Signals, Failure> {
    Signals::install()
        .map_err(|error| Failure::new("start", format!("signals cannot be watched: {error}"), None))
}

pub(crate) async fn wait(child: Child, signals: &Signals) -> Result<Waited, Failure> {
    child.wait(signals).await.map_err(|error| {
        Failure::new(
            "wait",
            format!("the command's end could not be waited for: {error}"),
            None,
        )
    })
}
