//! Tests against stubs: several addresses, redirects, proxies, and what else lies between us and a node.
#![forbid(unsafe_code)]

use std::net::TcpListener;
use std::time::Duration;

use super::error::VaultError;
use super::secret::read;
use super::srv;
use super::stub::Step::{self, Answer, Close};
use super::stub::{Stub, client, credentials, json, refusal, token, warehouse};
use crate::config::{Config, RateLimit, Server};

/// The server at these addresses.
fn at(addresses: &[String]) -> Server {
    Server {
        more_addresses: addresses[1..].to_vec(),
        timeout: Duration::from_secs(5),
        max_retries: 0,
        ..Server::at(addresses[0].clone())
    }
}

fn address(stub: &Stub) -> String {
    format!("http://{}", stub.address)
}

/// An address where nobody listens.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// The server that dbt-lease.yml and these variables say.
fn configured(vault: &str, variables: &[(&str, &str)]) -> Server {
    let text = format!(
        "version: 1\nvault: {{{vault}}}\nenvironments: {{a: {{targets: {{dev: none}}}}}}\n"
    );
    let config = Config::parse(
        std::path::Path::new("/p/dbt-lease.yml"),
        &text,
        &variables.iter().copied().collect(),
    )
    .expect("a good dbt-lease.yml");
    Server {
        timeout: Duration::from_secs(5),
        max_retries: 0,
        ..config.environments[0].server.clone().expect("an address")
    }
}

async fn ask(client: &super::client::Client) -> Result<(), VaultError> {
    read(client, &token(false), &warehouse()).await.map(drop)
}

#[tokio::test]
async fn the_next_address_is_asked_at_once_and_stays_the_one() {
    for (code, words) in [
        (503, "Vault is sealed"),
        (503, "Vault is in standby mode"),
        (
            500,
            "local node not active but active cluster node not found",
        ),
        (472, "path disabled in replication DR secondary mode"),
        (473, ""),
    ] {
        let first = Stub::start([Answer(refusal(code, words))]);
        let second = Stub::start([Answer(credentials()), Answer(credentials())]);
        let (client, pauses) = client(&at(&[nobody(), address(&first), address(&second)]));
        ask(&client).await.expect("the last one answers");
        ask(&client).await.expect("and is asked first now");
        assert_eq!(
            (first.requests().len(), second.requests().len()),
            (1, 2),
            "{words}"
        );
        assert!(pauses.borrow().is_empty());
    }
}

#[tokio::test]
async fn an_answer_that_may_have_done_something_is_not_asked_for_elsewhere() {
    for step in [
        Close,
        Answer(refusal(500, "failed to create user")),
        Answer(refusal(502, "bad gateway")),
        Answer(refusal(403, "permission denied")),
        Answer(refusal(429, "rate limit quota exceeded")),
    ] {
        let first = Stub::start([step]);
        let second = Stub::start([]);
        let (client, _) = client(&at(&[address(&first), address(&second)]));
        ask(&client).await.expect_err("the first one's word");
        assert_eq!((first.requests().len(), second.requests().len()), (1, 0));
    }
}

#[tokio::test]
async fn where_none_answers_each_is_named_and_asked_as_often_as_retries_allow() {
    let standby = || Answer(refusal(503, "Vault is in standby mode"));
    let stub = Stub::start([standby(), standby(), standby()]);
    let nobody = nobody();
    let server = Server {
        max_retries: 2,
        ..at(&[nobody.clone(), address(&stub)])
    };
    let (client, pauses) = client(&server);
    let error = ask(&client).await.expect_err("nobody leads");
    assert_eq!((stub.requests().len(), pauses.borrow().len()), (3, 2));
    let text = error.to_string();
    let expected = format!(
        "read secret `warehouse`: GET {}/v1/database/creds/dbt-prod answered 503 (tried 6 times): Vault is in standby mode; before that {nobody}: no connection: ",
        address(&stub)
    );
    assert!(text.starts_with(&expected), "{text}");
}

#[tokio::test]
async fn a_secondary_alone_is_not_asked_twice() {
    let stub = Stub::start([Answer(refusal(472, "DR secondary"))]);
    let (client, _) = client(&Server {
        max_retries: 2,
        ..at(&[address(&stub)])
    });
    let error = ask(&client).await.expect_err("a secondary");
    assert_eq!(stub.requests().len(), 1);
    assert_eq!(
        error.hint().as_deref(),
        Some(
            "this node is a secondary or a standby: set `vault.address` to the primary, or list its nodes"
        )
    );
}

