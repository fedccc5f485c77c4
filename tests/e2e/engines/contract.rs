//! The engines that OpenBao does not have, by contract: a stub answers as their sources do (HashiCorp's aws backend, and the plugins for
//! gcp, azure and openldap, November 2026). What is looked at is what we ask, and what we say of the end.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::seconds_between;
use super::stub::{VaultStub, leased, plain};
use crate::support::{DBT_LEASE, Ran, Running, events, ran};

/// A project with one secret whose field reaches the command as a variable.
struct Case {
    home: dbt_lease_sandbox::Home,
    project: std::path::PathBuf,
    stub: VaultStub,
}

impl Case {
    fn new(secret: &str, field: &str, answers: Vec<(&'static str, Value)>) -> Self {
        let stub = VaultStub::start(answers);
        let mut home = dbt_lease_sandbox::Home::new();
        home.set("DBT_LEASE_TRUST", "any");
        home.set("VAULT_ADDR", stub.address());
        home.set("ROLE_ID", "role");
        home.set("SECRET_ID", "secret");
        let project = home.copy_project("jaffle");
        let text = format!(
            "version: 1\nenvironments:\n  production:\n    auth: {{method: approle, role_id_env: ROLE_ID, secret_id_env: SECRET_ID}}\n    \
             targets:\n      prod: {{secrets: {{w: {secret}}}, env: {{DBT_ENV_SECRET_X: '{{{{ vault.w.{field} }}}}'}}}}\n"
        );
        std::fs::write(project.join("dbt-lease.yml"), text).expect("written");
        Self {
            home,
            project,
            stub,
        }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments).output().expect("the tool starts"))
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.home.command(DBT_LEASE);
        command
            .args(arguments)
            .current_dir(&self.project)
            .stdin(Stdio::null());
        command
    }

    /// Runs, and gives what was said, asked between login and the token's end, and the two events.
    fn lend(&self, value: &str) -> (String, Vec<(String, Value)>, Value, Value) {
        let script = format!("test \"$DBT_ENV_SECRET_X\" = '{value}'");
        let ran = self
            .run(&[
                "exec", "-v", "--strict", "-t", "prod", "--", "sh", "-c", &script,
            ])
            .code(0);
        let mut asked = self.stub.requests();
        assert_eq!(asked.remove(0).0, "POST auth/approle/login");
        assert_eq!(
            asked.pop().map(|(asked, _)| asked),
            Some("POST auth/token/revoke-self".to_owned())
        );
        let mut record = events(&self.home.record());
        let ended = record.pop().expect("ended");
        let lent = record.pop().expect("lent");
        (ran.stderr, asked, lent, ended)
    }

    fn plan(&self) -> Value {
        serde_json::from_str(&self.run(&["plan", "-t", "prod", "--json"]).success()).expect("JSON")
    }
}

/// The paths of `plan`'s requests between login and the token's end.
fn planned(plan: &Value) -> Vec<String> {
    let requests = plan["requests"].as_array().expect("a list");
    requests[1..requests.len() - 1]
        .iter()
        .map(|request| {
            format!(
                "{} {}",
                request["method"].as_str().expect("a text"),
                request["path"].as_str().expect("a text")
            )
        })
        .collect()
}

fn revoked(path: &str) -> (String, Value) {
    let body = json!({"lease_id": format!("{path}/LeaseOfTheStub"), "sync": true});
    ("PUT sys/leases/revoke".to_owned(), body)
}

const SESSION: &str = r#"{"access_key": "ASIA1", "secret_key": "s", "session_token": "t", "security_token": "t", "arn": "arn:aws:sts::1:assumed-role/dbt/x", "ttl": 7200}"#;

fn session() -> Value {
    serde_json::from_str(SESSION).expect("JSON")
}

#[test]
fn a_session_of_aws_is_asked_for_its_life_and_never_called_revoked() {
    let answer = leased("aws/sts/dbt", 7200, false, session());
    let case = Case::new(
        "{path: aws/sts/dbt, ttl: 2h}",
        "session_token",
        vec![("aws/sts/dbt", answer)],
    );
    let plan = case.plan();
    assert_eq!(planned(&plan), ["GET aws/sts/dbt"]);
    assert_eq!(
        plan["secrets"][0]["ends"],
        "not revocable: ends by its time alone"
    );
    assert!(
        !plan["policy"]
            .as_str()
            .expect("a policy")
            .contains("sys/leases"),
        "{plan}"
    );
    let (said, asked, lent, ended) = case.lend("t");
    assert_eq!(
        asked,
        [("GET aws/sts/dbt?ttl=7200s".to_owned(), Value::Null)]
    );
    assert!(
        said.contains("the credential of `aws/sts/dbt` is not revoked, and lives until")
            && said.contains("1 lease, which ends by its time alone")
            && !said.contains("1 revoked"),
        "{said}"
    );
    assert_eq!(lent["secrets"][0]["revocation"], "nothing");
    let lease = &ended["leases"][0];
    assert_eq!(lease["result"], "not_revocable");
    // It outlives the token, which is revoked.
    assert_eq!(ended["token"], "revoked");
    assert!(
        seconds_between(&lent["time"], &lease["lives_until"]) >= 7190,
        "{ended}"
    );
}

