//! The gate: the password is on no file system as soon as dbt has read it.

use std::fs;

use crate::support::{Lab, Running, files_below, wait_until};

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
