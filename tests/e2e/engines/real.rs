//! Each engine that OpenBao has, on the real one: the fields reach the command, under exactly the policy that `plan` prints and under no
//! less, and the end is said as it is.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use super::seconds_between;
use crate::support::{Lab, Ran};

const APPROLE: &str = "{method: approle, role_id_env: JAFFLE_PRODUCTION_ROLE_ID, secret_id_env: JAFFLE_PRODUCTION_SECRET_ID}";

/// A secret, the template that the command gets it by, and what the script must find in `$X`.
pub(super) struct Case<'a> {
    auth: &'a str,
    secret: &'a str,
    template: &'a str,
    script: &'a str,
}

impl<'a> Case<'a> {
    pub(super) fn of(secret: &'a str, template: &'a str, script: &'a str) -> Self {
        Self {
            auth: APPROLE,
            secret,
            template,
            script,
        }
    }

    fn configure(&self, lab: &Lab) {
        lab.configure(&format!(
            "version: 1\nenvironments:\n  production:\n    auth: {}\n    targets:\n      prod:\n        secrets: {{w: {}}}\n        \
             env: {{DBT_ENV_SECRET_X: '{}'}}\n",
            self.auth, self.secret, self.template
        ));
    }

    /// Runs with the policy that `plan` prints, and refuses to without the secret's own lines in it. What is said at `-v`.
    #[track_caller]
    pub(super) fn runs_with_exactly_its_policy(&self, lab: &Lab) -> String {
        self.configure(lab);
        let plan: Value =
            serde_json::from_str(&lab.run(&["plan", "-t", "prod", "--json"]).success())
                .expect("JSON");
        let policy = plan["policy"].as_str().expect("a policy");
        let blocks: Vec<&str> = policy.split("\n\n").collect();
        let path = plan["secrets"][0]["path"].as_str().expect("a path");
        let of_the_path = |block: &&&str| block.starts_with(&format!("path \"{path}\""));
        assert_eq!(blocks.iter().filter(of_the_path).count(), 1, "{policy}");

        write_policy(lab, policy);
        let ran = self.exec(lab).code(0);
        lab.assert_nothing_left();

        let less: Vec<&str> = blocks
            .iter()
            .filter(|block| !of_the_path(block))
            .copied()
            .collect();
        write_policy(lab, &less.join("\n\n"));
        let _ = self.exec(lab).code(125).says(&["its policy lacks: path"]);
        lab.assert_nothing_left();
        write_policy(lab, policy);
        ran.stderr
    }

    fn exec(&self, lab: &Lab) -> Ran {
        let script = format!("X=$DBT_ENV_SECRET_X; {}", self.script);
        lab.run(&["exec", "-v", "-t", "prod", "--", "sh", "-c", &script])
    }
}

fn write_policy(lab: &Lab, policy: &str) {
    lab.world.bao().api(
        "PUT",
        "sys/policies/acl/dbt-production",
        json!({"policy": policy}),
    );
}

/// What the record says of the last session that ran its command.
fn last_session(lab: &Lab) -> (Value, Value) {
    let record = lab.record();
    let lent = record
        .iter()
        .rfind(|event| event["event"] == "lent")
        .expect("something was lent");
    let is_its_end =
        |event: &&Value| event["event"] == "ended" && event["session"] == lent["session"];
    let ended = record.iter().find(is_its_end).expect("it ended");
    (lent.clone(), ended.clone())
}

pub(super) fn mount(lab: &Lab, path: &str, body: Value) {
    lab.world
        .bao()
        .api("POST", &format!("sys/mounts/{path}"), body);
}

