//! `env`: what `exec` gives its command, printed for a shell that cannot be wrapped. The janitor keeps the session alive when this process
//! has ended: until its time, or `dbt-lease end`.
#![forbid(unsafe_code)]

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};

use zeroize::Zeroizing;

use super::arguments::{Env as Arguments, Format, Global};
use super::exec::{Wanted, enclosing_session, in_loop, watch_signals};
use super::failure::Failure;
use super::lending::unless_it_panics;
use super::output;
use super::say::Say;
use super::session::{Borrowed, Session, Stop};
use super::steps::{Surroundings, no_config};
use crate::delivery::environ;
use crate::delivery::session::SessionDir;
use crate::plan::{self, Plan};
use crate::record::audit::stamp;
use crate::supervise::child;
use crate::supervise::janitor::handle::Janitor;
use crate::variables::Variables;
use crate::vault::auth::TokenKind;
use crate::vault::client::Client;

/// The session ends by so much before what was lent does, so that it can be given back; or by a tenth of a shorter life.
const MARGIN: Duration = Duration::from_secs(10);
/// Files whose lines every later step of a CI job reads.
const OF_LATER_STEPS: [&str; 4] = [
    "GITHUB_ENV",
    "GITHUB_OUTPUT",
    "GITHUB_STEP_SUMMARY",
    "BASH_ENV",
];

/// `dbt-lease env`
pub(crate) fn run(say: &Say, global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let surroundings = Surroundings::look()?;
    let variables = &surroundings.variables;
    refuse_a_public_place(variables, arguments.force)?;
    if let Some(session) = enclosing_session(variables) {
        return Err(Failure::new(
            "nested",
            format!("this shell has the credentials of the session {session}"),
            Some(&format!("`dbt-lease end {session}` ends it")),
        ));
    }
    let selection = &arguments.selection;
    let resolved = surroundings.resolve(&[], selection)?;
    let config = surroundings
        .config(global, &resolved)?
        .ok_or_else(|| no_config(&surroundings.cwd, "it is not known what to lend"))?;
    let plan = surroundings.plan(&resolved, Some(&config))?;
    let loan = plan.loan.as_ref();
    let (Some(loan), Some(session)) = (loan, loan.and_then(|loan| loan.session.as_ref())) else {
        return Err(Failure::new(
            "nothing_lent",
            "the target needs nothing from Vault, so there is nothing to print",
            None,
        ));
    };
    refuse_protected(&plan, arguments.force)?;
    surroundings.refuse_untrusted(&config, &resolved, &plan)?;
    let rendering = surroundings.rendering(&resolved)?;
    plan::expect::check(&resolved, &plan, &rendering)?;
    surroundings.check(&[], &resolved, Some(&loan.lent), &rendering)?;
    let wanted = Wanted {
        resolved: &resolved,
        plan: &plan,
        session,
        loan,
    };
    let session = Session {
        selection: selection.as_variables(&surroundings.cwd),
        ..Session::new(say, &surroundings, &rendering, &wanted)?
    };
    session.begin()?;
    in_loop(hand_out(&session, arguments.format))
}

/// Lends, prints, and leaves the session to the janitor. Where any of that fails, everything is given back.
async fn hand_out(session: &Session<'_>, format: Format) -> Result<(), Failure> {
    let signals = watch_signals()?;
    let mut record = session.open_record()?;
    let warn = |message: &str| session.say.warning(message, None);
    let janitor = Janitor::start(session.introduction(), record.as_ref(), &warn)?;
    let client = Client::new(&session.wanted.session.server, &session.id)?;
    let started = Instant::now();
    let mut borrowed = Borrowed::default();
    let work = async {
        let bridge = session
            .lend(&client, &signals, &janitor, &mut borrowed, record.as_mut())
            .await?;
        let until = until(&borrowed);
        let variables = environ::alone(&session.additions(&borrowed, &bridge));
        output::whole(&written(&variables, format)?)?;
        janitor.detach(until)?;
        Ok::<_, Stop>(until)
    };
    let way = unless_it_panics(work).await;
    let stop = match way.unwrap_or_else(|| Err(Failure::panicked().into())) {
        Ok(until) => {
            if let Some(directory) = borrowed.directory {
                SessionDir::leave(directory);
            }
            session.say.note(|| {
                format!(
                    "session {} lives until {}; `dbt-lease end {}` ends it",
                    session.id,
                    stamp(until),
                    session.id
                )
            });
            return Ok(());
        }
        Err(stop) => stop,
    };
    let has_janitor = janitor.is_there().is_ok();
    let back = session
        .take_back(&client, &signals, borrowed, stop.until(), has_janitor)
        .await;
    let end = (stop.in_words(), started);
    session.close(record, janitor, signals, &back, (&end.0, end.1, false));
    match stop {
        Stop::Failure(failure) => Err(failure),
        Stop::Signal(asked) => {
            child::die_of(asked.signal as i32);
            let signal = asked.signal;
            Err(Failure::new("signal", format!("ended by {signal}"), None))
        }
    }
}

