//! The command finds what it would find without us: dispositions, mask, limits, descriptors, and the same end.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::scene::{Reporter, Scene, Stage, command, is_stopped};
use crate::support::{DBT_LEASE, Lab, files_below, ran, wait_until};

/// Shows all that a process inherits; each is a program of its own, which changes nothing before it looks.
const LOOKS: [&str; 7] = [
    "grep -E ^Sig(Blk|Ign|Cgt) /proc/self/status",
    "cat /proc/self/limits",
    "ls /proc/self/fd",
    "nice",
    "sh -c umask",
    "cat /proc/self/cmdline",
    "readlink /proc/self/cwd",
];

/// What is done before the command is started, by a Python program that then becomes it.
const BEFORE: [(&str, &str); 9] = [
    ("nothing", ""),
    ("SIGPIPE by default", "s.signal(s.SIGPIPE, s.SIG_DFL)"),
    ("SIGCHLD ignored", "s.signal(s.SIGCHLD, s.SIG_IGN)"),
    (
        "several ignored",
        "[s.signal(n, s.SIG_IGN) for n in (s.SIGHUP, s.SIGINT, s.SIGQUIT, s.SIGUSR1, s.SIGTSTP, s.SIGWINCH)]",
    ),
    (
        "several blocked",
        "s.pthread_sigmask(s.SIG_BLOCK, [s.SIGUSR1, s.SIGTERM, s.SIGWINCH, s.SIGRTMIN])",
    ),
    (
        "limits, umask, nice",
        "r.setrlimit(r.RLIMIT_CORE, (0, 0)); r.setrlimit(r.RLIMIT_NOFILE, (200, 300)); os.umask(0o027); os.nice(3)",
    ),
    ("stdin closed", "os.close(0)"),
    ("stderr closed", "os.close(2)"),
    (
        "descriptors of make",
        "a, b = os.pipe(); os.dup2(a, 8); os.dup2(b, 9); os.close(a); os.close(b)",
    ),
];

#[test]
fn the_command_inherits_what_it_would_inherit_without_us() {
    let lab = Lab::new();
    // What is taken from the command in a protected environment on purpose.
    let config = std::fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    lab.configure(&config.replace(
        "    protected: true",
        "    child_core_dumps: true\n    protected: true",
    ));
    for (what, before) in BEFORE {
        for look in LOOKS {
            let words: Vec<&str> = look
                .splitn(if look.starts_with("sh") { 3 } else { 9 }, ' ')
                .collect();
            let shown = |tool: &[&str]| {
                let script = format!(
                    "import os, resource as r, signal as s, sys\n{before}\nos.execvp(sys.argv[1], sys.argv[1:])"
                );
                let mut command = lab.in_its_environment("python");
                command.args(["-c", &script]).args(tool).args(&words);
                let ran = ran(command.output().expect("started"));
                (ran.stdout, ran.code, ran.signal)
            };
            let leased = shown(&[DBT_LEASE, "exec", "-t", "prod", "--"]);
            let alone = shown(&[]);
            assert_eq!(leased, alone, "{what}: {look}");
        }
    }
    lab.assert_nothing_left();
}

#[test]
fn a_parent_that_ignores_sigchld_gets_the_exit_code_all_the_same() {
    let lab = Lab::new();
    let script = "import os, signal, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nos.execvp(sys.argv[1], sys.argv[1:])";
    let mut command = lab.in_its_environment("python");
    command.args(["-c", script, DBT_LEASE, "exec", "-t", "prod", "--"]);
    command.args(["sh", "-c", "exit 7"]);
    let _ = ran(command.output().expect("started")).code(7).silent();
    lab.assert_nothing_left();
}

#[test]
fn the_jobserver_of_make_reaches_a_make_below_us() {
    let lab = Lab::new();
    let makefile = "all:\n\t+@$(TOOL) exec -t prod -- $(MAKE) --no-print-directory -f $(FILE) below\n\
                    below: a b\na b:\n\t@echo $@\n";
    let file = lab.home.directory().join("Makefile");
    std::fs::write(&file, makefile).expect("written");
    let mut command = lab.in_its_environment("make");
    command
        .args(["--no-print-directory", "-j2", "-f"])
        .arg(&file);
    command.arg(format!("TOOL={DBT_LEASE}"));
    command.arg(format!("FILE={}", file.display()));
    let ran = ran(command.output().expect("make starts"));
    // make warns where it cannot reach the jobserver.
    assert_eq!(ran.stderr, "");
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a", "b"]);
    lab.assert_nothing_left();
}

#[test]
fn a_shell_s_loop_stops_at_an_interrupt() {
    let lab = Lab::new();
    let script = "for i in 1 2 3; do \"$0\" exec -t prod -- sh -c 'echo up; exec sleep 600'; done; echo done";
    let scene = Scene::start(
        Stage::Terminal,
        command(&lab, &[], false, &["bash", "-c", script, DBT_LEASE]),
    );
    wait_until("the first command runs", || scene.output().contains("up"));
    scene.interrupt();
    let (end, output) = scene.end();
    assert_eq!(end, "signal 2");
    assert_eq!(output.matches("up").count(), 1, "{output}");
    assert!(!output.contains("done"), "{output}");
    lab.assert_nothing_left();
}