#[test]
fn an_iam_user_of_aws_is_revoked_and_a_session_of_the_same_path_is_not() {
    let user = json!({"access_key": "AKIA1", "secret_key": "s", "security_token": null});
    let case = Case::new(
        "aws/creds/dbt",
        "access_key",
        vec![("aws/creds/dbt", leased("aws/creds/dbt", 3600, true, user))],
    );
    assert_eq!(
        planned(&case.plan()),
        ["GET aws/creds/dbt", "PUT sys/leases/revoke"]
    );
    let (said, asked, lent, ended) = case.lend("AKIA1");
    assert_eq!(asked[1..], [revoked("aws/creds/dbt")]);
    assert!(said.contains("1 lease, 1 revoked, verified"), "{said}");
    assert_eq!(lent["secrets"][0]["revocation"], Value::Null);
    assert_eq!(ended["leases"][0]["result"], "revoked");

    let answer = leased("aws/creds/dbt", 3600, false, session());
    let case = Case::new(
        "aws/creds/dbt",
        "access_key",
        vec![("aws/creds/dbt", answer)],
    );
    let (said, asked, _, ended) = case.lend("ASIA1");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(!said.contains("1 revoked"), "{said}");
    assert_eq!(ended["leases"][0]["result"], "not_revocable");

    // A role with `no_lease`: the answer tells the end.
    let case = Case::new(
        "aws/sts/dbt",
        "access_key",
        vec![("aws/sts/dbt", plain(session()))],
    );
    let (_, asked, lent, _) = case.lend("ASIA1");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(
        seconds_between(&lent["time"], &lent["secrets"][0]["ends"]) >= 7190,
        "{lent}"
    );
}

#[test]
fn a_token_of_google_has_no_lease_and_a_key_of_google_has_one() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("later")
        .as_secs();
    let token = json!({"token": "ya29.x", "token_ttl": 3599, "expires_at_seconds": now + 3599});
    let case = Case::new(
        "gcp/roleset/dbt/token",
        "token",
        vec![("gcp/roleset/dbt/token", plain(token))],
    );
    assert_eq!(planned(&case.plan()), ["GET gcp/roleset/dbt/token"]);
    let (said, asked, lent, ended) = case.lend("ya29.x");
    assert_eq!(
        asked,
        [("GET gcp/roleset/dbt/token".to_owned(), Value::Null)]
    );
    assert!(said.contains("0 leases, nothing to revoke"), "{said}");
    assert_eq!(lent["secrets"][0]["lease_id"], Value::Null);
    assert!(
        (3590..=3600).contains(&seconds_between(&lent["time"], &lent["secrets"][0]["ends"])),
        "{lent}"
    );
    assert_eq!(ended["leases"], json!([]));

    let key = json!({"private_key_data": "e30=", "key_algorithm": "KEY_ALG_RSA_2048", "key_type": "TYPE_GOOGLE_CREDENTIALS_FILE"});
    let case = Case::new(
        "{path: clouds/google/static-account/dbt/key, engine: gcp, mount: clouds/google, ttl: 1h}",
        "private_key_data | b64decode",
        vec![(
            "clouds/google/static-account/dbt/key",
            leased("clouds/google/static-account/dbt/key", 3600, true, key),
        )],
    );
    let (_, asked, ..) = case.lend("{}");
    assert_eq!(
        asked,
        [
            (
                "GET clouds/google/static-account/dbt/key?ttl=3600s".to_owned(),
                Value::Null
            ),
            revoked("clouds/google/static-account/dbt/key")
        ]
    );
}

