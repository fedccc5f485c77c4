//! What holds for every login: a server that fails is not pressed, one that is not there and one that has no such method are told with the
//! login's own name, and each refusal has its own cure. docs/logins.md has the table.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, SystemTime};

use dbt_lease::config::{Auth, Config, Server};
use dbt_lease::variables::Variables;
use dbt_lease::vault::auth::{Person, PersonsAnswer, Surroundings, Token, login};
use dbt_lease::vault::client::Client;
use dbt_lease::vault::error::VaultError;
use dbt_lease_sandbox::openbao::ClientCertificates;
use dbt_lease_sandbox::web::{Reply, Web};
use dbt_lease_sandbox::{OpenBao, certificates_at};
use serde_json::json;

use crate::{client, hint, variables};

/// Every login, how its messages begin, and the requests that a failing server gets of it: the official client's three tries, but one where a
/// second try could ring somebody's telephone or use something up.
const LOGINS: [(&str, &str, usize); 13] = [
    (
        "log in by approle at `auth/approle`: ",
        "{method: approle, role_id: r, secret_id_env: S}",
        3,
    ),
    ("log in by aws at `auth/aws`: ", "{method: aws, role: r}", 3),
    ("log in by cert at `auth/cert`: ", "{method: cert}", 3),
    (
        "look up the token from the command `printenv S`: ",
        "{method: command, command: [printenv, S]}",
        3,
    ),
    (
        "log in by generic at `auth/x`: ",
        "{method: generic, path: auth/x/login, data: {token: {env: S}}}",
        3,
    ),
    (
        "log in by jwt at `auth/jwt`: ",
        "{method: jwt, role: r, token: {env: S}}",
        3,
    ),
    (
        "log in by kubernetes at `auth/kubernetes`: ",
        "{method: kubernetes, role: r, token: {env: S}}",
        3,
    ),
    (
        "log in by ldap at `auth/ldap`: ",
        "{method: ldap, username: u, password: {env: S}}",
        3,
    ),
    (
        "log in by oidc at `auth/oidc`: ",
        "{method: oidc, role: r, mode: direct}",
        3,
    ),
    (
        "log in by oidc at `auth/oidc`: ",
        "{method: oidc, role: r, mode: device}",
        3,
    ),
    (
        "log in by okta at `auth/okta`: ",
        "{method: okta, username: u, password: {env: S}, second_factor: none}",
        1,
    ),
    (
        "look up the token from the variable VAULT_TOKEN: ",
        "{method: token}",
        3,
    ),
    (
        "log in by userpass at `auth/userpass`: ",
        "{method: userpass, username: u, password: {env: S}}",
        3,
    ),
];

fn set() -> Variables {
    variables([
        ("S", "a-secret"),
        ("VAULT_TOKEN", "a-secret"),
        ("PATH", "/usr/bin:/bin"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret"),
        ("VAULT_CLIENT_CERT", "/p/c.pem"),
        ("VAULT_CLIENT_KEY", "/p/k.pem"),
    ])
}

/// Somebody who can be told things, and does nothing.
struct Somebody;

impl Person for Somebody {
    fn ask<'a>(&'a self, _: &'a str) -> PersonsAnswer<'a> {
        Box::pin(std::future::ready(None))
    }

    fn is_there(&self) -> bool {
        true
    }

    fn open(&self, _: &str) {}

    fn tell(&self, _: &str) -> bool {
        true
    }
}

/// Server and login of an environment that says this, in a process with these variables.
fn environment(address: &str, auth: &str, variables: &Variables) -> (Server, Auth) {
    let text = format!(
        "version: 1\nenvironments: {{production: {{address: '{address}', auth: {auth}, targets: {{}}}}}}"
    );
    let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, variables)
        .unwrap_or_else(|error| panic!("{error}"));
    let environment = &config.environments[0];
    let server = environment.server.clone().expect("an address");
    (server, environment.auth.clone().expect("a login"))
}

/// Without the pauses between two tries.
fn at_once(server: &Server) -> Client {
    client(server).pausing_with(Box::new(|_| Box::pin(std::future::ready(()))))
}

async fn log_in(address: &str, auth: &str, set: &Variables) -> Result<Token, VaultError> {
    let (mut server, auth) = environment(address, auth, set);
    // Only named: no connection is made with them.
    (server.client_cert, server.client_key) = (None, None);
    let around = Surroundings {
        variables: set,
        person: &Somebody,
    };
    login(&at_once(&server), &auth, around).await
}

