//! The commands of docs/logins.md, word for word, on a real OpenBao: what a reader copies must be right.
#![forbid(unsafe_code)]

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use dbt_lease_sandbox::openbao::ClientCertificates;
use dbt_lease_sandbox::{Issuer, OpenBao, venv};
use serde_json::{Value, json};

/// The page's blocks of commands for OpenBao.
fn blocks() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/logins.md");
    let text = std::fs::read_to_string(page).expect("the page");
    text.split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|block| block.starts_with("bao "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_commands_of_the_page_of_logins_are_taken_word_for_word() {
    let bao = OpenBao::options().tls(ClientCertificates::Accepted).start();
    let issuer = Issuer::start();
    let directory = bao.directory().to_owned();
    let programs = directory.join("programs");
    std::fs::create_dir(&programs).expect("made");
    symlink(venv().bao(), programs.join("bao")).expect("linked");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut enabled = Vec::new();
    for block in blocks() {
        // What the page leaves open, and the two addresses that are not to be had here.
        let mut block = block
            .replace(
                "https://token.actions.githubusercontent.com",
                issuer.address(),
            )
            .replace("https://login.example.com", issuer.address())
            .replace("client_secret=…", "client_secret=x")
            .replace("password=…", "password=x")
            .replace(
                "kubernetes_host=https://kubernetes.default.svc",
                "kubernetes_host=https://kubernetes.default.svc kubernetes_ca_cert=@ca.pem",
            );
        if block.contains("mfa") {
            let entity = bao.api("POST", "identity/entity", json!({"name": "alice"}));
            let accessor = bao.api("GET", "sys/auth", None);
            let (first, rest) = block.split_once('\n').expect("several lines");
            block = format!(
                "ID=$({} | sed -n 's/^method_id *//p')\n{rest}",
                first.replace("issuer", "-format=table issuer")
            )
            .replace("method_id=…", "method_id=$ID")
            .replace("mfa_method_ids=…", "mfa_method_ids=$ID")
            .replace(
                "entity_id=…",
                &format!("entity_id={}", text(&entity["data"]["id"])),
            )
            .replace(
                "accessors=…",
                &format!(
                    "accessors={}",
                    text(&accessor["data"]["userpass/"]["accessor"])
                ),
            );
        }
        assert!(!block.contains('…'), "{block}");
        let ran = Command::new("sh")
            .args(["-euc", &block])
            .current_dir(&directory)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", programs.display()))
            .env("HOME", &directory)
            .env("BAO_ADDR", bao.address())
            .env("BAO_TOKEN", bao.root_token())
            .output()
            .expect("a shell");
        assert!(
            ran.status.success(),
            "{block}\n{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        enabled.extend(
            block
                .lines()
                .filter_map(|line| line.strip_prefix("bao auth enable "))
                .map(str::to_owned),
        );
    }
    assert_eq!(
        enabled,
        ["approle", "jwt", "oidc", "userpass", "cert", "kubernetes"]
    );
    // They do what the page says.
    let read = |path: &str| bao.api("GET", path, None)["data"].clone();
    assert_eq!(
        read("auth/oidc/role/dbt-developer")["bound_claims"],
        json!({"groups": ["analytics"]})
    );
    assert_eq!(
        read("auth/jwt/role/dbt-production")["bound_audiences"],
        json!(["https://vault.example.com:8200/production"])
    );
    assert_eq!(
        read("identity/mfa/login-enforcement/people")["name"],
        "people"
    );
}
