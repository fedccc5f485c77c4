//! Ends at which not everything is as it should be: what is said, what stands on record, and whose code it is.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Gate, Lab, Ran, Running, events};

/// A policy for production's identity in the place of its own.
fn restrict(lab: &Lab, policy: &str) {
    let path = "sys/policies/acl/dbt-production";
    lab.world.bao().api("PUT", path, json!({"policy": policy}));
}

const CREDS: &str = "path \"database/creds/dbt-prod\" { capabilities = [\"read\"] }\n";
const REVOKE_SELF: &str = "path \"auth/token/revoke-self\" { capabilities = [\"update\"] }\n";

/// What was said, with the names of this run's own; the lease id must not be in it.
#[track_caller]
fn said(lab: &Lab, ran: &Ran) -> String {
    let record = lab.record();
    let (lent, ended) = (&record[record.len() - 2], &record[record.len() - 1]);
    let lease = lent["secrets"][0]["lease_id"].as_str().expect("a lease");
    let id = lease.rsplit('/').next().expect("an id");
    assert!(!ran.stderr.contains(id), "{}", ran.stderr);
    assert_eq!(ended["leases"][0]["lease_id"], lease);
    let session = lent["session"].as_str().expect("a session");
    let text = lab.shown(&ran.stderr).replace(session, "SESSION");
    match ended["leases"][0]["lives_until"].as_str() {
        Some(until) => text.replace(until, "UNTIL"),
        None => text,
    }
}

const LACKS_REVOKE: &str = "dbt-lease: warning: the lease on `database/creds/dbt-prod` could not be revoked by itself: revoke the \
    lease of `database/creds/dbt-prod`: PUT VAULT/v1/sys/leases/revoke answered 403: permission denied. Its token was revoked, and \
    Vault ends it with that; whether the database followed is not known (session SESSION; its lease id stands in \
    `HOME/state/dbt-lease/audit.jsonl`)\n\n  hint: its policy lacks: path \"sys/leases/revoke\" { capabilities = [\"update\"] \
    allowed_parameters = { \"lease_id\" = [\"database/creds/dbt-prod/*\"], \"sync\" = [] } }\n";

#[test]
fn without_the_policy_line_it_is_named_and_the_tokens_end_ends_the_lease() {
    let lab = Lab::new();
    restrict(&lab, &format!("{CREDS}{REVOKE_SELF}"));
    let ran = lab.exec_script("exit 4").code(4);
    assert_eq!(said(&lab, &ran), LACKS_REVOKE);
    lab.assert_nothing_left();
    let ended = &lab.record()[1];
    assert_eq!(ended["result"], "exit 4");
    assert_eq!(ended["token"], "revoked");
    assert_eq!(ended["leases"][0]["result"], "ended_with_token");
    assert!(ended["leases"][0]["lives_until"].is_string(), "{ended}");

    // `--strict` makes a failure of a good end, and of no other.
    let strict = |end: &str| lab.run(&["exec", "--strict", "-t", "prod", "--", "sh", "-c", end]);
    let ran = strict("exit 0").code(125);
    assert_eq!(
        said(&lab, &ran),
        format!(
            "{LACKS_REVOKE}dbt-lease: error: the command ended well, but not everything that was lent could be taken back (see \
             above)\n\n  hint: what is left, and until when, stands above and in the record; without `--strict` this is the \
             command's own 0\n"
        )
    );
    let _ = strict("exit 4").code(4);
    lab.assert_nothing_left();
}

