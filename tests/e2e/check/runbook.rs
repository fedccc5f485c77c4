//! docs/runbook.md: its commands run on a real OpenBao, in its order, and do what it says of them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use dbt_lease_sandbox::{Issuer, World, venv};
use serde_json::json;

use crate::readme::blocks;
use crate::support::wait_until;

/// A server that ends with its test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_runbook_s_seal_and_audit_device_are_what_a_server_starts_with() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    fs::write(at("unseal.key"), [7; 32]).expect("written");
    let port = dbt_lease_sandbox::free_port();
    let written = blocks("docs/runbook.md", "hcl").join("\n");
    let config = written
        .replace("/etc/openbao/unseal.key", &at("unseal.key"))
        .replace("/var/log/openbao/audit.jsonl", &at("audit.jsonl"));
    assert_ne!(config, written);
    let further = format!(
        "storage \"inmem\" {{}}\nlistener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\napi_addr = \"http://127.0.0.1:{port}\"\n"
    );
    fs::write(at("config.hcl"), format!("{config}\n{further}")).expect("written");
    let server = Command::new(venv().bao())
        .args(["server", &format!("-config={}", at("config.hcl"))])
        .env_clear()
        .env("HOME", directory.path())
        .stdout(fs::File::create(at("server.log")).expect("made"))
        .stderr(Stdio::null())
        .spawn();
    let mut server = Server(server.expect("started"));
    let mut answer = String::new();
    wait_until("the server answers", || {
        let ended = server.0.try_wait().expect("asked");
        assert_eq!(ended, None, "{:?}", fs::read_to_string(at("server.log")));
        let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
            stream.write_all(b"GET /v1/sys/seal-status HTTP/1.0\r\n\r\n")?;
            stream.read_to_string(&mut answer)
        });
        asked.is_ok() && answer.contains("\"type\"")
    });
    assert!(answer.contains("\"type\":\"static\""), "{answer}");
}

#[test]
fn the_runbook_s_commands_do_what_it_says_on_a_real_server() {
    let world = World::start();
    let bao = world.bao();
    let (home, _) = world.home();
    let file = |name: &str| home.home().join(name);
    let read = |name: &str| {
        fs::read_to_string(file(name))
            .expect(name)
            .trim()
            .to_owned()
    };
    fs::write(file("ci.pem"), Issuer::start().public_key()).expect("written");
    let key = super::servers::unseal_key(bao);
    let shell = |script: &str| -> String {
        let mut command = home.command("bash");
        let output = command
            .args(["-euo", "pipefail", "-c", script])
            .env("BAO_ADDR", bao.address())
            .env("BAO_TOKEN", bao.root_token())
            .env("UNSEAL_KEY", &key)
            .output()
            .expect("a shell");
        let ran = crate::support::ran(output);
        assert_eq!(ran.code, Some(0), "{script}\n{}{}", ran.stdout, ran.stderr);
        ran.stdout
    };
    let log_in = |mount: &str, role_id: &str, secret_id: &str| {
        let ids = json!({"role_id": role_id, "secret_id": secret_id});
        let answer = bao.api_as("", "POST", &format!("auth/{mount}/login"), ids);
        answer.body["auth"]["client_token"]
            .as_str()
            .map(str::to_owned)
    };
    let may = |token: &str, path: &str| bao.api_as(token, "GET", path, None).status == 200;
    let borrows = |token: &str| may(token, "database/creds/dbt-prod");
    let role_id = &world.production().role_id;
    let mut secret_id = world.production().secret_id.clone();

    let all = blocks("docs/runbook.md", "sh");
    assert!(all.len() >= 12, "{}", all.len());
    for block in all {
        // So that there is something to end.
        let token = block
            .contains("lease revoke")
            .then(|| log_in("approle", role_id, &secret_id).expect("a token"));
        if let Some(token) = &token {
            assert!(borrows(token), "{block}");
        }
        let printed = shell(&block);
        if token.is_some() {
            assert_eq!(world.leases(), Vec::<String>::new(), "{block}");
        }
        if block.contains("renew_statements") {
            let role = bao.api("GET", "database/roles/dbt-prod", None)["data"].clone();
            assert_eq!(role["max_ttl"], 8 * 3600);
            assert!(
                role["revocation_statements"]
                    .to_string()
                    .contains("pg_terminate_backend"),
                "{role}"
            );
        }
        if block.contains("sys/seal-status") {
            assert!(printed.contains("shamir"), "{printed}");
        }
        if block.contains("secret-id-accessor/destroy") {
            assert_eq!(log_in("approle", role_id, &secret_id), None);
            let token = token.expect("it revokes leases");
            wait_until("its token has ended", || {
                !may(&token, "auth/token/lookup-self")
            });
            secret_id = read("new-secret-id");
            assert!(log_in("approle", role_id, &secret_id).is_some());
        }
    }
    assert!(may(&read("operator-token"), "sys/auth"));
    let token = log_in(
        "approle-2027",
        &read("role-id-2027"),
        &read("secret-id-2027"),
    );
    assert!(borrows(&token.expect("the new mount's")));
    assert_eq!(
        log_in("approle", role_id, &secret_id),
        None,
        "the old mount is there"
    );
}
