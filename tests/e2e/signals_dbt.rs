//! The real dbt in the middle of a query, and what a terminal, a shell and an orchestrator do to end it: bare dbt and leased dbt end alike, the
//! query is cancelled, and everything is given back.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::on_both_stages;
use crate::scene::{Reporter, Scene, Stage, command, is_asleep, is_stopped};
use crate::support::{DBT_LEASE, Lab, wait_until};

const QUERY: &str = "select pg_sleep(600)";
const SHOW: [&str; 6] = ["dbt", "show", "--inline", QUERY, "--target", "prod"];

/// A directory with a profile that bare dbt connects with.
fn bare_profile(lab: &Lab) -> PathBuf {
    lab.world.query(
        "do $$ begin create role bare superuser login password 'bare'; exception when duplicate_object then null; end $$",
    );
    let directory = lab.home.directory().join("bare");
    let profile = format!(
        "jaffle: {{target: prod, outputs: {{prod: {{type: postgres, host: 127.0.0.1, port: {}, dbname: {}, schema: prod, user: bare, \
         password: bare, threads: 1}}}}}}\n",
        lab.world.postgres().port(),
        lab.world.database()
    );
    std::fs::create_dir_all(&directory).expect("made");
    std::fs::write(directory.join("profiles.yml"), profile).expect("written");
    directory
}

fn queries(lab: &Lab) -> usize {
    let database = lab.world.database();
    let sql = format!(
        "select pid from pg_stat_activity where datname = '{database}' and state = 'active' and query like '%pg_sleep(600)%' \
         and pid <> pg_backend_pid()"
    );
    lab.world.query(&sql).len()
}

/// dbt takes seconds to its first query, on a busy machine many.
#[track_caller]
fn wait_for_query(lab: &Lab, scene: &mut Scene) {
    wait_until("the query runs", || {
        assert!(
            !scene.has_ended(),
            "ended before its query:\n{}",
            scene.output()
        );
        queries(lab) > 0
    });
}

/// How dbt ends of what `act` does to it while its query runs; its output.
fn ended(
    lab: &Lab,
    stage: Stage,
    (before, bare): (&[&str], Option<&Path>),
    act: impl FnOnce(&mut Scene),
) -> (String, String) {
    let mut command = command(lab, before, bare.is_none(), &SHOW);
    if let Some(directory) = bare {
        command.env("DBT_PROFILES_DIR", directory);
    }
    let mut scene = Scene::start(stage, command);
    wait_for_query(lab, &mut scene);
    act(&mut scene);
    let ended = scene.end();
    wait_until("the query has ended", || {
        // Bare dbt leaves it running when it is killed.
        if bare.is_some() {
            lab.world.query(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'bare'",
            );
        }
        queries(lab) == 0
    });
    if bare.is_none() {
        lab.assert_nothing_left();
    }
    ended
}

/// A command to be ended: its name, what stands before dbt, how, and the end without a terminal.
type Case = (
    &'static str,
    &'static [&'static str],
    fn(&mut Scene),
    &'static str,
);

const CASES: [Case; 6] = [
    ("^C", &[], |scene| scene.interrupt(), "exit 2"),
    ("hangup", &[], Scene::hang_up, "signal 1"),
    (
        "kill",
        &[],
        |scene| scene.send(Signal::SIGTERM),
        "signal 15",
    ),
    (
        "killpg",
        &[],
        |scene| scene.send_to_its_group(Signal::SIGTERM),
        "signal 15",
    ),
    (
        "timeout",
        &["timeout", "600"],
        |scene| scene.send(Signal::SIGTERM),
        "signal 15",
    ),
    (
        "timeout --foreground",
        &["timeout", "--foreground", "600"],
        |scene| scene.send(Signal::SIGTERM),
        "signal 15",
    ),
];

