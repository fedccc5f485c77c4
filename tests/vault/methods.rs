//! userpass, cert, kubernetes, generic, command and second factors, on a real OpenBao. The Kubernetes API's TokenReview is a stub of its
//! documented shape; ldap, which OpenBao has not built in, is by contract: the request against a stub of Vault's own documentation.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use dbt_lease::config::{Auth, Config, Server};
use dbt_lease::secret::Secret;
use dbt_lease::variables::Variables;
use dbt_lease::vault::auth::{Person, PersonsAnswer, Surroundings, Token, login};
use dbt_lease::vault::error::VaultError;
use dbt_lease_sandbox::openbao::ClientCertificates;
use dbt_lease_sandbox::web::{Received, Reply, Web};
use dbt_lease_sandbox::{Issuer, OpenBao};
use serde_json::{Value, json};

use crate::{client, hint, no_variables, variables};

/// The login and server of an environment that says this, in a process with these variables.
fn environment(address: &str, more: &str, auth: &str, set: &Variables) -> (Server, Auth) {
    let text = format!(
        "version: 1\nenvironments:\n  production:\n    address: '{address}'\n{more}    auth: {auth}\n    targets: {{}}\n"
    );
    let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, set)
        .unwrap_or_else(|error| panic!("{error}"));
    let environment = &config.environments[0];
    let server = Server {
        max_retries: 0,
        ..environment.server.clone().expect("an address")
    };
    (server, environment.auth.clone().expect("a login"))
}

async fn log_in(address: &str, auth: &str, set: &Variables) -> Result<Token, VaultError> {
    let (server, auth) = environment(address, "", auth, set);
    login(&client(&server), &auth, set).await
}

/// A person who types these answers, and remembers what was asked.
#[derive(Default)]
struct Types {
    answers: RefCell<Vec<String>>,
    asked: RefCell<Vec<String>>,
}

impl Types {
    fn these(answers: &[&str]) -> Self {
        let answers = answers.iter().rev().map(|text| (*text).to_owned());
        Self {
            answers: RefCell::new(answers.collect()),
            asked: RefCell::default(),
        }
    }
}

impl Person for Types {
    fn ask<'a>(&'a self, question: &'a str) -> PersonsAnswer<'a> {
        self.asked.borrow_mut().push(question.to_owned());
        Box::pin(std::future::ready(
            self.answers.borrow_mut().pop().map(Secret::new),
        ))
    }

    fn is_there(&self) -> bool {
        true
    }

    fn open(&self, _: &str) {}

    fn tell(&self, text: &str) -> bool {
        self.asked.borrow_mut().push(text.to_owned());
        true
    }
}

/// Each of these logins fails with these words and this hint, in one request.
async fn refused(bao: &OpenBao, set: &Variables, cases: &[(&str, &str, &str)]) {
    for (auth, words, cure) in cases {
        let before = bao.requests().len();
        let error = log_in(&bao.address(), auth, set).await.expect_err(words);
        let text = error.to_string().replace(&bao.address(), "VAULT");
        assert!(text.ends_with(words), "{text}");
        assert_eq!(hint(&error), *cure, "{text}");
        assert_eq!(bao.requests().len() - before, 1, "{text}");
    }
}

fn with_alice() -> OpenBao {
    let bao = OpenBao::start();
    bao.api("POST", "sys/auth/userpass", json!({"type": "userpass"}));
    bao.api(
        "POST",
        "auth/userpass/users/alice",
        json!({"password": "pass-of-alice", "token_policies": ["default"]}),
    );
    bao
}

