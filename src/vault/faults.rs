//! Tests against the stub: how faults of the line and of the server are met.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use super::auth::{Token, TokenKind, login};
use super::error::{Cause, VaultError};
use super::lease::{Lease, LeaseId, Revocation};
use super::secret::read;
use super::stub::Step::{Answer, AnswerThenClose, Close, Endless, Hang};
use super::stub::{Stub, client, credentials, json, no_content, refusal, token, warehouse};
use super::take_back::{Returned, TokenEnd, take_back};
use crate::config::{AppRole, Auth, Operation, RoleId, SecretId, SecretRequest, Server};
use crate::secret::Secret;
use crate::variables::Variables;

fn patient(stub: &Stub) -> Server {
    Server {
        max_retries: 2,
        ..stub.server()
    }
}

fn impatient(stub: &Stub) -> Server {
    Server {
        timeout: Duration::from_secs(1),
        ..stub.server()
    }
}

fn lease() -> Lease {
    Lease {
        id: LeaseId::new("database/creds/dbt-prod/LeaseId123".to_owned()),
        path: "database/creds/dbt-prod".to_owned(),
        issued: SystemTime::now(),
        duration: Duration::from_secs(900),
        renewable: true,
        revocation: Revocation::Ends,
    }
}

/// The error's text with the stub's port taken out, and its hint.
fn said(error: &VaultError, stub: &Stub) -> (String, String) {
    let text = error.to_string().replace(&stub.address.to_string(), "HOST");
    (text, error.hint().unwrap_or_default())
}