#[test]
fn ctrl_z_stops_both_and_fg_continues_both() {
    let lab = Lab::new();
    let reporter = Reporter::new(lab.home.directory());
    let mut shell = command(&lab, &[], false, &["bash", "--norc", "--noprofile", "-i"]);
    reporter.set(&mut shell);
    let scene = Scene::start(Stage::Terminal, shell);
    // A command that acts on signals as most do.
    let pid = lab.home.directory().join("pid");
    scene.types(&format!(
        "{DBT_LEASE} exec -t prod -- sh -c 'echo $$ $PPID > {0}.new; mv {0}.new {0}; read line; exit 7'\n",
        pid.display()
    ));
    wait_until("it runs", || pid.exists());
    let pids: Vec<nix::unistd::Pid> = std::fs::read_to_string(&pid)
        .expect("read")
        .split_whitespace()
        .map(|pid| nix::unistd::Pid::from_raw(pid.parse().expect("a pid")))
        .collect();
    for _ in 0..2 {
        scene.types("\x1a");
        wait_until("both have stopped", || {
            pids.iter().all(|pid| is_stopped(*pid))
        });
        scene.types("fg\n");
        wait_until("both run", || !pids.iter().any(|pid| is_stopped(*pid)));
    }
    scene.types("line\n");
    wait_until("the shell is back", || {
        !pids
            .iter()
            .any(|pid| std::fs::exists(format!("/proc/{pid}")).unwrap_or(false))
    });
    scene.types("echo code=$?\n");
    wait_until("the code", || scene.output().contains("code=7"));
    // In the background, and ended by its job's number.
    std::fs::remove_file(&pid).expect("removed");
    scene.types(&format!(
        "{DBT_LEASE} exec -t prod -- sh -c 'echo $$ > {0}; exec sleep 600' &\n",
        pid.display()
    ));
    wait_until("it runs", || {
        std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
    });
    scene.types("kill %1; wait %1; echo waited=$?\n");
    wait_until("the code", || scene.output().contains("waited=143"));
    scene.types("exit\n");
    let _ = scene.end();
    lab.assert_nothing_left();
}

#[test]
fn ctrl_z_during_the_login_stops_us_and_the_run_goes_on_after_it() {
    let lab = Lab::new();
    lab.world.bao().freeze();
    let scene = Scene::start(
        Stage::Terminal,
        command(&lab, &[], false, &["bash", "--norc", "--noprofile", "-i"]),
    );
    scene.types(&format!(
        "{DBT_LEASE} exec -t prod -- sh -c 'echo r''an; exit 7'\n"
    ));
    let address = lab.world.bao().address();
    let port = address
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    wait_until("the login was sent", || crate::support::bytes_wait_at(port));
    scene.types("\x1a");
    wait_until("the shell says so", || scene.output().contains("Stopped"));
    lab.world.bao().thaw();
    scene.types("fg\n");
    wait_until("it ran", || scene.output().contains("ran"));
    scene.types("exit\n");
    let _ = scene.end();
    lab.assert_nothing_left();
}

#[test]
fn a_new_window_size_is_told_once_and_seen() {
    let lab = Lab::new();
    let mut reporter = Reporter::new(lab.home.directory());
    let program = dbt_lease_sandbox::program::report_signals()
        .to_str()
        .expect("UTF-8");
    let mut command = command(&lab, &[], true, &[program]);
    reporter.set(&mut command);
    let scene = Scene::start(Stage::Terminal, command);
    reporter.ready();
    scene.resize(40, 100);
    reporter.wait_for("WINCH");
    nix::sys::signal::kill(reporter.parent, Signal::SIGUSR2).expect("sent");
    reporter.wait_for("USR2");
    let (told, end, _) = reporter.finish(scene);
    assert_eq!(told, ["WINCH", "USR2"]);
    assert_eq!(end, "exit 7");
}

/// A session that dies between its command's fork and the first word on it: the command makes itself known.
#[test]
fn a_session_that_dies_while_its_command_is_born_leaves_no_command_behind() {
    let lab = Lab::new();
    let pid = lab.home.directory().join("pid");
    let script = format!("echo $$ > {}; exec sleep 600", pid.display());
    let mut command = lab.command(&["exec", "-t", "prod", "--", "sh", "-c", &script]);
    command.env("DBT_LEASE_FAILPOINT", "forked:kill");
    let (end, _) = Scene::start(Stage::NoTerminal, command).end();
    assert_eq!(end, "signal 9");
    wait_until("the janitor has put the end on record", || {
        lab.record().len() == 2
    });
    lab.assert_nothing_left();
    // It may have been ended before it wrote its number.
    if let Ok(pid) = std::fs::read_to_string(&pid) {
        let pid = pid.trim();
        wait_until("the command has ended", || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.contains("(sleep)") || stat.contains(") Z")
        });
    }
}