#[tokio::test]
async fn userpass_reads_name_and_password_or_asks_for_it() {
    let bao = with_alice();
    let file = bao.directory().join("password");
    std::fs::write(&file, "pass-of-alice\n").expect("written");
    let set = variables([
        ("P", "pass-of-alice"),
        ("USER", "alice"),
        ("PATH", "/usr/bin:/bin"),
    ]);
    for auth in [
        "{method: userpass, username: alice, password: {env: P}}".to_owned(),
        "{method: userpass, username: {env: USER}, password: {env: P}}".to_owned(),
        format!(
            "{{method: userpass, username: Alice, password: {{file: '{}'}}}}",
            file.display()
        ),
        "{method: userpass, username: alice, password: {command: [printenv, P]}}".to_owned(),
    ] {
        let token = log_in(&bao.address(), &auth, &set).await.expect(&auth);
        assert_eq!(
            token.identity,
            [("username".to_owned(), "alice".to_owned())]
        );
    }

    let (server, auth) = environment(
        &bao.address(),
        "",
        "{method: userpass, username: alice}",
        &set,
    );
    let person = Types::these(&["pass-of-alice"]);
    let around = Surroundings {
        variables: &set,
        person: &person,
    };
    login(&client(&server), &auth, around).await.expect("typed");
    assert_eq!(
        *person.asked.borrow(),
        ["password of alice at auth/userpass"]
    );

    let before = bao.requests().len();
    let error = login(&client(&server), &auth, &set)
        .await
        .expect_err("nobody types");
    assert_eq!(
        error.to_string(),
        "log in by userpass at `auth/userpass`: the password needs a person, and nobody answered"
    );
    let odd = variables([("USER", "alice/../bob"), ("P", "x")]);
    let error = log_in(
        &bao.address(),
        "{method: userpass, username: {env: USER}, password: {env: P}}",
        &odd,
    )
    .await
    .expect_err("not a name");
    assert!(
        error
            .to_string()
            .starts_with("read the user's name from the variable USER: it is not a name"),
        "{error}"
    );
    assert_eq!(bao.requests().len(), before);
}

#[tokio::test]
async fn a_wrong_password_an_unknown_user_and_a_missing_mount_are_told() {
    let bao = with_alice();
    let wrong = "the name or the password is wrong, or the account is locked for a while (Vault does not say which)";
    refused(
        &bao,
        &variables([("P", "wrong-password")]),
        &[
            (
                "{method: userpass, username: alice, password: {env: P}}",
                "log in by userpass at `auth/userpass`: POST VAULT/v1/auth/userpass/login/alice answered 400: invalid username or password",
                wrong,
            ),
            (
                "{method: userpass, username: nobody, password: {env: P}}",
                "answered 400: invalid username or password",
                wrong,
            ),
            (
                "{method: userpass, mount: people, username: alice, password: {env: P}}",
                "log in by userpass at `auth/people`: POST VAULT/v1/auth/people/login/alice answered 403: permission denied",
                "is userpass enabled at `auth/people`? (`bao auth list`); else set `mount:` or `namespace:`. The same answer means that Vault has locked this \
                 login for some minutes after wrong ones: `bao read sys/locked-users`",
            ),
        ],
    )
    .await;
}