fn redirect(to: &str) -> Step {
    let location = format!("Location: {to}/v1/database/creds/dbt-prod\r\n");
    Answer(json(307, &location, ""))
}

#[tokio::test]
async fn a_redirect_to_a_listed_address_is_followed_and_stays_the_way() {
    let active = Stub::start([Answer(credentials()), Answer(credentials())]);
    let standby = Stub::start([redirect(&address(&active))]);
    let (client, _) = client(&at(&[address(&standby), address(&active)]));
    ask(&client).await.expect("the active node answers");
    ask(&client).await.expect("and is asked first now");
    assert_eq!((standby.requests().len(), active.requests().len()), (1, 2));
}

#[tokio::test]
async fn a_redirect_to_a_host_that_nobody_listed_or_against_the_users_word_is_not_followed() {
    let other = Stub::start([]);
    let standby = Stub::start([redirect(&address(&other))]);
    let (plain, _) = client(&at(&[address(&standby)]));
    let error = ask(&plain).await.expect_err("not listed");
    assert!(
        error
            .to_string()
            .ends_with("which is not followed: without TLS nobody has proven to be Vault"),
        "{error}"
    );
    let standby = Stub::start([redirect(&address(&other))]);
    let (unwilling, _) = client(&Server {
        disable_redirects: true,
        ..at(&[address(&standby), address(&other)])
    });
    let error = ask(&unwilling).await.expect_err("no redirects");
    assert!(
        error
            .to_string()
            .ends_with("which is not followed: `disable_redirects` is set"),
        "{error}"
    );
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_standby_that_lags_behind_is_told_what_we_know_and_asked_again() {
    let stub = Stub::start([
        Answer(json(
            200,
            "X-Vault-Index: djE6YQ==\r\n",
            r#"{"data":{"a":"b"}}"#,
        )),
        Answer(refusal(412, "required index state not present")),
        Answer(credentials()),
    ]);
    let (client, pauses) = client(&Server {
        max_retries: 1,
        ..at(&[address(&stub)])
    });
    ask(&client).await.expect("an answer");
    ask(&client).await.expect("an answer once it has caught up");
    let told: Vec<bool> = stub
        .requests()
        .iter()
        .map(|request| request.contains("x-vault-index: djE6YQ==\r\n"))
        .collect();
    assert_eq!(told, [false, true, true]);
    assert_eq!(pauses.borrow().len(), 1);
}

#[tokio::test]
async fn headers_go_with_every_request_and_a_missing_one_is_named() {
    let stub = Stub::start([Answer(credentials())]);
    let vault = format!(
        "address: '{}', headers: {{X-Team: data, CF-Access-Client-Secret: {{env: CF_SECRET}}}}",
        address(&stub)
    );
    let (client, _) = client(&configured(
        &vault,
        &[
            ("CF_SECRET", "hunter2"),
            ("VAULT_HEADERS", r#"{"X-More":"1"}"#),
        ],
    ));
    ask(&client).await.expect("an answer");
    let request = &stub.requests()[0];
    for header in [
        "x-team: data",
        "cf-access-client-secret: hunter2",
        "x-more: 1",
    ] {
        assert!(request.contains(&format!("{header}\r\n")), "{request}");
    }
    let error = super::client::Client::new(&configured(&vault, &[]), "session-1")
        .expect_err("it is not set");
    assert_eq!(
        error.to_string(),
        "use headers `cf-access-client-secret`: the variable CF_SECRET is not set"
    );
}

#[tokio::test]
async fn requests_keep_to_the_rate_and_starts_are_spread() {
    let stub = Stub::start([
        Answer(credentials()),
        Answer(credentials()),
        Answer(credentials()),
    ]);
    let (client, pauses) = client(&Server {
        rate_limit: Some(RateLimit {
            interval: Duration::from_secs(3),
            burst: 2,
        }),
        ..at(&[address(&stub)])
    });
    for _ in 0..3 {
        ask(&client).await.expect("an answer");
    }
    let waited: Vec<u64> = pauses
        .borrow()
        .iter()
        .map(|wait| wait.as_millis() as u64)
        .collect();
    assert!(
        waited.len() == 1 && (2500..=3000).contains(&waited[0]),
        "{waited:?}"
    );
    pauses.borrow_mut().clear();
    for _ in 0..20 {
        client.stagger(Duration::from_secs(20)).await;
    }
    client.stagger(Duration::ZERO).await;
    let waited = pauses.borrow();
    assert_eq!(waited.len(), 20);
    assert!(waited.iter().all(|wait| *wait <= Duration::from_secs(20)));
    let first = waited[0];
    assert!(waited.iter().any(|wait| *wait != first), "{waited:?}");
}

#[tokio::test]
async fn dns_names_the_nodes_of_an_address_without_a_port() {
    let stub = Stub::start([Answer(credentials()), Answer(credentials())]);
    let records = Box::leak(Box::new([
        (
            1,
            0,
            nobody()
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok())
                .expect("a port"),
            "localhost",
        ),
        (2, 0, stub.address.port(), "localhost"),
    ]));
    let name_server = srv::tests::server(records).await;
    let server = Server {
        srv_lookup: true,
        ..at(&["http://vault.service.consul".to_owned()])
    };
    let client = client(&server).0.asking(vec![name_server]);
    ask(&client).await.expect("the second node answers");
    ask(&client).await.expect("and is asked first now");
    assert_eq!(stub.requests().len(), 2);
    // An address that names its port is not looked up, nor one that is a number.
    for plain in ["http://vault.service.consul:1", "http://127.0.0.1"] {
        let server = Server {
            srv_lookup: true,
            timeout: Duration::from_millis(500),
            ..at(&[plain.to_owned()])
        };
        let client = super::stub::client(&server).0.asking(vec![name_server]);
        ask(&client).await.expect_err("nobody is there");
    }
    assert_eq!(stub.requests().len(), 2);
}

#[tokio::test]
async fn a_proxy_is_asked_for_what_lies_behind_it_and_named_where_it_does_not_lead_there() {
    let proxy = Stub::start([Answer(credentials())]);
    let url = address(&proxy);
    let behind = configured(
        "address: 'http://vault.example:8200'",
        &[("http_proxy", &url)],
    );
    let (client, _) = client(&behind);
    ask(&client).await.expect("the proxy answers in its name");
    let request = &proxy.requests()[0];
    assert!(
        request
            .starts_with("GET http://vault.example:8200/v1/database/creds/dbt-prod HTTP/1.1\r\n"),
        "{request}"
    );

    let closed = Stub::start([Answer(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
    )]);
    let with_password = format!("http://me:hunter2@{}", closed.address);
    let behind = configured(
        "address: 'https://vault.example:8200'",
        &[("HTTPS_PROXY", &with_password)],
    );
    let (client, _) = super::stub::client(&behind);
    let error = ask(&client).await.expect_err("it may not");
    let request = &closed.requests()[0].to_ascii_lowercase();
    assert!(
        request.starts_with("connect vault.example:8200 http/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("proxy-authorization: basic bwu6ahvudgvymg==\r\n"),
        "{request}"
    );
    assert!(!request.contains("token"), "{request}");
    let (text, hint) = (error.to_string(), error.hint().unwrap_or_default());
    let shown = format!("http://…@{}", closed.address);
    assert!(
        text.ends_with(&format!("(through the proxy {shown}, by HTTPS_PROXY)")),
        "{text}"
    );
    assert!(
        hint.contains("NO_PROXY, or `http_proxy: none`, goes around it"),
        "{hint}"
    );
    assert!(!format!("{text}{hint}").contains("hunter2"));
}

#[tokio::test]
async fn a_proxy_does_not_go_with_names_that_only_verify() {
    let proxy = [
        ("BAO_PROXY_ADDR", "http://proxy.example:3128"),
        ("VAULT_ADDR", "https://10.0.0.5:8200"),
    ];
    for (vault, text) in [
        (
            "tls_server_name: vault.example",
            "use tls_server_name `vault.example`: it does not go with a proxy (BAO_PROXY_ADDR: http://proxy.example:3128); `http_proxy: none`, or NO_PROXY, goes around that",
        ),
        (
            "address: 'https://vault.example', srv_lookup: true",
            "use srv_lookup `https://vault.example`: it does not go with a proxy (BAO_PROXY_ADDR: http://proxy.example:3128); `http_proxy: none`, or NO_PROXY, goes around that",
        ),
        (
            "http_proxy: 'socks5://p:1'",
            "use http_proxy `socks5://p:1`: a proxy begins with `http://` or `https://` (http_proxy)",
        ),
    ] {
        let error =
            super::client::Client::new(&configured(vault, &proxy), "session-1").expect_err(text);
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn a_wrapped_answer_that_was_exchanged_or_is_none_is_refused() {
    let wrapped = || {
        Answer(json(
            200,
            "",
            r#"{"wrap_info":{"token":"hvs.wrapping","ttl":60,"creation_path":"database/creds/dbt-prod"}}"#,
        ))
    };
    let made_at = |path: &str| {
        Answer(json(
            200,
            "",
            &format!(r#"{{"data":{{"creation_path":"{path}"}}}}"#),
        ))
    };
    let server = |stub: &Stub| Server {
        wrap_ttl: Some(Duration::from_secs(60)),
        ..at(&[address(stub)])
    };
    for (steps, said) in [
        (
            vec![wrapped(), made_at("sys/wrapping/wrap")],
            "its wrapped answer: it was made at `sys/wrapping/wrap`, not at `database/creds/dbt-prod`",
        ),
        (
            vec![
                wrapped(),
                Answer(refusal(
                    400,
                    "wrapping token is not valid or does not exist",
                )),
            ],
            "its wrapped answer: Vault does not know its wrapping token",
        ),
        (
            vec![
                wrapped(),
                made_at("database/creds/dbt-prod"),
                Answer(refusal(
                    400,
                    "wrapping token is not valid or does not exist",
                )),
            ],
            "its wrapped answer: Vault does not know its wrapping token",
        ),
        (
            vec![Answer(credentials())],
            "it is not wrapped, though that was asked for",
        ),
    ] {
        let count = steps.len();
        let stub = Stub::start(steps);
        let (client, _) = client(&server(&stub));
        let error = ask(&client).await.expect_err(said);
        assert!(error.to_string().contains(said), "{error}");
        assert!(!error.to_string().contains("hvs.wrapping"), "{error}");
        assert_eq!(stub.requests().len(), count);
    }
    let stub = Stub::start([
        wrapped(),
        made_at("database/creds/dbt-prod"),
        Answer(credentials()),
    ]);
    let (client, _) = client(&server(&stub));
    ask(&client).await.expect("unwrapped");
    let requests = stub.requests();
    assert!(requests[0].contains("x-vault-wrap-ttl: 60\r\n"));
    assert!(
        !requests[1].contains("x-vault-token"),
        "a lookup needs none"
    );
    assert!(requests[2].contains("x-vault-token: hvs.wrapping\r\n"));
}

#[tokio::test]
async fn a_quota_of_leases_is_told_from_one_of_requests() {
    let stub = Stub::start([Answer(refusal(
        429,
        "request path \"database/creds/dbt-prod\": lease count quota exceeded",
    ))]);
    let (client, _) = client(&at(&[address(&stub)]));
    let error = ask(&client).await.expect_err("full");
    assert!(
        error
            .hint()
            .unwrap_or_default()
            .contains("as many leases as its quota allows")
    );
    assert_eq!(error.kind(), "vault_rate_limited");
}

#[tokio::test]
async fn a_standby_that_points_to_a_dead_leader_is_asked_again_when_there_may_be_another() {
    let dead = nobody();
    let leader = Stub::start([Answer(credentials())]);
    let leads = address(&leader);
    let standby = Stub::start([redirect(&dead), redirect(&dead), redirect(&leads)]);
    let server = Server {
        max_retries: 1,
        ..at(&[dead.clone(), address(&standby), leads])
    };
    let (client, pauses) = client(&server);
    ask(&client).await.expect("the new leader answers");
    // Dead, standby (which points to it: not gone twice), then the third, which leads already.
    assert_eq!((standby.requests().len(), leader.requests().len()), (1, 1));
    assert!(pauses.borrow().is_empty());

    let standby = Stub::start([redirect(&dead), redirect(&dead)]);
    let server = Server {
        max_retries: 1,
        ..at(&[dead, address(&standby)])
    };
    let (client, pauses) = super::stub::client(&server);
    let error = ask(&client).await.expect_err("nobody leads");
    assert!(
        error
            .to_string()
            .ends_with("which is not followed: what it names does not answer"),
        "{error}"
    );
    assert_eq!((standby.requests().len(), pauses.borrow().len()), (2, 1));
}

#[tokio::test]
async fn a_token_whose_end_was_not_answered_is_gone_where_it_may_no_more_what_it_could() {
    use super::take_back::{TokenEnd, take_back};
    let denied = || Answer(refusal(403, "permission denied"));
    for (last, proven) in [(denied(), true), (Answer(super::stub::no_content()), false)] {
        let done = Answer(super::stub::no_content());
        let stub = Stub::start([Answer(credentials()), done, Close, denied(), last]);
        let (client, _) = client(&at(&[address(&stub)]));
        let own = token(true);
        let lent = read(&client, &own, &warehouse()).await.expect("an answer");
        let lease = lent.lease.expect("a lease");
        let back = take_back(&client, &own, vec![lease], Duration::from_secs(10)).await;
        assert_eq!(back.token == TokenEnd::Revoked, proven, "{:?}", back.token);
        assert_eq!(stub.requests().len(), 5);
    }
}
