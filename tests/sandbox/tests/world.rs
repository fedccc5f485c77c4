//! A world is what dbt-lease needs: its identities get what they may, and dbt builds with it.

use std::path::Path;
use std::process::Command;

use dbt_lease_sandbox::{Home, World};
use serde_json::{Value, json};

#[test]
fn an_identity_gets_its_own_environments_credentials_and_no_others() {
    let world = World::start();
    let bao = world.bao();
    let token = world.login(world.staging());
    let own = bao.api_as(&token, "GET", "database/creds/dbt-staging", None);
    let other = bao.api_as(&token, "GET", "database/creds/dbt-prod", None);
    let other_kv = bao.api_as(&token, "GET", "secret/data/dbt/production", None);
    let own_kv = bao.api_as(&token, "GET", "kv/dbt/staging", None);
    assert_eq!(
        (own.status, other.status, other_kv.status, own_kv.status),
        (200, 403, 403, 200)
    );
    let lease = own.body["lease_id"].as_str().expect("a lease");
    assert_eq!(world.leases(), [lease]);
    assert_eq!(
        world.database_users(),
        [own.body["data"]["username"].as_str().expect("a name")]
    );
    assert_eq!(world.tokens().len(), 1);

    // Another environment's lease id is no kill switch for this identity.
    let foreign = json!({"lease_id": lease.replace("staging", "prod"), "sync": true});
    assert_eq!(
        bao.api_as(&token, "PUT", "sys/leases/revoke", foreign)
            .status,
        403
    );
    let revoke = json!({"lease_id": lease, "sync": true});
    assert_eq!(
        bao.api_as(&token, "PUT", "sys/leases/revoke", revoke)
            .status,
        204
    );
    assert_eq!((world.leases(), world.database_users()), (vec![], vec![]));
    assert_eq!(
        bao.api_as(&token, "POST", "auth/token/revoke-self", None)
            .status,
        204
    );
    world.assert_nothing_left();
}

#[test]
fn static_roles_and_wrapped_secret_ids_work() {
    let world = World::start();
    let bao = world.bao();
    let token = world.login(world.production());
    let answer = bao.api_as(&token, "GET", "database/static-creds/dbt-static", None);
    let (user, password) = credentials(&answer.body);
    let rows = world
        .postgres()
        .query_as(user, password, world.database(), "SELECT session_user");
    assert_eq!(rows, Ok(vec![vec![user.to_owned()]]));
    let wrapped = world.wrapped_secret_id(world.production(), "60s");
    let answer = bao.api_as(&wrapped, "POST", "sys/wrapping/unwrap", None);
    assert!(answer.body["data"]["secret_id"].is_string(), "{answer:?}");
}

#[test]
#[should_panic(expected = "left behind")]
fn what_is_left_behind_is_noticed() {
    let world = World::start();
    let token = world.login(world.staging());
    world
        .bao()
        .api_as(&token, "GET", "database/creds/dbt-staging", None);
    world.assert_nothing_left();
}

#[test]
fn the_project_builds_on_duckdb() {
    let home = Home::new();
    let project = home.copy_project(dbt_lease_sandbox::world::PROJECT);
    dbt(&home, &project, &["build"]);
    dbt(&home, &project, &["source", "freshness"]);
    let said = dbt(&home, &project, &["run-operation", "count_orders"]);
    assert!(said.contains("orders: 8"), "{said}");
}

#[test]
fn two_leased_users_in_turn_build_the_project_on_postgres() {
    let world = World::start();
    let (mut home, project) = world.home();
    let mut builders = Vec::new();
    for _ in 0..2 {
        let token = world.login(world.production());
        let lent = world
            .bao()
            .api_as(&token, "GET", "database/creds/dbt-prod", None);
        let (user, password) = credentials(&lent.body);
        // What dbt-lease does: the two keys, in a copy that only this run sees.
        let profiles = std::fs::read_to_string(project.join("profiles.yml")).expect("the fixture");
        let leased =
            format!("      schema: prod\n      user: \"{user}\"\n      password: \"{password}\"\n");
        let profiles = profiles.replace("      schema: prod\n", &leased);
        let directory = home.tmp().join(user);
        std::fs::create_dir(&directory).expect("a directory");
        std::fs::write(directory.join("profiles.yml"), profiles).expect("a file");
        home.set("DBT_PROFILES_DIR", &directory);
        dbt(&home, &project, &["build", "--target", "prod"]);
        let lease = json!({"lease_id": lent.body["lease_id"], "sync": true});
        assert_eq!(
            world
                .bao()
                .api_as(&token, "PUT", "sys/leases/revoke", lease)
                .status,
            204
        );
        world
            .bao()
            .api_as(&token, "POST", "auth/token/revoke-self", None);
        let rows = world.query("SELECT login, owner FROM prod.built_by");
        assert_eq!(rows[0][0], user);
        assert!(rows[0][1].starts_with("dbt_prod_"), "{rows:?}");
        builders.push(user.to_owned());
    }
    assert_ne!(builders[0], builders[1]);
    world.assert_nothing_left();
}

fn dbt(home: &Home, project: &Path, arguments: &[&str]) -> String {
    let mut command: Command = home.command("dbt");
    let output = command
        .args(arguments)
        .current_dir(project)
        .output()
        .expect("dbt runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "dbt {arguments:?}: {}\n{said}",
        output.status
    );
    said
}

fn credentials(body: &Value) -> (&str, &str) {
    let text = |key: &str| {
        body["data"][key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key}: {body}"))
    };
    (text("username"), text("password"))
}
