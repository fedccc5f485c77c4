//! Taking back: what is proven, what is not, and what is said then.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant, SystemTime};

use dbt_lease::vault::auth::{Token, TokenKind, login};
use dbt_lease::vault::client::Client;
use dbt_lease::vault::fields::Field;
use dbt_lease::vault::lease::Lease;
use dbt_lease::vault::secret::{Lent, read};
use dbt_lease::vault::take_back::{Returned, TokenEnd, take_back};
use dbt_lease_sandbox::World;
use dbt_lease_sandbox::openbao::OpenBao;
use serde_json::json;

use crate::{approle, asked, client_of, no_variables, own_token, production, reading};

const WITHIN: Duration = Duration::from_secs(20);
const CREDS_ONLY: &str = r#"path "database/creds/dbt-prod" { capabilities = ["read"] }"#;
const LACKS_REVOKE: &str = r#"its policy lacks: path "sys/leases/revoke" { capabilities = ["update"] allowed_parameters = { "lease_id" = ["database/creds/dbt-prod/*"], "sync" = [] } }"#;

async fn lent(client: &Client, token: &Token) -> Lent {
    read(client, token, &reading("database/creds/dbt-prod"))
        .await
        .expect("the token may read it")
}

fn lease(lent: &Lent) -> Lease {
    lent.lease.clone().expect("a lease")
}

/// An AppRole whose tokens have this policy and these settings.
async fn login_with(
    world: &World,
    client: &Client,
    policy: &str,
    settings: serde_json::Value,
) -> Token {
    let bao = world.bao();
    bao.api("PUT", "sys/policies/acl/test", json!({"policy": policy}));
    let mut role = json!({"token_policies": ["test"], "token_ttl": "1h"});
    role.as_object_mut()
        .expect("a map")
        .extend(settings.as_object().expect("a map").clone());
    bao.api("POST", "auth/approle/role/dbt-production", role);
    login(client, &approle(world.production()), &no_variables())
        .await
        .expect("production may log in")
}

/// Waits for what OpenBao does after it answered.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_plain_run_is_four_requests_on_one_connection_and_leaves_nothing() {
    let world = World::start();
    let client = client_of(&world);
    let token = production(&world, &client).await;
    let lent = lent(&client, &token).await;
    let back = take_back(&client, &token, vec![lease(&lent)], WITHIN).await;
    assert!(back.all_proven(), "{back:?}");
    assert_eq!(back.token, TokenEnd::Revoked);
    // At once, not eventually: that is what sync is for.
    assert_eq!(world.database_users(), [""; 0]);
    world.assert_nothing_left();
    assert_eq!(
        asked(&world),
        [
            "update auth/approle/login",
            "read database/creds/dbt-prod",
            "update sys/leases/revoke",
            "update auth/token/revoke-self",
        ]
    );
    let ports: Vec<_> = world
        .bao()
        .requests()
        .iter()
        .map(|request| request.client_port)
        .collect();
    assert!(
        ports[0].is_some() && ports.iter().all(|port| *port == ports[0]),
        "{ports:?}"
    );
}

#[tokio::test]
async fn without_the_policy_the_tokens_end_ends_the_lease_unproven() {
    let world = World::start();
    let client = client_of(&world);
    let token = login_with(
        &world,
        &client,
        CREDS_ONLY,
        json!({"token_no_default_policy": false}),
    )
    .await;
    let lent = lent(&client, &token).await;
    let back = take_back(&client, &token, vec![lease(&lent)], WITHIN).await;
    assert!(!back.all_proven());
    let Returned::EndedWithToken { why, hint } = &back.leases[0].returned else {
        panic!("{back:?}")
    };
    assert_eq!(
        why.replace(&world.bao().address(), "ADDRESS"),
        "revoke the lease of `database/creds/dbt-prod`: PUT ADDRESS/v1/sys/leases/revoke answered 403: permission denied"
    );
    assert_eq!(hint.as_deref(), Some(LACKS_REVOKE));
    assert_eq!(back.token, TokenEnd::Revoked);
    world.assert_nothing_left();
}

