//! The real dbt on leased credentials. A run of dbt takes seconds, so a test holds several on one world.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::support::{DBT_LEASE, Lab, Ran, ran};

/// `exec -- dbt …` in a directory.
fn exec_dbt_in(lab: &Lab, directory: &Path, words: &[&str]) -> Command {
    let mut command = lab.command(&["exec", "--", "dbt"]);
    command.args(words).current_dir(directory);
    command
}

/// `exec -- dbt … --target prod` in the project's directory.
fn exec_dbt(lab: &Lab, words: &[&str]) -> Ran {
    output(exec_dbt_in(
        lab,
        &lab.project,
        &[words, &["--target", "prod"]].concat(),
    ))
}

fn output(mut command: Command) -> Ran {
    ran(command.output().expect("started"))
}

/// Who built `built_by`, and in whose name.
fn built_by(lab: &Lab) -> (String, String) {
    let rows = lab.world.query("select login, owner from prod.built_by");
    (rows[0][0].clone(), rows[0][1].clone())
}

/// Each run was a session: four requests, `lent` and `ended`.
fn assert_sessions(lab: &Lab, sessions: usize) {
    assert_eq!(lab.requests().len(), 4 * sessions, "{:?}", lab.requests());
    assert_eq!(lab.record().len(), 2 * sessions);
    lab.assert_nothing_left();
}

#[test]
fn every_command_that_connects_runs_on_leased_credentials() {
    let lab = Lab::new();
    let stdout = exec_dbt(&lab, &["build"]).silent().success();
    assert!(stdout.contains("Completed successfully"), "{stdout}");
    let (first, owner) = built_by(&lab);
    assert!(
        first.starts_with("v-") && owner.starts_with("dbt_prod"),
        "{first} {owner}"
    );

    // The session's id joins dbt's artifacts with the record.
    let session = lab.record()[0]["session"].clone();
    for artifact in ["manifest.json", "run_results.json"] {
        let text = fs::read_to_string(lab.project.join("target").join(artifact)).expect(artifact);
        let artifact: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(artifact["metadata"]["env"]["LEASE_SESSION"], session);
    }

    for (words, expected) in [
        (&["test"][..], "Completed successfully"),
        (&["run-operation", "count_orders"], "orders: 8"),
        (&["docs", "generate"], "Catalog written to"),
        (&["debug"], "All checks passed!"),
        (&["seed"], "Completed successfully"),
        (&["snapshot"], "Completed successfully"),
        (
            &["source", "freshness"],
            "WARN freshness of shop.raw_orders",
        ),
    ] {
        let stdout = exec_dbt(&lab, words).silent().success();
        assert!(stdout.contains(expected), "{words:?}:\n{stdout}");
    }
    assert!(lab.project.join("target/catalog.json").exists());

    // Another user replaces what the first one made.
    exec_dbt(&lab, &["build", "--quiet"]).silent().success();
    let (second, owner_again) = built_by(&lab);
    assert!(
        second.starts_with("v-") && second != first,
        "{first} {second}"
    );
    assert_eq!(owner, owner_again);
    assert_sessions(&lab, 9);
}

#[test]
fn a_failure_is_dbts_own_and_retry_runs_what_failed() {
    let lab = Lab::new();
    let model = lab.project.join("models/marts/broken.sql");
    fs::write(&model, "select 1 / 0 as broken").expect("written");
    let ran = exec_dbt(&lab, &["run", "-s", "broken", "built_by"])
        .silent()
        .code(1);
    assert!(ran.stdout.contains("division by zero"), "{}", ran.stdout);
    fs::write(&model, "select 1 as broken").expect("written");
    let stdout = exec_dbt(&lab, &["retry"]).silent().success();
    assert!(
        stdout.contains("1 of 1") && stdout.contains("prod.broken"),
        "{stdout}"
    );

    fs::write(
        lab.project.join("tests/never_true.sql"),
        "select 1 as failure",
    )
    .expect("written");
    let ran = exec_dbt(&lab, &["test", "-s", "never_true"])
        .silent()
        .code(1);
    assert!(ran.stdout.contains("FAIL 1 never_true"), "{}", ran.stdout);
    assert_sessions(&lab, 3);
    assert_eq!(lab.record()[5]["result"], "exit 1");
    assert_eq!(lab.record()[5]["leases"][0]["result"], "revoked");
}

