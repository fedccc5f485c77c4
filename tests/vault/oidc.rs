//! oidc: a person in the browser, on a real OpenBao and `oidc-provider` from npm, whose forms an HTTP client fills in.
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dbt_lease::config::{Auth, Config};
use dbt_lease::variables::Variables;
use dbt_lease::vault::auth::{Person, PersonsAnswer, Surroundings, Token, login};
use dbt_lease::vault::client::Client;
use dbt_lease::vault::error::VaultError;
use dbt_lease_sandbox::OpenBao;
use dbt_lease_sandbox::provider::{Browser, Page, Provider};
use dbt_lease_sandbox::web::{Received, Reply, Web};
use serde_json::json;

use crate::{client, hint, no_variables, server, variables};

/// A server whose roles `dbt`, `dbt-direct` and `dbt-device` are for whoever logs in at the provider as `alice`.
struct Place {
    bao: OpenBao,
    provider: Provider,
    port: u16,
}

impl Place {
    /// None where the machine has no node.
    fn start() -> Option<Self> {
        let bao = OpenBao::start();
        let port = dbt_lease_sandbox::free_port();
        let back = [
            format!("http://localhost:{port}/oidc/callback"),
            format!("{}/v1/auth/oidc/oidc/callback", bao.address()),
        ];
        let provider = Provider::start(&back)?;
        bao.api("POST", "sys/auth/oidc", json!({"type": "oidc"}));
        bao.api(
            "POST",
            "auth/oidc/config",
            json!({
                "oidc_discovery_url": provider.address(),
                "oidc_client_id": "vault",
                "oidc_client_secret": provider.secret(),
            }),
        );
        for (role, mode) in [
            ("dbt", "client"),
            ("dbt-direct", "direct"),
            ("dbt-device", "device"),
        ] {
            bao.api(
                "POST",
                &format!("auth/oidc/role/{role}"),
                json!({
                    "role_type": "oidc",
                    "user_claim": "sub",
                    "bound_claims": {"sub": "alice"},
                    "allowed_redirect_uris": back,
                    "callback_mode": mode,
                    "poll_interval": 1,
                    "token_policies": ["default"],
                    "token_ttl": "10m",
                }),
            );
        }
        Some(Self {
            bao,
            provider,
            port,
        })
    }

    fn auth(&self, keys: &str) -> Auth {
        let text = format!(
            "version: 1\nvault: {{address: '{}'}}\nenvironments: {{production: {{auth: {{method: oidc, port: {}, {keys}}}, targets: {{}}}}}}",
            self.bao.address(),
            self.port
        );
        let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, &no_variables())
            .unwrap_or_else(|error| panic!("{error}"));
        config.environments[0].auth.clone().expect("a login")
    }

    fn client(&self) -> Client {
        // An interval of a second is a second here too, in short.
        client(&server(self.bao.address()))
            .pausing_with(Box::new(|time| Box::pin(tokio::time::sleep(time / 10))))
    }

    async fn log_in(
        &self,
        keys: &str,
        set: &Variables,
        person: &Browses,
    ) -> Result<Token, VaultError> {
        let around = Surroundings {
            variables: set,
            person,
        };
        login(&self.client(), &self.auth(keys), around).await
    }

    fn paths(&self) -> Vec<String> {
        let requests = self.bao.requests();
        requests
            .iter()
            .map(|request| format!("{} {}", request.operation, request.path))
            .collect()
    }
}

/// A person who logs in at the address that is shown.
struct Browses {
    name: &'static str,
    refuses: bool,
    told: RefCell<Vec<String>>,
    browser: RefCell<Option<JoinHandle<Page>>>,
}

impl Browses {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            refuses: false,
            told: RefCell::default(),
            browser: RefCell::default(),
        }
    }

    /// What the browser showed last.
    fn saw(&self) -> Page {
        let browser = self.browser.borrow_mut().take().expect("it was opened");
        browser.join().expect("the browser came through")
    }
}

impl Person for Browses {
    fn ask<'a>(&'a self, _: &'a str) -> PersonsAnswer<'a> {
        Box::pin(std::future::ready(None))
    }

    fn is_there(&self) -> bool {
        true
    }

    fn open(&self, url: &str) {
        let (url, name, refuses) = (url.to_owned(), self.name, self.refuses);
        *self.browser.borrow_mut() = Some(std::thread::spawn(move || {
            Browser::default().log_in(&url, &[("login", name), ("password", "any")], refuses)
        }));
    }