#[test]
fn database_roles_dynamic_and_static() {
    let lab = Lab::new();
    let creds = Case::of(
        "database/creds/dbt-prod",
        "{{ vault.w.username }}",
        "case $X in v-*) ;; *) exit 1;; esac",
    );
    let said = creds.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("1 lease, 1 revoked, verified"), "{said}");
    // Without the right to revoke it is the token's end that ends the lease, and that is told.
    let policy = lab
        .world
        .bao()
        .api("GET", "sys/policies/acl/dbt-production", None);
    let policy = policy["data"]["policy"]
        .as_str()
        .expect("a policy")
        .to_owned();
    let less: Vec<&str> = policy
        .split("\n\n")
        .filter(|block| !block.starts_with("path \"sys/leases/revoke\""))
        .collect();
    write_policy(&lab, &less.join("\n\n"));
    let _ = creds.exec(&lab).code(0).says(&[
        "could not be revoked by itself",
        "its policy lacks: path \"sys/leases/revoke\"",
    ]);
    lab.assert_nothing_left();

    let fixed = Case::of(
        "database/static-creds/dbt-static",
        "{{ vault.w.username }}",
        "case $X in dbt_static_*) ;; *) exit 1;; esac",
    );
    let said = fixed.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("0 leases, nothing to revoke"), "{said}");
    let (lent, ended) = last_session(&lab);
    assert_eq!(lent["secrets"][0]["lease_id"], Value::Null);
    assert!(lent["secrets"][0]["ends"].as_str().is_some(), "{lent}");
    assert_eq!(ended["leases"], json!([]));
}

#[test]
fn pki_with_a_lease_and_without_and_ssh_by_certificate_and_one_time_password() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    mount(&lab, "pki", json!({"type": "pki"}));
    bao.api(
        "POST",
        "pki/root/generate/internal",
        json!({"common_name": "ca"}),
    );
    let role = json!({"allow_any_name": true, "enforce_hostnames": false, "ttl": "1h", "max_ttl": "2h", "no_store": false});
    bao.api("POST", "pki/roles/dbt", role.clone());
    let secret = "{path: pki/issue/dbt, data: {common_name: dbt-prod}, ttl: 90m}";
    let script = "printf %s \"$X\" | grep -q \"BEGIN CERTIFICATE\"";
    let tls = Case::of(
        secret,
        "{{ vault.w.certificate }}{{ vault.w.private_key }}",
        script,
    );
    let said = tls.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("0 leases, nothing to revoke"), "{said}");
    let (lent, _) = last_session(&lab);
    // The engine was asked for the life that it is to have.
    let seconds = seconds_between(&lent["time"], &lent["secrets"][0]["ends"]);
    assert!((5300..=5400).contains(&seconds), "{lent}");

    let mut with_lease = role;
    with_lease["generate_lease"] = json!(true);
    bao.api("POST", "pki/roles/dbt", with_lease);
    let said = tls.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("1 lease, 1 revoked, verified"), "{said}");

    mount(&lab, "ssh", json!({"type": "ssh"}));
    bao.api(
        "POST",
        "ssh/config/ca",
        json!({"generate_signing_key": true}),
    );
    bao.api(
        "POST",
        "ssh/roles/dbt",
        json!({"key_type": "ca", "allow_user_certificates": true, "allowed_users": "*", "default_user": "dbt", "ttl": "5m",
               "default_extensions": {"permit-port-forwarding": ""}}),
    );
    let public =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKWyTh6xRbCIgV1BZ3fG0OeNwQ0mUQ6d6yR5u1g5XbYd dbt";
    let signed = format!("{{path: ssh/sign/dbt, data: {{public_key: {public}}}}}");
    let sign = Case::of(
        &signed,
        "{{ vault.w.signed_key }}",
        "case $X in ssh-ed25519-cert*) ;; *) exit 1;; esac",
    );
    let said = sign.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("0 leases, nothing to revoke"), "{said}");
    let issue = Case::of(
        "ssh/issue/dbt",
        "{{ vault.w.private_key }}",
        "printf %s \"$X\" | grep -q \"PRIVATE KEY\"",
    );
    let _ = issue.runs_with_exactly_its_policy(&lab);

    bao.api(
        "POST",
        "ssh/roles/once",
        json!({"key_type": "otp", "default_user": "dbt", "cidr_list": "127.0.0.0/8"}),
    );
    let once = Case::of(
        "{path: ssh/creds/once, data: {ip: 127.0.0.1}}",
        "{{ vault.w.key }}",
        "test ${#X} -gt 30",
    );
    let said = once.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("1 lease, 1 revoked, verified"), "{said}");
}

