//! A session: log in, read, deliver, run, take back. Whatever happens on the way, what was borrowed is given back.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use super::arguments::{self, Exec};
use super::dead;
use super::exec::{Material, Part, Wanted, deliver, in_loop, profile, wait, watch_signals};
use super::failure::Failure;
use super::keeping::{Keeper, tell_ends};
use super::say::Say;
use super::steps::Surroundings;
use super::taking_back::report;
use crate::config::Delivery;
use crate::dbt::{Profile, Rendering};
use crate::delivery::environ::{Additions, for_child};
use crate::delivery::gate::Gate;
use crate::delivery::private;
use crate::delivery::session::SessionDir;
use crate::delivery::sweep::{self, Swept};
use crate::failpoint;
use crate::plan::Further;
use crate::record::audit::Record;
use crate::record::back::Back;
use crate::record::dead::{IN_PASSING, LONGEST_LEASE};
use crate::render::secrets::Secrets;
use crate::render::{self, RenderError};
use crate::supervise::child::{Child, End, StartError, signal_name};
use crate::supervise::janitor::handle::{Janitor, JanitorError, without_variables};
use crate::supervise::janitor::protocol::{About, Introduction, Proof};
use crate::supervise::signals::{Signals, asks_to_end};
use crate::variables::Variables;
use crate::vault::auth::Token;
use crate::vault::client::Client;
use crate::vault::error::VaultError;
use crate::vault::lease::Lease;
use crate::vault::secret;
use crate::vault::take_back::take_back;

/// How long Vault may take to end things after the command ended by itself.
const PATIENT: Duration = Duration::from_secs(30);
/// The same after the command was ended by a signal: Airflow kills five seconds after it asked.
const HURRIED: Duration = Duration::from_secs(3);
/// How long a request that a signal finds under way may still take: its answer may hold a lease.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(2);

/// How long taking back for killed sessions may delay our own end.
const FOR_THE_DEAD: Duration = Duration::from_secs(5);

/// What a session is made for.
pub(super) struct Session<'a> {
    pub(super) say: &'a Say,
    pub(super) variables: &'a Variables,
    pub(super) rendering: &'a Rendering<'a>,
    pub(super) id: String,
    pub(super) wanted: &'a Wanted<'a>,
    pub(super) profile: &'a Profile,
    pub(super) environment: &'a str,
    pub(super) protected: bool,
    pub(super) selection: Vec<(&'static str, OsString)>,
    pub(super) swept: Swept,
    /// `--ttl`
    pub(super) ttl: Option<Duration>,
    /// Whether `--gate` is not `off`.
    pub(super) gated: bool,
}

/// What was borrowed so far: all that must be given back.
#[derive(Default)]
pub(super) struct Borrowed {
    pub(super) token: Option<Token>,
    pub(super) secrets: Vec<secret::Lent>,
    pub(super) directory: Option<SessionDir>,
    pub(super) recorded: bool,
}

/// Why the way to the command's end was left early.
pub(super) enum Stop {
    Failure(Failure),
    Signal(Signal),
}

macro_rules! stops {
    ($($error:ty),+) => {$(
        impl From<$error> for Stop {
            fn from(error: $error) -> Self {
                Self::Failure(error.into())
            }
        }
    )+};
}

stops!(Failure, VaultError, RenderError, StartError, JanitorError);

/// Removes in passing what killed sessions left.
pub(super) fn sweep(say: &Say, variables: &Variables) -> Swept {
    let swept = sweep::sweep(&private::places(variables), false);
    for path in &swept.removed {
        say.note(|| format!("removed what a killed session had left: {}", path.display()));
    }
    swept
}

/// Runs the command of `exec` in a session.
pub(super) fn run(
    say: &Say,
    surroundings: &Surroundings,
    exec: &Exec,
    wanted: &Wanted<'_>,
) -> Result<End, Failure> {
    let session = Session {
        say,
        variables: &surroundings.variables,
        rendering: &surroundings.rendering(&exec.command, &exec.selection)?,
        id: new_id()?,
        wanted,
        ttl: exec.ttl,
        gated: exec.gate == arguments::Gate::Auto,
        profile: profile(wanted.resolved)?,
        environment: wanted.plan.environment.as_deref().unwrap_or_default(),
        protected: wanted.plan.protected == Some(true),
        selection: if wanted.resolved.is_dbt {
            Vec::new()
        } else {
            exec.selection.as_variables(&surroundings.cwd)
        },
        swept: sweep(say, &surroundings.variables),
    };
    session.refuse_what_is_certain()?;
    // From here on secrets lie in our memory: no core dump, and nobody of this user's reads it. The child's own memory is its affair. A
    // kernel that knows no such thing keeps nothing from working.
    let _ = nix::sys::prctl::set_dumpable(false);
    let end = in_loop(session.run())?;
    match end {
        (End::Code(0), false) if exec.strict => Err(Failure::new(
            "not_taken_back",
            "the command ended well, but not everything that was lent could be taken back (see above)",
            Some(
                "what is left, and until when, stands above and in the record; without `--strict` this is the command's own 0",
            ),
        )),
        (end, _) => Ok(end),
    }
}