/// Contract: Vault's documentation of `POST /auth/ldap/login/:username {password}`; the login's answer is userpass's.
#[tokio::test]
async fn ldap_sends_name_and_password_as_vault_documents_it() {
    let vault = Web::start(|_| {
        Reply::json(&json!({"auth": {
            "client_token": "hvs.x", "policies": ["default"], "lease_duration": 60, "renewable": true,
        }}))
    });
    let set = variables([("P", "pass \"word")]);
    let auth = "{method: ldap, username: alice@example.com, password: {env: P}}";
    log_in(&vault.address(), auth, &set)
        .await
        .expect("logged in");
    let received = vault.received();
    assert_eq!(received.len(), 1);
    assert_eq!(
        (received[0].method.as_str(), received[0].path.as_str()),
        ("POST", "/v1/auth/ldap/login/alice@example.com")
    );
    assert_eq!(received[0].body, r#"{"password":"pass \"word"}"#);
}

#[tokio::test]
async fn cert_shows_the_client_certificate_of_the_connection() {
    let bao = OpenBao::options().tls(ClientCertificates::Accepted).start();
    let certificates = bao.certificates();
    bao.api("POST", "sys/auth/cert", json!({"type": "cert"}));
    bao.api(
        "POST",
        "auth/cert/certs/dbt",
        json!({
            "certificate": std::fs::read_to_string(&certificates.ca).expect("a CA"),
            "allowed_common_names": ["dbt-lease"],
            "token_policies": ["default"],
        }),
    );
    bao.api(
        "POST",
        "auth/cert/certs/other",
        json!({
            "certificate": std::fs::read_to_string(&certificates.ca).expect("a CA"),
            "allowed_common_names": ["somebody-else"],
            "token_policies": ["default"],
        }),
    );
    let ca = format!("    ca_cert: '{}'\n", certificates.ca.display());
    let pair = format!(
        "{ca}    client_cert: '{}'\n    client_key: '{}'\n",
        certificates.client.display(),
        certificates.client_key.display()
    );
    for auth in ["{method: cert}", "{method: cert, name: dbt}"] {
        let (server, auth) = environment(&bao.tls_address(), &pair, auth, &no_variables());
        let token = login(&client(&server), &auth, &no_variables())
            .await
            .expect("the certificate is right");
        assert!(token.own);
        assert!(
            token
                .identity
                .contains(&("cert_name".to_owned(), "dbt".to_owned())),
            "{:?}",
            token.identity
        );
    }
    // Both by value, as a CI's secrets are given.
    let read = |file: &Path| std::fs::read_to_string(file).expect("PEM");
    let (certificate, key) = (read(&certificates.client), read(&certificates.client_key));
    let by_value = variables([
        ("BAO_CLIENT_CERT_BYTES", certificate.as_str()),
        ("BAO_CLIENT_KEY_BYTES", &key),
    ]);
    let (server, auth) = environment(
        &bao.tls_address(),
        &ca,
        "{method: cert, name: dbt}",
        &by_value,
    );
    login(&client(&server), &auth, &by_value)
        .await
        .expect("the certificate is right");
    let unknown = "no certificate role of the mount knows `client_cert` (its authority, its names), its time is over (`openssl x509 -noout -dates \
                   -in FILE`), or there is no role of the `name:`: `bao list auth/cert/certs`";
    for (address, auth, words, cure) in [
        (
            bao.tls_address(),
            "{method: cert, name: other}",
            "answered 400: no chain matching all constraints could be found for this login certificate",
            unknown,
        ),
        (
            bao.tls_address(),
            "{method: cert, name: absent}",
            "answered 400: invalid certificate or no client certificate supplied",
            unknown,
        ),
        (
            bao.address(),
            "{method: cert}",
            "answered 400: no client certificate found",
            "none was seen: it can be shown over https alone, and what ends TLS before Vault (a proxy) must pass it on; check `vault.address`",
        ),
        (
            bao.tls_address(),
            "{method: cert, mount: tls}",
            "answered 403: permission denied",
            "is cert enabled at `auth/tls`? (`bao auth list`); else set `mount:` or `namespace:`",
        ),
    ] {
        let (server, auth) = environment(&address, &pair, auth, &no_variables());
        let error = login(&client(&server), &auth, &no_variables())
            .await
            .expect_err(words);
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(hint(&error), cure, "{error}");
    }
    let text = format!(
        "version: 1\nenvironments: {{production: {{address: '{}', auth: {{method: cert}}, targets: {{}}}}}}",
        bao.tls_address()
    );
    let error = Config::parse(Path::new("/p/dbt-lease.yml"), &text, &no_variables())
        .expect_err("no certificate");
    assert_eq!(
        error.to_string(),
        "/p/dbt-lease.yml:2: `environments.production.auth`: a login by certificate without one"
    );
}

/// A Kubernetes API of one call: the tokens of these texts are those of the service account `dbt` in `data`.
fn cluster(known: &str) -> Web {
    let known = known.to_owned();
    Web::start(move |request: &Received| {
        let review: Value = serde_json::from_str(&request.body).unwrap_or_default();
        assert_eq!(request.path, "/apis/authentication.k8s.io/v1/tokenreviews");
        let authenticated = review["spec"]["token"] == known.as_str();
        Reply::json(&json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "status": if authenticated {
                json!({"authenticated": true, "user": {
                    "username": "system:serviceaccount:data:dbt",
                    "uid": "7f1ad8b2-3c9e-4d55-9a2b-0d6f1f2a3b4c",
                    "groups": ["system:serviceaccounts", "system:serviceaccounts:data", "system:authenticated"],
                }})
            } else {
                json!({"authenticated": false, "error": "[invalid bearer token]"})
            },
        }))
    })
}

