//! Narrow places: limits, odd descriptors, stops and signals that seldom come. Nothing is left in any of them.

use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{
    DBT_LEASE, DBT_LEASED, Gate, Lab, Ran, Running, files_below, ran, wait_until,
};

/// Runs a bash script in the project, with the tool as `$0`.
fn bash(lab: &Lab, script: &str) -> Ran {
    let mut command = lab.in_its_environment("bash");
    command.args(["-c", script, DBT_LEASE]);
    ran(command.output().expect("started"))
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_leaves_no_secret_behind() {
    let lab = Lab::new();
    // In blocks of 1024 bytes: with 0 nothing can be written, with 1 profiles.yml can, and the record's second line cannot.
    for (blocks, words) in [
        ("0", "no place for the private profiles directory"),
        ("1", "could not be written: File too large"),
    ] {
        // The limit is for files: stderr is a pipe.
        let refused = bash(
            &lab,
            &format!("ulimit -f {blocks}; exec $0 exec -t prod -- true"),
        );
        assert_eq!(refused.signal, None, "{blocks}: {}", refused.stderr);
        let _ = refused.says(&[words]);
        lab.assert_nothing_left();
    }
}

#[test]
fn too_few_descriptors_are_refused_and_leave_no_directory() {
    let lab = Lab::new();
    let mut codes = Vec::new();
    for limit in 8..40 {
        let refused = bash(
            &lab,
            &format!("ulimit -n {limit}; exec $0 exec -t prod -- true"),
        );
        let left = files_below(lab.home.runtime());
        assert!(left.is_empty(), "{limit}: {left:?}\n{}", refused.stderr);
        assert!(
            !refused.stderr.contains("was not removed"),
            "{limit}: {}",
            refused.stderr
        );
        codes.push(refused.code);
    }
    assert!(
        codes.contains(&Some(125)),
        "no limit was too small: {codes:?}"
    );
    assert_eq!(codes.last(), Some(&Some(0)), "{codes:?}");
    lab.assert_nothing_left();
}

#[test]
fn a_record_that_is_a_pipe_is_refused_and_not_waited_for() {
    let lab = Lab::new();
    let pipe = lab.home.directory().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let mut command = lab.command(&["exec", "-t", "prod", "--", "true"]);
    command.env("DBT_LEASE_AUDIT_FILE", &pipe);
    let _ = ran(command.output().expect("started"))
        .code(125)
        .says(&["is not a regular file"]);
}

#[test]
fn a_session_in_a_session_does_not_pass_over_another_target() {
    let lab = Lab::new();
    let script =
        "exec $0 exec -t prod -- $0 exec -t staging -- sh -c 'echo $DBT_TARGET $DBT_ENGINE_TARGET'";
    assert_eq!(bash(&lab, script).success(), "staging staging\n");
    let script = "exec $0 exec -t prod -- $0 exec -t staging -- dbt debug";
    assert!(
        bash(&lab, script)
            .stdout
            .contains("does not have a target named 'staging'")
    );
    let script =
        format!("exec $0 exec -t prod -- {DBT_LEASED} debug --profiles-dir . --connection");
    let connected = bash(&lab, &script).success();
    assert!(connected.contains("All checks passed!"), "{connected}");
    lab.assert_nothing_left();
}

#[test]
fn the_project_is_found_from_the_directory_in_which_the_command_starts_dbt() {
    let lab = Lab::new();
    let stdout = bash(
        &lab,
        "cd ..; exec $0 exec --project-dir jaffle --profiles-dir jaffle -t prod -- sh -c 'cd jaffle/models; cd $DBT_PROJECT_DIR; pwd'",
    )
    .success();
    assert!(stdout.ends_with("/jaffle\n"), "{stdout}");
}

#[test]
fn a_death_by_a_real_time_signal_is_ours_too() {
    let lab = Lab::new();
    let ran = lab.run(&["exec", "-t", "prod", "--", "bash", "-c", "kill -34 $$"]);
    assert_eq!(ran.signal, Some(34), "{}", ran.stderr);
    assert_eq!(lab.record()[1]["result"], "signal 34");
    lab.assert_nothing_left();
}

#[test]
fn a_timer_that_was_set_before_us_ends_the_child_and_we_clean_up() {
    let lab = Lab::new();
    // alarm(2) outlives exec.
    let script = "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 1); os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = lab.in_its_environment("python");
    command.args(["-c", script, DBT_LEASE]).args([
        "exec",
        "-t",
        "prod",
        "--",
        "sh",
        "-c",
        "exec sleep 600",
    ]);
    let ran = ran(command.output().expect("started"));
    assert_eq!(ran.signal, Some(Signal::SIGALRM as i32), "{}", ran.stderr);
    lab.assert_nothing_left();
}

#[test]
fn a_watchdog_s_abort_reaches_the_child_and_we_clean_up() {
    let lab = Lab::new();
    let ran = lab.exec_script("kill -ABRT $PPID; exec sleep 600");
    assert_eq!(ran.signal, Some(Signal::SIGABRT as i32), "{}", ran.stderr);
    lab.assert_nothing_left();
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says why")]
fn a_crash_of_ours_dumps_no_core() {
    let dumped = |mut command: Command| {
        let status = command.status().expect("started");
        std::os::unix::process::ExitStatusExt::core_dumped(&status)
    };
    let lab = Lab::new();
    let crash = |script: &str| {
        let mut command = lab.in_its_environment("bash");
        command.args(["-c", &format!("ulimit -c unlimited; {script}"), DBT_LEASE]);
        command.current_dir(lab.home.tmp());
        command
    };
    if !dumped(crash("kill -BUS $$")) {
        println!("skipped: this machine dumps no cores");
        return;
    }
    // Again and again: Rust's handler lets the first one pass, which is not about its stack.
    let project = lab.project.display();
    let ours = format!(
        "exec $0 exec --project-dir {project} --profiles-dir {project} -t prod -- \
         sh -c 'while kill -BUS $PPID; do :; done' 2>/dev/null"
    );
    assert!(!dumped(crash(&ours)));
    // Nothing catches this one: what is left ends with its TTL. The world goes, too.
}

#[test]
fn a_child_that_another_process_stops_and_continues_is_waited_for() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    // A session without a terminal, whoever runs this test.
    let mut command = lab.in_its_environment("setsid");
    command
        .args(["--wait", DBT_LEASE])
        .args(gate.held("echo $$ >&2; echo up"));
    let mut running = Running::start(command);
    running.wait_for_line("up");
    let mut stderr = String::new();
    let mut reader = std::io::BufReader::new(running.child.stderr.as_mut().expect("piped"));
    std::io::BufRead::read_line(&mut reader, &mut stderr).expect("a pid");
    let child = Pid::from_raw(stderr.trim().parse().expect("a pid"));
    let state = |letter: &str| {
        let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        status
            .rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with(letter))
    };
    kill(child, Signal::SIGSTOP).expect("sent");
    wait_until("it has stopped", || state("T"));
    kill(child, Signal::SIGCONT).expect("sent");
    wait_until("it goes on", || !state("T"));
    gate.open();
    let _ = running.end().code(0);
    lab.assert_nothing_left();
}

