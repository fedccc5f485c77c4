//! The gate: the password is on no file system as soon as dbt has read it.

use std::fs;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{Lab, Running, files_below, ran, wait_until};

/// A macro that runs until the test makes a table.
const WAIT: &str = "
{% macro wait_for_go() %}
  {% do run_query(\"do $$ begin while not exists (select 1 from pg_tables where tablename = 'go') loop perform pg_sleep(0.02); end loop; end $$\") %}
{% endmacro %}
";

fn profiles_yml(lab: &Lab) -> Option<std::path::PathBuf> {
    files_below(lab.home.runtime())
        .into_iter()
        .find(|file| file.ends_with("profiles.yml"))
}

fn waiting_run(lab: &Lab, arguments: &[&str]) -> Running {
    fs::write(lab.project.join("macros/wait_for_go.sql"), WAIT).expect("written");
    let command = ["dbt", "run-operation", "wait_for_go", "--target", "prod"];
    let all: Vec<&str> = arguments
        .iter()
        .copied()
        .chain(["--"])
        .chain(command)
        .collect();
    Running::start(lab.command(&all))
}

#[test]
fn once_dbt_has_read_it_the_password_is_on_no_file_system_and_the_run_goes_on() {
    let lab = Lab::new();
    let running = waiting_run(&lab, &["-v", "exec"]);
    wait_until("profiles.yml was written", || profiles_yml(&lab).is_some());
    wait_until("profiles.yml is gone", || profiles_yml(&lab).is_none());
    let user = lab.record()[0]["secrets"][0]["database_user"]
        .as_str()
        .expect("a user")
        .to_owned();
    assert!(
        lab.world.database_users().contains(&user),
        "the run goes on"
    );
    for file in files_below(lab.home.directory())
        .into_iter()
        .chain(files_below(lab.home.runtime()))
    {
        let text = fs::read(&file).unwrap_or_default();
        let found = text
            .windows(user.len())
            .any(|window| window == user.as_bytes());
        assert!(
            !found || file == lab.home.record(),
            "{} names the user",
            file.display()
        );
    }
    lab.world.query("create table public.go ()");
    let _ = running
        .end()
        .code(0)
        .says(&["dbt has read profiles.yml, and it is shredded"]);
    lab.assert_nothing_left();
}

#[test]
fn without_a_gate_and_for_other_commands_it_stays_to_the_end() {
    let lab = Lab::new();
    let running = waiting_run(&lab, &["exec", "--gate", "off"]);
    // dbt has long read its profile by then.
    wait_until("the macro runs", || {
        let sql = "select 1 from pg_stat_activity where query like '%pg_tables where tablename%' and pid <> pg_backend_pid()";
        !lab.world.query(sql).is_empty()
    });
    assert!(profiles_yml(&lab).is_some());
    lab.world.query("create table public.go ()");
    running.end().success();
    let stdout = lab
        .exec_script(
            "cat $DBT_PROFILES_DIR/profiles.yml > /dev/null; cat $DBT_PROFILES_DIR/profiles.yml",
        )
        .success();
    assert!(stdout.contains("password"), "{stdout}");
    lab.assert_nothing_left();
}

#[test]
fn gated_runs_end_as_ungated_ones_do() {
    let lab = Lab::new();
    lab.run(&["exec", "--", "dbt", "build", "--target", "prod"])
        .success();
    // `retry` repeats the command before it.
    for command in [
        &["debug"][..],
        &["test"],
        &["docs", "generate"],
        &["source", "freshness"],
        &["show", "--inline", "select 1"],
        &["run"],
        &["retry"],
    ] {
        let mut all = vec!["exec", "--", "dbt"];
        all.extend(command);
        all.extend(["--target", "prod"]);
        let gated = lab.run(&all);
        assert!(
            matches!(gated.code, Some(0 | 1)),
            "{command:?}: {:?}\n{}\n{}",
            gated.code,
            gated.stdout,
            gated.stderr
        );
        assert!(
            !gated.stdout.contains("Could not find profile"),
            "{command:?}: {}",
            gated.stdout
        );
    }
    lab.assert_nothing_left();
}

#[expect(clippy::print_stdout, reason = "a failing test says how")]
/// Starts dbt so often through the gate, several at a time, as busy as the machine then is; how many failed where one without a gate
/// would not have.
fn starts_that_fail_by_the_gate(starts: usize, at_once: usize) -> usize {
    const COMMANDS: [&[&str]; 4] = [
        &["debug"],
        &["show", "--inline", "select 1"],
        &["debug", "--connection"],
        &["compile"],
    ];
    let lab = Lab::new();
    let next = AtomicUsize::new(0);
    let (failures, shredded) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = |worker: usize| {
        // Each worker has its own project, so that dbts do not step on each other's files.
        let project = lab.home.directory().join(format!("project-{worker}"));
        let mut copy = std::process::Command::new("cp");
        let copied = copy.arg("-r").arg(&lab.project).arg(&project).status();
        assert!(copied.expect("cp starts").success());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= starts {
                return;
            }
            let words = COMMANDS[number % COMMANDS.len()];
            let started = |gate: &str| {
                let mut command = lab.command(&["-v", "exec", "--gate", gate, "--", "dbt"]);
                command
                    .args(words)
                    .args(["--target", "prod"])
                    .current_dir(&project);
                ran(command.output().expect("the tool starts"))
            };
            let gated = started("auto");
            if gated.stderr.contains("and it is shredded") {
                shredded.fetch_add(1, Ordering::Relaxed);
            }
            if gated.code != Some(0) && started("off").code == Some(0) {
                failures.fetch_add(1, Ordering::Relaxed);
                let words = words.join(" ");
                println!("`dbt {words}`:\n{}\n{}", gated.stdout, gated.stderr);
            }
        }
    };
    std::thread::scope(|scope| {
        for worker in 0..at_once {
            scope.spawn(move || work(worker));
        }
    });
    lab.assert_nothing_left();
    assert_ne!(shredded.into_inner(), 0, "there was no gate");
    failures.into_inner()
}

#[test]
fn twenty_starts_under_load_do_not_fail_by_the_gate() {
    assert_eq!(starts_that_fail_by_the_gate(20, 4), 0);
}

#[test]
#[ignore = "an hour on two cores: `just gate-starts`"]
fn a_thousand_starts_under_load_do_not_fail_by_the_gate() {
    let starts = std::env::var("DBT_LEASE_TEST_STARTS")
        .ok()
        .and_then(|number| number.parse().ok());
    assert_eq!(starts_that_fail_by_the_gate(starts.unwrap_or(1000), 6), 0);
}
