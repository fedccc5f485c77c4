//! Secrets: dynamic, static, both versions of KV, writes; and what is said where there is none.
#![forbid(unsafe_code)]

use std::time::Duration;

use dbt_lease::config::{Operation, Shape};
use dbt_lease::vault::fields::Field;
use dbt_lease::vault::secret::read;
use dbt_lease_sandbox::World;
use serde_json::json;

use crate::{client_of, hint, own_token, production, reading, request, text};

#[tokio::test]
async fn a_dynamic_secret_has_fields_and_a_lease_that_end_with_each_other() {
    let world = World::start();
    let client = client_of(&world);
    let token = production(&world, &client).await;
    let lent = read(&client, &token, &reading("database/creds/dbt-prod"))
        .await
        .expect("production may read it");
    assert_eq!(lent.name, "warehouse");
    let user = lent
        .fields
        .get("username")
        .and_then(Field::text)
        .expect("a user");
    let password = lent
        .fields
        .get("password")
        .and_then(Field::text)
        .expect("a password");
    assert_eq!(world.database_users(), [user.expose()]);
    world
        .postgres()
        .query_as(
            user.expose(),
            password.expose(),
            world.database(),
            "SELECT 1",
        )
        .expect("the user may log in");
    let lease = lent.lease.expect("a lease");
    assert_eq!(lease.duration, Duration::from_secs(900));
    assert!(lease.renewable);
    assert_eq!(world.leases(), [lease.id.expose()]);
    let logged = world.bao().requests();
    assert_eq!(
        logged.last().map(|request| request.id.clone()),
        lent.request_id
    );
    assert!(
        logged
            .iter()
            .all(|request| request.session.as_deref() == Some("test-session")),
        "{logged:?}"
    );
}

#[tokio::test]
async fn static_secrets_have_no_lease_and_keep_their_types() {
    let world = World::start();
    let client = client_of(&world);
    let token = production(&world, &client).await;

    let lent = read(
        &client,
        &token,
        &reading("database/static-creds/dbt-static"),
    )
    .await
    .expect("production may read it");
    assert!(lent.lease.is_none());
    assert!(
        lent.rotates_in
            .is_some_and(|left| left > Duration::from_secs(86_000)),
        "{:?}",
        lent.rotates_in
    );

    let lent = read(&client, &token, &reading("kv/dbt/production"))
        .await
        .expect("production may read it");
    assert_eq!(
        lent.fields.names().collect::<Vec<_>>(),
        ["password", "user"]
    );
    assert!(lent.lease.is_none() && lent.rotates_in.is_none());

    let secret = json!({"port": 5432, "ssl": true, "none": null, "deep": {"key": ["a", 1.5]}, "text": "ü\n\"'"});
    world.bao().api(
        "POST",
        "secret/data/dbt/production",
        json!({"data": secret}),
    );
    let kv2 = request("secret/data/dbt/production", Operation::Read, Shape::KvV2);
    let lent = read(&client, &token, &kv2)
        .await
        .expect("production may read it");
    assert_eq!(
        lent.fields.expose_json(),
        json!({"deep": {"key": ["a", 1.5]}, "none": null, "port": 5432, "ssl": true, "text": "ü\n\"'"})
    );
}

#[tokio::test]
async fn a_write_with_data_gives_what_the_engine_answers() {
    let world = World::start();
    let client = client_of(&world);
    world
        .bao()
        .api("POST", "sys/mounts/transit", json!({"type": "transit"}));
    world.bao().api("POST", "transit/keys/dbt", json!({}));
    let policy = r#"path "transit/encrypt/dbt" { capabilities = ["create", "update"] }"#;
    let token = own_token(&world, &client, policy, json!({})).await;
    let data = json!({"plaintext": "aGVsbG8="})
        .as_object()
        .expect("a map")
        .clone();
    let encrypt = request("transit/encrypt/dbt", Operation::Write(data), Shape::Plain);
    let lent = read(&client, &token, &encrypt)
        .await
        .expect("the policy allows it");
    let text = lent
        .fields
        .get("ciphertext")
        .and_then(Field::text)
        .expect("a text");
    assert!(text.expose().starts_with("vault:v1:"));

    let denied = request("transit/encrypt/other", encrypt.operation, Shape::Plain);
    let error = read(&client, &token, &denied)
        .await
        .expect_err("another path");
    assert_eq!(
        hint(&error),
        r#"its policy lacks: path "transit/encrypt/other" { capabilities = ["create", "update"] }"#
    );
}