#[test]
fn a_stderr_that_nobody_reads_does_not_make_us_deaf_to_signals() {
    let lab = Lab::new();
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    nix::fcntl::fcntl(
        &writer,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
    )
    .expect("set");
    while nix::unistd::write(&writer, &[b'x'; 4096]).is_ok() {}
    nix::fcntl::fcntl(
        &writer,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()),
    )
    .expect("set");
    let mut command = lab.command(&["exec", "-v", "-t", "prod", "--", "true"]);
    command.stderr(Stdio::from(writer));
    let mut child = command.spawn().expect("started");
    wait_until("the end is on record", || lab.record().len() == 2);
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    wait_until("it writes to the full pipe", || {
        let call = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        call.contains("pipe_write")
    });
    kill(pid, Signal::SIGTERM).expect("sent");
    let status = child.wait().expect("waited for");
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(Signal::SIGTERM as i32)
    );
    drop(reader);
    lab.assert_nothing_left();
}

#[test]
fn without_path_the_system_s_own_is_searched() {
    let lab = Lab::new();
    let mut command = lab.command(&["exec", "-t", "prod", "--", "sh", "-c", "exit 7"]);
    command.env_remove("PATH");
    let _ = ran(command.output().expect("started")).code(7);
    let _ = lab
        .run(&["exec", "-t", "prod", "--", ""])
        .code(127)
        .says(&["`` was not found"]);
}