#[tokio::test]
async fn kubernetes_has_the_cluster_review_the_service_account_token() {
    let bao = OpenBao::tls();
    // As a pod's token looks; the stub of the cluster knows it by its text.
    let issuer = Issuer::start();
    let claims = |jti: &str| {
        json!({
            "iss": "https://kubernetes",
            "jti": jti,
            "sub": "system:serviceaccount:data:dbt",
            "kubernetes.io": {
                "namespace": "data",
                "serviceaccount": {"name": "dbt", "uid": "7f1ad8b2-3c9e-4d55-9a2b-0d6f1f2a3b4c"},
            },
        })
    };
    let pod = issuer.token(claims("1"));
    let api = cluster(&pod);
    bao.api("POST", "sys/auth/kubernetes", json!({"type": "kubernetes"}));
    bao.api(
        "POST",
        "auth/kubernetes/config",
        json!({
            "kubernetes_host": api.address(),
            "kubernetes_ca_cert": std::fs::read_to_string(&bao.certificates().ca).expect("a CA"),
            "token_reviewer_jwt": pod,
            "disable_local_ca_jwt": true,
        }),
    );
    for (role, account) in [("dbt", "dbt"), ("other", "somebody-else")] {
        bao.api(
            "POST",
            &format!("auth/kubernetes/role/{role}"),
            json!({
                "bound_service_account_names": [account],
                "bound_service_account_namespaces": ["data"],
                "token_policies": ["default"],
            }),
        );
    }
    bao.api(
        "POST",
        "auth/kubernetes/role/elsewhere",
        json!({
            "bound_service_account_names": ["dbt"],
            "bound_service_account_namespaces": ["data"],
            "audience": "https://vault.example.com/staging",
        }),
    );
    let file = bao.directory().join("pod-token");
    std::fs::write(&file, &pod).expect("written");
    let auth = |role: &str| {
        format!(
            "{{method: kubernetes, role: {role}, token: {{file: '{}'}}}}",
            file.display()
        )
    };
    let token = log_in(&bao.address(), &auth("dbt"), &no_variables())
        .await
        .unwrap_or_else(|error| panic!("{error} {}\n{:?}", bao.log(), api.received()));
    assert!(
        token
            .identity
            .contains(&("role".to_owned(), "dbt".to_owned()))
    );
    // The kubelet writes it for everybody: no reason for a warning at each run.
    assert_eq!(token.notes, []);
    assert_eq!(api.received().len(), 1);

    let about = "; the token says of itself: issuer `https://kubernetes`, subject `system:serviceaccount:data:dbt`";
    let wrong = variables([("T", issuer.token(claims("2")).as_str())]);
    refused(
        &bao,
        &wrong,
        &[
            (
                &auth("other"),
                "answered 403: service account name not authorized",
                &format!("the role is bound to another service account or namespace than this pod's: `bao read auth/kubernetes/role/other`{about}"),
            ),
            (
                &auth("elsewhere"),
                "answered 403: invalid audience (aud) claim: audience claim does not match any expected audience",
                &format!("the role's `audience` and the token's audience differ: set one to the other (`bao read auth/kubernetes/role/elsewhere`){about}"),
            ),
            (
                &auth("absent"),
                "answered 400: invalid role name \"absent\"",
                &format!("there is no such role: `bao list auth/kubernetes/role`, or correct `role:` in dbt-lease.yml{about}"),
            ),
            (
                "{method: kubernetes, role: dbt, token: {env: T}}",
                "answered 403: permission denied",
                &format!("the cluster does not accept the token (expired, another cluster's, another audience), or kubernetes is not enabled at `auth/kubernetes` (`bao auth list`){about}"),
            ),
        ],
    )
    .await;
    let error = log_in(
        &bao.address(),
        "{method: kubernetes, role: dbt}",
        &no_variables(),
    )
    .await
    .expect_err("no pod");
    assert_eq!(
        error.to_string(),
        "read the service account token from `/var/run/secrets/kubernetes.io/serviceaccount/token`: there is no such file"
    );
    assert!(hint(&error).starts_with("no pod runs this"), "{error}");
}