#[tokio::test]
async fn every_refusal_of_a_secret_says_what_to_do() {
    let world = World::start();
    let client = client_of(&world);
    let bao = world.bao();
    let production = production(&world, &client).await;
    let policy = r#"path "*" { capabilities = ["create", "read", "update"] }"#;
    let all = own_token(&world, &client, policy, json!({})).await;
    bao.api("POST", "secret/data/gone", json!({"data": {"a": "b"}}));
    bao.api("DELETE", "secret/data/gone", None);
    bao.api("POST", "secret/data/burnt", json!({"data": {"a": "b"}}));
    bao.api("POST", "secret/destroy/burnt", json!({"versions": [1]}));
    bao.api("POST", "secret/data/hollow", json!({"data": {}}));
    let kv2 = |path| request(path, Operation::Read, Shape::KvV2);
    let write = |path, data: serde_json::Value| {
        request(
            path,
            Operation::Write(data.as_object().expect("a map").clone()),
            Shape::Plain,
        )
    };
    for (token, secret, said, cure) in [
        (
            &production,
            reading("database/creds/dbt-staging"),
            "read secret `warehouse`: GET ADDRESS/v1/database/creds/dbt-staging answered 403: permission denied",
            r#"its policy lacks: path "database/creds/dbt-staging" { capabilities = ["read"] }"#,
        ),
        (
            &all,
            reading("database/creds/dbt-prd"),
            "read secret `warehouse`: GET ADDRESS/v1/database/creds/dbt-prd answered 400: unknown role: dbt-prd",
            "the engine at `database` has no such role: `bao list database/roles`, or correct the path in dbt-lease.yml",
        ),
        (
            &all,
            reading("databse/creds/dbt-prod"),
            "read secret `warehouse`: GET ADDRESS/v1/databse/creds/dbt-prod answered 404: no handler for route \
             \"databse/creds/dbt-prod\". route entry not found.",
            "no engine is mounted there: `bao secrets list`; correct the path, the `mount:` or the `namespace:`",
        ),
        (
            &all,
            write("database/creds/dbt-prod", json!({"ttl": "1h"})),
            "write for secret `warehouse`: POST ADDRESS/v1/database/creds/dbt-prod answered 405: unsupported operation",
            "the engine does not take this operation: `data:` makes it a write, without `data:` it is a read",
        ),
        (
            &all,
            reading("kv/absent"),
            "read secret `warehouse`: GET ADDRESS/v1/kv/absent answered 404: no reason given",
            "nothing stands at this path; for a KV version 2 say `engine: kv2`, for a version 1 `engine: kv1`",
        ),
        (
            &all,
            reading("secret/dbt/production"),
            "read secret `warehouse`: GET ADDRESS/v1/secret/dbt/production: this is a KV version 2, read as if it were another engine",
            "set `engine: kv2` at this secret in dbt-lease.yml",
        ),
        (
            &all,
            kv2("kv/dbt/production"),
            "read secret `warehouse`: GET ADDRESS/v1/kv/dbt/production: the answer is not a KV version 2's: it has no data below its data",
            "is this a KV version 1? set `engine: kv1` at this secret in dbt-lease.yml",
        ),
        (
            &all,
            kv2("secret/data/gone"),
            "read secret `warehouse`: GET ADDRESS/v1/secret/data/gone: its newest version 1 was deleted at TIME",
            "`bao write secret/undelete/gone versions=1` restores it; or write a new version",
        ),
        (
            &all,
            kv2("secret/data/burnt"),
            "read secret `warehouse`: GET ADDRESS/v1/secret/data/burnt: its newest version 1 was destroyed",
            "nothing restores it: write a new version to `secret/data/burnt`",
        ),
        (
            &all,
            kv2("secret/data/hollow"),
            "read secret `warehouse`: GET ADDRESS/v1/secret/data/hollow: the answer holds no field",
            "does `secret/data/hollow` give credentials? `bao read secret/data/hollow` shows what it gives",
        ),
        (
            &all,
            write("kv/written", json!({"a": "b"})),
            "write for secret `warehouse`: POST ADDRESS/v1/kv/written: the answer holds no field",
            "does `kv/written` give credentials? `bao read kv/written` shows what it gives",
        ),
    ] {
        let error = read(&client, token, &secret).await.expect_err(said);
        let mut shown = text(&error, &bao.address());
        if let Some((head, _)) = shown.split_once("deleted at 2") {
            shown = format!("{head}deleted at TIME");
        }
        assert_eq!(shown, said);
        assert_eq!(hint(&error), cure);
    }
    assert_eq!(
        world.database_users(),
        [""; 0],
        "no refused request made a user"
    );
}

#[tokio::test]
async fn a_token_for_one_use_is_refused_with_its_cure() {
    let world = World::start();
    let client = client_of(&world);
    let policy = r#"path "database/creds/dbt-prod" { capabilities = ["read"] }"#;
    // The lookup is the first use, the read the last one.
    let token = own_token(&world, &client, policy, json!({"num_uses": 2})).await;
    let error = read(&client, &token, &reading("database/creds/dbt-prod"))
        .await
        .expect_err("the last use");
    assert!(
        error
            .to_string()
            .contains("answered 400: Secret cannot be returned; token had one use left"),
        "{error}"
    );
    assert_eq!(
        hint(&error),
        "the login's role has `token_num_uses`: set it to 0, a token of few uses cannot hold a lease"
    );
}

#[tokio::test]
async fn a_path_that_a_url_would_lead_elsewhere_is_not_sent() {
    let world = World::start();
    let client = client_of(&world);
    let token = production(&world, &client).await;
    for path in [
        "kv/../database/creds/dbt-prod",
        "kv/a?list=true",
        "kv/a#b",
        "kv/a b",
    ] {
        let error = read(&client, &token, &reading(path)).await.expect_err(path);
        assert_eq!(
            error.to_string(),
            format!("use path `{path}`: it is not a canonical API path")
        );
    }
    assert_eq!(world.bao().requests().len(), 1, "the login alone");
}