#[tokio::test]
async fn no_login_presses_a_server_that_fails() {
    for (begins, auth, requests) in LOGINS {
        let vault = Web::start(|_| Reply::new(500, r#"{"errors":["internal error"]}"#));
        let error = log_in(&vault.address(), auth, &set())
            .await
            .expect_err("it fails");
        let text = error.to_string();
        assert!(text.starts_with(begins), "{text}");
        assert!(text.contains("answered 500"), "{text}");
        assert!(!text.contains("a-secret"), "{text}");
        assert_eq!(vault.received().len(), requests, "{auth}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_every_login_s_name() {
    let address = format!("http://127.0.0.1:{}", dbt_lease_sandbox::free_port());
    for (begins, auth, _) in LOGINS {
        let error = log_in(&address, auth, &set())
            .await
            .expect_err("nobody is there");
        assert_eq!(error.kind(), "vault_unreachable", "{error}");
        assert!(error.to_string().starts_with(begins), "{error}");
        assert_eq!(
            hint(&error),
            "is Vault running there, and may this machine reach it? check `vault.address` (or BAO_ADDR, VAULT_ADDR)"
        );
    }
}

#[tokio::test]
async fn a_method_that_is_not_mounted_costs_every_login_one_request() {
    let bao = OpenBao::start();
    for (begins, auth, _) in LOGINS {
        let before = bao.requests().len();
        let error = log_in(&bao.address(), auth, &set())
            .await
            .expect_err("nothing is mounted");
        assert_eq!(error.kind(), "vault_permission_denied", "{error}");
        assert!(error.to_string().starts_with(begins), "{error}");
        let mount = begins
            .split_once("`auth/")
            .map(|(_, rest)| rest.trim_end_matches("`: "));
        let cure = hint(&error);
        match mount {
            Some(mount) => assert!(
                cure.contains(&format!("enabled at `auth/{mount}`"))
                    && cure.contains("`bao auth list`"),
                "{cure}"
            ),
            None => assert!(
                cure.contains("the token is wrong, expired, revoked"),
                "{cure}"
            ),
        }
        assert_eq!(bao.requests().len() - before, 1, "{auth}");
    }
}

/// Contract: the shape of `mfa_requirement` in Vault's documentation of login MFA. What is real: tests/vault/methods.rs.
#[tokio::test]
async fn a_second_factor_may_follow_any_login_that_a_machine_makes() {
    for (begins, auth, _) in LOGINS {
        if !begins.starts_with("log in by ") || auth.contains("oidc") {
            // A token that is there has been given its factors; oidc's are behind the browser.
            continue;
        }
        let vault = Web::start(|request| {
            Reply::json(&if request.path == "/v1/sys/mfa/validate" {
                json!({"auth": {"client_token": "hvs.x", "policies": ["default"]}})
            } else {
                json!({"auth": {"client_token": "", "mfa_requirement": {
                    "mfa_request_id": "request-1",
                    "mfa_constraints": {"a": {"any": [{"type": "duo", "id": "id-duo", "uses_passcode": false}]}},
                }}})
            })
        });
        let token = log_in(&vault.address(), auth, &set()).await.expect(auth);
        assert_eq!(token.value.expose(), "hvs.x");
        let received = vault.received();
        assert_eq!(received.len(), 2, "{auth}");
        assert_eq!(
            received[1].body,
            r#"{"mfa_request_id":"request-1","mfa_payload":{"id-duo":[]}}"#
        );
        let (server, login_of) = environment(&vault.address(), auth, &set());
        let server = Server {
            client_cert: None,
            client_key: None,
            ..server
        };
        let error = login(&at_once(&server), &login_of, &set())
            .await
            .expect_err("nobody is there");
        assert_eq!(error.kind(), "vault_second_factor", "{auth}: {error}");
        assert_eq!(vault.received().len(), 3, "{auth}");
    }
}

/// Vault counts wrong logins, and then answers a right one as if nothing were mounted.
#[tokio::test]
async fn a_login_that_vault_has_locked_is_not_told_as_a_missing_mount_alone() {
    let bao = OpenBao::start();
    bao.api("POST", "sys/auth/userpass", json!({"type": "userpass"}));
    bao.api(
        "POST",
        "auth/userpass/users/alice",
        json!({"password": "pass-of-alice"}),
    );
    bao.api("POST", "sys/auth/approle", json!({"type": "approle"}));
    bao.api("POST", "auth/approle/role/dbt", json!({}));
    let role_id = bao.api("GET", "auth/approle/role/dbt/role-id", None);
    let secret_id = bao.api("POST", "auth/approle/role/dbt/secret-id", json!({}));
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let role_id = text(&role_id["data"]["role_id"]);
    let right = variables([
        ("P", "pass-of-alice"),
        ("R", &role_id),
        ("S", &text(&secret_id["data"]["secret_id"])),
    ]);
    let wrong = variables([("P", "wrong"), ("R", &role_id), ("S", "wrong")]);
    for auth in [
        "{method: userpass, username: alice, password: {env: P}}",
        "{method: approle, role_id_env: R, secret_id_env: S}",
    ] {
        log_in(&bao.address(), auth, &right).await.expect("it may");
        for _ in 0..5 {
            let error = log_in(&bao.address(), auth, &wrong)
                .await
                .expect_err("wrong");
            assert_eq!(error.code(), Some(400), "{error}");
        }
        let before = bao.requests().len();
        let error = log_in(&bao.address(), auth, &right)
            .await
            .expect_err("locked");
        assert_eq!(error.code(), Some(403), "{error}");
        assert!(
            hint(&error).ends_with(
                "The same answer means that Vault has locked this login for some minutes after wrong ones: `bao read sys/locked-users`"
            ),
            "{error}"
        );
        assert_eq!(bao.requests().len() - before, 1, "{auth}");
    }
    let locked = bao.api("GET", "sys/locked-users", None);
    assert_eq!(locked["data"]["total"], 2, "{locked}");
}

#[tokio::test]
async fn a_spent_or_expired_secret_id_and_an_unknown_role_id_are_one_answer_of_vault_s() {
    let bao = OpenBao::start();
    bao.api("POST", "sys/auth/approle", json!({"type": "approle"}));
    bao.api("POST", "auth/approle/role/dbt", json!({}));
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let role_id = bao.api("GET", "auth/approle/role/dbt/role-id", None);
    let role_id = text(&role_id["data"]["role_id"]);
    let secret_id = |body: serde_json::Value| {
        let made = bao.api("POST", "auth/approle/role/dbt/secret-id", body);
        text(&made["data"]["secret_id"])
    };
    let spent = secret_id(json!({"num_uses": 1}));
    let auth = "{method: approle, role: dbt, role_id_env: R, secret_id_env: S}";
    let of = |role: &str, secret: &str| variables([("R", role), ("S", secret)]);
    log_in(&bao.address(), auth, &of(&role_id, &spent))
        .await
        .expect("once");
    let expired = secret_id(json!({"ttl": "1s"}));
    let deadline = SystemTime::now() + Duration::from_secs(60);
    while log_in(&bao.address(), auth, &of(&role_id, &expired))
        .await
        .is_ok()
    {
        assert!(SystemTime::now() < deadline, "it lives on");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for set in [
        of(&role_id, &spent),
        of(&role_id, &expired),
        of("no-such-role", &secret_id(json!({}))),
    ] {
        let before = bao.requests().len();
        let error = log_in(&bao.address(), auth, &set)
            .await
            .expect_err("it may not");
        assert!(
            error
                .to_string()
                .ends_with("answered 400: invalid role or secret ID"),
            "{error}"
        );
        assert_eq!(
            hint(&error),
            "the role id or the secret id is wrong, expired, used up, or bound to other addresses (Vault does not say which): \
             issue a new secret id (`bao write -f auth/approle/role/dbt/secret-id`)"
        );
        assert_eq!(bao.requests().len() - before, 1);
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_expired_or_may_not_look_itself_up_is_told_with_its_place() {
    let bao = OpenBao::start();
    let token = |body: serde_json::Value| {
        let made = bao.api("POST", "auth/token/create", body);
        made["auth"]["client_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    };
    let revoked = token(json!({"policies": ["default"]}));
    bao.api("POST", "auth/token/revoke", json!({"token": revoked}));
    let expired = token(json!({"policies": ["default"], "ttl": "1s"}));
    let deadline = SystemTime::now() + Duration::from_secs(60);
    let over = variables([("BAO_TOKEN", expired.as_str())]);
    while log_in(&bao.address(), "{method: token}", &over)
        .await
        .is_ok()
    {
        assert!(SystemTime::now() < deadline, "it lives on");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let blind = token(json!({"policies": ["nothing"], "no_default_policy": true}));
    let lacks = "or it is good, and its policies lack: path \"auth/token/lookup-self\" { capabilities = [\"read\"] }";
    for value in [revoked.as_str(), &expired, &blind, "s.nobody-made-it"] {
        let set = variables([("BAO_TOKEN", value), ("PATH", "/usr/bin:/bin")]);
        for (auth, place, next) in [
            (
                "{method: token}",
                "the variable BAO_TOKEN",
                "`bao login` makes a new one",
            ),
            (
                "{method: command, command: [printenv, BAO_TOKEN]}",
                "the command `printenv BAO_TOKEN`",
                "run it by hand: `printenv BAO_TOKEN`",
            ),
        ] {
            let before = bao.requests().len();
            let error = log_in(&bao.address(), auth, &set)
                .await
                .expect_err("it is good for nothing");
            assert!(
                error
                    .to_string()
                    .starts_with(&format!("look up the token from {place}: ")),
                "{error}"
            );
            assert!(!error.to_string().contains(value));
            assert_eq!(
                hint(&error),
                format!(
                    "the token is wrong, expired, revoked, or another Vault's: {next}; {lacks}"
                )
            );
            assert_eq!(bao.requests().len() - before, 1);
        }
    }
}

#[tokio::test]
async fn a_certificate_of_nobody_s_and_one_that_is_over_are_seen_and_told() {
    let bao = OpenBao::options().tls(ClientCertificates::Accepted).start();
    bao.api("POST", "sys/auth/cert", json!({"type": "cert"}));
    let now = SystemTime::now();
    let day = Duration::from_secs(86_400);
    let stranger = certificates_at(now - day, now + day);
    let over = certificates_at(now - 3 * day, now - day);
    bao.api(
        "POST",
        "auth/cert/certs/over",
        json!({"certificate": over.0}),
    );
    for ((certificate, key), words, cure, requests) in [
        (
            stranger,
            "answered 400: invalid certificate or no client certificate supplied",
            "no certificate role of the mount knows `client_cert` (its authority, its names), its time is over",
            1,
        ),
        (
            over,
            "answered 500 (tried 3 times): failed to verify client's certificate: x509: certificate has expired or is not yet valid",
            "the time of `client_cert` is over, or has not come",
            3,
        ),
    ] {
        let set = variables([
            ("BAO_CLIENT_CERT_BYTES", certificate.as_str()),
            ("BAO_CLIENT_KEY_BYTES", &key),
            ("BAO_CACERT", bao.certificates().ca.to_str().expect("UTF-8")),
        ]);
        let before = bao.requests().len();
        let (server, auth) = environment(&bao.tls_address(), "{method: cert}", &set);
        let error = login(&at_once(&server), &auth, &set)
            .await
            .expect_err("nobody knows it");
        assert!(error.to_string().contains(words), "{error}");
        assert!(hint(&error).starts_with(cure), "{error}");
        assert_eq!(bao.requests().len() - before, requests);
    }
}

/// Contract: the words of `builtin/credential/okta/backend.go` and `builtin/credential/ldap/backend.go` of Vault, and of their libraries.
#[tokio::test]
async fn what_stands_behind_vault_has_words_of_its_own() {
    let password = "the name or the password is wrong";
    for (method, words, cure) in [
        (
            "ldap",
            "ldap operation failed: failed to bind as user",
            password,
        ),
        (
            "ldap",
            "LDAP Result Code 200 \"Network Error\": dial tcp 10.0.0.1:636: connect: connection refused",
            "Vault does not reach the directory: ",
        ),
        (
            "ldap",
            "ldap operation failed: failed to connect to LDAP server",
            "Vault does not reach the directory: ",
        ),
        (
            "ldap",
            "ldap operation failed: failed to re-bind with the BindDN user",
            "the directory takes the person, and not Vault's own account: ",
        ),
        (
            "ldap",
            "ldap backend not configured",
            "nobody has told Vault of the directory: ",
        ),
        (
            "okta",
            "Okta auth failed: the API returned an error: Authentication failed (code=E0000004)",
            password,
        ),
        ("okta", "okta authentication failed", password),
        (
            "okta",
            "Okta auth failed: Post \"https://acme.okta.com/api/v1/authn\": dial tcp: lookup acme.okta.com: no such host",
            "Vault does not reach Okta: ",
        ),
        (
            "okta",
            "multi-factor authentication denied",
            "the login was refused on the other device: ",
        ),
        (
            "okta",
            "failed to complete multi-factor authentication",
            "nobody approved the login on the other device in time: run again",
        ),
        (
            "okta",
            "'totp' passcode parameter is required to perform MFA",
            "the account has a code and no push: `second_factor: totp`",
        ),
        (
            "okta",
            "nonce must be provided during login request when presented with number challenge",
            "Okta asks for a number to choose: `second_factor: push`",
        ),
        (
            "okta",
            "Okta Verify Push or TOTP or Google TOTP factor is required in order to perform MFA",
            "the account has no second factor that Vault can use: ",
        ),
        (
            "okta",
            "okta authentication failed: you must complete MFA enrollment to continue",
            "the account has no second factor that Vault can use: ",
        ),
        (
            "okta",
            "Okta auth method not configured",
            "nobody has told Vault of the organization: ",
        ),
    ] {
        let body = json!({"errors": [words]}).to_string();
        let vault = Web::start(move |_| Reply::new(400, body.clone()));
        let more = if method == "okta" {
            ", second_factor: none"
        } else {
            ""
        };
        let auth = format!("{{method: {method}, username: u, password: {{env: S}}{more}}}");
        let error = log_in(&vault.address(), &auth, &set())
            .await
            .expect_err(words);
        assert!(error.to_string().ends_with(words), "{error}");
        assert!(hint(&error).starts_with(cure), "{words}: {}", hint(&error));
        assert_eq!(vault.received().len(), 1, "{words}");
    }
}
