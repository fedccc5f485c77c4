//! What holds for every login: a server that fails is not pressed, and one that is not there is told with the login's own name.
#![forbid(unsafe_code)]

use std::path::Path;

use dbt_lease::config::{Auth, Config, Server};
use dbt_lease::variables::Variables;
use dbt_lease::vault::auth::login;
use dbt_lease_sandbox::web::{Reply, Web};

use crate::{client, server, variables};

/// Every login that a machine can make alone, and the requests that a failing server gets of it: the official client's three tries, but one
/// where a second try could ring somebody's telephone or use something up.
const LOGINS: [(&str, &str, usize); 8] = [
    (
        "approle",
        "{method: approle, role_id: r, secret_id_env: S}",
        3,
    ),
    ("aws", "{method: aws, role: r}", 3),
    ("cert", "{method: cert}", 3),
    (
        "generic",
        "{method: generic, path: auth/x/login, data: {token: {env: S}}}",
        3,
    ),
    ("jwt", "{method: jwt, role: r, token: {env: S}}", 3),
    (
        "kubernetes",
        "{method: kubernetes, role: r, token: {env: S}}",
        3,
    ),
    (
        "userpass",
        "{method: userpass, username: u, password: {env: S}}",
        3,
    ),
    (
        "okta",
        "{method: okta, username: u, password: {env: S}, second_factor: none}",
        1,
    ),
];

fn set() -> Variables {
    variables([
        ("S", "a-secret"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "a-secret"),
        // Only named: no connection is made with it.
        ("VAULT_CLIENT_CERT", "/p/c.pem"),
        ("VAULT_CLIENT_KEY", "/p/k.pem"),
    ])
}

fn environment(address: &str, auth: &str) -> (Server, Auth) {
    let text = format!(
        "version: 1\nenvironments: {{production: {{address: '{address}', auth: {auth}, targets: {{}}}}}}"
    );
    let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, &set())
        .unwrap_or_else(|error| panic!("{error}"));
    let auth = config.environments[0].auth.clone().expect("a login");
    let server = Server {
        max_retries: 2,
        ..server(address.to_owned())
    };
    (server, auth)
}

#[tokio::test]
async fn no_login_presses_a_server_that_fails() {
    for (method, auth, requests) in LOGINS {
        let vault = Web::start(|_| Reply::new(500, r#"{"errors":["internal error"]}"#));
        let (server, auth) = environment(&vault.address(), auth);
        let at_once = client(&server).pausing_with(Box::new(|_| Box::pin(std::future::ready(()))));
        let error = login(&at_once, &auth, &set()).await.expect_err("it fails");
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("log in by {method} at `auth/")),
            "{text}"
        );
        assert!(text.contains("answered 500"), "{text}");
        assert!(!text.contains("a-secret"), "{text}");
        assert_eq!(vault.received().len(), requests, "{method}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_every_login_s_name() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", free.local_addr().expect("bound"));
    drop(free);
    for (method, auth, _) in LOGINS {
        let (server, auth) = environment(&address, auth);
        let at_once = client(&server).pausing_with(Box::new(|_| Box::pin(std::future::ready(()))));
        let error = login(&at_once, &auth, &set())
            .await
            .expect_err("nobody is there");
        assert_eq!(error.kind(), "vault_unreachable", "{error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("log in by {method} at `auth/")),
            "{error}"
        );
    }
}
