//! `exec -- psql`: PostgreSQL's own clients get the leased target in variables, and nothing else does.

use std::path::{Path, PathBuf};

use crate::scene::{Scene, Stage};
use crate::support::{Lab, wait_until};

/// The real programs of PostgreSQL.
fn program(name: &str) -> PathBuf {
    dbt_lease_sandbox::venv().postgres().join(name)
}

/// A script under a program's name that prints libpq's variables.
fn reporter(lab: &Lab, name: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = lab.home.directory().join(name);
    std::fs::write(&file, "#!/bin/sh\nenv | grep '^PG' | sort; true\n").expect("written");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("set");
    file
}

fn exec(program: &Path, words: &[&str]) -> Vec<String> {
    [
        "exec",
        "--target",
        "prod",
        "--",
        &program.display().to_string(),
    ]
    .into_iter()
    .chain(words.iter().copied())
    .map(str::to_owned)
    .collect()
}

#[test]
fn the_real_psql_and_pg_dump_work_on_the_leased_target_and_nothing_is_left() {
    let lab = Lab::new();
    let sql = "select session_user, current_database()";
    let said = lab
        .run(&exec(
            &program("psql"),
            &["--no-password", "-X", "-Atc", sql],
        ))
        .silent()
        .success();
    let (user, database) = said.trim().split_once('|').expect("two columns");
    assert!(user.starts_with("v-"), "{said}");
    assert_eq!(database, lab.world.database());
    let dumped = lab
        .run(&exec(
            &program("pg_dump"),
            &["--no-password", "--schema-only", "--schema", "prod"],
        ))
        .success();
    assert!(dumped.contains("PostgreSQL database dump"), "{dumped}");
    lab.assert_nothing_left();
}

#[test]
fn a_client_gets_what_dbt_would_connect_by_and_no_service_of_the_user_s() {
    let lab = Lab::new();
    let profiles = lab.project.join("profiles.yml");
    let text = std::fs::read_to_string(&profiles).expect("readable").replace(
        "      schema: prod\n",
        "      schema: prod\n      sslmode: prefer\n      search_path: prod, public\n      role: Readers\n",
    );
    std::fs::write(&profiles, text).expect("written");
    let reporter = reporter(&lab, "pg_restore");
    let variables = [
        ("PGSERVICE", "mine"),
        ("PGHOSTADDR", "10.0.0.1"),
        ("PGAPPNAME", "me"),
    ];
    let said = lab
        .run_with(&variables, &exec(&reporter, &[]))
        .silent()
        .success();
    let names: Vec<&str> = said
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    assert_eq!(
        names,
        [
            "PGAPPNAME",
            "PGDATABASE",
            "PGHOST",
            "PGOPTIONS",
            "PGPASSWORD",
            "PGPORT",
            "PGSSLMODE",
            "PGUSER"
        ]
    );
    assert!(
        said.contains("PGOPTIONS=-c search_path=prod,\\ public -c role=readers\n"),
        "{said}"
    );
    // No other command has the credential in its environment.
    let other = lab.home.directory().join("report");
    std::fs::copy(&reporter, &other).expect("copied");
    let said = lab.run(&exec(&other, &[])).silent().success();
    assert!(
        !said.contains("PGPASSWORD") && !said.contains("PGUSER"),
        "{said}"
    );
    lab.assert_nothing_left();
}

#[test]
fn a_bridged_target_gives_its_values_too() {
    let lab = Lab::new();
    let profiles = lab.project.join("profiles.yml");
    let text = std::fs::read_to_string(&profiles).expect("readable").replace(
        "      schema: prod\n",
        "      schema: prod\n      user: \"{{ env_var('DBT_ENV_SECRET_U') }}\"\n      password: \"{{ env_var('DBT_ENV_SECRET_P') }}\"\n",
    );
    std::fs::write(&profiles, text).expect("written");
    let _ = lab.run(&["bridge", "--write"]).code(0);
    let said = lab
        .run(&exec(
            &program("psql"),
            &["-w", "-X", "-Atc", "select session_user"],
        ))
        .silent()
        .success();
    assert!(said.starts_with("v-"), "{said}");
    lab.assert_nothing_left();
}

#[test]
fn plan_says_what_a_client_gets_and_what_is_none_of_its_database_is_refused() {
    let lab = Lab::new();
    let said = lab
        .run(&["plan", "--target", "prod", "--", "psql"])
        .success();
    assert!(
        said.contains("client         psql gets PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE\n"),
        "{said}"
    );
    let said = lab
        .run(&["plan", "--target", "prod", "--", "psqlx"])
        .success();
    assert!(!said.contains("client "), "{said}");
    let _ = lab
        .run(&["exec", "--target", "dev", "--", "psql"])
        .code(125)
        .says(&["borrows nothing", "--target NAME"]);
    let profiles = lab.project.join("profiles.yml");
    let text = std::fs::read_to_string(&profiles).expect("readable");
    let other = text.replace("      type: postgres\n", "      type: mysql\n");
    std::fs::write(&profiles, other).expect("written");
    let _ = lab
        .run(&["exec", "--target", "prod", "--", "psql"])
        .code(125)
        .says(&["`psql` speaks PostgreSQL's protocol", "mysql"]);
    // What is not known for certain is refused before anything is asked of Vault.
    let unknown = text.replace("'localhost')", "'localhost') ~ modules.re");
    std::fs::write(&profiles, unknown).expect("written");
    let _ = lab
        .run(&["exec", "--target", "prod", "--", "psql"])
        .code(125);
    assert!(lab.requests().is_empty());
}

#[test]
fn a_person_is_asked_before_a_protected_target_is_given_to_a_client() {
    let lab = Lab::new();
    let reporter = reporter(&lab, "psql");
    for (answer, end) in [("n", "exit 125"), ("y", "exit 0")] {
        let scene = Scene::start(Stage::Terminal, lab.command(&exec(&reporter, &[])));
        wait_until("asked", || {
            scene
                .output()
                .contains("environment `production`: go on? [y/N]")
        });
        scene.types(&format!("{answer}\n"));
        let (ended, output) = scene.end();
        assert_eq!(ended, end, "{output}");
        assert_eq!(output.contains("PGPASSWORD="), answer == "y", "{output}");
    }
    lab.assert_nothing_left();
}
