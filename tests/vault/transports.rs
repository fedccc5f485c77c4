//! The ways to a server: https with every kind of certificate, unix sockets, namespaces, sealed servers.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use dbt_lease::config::{ClientPem, Server};
use dbt_lease::secret::Secret;
use dbt_lease::vault::auth::login;
use dbt_lease::vault::error::VaultError;
use dbt_lease::vault::secret::read;
use dbt_lease::vault::take_back::take_back;
use dbt_lease_sandbox::World;
use dbt_lease_sandbox::line::{Fate, Line, Message};
use dbt_lease_sandbox::openbao::{ClientCertificates, OpenBao};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{approle, asked, client, hint, no_variables, production, reading, server, text};

async fn try_login(world: &World, server: &Server) -> Result<(), VaultError> {
    login(
        &client(server),
        &approle(world.production()),
        &no_variables(),
    )
    .await
    .map(drop)
}

#[tokio::test]
async fn https_needs_an_authority_that_is_trusted_and_the_right_name() {
    let world = World::on(OpenBao::tls());
    let tls = server(world.bao().tls_address());
    let certificates = world.bao().certificates();
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::copy(&certificates.ca, directory.path().join("ours.pem")).expect("it can be copied");
    std::fs::write(directory.path().join("README"), "not a certificate")
        .expect("it can be written");
    let trusting = Server {
        ca_cert: Some(certificates.ca.clone()),
        ..tls.clone()
    };
    let by_number = world.bao().tls_address().replace("localhost", "127.0.0.1");

    try_login(&world, &trusting)
        .await
        .expect("its authority is trusted");
    try_login(
        &world,
        &Server {
            ca_path: Some(directory.path().to_owned()),
            ..tls.clone()
        },
    )
    .await
    .expect("by directory");
    try_login(
        &world,
        &Server {
            skip_verify: true,
            ..tls.clone()
        },
    )
    .await
    .expect("unverified");
    try_login(
        &world,
        &Server {
            address: by_number.clone(),
            tls_server_name: Some("localhost".to_owned()),
            ..trusting.clone()
        },
    )
    .await
    .expect("by another name");

    for (server, said, cure) in [
        (
            tls.clone(),
            "the server's certificate stems from no authority that is trusted here",
            "set `vault.ca_cert` (or BAO_CACERT, VAULT_CACERT) to the PEM file of the authority that signed it",
        ),
        (
            Server {
                tls_server_name: Some("other.example".to_owned()),
                ..trusting.clone()
            },
            "the server's certificate is another host's: ",
            "use the host that the certificate names in `vault.address`, or set `vault.tls_server_name` to it",
        ),
        (
            Server {
                address: world.bao().address().replace("http://", "https://"),
                ..trusting.clone()
            },
            "what answers there does not speak TLS",
            "the server speaks http there: check scheme and port of `vault.address`",
        ),
    ] {
        let error = try_login(&world, &server).await.expect_err(said);
        let shown = text(&error, &server.address);
        let expected = format!(
            "log in by approle at `auth/approle`: POST ADDRESS/v1/auth/approle/login: no TLS connection: {said}"
        );
        assert!(shown.starts_with(&expected), "{shown}");
        assert_eq!(hint(&error), cure);
        assert_eq!(error.kind(), "vault_tls");
    }
    let plain = server(world.bao().tls_address().replace("https://", "http://"));
    let error = try_login(&world, &plain)
        .await
        .expect_err("http spoken to https");
    assert_eq!(
        text(&error, &plain.address),
        "log in by approle at `auth/approle`: POST ADDRESS/v1/auth/approle/login answered 400, not in Vault's form: Client sent an \
         HTTP request to an HTTPS server."
    );
    assert_eq!(
        hint(&error),
        "the server speaks https: write `https://` in `vault.address`"
    );
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_it_or_it_is_said() {
    let world = World::on(OpenBao::options().tls(ClientCertificates::Required).start());
    let certificates = world.bao().certificates();
    let without = Server {
        ca_cert: Some(certificates.ca.clone()),
        ..server(world.bao().tls_address())
    };
    let with = Server {
        client_cert: Some(certificates.client.clone()),
        client_key: Some(certificates.client_key.clone()),
        ..without.clone()
    };
    try_login(&world, &with)
        .await
        .expect("it has the certificate");

    let error = try_login(&world, &without).await.expect_err("it has none");
    assert!(
        error
            .to_string()
            .contains("the server refuses our client certificate, or wants one: "),
        "{error}"
    );
    assert_eq!(
        hint(&error),
        "set `vault.client_cert` and `vault.client_key` to a pair that the server trusts"
    );

    let swapped = Server {
        client_key: Some(certificates.client.clone()),
        ..with.clone()
    };
    let error =
        dbt_lease::vault::client::Client::new(&swapped, "test-session").expect_err("no key");
    assert_eq!(
        error.to_string(),
        format!(
            "use client_key `{}`: it holds no private key in PEM (an encrypted key cannot be used)",
            certificates.client.display()
        )
    );
    let foreign = Server {
        client_key: Some(certificates.server_key.clone()),
        ..with
    };
    let error =
        dbt_lease::vault::client::Client::new(&foreign, "test-session").expect_err("another's key");
    assert!(
        error.to_string().starts_with(&format!(
            "use client_cert `{}`: ",
            certificates.client.display()
        )),
        "{error}"
    );
}

#[tokio::test]
async fn a_unix_socket_is_an_address() {
    let world = World::on(OpenBao::options().unix().start());
    let unix = server(world.bao().unix_address());
    try_login(&world, &unix).await.expect("the socket answers");
    let client = client(&unix);
    let token = login(&client, &approle(world.production()), &no_variables())
        .await
        .expect("the socket answers");
    let error = read(&client, &token, &reading("kv/dbt/staging"))
        .await
        .expect_err("staging's");
    assert_eq!(
        text(&error, &unix.address),
        "read secret `warehouse`: GET ADDRESS/v1/kv/dbt/staging answered 403: permission denied"
    );
}

#[tokio::test]
async fn a_sealed_server_and_a_missing_namespace_are_named() {
    let world = World::start();
    let address = world.bao().address();
    let error = try_login(
        &world,
        &Server {
            namespace: Some("team".to_owned()),
            ..server(address.clone())
        },
    )
    .await
    .expect_err("no such namespace");
    assert_eq!(
        text(&error, &address),
        "log in by approle at `auth/approle`: POST ADDRESS/v1/auth/approle/login answered 404 in namespace `team`: namespace not found"
    );
    assert_eq!(hint(&error), "check `vault.namespace`: Vault has no `team`");

    world.bao().api("PUT", "sys/seal", None);
    let error = try_login(&world, &server(address.clone()))
        .await
        .expect_err("sealed");
    assert_eq!(
        text(&error, &address),
        "log in by approle at `auth/approle`: POST ADDRESS/v1/auth/approle/login answered 503: Vault is sealed"
    );
    assert_eq!(
        hint(&error),
        "Vault is sealed: an operator has to unseal it (`bao operator unseal`), then run again"
    );
    assert_eq!(error.kind(), "vault_sealed");
}

#[tokio::test]
async fn a_standbys_redirect_is_followed_once_where_it_proved_who_it_is() {
    let world = World::on(OpenBao::tls());
    let certificates = world.bao().certificates();
    let active = world.bao().tls_address();
    let trusting = |port: u16| Server {
        ca_cert: Some(certificates.ca.clone()),
        ..server(format!("https://localhost:{port}"))
    };
    let path = "/v1/auth/approle/login";
    let standby = redirecting(
        &certificates.server,
        &certificates.server_key,
        format!("{active}{path}"),
    );
    try_login(&world, &trusting(standby))
        .await
        .expect("the active node answers");
    assert_eq!(asked(&world), ["update auth/approle/login"]);

    let twice = redirecting(
        &certificates.server,
        &certificates.server_key,
        format!("https://localhost:{standby}{path}"),
    );
    let down = redirecting(
        &certificates.server,
        &certificates.server_key,
        format!("{}{path}", world.bao().address()),
    );
    for (server, why) in [
        (trusting(twice), "it is the second redirect"),
        (trusting(down), "it leads from https to http"),
        (
            Server {
                skip_verify: true,
                ..trusting(standby)
            },
            "the server's certificate was not verified",
        ),
    ] {
        let error = try_login(&world, &server).await.expect_err(why);
        assert!(
            error
                .to_string()
                .ends_with(&format!("which is not followed: {why}")),
            "{error}"
        );
        assert_eq!(error.kind(), "vault_redirect");
        assert!(
            hint(&error).contains("set `vault.address` to it"),
            "{}",
            hint(&error)
        );
    }
    assert_eq!(asked(&world).len(), 1);
}

#[tokio::test]
async fn certificates_by_value_are_as_good_as_files() {
    let world = World::on(OpenBao::options().tls(ClientCertificates::Required).start());
    let certificates = world.bao().certificates();
    let text = |path: &PathBuf| std::fs::read_to_string(path).expect("PEM");
    let by_value = Server {
        ca_pem: Some(text(&certificates.ca)),
        client_pem: Some(ClientPem {
            certificate: text(&certificates.client),
            key: Secret::new(text(&certificates.client_key)),
        }),
        ..server(world.bao().tls_address())
    };
    try_login(&world, &by_value).await.expect("both are there");
    for (server, said) in [
        (
            Server {
                ca_pem: Some("none".to_owned()),
                ..by_value.clone()
            },
            "use ca_cert `BAO_CACERT_BYTES, VAULT_CACERT_BYTES`: it holds no certificate in PEM",
        ),
        (
            Server {
                client_pem: Some(ClientPem {
                    certificate: text(&certificates.client),
                    key: Secret::new("hunter2".to_owned()),
                }),
                ..by_value
            },
            "use client_cert `BAO_CLIENT_CERT_BYTES, BAO_CLIENT_KEY_BYTES`: they hold no certificate with its private key in PEM",
        ),
    ] {
        let error = dbt_lease::vault::client::Client::new(&server, "test-session").expect_err(said);
        assert_eq!(error.to_string(), said);
    }
}

#[tokio::test]
async fn a_redirect_leads_to_no_host_that_is_not_listed() {
    let world = World::on(OpenBao::tls());
    let certificates = world.bao().certificates();
    let active = world.bao().tls_address().replace("localhost", "127.0.0.1");
    let standby = redirecting(
        &certificates.server,
        &certificates.server_key,
        format!("{active}/v1/auth/approle/login"),
    );
    let alone = Server {
        ca_cert: Some(certificates.ca.clone()),
        ..server(format!("https://localhost:{standby}"))
    };
    let error = try_login(&world, &alone).await.expect_err("another host");
    assert!(
        error
            .to_string()
            .ends_with("which is not followed: it leads to a host that is not listed"),
        "{error}"
    );
    assert!(asked(&world).is_empty());
    let listed = Server {
        more_addresses: vec![active],
        ..alone
    };
    try_login(&world, &listed).await.expect("it is listed");
    assert_eq!(asked(&world).len(), 1);
}

/// A stub of a standby node, which a single OpenBao cannot be: https, and each request is redirected there.
fn redirecting(certificate: &PathBuf, key: &PathBuf, location: String) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("ring knows them")
    .with_no_client_auth()
    .with_single_cert(chain, key)
    .expect("they fit");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let session = rustls::ServerConnection::new(Arc::clone(&config))
                .expect("the configuration is right");
            let mut stream = rustls::StreamOwned::new(session, stream);
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            // The body's last byte closes its JSON.
            while !request.ends_with(b"}") {
                match stream.read(&mut chunk) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => request.extend_from_slice(&chunk[..count]),
                }
            }
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    port
}

#[tokio::test]
async fn one_connection_in_a_hundred_that_is_reset_costs_one_request_in_four_hundred() {
    let world = World::start();
    let port = world
        .bao()
        .address()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok());
    let judge = |message: Message| {
        // The answer to the second request of its connection: a credential that nobody saw.
        if message.connection == 37 && message.turn == 36 * 4 + 2 && !message.asks {
            Fate::Reset
        } else {
            Fate::Carried
        }
    };
    let line = Line::to(port.expect("a port")).judge(judge).start();
    let reached = server(format!("http://127.0.0.1:{}", line.port()));
    for _ in 0..100 {
        let client = client(&reached);
        let token = production(&world, &client).await;
        let lent = read(&client, &token, &reading("database/creds/dbt-prod"))
            .await
            .expect("a credential");
        let leases = lent.lease.into_iter().collect();
        let back = take_back(&client, &token, leases, Duration::from_secs(30)).await;
        assert!(back.all_proven(), "{back:?}");
    }
    assert_eq!((line.connections(), line.turns()), (101, 401));
    world.assert_nothing_left();
}