#[test]
fn a_token_that_ends_while_the_command_runs_is_told() {
    let soon = SystemTime::now() + Duration::from_secs(2);
    let soon = soon.duration_since(UNIX_EPOCH).expect("later").as_secs();
    let token = json!({"token": "ya29.x", "token_ttl": 2, "expires_at_seconds": soon});
    let case = Case::new(
        "gcp/roleset/dbt/token",
        "token",
        vec![("gcp/roleset/dbt/token", plain(token))],
    );
    let mut command = case.command(&["exec", "-t", "prod", "--", "sh", "-c", "read line"]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    running.wait_for_words(
        "the credential of `gcp/roleset/dbt/token` has ended while the command runs",
    );
    let mut stdin = running.child.stdin.take().expect("a pipe");
    stdin.write_all(b"\n").expect("it waits");
    drop(stdin);
    running.end().success();
}

#[test]
fn azure_and_ldap_are_revoked_and_a_library_account_is_checked_in_by_that() {
    let app = json!({"client_id": "c0ffee", "client_secret": "az"});
    let case = Case::new(
        "azure/creds/dbt",
        "client_secret",
        vec![(
            "azure/creds/dbt",
            leased("azure/creds/dbt", 3600, true, app),
        )],
    );
    let (_, asked, ..) = case.lend("az");
    assert_eq!(
        asked,
        [
            ("GET azure/creds/dbt".to_owned(), Value::Null),
            revoked("azure/creds/dbt")
        ]
    );

    let user = json!({"username": "v_dbt", "password": "lp", "distinguished_names": ["cn=v_dbt"]});
    let case = Case::new(
        "ldap/creds/dbt",
        "password",
        vec![("ldap/creds/dbt", leased("ldap/creds/dbt", 3600, true, user))],
    );
    let (_, asked, ..) = case.lend("lp");
    assert_eq!(
        asked,
        [
            ("GET ldap/creds/dbt".to_owned(), Value::Null),
            revoked("ldap/creds/dbt")
        ]
    );

    let fixed = json!({"username": "dbt", "password": "lp", "dn": "cn=dbt", "ttl": 500, "rotation_period": 900,
                       "last_password": "", "last_vault_rotation": "2026-11-24T00:00:00Z"});
    let case = Case::new(
        "ldap/static-cred/dbt",
        "password",
        vec![("ldap/static-cred/dbt", plain(fixed))],
    );
    let (_, asked, lent, _) = case.lend("lp");
    assert_eq!(
        asked,
        [("GET ldap/static-cred/dbt".to_owned(), Value::Null)]
    );
    assert!((490..=500).contains(&seconds_between(&lent["time"], &lent["secrets"][0]["ends"])));

    // The engine's `check-in` is not asked: it would leave the lease, whose end checks the account in once more, under its next borrower.
    let path = "ldap/library/dbt/check-out";
    let account = json!({"service_account_name": "svc@example.com", "password": "lp"});
    let case = Case::new(
        "{path: ldap/library/dbt/check-out, ttl: 1h}",
        "password",
        vec![(path, leased(path, 3600, true, account))],
    );
    let plan = case.plan();
    assert_eq!(
        planned(&plan),
        ["POST ldap/library/dbt/check-out", "PUT sys/leases/revoke"]
    );
    assert_eq!(
        plan["secrets"][0]["ends"],
        "checked in by the revocation of its lease"
    );
    assert!(
        plan["policy"]
            .as_str()
            .expect("a policy")
            .contains("\"lease_id\" = [\"ldap/library/dbt/check-out/*\"]"),
        "{plan}"
    );
    let (said, asked, _, ended) = case.lend("lp");
    assert_eq!(
        asked,
        [
            (format!("POST {path}"), json!({"ttl": "3600s"})),
            revoked(path)
        ]
    );
    assert!(said.contains("1 lease, 1 revoked, verified"), "{said}");
    assert_eq!(ended["leases"][0]["result"], "revoked");
}

/// A session that holds a lease on a session of AWS, whose command waits.
fn waiting() -> (Case, Running) {
    let answer = leased("aws/sts/dbt", 7200, false, session());
    let case = Case::new("aws/sts/dbt", "access_key", vec![("aws/sts/dbt", answer)]);
    let command = case.command(&[
        "exec",
        "-t",
        "prod",
        "--",
        "sh",
        "-c",
        "echo ready; sleep 600",
    ]);
    let mut running = Running::start(command);
    running.wait_for_line("ready");
    (case, running)
}

#[test]
fn end_tells_of_a_session_of_aws_that_it_lives_on() {
    let (case, running) = waiting();
    let said = case.run(&["end", "--all"]).code(0).stdout;
    assert!(
        said.contains("1 lease, 0 revoked")
            && said.contains("the credential of `aws/sts/dbt` is not revoked, and lives until"),
        "{said}"
    );
    let _ = running.end();
}

#[test]
fn the_janitor_does_not_call_a_session_of_aws_revoked_either() {
    let (case, running) = waiting();
    case.stub.requests();
    nix::sys::signal::kill(running.pid(), nix::sys::signal::Signal::SIGKILL).expect("killed");
    crate::support::wait_until("the janitor has put the end on record", || {
        events(&case.home.record())
            .iter()
            .any(|event| event["event"] == "ended")
    });
    let record = events(&case.home.record());
    let ended = record.last().expect("an event");
    assert_eq!(ended["leases"][0]["result"], "not_revocable", "{ended}");
    assert_eq!(ended["token"], "revoked");
    let asked = case.stub.requests();
    assert!(
        asked
            .iter()
            .all(|(asked, _)| asked != "PUT sys/leases/revoke"),
        "{asked:?}"
    );
    let _ = running.end();
}
