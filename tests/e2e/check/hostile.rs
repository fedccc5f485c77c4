//! A server that answers anything: nothing of it acts on a terminal or a shell, and nothing of it is taken for `ok`.

use dbt_lease_sandbox::World;
use dbt_lease_sandbox::web::{Received, Reply, Web};
use serde_json::{Value, json};

use super::Case;
use crate::support::Ran;

/// Acts on terminals, on CI systems, on shells, and hides what follows.
const ODD: &str = "x\u{1b}[2J\u{1b}]0;t\u{7}\r\n::set-env name=A::b\n##vso[task]\u{202e}\nEOF\n$(touch hacked)`touch hacked`';touch hacked;'";

type Answer = dyn Fn(&Received) -> Reply + Send + Sync;

#[track_caller]
fn harmless(case: &Case<'_>, ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        for odd in ['\u{1b}', '\u{7}', '\r', '\u{202e}'] {
            assert!(!text.contains(odd), "{odd:?} in\n{text}");
        }
        assert!(!text.lines().any(|line| line.starts_with("::")), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
    assert!(!case.project.join("hacked").exists());
}

/// What a login would answer.
fn token(policies: &Value) -> Value {
    json!({"auth": {"client_token": "s.odd", "accessor": ODD, "policies": policies, "metadata": {"role_name": ODD},
        "lease_duration": 3600, "renewable": true, "token_type": "service"}})
}

#[test]
fn a_server_s_odd_words_act_on_nothing_and_odd_answers_are_never_ok() {
    let world = World::start();
    let good = json!({"sealed": false, "type": ODD, "version": ODD});
    let role = json!({"data": {"db_name": ODD, "default_ttl": 1, "max_ttl": 1, "creation_statements": [format!("CREATE ROLE {ODD}")],
        "revocation_statements": [ODD], "renew_statements": [ODD]}});
    let all_roots = |received: &Received| {
        let paths: Value = serde_json::from_str(&received.body).unwrap_or_default();
        let paths = paths["paths"].as_array().cloned().unwrap_or_default();
        let data: serde_json::Map<String, Value> = paths
            .iter()
            .map(|path| {
                (
                    path.as_str().unwrap_or_default().to_owned(),
                    json!([ODD, "read", "update"]),
                )
            })
            .collect();
        json!({"data": data})
    };
    let answers: Vec<(&str, Box<Answer>)> = vec![
        (
            "odd words everywhere",
            Box::new(move |received| {
                Reply::json(&match received.path.as_str() {
                    "/v1/sys/seal-status" => good.clone(),
                    "/v1/auth/approle/login" => token(&json!([ODD, "default", "$(touch hacked)"])),
                    "/v1/sys/capabilities-self" => all_roots(received),
                    path if path.starts_with("/v1/database/roles/") => role.clone(),
                    "/v1/sys/audit" => json!({"data": {ODD: {"type": ODD}}}),
                    path if path.ends_with("/lookup") => {
                        json!({"data": {"secret_id_ttl": 10, "expiration_time": ODD}})
                    }
                    _ => json!({"data": {"num_uses": 3, "explicit_max_ttl": 5}, "warnings": [ODD]}),
                })
            }),
        ),
        (
            "refusals in odd words",
            Box::new(|received| match received.path.as_str() {
                "/v1/sys/seal-status" => {
                    Reply::json(&json!({"sealed": false, "type": "static", "version": "2.7.2"}))
                }
                "/v1/auth/approle/login" => Reply::json(&token(&json!(["p"]))),
                _ => Reply::new(403, json!({"errors": [ODD]}).to_string()),
            }),
        ),
        ("no JSON", Box::new(|_| Reply::new(200, ODD))),
        ("an empty map", Box::new(|_| Reply::json(&json!({})))),
        ("a list", Box::new(|_| Reply::json(&json!([1, 2])))),
        (
            "other types",
            Box::new(|_| Reply::json(&json!({"sealed": "no", "type": 5, "data": [], "auth": 7}))),
        ),
        ("deep", Box::new(|_| Reply::new(200, "[".repeat(100_000)))),
        (
            "nothing at all",
            Box::new(|received| match received.path.as_str() {
                "/v1/sys/seal-status" => Reply::json(&json!({"sealed": false})),
                "/v1/auth/approle/login" => Reply::json(&token(&Value::Null)),
                _ => Reply::json(&json!({"data": null})),
            }),
        ),
    ];
    for (number, (name, answer)) in answers.into_iter().enumerate() {
        let mut case = Case::new(&world, &format!("odd{number}"));
        let web = Web::start(answer);
        case.home.set("VAULT_ADDR", web.address());
        let text = case.run(&["check", "--all"]);
        harmless(&case, &text);
        let ran = case.run(&["check", "--all", "--json"]);
        harmless(&case, &ran);
        let checked = super::Checked::of(ran);
        let ok: Vec<&str> = checked
            .findings()
            .filter(|finding| finding["state"] == "ok" && finding["environment"] == "staging")
            .map(|finding| finding["id"].as_str().expect("an id"))
            .collect();
        for never in [
            "policy_broad",
            "role_revocation",
            "role_renewal",
            "isolation_paths",
        ] {
            assert!(!ok.contains(&never), "{name}: {never} is ok");
        }
        // Each cure is one that a shell reads as it stands.
        for finding in checked
            .findings()
            .filter(|finding| finding["cure"]["kind"] == "command")
        {
            let command = finding["cure"]["text"].as_str().expect("a command");
            let words = format!(
                "bao() {{ cat > /dev/null; }}; dbt-lease() {{ :; }}; export() {{ :; }}; timedatectl() {{ :; }}; umask() {{ :; }}\n{command}"
            );
            let status = case
                .home
                .command("bash")
                .args(["-c", &words])
                .current_dir(&case.project)
                .stdin(std::process::Stdio::null())
                .output()
                .expect("a shell");
            assert!(!case.project.join("hacked").exists(), "{name}: {command}");
            assert!(
                status.stderr.is_empty()
                    || !String::from_utf8_lossy(&status.stderr).contains("syntax"),
                "{name}: {command}"
            );
        }
    }
}