    fn tell(&self, text: &str) -> bool {
        self.told.borrow_mut().push(text.to_owned());
        true
    }
}

#[tokio::test]
async fn the_browser_comes_back_to_a_port_of_this_machine() {
    let Some(place) = Place::start() else { return };
    let person = Browses::new("alice");
    let token = place
        .log_in("role: dbt", &no_variables(), &person)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", place.bao.log(), place.provider.log()));
    assert!(token.own && token.renewable);
    assert_eq!(token.lifetime, Some(Duration::from_secs(600)));
    assert_eq!(
        person.saw().body,
        "dbt-lease has what it waited for. This window can be closed."
    );
    assert_eq!(
        place.paths(),
        [
            "update auth/oidc/oidc/auth_url",
            "read auth/oidc/oidc/callback"
        ]
    );
}

#[tokio::test]
async fn direct_and_device_modes_ask_vault_until_it_knows() {
    let Some(place) = Place::start() else { return };
    for (mode, role) in [("direct", "dbt-direct"), ("device", "dbt-device")] {
        let before = place.paths().len();
        let person = Browses::new("alice");
        let keys = format!("role: {role}, mode: {mode}");
        let token = place
            .log_in(&keys, &no_variables(), &person)
            .await
            .unwrap_or_else(|error| panic!("{mode}: {error}\n{}", place.bao.log()));
        assert!(token.own, "{mode}");
        // The provider's address has the code in it already.
        assert_eq!(person.told.borrow().join("\n"), "", "{mode}");
        let paths = place.paths().split_off(before);
        assert_eq!(paths[0], "update auth/oidc/oidc/auth_url");
        assert_eq!(
            paths.last().expect("requests"),
            "update auth/oidc/oidc/poll"
        );
    }
}

/// Contract: the answers of OpenBao's `oidc/auth_url` and `oidc/poll` (`path_oidc.go`), where the provider's address has no code in it.
#[tokio::test]
async fn a_code_to_type_is_told_and_a_slow_provider_is_asked_less_often() {
    let polls = AtomicUsize::new(0);
    let vault = Web::start(move |request: &Received| {
        if request.path.ends_with("auth_url") {
            return Reply::json(&json!({"data": {
                "auth_url": "https://login.example.com/device", "user_code": "ABCD-\u{1b}[2J", "state": "s-1", "poll_interval": "2",
            }}));
        }
        match polls.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::new(400, r#"{"errors":["authorization_pending"]}"#),
            1 => Reply::new(400, r#"{"errors":["slow_down"]}"#),
            _ => Reply::json(&json!({"auth": {"client_token": "hvs.x", "policies": ["default"]}})),
        }
    });
    let pauses = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&pauses);
    let client = client(&server(vault.address())).pausing_with(Box::new(move |time| {
        noted.borrow_mut().push(time.as_secs());
        Box::pin(std::future::ready(()))
    }));
    let text = format!(
        "version: 1\nvault: {{address: '{}'}}\nenvironments: {{production: {{auth: {{method: oidc, role: dbt, mode: device}}, targets: {{}}}}}}",
        vault.address()
    );
    let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, &no_variables())
        .unwrap_or_else(|error| panic!("{error}"));
    let auth = config.environments[0].auth.as_ref().expect("a login");
    let person = Tells::default();
    let variables = no_variables();
    let around = Surroundings {
        variables: &variables,
        person: &person,
    };
    login(&client, auth, around).await.expect("logged in");
    assert_eq!(*pauses.borrow(), [2, 2, 7]);
    assert_eq!(
        *person.0.borrow(),
        [
            "the code to type is ABCD-\\u{1b}[2J",
            "https://login.example.com/device"
        ]
    );
    assert_eq!(
        vault.received()[0]
            .body
            .replace(&nonce(&vault.received()[0].body), "NONCE"),
        r#"{"role":"dbt","redirect_uri":"","client_nonce":"NONCE"}"#
    );
    assert_eq!(
        vault.received()[1]
            .body
            .replace(&nonce(&vault.received()[0].body), "NONCE"),
        r#"{"state":"s-1","client_nonce":"NONCE"}"#
    );
}