#[tokio::test]
async fn any_other_method_is_its_path_and_what_is_sent() {
    let bao = with_alice();
    let set = variables([("P", "pass-of-alice")]);
    let auth = "{method: generic, path: auth/userpass/login/alice, data: {password: {env: P}}}";
    let token = log_in(&bao.address(), auth, &set).await.expect("userpass");
    assert!(token.own);
    refused(
        &bao,
        &variables([("P", "wrong-password")]),
        &[(
            auth,
            "log in by generic at `auth/userpass`: POST VAULT/v1/auth/userpass/login/alice answered 400: invalid username or password",
            "",
        )],
    )
    .await;

    // What is sent has the types of dbt-lease.yml, and its order.
    let vault = Web::start(|_| Reply::json(&json!({"auth": {"client_token": "hvs.x"}})));
    let auth = "{method: generic, path: auth/github/login, data: {token: {env: P}, n: 1, deep: [a, true]}}";
    log_in(&vault.address(), auth, &set).await.expect("sent");
    assert_eq!(vault.received()[0].path, "/v1/auth/github/login");
    assert_eq!(
        vault.received()[0].body,
        r#"{"token":"pass-of-alice","n":1,"deep":["a",true]}"#
    );
}

#[tokio::test]
async fn a_program_s_token_is_looked_up_and_not_ours_to_revoke() {
    let bao = OpenBao::start();
    let made = bao.api(
        "POST",
        "auth/token/create",
        json!({"policies": ["default"]}),
    );
    let made = made["auth"]["client_token"].as_str().expect("a token");
    let set = variables([("T", made), ("PATH", "/usr/bin:/bin")]);
    let auth = "{method: command, command: [printenv, T]}";
    let token = log_in(&bao.address(), auth, &set).await.expect("good");
    assert!(!token.own);
    assert_eq!(
        bao.requests()
            .iter()
            .map(|request| request.path.as_str())
            .collect::<Vec<_>>(),
        ["auth/token/lookup-self"]
    );
    let error = log_in(
        &bao.address(),
        "{method: command, command: [sh, -c, 'echo no keyring >&2; exit 1']}",
        &set,
    )
    .await
    .expect_err("it fails");
    assert_eq!(
        error.to_string(),
        "read the token from the command `sh -c echo no keyring >&2; exit 1`: it failed (exit status: 1): no keyring"
    );
    assert_eq!(error.kind(), "login_source");
}

/// A code of RFC 6238: six digits, 30 s, SHA-1.
fn totp(secret: &[u8]) -> String {
    let step = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
        / 30;
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = ring::hmac::sign(&key, &step.to_be_bytes());
    let bytes = tag.as_ref();
    let at = usize::from(bytes[19] & 15);
    let number =
        u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Base 32 of RFC 4648, as otpauth addresses have it.
fn base32(text: &str) -> Vec<u8> {
    let bits: String = text
        .chars()
        .filter_map(|letter| "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".find(letter))
        .map(|value| format!("{value:05b}"))
        .collect();
    bits.as_bytes()
        .chunks_exact(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).expect("ASCII"), 2).expect("bits"))
        .collect()
}

