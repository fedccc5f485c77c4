//! Logins other than AppRole, through the binary: what `plan` says of them, what Vault is asked, what the child does not get.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Stdio;

use dbt_lease_sandbox::Issuer;
use dbt_lease_sandbox::chromium::Chromium;
use dbt_lease_sandbox::issuer::REQUEST_TOKEN;
use dbt_lease_sandbox::provider::{Browser, Provider};
use dbt_lease_sandbox::web::{Reply, Web};
use serde_json::json;

use crate::support::{DBT_LEASE, Lab, wait_until};

/// dbt-lease.yml with this login for production.
fn configured(lab: &Lab, auth: &str) {
    lab.configure(&format!(
        "version: 1\nenvironments:\n  production:\n    protected: true\n    auth: {auth}\n    targets:\n      prod: database/creds/dbt-prod\n"
    ));
}

#[test]
fn github_s_identity_token_is_enough_and_the_child_can_ask_for_none() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    let issuer = Issuer::start();
    bao.api("POST", "sys/auth/jwt", json!({"type": "jwt"}));
    bao.api(
        "POST",
        "auth/jwt/config",
        json!({"oidc_discovery_url": issuer.address(), "bound_issuer": issuer.address()}),
    );
    let audience = format!("{}/production", bao.address());
    bao.api(
        "POST",
        "auth/jwt/role/dbt-production",
        json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [audience],
            "bound_claims": {"sub": "repo:acme/jaffle:environment:production"},
            "token_policies": ["dbt-production"],
            "token_no_default_policy": true,
        }),
    );
    configured(&lab, "{method: jwt, role: dbt-production}");
    let url = format!("{}/github?api-version=2.0", issuer.address());
    let ci = [
        ("GITHUB_ACTIONS", "true"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN),
    ];

    let plan = lab
        .run_with(&ci, &["plan", "--target", "prod", "--", "true"])
        .success();
    assert!(
        lab.shown(&plan).contains(
            "login          jwt at auth/jwt, role dbt-production (identity token of GitHub Actions for the audience VAULT/production \
             (GITHUB_ACTIONS is set))"
        ),
        "{plan}"
    );
    assert!(plan.contains("POST auth/jwt/login"), "{plan}");
    assert_eq!(issuer.received(), []);

    let child = lab
        .run_with(&ci, &["exec", "--target", "prod", "--", "env"])
        .success();
    assert!(child.contains("GITHUB_ACTIONS=true"), "{child}");
    assert!(!child.contains("ACTIONS_ID_TOKEN") && !child.contains(REQUEST_TOKEN));
    assert_eq!(
        lab.requests(),
        [
            "update auth/jwt/login",
            "read database/creds/dbt-prod",
            "update sys/leases/revoke",
            "update auth/token/revoke-self",
        ]
    );
    assert_eq!(lab.record()[0]["login"]["method"], "jwt");
    lab.assert_nothing_left();
}

#[test]
fn a_ci_system_is_reached_through_the_proxy_that_the_environment_names() {
    let lab = Lab::new();
    configured(&lab, "{method: jwt, role: dbt}");
    let proxy = Web::start(|_| Reply::new(502, "no way"));
    let ran = lab.run_with(
        &[
            ("GITHUB_ACTIONS", "true"),
            (
                "ACTIONS_ID_TOKEN_REQUEST_URL",
                "https://ci.example.invalid/token",
            ),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN),
            ("HTTPS_PROXY", &proxy.address()),
        ],
        &["exec", "--target", "prod", "--", "true"],
    );
    let _ = ran.code(125).says(&[
        "get an identity token from GitHub Actions: GET https://ci.example.invalid/token: no connection: ",
        "hint: may this machine reach it? (HTTPS_PROXY is obeyed)",
    ]);
    let received = proxy.received();
    assert!(
        received
            .iter()
            .all(|request| (request.method.as_str(), request.path.as_str())
                == ("CONNECT", "ci.example.invalid:443"))
            && (1..=3).contains(&received.len()),
        "{received:?}"
    );
    assert_eq!(lab.requests(), [""; 0]);
}

