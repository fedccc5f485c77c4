//! How a run ends, and that every catchable end cleans up.

use nix::sys::signal::{Signal, kill};

use crate::support::{Lab, Running, bytes_wait_at, wait_until};

#[test]
fn the_child_s_exit_code_is_ours() {
    let lab = Lab::new();
    for code in [0, 1, 2, 99, 255] {
        let _ = lab.exec_script(&format!("exit {code}")).code(code).silent();
    }
    lab.assert_nothing_left();
}

#[test]
fn the_child_s_signal_is_ours() {
    let lab = Lab::new();
    for signal in [Signal::SIGTERM, Signal::SIGKILL, Signal::SIGSEGV] {
        let ran = lab.exec_script(&format!("kill -{} $$", signal as i32));
        assert_eq!(ran.signal, Some(signal as i32), "{}", ran.stderr);
    }
    lab.assert_nothing_left();
    assert_eq!(lab.record()[1]["result"], "signal SIGTERM");
}

/// Prints each signal that it gets, and ends on USR1.
const REPORT: &str = "for s in INT TERM HUP QUIT; do trap \"echo got $s\" $s; done; trap 'exit 7' USR1; echo ready; \
                      while :; do read line <&3; done 3<$0";

#[test]
fn int_term_and_hup_reach_the_child_exactly_once() {
    let lab = Lab::new();
    let fifo = lab.home.directory().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    // Held open for reading and writing, so that the child's `read` blocks.
    let _held = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&fifo)
        .expect("open");
    let fifo = fifo.display().to_string();
    let mut running =
        Running::start(lab.command(&["exec", "-t", "prod", "--", "bash", "-c", REPORT, &fifo]));
    running.wait_for_line("ready");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        kill(running.pid(), signal).expect("sent");
        running.wait_for_line(&format!(
            "got {}",
            signal.as_str().trim_start_matches("SIG")
        ));
    }
    kill(running.pid(), Signal::SIGUSR1).expect("sent");
    let ran = running.end().code(7);
    assert_eq!(ran.stdout, "", "a signal came twice");
    lab.assert_nothing_left();
}

#[test]
fn a_signal_that_ends_the_child_ends_us_after_cleaning_up() {
    let lab = Lab::new();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut running = Running::start(lab.command(&[
            "exec",
            "-t",
            "prod",
            "--",
            "sh",
            "-c",
            "echo up; exec sleep 600",
        ]));
        running.wait_for_line("up");
        kill(running.pid(), signal).expect("sent");
        let ran = running.end();
        assert_eq!(ran.signal, Some(signal as i32), "{}", ran.stderr);
    }
    lab.assert_nothing_left();
}

#[test]
fn a_signal_during_the_login_ends_us_by_it_and_starts_nothing() {
    let lab = Lab::new();
    lab.world.bao().freeze();
    let running =
        Running::start(lab.command(&["exec", "-t", "prod", "--", "sh", "-c", "echo started"]));
    // The request is under way when the frozen server's socket holds bytes that nobody reads.
    let port = lab
        .world
        .bao()
        .address()
        .rsplit(':')
        .next()
        .expect("a port")
        .parse()
        .expect("a port");
    wait_until("the login was sent", || bytes_wait_at(port));
    kill(running.pid(), Signal::SIGTERM).expect("sent");
    lab.world.bao().thaw();
    let ran = running.end();
    assert_eq!(ran.signal, Some(Signal::SIGTERM as i32), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    lab.assert_nothing_left();
}

#[test]
fn a_command_that_is_not_there_costs_no_login() {
    let lab = Lab::new();
    let _ = lab
        .run(&["exec", "-t", "prod", "--", "no-such-program"])
        .code(127)
        .says(&["`no-such-program` was not found on PATH"]);
    let _ = lab
        .run(&["exec", "-t", "prod", "--", "./no-such-program"])
        .code(127)
        .says(&["`./no-such-program` was not found"]);
    let _ = lab
        .run(&["exec", "-t", "prod", "--", "./dbt_project.yml"])
        .code(126)
        .says(&["`./dbt_project.yml` cannot be run"]);
    assert!(lab.requests().is_empty());
}

#[test]
fn our_own_usage_errors_are_125() {
    let lab = Lab::new();
    let _ = lab
        .run(&["exec", "--no-such-option", "--", "true"])
        .code(125);
    let _ = lab.run(&["exec"]).code(125);
    let _ = lab.run(&["plan", "--no-such-option"]).code(2);
}

#[test]
fn stdin_stdout_and_descriptors_are_those_of_a_bare_run() {
    let lab = Lab::new();
    let show = "bash -c 'cat; cat <&9; ls /proc/self/fd' 9<<<extra";
    let outputs = ["", "TOOL exec -t prod -- "].map(|before| {
        let script = format!(
            "echo in | {}{show}",
            before.replace("TOOL", crate::support::DBT_LEASE)
        );
        crate::support::ran(
            lab.in_its_environment("bash")
                .args(["-c", &script])
                .output()
                .expect("started"),
        )
        .success()
    });
    assert!(outputs[0].starts_with("in\nextra\n"), "{}", outputs[0]);
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn an_ignored_sigpipe_and_a_default_one_reach_the_child_as_they_were() {
    let lab = Lab::new();
    let show = "grep SigIgn /proc/self/status";
    for (before, expected) in [("", false), ("trap '' PIPE; ", true)] {
        let tool = crate::support::DBT_LEASE;
        let script = format!("{before}exec {tool} exec -t prod -- {show}");
        let mut command = lab.in_its_environment("bash");
        command.args(["-c", &script]);
        let stdout = crate::support::ran(command.output().expect("started")).success();
        let mask = u64::from_str_radix(stdout.trim().rsplit('\t').next().expect("a mask"), 16)
            .expect("hex");
        assert_eq!(
            mask & (1 << (Signal::SIGPIPE as i32 - 1)) != 0,
            expected,
            "{before}{stdout}"
        );
    }
}
