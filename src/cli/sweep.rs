//! `sweep`: what killed sessions left behind goes now: their directories, and their leases in the environments of this project. What ended
//! sessions could not revoke is tried again.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::arguments::Global;
use super::dead::{self, Outcome};
use super::exec::in_loop;
use super::failure::Failure;
use super::output;
use super::say::Say;
use super::session::new_id;
use super::steps::Surroundings;
use super::terminal::Terminal;
use crate::config::{Auth, Environment, Server};
use crate::delivery::private;
use crate::delivery::sweep::{self, Swept};
use crate::plan;
use crate::record::again::{Again, Left};
use crate::record::audit::Record;
use crate::record::dead::Dead;
use crate::trust;
use crate::variables::Variables;
use crate::vault::auth;
use crate::vault::client::Client;
use crate::vault::take_back::{TokenEnd, take_back};

/// How long one environment's Vault may take.
const WITHIN: Duration = Duration::from_secs(30);

/// `dbt-lease sweep`
pub(crate) fn run(say: &Say, global: &Global) -> Result<(), Failure> {
    let surroundings = Surroundings::look()?;
    let swept = sweep::sweep(&private::places(&surroundings.variables), true);
    for path in &swept.removed {
        output::text(&format!("removed {}\n", path.display()))?;
    }
    for (path, error) in &swept.failed {
        say.warning(
            &format!("`{}` was not removed: {error}", path.display()),
            None,
        );
    }
    let mut record = Record::open(&surroundings.variables)?;
    let mut open = swept.failed.len();
    let mut here: Vec<(String, Server)> = Vec::new();
    // Without anything to take back no file is obeyed.
    let Left { dead, open: again } = left(&record, |dead| !lives(dead, &swept), |_| true)?;
    if !dead.is_empty() || !again.is_empty() {
        let config = surroundings.config_here(global)?;
        trust::check_logins(&config, &surroundings.variables)?;
        // From here on a token lies in our memory.
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_dumpable(false);
        for environment in &config.environments {
            open += sweep_environment(say, &surroundings, environment, &mut record, &swept)?;
            let server = environment.server.clone();
            here.extend(server.map(|server| (environment.name.clone(), server)));
        }
    }
    open += elsewhere(say, &record, &swept, &here)?;
    if open > 0 {
        return Err(Failure::new(
            "not_taken_back",
            "not everything that earlier sessions left could be taken back (see above)",
            None,
        ));
    }
    Ok(())
}

/// Takes back the leases of one environment; how many are still open.
fn sweep_environment(
    say: &Say,
    surroundings: &Surroundings,
    environment: &Environment,
    record: &mut Record,
    swept: &Swept,
) -> Result<usize, Failure> {
    let Some(server) = &environment.server else {
        return Ok(0);
    };
    let Left { dead, open: again } = left(
        record,
        |found| dead::is_of(found, &environment.name, server, swept),
        |again| dead::is_borrowed_from(&again.session, &environment.name, server),
    )?;
    if dead.is_empty() && again.is_empty() {
        return Ok(0);
    }
    let variables = &surroundings.variables;
    let outcome = plan::reach(environment, variables)
        .map_err(Failure::from)
        .and_then(|(server, auth)| {
            let work = Work {
                say,
                variables,
                server,
                auth,
                swept,
            };
            in_loop(work.take_back(record, dead, again))
        });
    match outcome {
        Ok(outcome) => {
            for line in outcome.lines {
                output::text(&(line + "\n"))?;
            }
            Ok(outcome.open)
        }
        // The other environments are not to wait for this one.
        Err(failure) => {
            say.failure(&failure);
            Ok(1)
        }
    }
}

/// Says which dead sessions are left, since they are another project's, or could not be taken back.
fn elsewhere(
    say: &Say,
    record: &Record,
    swept: &Swept,
    here: &[(String, Server)],
) -> Result<usize, Failure> {
    // What is open in this project's own environments was told when it was tried.
    let is_elsewhere = |again: &Again| {
        !here
            .iter()
            .any(|(name, server)| dead::is_borrowed_from(&again.session, name, server))
    };
    let Left { dead, open } = left(record, |dead| !lives(dead, swept), is_elsewhere)?;
    for dead in &dead {
        say.warning(
            &format!(
                "the killed session {} of the environment `{}` at {} is left as it is",
                dead.session, dead.environment, dead.address
            ),
            Some("run `dbt-lease sweep` in a project whose dbt-lease.yml has that environment; else its leases end by their time"),
        );
    }
    for again in &open {
        say.warning(
            &format!(
                "the session {} of the environment `{}` at {} could not revoke what it had borrowed, and that is left as it is",
                again.session.session, again.session.environment, again.session.address
            ),
            Some("run `dbt-lease sweep` in a project whose dbt-lease.yml has that environment"),
        );
    }
    Ok(dead.len() + open.len())
}

/// What sessions have left, anywhere on record.
fn left(
    record: &Record,
    is_wanted_dead: impl Fn(&Dead) -> bool,
    is_wanted_open: impl Fn(&Again) -> bool,
) -> Result<Left, Failure> {
    record
        .left(u64::MAX, is_wanted_dead, is_wanted_open)
        .map_err(|error| {
            Failure::new(
                "record",
                format!(
                    "the record `{}` cannot be read: {error}",
                    record.path().display()
                ),
                None,
            )
        })
}

/// Whether a session's directory is held by its session: its end is not written yet.
fn lives(dead: &Dead, swept: &Swept) -> bool {
    swept
        .living
        .iter()
        .any(|path| path.ends_with(&dead.session))
}

struct Work<'a> {
    say: &'a Say,
    variables: &'a Variables,
    server: &'a Server,
    auth: &'a Auth,
    swept: &'a Swept,
}

impl Work<'_> {
    /// One environment: log in, revoke, log out.
    async fn take_back(
        &self,
        record: &mut Record,
        dead: Vec<Dead>,
        again: Vec<Again>,
    ) -> Result<Outcome, Failure> {
        let id = new_id()?;
        let client = Client::new(self.server, &id)?;
        let person = Terminal::new(self.variables, false);
        let around = auth::Surroundings {
            variables: self.variables,
            person: &person,
        };
        let token = auth::login(&client, self.auth, around).await?;
        let mut outcome = dead::take_back(
            self.say,
            &client,
            &token,
            record,
            self.swept,
            (dead, WITHIN),
        )
        .await;
        let looked = dead::look_again(self.say, &client, &token, record, (again, WITHIN)).await;
        outcome.lines.extend(looked.lines);
        outcome.open += looked.open;
        let back = take_back(&client, &token, Vec::new(), WITHIN).await;
        if let TokenEnd::Failed { why, hint } = back.token {
            self.say.warning(
                &format!("this sweep's own token was not revoked: {why}"),
                hint.as_deref(),
            );
        }
        Ok(outcome)
    }
}