#[tokio::test]
async fn a_second_factor_is_typed_by_a_person_and_by_nobody_else() {
    let bao = with_alice();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let method = bao.api(
        "POST",
        "identity/mfa/method/totp",
        json!({"issuer": "Vault", "algorithm": "SHA1", "digits": 6, "period": 30}),
    );
    let method = text(&method["data"]["method_id"]);
    let mounts = bao.api("GET", "sys/auth", None);
    let accessor = text(&mounts["data"]["userpass/"]["accessor"]);
    let entity = bao.api("POST", "identity/entity", json!({"name": "alice"}));
    let entity = text(&entity["data"]["id"]);
    bao.api(
        "POST",
        "identity/entity-alias",
        json!({"name": "alice", "canonical_id": entity, "mount_accessor": accessor}),
    );
    let made = bao.api(
        "POST",
        "identity/mfa/method/totp/admin-generate",
        json!({"method_id": method, "entity_id": entity}),
    );
    let url = text(&made["data"]["url"]);
    let secret = url
        .split(['?', '&'])
        .find_map(|pair| pair.strip_prefix("secret="))
        .expect("a secret");
    bao.api(
        "POST",
        "identity/mfa/login-enforcement/people",
        json!({"mfa_method_ids": [method], "auth_method_accessors": [accessor]}),
    );

    let set = variables([("P", "pass-of-alice")]);
    let auth = "{method: userpass, username: alice, password: {env: P}}";
    let (server, auth) = environment(&bao.address(), "", auth, &set);
    let code = totp(&base32(secret));
    let person = Types::these(&[&code]);
    let around = Surroundings {
        variables: &set,
        person: &person,
    };
    let before = bao.requests().len();
    let token = login(&client(&server), &auth, around)
        .await
        .expect("name, password and code are right");
    assert!(token.own);
    assert_eq!(*person.asked.borrow(), ["code of totp for auth/userpass"]);
    let paths: Vec<_> = bao.requests()[before..]
        .iter()
        .map(|request| request.path.clone())
        .collect();
    assert_eq!(paths, ["auth/userpass/login/alice", "sys/mfa/validate"]);

    let person = Types::these(&["12345"]);
    let around = Surroundings {
        variables: &set,
        person: &person,
    };
    let error = login(&client(&server), &auth, around)
        .await
        .expect_err("a wrong code");
    assert!(
        error.to_string().starts_with(&format!(
            "give the second factor of the login at `auth/userpass`: POST {}/v1/sys/mfa/validate answered 4",
            bao.address()
        )),
        "{error}"
    );
    assert_eq!(
        hint(&error),
        "the code is wrong, was used before, or came too late: run again and type a fresh one"
    );

    let before = bao.requests().len();
    let error = login(&client(&server), &auth, &set)
        .await
        .expect_err("nobody types");
    assert_eq!(
        error.to_string(),
        "log in by userpass at `auth/userpass`: Vault asks for multi-factor authentication, and nobody is here to give it"
    );
    assert_eq!(bao.requests().len() - before, 1);
}

/// Contract: the shape of `mfa_requirement` in Vault's documentation of login MFA; a push is waited for by `sys/mfa/validate` itself.
#[tokio::test]
async fn a_push_is_told_and_a_choice_is_typed() {
    let vault = Web::start(|request: &Received| {
        Reply::json(&if request.path.ends_with("validate") {
            json!({"auth": {"client_token": "hvs.x", "policies": ["default"]}})
        } else {
            json!({"auth": {"client_token": "", "mfa_requirement": {
                "mfa_request_id": "request-1",
                "mfa_constraints": {
                    "a": {"any": [{"type": "duo", "id": "id-duo", "uses_passcode": false, "name": "the duo"}]},
                    "b": {"any": [
                        {"type": "okta", "id": "id-okta", "uses_passcode": false},
                        {"type": "totp", "id": "id-totp", "uses_passcode": true},
                    ]},
                },
            }}})
        })
    });
    let set = variables([("P", "x")]);
    let auth = "{method: userpass, username: alice, password: {env: P}}";
    let (server, auth) = environment(&vault.address(), "", auth, &set);
    let person = Types::these(&["123456"]);
    let around = Surroundings {
        variables: &set,
        person: &person,
    };
    login(&client(&server), &auth, around).await.expect("given");
    assert_eq!(
        *person.asked.borrow(),
        [
            "approve the login by the duo on your other device",
            "code of totp for auth/userpass"
        ]
    );
    assert_eq!(
        vault.received()[1].body,
        r#"{"mfa_request_id":"request-1","mfa_payload":{"id-duo":[],"id-totp":["123456"]}}"#
    );
}