#[test]
fn with_no_right_to_end_anything_it_is_said_until_when_it_lives() {
    let lab = Lab::new();
    restrict(&lab, CREDS);
    // Also for those who want to hear errors alone.
    let ran = lab.run(&["-q", "exec", "-t", "prod", "--", "true"]).code(0);
    let text = said(&lab, &ran);
    for words in [
        "the lease on `database/creds/dbt-prod` is NOT revoked: ",
        ". It lives until UNTIL (session SESSION; its lease id stands in `HOME/state/dbt-lease/audit.jsonl`)",
        "hint: its policy lacks: path \"sys/leases/revoke\"",
        "the session's token was not revoked: ",
        "hint: its policy lacks: path \"auth/token/revoke-self\"",
    ] {
        assert!(text.contains(words), "`{words}` is not in\n{text}");
    }
    assert_eq!(lab.record()[1]["leases"][0]["result"], "failed");
    let bao = lab.world.bao();
    bao.api(
        "PUT",
        "sys/leases/revoke-prefix/database/creds",
        json!({"sync": true}),
    );
    for accessor in lab.world.tokens() {
        bao.api(
            "POST",
            "auth/token/revoke-accessor",
            json!({"accessor": accessor}),
        );
    }
    lab.assert_nothing_left();
}

#[test]
fn a_database_that_keeps_the_user_is_told_of_and_vault_goes_on_trying() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let mut arguments = gate.held("echo up");
    arguments.last_mut().expect("a script").push_str("; exit 5");
    let mut running = Running::start(lab.command(&arguments));
    running.wait_for_line("up");
    // A role that owns an object cannot be dropped.
    let user = lab.world.database_users().remove(0);
    lab.world
        .query(&format!("CREATE SCHEMA kept AUTHORIZATION \"{user}\""));
    gate.open();
    let ran = running.end().code(5);
    let text = said(&lab, &ran);
    for words in [
        "dbt-lease: warning: the lease on `database/creds/dbt-prod` is not revoked yet: revoke the lease of \
         `database/creds/dbt-prod`: PUT VAULT/v1/sys/leases/revoke answered 400: ",
        "some objects depend on it",
        ". Vault goes on trying by itself for some minutes; the credential may live until UNTIL (session SESSION; its lease id \
         stands in `HOME/state/dbt-lease/audit.jsonl`)",
        "hint: the database refuses to drop the user (often: it owns objects): drop it by hand, and correct the role's creation \
         and revocation statements",
    ] {
        assert!(text.contains(words), "`{words}` is not in\n{text}");
    }
    let ended = &lab.record()[1];
    assert_eq!(ended["result"], "exit 5");
    assert_eq!(ended["leases"][0]["result"], "queued");
    assert!(ended["leases"][0]["lives_until"].is_string(), "{ended}");
    assert_eq!(ended["token"], "revoked");

    lab.world.query("DROP SCHEMA kept");
    for lease in lab.world.leases() {
        let bao = lab.world.bao();
        bao.api(
            "PUT",
            "sys/leases/revoke",
            json!({"lease_id": lease, "sync": true}),
        );
    }
    lab.assert_nothing_left();
}

#[test]
fn a_vault_that_is_gone_at_the_end_changes_no_exit_code() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let start = |option: &[&str], end: &str| {
        let mut arguments = gate.held("echo up");
        arguments.last_mut().expect("a script").push_str(end);
        arguments.splice(1..1, option.iter().map(|&word| word.to_owned()));
        let mut running = Running::start(lab.command(&arguments));
        running.wait_for_line("up");
        running
    };
    let failing = start(&[], "; exit 6");
    let strict = start(&["--strict"], "");
    assert_eq!(lab.world.database_users().len(), 2);
    let pid = i32::try_from(lab.world.bao().pid()).expect("a pid");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .expect("killed");
    gate.open();
    gate.open();
    let failing = failing.end().code(6);
    let strict = strict.end().code(125);
    let record = lab.record();
    let shown = |ran: &Ran| lab.shown(&ran.stderr);
    for (ran, result) in [(&failing, "exit 6"), (&strict, "exit 0")] {
        let ended = record
            .iter()
            .find(|event| event["event"] == "ended" && event["result"] == result)
            .expect(result);
        let lease = &ended["leases"][0];
        assert_eq!(lease["result"], "failed");
        assert_eq!(ended["directory"], "removed");
        let until = lease["lives_until"].as_str().expect("a time");
        let text = shown(ran);
        let session = ended["session"].as_str().expect("a session");
        for words in [
            "the lease on `database/creds/dbt-prod` is NOT revoked: ",
            "PUT VAULT/v1/sys/leases/revoke: no connection: Connection refused",
            &format!(
                ". It lives until {until} (session {session}; its lease id stands in `HOME/state/dbt-lease/audit.jsonl`)"
            ),
            "the session's token was not revoked: ",
        ] {
            assert!(text.contains(words), "`{words}` is not in\n{text}");
        }
        let id = lease["lease_id"].as_str().expect("an id");
        assert!(
            !text.contains(id.rsplit('/').next().expect("an id")),
            "{text}"
        );
    }
    assert!(
        shown(&strict).contains("error: the command ended well, but not everything"),
        "{}",
        strict.stderr
    );
    // What no Vault ends any more.
    for user in lab.world.database_users() {
        lab.world.query(&format!("DROP ROLE \"{user}\""));
    }
    assert!(crate::support::files_below(lab.home.runtime()).is_empty());
}