/// When the session is to end: before the first of its leases, and before a token that cannot be renewed. Without either, in an hour.
fn until(borrowed: &Borrowed) -> SystemTime {
    const WITHOUT_A_LEASE: Duration = Duration::from_secs(3600);
    let now = SystemTime::now();
    let leases = borrowed
        .secrets
        .iter()
        .filter_map(|secret| secret.lease.as_ref())
        .map(|lease| lease.expires());
    let token = borrowed
        .token
        .as_ref()
        .filter(|token| !(token.own && token.renewable && token.kind == TokenKind::Service));
    let token = token.and_then(|token| token.expires());
    let end = leases.chain(token).min().unwrap_or(now + WITHOUT_A_LEASE);
    let left = end.duration_since(now).unwrap_or_default();
    end - MARGIN.min(left / 10)
}

/// The credential of a protected environment stays with one command.
fn refuse_protected(plan: &Plan, force: bool) -> Result<(), Failure> {
    if plan.protected != Some(true) || force {
        return Ok(());
    }
    Err(Failure::new(
        "protected",
        format!(
            "the environment `{}` is protected, and `env` would leave its credential in a shell, where every program that is started from it reads it",
            plan.environment.as_deref().unwrap_or_default()
        ),
        Some("`dbt-lease exec -- COMMAND` keeps it with one command; `--force` where it must be"),
    ))
}

/// Not on a screen, and not where every later step of a CI job reads it.
fn refuse_a_public_place(variables: &Variables, force: bool) -> Result<(), Failure> {
    let stdout = std::io::stdout();
    if !force && std::io::IsTerminal::is_terminal(&stdout) {
        return Err(Failure::new(
            "terminal",
            "the credentials would stand on the screen",
            Some(
                "`eval \"$(dbt-lease env)\"`, or `dbt-lease env --format fish | source`; `--force` shows them",
            ),
        ));
    }
    let identity = |found: &std::fs::Metadata| (found.dev(), found.ino());
    let ours = std::os::fd::AsFd::as_fd(&stdout)
        .try_clone_to_owned()
        .and_then(|descriptor| std::fs::File::from(descriptor).metadata());
    for name in OF_LATER_STEPS {
        let file = variables.text(name).map(std::fs::metadata);
        if let (Ok(ours), Some(Ok(file))) = (&ours, file)
            && identity(ours) == identity(&file)
        {
            return Err(Failure::new(
                "later_steps",
                format!(
                    "stdout is ${name}, which every later step of the job reads, also those of others"
                ),
                Some("wrap the step that needs the credentials: `dbt-lease exec -- COMMAND`"),
            ));
        }
    }
    Ok(())
}

/// The variables, for whoever reads them.
fn written(variables: &Variables, format: Format) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let mut object = serde_json::Map::new();
    for (name, value) in variables.iter() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            return Err(Failure::new("output", "a variable is not UTF-8", None));
        };
        match format {
            Format::Sh => text.push_str(&format!(
                "export {name}='{}'\n",
                value.replace('\'', "'\\''")
            )),
            Format::Fish => text.push_str(&format!("set -gx {name} '{}'\n", escaped(value))),
            // python-dotenv fills in variables inside single quotes too, and knows no way to keep it from that.
            Format::Dotenv if value.contains("${") => {
                return Err(Failure::new(
                    "output",
                    format!("the value of {name} holds `${{`, which no .env file can say"),
                    Some("use another format, or `dbt-lease exec -- COMMAND`"),
                ));
            }
            Format::Dotenv => text.push_str(&format!("{name}='{}'\n", escaped(value))),
            Format::Json => {
                object.insert(name.to_owned(), value.into());
            }
        }
    }
    if format == Format::Json {
        text = Zeroizing::new(format!("{}\n", serde_json::Value::Object(object)));
    }
    Ok(text)
}

/// Inside single quotes, for fish and python-dotenv.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const ODD: &str = "-{{ x }}'\"\\ é%41 $HOME`id`: #&*!|>@+/=\\'\n\\n end";

    fn variables(value: &str) -> Variables {
        [("DBT_ENV_SECRET_PASSWORD", value)].into_iter().collect()
    }

    #[test]
    fn a_shell_gets_every_value_as_it_is() {
        let text = written(&variables(ODD), Format::Sh).expect("written");
        let script = format!("{}printf %s \"$DBT_ENV_SECRET_PASSWORD\"", text.as_str());
        let output = Command::new("sh")
            .args(["-c", &script])
            .output()
            .expect("sh runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), ODD);
    }

    #[test]
    fn a_dotenv_file_says_every_value_or_is_refused() {
        let text = written(&variables(ODD), Format::Dotenv).expect("written");
        let read = crate::dbt::dotenv::added(&text, &Variables::default());
        let value = read.get("DBT_ENV_SECRET_PASSWORD").map(String::as_str);
        assert_eq!(value, Some(ODD));
        assert!(written(&variables("a${HOME}"), Format::Dotenv).is_err());
    }

    #[test]
    fn fish_and_json_escape_what_would_end_the_value() {
        let fish = written(&variables("a'b\\"), Format::Fish).expect("written");
        assert_eq!(
            fish.as_str(),
            "set -gx DBT_ENV_SECRET_PASSWORD 'a\\'b\\\\'\n"
        );
        let json = written(&variables(ODD), Format::Json).expect("written");
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["DBT_ENV_SECRET_PASSWORD"], ODD);
    }
}