#[test]
fn it_runs_from_a_subdirectory_and_from_elsewhere() {
    let lab = Lab::new();
    let subdirectory = lab.project.join("models/marts");
    let elsewhere = lab.home.home();
    let project = lab.project.display().to_string();
    let run = ["run", "-q", "-s", "built_by", "-t", "prod"];
    let mut users = Vec::new();
    let mut check = |what: &str, command: Command| {
        output(command).silent().success();
        let (user, _) = built_by(&lab);
        assert!(!users.contains(&user), "{what}: {user} again");
        users.push(user);
    };

    // dbt does not look for profiles.yml beside dbt_project.yml: in a subdirectory it must be told.
    let _ = output(exec_dbt_in(&lab, &subdirectory, &run))
        .code(125)
        .says(&["no profiles.yml in", "not in the project's directory"]);
    let mut command = exec_dbt_in(&lab, &subdirectory, &run);
    command.env("DBT_PROFILES_DIR", &project);
    check("DBT_PROFILES_DIR", command);
    let words = [&run[..], &["--profiles-dir", "../.."]].concat();
    check(
        "--profiles-dir of dbt",
        exec_dbt_in(&lab, &subdirectory, &words),
    );
    let words = [&run[..], &["--project-dir", &project]].concat();
    let words = [&words[..], &["--profiles-dir", &project]].concat();
    check(
        "--project-dir of dbt",
        exec_dbt_in(&lab, &elsewhere, &words),
    );

    // Before `--`, for a command that is not dbt: the dbt that it starts gets the same.
    let mut command = lab.command(&["exec", "--profiles-dir", &project]);
    command
        .args(["--project-dir", &project, "--target", "prod"])
        .args(["--", "sh", "-c", "dbt run -q -s built_by"])
        .current_dir(&elsewhere);
    check("before `--`", command);

    assert_sessions(&lab, 4);
}

#[test]
fn duckdb_needs_no_vault_and_gets_nothing_of_it() {
    let lab = Lab::new();
    let model = "select '{{ env_var('JAFFLE_PRODUCTION_SECRET_ID', 'none') }}' as leaked, '{{ env_var('VAULT_TOKEN', 'none') }}' as token";
    fs::write(lab.project.join("models/marts/reader.sql"), model).expect("written");
    let mut command = lab.command(&["exec", "--", "dbt", "build"]);
    command
        .env("VAULT_TOKEN", "the user's own")
        .env("VAULT_ADDR", "http://127.0.0.1:1");
    let stdout = output(command).silent().success();
    assert!(stdout.contains("Completed successfully"), "{stdout}");
    let compiled = lab
        .project
        .join("target/compiled/jaffle/models/marts/reader.sql");
    assert_eq!(
        fs::read_to_string(compiled).expect("compiled"),
        "select 'none' as leaked, 'none' as token"
    );
    assert_sessions(&lab, 0);
}

/// Not every machine that builds Rust has make.
fn has_make(lab: &Lab) -> bool {
    let found = lab.in_its_environment("make").arg("--version").output();
    if found.is_err() {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: there is no `make` on this machine"
        );
    }
    found.is_ok()
}

#[test]
fn a_makefile_and_a_shell_run_dbt_as_often_as_they_like_in_one_session() {
    let lab = Lab::new();
    if !has_make(&lab) {
        return;
    }
    let makefile = "build:\n\tdbt seed -q\n\tdbt run -q\n";
    fs::write(lab.project.join("Makefile"), makefile).expect("written");
    let words = ["exec", "--target", "prod", "--", "make", "-s", "build"];
    lab.run(&words).silent().success();
    let (first, _) = built_by(&lab);
    assert_sessions(&lab, 1);
    let script = "dbt run -q -s built_by && dbt test -q -s built_by";
    lab.run(&["exec", "-t", "prod", "--", "sh", "-c", script])
        .silent()
        .success();
    assert_ne!(built_by(&lab).0, first);
    assert_sessions(&lab, 2);
}

#[test]
fn a_make_recipe_may_call_us_too() {
    let lab = Lab::new();
    if !has_make(&lab) {
        return;
    }
    let makefile = format!("build:\n\t{DBT_LEASE} exec -- dbt run -q -s built_by --target prod\n");
    fs::write(lab.project.join("Makefile"), makefile).expect("written");
    let mut command = lab.in_its_environment("make");
    command.args(["-s", "build"]);
    output(command).silent().success();
    assert!(built_by(&lab).0.starts_with("v-"));
    assert_sessions(&lab, 1);
}