/// A server could give anything as an address; a browser would run it.
#[tokio::test]
async fn what_is_no_web_address_is_not_opened() {
    for url in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "-x",
        "data:text/html,x",
    ] {
        let answer = json!({"data": {"auth_url": url}});
        let vault = Web::start(move |_| Reply::json(&answer));
        let text = format!(
            "version: 1\nvault: {{address: '{}'}}\nenvironments: {{production: {{auth: {{method: oidc, role: dbt, mode: direct}}, targets: {{}}}}}}",
            vault.address()
        );
        let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, &no_variables())
            .unwrap_or_else(|error| panic!("{error}"));
        let auth = config.environments[0].auth.as_ref().expect("a login");
        let person = Tells::default();
        let variables = no_variables();
        let around = Surroundings {
            variables: &variables,
            person: &person,
        };
        let error = login(&client(&server(vault.address())), auth, around)
            .await
            .expect_err("no web address");
        assert_eq!(
            error.to_string(),
            "log in by oidc at `auth/oidc`: Vault's answer holds no address that a browser could open"
        );
        assert_eq!(*person.0.borrow(), [""; 0]);
    }
}

fn nonce(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    body["client_nonce"].as_str().expect("a nonce").to_owned()
}

/// A person who is told things, and does nothing.
#[derive(Default)]
struct Tells(RefCell<Vec<String>>);

impl Person for Tells {
    fn ask<'a>(&'a self, _: &'a str) -> PersonsAnswer<'a> {
        Box::pin(std::future::ready(None))
    }

    fn is_there(&self) -> bool {
        true
    }

    fn open(&self, url: &str) {
        self.0.borrow_mut().push(url.to_owned());
    }

    fn tell(&self, text: &str) -> bool {
        self.0.borrow_mut().push(text.to_owned());
        true
    }
}

#[tokio::test]
async fn each_way_to_fail_in_the_browser_has_its_own_words() {
    let Some(place) = Place::start() else { return };
    let alice = Browses::new("alice");
    let refuses = Browses {
        refuses: true,
        ..Browses::new("alice")
    };
    let mallory = Browses::new("mallory");
    let back = format!("http://localhost:{}/oidc/callback", place.port);
    for (keys, person, words, cure) in [
        (
            "role: dbt",
            &refuses,
            "log in by oidc at `auth/oidc`: the identity provider refused: access_denied: End-User aborted interaction".to_owned(),
            "log in as somebody who may, or have the provider's administrator allow it".to_owned(),
        ),
        (
            "role: dbt",
            &mallory,
            "answered 400: OpenBao login failed. error validating claims: claim \"sub\" does not match any associated bound claim values".to_owned(),
            "the role is for other people or groups than whoever logged in: `bound_claims` of `bao read auth/oidc/role/dbt`".to_owned(),
        ),
        (
            "role: absent",
            &alice,
            "log in by oidc at `auth/oidc`: POST VAULT/v1/auth/oidc/oidc/auth_url answered 400: role \"absent\" could not be found".to_owned(),
            "there is no such role: `bao list auth/oidc/role`, or correct `role:` in dbt-lease.yml".to_owned(),
        ),
        (
            "role: dbt, mode: direct, mount: people",
            &alice,
            "log in by oidc at `auth/people`: POST VAULT/v1/auth/people/oidc/auth_url answered 403: permission denied".to_owned(),
            "is oidc enabled at `auth/people`? (`bao auth list`); else set `mount:` or `namespace:`".to_owned(),
        ),
    ] {
        let error = place
            .log_in(keys, &no_variables(), person)
            .await
            .expect_err(&words);
        let text = error.to_string().replace(&place.bao.address(), "VAULT");
        assert!(text.ends_with(&words), "{text}");
        assert_eq!(hint(&error), cure, "{text}");
    }

    // A way back that the role does not allow.
    place.bao.api(
        "POST",
        "auth/oidc/role/dbt",
        json!({
            "role_type": "oidc",
            "user_claim": "sub",
            "allowed_redirect_uris": ["http://localhost:1/elsewhere"],
        }),
    );
    let error = place
        .log_in("role: dbt", &no_variables(), &alice)
        .await
        .expect_err("not allowed");
    assert_eq!(
        error.to_string(),
        format!(
            "log in by oidc at `auth/oidc`: Vault gives no address to log in at for the role `dbt` and the way back `{back}`"
        )
    );

    // A port that is taken, and nobody who could log in: nothing is asked of Vault.
    let before = place.paths().len();
    let _held = std::net::TcpListener::bind(("127.0.0.1", place.port)).expect("it was free");
    let error = place
        .log_in("role: dbt", &no_variables(), &alice)
        .await
        .expect_err("it is taken");
    assert!(
        error.to_string().starts_with(&format!(
            "log in by oidc at `auth/oidc`: port {} of this machine cannot be listened at: ",
            place.port
        )),
        "{error}"
    );
    let error = login(&place.client(), &place.auth("role: dbt"), &no_variables())
        .await
        .expect_err("nobody is there");
    assert_eq!(
        (error.to_string(), hint(&error)),
        (
            "log in by oidc at `auth/oidc`: the login in the browser needs a person, and nobody answered".to_owned(),
            "a person logs in on a terminal, never in CI; machines log in by another method (`method: jwt`)".to_owned()
        )
    );
    assert_eq!(place.paths().len(), before);
}

