//! The janitor: whatever is killed, what was borrowed is given back.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::support::{Gate, Lab, Running, bytes_wait_at, files_below, wait_until};

/// The ids of a process's children, with their command lines.
fn children(parent: Pid) -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            continue;
        };
        if rest.split(' ').nth(1) == Some(&parent.to_string()) {
            let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            found.push((Pid::from_raw(pid), line));
        }
    }
    found
}

fn is_janitor(line: &str) -> bool {
    line == "dbt-lease-janitor\0"
}

fn janitor_of(session: &Running) -> Pid {
    let found = children(session.pid());
    let janitors: Vec<Pid> = found
        .iter()
        .filter(|(_, line)| is_janitor(line))
        .map(|(pid, _)| *pid)
        .collect();
    assert_eq!(janitors.len(), 1, "{found:?}");
    janitors[0]
}

fn command_of(session: &Running) -> Pid {
    let found = children(session.pid());
    let commands: Vec<Pid> = found
        .iter()
        .filter(|(_, line)| !is_janitor(line))
        .map(|(pid, _)| *pid)
        .collect();
    assert_eq!(commands.len(), 1, "{found:?}");
    commands[0]
}

/// Whether a process has ended, also where nobody has waited for it yet.
fn has_ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with('Z') || rest.starts_with('X'))
}

/// A session whose command has said that it runs, and waits at the gate.
fn held(lab: &Lab, gate: &Gate) -> Running {
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    assert_eq!(lab.world.database_users().len(), 1);
    running
}

/// Everything that a killed session had is given back, and the record says so.
#[track_caller]
fn assert_given_back(lab: &Lab, result: &str) {
    wait_until("the session's end is on record", || lab.record().len() == 2);
    lab.assert_nothing_left();
    let ended = &lab.record()[1];
    assert_eq!(ended["event"], "ended");
    assert_eq!(ended["result"], result, "{ended}");
    assert_eq!(ended["directory"], "removed", "{ended}");
    assert_eq!(ended["leases"][0]["result"], "revoked", "{ended}");
    assert_eq!(ended["token"], "revoked", "{ended}");
}

const KILLED: &str = "killed: the janitor ended it";

#[test]
fn after_sigkill_of_the_session_the_janitor_gives_everything_back_and_ends_the_command() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let running = held(&lab, &gate);
    let (janitor, command) = (janitor_of(&running), command_of(&running));
    kill(running.pid(), Signal::SIGKILL).expect("sent");
    let ran = running.end();
    assert_eq!(ran.signal, Some(Signal::SIGKILL as i32));
    wait_until("the janitor has ended", || has_ended(janitor));
    assert!(has_ended(command), "the command still runs");
    assert_given_back(&lab, KILLED);
}

#[test]
fn after_sigkill_of_its_whole_group_too() {
    use std::os::unix::process::CommandExt;
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let mut command = lab.command(&gate.held("echo up"));
    command.process_group(0);
    let mut running = Running::start(command);
    running.wait_for_line("up");
    let (janitor, command) = (janitor_of(&running), command_of(&running));
    killpg(running.pid(), Signal::SIGKILL).expect("sent");
    wait_until("the janitor has ended", || has_ended(janitor));
    assert!(has_ended(command), "the command still runs");
    let _ = running.end();
    assert_given_back(&lab, KILLED);
}

#[test]
fn a_command_that_ignores_int_is_ended_by_term() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let mut running = Running::start(lab.command(&gate.held("trap '' INT; echo up")));
    running.wait_for_line("up");
    let (janitor, command) = (janitor_of(&running), command_of(&running));
    kill(running.pid(), Signal::SIGKILL).expect("sent");
    // The secret goes at once, whatever the command does.
    wait_until("the directory is gone", || {
        files_below(lab.home.runtime()).is_empty()
    });
    assert!(!has_ended(command), "INT ended a command that ignores it");
    wait_until("the janitor has ended", || has_ended(janitor));
    assert!(has_ended(command), "the command still runs");
    let _ = running.end();
    assert_given_back(&lab, KILLED);
}

#[test]
fn wherever_the_session_is_killed_nothing_is_left() {
    for (point, is_recorded) in [
        ("directory_made", true),
        ("logged_in", true),
        ("read", true),
        ("recorded", true),
        ("child_started", true),
        ("taking_back", true),
        ("taken_back", true),
        ("janitor_started", false),
    ] {
        let lab = Lab::new();
        let mut command = lab.command(&["exec", "-t", "prod", "--", "true"]);
        command.env("DBT_LEASE_FAILPOINT", format!("{point}:kill"));
        let ran = crate::support::ran(command.output().expect("the tool starts"));
        assert_eq!(
            ran.signal,
            Some(Signal::SIGKILL as i32),
            "{point} was not reached: {}",
            ran.stderr
        );
        wait_until(point, || {
            lab.record()
                .iter()
                .any(|event| event["event"] == "ended" && event["result"] == KILLED)
                || !is_recorded
        });
        lab.assert_nothing_left();
    }
}