#[test]
fn the_shim_passes_over_a_dbt_that_cannot_be_run() {
    let lab = Lab::new();
    let first = lab.home.directory().join("first");
    std::fs::create_dir(&first).expect("made");
    std::fs::write(first.join("dbt"), "").expect("written");
    std::fs::set_permissions(first.join("dbt"), PermissionsExt::from_mode(0o644)).expect("set");
    let script = format!("PATH={}:$PATH exec {DBT_LEASED} --version", first.display());
    assert!(bash(&lab, &script).success().contains("installed: 1.12"));
}

#[test]
fn a_line_of_the_record_that_a_full_disk_cut_short_spoils_no_later_one() {
    let lab = Lab::new();
    std::fs::create_dir_all(lab.home.record().parent().expect("a parent")).expect("made");
    let mut file = std::fs::OpenOptions::new();
    let mut file = file
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(lab.home.record())
        .expect("made");
    std::io::Write::write_all(&mut file, b"{\"version\":1,\"ti").expect("written");
    lab.exec_script("true").silent().success();
    let text = std::fs::read_to_string(lab.home.record()).expect("the record");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines[1..]
            .iter()
            .all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
}

#[test]
fn a_child_that_removes_or_fills_its_directory_leaves_nothing_and_no_warning() {
    let lab = Lab::new();
    for script in [
        "rm -r $DBT_PROFILES_DIR",
        "rm -r $(dirname $DBT_PROFILES_DIR)",
        "mkdir $DBT_PROFILES_DIR/../other; echo x > $DBT_PROFILES_DIR/../other/file",
    ] {
        lab.exec_script(script).silent().success();
        lab.assert_nothing_left();
    }
}

#[test]
fn an_empty_variable_is_an_unset_one_and_the_command_line_wins_over_variables() {
    let lab = Lab::new();
    let with = |variables: &[(&str, &str)], option: &str| {
        let mut command = lab.command(&["exec", option, "-t", "prod", "--", "true"]);
        command.envs(variables.iter().copied());
        ran(command.output().expect("started"))
    };
    let empty = [
        "COLOR",
        "LOG_FORMAT",
        "DELIVERY",
        "TTL",
        "GATE",
        "VERIFY",
        "CONFIG",
        "VERBOSE",
        "QUIET",
    ]
    .map(|name| format!("DBT_LEASE_{name}"));
    let empty: Vec<(&str, &str)> = empty.iter().map(|name| (name.as_str(), "")).collect();
    let _ = with(&empty, "-q").code(0).silent();
    let _ = with(&[("DBT_LEASE_VERBOSE", "0")], "-q").code(0).silent();
    let _ = with(&[("DBT_LEASE_VERBOSE", "1")], "-q").code(0).silent();
    let _ = with(&[("DBT_LEASE_QUIET", "1")], "-v")
        .code(0)
        .says(&["1 lease, 1 revoked"]);
    let _ = with(&[], "-vq").code(125).says(&["exclude each other"]);
}

#[test]
fn usage_errors_have_the_code_of_their_subcommand() {
    let lab = Lab::new();
    let _ = lab
        .run(&["plan", "--target", "exec", "--no-such-option"])
        .code(2);
    let _ = lab
        .run(&["-v", "exec", "--target", "plan", "--no-such-option"])
        .code(125);
}

#[test]
fn an_output_that_cannot_take_the_credential_costs_no_login() {
    let lab = Lab::new();
    let profiles = lab.project.join("profiles.yml");
    for (output, words) in [
        ("{type: duckdb, path: x}", "`type: duckdb`"),
        (
            "{type: \"{{ env_var('X', 'postgres') }}\"}",
            "no `type:` that is plain text",
        ),
        (
            "{type: postgres, pass: a, password: b}",
            "both `pass` and `password`",
        ),
    ] {
        let text = format!("jaffle: {{target: prod, outputs: {{prod: {output}}}}}\n");
        std::fs::write(&profiles, text).expect("written");
        let _ = lab
            .run(&["exec", "-t", "prod", "--", "true"])
            .code(125)
            .says(&[words]);
    }
    assert!(lab.requests().is_empty());
}
