//! A session: log in, read, deliver, run, take back. Whatever happens on the way, what was borrowed is given back.
#![forbid(unsafe_code)]

use std::panic::AssertUnwindSafe;
use std::task::Poll;
use std::time::{Instant, SystemTime};

use super::arguments::{self, Exec};
use super::disk;
use super::exec::{Material, Wanted, deliver, in_loop, wait, watch_signals};
use super::failure::Failure;
use super::giving_back::ending_signal;
use super::keeping::{Keeper, tell_ends};
use super::say::Say;
use super::session::{Borrowed, Session, Stop};
use super::steps::Surroundings;
use crate::config::Delivery;
use crate::dbt::Rendering;
use crate::delivery::environ::for_child;
use crate::delivery::gate::Gate;
use crate::delivery::private::Storage;
use crate::delivery::session::SessionDir;
use crate::failpoint;
use crate::record::audit::Record;
use crate::render;
use crate::render::secrets::Secrets;
use crate::secret::Secret;
use crate::supervise::child::{Child, End, Purpose, Started, Waited, signal_name};
use crate::supervise::course::Asked;
use crate::supervise::footprint;
use crate::supervise::janitor::handle::Janitor;
use crate::supervise::privacy::forbid_core_dumps;
use crate::supervise::signals::Signals;
use crate::vault::client::Client;

/// Runs the command of `exec` in a session.
pub(super) fn run(
    say: &Say,
    surroundings: &Surroundings,
    rendering: &Rendering<'_>,
    exec: &Exec,
    wanted: &Wanted<'_>,
) -> Result<End, Failure> {
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
        ..Session::new(say, surroundings, rendering, wanted)?
    };
    session.begin()?;
    // On the heap once, not on the stack as often as it is handed on.
    in_loop(Box::pin(session.run()))
}

impl Session<'_> {
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
        let work = Box::pin(work);
        let way = match unless_it_panics(work).await {
            Some(way) => way,
            // Nobody waits for the command any more: the janitor ends it and gives everything back, and is waited for.
            None if borrowed.in_use && janitor.is_there().is_ok() => {
                drop(janitor);
                return Err(Failure::panicked());
            }
            None => Err(Failure::panicked().into()),
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
        let (first, further) = borrowed.secrets.split_at(wanted.loan.lent.secrets.len());
        let secrets = Secrets::leased(first);
        let others = self.others(further);
        let mut bridge = render::bridge(&wanted.loan.lent, &secrets)?;
        for (lent, secrets) in others.iter().filter_map(|part| part.lent.as_ref()) {
            bridge.extend(render::bridge(lent, secrets)?);
        }
        let material = Material {
            profile: self.profile,
            lent: &wanted.loan.lent,
            secrets: &secrets,
            others,
            rendering: self.rendering,
            kept: Vec::new(),
        };
        let directory = deliver(variables, &self.id, &material, &|step| {
            janitor.directory(step)
        })?;
        if directory.storage() == Storage::Disk {
            disk::warn(self.say, variables, directory.profiles_dir());
        }
        let client = self.client(&secrets, directory.files_dir(), &bridge);
        borrowed.directory = Some(directory);
        bridge.extend(client?);
        borrowed.recorded = self.record_start(record, borrowed)?;
        failpoint::reached("recorded");
        Ok(bridge)
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
        // Boxed: its memory is needed no more while the command runs.
        let lend = Box::pin(self.lend(client, signals, janitor, borrowed, record.as_deref_mut()));
        let bridge = lend.await?;
        if wanted.resolved.is_dbt {
            self.warm(borrowed, &bridge);
        }
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
        let dead = Box::pin(self.take_back_for_the_dead(client, token, record));
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

    /// The gate of this run: for dbt itself, where the file holds a secret and it is known how often dbt opens it.
    fn gate(&self, directory: Option<&SessionDir>) -> Option<Gate> {
        let reads = self.wanted.resolved.profile_reads?;
        if !self.gated || self.wanted.loan.lent.delivery == Delivery::Env {
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
                let tell = |outcome: std::io::Result<()>| {
                    self.say.note(|| match outcome {
                        Ok(()) => "dbt has read profiles.yml, and it is shredded".to_owned(),
                        Err(error) => format!(
                            "profiles.yml could not be shredded as soon as dbt had read it: {error}"
                        ),
                    });
                    // From now on we only wait.
                    footprint::give_back_when_asleep();
                };
                gate.keep(tell).await
            }
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