#[tokio::test]
async fn every_request_says_whose_it_is() {
    let stub = Stub::start([Answer(credentials())]);
    let (client, _) = client(&Server {
        namespace: Some("team".to_owned()),
        ..stub.server()
    });
    read(&client, &token(true), &warehouse())
        .await
        .expect("it is answered");
    let request = stub.requests().remove(0).to_ascii_lowercase();
    assert!(
        request.starts_with("get /v1/database/creds/dbt-prod http/1.1\r\n"),
        "{request}"
    );
    for header in [
        concat!(
            "user-agent: dbt-lease/",
            env!("CARGO_PKG_VERSION"),
            " (session session-1)\r\n"
        ),
        "x-vault-request: true\r\n",
        "x-vault-namespace: team\r\n",
        "x-vault-token: s.token-of-the-session\r\n",
        "x-dbt-lease-session: session-1\r\n",
    ] {
        assert!(request.contains(header), "{header} is missing in {request}");
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_for_and_tried_again() {
    let stub = Stub::start([
        Answer(json(429, "Retry-After: 0\r\n", "{}")),
        Answer(json(429, "Retry-After: 4\r\n", "{}")),
        Answer(credentials()),
    ]);
    let (client, pauses) = client(&patient(&stub));
    read(&client, &token(false), &warehouse())
        .await
        .expect("the third try is answered");
    let pauses = pauses.borrow();
    assert!(
        (1000..=1500).contains(&pauses[0].as_millis()),
        "0 must not mean at once: {pauses:?}"
    );
    assert!((4000..=4500).contains(&pauses[1].as_millis()), "{pauses:?}");
}

#[tokio::test]
async fn a_rate_limit_that_lasts_is_refused_with_its_cure() {
    let limited = || {
        Answer(refusal(
            429,
            "request path \"database/creds/dbt-prod\": rate limit quota exceeded",
        ))
    };
    let stub = Stub::start([limited(), limited(), limited()]);
    let (client, pauses) = client(&patient(&stub));
    let error = read(&client, &token(true), &warehouse())
        .await
        .expect_err("three refusals");
    assert_eq!(pauses.borrow().len(), 2);
    assert_eq!(
        said(&error, &stub),
        (
            "read secret `warehouse`: GET http://HOST/v1/database/creds/dbt-prod answered 429 (tried 3 times): request path \
             \"database/creds/dbt-prod\": rate limit quota exceeded"
                .to_owned(),
            "a quota of Vault's is used up: start fewer runs at once, or raise it (`bao list sys/quotas/rate-limit`)".to_owned()
        )
    );
    assert_eq!(error.kind(), "vault_rate_limited");
}

#[tokio::test]
async fn a_server_that_asks_for_an_hour_is_not_waited_for() {
    let stub = Stub::start([Answer(json(
        429,
        "Retry-After: 3600\r\n",
        "{\"errors\":[]}",
    ))]);
    let (client, pauses) = client(&patient(&stub));
    let error = read(&client, &token(true), &warehouse())
        .await
        .expect_err("a refusal");
    assert!(pauses.borrow().is_empty());
    assert!(
        error
            .to_string()
            .ends_with("answered 429 (it asks to wait 3600 s): no reason given"),
        "{error}"
    );
}

#[tokio::test]
async fn credentials_for_the_users_token_are_asked_again_only_where_nothing_was_done() {
    for (code, words, again) in [
        (412, "required index state not present", true),
        (473, "performance standby", true),
        (503, "Vault is sealed", true),
        (503, "upstream connect error", false),
        (500, "database is down", false),
        (501, "not implemented", false),
        (502, "bad gateway", false),
    ] {
        let stub = Stub::start([Answer(refusal(code, words)), Answer(credentials())]);
        let outcome = read(&client(&patient(&stub)).0, &token(false), &warehouse()).await;
        assert_eq!(outcome.is_ok(), again, "{code} {words}: {outcome:?}");
        assert_eq!(
            stub.requests().len(),
            if again { 2 } else { 1 },
            "{code} {words}"
        );
    }
}

#[tokio::test]
async fn credentials_for_our_own_token_are_asked_again_also_after_a_failure() {
    for (code, again) in [
        (500, true),
        (502, true),
        (503, true),
        (501, false),
        (400, false),
        (403, false),
    ] {
        let stub = Stub::start([Answer(refusal(code, "trouble")), Answer(credentials())]);
        let outcome = read(&client(&patient(&stub)).0, &token(true), &warehouse()).await;
        assert_eq!(outcome.is_ok(), again, "{code}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_only_with_our_own_token() {
    let stub = Stub::start([Close, Answer(credentials())]);
    let (ours, pauses) = client(&stub.server());
    read(&ours, &token(true), &warehouse())
        .await
        .expect("revoke-self sweeps what the lost answer left");
    assert!(pauses.borrow().is_empty());

    let stub = Stub::start([Close, Answer(credentials())]);
    let error = read(&client(&patient(&stub)).0, &token(false), &warehouse())
        .await
        .expect_err("a lost answer");
    assert_eq!(stub.requests().len(), 1);
    assert!(
        said(&error, &stub).0.starts_with(
            "read secret `warehouse`: GET http://HOST/v1/database/creds/dbt-prod: the connection was lost before the answer's end: "
        ),
        "{error}"
    );
    assert_eq!(error.kind(), "vault_connection_lost");
}

#[tokio::test]
async fn a_stale_connection_is_not_taken_for_a_refusal() {
    let stub = Stub::start([
        AnswerThenClose(credentials()),
        Answer(no_content()),
        Answer(no_content()),
    ]);
    let (client, pauses) = client(&stub.server());
    let lent = read(&client, &token(true), &warehouse())
        .await
        .expect("it is answered");
    let back = take_back(
        &client,
        &token(true),
        lent.lease.into_iter().collect(),
        Duration::from_secs(5),
    )
    .await;
    assert!(back.all_proven(), "{back:?}");
    assert_eq!(back.token, TokenEnd::Revoked);
    assert!(pauses.borrow().is_empty());
}

#[tokio::test]
async fn answers_without_an_end_are_bounded_in_size() {
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n".to_owned();
    for step in [Endless, Answer(announced)] {
        let stub = Stub::start([step]);
        let error = read(&client(&patient(&stub)).0, &token(true), &warehouse())
            .await
            .expect_err("too much");
        assert_eq!(
            said(&error, &stub).0,
            "read secret `warehouse`: GET http://HOST/v1/database/creds/dbt-prod: the answer is longer than 1048576 bytes"
        );
        assert_eq!(stub.requests().len(), 1, "it is not asked for again");
    }
}

#[tokio::test]
async fn answers_without_an_end_are_bounded_in_time() {
    let stub = Stub::start([Hang]);
    let error = read(&client(&impatient(&stub)).0, &token(true), &warehouse())
        .await
        .expect_err("too late");
    assert_eq!(
        said(&error, &stub),
        (
            "read secret `warehouse`: GET http://HOST/v1/database/creds/dbt-prod: no complete answer within 1 s".to_owned(),
            "Vault, or the database behind it, is slow or hangs; `vault.timeout` is the bound".to_owned()
        )
    );
    assert_eq!(error.kind(), "vault_timeout");
}

#[tokio::test]
async fn a_servers_words_can_command_neither_terminal_nor_ci() {
    let stub = Stub::start([Answer(refusal(
        400,
        "::error::\x1b[31mgone\n##vso[x] s.token-of-the-session",
    ))]);
    let error = read(&client(&stub.server()).0, &token(true), &warehouse())
        .await
        .expect_err("a refusal");
    assert_eq!(
        said(&error, &stub).0,
        "read secret `warehouse`: GET http://HOST/v1/database/creds/dbt-prod answered 400: \\ ::error::\\u{1b}[31mgone # #vso[x] …"
    );
}

#[tokio::test]
async fn what_is_not_vault_is_said_to_be_none() {
    let page = "<html>\n<h1>Bad gateway</h1></html>";
    let stub = Stub::start([
        Answer(json(404, "", page)),
        Answer(json(200, "", page)),
        Answer(json(200, "", "[\"s3cret\"]")),
    ]);
    let (client, _) = client(&stub.server());
    let error = read(&client, &token(true), &warehouse())
        .await
        .expect_err("a page");
    assert_eq!(
        said(&error, &stub),
        (
            "read secret `warehouse`: GET http://HOST/v1/database/creds/dbt-prod answered 404, not in Vault's form: <html> <h1>Bad \
             gateway</h1></html>"
                .to_owned(),
            "a proxy, or something that is not Vault, answers there: check `vault.address`".to_owned()
        )
    );
    let error = read(&client, &token(true), &warehouse())
        .await
        .expect_err("a page");
    assert!(
        error
            .to_string()
            .ends_with("the answer cannot be used: it is not JSON (line 1, column 1)"),
        "{error}"
    );
    let error = read(&client, &token(true), &warehouse())
        .await
        .expect_err("a list");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    assert_eq!(error.kind(), "vault_bad_answer");
}

#[tokio::test]
async fn a_redirect_without_tls_is_not_followed_and_its_aim_is_said() {
    for (code, location, why) in [
        (
            307,
            "https://elsewhere.example/v1/database/creds/dbt-prod",
            "without TLS nobody has proven to be Vault",
        ),
        (
            307,
            "http://127.0.0.1:1/v1/database/creds/dbt-prod",
            "without TLS nobody has proven to be Vault",
        ),
        (
            307,
            "/v1/database/creds/dbt-prod",
            "it leads back to itself",
        ),
        (
            307,
            "/v1/database/creds/dbt-staging",
            "it leads to another path",
        ),
        (
            308,
            "https://u:p@elsewhere.example/v1/database/creds/dbt-prod",
            "it leads to another path",
        ),
        (
            302,
            "https://sso.example/login",
            "Vault redirects with 307 only",
        ),
    ] {
        let stub = Stub::start([Answer(json(code, &format!("Location: {location}\r\n"), ""))]);
        let error = read(&client(&patient(&stub)).0, &token(true), &warehouse())
            .await
            .expect_err("a redirect");
        assert_eq!(
            said(&error, &stub).0,
            format!(
                "read secret `warehouse`: GET http://HOST/v1/database/creds/dbt-prod answered {code} and points to `{location}`, \
                 which is not followed: {why}"
            )
        );
        assert_eq!(stub.requests().len(), 1);
    }
}

#[tokio::test]
async fn no_connection_is_told_from_no_name() {
    let stub = Stub::start([Answer(refusal(400, "x"))]);
    for (address, words, cure) in [
        (
            "http://127.0.0.1:1".to_owned(),
            "no connection: Connection refused",
            "is Vault running there",
        ),
        (
            "http://vault.invalid:8200".to_owned(),
            "the host's name cannot be resolved: ",
            "check the host in",
        ),
        (
            "unix:///nonexistent/vault.sock".to_owned(),
            "no connection: No such file",
            "is Vault running there",
        ),
    ] {
        let (client, pauses) = client(&Server {
            address: address.clone(),
            max_retries: 1,
            ..stub.server()
        });
        let error = read(&client, &token(false), &warehouse())
            .await
            .expect_err("nobody there");
        assert_eq!(error.kind(), "vault_unreachable", "{error}");
        let text = error.to_string();
        assert!(
            text.starts_with(&format!(
                "read secret `warehouse`: GET {address}/v1/database/creds/dbt-prod: "
            )),
            "{text}"
        );
        assert!(text.contains(words), "{text}");
        assert!(
            error.hint().is_some_and(|hint| hint.contains(cure)),
            "{:?}",
            error.hint()
        );
        // Nothing was sent, so it is tried again.
        assert_eq!(pauses.borrow().len(), 1, "{text}");
    }
}

#[tokio::test]
async fn a_lease_in_doubt_is_revoked_again_and_then_looked_up() {
    let stub = Stub::start([
        Hang,
        Hang,
        Answer(refusal(400, "invalid lease")),
        Answer(no_content()),
    ]);
    let back = take_back(
        &client(&impatient(&stub)).0,
        &token(true),
        vec![lease()],
        Duration::from_secs(5),
    )
    .await;
    assert_eq!(back.leases[0].returned, Returned::Revoked);
    assert_eq!(back.token, TokenEnd::Revoked);
    let requests = stub.requests();
    let lines: Vec<&str> = requests
        .iter()
        .filter_map(|request| request.lines().next())
        .collect();
    assert_eq!(
        lines,
        [
            "PUT /v1/sys/leases/revoke HTTP/1.1",
            "PUT /v1/sys/leases/revoke HTTP/1.1",
            "PUT /v1/sys/leases/lookup HTTP/1.1",
            "POST /v1/auth/token/revoke-self HTTP/1.1",
        ]
    );
    assert!(
        requests[0].ends_with(r#"{"lease_id":"database/creds/dbt-prod/LeaseId123","sync":true}"#),
        "{}",
        requests[0]
    );
}

#[tokio::test]
async fn taking_back_ends_in_time_though_nothing_answers() {
    let stub = Stub::start((0..20).map(|_| Hang));
    let start = std::time::Instant::now();
    let back = take_back(
        &client(&stub.server()).0,
        &token(true),
        vec![lease(), lease()],
        Duration::from_millis(400),
    )
    .await;
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    assert!(
        back.leases
            .iter()
            .all(|taken| matches!(taken.returned, Returned::Failed { .. })),
        "{back:?}"
    );
    assert!(matches!(back.token, TokenEnd::Failed { .. }));
    let requests = stub.requests();
    assert!(
        requests
            .iter()
            .any(|request| request.starts_with("POST /v1/auth/token/revoke-self")),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_lease_id_shows_in_no_text() {
    let stub = Stub::start([
        Answer(refusal(
            503,
            "failed to revoke \"database/creds/dbt-prod/LeaseId123\": trouble",
        )),
        Answer(refusal(503, "trouble with s.token-of-the-session")),
    ]);
    let back = take_back(
        &client(&stub.server()).0,
        &token(true),
        vec![lease()],
        Duration::from_secs(5),
    )
    .await;
    let shown = format!("{back:?}");
    assert!(
        !shown.contains("LeaseId123") && !shown.contains("s.token"),
        "{shown}"
    );
    assert!(shown.contains("failed to revoke"), "{shown}");
}

#[tokio::test]
async fn a_warning_is_tamed_too() {
    let answer = r#"{"lease_id":"database/creds/dbt-prod/LeaseId123","data":{"a":"b"},"warnings":["TTL of \u001b[1mdatabase/creds/dbt-prod/LeaseId123 is capped"]}"#;
    let stub = Stub::start([Answer(json(200, "", answer))]);
    let lent = read(&client(&stub.server()).0, &token(true), &warehouse())
        .await
        .expect("it is answered");
    assert_eq!(lent.warnings, ["TTL of \\u{1b}[1m… is capped"]);
}

#[tokio::test]
async fn debug_of_what_was_lent_shows_no_value() {
    let stub = Stub::start([Answer(credentials())]);
    let (client, _) = client(&stub.server());
    let token = token(true);
    let lent = read(&client, &token, &warehouse())
        .await
        .expect("it is answered");
    let shown = format!("{lent:?} {token:?} {client:?}");
    for secret in ["hunter2", "LeaseId123", "s.token"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("password"), "names may show: {shown}");
}

#[tokio::test]
async fn a_run_that_outlived_its_token_is_told_from_a_missing_policy() {
    let denied = || Answer(refusal(403, "permission denied"));
    let stub = Stub::start([denied(), denied()]);
    let ended = Token {
        lifetime: Some(Duration::ZERO),
        ..token(true)
    };
    let back = take_back(
        &client(&stub.server()).0,
        &ended,
        vec![lease()],
        Duration::from_secs(5),
    )
    .await;
    assert_eq!(back.token, TokenEnd::Expired);
    let Returned::EndedWithToken { hint, .. } = &back.leases[0].returned else {
        panic!("{back:?}")
    };
    assert_eq!(
        hint.as_deref(),
        Some("the run outlived its login: raise the role's `token_ttl` and `token_max_ttl`")
    );
}

#[tokio::test]
async fn what_the_end_of_the_token_does_not_sweep_is_not_asked_for_twice() {
    let write = SecretRequest {
        operation: Operation::Write(serde_json::Map::new()),
        ..warehouse()
    };
    let batch = Token {
        kind: TokenKind::Batch,
        ..token(true)
    };
    for (token, request) in [(token(true), write), (batch, warehouse())] {
        let stub = Stub::start([Close, Answer(credentials())]);
        read(&client(&patient(&stub)).0, &token, &request)
            .await
            .expect_err("a lost answer");
        assert_eq!(stub.requests().len(), 1);
    }
}

#[tokio::test]
async fn logins_that_give_no_token_are_refused() {
    let auth = Auth::AppRole(AppRole {
        mount: "approle".to_owned(),
        role_id: RoleId::Literal("role".to_owned()),
        secret_id: SecretId::Variable("SECRET_ID".to_owned()),
        role: None,
    });
    let variables: Variables = [("SECRET_ID", "s3cret-id"), ("VAULT_TOKEN", "s.t\u{f6}ken")]
        .into_iter()
        .collect();
    let no_token = r#"{"request_id":"q","auth":null}"#;
    let factor = r#"{"auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"x"}}}"#;
    let stub = Stub::start([
        Answer(json(200, "", no_token)),
        Answer(json(200, "", factor)),
        Answer(refusal(400, "secret id s3cret-id is wrong")),
    ]);
    let (client, _) = client(&stub.server());
    let error = login(&client, &auth, &variables)
        .await
        .expect_err("no token");
    assert_eq!(
        said(&error, &stub),
        (
            "log in by approle at `auth/approle`: POST http://HOST/v1/auth/approle/login: the answer cannot be used: it holds no \
             token"
                .to_owned(),
            "is that address Vault's? `curl ADDRESS/v1/sys/health` answers with its version".to_owned()
        )
    );
    let error = login(&client, &auth, &variables)
        .await
        .expect_err("a second factor");
    assert_eq!(
        said(&error, &stub),
        (
            "log in by approle at `auth/approle`: Vault asks for multi-factor authentication, and nobody is here to give it".to_owned(),
            "a person gives it on a terminal, never in CI; exempt a machine's role from the login enforcement \
             (`identity/mfa/login-enforcement`), or use another method".to_owned()
        )
    );
    let error = login(&client, &auth, &variables)
        .await
        .expect_err("a refusal");
    assert!(
        error
            .to_string()
            .ends_with("answered 400: secret id … is wrong"),
        "{error}"
    );
    let odd = Token {
        value: Secret::new("s.\n".to_owned()),
        ..token(true)
    };
    let error = read(&client, &odd, &warehouse())
        .await
        .expect_err("no header can carry it");
    assert_eq!(
        error.to_string(),
        "use token `…`: it holds characters that no HTTP header can carry"
    );
    let bodies: Vec<_> = stub
        .requests()
        .iter()
        .filter_map(|request| request.lines().last().map(str::to_owned))
        .collect();
    assert_eq!(bodies, [r#"{"role_id":"role","secret_id":"s3cret-id"}"#; 3]);
}

#[test]
fn only_what_came_before_the_request_is_before_it() {
    assert!(Cause::Connect(String::new()).is_before_request());
    assert!(!Cause::Lost(String::new()).is_before_request());
    assert!(!Cause::NoAnswer { millis: 1 }.is_before_request());
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let stub = Stub::start([]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("x.pem");
    std::fs::write(&file, "not PEM").expect("it can be written");
    let shown = file.display().to_string();
    let secure = Server {
        address: "https://vault.example:8200".to_owned(),
        ..stub.server()
    };
    for (server, text) in [
        (Server { address: "vault.example".to_owned(), ..stub.server() }, "use address `vault.example`: relative URL without a base".to_owned()),
        (Server { address: "ftp://vault".to_owned(), ..stub.server() }, "use address `ftp://vault`: it begins with `https://`, `http://` or `unix:///`".to_owned()),
        (Server { address: "https://me:pw@vault".to_owned(), ..stub.server() }, "use address `https://…@vault`: it must not hold a user or a password".to_owned()),
        (Server { address: "https://vault?x=1".to_owned(), ..stub.server() }, "use address `https://vault?x=1`: it ends after host and port: no `?`, no `#`".to_owned()),
        (Server { address: "unix://vault.sock".to_owned(), ..stub.server() }, "use address `unix://vault.sock`: a socket's path is absolute: `unix:///run/vault.sock`".to_owned()),
        (Server { namespace: Some("a\nb".to_owned()), ..stub.server() }, "use namespace `a b`: it holds characters that no HTTP header can carry".to_owned()),
        (Server { ca_cert: Some("/nonexistent/ca.pem".into()), ..secure.clone() }, "use ca_cert `/nonexistent/ca.pem`: No such file or directory (os error 2)".to_owned()),
        (Server { ca_cert: Some(file.clone()), ..secure.clone() }, format!("use ca_cert `{shown}`: it holds no certificate in PEM")),
        (Server { ca_path: Some(directory.path().to_owned()), ..secure.clone() }, format!("use ca_path `{}`: none of its files holds a certificate in PEM", directory.path().display())),
        (Server { client_cert: Some(file.clone()), ..secure.clone() }, format!("use client_cert `{shown}`: it needs client_key beside it")),
        (Server { client_key: Some(file.clone()), ..secure.clone() }, format!("use client_key `{shown}`: it needs client_cert beside it")),
        (Server { tls_server_name: Some("127.0.0.2".to_owned()), ..secure.clone() }, "use tls_server_name `127.0.0.2`: it is an IP address: only names can be verified in place of the address's host".to_owned()),
        (Server { tls_server_name: Some("a/b".to_owned()), ..secure.clone() }, "use tls_server_name `a/b`: it is not a host name".to_owned()),
    ] {
        let error = super::client::Client::new(&server, "session-1").expect_err(&text);
        assert_eq!(error.to_string(), text);
        assert_eq!(error.kind(), "vault_settings");
    }
}