#[tokio::test]
async fn a_kept_login_is_taken_from_vault_s_own_place_and_no_other_is_replaced() {
    let Some(place) = Place::start() else { return };
    let home = place.bao.directory().to_owned();
    let file = home.join(".vault-token");
    let set = variables([
        ("HOME", home.to_str().expect("UTF-8")),
        ("PATH", "/usr/bin:/bin"),
    ]);
    let keys = "role: dbt, keep: true";
    let person = Browses::new("alice");
    let first = place.log_in(keys, &set, &person).await.expect("logged in");
    assert!(!first.own, "a kept token is not revoked");
    person.saw();
    assert_eq!(
        std::fs::read_to_string(&file).expect("kept"),
        first.value.expose()
    );

    // The second run logs nobody in.
    let before = place.paths().len();
    let person = Browses::new("alice");
    let second = place.log_in(keys, &set, &person).await.expect("kept");
    assert!(!second.own && second.value == first.value);
    assert!(person.browser.borrow().is_none());
    assert_eq!(place.paths()[before..], ["read auth/token/lookup-self"]);

    // Once it is over, it is made anew.
    place.bao.api(
        "POST",
        "auth/token/revoke",
        json!({"token": first.value.expose()}),
    );
    let third = place
        .log_in(keys, &set, &Browses::new("alice"))
        .await
        .expect("anew");
    assert!(third.value != first.value);
    assert_eq!(
        std::fs::read_to_string(&file).expect("kept"),
        third.value.expose()
    );

    // Another login's token is neither used nor replaced.
    std::fs::write(&file, place.bao.root_token()).expect("written");
    let fourth = place
        .log_in(keys, &set, &Browses::new("alice"))
        .await
        .expect("logged in");
    assert!(!fourth.is_root && !fourth.own);
    assert_eq!(
        fourth
            .notes
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        [
            "this login is not kept: Vault's token helper holds a living token of another login (`bao token lookup`), which is not replaced"
        ]
    );
    assert_eq!(
        std::fs::read_to_string(&file).expect("there"),
        place.bao.root_token()
    );
}

#[tokio::test]
async fn a_token_helper_program_is_asked_and_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(place) = Place::start() else { return };
    let home = place.bao.directory().to_owned();
    let program = home.join("helper");
    std::fs::write(
        &program,
        "#!/bin/sh\ncase $1 in get) cat \"$HOME/store\" 2>/dev/null || true;; store) cat > \"$HOME/store\";; esac\n",
    )
    .expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("ours");
    std::fs::write(
        home.join(".vault"),
        format!("token_helper = \"{}\"\n", program.display()),
    )
    .expect("written");
    let set = variables([
        ("HOME", home.to_str().expect("UTF-8")),
        ("PATH", "/usr/bin:/bin"),
    ]);
    let keys = "role: dbt, keep: true";
    let first = place
        .log_in(keys, &set, &Browses::new("alice"))
        .await
        .expect("logged in");
    assert_eq!(
        std::fs::read_to_string(home.join("store")).expect("stored"),
        first.value.expose()
    );
    assert!(!home.join(".vault-token").exists());
    let second = place
        .log_in(keys, &set, &Browses::new("alice"))
        .await
        .expect("kept");
    assert!(second.value == first.value);
    let own = login(&place.client(), &Auth::Token, &set)
        .await
        .expect("the user's own");
    assert!(own.value == first.value);
}