#[test]
fn without_a_place_for_the_record_a_protected_environment_lends_nothing() {
    let lab = Lab::new();
    let run = |target: &str, set: &[(&str, &str)]| {
        let mut command = lab.command(&["exec", "-t", target, "--", "echo", "ran"]);
        command
            .env_remove("HOME")
            .env_remove("XDG_STATE_HOME")
            .envs(set.iter().copied());
        crate::support::ran(command.output().expect("started"))
    };
    let hint = "\n\n  hint: set DBT_LEASE_AUDIT_FILE to a file that this user can write\n";
    for (set, why) in [
        (
            vec![],
            "no place for the record: neither DBT_LEASE_AUDIT_FILE nor XDG_STATE_HOME nor HOME is set",
        ),
        (
            vec![("XDG_STATE_HOME", "/proc/not-there")],
            "cannot write the record `/proc/not-there/dbt-lease/audit.jsonl`: No such file or directory (os error 2)",
        ),
    ] {
        let ran = run("prod", &set).code(125);
        assert_eq!(ran.stdout, "");
        assert_eq!(ran.stderr, format!("dbt-lease: error: {why}{hint}"));
        assert!(lab.requests().is_empty(), "nothing is asked for");
    }
    // An environment that is not protected lends all the same, and says that nobody will know.
    let ran = run("staging", &[]).code(0);
    assert_eq!(ran.stdout, "ran\n");
    assert_eq!(
        ran.stderr,
        format!(
            "dbt-lease: warning: this session is not recorded: no place for the record: neither DBT_LEASE_AUDIT_FILE nor \
             XDG_STATE_HOME nor HOME is set{hint}"
        )
    );
    // Not a file that keeps what is written.
    let ran = run("prod", &[("DBT_LEASE_AUDIT_FILE", "/dev/full")]).code(125);
    assert!(
        ran.stderr
            .contains("the record `/dev/full` is not a regular file"),
        "{}",
        ran.stderr
    );

    let file = lab.home.directory().join("record");
    let path = file.display().to_string();
    let ran = run("prod", &[("DBT_LEASE_AUDIT_FILE", &path)]).silent();
    assert_eq!(ran.success(), "ran\n");
    assert_eq!(events(&file).len(), 2);
    let mode = file.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("set");
    let ran = run("prod", &[("DBT_LEASE_AUDIT_FILE", &path)]).code(125);
    assert!(
        ran.stderr.contains("can be read by others (mode 644)"),
        "{}",
        ran.stderr
    );
    lab.assert_nothing_left();
}

