//! okta, by contract: OpenBao has it not built in, and Okta itself cannot be had. The stub answers as Vault's documentation and source of the
//! method have it: the login blocks while the push is out, `verify/NONCE` gives the number of the number challenge.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dbt_lease::config::{Auth, Config};
use dbt_lease::secret::Secret;
use dbt_lease::variables::Variables;
use dbt_lease::vault::auth::{Person, PersonsAnswer, Surroundings, login};
use dbt_lease_sandbox::web::{Received, Reply, Web};
use serde_json::{Value, json};

use crate::{client, hint, server, variables};

fn auth(address: &str, keys: &str, set: &Variables) -> Auth {
    let text = format!(
        "version: 1\nvault: {{address: '{address}'}}\nenvironments: {{production: {{auth: {{method: okta, username: alice, password: {{env: P}}{keys}}}, targets: {{}}}}}}"
    );
    let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, set)
        .unwrap_or_else(|error| panic!("{error}"));
    config.environments[0].auth.clone().expect("a login")
}

/// A person who types this code, and approves a push once the number is told (or at once, where there is none).
struct Alice {
    code: Option<&'static str>,
    told: RefCell<Vec<String>>,
    approves: Arc<Approval>,
    at: &'static str,
}

#[derive(Default)]
struct Approval {
    given: Mutex<bool>,
    changed: Condvar,
}

impl Approval {
    fn give(&self) {
        *self.given.lock().expect("no test panics in it") = true;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let given = self.given.lock().expect("no test panics in it");
        let (given, _) = self
            .changed
            .wait_timeout_while(given, Duration::from_secs(60), |given| !*given)
            .expect("no test panics in it");
        assert!(*given, "nobody approved");
    }
}

impl Person for Alice {
    fn ask<'a>(&'a self, question: &'a str) -> PersonsAnswer<'a> {
        self.told.borrow_mut().push(question.to_owned());
        Box::pin(std::future::ready(
            self.code.map(|code| Secret::new(code.to_owned())),
        ))
    }

    fn is_there(&self) -> bool {
        true
    }

    fn open(&self, _: &str) {}

    fn tell(&self, text: &str) -> bool {
        self.told.borrow_mut().push(text.to_owned());
        if text.contains(self.at) {
            self.approves.give();
        }
        true
    }
}

fn token() -> Reply {
    Reply::json(
        &json!({"auth": {"client_token": "hvs.x", "policies": ["default"], "metadata": {"username": "alice"}}}),
    )
}

/// A Vault whose login waits for the approval, and which knows the number after it was asked once in vain.
fn vault(approval: &Arc<Approval>, number: Option<u32>) -> Web {
    let approval = Arc::clone(approval);
    let asked = Mutex::new(0);
    Web::start(move |request: &Received| {
        if request.method == "POST" {
            approval.wait();
            return token();
        }
        let mut asked = asked.lock().expect("no handler panics in it");
        *asked += 1;
        match number {
            Some(number) if *asked > 1 => Reply::json(&json!({"data": {"correct_answer": number}})),
            _ => Reply::new(404, "{\"errors\":[]}"),
        }
    })
}

fn body(request: &Received) -> Value {
    serde_json::from_str(&request.body).expect("JSON")
}

#[tokio::test]
async fn a_push_is_waited_for_and_its_number_is_told_once() {
    for (number, at) in [
        (Some(42), "choose the number 42"),
        (None, "approve the login"),
    ] {
        let approves = Arc::new(Approval::default());
        let vault = vault(&approves, number);
        let set = variables([("P", "pass")]);
        let person = Alice {
            code: None,
            told: RefCell::default(),
            approves,
            at,
        };
        let around = Surroundings {
            variables: &set,
            person: &person,
        };
        let at_once = client(&server(vault.address())).pausing_with(Box::new(|_| {
            Box::pin(tokio::time::sleep(Duration::from_millis(5)))
        }));
        let token = login(&at_once, &auth(&vault.address(), "", &set), around)
            .await
            .expect("approved");
        assert!(token.own);
        let told = person.told.borrow().clone();
        let approve = "approve the login in Okta on your other device".to_owned();
        match number {
            Some(_) => assert_eq!(told, [approve, "choose the number 42".to_owned()]),
            None => assert_eq!(told, [approve]),
        }
        let received = vault.received();
        let logins: Vec<_> = received.iter().filter(|one| one.method == "POST").collect();
        // One push, however often it is asked for the number.
        assert_eq!(logins.len(), 1);
        assert_eq!(logins[0].path, "/v1/auth/okta/login/alice");
        let body = body(logins[0]);
        let nonce = body["nonce"].as_str().expect("a nonce");
        assert_eq!(body, json!({"password": "pass", "nonce": nonce}));
        for request in received.iter().filter(|one| one.method == "GET") {
            assert_eq!(request.path, format!("/v1/auth/okta/verify/{nonce}"));
            assert_eq!(request.header("x-vault-token"), "");
        }
    }
}

#[tokio::test]
async fn a_code_is_typed_and_its_provider_named() {
    for (factor, expected) in [
        ("totp", json!({"password": "pass", "totp": "123456"})),
        (
            "google-totp",
            json!({"password": "pass", "totp": "123456", "provider": "GOOGLE"}),
        ),
        ("none", json!({"password": "pass"})),
    ] {
        let vault = Web::start(|_| token());
        let set = variables([("P", "pass")]);
        let person = Alice {
            code: Some("123456"),
            told: RefCell::default(),
            approves: Arc::default(),
            at: "nothing",
        };
        let around = Surroundings {
            variables: &set,
            person: &person,
        };
        let auth = auth(
            &vault.address(),
            &format!(", second_factor: {factor}"),
            &set,
        );
        login(&client(&server(vault.address())), &auth, around)
            .await
            .expect(factor);
        let asked = person.told.borrow().join("\n");
        assert_eq!(
            asked,
            if factor == "none" {
                ""
            } else {
                "code of alice for auth/okta"
            }
        );
        assert_eq!(vault.received().len(), 1);
        assert_eq!(body(&vault.received()[0]), expected);
    }
}

#[tokio::test]
async fn without_a_person_no_telephone_rings_but_an_exempt_account_logs_in() {
    let vault = Web::start(|_| token());
    let set = variables([("P", "pass")]);
    let connection = client(&server(vault.address()));
    for keys in ["", ", second_factor: totp"] {
        let error = login(&connection, &auth(&vault.address(), keys, &set), &set)
            .await
            .expect_err("nobody is there");
        assert_eq!(
            (error.to_string(), hint(&error)),
            (
                "log in by okta at `auth/okta`: the second factor needs a person, and nobody answered".to_owned(),
                "a person gives it on a terminal, never in CI; machines log in by another method (`method: jwt`), or by an account that is \
                 exempt (`second_factor: none`)"
                    .to_owned()
            )
        );
    }
    assert_eq!(vault.received(), []);
    let exempt = auth(&vault.address(), ", second_factor: none", &set);
    login(&connection, &exempt, &set).await.expect("exempt");
}