#[test]
fn a_login_in_the_browser_shows_its_address_on_the_terminal_and_goes_on_when_the_browser_is_back() {
    let lab = Lab::new();
    log_in_by(&lab, &["--no-browser"], |shown| {
        Browser::default().log_in(shown, &[("login", "alice"), ("password", "any")], false);
    });
}

/// The program that BROWSER names only notes what it is to open: the browser is driven from here.
#[test]
#[ignore = "needs apt's chromium and chromium-driver: `just chromium`"]
fn a_login_in_a_real_browser_comes_back_to_the_terminal() {
    let mut lab = Lab::new();
    let noted = lab.home.directory().join("noted");
    let browser = lab.home.directory().join("browser");
    std::fs::write(
        &browser,
        format!(
            "#!/bin/sh\nprintf %s \"$1\" > {0}.new && mv {0}.new {0}\n",
            noted.display()
        ),
    )
    .expect("written");
    std::fs::set_permissions(
        &browser,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .expect("set");
    lab.home.set("BROWSER", &browser);
    log_in_by(&lab, &[], |shown| {
        wait_until("a browser was opened", || noted.exists());
        let opened = std::fs::read_to_string(&noted).expect("an address");
        assert_eq!(opened, shown);
        let answers = [("login", "alice"), ("password", "any")];
        let said = Chromium::start().log_in(&opened, &answers, "can be closed");
        assert_eq!(
            said,
            "dbt-lease has what it waited for. This window can be closed."
        );
    });
}

/// Runs `exec` on a terminal with an oidc login; what happens in the browser is the caller's, who gets the address that is shown.
fn log_in_by(lab: &Lab, options: &[&str], in_the_browser: impl FnOnce(&str)) {
    let bao = lab.world.bao();
    let port = dbt_lease_sandbox::free_port();
    let back = format!("http://localhost:{port}/oidc/callback");
    let Some(provider) = Provider::start(std::slice::from_ref(&back)) else {
        return;
    };
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
    bao.api(
        "POST",
        "auth/oidc/role/dbt",
        json!({
            "role_type": "oidc",
            "user_claim": "sub",
            "allowed_redirect_uris": [back],
            "token_policies": ["dbt-production"],
        }),
    );
    configured(lab, &format!("{{method: oidc, role: dbt, port: {port}}}"));

    let pty = nix::pty::openpty(None, None).expect("a pseudo-terminal");
    let end = || Stdio::from(pty.slave.as_fd().try_clone_to_owned().expect("duplicated"));
    let mut command = lab.in_its_environment("setsid");
    command
        .args(["--ctty", "--wait", DBT_LEASE, "exec", "--target", "prod"])
        .args(options)
        .args(["--", "echo", "the child ran"])
        .stdin(end())
        .stdout(end())
        .stderr(end());
    let mut child = command.spawn().expect("setsid is there");
    drop(command);
    drop(pty.slave);
    let mut terminal = std::fs::File::from(pty.master);
    let mut shown = Vec::new();
    let mut byte = [0];
    while !shown.ends_with(b"\r\n") {
        assert_eq!(terminal.read(&mut byte).expect("it speaks"), 1);
        shown.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&shown).into_owned();
    let url = line
        .trim()
        .strip_prefix("dbt-lease: log in in the browser: ")
        .unwrap_or_else(|| panic!("{line}"));
    in_the_browser(url);
    shown.clear();
    while let Ok(1) = terminal.read(&mut byte) {
        shown.push(byte[0]);
    }
    let shown = String::from_utf8_lossy(&shown);
    assert!(child.wait().expect("ended").success(), "{shown}");
    assert_eq!(shown, "the child ran\r\n");
    assert_eq!(
        lab.requests(),
        [
            "update auth/oidc/oidc/auth_url",
            "read auth/oidc/oidc/callback",
            "read database/creds/dbt-prod",
            "update sys/leases/revoke",
            "update auth/token/revoke-self",
        ]
    );
    lab.assert_nothing_left();
}

fn with_alice() -> Lab {
    let lab = Lab::new();
    let bao = lab.world.bao();
    bao.api("POST", "sys/auth/userpass", json!({"type": "userpass"}));
    bao.api(
        "POST",
        "auth/userpass/users/alice",
        json!({"password": "pass-of-alice", "token_policies": ["dbt-production"]}),
    );
    configured(&lab, "{method: userpass, username: alice}");
    lab
}

#[test]
fn a_password_is_typed_on_the_terminal_unseen_and_stdin_is_left_to_the_child() {
    let lab = with_alice();
    let pty = nix::pty::openpty(None, None).expect("a pseudo-terminal");
    let end = || Stdio::from(pty.slave.as_fd().try_clone_to_owned().expect("duplicated"));
    // The terminal becomes the controlling one of a session of its own.
    let script = format!(
        "exec \"{DBT_LEASE}\" exec --target prod -- sh -c 'read line; echo \"the child got $line\"' <\"$0\""
    );
    let input = lab.home.directory().join("input");
    std::fs::write(&input, "from-stdin\n").expect("written");
    let mut command = lab.in_its_environment("setsid");
    command
        .args(["--ctty", "--wait", "sh", "-c", &script])
        .arg(&input)
        .stdin(end())
        .stdout(end())
        .stderr(end());
    let mut child = command.spawn().expect("setsid is there");
    drop(command);
    drop(pty.slave);
    let mut terminal = std::fs::File::from(pty.master);
    let mut shown = Vec::new();
    let mut byte = [0];
    let question = b"password of alice at auth/userpass: ";
    while !shown.ends_with(question) {
        assert_eq!(
            terminal.read(&mut byte).expect("it asks"),
            1,
            "{}",
            String::from_utf8_lossy(&shown)
        );
        shown.push(byte[0]);
    }
    terminal.write_all(b"pass-of-alice\n").expect("typed");
    // The other end's close is an error here, not an end.
    while let Ok(1) = terminal.read(&mut byte) {
        shown.push(byte[0]);
    }
    let shown = String::from_utf8_lossy(&shown);
    assert!(child.wait().expect("ended").success(), "{shown}");
    assert_eq!(
        shown,
        "dbt-lease: password of alice at auth/userpass: \r\nthe child got from-stdin\r\n"
    );
    lab.assert_nothing_left();
}

#[test]
fn nobody_is_asked_without_a_terminal_or_in_ci() {
    let lab = with_alice();
    let words = [
        "log in by userpass at `auth/userpass`: the password needs a person, and nobody answered",
        "hint: the password is asked for on a terminal alone, and never in CI",
    ];
    let _ = lab
        .run(&["exec", "--target", "prod", "--", "true"])
        .code(125)
        .says(&words);

    let pty = nix::pty::openpty(None, None).expect("a pseudo-terminal");
    let end = || Stdio::from(pty.slave.as_fd().try_clone_to_owned().expect("duplicated"));
    let mut command = lab.in_its_environment("setsid");
    command
        .args([
            "--ctty", "--wait", DBT_LEASE, "exec", "--target", "prod", "--", "true",
        ])
        .env("CI", "true")
        .stdin(end())
        .stdout(end())
        .stderr(end());
    let mut child = command.spawn().expect("setsid is there");
    drop(command);
    drop(pty.slave);
    let mut terminal = std::fs::File::from(pty.master);
    let mut shown = Vec::new();
    let mut byte = [0];
    while let Ok(1) = terminal.read(&mut byte) {
        shown.push(byte[0]);
    }
    assert_eq!(child.wait().expect("ended").code(), Some(125));
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.contains("nobody answered"), "{shown}");
    assert_eq!(lab.requests(), [""; 0]);
}