#[test]
fn a_full_disk_is_no_record_and_breaks_no_line() {
    let lab = Lab::new();
    let file = lab.home.directory().join("record");
    let path = file.display().to_string();
    // A limit on the size of files fails a write as a full disk does: after a part of the line.
    let on_a_full_disk = |target: &str, before: usize| {
        fs::write(&file, "{}\n".repeat(before)).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
        let tool = crate::support::DBT_LEASE;
        let script = format!("trap '' XFSZ; ulimit -f 1; exec {tool} exec -t {target} -- echo ran");
        let mut command = lab.in_its_environment("bash");
        command
            .args(["-c", &script])
            .env("DBT_LEASE_AUDIT_FILE", &path);
        crate::support::ran(command.output().expect("started"))
    };
    let words = format!("the record `{path}` could not be written: File too large");
    let ran = on_a_full_disk("prod", 333).code(125);
    assert_eq!(ran.stdout, "", "the command ran");
    let _ = ran.says(&[
        &format!("dbt-lease: error: {words}"),
        "hint: a protected environment lends nothing that is not on record; make room, or set DBT_LEASE_AUDIT_FILE to another file",
    ]);
    lab.assert_nothing_left();

    // With room again, what follows stands on lines of its own, and the lines before are as they were.
    let run = ["exec", "-t", "prod", "--", "true"];
    lab.run_with(&[("DBT_LEASE_AUDIT_FILE", &path)], &run)
        .silent()
        .success();
    let text = fs::read_to_string(&file).expect("read");
    let whole: Vec<serde_json::Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert_eq!(whole.len(), 333 + 2, "{text}");

    let ran = on_a_full_disk("staging", 333).code(0);
    assert_eq!(ran.stdout, "ran\n");
    let _ = ran.says(&[&format!("dbt-lease: warning: {words}")]);
    lab.assert_nothing_left();
}

#[test]
fn a_batch_tokens_lease_is_revoked_and_the_token_left_to_its_time() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    let role = "auth/approle/role/dbt-production";
    bao.api("POST", role, json!({"token_type": "batch"}));
    lab.exec_script("true").silent().success();
    assert_eq!(
        lab.requests(),
        [
            "update auth/approle/login",
            "read database/creds/dbt-prod",
            "update sys/leases/revoke",
        ]
    );
    lab.assert_nothing_left();
    let ended = &lab.record()[1];
    assert_eq!(ended["leases"][0]["result"], "revoked");
    assert_eq!(ended["token"], "expires: a batch token cannot be revoked");

    // Without the policy line its lease can only be made short.
    let renew = "path \"sys/leases/renew\" { capabilities = [\"update\"] }\n";
    restrict(&lab, &format!("{CREDS}{renew}"));
    let ran = lab.exec_script("exit 4").code(4);
    let text = said(&lab, &ran);
    assert!(
        text.contains("It was renewed to one second instead"),
        "{text}"
    );
    assert!(
        text.contains("hint: its policy lacks: path \"sys/leases/revoke\""),
        "{text}"
    );
    assert_eq!(lab.record()[3]["leases"][0]["result"], "shortened");
    lab.assert_nothing_left();
}

#[test]
fn the_users_own_token_is_never_revoked_and_its_lease_is() {
    let lab = Lab::new();
    lab.configure(
        "version: 1\nenvironments:\n  production:\n    protected: true\n    auth: {method: token}\n    targets: {prod: \
         database/creds/dbt-prod}\n",
    );
    let bao = lab.world.bao();
    let own = json!({"policies": ["dbt-production"], "no_default_policy": true, "ttl": "1h"});
    let answer = bao.api("POST", "auth/token/create", own);
    let token = answer["auth"]["client_token"].as_str().expect("a token");
    let script = [
        "exec",
        "-t",
        "prod",
        "--",
        "sh",
        "-c",
        "echo ${VAULT_TOKEN:-none}",
    ];
    for variable in ["VAULT_TOKEN", "BAO_TOKEN"] {
        let ran = lab.run_with(&[(variable, token)], &script).silent();
        assert_eq!(ran.success(), "none\n");
    }
    let session = [
        "read auth/token/lookup-self",
        "read database/creds/dbt-prod",
        "update sys/leases/revoke",
    ];
    assert_eq!(lab.requests(), [session, session].concat());
    assert_eq!(lab.record()[1]["token"], "kept: the user's own");
    assert_eq!(lab.record()[1]["leases"][0]["result"], "revoked");
    assert_eq!(
        bao.api_as(token, "GET", "auth/token/lookup-self", None)
            .status,
        200
    );
    assert!(lab.world.leases().is_empty() && lab.world.database_users().is_empty());
    bao.api("POST", "auth/token/revoke", json!({"token": token}));
    lab.assert_nothing_left();
}
