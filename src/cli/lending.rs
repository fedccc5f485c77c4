//! A session: log in, read, deliver, run, take back. Whatever happens on the way, what was borrowed is given back.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use super::arguments::{self, Exec, Verify};
use super::disk;
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
use crate::delivery::private::{self, Storage};
use crate::delivery::session::SessionDir;
use crate::delivery::sweep::{self, Swept};
use crate::failpoint;
use crate::plan::Further;
use crate::record::audit::Record;
use crate::record::back::Back;
use crate::render::secrets::Secrets;
use crate::render::{self, RenderError};
use crate::secret::Secret;
use crate::supervise::child::{Child, End, Purpose, StartError, Started, Waited, signal_name};
use crate::supervise::course::Asked;
use crate::supervise::janitor::handle::{Janitor, JanitorError, without_variables};
use crate::supervise::janitor::protocol::{About, Introduction, Proof};
use crate::supervise::privacy::{forbid_core_dumps, withdraw_memory};
use crate::supervise::signals::{Signals, asks_to_end};
use crate::variables::Variables;
use crate::vault::auth::Token;
use crate::vault::client::Client;
use crate::vault::error::VaultError;
use crate::vault::lease::Lease;
use crate::vault::secret;
use crate::vault::take_back::take_back_looking;

/// How long Vault may take to end things after the command ended by itself. After a signal it is what is left of
/// [`crate::supervise::course::AT_MOST`].
const PATIENT: Duration = Duration::from_secs(30);
/// How long a request that a signal finds under way may still take: its answer may hold a lease.
pub(super) const LAST_ANSWER: Duration = Duration::from_secs(2);

/// What a session is made for.
pub(super) struct Session<'a> {
    pub(super) say: &'a Say,
    pub(super) variables: &'a Variables,
    pub(super) no_browser: bool,
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
    /// `--verify`
    pub(super) verify: Option<Verify>,
    /// `--strict`
    pub(super) strict: bool,
}

/// What was borrowed so far: all that must be given back.
#[derive(Default)]
pub(super) struct Borrowed {
    pub(super) token: Option<Token>,
    pub(super) secrets: Vec<secret::Lent>,
    pub(super) directory: Option<SessionDir>,
    pub(super) recorded: bool,
    /// Whether the command runs on it.
    in_use: bool,
}

/// Why the way to the command's end was left early.
pub(super) enum Stop {
    Failure(Failure),
    Signal(Asked),
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

impl Stop {
    /// For the record.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Signal(asked) => format!("not started: {}", asked.signal),
            Self::Failure(failure) => format!("not started: {}", failure.kind),
        }
    }

    /// When we must be gone, where a signal asked for it.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Signal(asked) => Some(asked.until()),
            Self::Failure(_) => None,
        }
    }
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
    let rendering = surroundings.rendering(wanted.resolved)?;
    let session = Session {
        no_browser: exec.no_browser,
        ttl: exec.ttl,
        gated: exec.gate == arguments::Gate::Auto,
        verify: exec.verify,
        strict: exec.strict,
        selection: if wanted.resolved.is_dbt {
            Vec::new()
        } else {
            exec.selection.as_variables(&surroundings.cwd)
        },
        ..Session::new(say, surroundings, &rendering, wanted)?
    };
    session.begin()?;
    in_loop(session.run())
}

impl<'a> Session<'a> {
    /// A session without any option.
    pub(super) fn new(
        say: &'a Say,
        surroundings: &'a Surroundings,
        rendering: &'a Rendering<'a>,
        wanted: &'a Wanted<'a>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            say,
            variables: &surroundings.variables,
            rendering,
            id: new_id()?,
            wanted,
            no_browser: false,
            ttl: None,
            gated: false,
            verify: None,
            strict: false,
            profile: profile(wanted.resolved)?,
            environment: wanted.plan.environment.as_deref().unwrap_or_default(),
            protected: wanted.plan.protected == Some(true),
            selection: Vec::new(),
            swept: sweep(say, &surroundings.variables),
        })
    }
}

