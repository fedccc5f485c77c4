//! Signals, with and without a terminal: what reaches the command, how often, and how it ends. The command is a small program that tells each
//! signal that it gets.
//!
//! Without a terminal each signal comes exactly once (`just signals` wants that of 20 rounds in 20). With one, what signals the whole group
//! reaches the command past us and through us; then it is compared with the command alone.

use dbt_lease_sandbox::program::report_signals;
use nix::sys::signal::{Signal, kill};

use crate::on_both_stages;
use crate::scene::{End, Reporter, Scene, Stage, command};
use crate::support::Lab;

/// What was sent, in its order, and the command's end.
type Told = (Vec<String>, End);

/// Runs the reporting command, leased or alone, behind the words of `before`, and lets `act` send signals to it.
fn told(
    lab: &Lab,
    stage: Stage,
    (before, leased): (&[&str], bool),
    act: impl FnOnce(&mut Scene, &mut Reporter),
) -> Told {
    let program = report_signals().to_str().expect("UTF-8");
    let mut command = command(lab, before, leased, &[program]);
    let mut reporter = Reporter::new(lab.home.directory());
    reporter.set(&mut command);
    let mut scene = Scene::start(stage, command);
    reporter.ready();
    act(&mut scene, &mut reporter);
    // What has not come by now would come before this one.
    let receiver = if leased {
        reporter.parent
    } else {
        reporter.pid
    };
    kill(receiver, Signal::SIGUSR2).expect("sent");
    reporter.wait_for("USR2");
    let (mut told, end, _) = reporter.finish(scene);
    told.retain(|signal| signal != "USR2");
    (told, end)
}

/// Without a terminal exactly these; with one what the command alone gets, but that one signal may come as two.
#[track_caller]
fn assert_told(
    lab: &Lab,
    stage: Stage,
    before: &[&str],
    expected: &[&str],
    act: impl Fn(&mut Scene, &mut Reporter),
) {
    let (mut leased, end) = told(lab, stage, (before, true), &act);
    if stage == Stage::NoTerminal {
        leased.sort();
        assert_eq!(leased, expected);
    } else {
        let (mut alone, alone_end) = told(lab, stage, (before, false), &act);
        for told in [&mut leased, &mut alone] {
            told.sort();
            told.dedup();
        }
        assert_eq!((leased, &end), (alone, &alone_end));
    }
    if before.is_empty() {
        assert_eq!(end, "exit 7");
    }
    lab.assert_nothing_left();
}

on_both_stages! {
    fn an_interrupt_comes_once(stage) {
        let lab = Lab::new();
        let (told, end) = told(&lab, stage, (&[], true), |scene, reporter| {
            scene.interrupt();
            reporter.wait_for("INT");
        });
        assert_eq!((told, end.as_str()), (vec!["INT".to_owned()], "exit 7"));
        lab.assert_nothing_left();
    }

    fn each_of_two_interrupts_comes(stage) {
        let lab = Lab::new();
        let (told, _) = told(&lab, stage, (&[], true), |scene, reporter| {
            for _ in 0..2 {
                scene.interrupt();
                reporter.wait_for("INT");
            }
        });
        assert_eq!(told, ["INT", "INT"]);
    }

    fn a_hangup_comes_once(stage) {
        let lab = Lab::new();
        let (told, end) = told(&lab, stage, (&[], true), |scene, reporter| {
            scene.hang_up();
            reporter.wait_for("HUP");
        });
        // A session's leader that lives on after the hangup gets CONT too; so does nobody else.
        assert_eq!(told.iter().filter(|signal| *signal == "HUP").count(), 1, "{told:?}");
        assert_eq!(end, "exit 7");
        lab.assert_nothing_left();
    }

    fn what_kill_sends_comes_once_and_is_not_translated(stage) {
        let lab = Lab::new();
        let (told, end) = told(&lab, stage, (&[], true), |scene, reporter| {
            for signal in ["TERM", "HUP", "QUIT", "USR1", "ALRM", "WINCH", "TSTP", "CONT"] {
                scene.send(format!("SIG{signal}").parse().expect("a signal"));
                reporter.wait_for(signal);
            }
        });
        assert_eq!(told, ["TERM", "HUP", "QUIT", "USR1", "ALRM", "WINCH", "TSTP", "CONT"]);
        assert_eq!(end, "exit 7");
    }

    fn several_of_one_kind_within_a_second_all_come(stage) {
        let lab = Lab::new();
        let (told, _) = told(&lab, stage, (&[], true), |scene, reporter| {
            for signal in ["USR1", "USR1", "TERM", "TERM", "USR1"] {
                scene.send(format!("SIG{signal}").parse().expect("a signal"));
                reporter.wait_for(signal);
            }
        });
        assert_eq!(told, ["USR1", "USR1", "TERM", "TERM", "USR1"]);
    }

    fn killpg_reaches_it_once(stage) {
        let lab = Lab::new();
        assert_told(&lab, stage, &[], &["TERM"], |scene, reporter| {
            scene.send_to_its_group(Signal::SIGTERM);
            reporter.wait_for("TERM");
        });
    }

    fn timeout_reaches_it_once(stage) {
        let lab = Lab::new();
        // timeout(1) does for a TERM of its own what it does when the time is over: it signals the process, then the group.
        assert_told(&lab, stage, &["timeout", "600"], &["CONT", "TERM"], |scene, reporter| {
            scene.send(Signal::SIGTERM);
            // In either order: they come all but at once.
            while !["TERM", "CONT"].iter().all(|signal| reporter.told.iter().any(|told| told == signal)) {
                reporter.wait_for_any();
            }
        });
    }

    fn timeout_in_the_foreground_reaches_it_once(stage) {
        let lab = Lab::new();
        assert_told(&lab, stage, &["timeout", "--foreground", "600"], &["TERM"], |scene, reporter| {
            scene.send(Signal::SIGTERM);
            reporter.wait_for("TERM");
        });
    }

    fn what_was_ignored_stays_ignored(stage) {
        let lab = Lab::new();
        let before = ["sh", "-c", "trap '' HUP INT; exec \"$@\"", "sh"];
        // The kernel itself keeps an ignored ^C for a process that has it blocked.
        let by_the_kernel = usize::from(stage == Stage::Terminal);
        let (told, _) = told(&lab, stage, (&before, true), |scene, reporter| {
            scene.interrupt();
            if by_the_kernel == 1 {
                // What is typed goes through the terminal, and another signal may overtake it.
                reporter.wait_for("INT");
            }
            scene.send(Signal::SIGHUP);
            scene.send(Signal::SIGTERM);
            reporter.wait_for("TERM");
        });
        assert_eq!(told.iter().filter(|signal| *signal == "INT").count(), by_the_kernel, "{told:?}");
        assert!(!told.contains(&"HUP".to_owned()), "{told:?}");
    }
}
