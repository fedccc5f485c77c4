//! `env`: a session that lives on in the janitor after its process has ended.

use std::fs;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::{DBT_LEASE, Lab, Ran, files_below, ran, wait_until};

/// The variables that `env --format json` gives for staging.
#[track_caller]
fn handed_out(lab: &Lab) -> Value {
    let text = lab
        .run(&["env", "-t", "staging", "--format", "json"])
        .silent()
        .success();
    serde_json::from_str(&text).expect("JSON")
}

#[track_caller]
fn end(lab: &Lab, variables: &Value) -> String {
    let session = variables["DBT_LEASE_SESSION"].as_str().expect("a session");
    lab.run(&["end", session]).silent().success()
}

#[track_caller]
fn assert_ended(lab: &Lab, result: &str) {
    wait_until("the session's end is on record", || lab.record().len() == 2);
    let ended = lab.record().remove(1);
    assert_eq!(ended["result"], result, "{ended}");
    assert_eq!(ended["leases"][0]["result"], "revoked", "{ended}");
    assert_eq!(ended["directory"], "removed", "{ended}");
    assert_eq!(ended["token"], "revoked", "{ended}");
    lab.assert_nothing_left();
}

/// The janitors whose session directory lies in this lab.
fn janitors(lab: &Lab) -> Vec<Pid> {
    let runtime = lab.home.runtime().display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        let holds = |link: &fs::DirEntry| {
            fs::read_link(link.path()).is_ok_and(|to| to.starts_with(&runtime))
        };
        if line == "dbt-lease-janitor\0"
            && fs::read_dir(entry.path().join("fd"))
                .into_iter()
                .flatten()
                .flatten()
                .any(|link| holds(&link))
        {
            found.push(Pid::from_raw(pid));
        }
    }
    found
}

#[test]
fn a_shell_has_the_credentials_until_end_and_dbt_finds_them() {
    let lab = Lab::new();
    let script = format!(
        "eval \"$({DBT_LEASE} env -t staging)\" || exit 9; {} debug || exit 8; {DBT_LEASE} status; {DBT_LEASE} end $DBT_LEASE_SESSION",
        dbt_lease_sandbox::venv::venv().dbt().display()
    );
    let mut command = lab.in_its_environment("sh");
    command.args(["-c", &script]);
    let ran = ran(command.output().expect("sh runs"));
    let said = ran.success();
    assert!(said.contains("All checks passed!"), "{said}");
    assert!(said.contains("  staging      jaffle/staging"), "{said}");
    assert!(
        said.contains("1 lease, 1 revoked, verified by Vault's answer"),
        "{said}"
    );
    assert_ended(&lab, "ended by `dbt-lease end`");
}

#[test]
fn after_its_time_everything_is_given_back() {
    let lab = Lab::new();
    let role = "database/roles/dbt-staging";
    let mut known = lab.world.bao().api("GET", role, None)["data"].clone();
    known["default_ttl"] = json!("4s");
    lab.world.bao().api("POST", role, known);
    let variables = handed_out(&lab);
    let directory = variables["DBT_PROFILES_DIR"].as_str().expect("a path");
    assert!(fs::metadata(format!("{directory}/profiles.yml")).is_ok());
    assert_eq!(lab.world.database_users().len(), 1);
    assert_ended(&lab, "ended by its time");
    wait_until("the janitor has ended", || janitors(&lab).is_empty());
}

#[test]
fn a_token_that_ends_before_its_lease_is_renewed_by_the_janitor_alone() {
    let lab = Lab::new();
    let role = "auth/approle/role/dbt-staging";
    lab.world
        .bao()
        .api("POST", role, json!({"token_ttl": "3s"}));
    let variables = handed_out(&lab);
    let renewals = || {
        let requests = lab.requests();
        requests
            .iter()
            .filter(|request| *request == "update auth/token/renew-self")
            .count()
    };
    wait_until("the token was renewed three times", || renewals() >= 3);
    assert_eq!(
        lab.world.database_users().len(),
        1,
        "the lease ended with its token"
    );
    assert!(
        !lab.requests()
            .contains(&"update sys/leases/renew".to_owned())
    );
    assert!(end(&lab, &variables).contains("1 revoked"));
    assert_ended(&lab, "ended by `dbt-lease end`");
}

#[test]
fn a_session_that_cannot_outlive_its_token_ends_before_it() {
    let lab = Lab::new();
    let role = "auth/approle/role/dbt-staging";
    lab.world.bao().api(
        "POST",
        role,
        json!({"token_ttl": "4s", "token_max_ttl": "6s"}),
    );
    handed_out(&lab);
    assert_ended(&lab, "ended by its time");
}