#[tokio::test]
async fn without_any_right_to_end_something_it_is_said_until_when_it_lives() {
    let world = World::start();
    let client = client_of(&world);
    let token = login_with(
        &world,
        &client,
        CREDS_ONLY,
        json!({"token_no_default_policy": true, "token_ttl": "5m"}),
    )
    .await;
    let lent = lent(&client, &token).await;
    let back = take_back(&client, &token, vec![lease(&lent)], WITHIN).await;
    let taken = &back.leases[0];
    assert!(
        matches!(&taken.returned, Returned::Failed { hint: Some(hint), .. } if hint == LACKS_REVOKE),
        "{back:?}"
    );
    // The token's five minutes, not the lease's fifteen.
    let left = taken
        .lives_until
        .duration_since(SystemTime::now())
        .expect("it lives");
    assert!(
        left <= Duration::from_secs(300) && left > Duration::from_secs(240),
        "{left:?}"
    );
    let TokenEnd::Failed { why, hint } = &back.token else {
        panic!("{back:?}")
    };
    assert!(
        why.starts_with("revoke the session's token: POST "),
        "{why}"
    );
    assert_eq!(
        hint.as_deref(),
        Some(r#"its policy lacks: path "auth/token/revoke-self" { capabilities = ["update"] }"#)
    );
}

#[tokio::test]
async fn the_users_own_token_stays_and_its_lease_is_revoked_or_shortened() {
    let world = World::start();
    let client = client_of(&world);
    for (policy, revoked) in [
        (
            format!(r#"{CREDS_ONLY} path "sys/leases/revoke" {{ capabilities = ["update"] }}"#),
            true,
        ),
        (CREDS_ONLY.to_owned(), false),
    ] {
        let token = own_token(&world, &client, &policy, json!({})).await;
        let lent = lent(&client, &token).await;
        let back = take_back(&client, &token, vec![lease(&lent)], WITHIN).await;
        match (&back.leases[0].returned, revoked) {
            (Returned::Revoked, true) => {}
            (Returned::Shortened { hint, .. }, false) => {
                assert_eq!(hint.as_deref(), Some(LACKS_REVOKE))
            }
            (other, _) => panic!("{other:?}"),
        }
        assert_eq!(back.token, TokenEnd::NotOurs);
        eventually("the lease ends", || {
            world.database_users().is_empty() && world.leases().is_empty()
        });
        assert!(
            world
                .bao()
                .api_as(token.value.expose(), "GET", "auth/token/lookup-self", None)
                .status
                == 200
        );
    }
    assert!(
        !asked(&world)
            .iter()
            .any(|request| request.contains("revoke-self"))
    );
}

#[tokio::test]
async fn a_batch_token_is_three_requests_and_is_not_said_to_be_revoked() {
    let world = World::start();
    let client = client_of(&world);
    let policy =
        format!(r#"{CREDS_ONLY} path "sys/leases/revoke" {{ capabilities = ["update"] }}"#);
    let settings = json!({"token_type": "batch", "token_no_default_policy": true});
    let token = login_with(&world, &client, &policy, settings).await;
    assert_eq!(token.kind, TokenKind::Batch);
    let lent = lent(&client, &token).await;
    let back = take_back(&client, &token, vec![lease(&lent)], WITHIN).await;
    assert!(back.all_proven(), "{back:?}");
    assert_eq!(back.token, TokenEnd::Batch);
    assert_eq!(
        asked(&world),
        [
            "update auth/approle/login",
            "read database/creds/dbt-prod",
            "update sys/leases/revoke"
        ]
    );
    world.assert_nothing_left();
}

#[tokio::test]
async fn a_batch_token_without_the_policy_shortens_its_lease() {
    let world = World::start();
    let client = client_of(&world);
    let token = login_with(
        &world,
        &client,
        CREDS_ONLY,
        json!({"token_type": "batch", "token_no_default_policy": false}),
    )
    .await;
    let lent = lent(&client, &token).await;
    let back = take_back(&client, &token, vec![lease(&lent)], WITHIN).await;
    assert!(
        matches!(&back.leases[0].returned, Returned::Shortened { hint: Some(hint), .. } if hint == LACKS_REVOKE),
        "{back:?}"
    );
    assert_eq!(back.token, TokenEnd::Batch);
    eventually("the lease ends", || world.database_users().is_empty());
}

#[tokio::test]
async fn a_database_that_does_not_let_the_user_go_is_said_in_its_words() {
    let world = World::start();
    let client = client_of(&world);
    let token = production(&world, &client).await;
    let lent = lent(&client, &token).await;
    let user = lent
        .fields
        .get("username")
        .and_then(Field::text)
        .expect("a user");
    world.query("CREATE TABLE prod.kept (id int)");
    world.query(&format!(
        "ALTER TABLE prod.kept OWNER TO \"{}\"",
        user.expose()
    ));
    let back = take_back(&client, &token, vec![lease(&lent)], WITHIN).await;
    let Returned::Queued { why, hint } = &back.leases[0].returned else {
        panic!("{back:?}")
    };
    assert!(
        why.starts_with("revoke the lease of `database/creds/dbt-prod`: PUT "),
        "{why}"
    );
    assert!(
        why.contains("cannot be dropped because some objects depend on it"),
        "{why}"
    );
    assert!(!why.contains(lease(&lent).id.expose()), "{why}");
    assert_eq!(
        hint.as_deref(),
        Some(
            "the database refuses to drop the user (often: it owns objects): drop it by hand, and correct the role's creation \
             and revocation statements"
        )
    );
    assert_eq!(
        back.token,
        TokenEnd::Revoked,
        "the token is ended all the same"
    );
    assert_eq!(
        world.database_users(),
        [user.expose()],
        "it is still there, so nothing else may be said"
    );
}

#[tokio::test]
async fn a_server_that_freezes_is_left_in_time() {
    let world = World::start();
    let client = client_of(&world);
    let token = production(&world, &client).await;
    let lent = lent(&client, &token).await;
    world.bao().freeze();
    let start = Instant::now();
    let back = take_back(&client, &token, vec![lease(&lent)], Duration::from_secs(2)).await;
    let took = start.elapsed();
    world.bao().thaw();
    assert!(took < Duration::from_secs(4), "{took:?}");
    let Returned::Failed { why, .. } = &back.leases[0].returned else {
        panic!("{back:?}")
    };
    assert!(why.contains("no complete answer within"), "{why}");
}

#[tokio::test]
async fn a_server_that_is_gone_leaves_the_lease_until_its_time() {
    let world = World::on(OpenBao::options().unix().start());
    let client = client_of(&world);
    let token = production(&world, &client).await;
    let lent = lent(&client, &token).await;
    world.bao().api("PUT", "sys/seal", None);
    let back = take_back(&client, &token, vec![lease(&lent)], WITHIN).await;
    let Returned::Failed { why, hint } = &back.leases[0].returned else {
        panic!("{back:?}")
    };
    assert!(why.contains("answered 503: Vault is sealed"), "{why}");
    assert!(
        hint.as_deref()
            .is_some_and(|hint| hint.starts_with("Vault is sealed: an operator has to unseal it")),
        "{hint:?}"
    );
}