impl Session<'_> {
    /// What is wrong whatever Vault will answer is said before anything is asked of it.
    fn refuse_what_is_certain(&self) -> Result<(), Failure> {
        let lent = self.wanted.lent;
        let files = Path::new("files");
        let further = self.wanted.resolved.others.iter().zip(self.wanted.others);
        let further =
            further.filter_map(|(other, further)| Some((&other.profile, &further.as_ref()?.lent)));
        for (profile, lent) in std::iter::once((self.profile, lent)).chain(further) {
            let secrets = Secrets::placeholders(lent);
            match render::output(profile, lent, &secrets, self.rendering, Some(files)) {
                Err(error) if error.is_certain() => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// The further profiles with what Vault gave for them: secrets are read in the order of the profiles.
    fn others(&self, mut secrets: &[secret::Lent]) -> Vec<Part<'_>> {
        let further = self.wanted.resolved.others.iter().zip(self.wanted.others);
        further
            .map(|(other, further)| Part {
                profile: &other.profile,
                lent: further.as_ref().map(|Further { lent, .. }| {
                    let its_own;
                    (its_own, secrets) = secrets.split_at(lent.secrets.len());
                    (lent, Secrets::leased(its_own))
                }),
            })
            .collect()
    }

    /// The command's end, and whether everything was taken back with proof.
    async fn run(&self) -> Result<(End, bool), Failure> {
        let signals = watch_signals()?;
        let mut record = self.open_record()?;
        let warn = |message: &str| self.say.warning(message, None);
        // Before anything is lent, and before there is any thread.
        let janitor = Janitor::start(self.introduction(), record.as_ref(), &warn)?;
        failpoint::reached("janitor_started");
        let client = Client::new(&self.wanted.session.server, &self.id)?;
        let started = Instant::now();
        let mut borrowed = Borrowed::default();
        let work = self.lend_and_run(&client, &signals, &janitor, &mut borrowed, record.as_mut());
        let way = unless_it_panics(work).await.unwrap_or_else(|| {
            let message = "dbt-lease has a bug (see above); please report it";
            Err(Failure::new("bug", message, None).into())
        });
        let within = if matches!(way, Ok(End::Signal(_)) | Err(Stop::Signal(_))) {
            HURRIED
        } else {
            PATIENT
        };
        failpoint::reached("taking_back");
        let back = self.take_back(&client, &signals, borrowed, within).await;
        failpoint::reached("taken_back");
        let result = match &way {
            Ok(End::Code(code)) => format!("exit {code}"),
            Ok(End::Signal(signal)) => format!("signal {}", signal_name(*signal)),
            Err(Stop::Signal(signal)) => format!("not started: {signal}"),
            Err(Stop::Failure(failure)) => format!("not started: {}", failure.kind),
        };
        let on_record = if !back.abandoned.is_empty() && janitor.is_there().is_ok() {
            // Who wants us gone at once gets that; the janitor goes on, and tells the record.
            janitor.leave(&result);
            back.recorded
        } else {
            let on_record = self.record_end(record.as_mut(), &back, &result, started.elapsed());
            janitor.done(Proof::of(&back));
            on_record
        };
        // All is done that a signal could disturb. A stderr that nobody reads may hold us up for ever; then a signal ends us.
        drop(signals);
        report(
            self.say,
            &self.id,
            record.as_ref().map(Record::path).filter(|_| on_record),
            &back,
            started.elapsed(),
        );
        let proven = back.is_proven();
        match way {
            Ok(end) => Ok((end, proven)),
            Err(Stop::Signal(signal)) => Ok((End::Signal(signal as i32), proven)),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }

    async fn lend_and_run(
        &self,
        client: &Client,
        signals: &Signals,
        janitor: &Janitor<'_>,
        borrowed: &mut Borrowed,
        mut record: Option<&mut Record>,
    ) -> Result<End, Stop> {
        let Self {
            variables, wanted, ..
        } = self;
        self.log_in(client, signals, janitor, borrowed).await?;
        self.read(client, signals, janitor, borrowed).await?;
        let (first, further) = borrowed.secrets.split_at(wanted.lent.secrets.len());
        let secrets = Secrets::leased(first);
        let others = self.others(further);
        let mut bridge = render::bridge(wanted.lent, &secrets)?;
        for (lent, secrets) in others.iter().filter_map(|part| part.lent.as_ref()) {
            bridge.extend(render::bridge(lent, secrets)?);
        }
        let material = Material {
            profile: self.profile,
            lent: wanted.lent,
            secrets: &secrets,
            others,
            rendering: self.rendering,
        };
        let directory =
            borrowed
                .directory
                .insert(deliver(variables, &self.id, &material, &|step| {
                    janitor.directory(step)
                })?);
        let profiles_dir = directory.profiles_dir().to_owned();
        borrowed.recorded = self.record_start(record.as_deref_mut(), borrowed)?;
        failpoint::reached("recorded");
        let additions = Additions {
            profiles_dir: Some(&profiles_dir),
            session: Some(&self.id),
            bridge: &bridge,
            selection: self.selection.clone(),
        };
        let environ = for_child(variables, &wanted.plan.login_variables, &additions);
        janitor.is_there()?;
        let gate = self.gate(borrowed.directory.as_ref());
        let child = Child::start(&wanted.resolved.argv, &environ, wanted.resolved.is_dbt)?;
        janitor.child(&child);
        failpoint::reached("child_started");
        drop(material);
        drop((environ, bridge, secrets));
        tokio::select! {
            end = self.wait_and_renew(child, client, signals, (janitor, borrowed, record)) => end,
            never = janitor.watch() => match never {},
            never = self.keep(gate) => match never {},
        }
    }

    /// Waits for the command, and keeps token and leases alive meanwhile.
    async fn wait_and_renew(
        &self,
        child: Child,
        client: &Client,
        signals: &Signals,
        (janitor, borrowed, record): (&Janitor<'_>, &mut Borrowed, Option<&mut Record>),
    ) -> Result<End, Stop> {
        let Borrowed {
            token: Some(token),
            secrets,
            ..
        } = borrowed
        else {
            return Ok(wait(child, signals).await?);
        };
        let leases = secrets.iter().filter_map(|secret| secret.lease.as_ref());
        let keeper = Keeper::new(self.say, client, token, leases.collect(), janitor);
        let ends = secrets
            .iter()
            .filter_map(|secret| Some((secret.path.clone(), secret.ends?)))
            .collect();
        let dead = self.take_back_for_the_dead(client, token, record);
        let end = tokio::select! {
            (end, ()) = async { tokio::join!(wait(child, signals), dead) } => end,
            never = keeper.keep() => match never {},
            never = tell_ends(self.say, ends) => match never {},
        };
        let (kept_token, kept) = (keeper.token(), keeper.leases());
        let leased = secrets
            .iter_mut()
            .filter_map(|secret| secret.lease.as_mut());
        leased.zip(kept).for_each(|(lease, kept)| *lease = kept);
        *token = kept_token;
        Ok(end?)
    }

    /// Takes back what killed sessions of this environment left, while the command runs.
    async fn take_back_for_the_dead(
        &self,
        client: &Client,
        token: &Token,
        record: Option<&mut Record>,
    ) {
        let Some(record) = record else { return };
        let recent = SystemTime::now() - LONGEST_LEASE;
        let found = record.dead(IN_PASSING, |found| {
            found.session != self.id
                && found.lent > recent
                && dead::is_of(
                    found,
                    self.environment,
                    &self.wanted.session.server,
                    &self.swept,
                )
        });
        let Ok(found) = found else { return };
        if found.is_empty() {
            return;
        }
        let work = (found, FOR_THE_DEAD);
        let outcome = dead::take_back(self.say, client, token, record, &self.swept, work).await;
        for line in outcome.lines {
            self.say.note(|| line);
        }
    }

    fn introduction(&self) -> Introduction {
        let Wanted {
            resolved, session, ..
        } = self.wanted;
        Introduction {
            about: About {
                session: self.id.clone(),
                project: resolved
                    .project
                    .as_ref()
                    .map(|project| project.name.clone()),
                profile: self.profile.name.clone(),
                target: self.profile.target.clone(),
                environment: self.environment.to_owned(),
                since: SystemTime::now(),
            },
            server: without_variables(&session.server, self.variables),
        }
    }

    /// The gate of this run: for dbt itself, where the file holds a secret and it is known how often dbt opens it.
    fn gate(&self, directory: Option<&SessionDir>) -> Option<Gate> {
        let reads = self.wanted.resolved.profile_reads?;
        if !self.gated || self.wanted.lent.delivery == Delivery::Env {
            return None;
        }
        let gate = directory?.gate(reads);
        if let Err(error) = &gate {
            self.say.note(|| {
                format!("there is no gate, profiles.yml stays until dbt has ended: {error}")
            });
        }
        gate.ok()
    }

    async fn keep(&self, gate: Option<Gate>) -> std::convert::Infallible {
        match gate {
            None => std::future::pending().await,
            Some(gate) => {
                let tell = |outcome: std::io::Result<()>| match outcome {
                    Ok(()) => self
                        .say
                        .note(|| "dbt has read profiles.yml, and it is shredded".to_owned()),
                    Err(error) => self
                        .say
                        .note(|| format!("profiles.yml stays until dbt has ended: {error}")),
                };
                gate.keep(tell).await
            }
        }
    }

    /// Gives everything back, the directory first: that takes microseconds, and cannot hang.
    async fn take_back(
        &self,
        client: &Client,
        signals: &Signals,
        borrowed: Borrowed,
        within: Duration,
    ) -> Back {
        let Borrowed {
            token,
            secrets,
            directory,
            recorded,
        } = borrowed;
        let directory = directory.map(SessionDir::remove);
        let leases: Vec<Lease> = secrets
            .into_iter()
            .filter_map(|secret| secret.lease)
            .collect();
        let Some(token) = token else {
            return Back {
                directory,
                returned: None,
                recorded,
                abandoned: Vec::new(),
            };
        };
        let known = leases.clone();
        let mut work = std::pin::pin!(take_back(client, &token, leases, within));
        // The ^C that ended the command may still lie in the pipe: it is not about us.
        signals.forget_pending();
        let returned = tokio::select! {
            returned = &mut work => Some(returned),
            // Whoever asks again wants us gone.
            () = told_to_end(signals) => tokio::time::timeout(LAST_ANSWER, work).await.ok(),
        };
        let abandoned = if returned.is_some() {
            Vec::new()
        } else {
            known
        };
        Back {
            directory,
            returned,
            recorded,
            abandoned,
        }
    }
}

/// What the work gives, or `None` where it panics: what was borrowed must be given back all the same.
async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        // After a panic the work is not polled again; it holds no lock and no half-made value that others look at.
        let polled = AssertUnwindSafe(|| work.as_mut().poll(context));
        match std::panic::catch_unwind(polled) {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// The next signal that asks us to end.
pub(super) async fn ending_signal(signals: &Signals) -> Signal {
    loop {
        match signals.next().await {
            Ok(received) if asks_to_end(received.signal) => {
                return received.signal;
            }
            Ok(_) => {}
            // The pipe is ours and stays open; without it there is nothing to wait for.
            Err(_) => std::future::pending().await,
        }
    }
}

async fn told_to_end(signals: &Signals) {
    ending_signal(signals).await;
}

/// `20261124T101530Z-9f86d081`: readable, sortable, and no other session's.
pub(super) fn new_id() -> Result<String, Failure> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(|error| {
        Failure::new(
            "random",
            format!("the system gives no random bytes: {error}"),
            None,
        )
    })?;
    let time: String = humantime::format_rfc3339_seconds(SystemTime::now())
        .to_string()
        .chars()
        .filter(|c| !matches!(c, '-' | ':'))
        .collect();
    Ok(format!("{time}-{:08x}", u32::from_be_bytes(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_work_is_caught_and_what_is_borrowed_is_still_there() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut borrowed = Vec::new();
        let work = async {
            borrowed.push("a lease");
            tokio::task::yield_now().await;
            assert!(borrowed.is_empty(), "a bug");
        };
        assert_eq!(runtime.block_on(unless_it_panics(work)), None);
        assert_eq!(borrowed, ["a lease"]);
        assert_eq!(runtime.block_on(unless_it_panics(async { 7 })), Some(7));
    }
}
