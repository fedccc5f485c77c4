//! docs/tutorial.md runs as it stands, on an empty OpenBao and a PostgreSQL that knows the old user alone.

use std::process::Stdio;

use dbt_lease_sandbox::{Home, OpenBao, Postgres, venv};

use super::readme::blocks;
use crate::support::{DBT_LEASE, ran};

#[test]
fn the_tutorial_goes_from_a_password_to_leased_credentials() {
    let bao = OpenBao::start();
    // The tutorial's roles are the whole cluster's.
    let postgres = Postgres::start();
    postgres.create_database("shop");
    postgres.query("shop", "CREATE ROLE old_dbt LOGIN PASSWORD 'hunter2'");
    postgres.query("shop", "GRANT CREATE ON DATABASE shop TO old_dbt");
    let home = Home::new();
    let project = home.copy_project("jaffle");
    std::fs::remove_file(project.join("dbt-lease.yml")).expect("removed");
    let own = |text: &str| {
        text.replace("http://127.0.0.1:8200", &bao.address())
            .replace("localhost:5432", &format!("localhost:{}", postgres.port()))
            .replace("port: 5432", &format!("port: {}", postgres.port()))
    };
    let profiles = blocks("docs/tutorial.md", "yaml");
    std::fs::write(project.join("profiles.yml"), own(&profiles[0])).expect("written");
    let script = blocks("docs/tutorial.md", "sh").join("\n");
    assert!(script.lines().count() > 20, "{script}");
    let beside = |program: &str| {
        let place = std::path::Path::new(program).parent();
        place.expect("a directory").to_owned()
    };
    let venv = venv();
    let program = venv.bao().display().to_string();
    let ours = [
        beside(DBT_LEASE),
        venv.bin(),
        beside(&program),
        venv.postgres().to_owned(),
    ];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(ours.into_iter().chain(std::env::split_paths(&path)));
    let path = path.expect("a PATH");
    let output = home
        .command("bash")
        .args(["-euxc", &own(&script)])
        .current_dir(&project)
        .env("PATH", path)
        .env("OWNERS_TOKEN", bao.root_token())
        .env("OWNERS_PASSWORD", postgres.password())
        .stdin(Stdio::null())
        .output()
        .expect("bash starts");
    let ran = ran(output).code(0);
    assert_eq!(
        ran.stdout.matches("Completed successfully").count(),
        5,
        "{}\n{}",
        ran.stdout,
        ran.stderr
    );
    assert!(!ran.stdout.contains("failure "), "{}", ran.stdout);
    // Everybody who was lent for is gone, and the tables belong to what stays.
    let users = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'dbt-%'";
    assert!(postgres.query("shop", users).is_empty());
    let owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'prod'";
    assert_eq!(postgres.query("shop", owners), [["dbt_prod"]]);
    let old = "SELECT rolcanlogin::text FROM pg_roles WHERE rolname = 'old_dbt'";
    assert_eq!(postgres.query("shop", old), [["false"]]);
}
