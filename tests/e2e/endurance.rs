//! Many runs: one after the other, and at once. None of them leaves anything, and each makes its four requests.
//!
//! The long forms are ignored here; `just endurance` runs them.

use std::os::unix::process::CommandExt;

use crate::support::{DBT_LEASE, Lab, Ran, ran, wait_until};

/// The descriptors that the server has open: its clients' connections among them.
fn descriptors_of_the_server(lab: &Lab) -> usize {
    let list = std::fs::read_dir(format!("/proc/{}/fd", lab.world.bao().pid()));
    list.expect("the server runs").count()
}

/// Runs a bash script that adopts whatever is left behind, with the tool as `$0`; it ends by saying what it has adopted.
fn adopting(lab: &Lab, script: &str) -> Ran {
    // What dbt's own helpers need to end after dbt is dbt's affair: ten seconds at most.
    let script = format!(
        "{script}; for try in $(seq 500); do read -r left < /proc/$$/task/$$/children; [ -z \"$left\" ] && break; sleep 0.02; done; \
         echo \"left: $left\""
    );
    let mut command = lab.in_its_environment("bash");
    command.args(["-c", &script, DBT_LEASE]);
    // SAFETY: prctl is a system call and nothing else.
    unsafe {
        command
            .pre_exec(|| nix::sys::prctl::set_child_subreaper(true).map_err(std::io::Error::from));
    }
    ran(command.output().expect("bash starts"))
}

/// Runs a script that makes so many runs; nothing of them is left, and the server saw four requests of each.
#[track_caller]
fn assert_runs_leave_nothing(runs: usize, script: &str) {
    let lab = Lab::new();
    // The server's own pools are filled by a first run.
    lab.exec_script("true").silent().success();
    let (requests, descriptors) = (lab.requests().len(), descriptors_of_the_server(&lab));
    let stdout = adopting(&lab, script).silent().success();
    assert_eq!(stdout, "left: \n");
    lab.assert_nothing_left();
    assert_eq!(lab.requests().len() - requests, 4 * runs);
    wait_until(
        "the server has no more descriptors open than before",
        || descriptors_of_the_server(&lab) <= descriptors,
    );
    let ended: Vec<_> = lab
        .record()
        .into_iter()
        .filter(|event| event["event"] == "ended" && event["token"] == "revoked")
        .collect();
    assert_eq!(ended.len(), runs + 1);
    assert!(
        ended
            .iter()
            .all(|event| event["leases"][0]["result"] == "revoked")
    );
}

fn in_a_row(runs: usize) -> String {
    format!("for i in $(seq {runs}); do \"$0\" exec -t prod -- true || exit 1; done")
}

fn at_once(runs: usize, command: &str) -> String {
    format!(
        "for i in $(seq {runs}); do \"$0\" exec {command} & pids+=($!); done; \
         for pid in ${{pids[@]}}; do wait $pid || exit 1; done"
    )
}

/// dbts that do not step on each other's files.
fn dbts_at_once(runs: usize, words: &str) -> String {
    let command = format!("-- dbt --quiet {words} --target prod --log-path logs-$i > /dev/null");
    at_once(runs, &command)
}

#[test]
fn twenty_runs_in_a_row_leave_nothing_and_make_four_requests_each() {
    assert_runs_leave_nothing(20, &in_a_row(20));
}

#[test]
fn ten_runs_at_once_leave_nothing_and_make_four_requests_each() {
    assert_runs_leave_nothing(10, &at_once(10, "-t prod -- true"));
}

#[test]
fn two_real_dbts_at_once_leave_nothing_and_make_four_requests_each() {
    assert_runs_leave_nothing(2, &dbts_at_once(2, "debug --connection"));
}

#[test]
#[ignore = "a minute: `just endurance`"]
fn three_hundred_runs_in_a_row_leave_nothing() {
    assert_runs_leave_nothing(300, &in_a_row(300));
}

#[test]
#[ignore = "a minute: `just endurance`"]
fn a_hundred_runs_at_once_leave_nothing() {
    assert_runs_leave_nothing(100, &at_once(100, "-t prod -- true"));
}

#[test]
#[ignore = "a minute: `just endurance`"]
fn ten_real_dbts_at_once_leave_nothing() {
    assert_runs_leave_nothing(
        10,
        &dbts_at_once(10, "show --inline 'select 1' --target-path target-$i"),
    );
}