/// With an umask that leaves our own rights out, for a user who needs them.
#[test]
fn under_a_umask_of_0777_the_record_is_there_and_can_be_read_again() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let mut command = lab.in_its_environment("sh");
    command.args([
        "-c",
        "umask 0777; exec \"$0\" exec -t prod -- true",
        DBT_LEASE,
    ]);
    ran(command.output().expect("started")).silent().success();
    let mode =
        |path: &std::path::Path| path.metadata().expect("there").permissions().mode() & 0o777;
    let record = lab.home.record();
    assert_eq!(mode(&record), 0o600);
    for directory in record.ancestors().skip(1).take(2) {
        assert_eq!(mode(directory) & 0o700, 0o700, "{}", directory.display());
    }
}

/// The same of what the user trusts: each is a file in a directory of its own.
#[test]
fn under_a_umask_of_0777_what_is_trusted_is_kept_and_found_again() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let state = lab.home.directory().join("state");
    let under_umask = |words: &str| {
        let mut command = lab.in_its_environment("sh");
        command
            .args(["-c", &format!("umask 0777; exec \"$0\" {words}"), DBT_LEASE])
            .env_remove("DBT_LEASE_TRUST")
            .env("XDG_STATE_HOME", &state);
        ran(command.output().expect("started"))
    };
    under_umask("trust --yes").success();
    under_umask("exec -t prod -- true").success();
    let trust = state.join("dbt-lease/trust");
    let files = files_below(&trust);
    assert_eq!(files.len(), 1, "{files:?}");
    let mode =
        |path: &std::path::Path| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&files[0]), 0o600);
    for directory in [&trust, &state.join("dbt-lease"), &state] {
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
    }
}

/// Runs the tool as PID 1 of a namespace; `None` where that is not allowed here.
fn as_pid_1(lab: &Lab, script: &str) -> Option<crate::support::Ran> {
    let namespace = ["-p", "-f", "--mount-proc", "--kill-child"];
    let allowed = Command::new("unshare").args(namespace).arg("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let mut command = lab.in_its_environment("unshare");
    command
        .args(namespace)
        .args([DBT_LEASE, "exec", "-t", "prod", "--", "bash", "-c", script]);
    Some(ran(command.output().expect("started")))
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says why")]
fn as_pid_1_orphans_are_reaped_codes_are_passed_on_and_the_janitor_is_waited_for() {
    let lab = Lab::new();
    // The orphan is ours as soon as its parent has ended; a zombie that nobody reaps would hold the loop for ever.
    let orphan = "sh -c 'sh -c \"echo \\$\\$ > $DBT_PROFILES_DIR/../orphan\" &'; until [ -s $DBT_PROFILES_DIR/../orphan ]; do :; done; \
                  read -r pid < $DBT_PROFILES_DIR/../orphan; while [ -e /proc/$pid ]; do :; done; exit 5";
    let Some(reaped) = as_pid_1(&lab, orphan) else {
        println!("skipped: this machine lets us make no PID namespace");
        return;
    };
    let _ = reaped.code(5).silent();
    lab.assert_nothing_left();
    let _ = as_pid_1(&lab, "kill -TERM $$")
        .expect("allowed")
        .code(143)
        .silent();
    // What a container's runtime sends arrives, though PID 1 has no default actions.
    let _ = as_pid_1(&lab, "kill -TERM $PPID; exec sleep 600")
        .expect("allowed")
        .code(143)
        .silent();
    lab.assert_nothing_left();
    assert_eq!(
        lab.record()
            .iter()
            .filter(|event| event["event"] == "ended")
            .count(),
        3
    );
    assert!(files_below(lab.home.runtime()).is_empty());
}

/// Another user's connection gets no answer, and changes nothing.
#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says why")]
fn the_janitor_answers_no_other_user() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can be another user for a moment");
        return;
    }
    let lab = Lab::new();
    let gate = crate::support::Gate::new(&lab);
    let mut running = crate::support::Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    let socket = files_below(lab.home.runtime())
        .into_iter()
        .find(|path| path.ends_with("janitor"))
        .expect("the socket");
    let ask = |as_another: bool| {
        let socket = socket.clone();
        // The system call changes this thread alone; it keeps root's view of files, which the modes would refuse it.
        std::thread::spawn(move || {
            if as_another {
                const NOBODY: u32 = 65_534;
                // SAFETY: three numbers; no other thread is changed.
                let changed = unsafe {
                    nix::libc::syscall(nix::libc::SYS_setresuid, u32::MAX, NOBODY, u32::MAX)
                };
                assert_eq!(changed, 0);
                // SAFETY: one number.
                unsafe { nix::libc::syscall(nix::libc::SYS_setfsuid, 0) };
            }
            let mut connection = UnixStream::connect(socket).expect("connected");
            let mut answer = String::new();
            let _ = connection.write_all(b"\"Status\"\n");
            let _ = connection.read_to_string(&mut answer);
            answer
        })
        .join()
        .expect("asked")
    };
    assert_eq!(ask(true), "");
    assert!(ask(false).contains("production"));
    gate.open();
    running.end().silent().success();
    lab.assert_nothing_left();
}