#[test]
fn kv_of_both_versions_a_pinned_version_transit_and_a_cubbyhole() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    for value in ["one", "two", "three"] {
        bao.api(
            "POST",
            "secret/data/dbt/pinned",
            json!({"data": {"word": value}}),
        );
    }
    let newest = Case::of(
        "secret/data/dbt/pinned",
        "{{ vault.w.word }}",
        "test $X = three",
    );
    let _ = newest.runs_with_exactly_its_policy(&lab);
    let pinned = Case::of(
        "{path: secret/data/dbt/pinned, version: 2}",
        "{{ vault.w.word }}",
        "test $X = two",
    );
    let said = pinned.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("0 leases, nothing to revoke"), "{said}");
    let gone = Case::of(
        "{path: secret/data/dbt/pinned, version: 9}",
        "{{ vault.w.word }}",
        "exit 1",
    );
    gone.configure(&lab);
    let _ = gone.exec(&lab).code(125).says(&["secret/data/dbt/pinned"]);

    let nested = r#"{"conn": {"host": "h", "port": 5432}}"#;
    bao.api(
        "POST",
        "kv/dbt/nested",
        serde_json::from_str::<Value>(nested).expect("JSON"),
    );
    let first = Case::of(
        "{path: kv/dbt/nested, engine: kv1}",
        "{{ (vault.w.conn | fromjson).port }}",
        "test $X = 5432",
    );
    let _ = first.runs_with_exactly_its_policy(&lab);

    mount(&lab, "transit", json!({"type": "transit"}));
    bao.api("POST", "transit/keys/dbt", json!({}));
    // base64 of "päss{{1}}"
    let kept = bao.api(
        "POST",
        "transit/encrypt/dbt",
        json!({"plaintext": "cMOkc3N7ezF9fQ=="}),
    );
    let secret = format!(
        "{{path: transit/decrypt/dbt, data: {{ciphertext: '{}'}}}}",
        kept["data"]["ciphertext"].as_str().expect("a text")
    );
    let decrypted = Case::of(
        &secret,
        "{{ vault.w.plaintext | b64decode }}",
        "test \"$X\" = 'päss{{1}}'",
    );
    let said = decrypted.runs_with_exactly_its_policy(&lab);
    assert!(said.contains("0 leases, nothing to revoke"), "{said}");
}

#[test]
fn a_cubbyhole_of_the_users_own_token() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    let cubbyhole = Case {
        auth: "{method: token}",
        secret: "cubbyhole/dbt",
        template: "{{ vault.w.word }}",
        script: "test $X = mine",
    };
    cubbyhole.configure(&lab);
    let plan: Value =
        serde_json::from_str(&lab.run(&["plan", "-t", "prod", "--json"]).success()).expect("JSON");
    let policy = plan["policy"].as_str().expect("a policy");
    let token = |policy: String| {
        bao.api("PUT", "sys/policies/acl/cubby", json!({"policy": policy}));
        let made = bao.api(
            "POST",
            "auth/token/create",
            json!({"policies": ["cubby"], "no_default_policy": true}),
        );
        made["auth"]["client_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    };
    // Who fills it may write, too.
    let own = token(format!(
        "{policy}\npath \"cubbyhole/dbt\" {{ capabilities = [\"read\", \"create\", \"update\"] }}\n"
    ));
    bao.api_as(&own, "POST", "cubbyhole/dbt", json!({"word": "mine"}));
    bao.api("PUT", "sys/policies/acl/cubby", json!({"policy": policy}));
    let run = |token: &str| {
        lab.run_with(
            &[("VAULT_TOKEN", token)],
            &[
                "exec",
                "-t",
                "prod",
                "--",
                "sh",
                "-c",
                "test $DBT_ENV_SECRET_X = mine",
            ],
        )
    };
    run(&own).silent().success();
    let less: Vec<&str> = policy
        .split("\n\n")
        .filter(|block| !block.starts_with("path \"cubbyhole/dbt\""))
        .collect();
    bao.api(
        "PUT",
        "sys/policies/acl/cubby",
        json!({"policy": less.join("\n\n")}),
    );
    let _ = run(&own)
        .code(125)
        .says(&["its policy lacks: path \"cubbyhole/dbt\""]);
}

#[test]
fn kubernetes_tokens_of_a_service_account_that_was_there_and_of_one_that_is_made() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    let cluster = Cluster::start();
    mount(&lab, "kubernetes", json!({"type": "kubernetes"}));
    bao.api(
        "POST",
        "kubernetes/config",
        json!({"kubernetes_host": cluster.address, "service_account_jwt": "the.engines.own", "disable_local_ca_jwt": true}),
    );
    let mut role = json!({"allowed_kubernetes_namespaces": ["dbt"], "token_default_ttl": "10m", "service_account_name": "runner"});
    bao.api("POST", "kubernetes/roles/dbt", role.clone());
    let case = Case::of(
        "{path: kubernetes/creds/dbt, data: {kubernetes_namespace: dbt}}",
        "{{ vault.w.service_account_name }} {{ vault.w.service_account_token }}",
        "case $X in runner*eyJ*) ;; *) exit 1;; esac",
    );
    let said = case.runs_with_exactly_its_policy(&lab);
    assert!(
        said.contains("the credential of `kubernetes/creds/dbt` is not revoked, and lives until")
            && said.contains("a token of a service account that was there before lives on"),
        "{said}"
    );
    let (lent, ended) = last_session(&lab);
    assert_eq!(lent["secrets"][0]["revocation"], "unsure");
    assert_eq!(ended["leases"][0]["result"], "not_revocable");
    assert!(
        ended["leases"][0]["lives_until"].as_str().is_some(),
        "{ended}"
    );

    role["service_account_name"] = json!("");
    role["kubernetes_role_name"] = json!("reader");
    bao.api("POST", "kubernetes/roles/dbt", role);
    let made = Case::of(
        case.secret,
        case.template,
        "case $X in v-*eyJ*) ;; *) exit 1;; esac",
    );
    let _ = made.runs_with_exactly_its_policy(&lab);
    let asked = cluster.requests();
    let deleted = |what: &str| {
        asked
            .iter()
            .any(|asked| asked.starts_with("DELETE ") && asked.contains(what))
    };
    assert!(
        deleted("/serviceaccounts/v-") && deleted("/rolebindings/v-"),
        "{asked:?}"
    );
}