#[test]
fn a_panic_while_giving_back_leaves_it_to_the_janitor() {
    let lab = Lab::new();
    let mut command = lab.command(&["exec", "-t", "prod", "--", "true"]);
    command.env("DBT_LEASE_FAILPOINT", "taking_back:panic");
    let _ = crate::support::ran(command.output().expect("the tool starts")).code(101);
    // The session process waits for the janitor before it ends.
    assert_given_back(&lab, KILLED);
}

/// Kills both processes of a session at once; its command is ended too.
fn kill_both(lab: &Lab, gate: &Gate) {
    let running = held(lab, gate);
    let (janitor, command) = (janitor_of(&running), command_of(&running));
    // Stopped, so that it does not start the janitor again.
    kill(running.pid(), Signal::SIGSTOP).expect("sent");
    kill(janitor, Signal::SIGKILL).expect("sent");
    kill(running.pid(), Signal::SIGKILL).expect("sent");
    kill(command, Signal::SIGKILL).expect("sent");
    let _ = running.end();
    wait_until("all have ended", || {
        has_ended(janitor) && has_ended(command)
    });
    assert!(!files_below(lab.home.runtime()).is_empty());
    assert_eq!(lab.world.database_users().len(), 1);
}

#[test]
fn the_next_session_of_the_same_environment_takes_back_what_a_dead_one_left() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    kill_both(&lab, &gate);
    let dead = lab.record()[0].clone();

    // A session of another environment removes the directory, and leaves the lease alone.
    let _ = lab
        .run(&["exec", "-t", "staging", "--", "true"])
        .silent()
        .success();
    assert_eq!(lab.world.database_users().len(), 1);
    let left = files_below(lab.home.runtime());
    assert!(left.is_empty(), "{left:?}");

    let before = lab.requests().len();
    let _ = lab
        .run(&["exec", "-t", "prod", "--", "true"])
        .silent()
        .success();
    assert_eq!(
        lab.requests().len() - before,
        6,
        "one for the dead session's lease, one for its token"
    );
    assert!(lab.world.database_users().is_empty());
    assert!(lab.world.leases().is_empty());
    let record = lab.record();
    let swept = record
        .iter()
        .find(|event| event["event"] == "ended" && event["session"] == dead["session"])
        .expect("the dead session's end is on record");
    assert_eq!(swept["result"], "swept");
    assert_eq!(swept["leases"][0]["result"], "revoked");
    assert_eq!(
        swept["leases"][0]["lease_id"],
        dead["secrets"][0]["lease_id"]
    );
    // Nothing but a policy over all tokens ends another one's, and this identity has none.
    let token = swept["token"].as_str().expect("words");
    assert!(
        token.starts_with("not revoked, it ends by its time: revoke the killed session's token: ")
            && token.contains("403"),
        "{token}"
    );

    // And that was that.
    let before = lab.requests().len();
    let _ = lab
        .run(&["exec", "-t", "prod", "--", "true"])
        .silent()
        .success();
    assert_eq!(lab.requests().len() - before, 4);
}

#[test]
fn sweep_takes_back_what_a_dead_session_left_and_leaves_the_living_alone() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    kill_both(&lab, &gate);
    let mut living = Running::start(lab.command(&gate.held("echo up")));
    living.wait_for_line("up");
    // The new session has taken the dead one's lease back in passing, at the latest when it ends.
    wait_until("the dead session's user is gone", || {
        lab.world.database_users().len() == 1
    });
    let swept = lab.run(&["sweep"]).silent().success();
    assert_eq!(swept, "", "the living session is not to be swept");
    assert_eq!(lab.world.database_users().len(), 1);
    gate.open();
    living.end().silent().success();

    kill_both(&lab, &gate);
    let swept = lab.run(&["sweep"]).silent().success();
    assert!(swept.contains("removed /"), "{swept}");
    assert!(
        swept.contains("its lease on `database/creds/dbt-prod`: revoked"),
        "{swept}"
    );
    assert!(lab.world.database_users().is_empty());
    assert!(files_below(lab.home.runtime()).is_empty());
    let again = lab.run(&["sweep"]).silent().success();
    assert_eq!(again, "");
}

#[test]
fn a_dead_session_s_token_is_ended_where_the_policy_allows_that() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    lab.allow("path \"auth/token/revoke-accessor\" { capabilities = [\"update\"] }");
    kill_both(&lab, &gate);
    assert_eq!(lab.world.tokens().len(), 1);
    let _ = lab.run(&["sweep"]).silent().success();
    lab.assert_nothing_left();
    assert_eq!(
        lab.record()[1]["token"],
        "revoked by its accessor, unless it had ended before"
    );
}

