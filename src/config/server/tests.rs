//! What each setting of Vault becomes, by its key and by its variable.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::{RateLimit, Server};
use crate::config::login_variables;
use crate::config::refusals::shown;
use crate::config::tests::parse_with;

/// Variables, the key that says the same, and the server that both give.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, Server);

/// The server of `{a: {targets: {dev: none}}}` under these variables, with an address.
fn server_of(vault: &str, variables: &[(&str, &str)]) -> Server {
    let text = format!(
        "version: 1\nvault: {{{vault}}}\nenvironments: {{a: {{targets: {{dev: none}}}}}}\n"
    );
    let mut all = vec![("VAULT_ADDR", "https://v.example.com")];
    all.extend_from_slice(variables);
    let config = parse_with(&text, &all).expect("a good dbt-lease.yml");
    config.environments[0].server.clone().expect("a server")
}

#[test]
fn each_variable_of_vaults_sets_what_its_key_sets() {
    let plain = server_of("", &[]);
    assert_eq!(plain, Server::at("https://v.example.com".to_owned()));
    let cases: [Case<'_>; 9] = [
        (
            &[
                ("VAULT_PROXY_ADDR", "http://p:1"),
                ("BAO_HTTP_PROXY", "http://q:2"),
            ],
            "http_proxy: 'http://p:1'",
            plain.clone(),
        ),
        (
            &[("VAULT_RATE_LIMIT", "4")],
            "rate_limit: 4",
            Server {
                rate_limit: Some(RateLimit {
                    interval: Duration::from_millis(250),
                    burst: 4,
                }),
                ..plain.clone()
            },
        ),
        (
            &[("BAO_RATE_LIMIT", "0.5:3")],
            "rate_limit: '0.5:3'",
            Server {
                rate_limit: Some(RateLimit {
                    interval: Duration::from_secs(2),
                    burst: 3,
                }),
                ..plain.clone()
            },
        ),
        (
            &[("VAULT_SRV_LOOKUP", "1")],
            "srv_lookup: true",
            Server {
                srv_lookup: true,
                ..plain.clone()
            },
        ),
        (
            &[("VAULT_DISABLE_REDIRECTS", "true")],
            "disable_redirects: true",
            Server {
                disable_redirects: true,
                ..plain.clone()
            },
        ),
        (
            &[("VAULT_CACERT", "/ca.pem")],
            "ca_cert: /ca.pem",
            Server {
                ca_cert: Some("/ca.pem".into()),
                ..plain.clone()
            },
        ),
        (
            &[("VAULT_CLIENT_CERT", "/c"), ("BAO_CLIENT_KEY", "/k")],
            "client_cert: /c, client_key: /k",
            Server {
                client_cert: Some("/c".into()),
                client_key: Some("/k".into()),
                ..plain.clone()
            },
        ),
        (
            &[("VAULT_NAMESPACE", "/team/a/")],
            "namespace: team/a",
            Server {
                namespace: Some("team/a".to_owned()),
                ..plain.clone()
            },
        ),
        (
            &[("BAO_TLS_SERVER_NAME", "vault")],
            "tls_server_name: vault",
            Server {
                tls_server_name: Some("vault".to_owned()),
                ..plain.clone()
            },
        ),
    ];
    for (variables, key, expected) in cases {
        let (by_variable, by_key) = (server_of("", variables), server_of(key, &[]));
        if key.starts_with("http_proxy") {
            let proxy = by_variable.proxies.of("http://127.0.0.1").expect("for all");
            assert_eq!(
                (proxy.url.expose(), proxy.said.as_str()),
                ("http://p:1", "VAULT_PROXY_ADDR")
            );
            let proxy = by_key.proxies.of("https://v").expect("for all");
            assert_eq!(
                (proxy.url.expose(), proxy.said.as_str()),
                ("http://p:1", "http_proxy")
            );
        } else {
            assert_eq!(
                (&by_variable, &by_key),
                (&expected, &expected),
                "{variables:?}"
            );
        }
    }
    let pem = server_of(
        "",
        &[
            ("VAULT_CACERT_BYTES", "PEM"),
            ("BAO_CLIENT_CERT_BYTES", "CERT"),
            ("BAO_CLIENT_KEY_BYTES", "KEY"),
            ("VAULT_HEADERS", r#"{"X-Team": "data"}"#),
            ("BAO_WRAP_TTL", "60s"),
        ],
    );
    assert_eq!(pem.ca_pem.as_deref(), Some("PEM"));
    assert_eq!(pem.client_pem.expect("a pair").key.expose(), "KEY");
    assert_eq!(pem.headers[0].name, "x-team");
    assert_eq!(pem.headers[0].value.expose(), "data");
    assert_eq!(pem.wrap_ttl, None, "it is for what people ask by hand");
}

#[test]
fn several_addresses_come_in_order_and_a_proxy_may_be_switched_off() {
    let server = server_of(
        "address: [HTTPS://A/, 'unix:///run/b'], http_proxy: none, start_jitter: 20s, wrap_ttl: 1m",
        &[
            ("HTTPS_PROXY", "http://p"),
            ("VAULT_HTTP_PROXY", "http://q"),
        ],
    );
    assert_eq!(
        server.addresses().collect::<Vec<_>>(),
        ["https://a", "unix:///run/b"]
    );
    assert_eq!(server.proxies.of("https://a"), None);
    assert_eq!(server.start_jitter, Duration::from_secs(20));
    assert_eq!(server.wrap_ttl, Some(Duration::from_secs(60)));
    let ambient = server_of("", &[("https_proxy", "p:1")]);
    let proxy = ambient
        .proxies
        .of("https://v.example.com")
        .expect("a proxy");
    assert_eq!(
        (proxy.shown().as_str(), proxy.said.as_str()),
        ("http://p:1", "https_proxy")
    );
}

#[test]
fn headers_come_from_variables_and_the_nearer_layer_wins() {
    let text = "version: 1\nvault: {headers: {X-Team: data, X-Id: {env: ID}}}\nenvironments:\n  a: {headers: {x-team: shop}, targets: {dev: none}}\n  b: {headers: {x-gone: {env: GONE}}, targets: {dev2: none}}\n";
    let variables = [("VAULT_ADDR", "https://v"), ("ID", "hunter2")];
    let config = parse_with(text, &variables).expect("a good dbt-lease.yml");
    let headers = |at: usize| -> Vec<String> {
        let server = config.environments[at].server.as_ref().expect("a server");
        let headers = server.headers.iter();
        headers
            .map(|header| format!("{}={}", header.name, header.value.expose()))
            .collect()
    };
    assert_eq!(headers(0), ["x-team=shop", "x-id=hunter2"]);
    assert_eq!(headers(1), ["x-gone=", "x-team=data", "x-id=hunter2"]);
    assert_eq!(
        config.environments[0].says,
        [
            ("headers", "x-team: shop".to_owned()),
            ("headers", "x-id: from the variable ID".to_owned())
        ]
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    let kept = login_variables(&config, &variables.into_iter().collect());
    assert!(kept.contains("ID") && kept.contains("GONE") && kept.contains("VAULT_HEADERS"));
}

#[test]
fn environments_that_share_one_of_several_addresses_share_the_server() {
    let text = "version: 1\nenvironments:\n  a:\n    address: ['https://one', 'https://two']\n    auth: {method: approle, role_id: x, secret_id_env: A}\n    targets: {dev: database/creds/x}\n  b:\n    address: ['https://three', 'https://two:443']\n    auth: {method: approle, role_id: y, secret_id_env: B}\n    targets: {prod: database/creds/x}\n";
    let error = parse_with(text, &[]).expect_err("one path of one server");
    assert!(
        shown(&error).contains("the secret's path `database/creds/x`"),
        "{}",
        shown(&error)
    );
    parse_with(&text.replace("two:443", "four"), &[]).expect("two servers");
}