#[test]
fn a_janitor_that_is_killed_is_swept_like_any_dead_session() {
    let lab = Lab::new();
    handed_out(&lab);
    // What it was told may still lie in its socket.
    wait_until("the janitor holds the directory", || {
        janitors(&lab).len() == 1
    });
    let found = janitors(&lab);
    // While it lives nobody takes its session for dead.
    assert_eq!(lab.run(&["sweep"]).silent().success(), "");
    kill(found[0], Signal::SIGKILL).expect("sent");
    wait_until("it has ended", || janitors(&lab).is_empty());
    assert_eq!(lab.world.database_users().len(), 1);
    // Nobody lives who could start it again, and nobody says that it lives.
    assert_eq!(lab.run(&["status"]).silent().success(), "");
    let session = lab.record()[0]["session"]
        .as_str()
        .expect("an id")
        .to_owned();
    let _ = lab.run(&["end", &session]).code(1).says(&[
        "is alive here",
        "what killed sessions have left, `dbt-lease sweep` takes back",
    ]);
    let said = lab.run(&["sweep"]).silent().success();
    assert!(
        said.contains("its lease on `database/creds/dbt-staging`: revoked"),
        "{said}"
    );
    assert!(files_below(lab.home.runtime()).is_empty());
    assert!(lab.world.database_users().is_empty());
}

#[test]
fn what_nobody_reads_is_given_back_at_once() {
    let lab = Lab::new();
    let mut command = lab.command(&["env", "-t", "staging"]);
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("opened");
    command.stdout(Stdio::from(full));
    let ran = ran(command.output().expect("started"));
    let _ = ran
        .code(1)
        .says(&["error: stdout cannot be written: No space left on device"]);
    lab.assert_nothing_left();
    let ended = lab.record().remove(1);
    assert_eq!(ended["result"], "not started: output");
    assert_eq!(ended["leases"][0]["result"], "revoked");
}

#[test]
fn a_protected_environment_and_a_place_that_others_read_are_refused() {
    let lab = Lab::new();
    let refused = |ran: Ran, words: &str| {
        let ran = ran.code(1).says(&[words]);
        assert_eq!(ran.stdout, "");
        assert!(lab.requests().is_empty());
    };
    refused(
        lab.run(&["env", "-t", "prod"]),
        "error: the environment `production` is protected, and `env` would leave its credential in a shell",
    );
    refused(
        lab.run(&["env", "-t", "dev"]),
        "error: the target needs nothing from Vault",
    );
    let file = lab.home.directory().join("github_env");
    let later = fs::File::create(&file).expect("made");
    let mut command = lab.command(&["env", "-t", "staging"]);
    command.env("GITHUB_ENV", &file).stdout(Stdio::from(later));
    refused(
        ran(command.output().expect("started")),
        "error: stdout is $GITHUB_ENV, which every later step of the job reads",
    );
    assert_eq!(fs::read_to_string(&file).expect("read"), "");

    let text = lab
        .run(&["env", "-t", "prod", "--force", "--format", "json"])
        .silent()
        .success();
    let variables: Value = serde_json::from_str(&text).expect("JSON");
    // In the shell that has them there is nothing more to lend.
    let session = variables["DBT_LEASE_SESSION"].as_str().expect("a session");
    let directory = variables["DBT_PROFILES_DIR"].as_str().expect("a path");
    let inside = [
        ("DBT_LEASE_SESSION", session),
        ("DBT_PROFILES_DIR", directory),
    ];
    let _ = lab
        .run_with(&inside, &["env", "-t", "staging"])
        .code(1)
        .says(&["error: this shell has the credentials of the session "]);
    assert!(end(&lab, &variables).contains("1 revoked"));
    lab.assert_nothing_left();
}

#[test]
fn the_bridges_variables_are_handed_out_and_no_file_holds_the_secret() {
    let lab = Lab::new();
    let config = fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    lab.configure(&config.replace(
        "staging: database/creds/dbt-staging",
        "staging:\n        secrets: {warehouse: database/creds/dbt-staging}\n        env: {DBT_ENV_SECRET_USER: '{{ \
         vault.warehouse.username }}', DBT_ENV_SECRET_PASSWORD: '{{ vault.warehouse.password }}'}",
    ));
    let profiles = fs::read_to_string(lab.project.join("profiles.yml")).expect("read");
    let bridged = "schema: staging\n      user: \"{{ env_var('DBT_ENV_SECRET_USER') }}\"\n      password: \"{{ env_var('DBT_ENV_SECRET_PASSWORD') }}\"";
    fs::write(
        lab.project.join("profiles.yml"),
        profiles.replace("schema: staging", bridged),
    )
    .expect("written");
    let variables = handed_out(&lab);
    let password = variables["DBT_ENV_SECRET_PASSWORD"]
        .as_str()
        .expect("a password");
    assert_eq!(
        variables["DBT_ENV_SECRET_USER"],
        lab.world.database_users()[0].as_str()
    );
    for file in files_below(lab.home.runtime())
        .iter()
        .filter(|file| file.is_file())
    {
        let text = fs::read_to_string(file).expect("read");
        assert!(!text.contains(password), "{}", file.display());
    }
    end(&lab, &variables);
    lab.assert_nothing_left();
}