#[test]
fn sweep_obeys_no_file_that_is_not_trusted() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    kill_both(&lab, &gate);
    let before = lab.requests().len();
    let mut command = lab.command(&["sweep"]);
    command.env("DBT_LEASE_TRUST", "");
    let ran = crate::support::ran(command.output().expect("the tool starts"));
    let _ = ran.code(1).says(&["is not trusted yet"]);
    assert_eq!(lab.requests().len(), before);
    // What needs no file is done all the same.
    assert!(files_below(lab.home.runtime()).is_empty());
}

#[test]
fn nothing_is_called_swept_unless_vault_said_so() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    kill_both(&lab, &gate);
    // Nobody may revoke any more.
    lab.world.bao().api(
        "PUT",
        "sys/policies/acl/dbt-production",
        serde_json::json!({"policy": "path \"database/creds/dbt-prod\" { capabilities = [\"read\"] }\n\
                                      path \"sys/leases/renew\" { capabilities = [\"deny\"] }\n\
                                      path \"sys/leases/revoke\" { capabilities = [\"deny\"] }"}),
    );
    let ran = lab.run(&["sweep"]).code(1);
    assert!(ran.stdout.contains(": failed: "), "{}", ran.stdout);
    assert_eq!(lab.record().len(), 1, "{:?}", lab.record());
    assert_eq!(lab.world.database_users().len(), 1);
}

#[test]
fn status_shows_living_sessions_and_no_secret() {
    let lab = Lab::new();
    assert_eq!(lab.run(&["status"]).silent().success(), "");
    let gate = Gate::new(&lab);
    let running = held(&lab, &gate);
    let record = lab.record();
    let session = record[0]["session"].as_str().expect("an id");
    let text = lab.run(&["status"]).silent().success();
    assert!(
        text.contains(session) && text.contains("production") && text.contains("jaffle/prod"),
        "{text}"
    );
    let json = lab.run(&["status", "--json"]).silent().success();
    let lease = record[0]["secrets"][0]["lease_id"].as_str().expect("an id");
    for secret in [lease, lab.world.database_users()[0].as_str()] {
        assert!(!json.contains(secret) && !text.contains(secret));
    }
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let shown = &json["sessions"][0];
    assert_eq!(shown["session"], session);
    assert_eq!(shown["environment"], "production");
    assert_eq!(shown["target"], "prod");
    assert_eq!(shown["project"], "jaffle");
    assert!(shown["lease_ends"].is_string() && shown["since"].is_string());
    gate.open();
    running.end().silent().success();
    assert_eq!(lab.run(&["status"]).silent().success(), "");
    lab.assert_nothing_left();
}

#[test]
fn end_ends_a_session_in_order_and_tells_the_proof() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    for by in ["session", "environment", "all"] {
        let running = held(&lab, &gate);
        let record = lab.record();
        let session = record.last().expect("lent")["session"]
            .as_str()
            .expect("an id");
        let _ = lab
            .run(&["end", "--environment", "staging"])
            .code(1)
            .says(&["no session of the environment `staging` is alive here"]);
        let arguments = match by {
            "session" => vec!["end", session],
            "environment" => vec!["end", "--environment", "production"],
            _ => vec!["end", "--all"],
        };
        let told = lab.run(&arguments).silent().success();
        assert_eq!(
            told,
            format!(
                "session {session}: 1 lease, 1 revoked, verified by Vault's answer to a sync revocation\n"
            )
        );
        let ran = running.end();
        assert_eq!(ran.signal, Some(Signal::SIGINT as i32), "{}", ran.stderr);
        lab.assert_nothing_left();
    }
    let _ = lab.run(&["end", "--all"]).code(1);
    let _ = lab.run(&["end"]).code(2);
    assert_eq!(lab.record()[1]["result"], "signal SIGINT");
}

#[test]
fn a_janitor_that_dies_is_started_again_and_told_everything_again() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let running = held(&lab, &gate);
    let first = janitor_of(&running);
    kill(first, Signal::SIGKILL).expect("sent");
    wait_until("there is another janitor", || {
        children(running.pid())
            .iter()
            .any(|(pid, line)| *pid != first && is_janitor(line))
    });
    let second = janitor_of(&running);
    // It knows all that the first one knew.
    wait_until("it answers", || {
        lab.run(&["status"])
            .silent()
            .success()
            .contains("production")
    });
    kill(running.pid(), Signal::SIGKILL).expect("sent");
    wait_until("the second janitor has ended", || has_ended(second));
    let _ = running.end().says(&["had died; it was started again"]);
    assert_given_back(&lab, KILLED);
}