on_both_stages! {
    fn leased_dbt_ends_as_bare_dbt_does(stage) {
        let lab = Lab::new();
        let bare = bare_profile(&lab);
        for (name, before, act, without_a_terminal) in CASES {
            let (leased, said) = ended(&lab, stage, (before, None), act);
            let expected = match stage {
                Stage::NoTerminal => without_a_terminal.to_owned(),
                Stage::Terminal => ended(&lab, stage, (before, Some(&bare)), act).0,
            };
            assert_eq!(leased, expected, "{name}:\n{said}");
        }
    }

    fn a_second_interrupt_ends_it_in_a_way_that_bare_dbt_also_shows(stage) {
        let lab = Lab::new();
        // Two at once make dbt wait for its query's own end now and then, without us too: so the second comes while it ends.
        let (end, said) = ended(&lab, stage, (&[], None), |scene| {
            scene.interrupt();
            wait_until("the query is cancelled", || queries(&lab) == 0);
            scene.interrupt();
        });
        assert!(["exit 2", "signal 2", "exit 1"].contains(&end.as_str()), "{end}:\n{said}");
    }

    fn term_cancels_the_query_before_dbt_ends(stage) {
        let lab = Lab::new();
        let (end, said) = ended(&lab, stage, (&[], None), |scene| scene.send(Signal::SIGTERM));
        assert_eq!(end, "signal 15", "{said}");
        // What bare dbt says at ^C, and never at TERM.
        assert!(said.contains("KeyboardInterrupt"), "{said}");
        assert_eq!(lab.record()[1]["result"], "signal SIGTERM");
    }

    fn a_dbt_that_obeys_nothing_gets_int_then_term_then_kill_within_four_seconds(stage) {
        for signal in [Signal::SIGTERM, Signal::SIGHUP] {
            let lab = Lab::new();
            let (_, mut reporter, command) = stubborn_dbt(&lab);
            let scene = Scene::start(stage, command);
            reporter.ready();
            let asked = Instant::now();
            scene.send(signal);
            // Again and again: it is under way.
            scene.send(signal);
            reporter.wait_for("INT");
            scene.send(signal);
            let name = signal.as_str().trim_start_matches("SIG");
            reporter.wait_for(name);
            assert!(asked.elapsed().as_millis() >= 2000, "{:?}", asked.elapsed());
            let (end, said) = scene.end();
            assert!(asked.elapsed().as_millis() >= 3500, "{:?}", asked.elapsed());
            assert_eq!(end, format!("signal {}", signal as i32), "{said}");
            assert_eq!(reporter.rest(), ["INT", name]);
            lab.assert_nothing_left();
        }
    }

    fn without_a_lease_dbt_gets_what_we_got(stage) {
        let lab = Lab::new();
        let (dbt, mut reporter, _) = stubborn_dbt(&lab);
        let words = [DBT_LEASE, "exec", "--", dbt.to_str().expect("UTF-8"), "run", "--target", "dev"];
        let mut command = command(&lab, &[], false, &words);
        reporter.set(&mut command);
        let scene = Scene::start(stage, command);
        reporter.ready();
        scene.send(Signal::SIGTERM);
        reporter.wait_for("TERM");
        let (told, end, _) = reporter.finish(scene);
        assert_eq!((told, end.as_str()), (vec!["TERM".to_owned()], "exit 7"));
    }
}

/// As Airflow's bash hook does it: TERM to the group of a session of its own; five seconds later its task's process is killed, and nobody
/// reads the pipe any more.
#[test]
fn airflow_s_kill_finds_everything_given_back_also_when_vault_does_not_answer() {
    let lab = Lab::new();
    let mut command = command(&lab, &[], true, &SHOW);
    command.arg("--quiet");
    let mut scene = Scene::start(Stage::NoTerminal, command);
    wait_for_query(&lab, &mut scene);
    lab.world.bao().freeze();
    let asked = Instant::now();
    scene.send_to_its_group(Signal::SIGTERM);
    let (end, said) = scene.end();
    let took = asked.elapsed();
    assert_eq!(end, "signal 15", "{said}");
    assert!(said.contains("the janitor goes on with it"), "{said}");
    // Four seconds and this machine's load; without the bound it would be thirty.
    assert!(took.as_secs() < 15, "{took:?}");
    assert!(took.as_millis() >= 3900, "{took:?}");
    lab.world.bao().thaw();
    wait_until("the janitor has put the end on record", || {
        lab.record().len() == 2
    });
    assert_eq!(lab.record()[1]["result"], "signal SIGTERM");
    assert_eq!(lab.record()[1]["leases"][0]["result"], "revoked");
    lab.assert_nothing_left();
}