/// A stub of a Kubernetes API server, as far as the engine asks it: it makes tokens, and gives back what is to be made.
struct Cluster {
    address: String,
    seen: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Cluster {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let told = std::sync::Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let told = std::sync::Arc::clone(&told);
                std::thread::spawn(move || Self::serve(&stream, &told));
            }
        });
        Self { address, seen }
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().expect("no test holds it").clone()
    }

    fn serve(stream: &TcpStream, seen: &std::sync::Mutex<Vec<String>>) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let asked = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
            let mut length = 0;
            loop {
                let mut header = String::new();
                if reader.read_line(&mut header).unwrap_or(0) == 0 {
                    return;
                }
                let header = header.trim_end().to_ascii_lowercase();
                if header.is_empty() {
                    break;
                }
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let answer = if asked.contains("/token") {
                json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
                       "spec": {"audiences": null, "expirationSeconds": 600, "boundObjectRef": null},
                       "status": {"token": jwt(), "expirationTimestamp": "2100-01-01T00:00:00Z"}})
            } else if asked.starts_with("DELETE") {
                json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
            } else {
                let mut made: Value = serde_json::from_slice(&body).unwrap_or(json!({}));
                made["metadata"]["uid"] = json!("7");
                made
            };
            seen.lock().expect("no test holds it").push(asked);
            let text = answer.to_string();
            let reply = format!(
                "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            );
            if (&mut &*stream).write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A token that lives ten minutes, as the engine reads it: it does not verify it.
fn jwt() -> String {
    let part = |text: &str| {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut coded = String::new();
        for chunk in text.as_bytes().chunks(3) {
            let mut bits = [0; 3];
            bits[..chunk.len()].copy_from_slice(chunk);
            let number = u32::from_be_bytes([0, bits[0], bits[1], bits[2]]);
            for digit in 0..=chunk.len() {
                let at = (number >> (18 - 6 * digit)) & 63;
                coded.push(char::from(DIGITS[at as usize]));
            }
        }
        coded
    };
    format!(
        "{}.{}.{}",
        part(r#"{"alg":"RS256","typ":"JWT"}"#),
        part(r#"{"iat":1000,"exp":1600}"#),
        part("signature")
    )
}