#[test]
fn a_janitor_that_died_unnoticed_costs_nothing_at_the_end() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let running = held(&lab, &gate);
    // A stopped one takes no last word.
    kill(janitor_of(&running), Signal::SIGSTOP).expect("sent");
    gate.open();
    running.end().silent().success();
    lab.assert_nothing_left();
}

#[test]
fn the_janitor_is_in_a_session_of_its_own_and_shows_nothing() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let running = held(&lab, &gate);
    let janitor = janitor_of(&running);
    let proc = std::path::PathBuf::from(format!("/proc/{janitor}"));
    assert_eq!(nix::unistd::getsid(Some(janitor)), Ok(janitor));
    // Undumpable: only root may look at all, and finds nothing.
    match std::fs::read(proc.join("environ")) {
        Ok(environ) => assert_eq!(environ, b"", "its environment is not empty"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    let status = std::fs::read_to_string(proc.join("status")).expect("readable");
    let field = |name: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with(name))
            .expect(name);
        line.split_whitespace().nth(1).expect(name).to_owned()
    };
    assert_eq!(field("Threads:"), "1");
    let ignored = u64::from_str_radix(&field("SigIgn:"), 16).expect("hex");
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGUSR1,
    ] {
        assert_ne!(ignored & (1 << (signal as i32 - 1)), 0, "{signal}");
        kill(janitor, signal).expect("sent");
    }
    if let Ok(descriptors) = std::fs::read_dir(proc.join("fd")) {
        let open: Vec<_> = descriptors
            .flatten()
            .filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .collect();
        // Its socket, /dev/null twice, the session (pidfd), the record, the lock, the listening socket, the command (pidfd).
        assert_eq!(open.len(), 8, "{open:?}");
    }
    gate.open();
    running.end().silent().success();
    assert!(has_ended(janitor));
    lab.assert_nothing_left();
}

#[test]
fn a_strangers_connection_and_nonsense_get_nothing_from_the_janitor() {
    use std::io::{Read, Write};
    use std::os::unix::process::CommandExt;
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let running = held(&lab, &gate);
    let files = files_below(lab.home.runtime());
    let socket = files
        .iter()
        .find(|file| file.ends_with("janitor"))
        .expect("a socket");
    for nonsense in [
        &[b'x'; 4096][..],
        b"\"Statsu\"\n",
        b"{}\n",
        b"\"Status\"\"End\"\n",
    ] {
        let mut connection = std::os::unix::net::UnixStream::connect(socket).expect("connected");
        let _ = connection.write_all(nonsense);
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        assert_eq!(answer, b"");
    }
    if nix::unistd::geteuid().is_root() {
        // Another user does not even see it.
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", "test -e \"$0\""])
            .arg(socket)
            .current_dir("/")
            .uid(65534)
            .status()
            .expect("sh runs");
        assert_eq!(status.code(), Some(1));
    }
    // And the session goes on.
    assert!(
        lab.run(&["status"])
            .silent()
            .success()
            .contains("production")
    );
    gate.open();
    running.end().silent().success();
    lab.assert_nothing_left();
}

#[test]
fn without_a_janitor_nothing_is_lent() {
    let lab = Lab::new();
    let mut refused = 0;
    // Each limit on descriptors fails another step; some of them the janitor's.
    for limit in 4..=20 {
        let before = lab.requests().len();
        let mut command = lab.in_its_environment("bash");
        let script = format!("ulimit -n {limit}; exec \"$0\" exec -t prod -- true");
        command.args(["-c", &script, crate::support::DBT_LEASE]);
        let ran = crate::support::ran(command.output().expect("bash starts"));
        if ran
            .stderr
            .contains("the janitor, which cleans up if dbt-lease is killed, cannot be started")
        {
            refused += 1;
            let ran = ran.code(125);
            assert_eq!(lab.requests().len(), before, "{}", ran.stderr);
        }
    }
    assert!(refused > 0, "no limit met the janitor");
    lab.assert_nothing_left();
}

#[test]
fn who_asks_again_to_end_gets_that_and_the_janitor_finishes() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let running = held(&lab, &gate);
    lab.world.bao().freeze();
    gate.open();
    let port = lab.world.bao().address();
    let port = port.rsplit(':').next().and_then(|port| port.parse().ok());
    wait_until("the revocation was sent", || {
        bytes_wait_at(port.expect("a port"))
    });
    let janitor = janitor_of(&running);
    kill(running.pid(), Signal::SIGTERM).expect("sent");
    let _ = running.end().code(0).says(&["the janitor goes on with it"]);
    lab.world.bao().thaw();
    wait_until("the janitor has ended", || has_ended(janitor));
    assert_given_back(&lab, "exit 0");
}