/// Of the same kill what comes after five seconds: nobody reads the pipe any more, and we still have something to say.
#[test]
fn a_reader_that_is_killed_meanwhile_changes_nothing() {
    let lab = Lab::new();
    let mut scene = Scene::start(Stage::NoTerminal, command(&lab, &[], true, &SHOW));
    wait_for_query(&lab, &mut scene);
    lab.world.bao().freeze();
    scene.send_to_its_group(Signal::SIGTERM);
    scene.lose_its_reader();
    let (end, _) = scene.end();
    assert_eq!(end, "signal 15");
    lab.world.bao().thaw();
    wait_until("the janitor has put the end on record", || {
        lab.record().len() == 2
    });
    assert_eq!(lab.record()[1]["result"], "signal SIGTERM");
    assert_eq!(lab.record()[1]["leases"][0]["result"], "revoked");
    lab.assert_nothing_left();
}

/// The children of a process.
fn children(pid: Pid) -> Vec<Pid> {
    let text =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().expect("a pid")))
        .collect()
}

#[test]
fn ctrl_z_stops_dbt_and_fg_continues_it_and_ctrl_c_ends_it() {
    let lab = Lab::new();
    let shell = command(&lab, &[], false, &["bash", "--norc", "--noprofile", "-i"]);
    let mut scene = Scene::start(Stage::Terminal, shell);
    scene.types(&format!(
        "{DBT_LEASE} exec -- dbt show --inline '{QUERY}' --target prod\n"
    ));
    wait_for_query(&lab, &mut scene);
    let [supervisor] = children(scene.pid())[..] else {
        panic!("the shell has not one child:\n{}", scene.output());
    };
    // The janitor, which no terminal reaches, is the other one.
    let both: Vec<Pid> = children(supervisor)
        .into_iter()
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| !line.starts_with(b"dbt-lease-janitor"))
        })
        .chain([supervisor])
        .collect();
    assert_eq!(both.len(), 2, "{both:?}");
    scene.types("\x1a");
    wait_until("both have stopped", || {
        both.iter().all(|pid| is_stopped(*pid))
    });
    assert_eq!(queries(&lab), 1);
    scene.types("fg\n");
    // As long as its first thread has not taken note of the SIGCONT, the kernel gives the process's next signal to another one. Python's
    // handler runs there, and the first thread, which alone raises KeyboardInterrupt, sleeps on: bare dbt would miss this ^C too.
    wait_until("both run and wait again", || {
        both.iter().all(|pid| is_asleep(*pid))
    });
    scene.interrupt();
    wait_until("both have ended", || {
        !both
            .iter()
            .any(|pid| std::fs::exists(format!("/proc/{pid}")).unwrap_or(false))
    });
    scene.types("echo code=$?\n");
    wait_until("the code", || scene.output().contains("code=2"));
    scene.types("exit\n");
    let _ = scene.end();
    lab.assert_nothing_left();
}

/// A program of the name `dbt` that tells its signals and obeys none.
fn stubborn_dbt(lab: &Lab) -> (PathBuf, Reporter, Command) {
    let directory = lab.home.directory().join("stubborn");
    std::fs::create_dir(&directory).expect("made");
    let dbt = directory.join("dbt");
    std::fs::copy(dbt_lease_sandbox::program::report_signals(), &dbt).expect("copied");
    let reporter = Reporter::new(lab.home.directory());
    let words = [dbt.to_str().expect("UTF-8"), "run", "--target", "prod"];
    let mut command = command(lab, &[], true, &words);
    reporter.set(&mut command);
    (dbt, reporter, command)
}