impl Session<'_> {
    /// What is to be done before anything is lent.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        self.refuse_what_is_certain()?;
        // From here on secrets lie in our memory. The child's own memory is its affair.
        withdraw_memory();
        Ok(())
    }

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

    /// The command's end, unless it ended well and what followed did not.
    async fn run(&self) -> Result<End, Failure> {
        let signals = watch_signals()?;
        let mut record = self.open_record()?;
        let warn = |message: &str| self.say.warning(message, None);
        // Before anything is lent, and before there is any thread.
        let janitor = Janitor::start(self.introduction(), record.as_ref(), &warn)?;
        failpoint::reached("janitor_started");
        let client = Client::new(&self.wanted.session.server, &self.id)?;
        let (started, since) = (Instant::now(), SystemTime::now());
        let mut borrowed = Borrowed::default();
        let work = self.lend_and_run(&client, &signals, &janitor, &mut borrowed, record.as_mut());
        let bug = || {
            let message = "dbt-lease has a bug (see above); please report it";
            Failure::new("bug", message, None)
        };
        let way = match unless_it_panics(work).await {
            Some(way) => way,
            // Nobody waits for the command any more: the janitor ends it and gives everything back, and is waited for.
            None if borrowed.in_use && janitor.is_there().is_ok() => {
                drop(janitor);
                return Err(bug());
            }
            None => Err(bug().into()),
        };
        let until = match &way {
            Ok(waited) => waited.ended.until,
            Err(stop) => stop.until(),
        };
        let proving = self
            .before_taking_back(&borrowed, &signals, since, &way)
            .await;
        failpoint::reached("taking_back");
        let has_janitor = janitor.is_there().is_ok();
        let mut back = self
            .take_back(&client, &signals, borrowed, until, has_janitor)
            .await;
        failpoint::reached("taken_back");
        if let Some(proving) = proving.filter(|_| !back.broken_off) {
            self.after_taking_back(proving, &signals, &mut back).await;
        }
        let result = match &way {
            Ok(waited) => match waited.ended.end {
                End::Code(code) => format!("exit {code}"),
                End::Signal(signal) => format!("signal {}", signal_name(signal)),
            },
            Err(stop) => stop.in_words(),
        };
        let still_runs = matches!(&way, Ok(waited) if waited.still_runs);
        self.close(
            record,
            janitor,
            signals,
            &back,
            (&result, started, still_runs),
        );
        match way {
            Ok(waited) if waited.ended.end == End::Code(0) => {
                self.judged(&back).map(|()| End::Code(0))
            }
            Ok(waited) => Ok(waited.ended.end),
            Err(Stop::Signal(asked)) => Ok(End::Signal(asked.signal as i32)),
            Err(Stop::Failure(failure)) => Err(failure),
        }
    }

    /// Puts the end on record, or leaves it to the janitor where that must go on; parts from the janitor, and tells.
    pub(super) fn close(
        &self,
        mut record: Option<Record>,
        janitor: Janitor<'_>,
        signals: Signals,
        back: &Back,
        (result, started, still_runs): (&str, Instant, bool),
    ) {
        let on_record = if (back.broken_off || still_runs) && janitor.is_there().is_ok() {
            // Who wants us gone gets that; the janitor goes on, and tells the record.
            janitor.leave(result);
            back.recorded
        } else {
            let on_record = self.record_end(record.as_mut(), back, result, started.elapsed());
            janitor.done(Proof::of(back));
            failpoint::reached("done_sent");
            on_record
        };
        // All is done that a signal could disturb. A stderr that nobody reads may hold us up for ever; then a signal ends us.
        drop(signals);
        report(
            self.say,
            &self.id,
            record.as_ref().map(Record::path).filter(|_| on_record),
            back,
            started.elapsed(),
        );
    }

    /// Logs in, reads, writes the directory and the record's `lent`; the bridge's variables.
    pub(super) async fn lend(
        &self,
        client: &Client,
        signals: &Signals,
        janitor: &Janitor<'_>,
        borrowed: &mut Borrowed,
        record: Option<&mut Record>,
    ) -> Result<Vec<(String, Secret)>, Stop> {
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
        let directory = deliver(variables, &self.id, &material, &|step| {
            janitor.directory(step)
        })?;
        if directory.storage() == Storage::Disk {
            disk::warn(self.say, variables, directory.profiles_dir());
        }
        borrowed.directory = Some(directory);
        borrowed.recorded = self.record_start(record, borrowed)?;
        failpoint::reached("recorded");
        Ok(bridge)
    }

    /// What the command gets, or a shell.
    pub(super) fn additions<'b>(
        &'b self,
        borrowed: &'b Borrowed,
        bridge: &'b [(String, Secret)],
    ) -> Additions<'b> {
        Additions {
            profiles_dir: borrowed.directory.as_ref().map(SessionDir::profiles_dir),
            session: Some(&self.id),
            bridge,
            selection: self.selection.clone(),
        }
    }

    async fn lend_and_run(
        &self,
        client: &Client,
        signals: &Signals,
        janitor: &Janitor<'_>,
        borrowed: &mut Borrowed,
        mut record: Option<&mut Record>,
    ) -> Result<Waited, Stop> {
        let Self {
            variables, wanted, ..
        } = self;
        let bridge = self
            .lend(client, signals, janitor, borrowed, record.as_deref_mut())
            .await?;
        let additions = self.additions(borrowed, &bridge);
        let environ = for_child(variables, &wanted.plan.login_variables, &additions);
        janitor.is_there()?;
        let gate = self.gate(borrowed.directory.as_ref());
        if !wanted.session.child_core_dumps {
            forbid_core_dumps();
        }
        let started = Child::start(
            &wanted.resolved.argv,
            &environ,
            Purpose::of(wanted.resolved.is_dbt, true),
            signals,
            |reach| janitor.announcement(reach),
        )?;
        let child = match started {
            Started::Running(child) => child,
            Started::Asked(signal) => return Err(Stop::Signal(Asked::now(signal))),
        };
        borrowed.in_use = true;
        janitor.child(&child);
        failpoint::reached("child_started");
        drop((environ, bridge));
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
    ) -> Result<Waited, Stop> {
        let Borrowed {
            token: Some(token),
            secrets,
            in_use,
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
        let waited = tokio::select! {
            waited = wait_beside(child, signals, dead) => waited,
            never = keeper.keep() => match never {},
            never = tell_ends(self.say, ends) => match never {},
        };
        *in_use = false;
        failpoint::reached("child_exited");
        let (kept_token, kept) = (keeper.token(), keeper.leases());
        let leased = secrets
            .iter_mut()
            .filter_map(|secret| secret.lease.as_mut());
        leased.zip(kept).for_each(|(lease, kept)| *lease = kept);
        *token = kept_token;
        Ok(waited?)
    }

    pub(super) fn introduction(&self) -> Introduction {
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
                    Err(error) => self.say.note(|| {
                        format!(
                            "profiles.yml could not be shredded as soon as dbt had read it: {error}"
                        )
                    }),
                };
                gate.keep(tell).await
            }
        }
    }

    /// Gives everything back, the directory first: that takes microseconds, and cannot hang.
    pub(super) async fn take_back(
        &self,
        client: &Client,
        signals: &Signals,
        borrowed: Borrowed,
        until: Option<Instant>,
        has_janitor: bool,
    ) -> Back {
        let Borrowed {
            token,
            secrets,
            directory,
            recorded,
            ..
        } = borrowed;
        let directory = directory.map(SessionDir::remove);
        let without = secrets.iter().filter(|secret| secret.lease.is_none());
        let without_lease = without.map(|secret| secret.path.clone()).collect();
        let leases: Vec<Lease> = secrets
            .into_iter()
            .filter_map(|secret| secret.lease)
            .collect();
        let Some(token) = token else {
            return Back {
                directory,
                returned: None,
                recorded,
                broken_off: false,
                abandoned: Vec::new(),
                without_lease: Vec::new(),
                looked: None,
            };
        };
        let known = leases.clone();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // The janitor may still get the answer for which there is no time here; without one, what has no answer in time is said.
        let within = left.filter(|_| !has_janitor).unwrap_or(PATIENT);
        let mut work = std::pin::pin!(take_back_looking(
            client,
            &token,
            leases,
            within,
            self.lookups()
        ));
        // The ^C that ended the command may still lie in the pipe: it is not about us.
        signals.forget_pending();
        let time_is_over = async {
            match left {
                Some(left) if has_janitor => tokio::time::sleep(left).await,
                _ => std::future::pending().await,
            }
        };
        failpoint::reached("revoking");
        let returned = tokio::select! {
            returned = &mut work => Some(returned),
            () = time_is_over => None,
            // Whoever asks again wants us gone.
            _ = ending_signal(signals) => {
                let last = left.map_or(LAST_ANSWER, |left| left.min(LAST_ANSWER));
                tokio::time::timeout(last, work).await.ok()
            }
        };
        let broken_off = returned.is_none();
        Back {
            directory,
            returned,
            recorded,
            broken_off,
            abandoned: if broken_off { known } else { Vec::new() },
            without_lease,
            looked: None,
        }
    }
}

/// Waits for the command's end and for other work beside it, which no signal waits for.
async fn wait_beside(
    child: Child,
    signals: &Signals,
    work: impl Future<Output = ()>,
) -> Result<Waited, Failure> {
    let mut waiting = std::pin::pin!(wait(child, signals));
    let mut work = std::pin::pin!(work);
    let mut waited = tokio::select! {
        biased;
        waited = &mut waiting => waited?,
        () = &mut work => return waiting.await,
    };
    if waited.ended.until.is_none() {
        tokio::select! {
            () = work => {}
            asked = ending_signal(signals) => waited.ended.until = Some(asked.until()),
        }
    }
    Ok(waited)
}

/// What the work gives, or `None` where it panics: what was borrowed must be given back all the same.
pub(super) async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Option<T> {
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
pub(super) async fn ending_signal(signals: &Signals) -> Asked {
    loop {
        match signals.next().await {
            Ok(received) if asks_to_end(received.signal) => {
                return Asked::now(received.signal);
            }
            Ok(_) => {}
            // The pipe is ours and stays open; without it there is nothing to wait for.
            Err(_) => std::future::pending().await,
        }
    }
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
