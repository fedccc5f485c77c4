//! What is looked at after a run: our secrets in what the command wrote, and whether what was revoked is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{Gate, Lab, Ran, Running, ran};

/// The leased password, as the command saw it.
const PASSWORD: &str =
    "$(sed -n 's/.*\"password\": \"\\(.*\\)\"/\\1/p' $DBT_PROFILES_DIR/profiles.yml)";

/// Runs a script that also keeps the password in a place of the test's own, so that it can be looked for in what is said.
#[track_caller]
fn leak(lab: &Lab, before: &[&str], script: &str) -> Ran {
    let known = lab.home.directory().join("known");
    let script = format!(
        "p={PASSWORD}; printf %s \"$p\" > {}; mkdir -p target logs; {script}",
        known.display()
    );
    let mut arguments = vec!["exec"];
    arguments.extend(before);
    arguments.extend(["--", "sh", "-c", &script]);
    let ran = lab.run(&arguments);
    let password = fs::read_to_string(&known).expect("the command ran");
    assert!(password.len() >= 16, "that is no leased password");
    assert!(
        !ran.stderr.contains(&password),
        "it is shown:\n{}",
        ran.stderr
    );
    let record = fs::read_to_string(lab.home.record()).expect("a record");
    assert!(!record.contains(&password), "it is on record");
    ran
}

/// The last event of the record.
fn ended(lab: &Lab) -> serde_json::Value {
    lab.record().pop().expect("an event")
}

#[test]
fn a_password_in_what_dbt_wrote_fails_a_protected_run_and_names_the_place() {
    let lab = Lab::new();
    let ran = leak(
        &lab,
        &["-t", "prod"],
        "printf 'xx%s' \"$p\" > target/leak.json; echo done",
    );
    assert_eq!(ran.stdout, "done\n");
    let file = lab
        .project
        .join("target/leak.json")
        .canonicalize()
        .expect("there");
    let ran = ran.code(125).says(&[
        &format!("warning: `warehouse.password`, which was lent, stands in `{}`, as it is, at byte 2", file.display()),
        "hint: remove the file, and find the model, macro or package that writes it",
        "error: the command ended well, but a secret that was lent stands in files that it wrote (see above)",
    ]);
    assert_eq!(ran.signal, None);
    let search = &ended(&lab)["search"];
    assert_eq!(search["result"], "found", "{search}");
    assert_eq!(search["found"][0]["file"], json!(file));
    assert_eq!(search["found"][0]["offset"], 2);
    assert_eq!(search["found"][0]["secret"], "warehouse.password");
    lab.assert_nothing_left();
    // The command's own failure stays its own.
    let _ = leak(&lab, &["-t", "prod"], "echo $p > logs/x; exit 3").code(3);
}

#[test]
fn elsewhere_it_is_loud_and_fails_the_run_under_strict() {
    let lab = Lab::new();
    let script = "printf 'user:%s' \"$p\" | base64 -w0 > logs/dbt.log";
    let ran = leak(&lab, &["-t", "staging"], script).code(0);
    let _ = ran.says(&[
        "`warehouse.password`, which was lent, stands in `",
        "logs/dbt.log`, in base64, at byte ",
    ]);
    let _ = leak(&lab, &["-q", "-t", "staging"], script)
        .code(0)
        .says(&["in base64"]);
    let _ = leak(&lab, &["--strict", "-t", "staging"], script)
        .code(125)
        .says(&["in base64"]);
    lab.assert_nothing_left();
}

#[test]
fn it_is_looked_for_where_dbts_options_variables_and_project_say_that_dbt_writes() {
    let lab = Lab::new();
    let dbt = lab.home.directory().join("dbt");
    let out = lab.home.directory().join("out");
    let run = |place: &str, variables: &[(&str, &str)], options: &[&str]| {
        fs::create_dir_all(out.join(place)).expect("made");
        let script = format!(
            "#!/bin/sh\nprintf %s \"{PASSWORD}\" > {}/{place}/leak\n",
            out.display()
        );
        fs::write(&dbt, script).expect("written");
        fs::set_permissions(&dbt, fs::Permissions::from_mode(0o755)).expect("set");
        let mut command = lab.command(&["exec", "--"]);
        command
            .arg(&dbt)
            .args(["run", "-t", "staging"])
            .args(options)
            .envs(variables.iter().copied());
        let ran = ran(command.output().expect("started")).code(0);
        assert!(
            ran.stderr.contains(&format!("out/{place}/leak`")),
            "{place}:\n{}",
            ran.stderr
        );
        fs::remove_file(out.join(place).join("leak")).expect("removed");
    };
    let at = |place: &str| out.join(place).display().to_string();
    run("a", &[], &["--target-path", &at("a")]);
    run("b", &[], &["--log-path", &at("b")]);
    run("c", &[("DBT_TARGET_PATH", &at("c"))], &[]);
    run("d", &[("DBT_LOG_PATH", &at("d"))], &[]);
    let file = lab.project.join("dbt_project.yml");
    let project = fs::read_to_string(&file).expect("read");
    fs::write(
        &file,
        format!(
            "{project}\ntarget-path: \"{{{{ env_var('OUT') }}}}/e\"\nlog-path: {}\n",
            at("f")
        ),
    )
    .expect("written");
    let variables = [("OUT", &*out.display().to_string())];
    run("e", &variables, &[]);
    run("f", &variables, &[]);
    lab.assert_nothing_left();
}

#[test]
fn a_run_that_shows_nothing_is_searched_and_a_terminated_one_is_not() {
    let lab = Lab::new();
    lab.exec_script("mkdir -p target; echo '{}' > target/manifest.json")
        .silent()
        .success();
    let search = ended(&lab)["search"].clone();
    assert_eq!(
        (&search["result"], &search["files"]),
        (&json!("nothing"), &json!(1)),
        "{search}"
    );
    let ran = leak(&lab, &["-t", "prod"], "echo $p > target/x; kill -TERM $$");
    assert_eq!(ran.signal, Some(15));
    let search = ended(&lab)["search"].clone();
    assert_eq!(search["result"], "skipped", "{search}");
    assert_eq!(
        search["why"],
        "a signal ended the command, or asked us to end"
    );
    lab.assert_nothing_left();
}

const LOOKUP: &str = "path \"sys/leases/lookup\" { capabilities = [\"update\"] }";

#[test]
fn verify_lease_asks_vault_whether_the_lease_is_gone() {
    let lab = Lab::new();
    let verify = [
        "exec", "--verify", "lease", "--strict", "-t", "prod", "--", "true",
    ];
    let ran = lab.run(&verify).code(125).says(&[
        "warning: the end of the lease on `database/creds/dbt-prod` is not verified: look up the lease of `database/creds/dbt-prod`: ",
        "answered 403",
        "(its policy lacks: path \"sys/leases/lookup\"",
        "error: the command ended well, but not everything that was lent could be taken back",
    ]);
    assert_eq!(ran.stdout, "");
    assert_eq!(ended(&lab)["leases"][0]["verified"]["result"], "not_known");
    lab.allow(LOOKUP);
    lab.run(&verify).silent().success();
    let lease = ended(&lab)["leases"][0].clone();
    assert_eq!(lease["result"], "revoked");
    assert_eq!(
        (&lease["verified"]["by"], &lease["verified"]["result"]),
        (&json!("lookup"), &json!("gone")),
        "{lease}"
    );
    let requests = lab.requests();
    let end = &requests[requests.len() - 3..];
    assert_eq!(
        end,
        [
            "update sys/leases/revoke",
            "update sys/leases/lookup",
            "update auth/token/revoke-self"
        ]
    );
    // The plan lists that request, and its policy is enough for it.
    let text = lab
        .run(&["plan", "--json", "--verify", "lease", "-t", "prod"])
        .silent()
        .success();
    let plan: Value = serde_json::from_str(&text).expect("JSON");
    let listed = plan["requests"].as_array().expect("a list");
    let paths: Vec<_> = listed.iter().map(|request| &request["path"]).collect();
    assert_eq!(
        paths[paths.len() - 3..],
        [
            "sys/leases/revoke",
            "sys/leases/lookup",
            "auth/token/revoke-self"
        ]
    );
    let own = "sys/policies/acl/dbt-production";
    lab.world
        .bao()
        .api("PUT", own, json!({"policy": plan["policy"]}));
    lab.run(&verify).silent().success();
    lab.assert_nothing_left();
}

#[test]
fn verify_login_tries_the_database_with_what_was_revoked() {
    let lab = Lab::new();
    let verify = [
        "exec", "--verify", "login", "--strict", "-t", "prod", "--", "true",
    ];
    lab.run(&verify).silent().success();
    let verified = ended(&lab)["leases"][0]["verified"].clone();
    assert_eq!(
        (&verified["by"], &verified["result"]),
        (&json!("login"), &json!("gone")),
        "{verified}"
    );
    assert_eq!(
        verified["why"],
        "the database refuses the login (SQLSTATE 28P01) that it let in before the revocation"
    );
    lab.assert_nothing_left();
}

#[test]
fn a_credential_that_still_logs_in_after_vaults_word_is_loud_and_fails_a_protected_run() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    for role in ["database/roles/dbt-prod", "database/roles/dbt-staging"] {
        let mut known = bao.api("GET", role, None)["data"].clone();
        // As a role that somebody wrote in a hurry: Vault runs it, and says 204.
        known["revocation_statements"] = json!(["SELECT 1;"]);
        bao.api("POST", role, known);
    }
    let run = |target: &str, strict: &[&str]| {
        let verify = ["exec", "--verify", "login", "-t", target];
        lab.run(&[&verify[..], strict, &["--", "true"]].concat())
    };
    let words = "is NOT gone: the credential still logs in to the database (session ";
    let hint = "hint: drop the database user by hand, and correct the role's revocation statements";
    let _ = run("prod", &[]).code(125).says(&[
        words,
        hint,
        "error: the command ended well, but what was revoked is still there",
    ]);
    let lease = ended(&lab)["leases"][0].clone();
    assert_eq!(
        (&lease["result"], &lease["verified"]["result"]),
        (&json!("revoked"), &json!("still_there")),
        "{lease}"
    );
    let _ = run("staging", &[]).code(0).says(&[words]);
    let _ = run("staging", &["--strict"]).code(125).says(&[words]);
    // Without the option nobody could tell.
    lab.exec_script("true").silent().success();
    for user in lab.world.database_users() {
        lab.world.query(&format!("DROP ROLE \"{user}\""));
    }
    lab.assert_nothing_left();
}

#[test]
fn what_cannot_be_tried_is_said_not_to_be_verified() {
    let lab = Lab::new();
    let profiles = fs::read_to_string(lab.project.join("profiles.yml")).expect("read");
    let verify = ["exec", "--verify", "login", "-t", "staging", "--", "true"];
    let with = |from: &str, to: &str, variables: &[(&str, &str)]| {
        fs::write(lab.project.join("profiles.yml"), profiles.replace(from, to)).expect("written");
        let ran = lab.run_with(variables, &verify).code(0);
        let verified = &ended(&lab)["leases"][0]["verified"];
        assert_eq!(verified["result"], "not_known", "{verified}");
        ran
    };
    let said = "warning: the end of the lease on `database/creds/dbt-staging` is not verified: ";
    let _ = with("type: postgres", "type: redshift", &[]).says(&[
        said,
        "how a login is tried is known for `type: postgres` alone, and this output has `type: redshift`",
    ]);
    let _ = with("", "", &[("JAFFLE_PORT", "1")]).says(&[said, "127.0.0.1:1: Connection refused"]);
    let _ = with(
        "schema: staging",
        "schema: staging\n      sslmode: require",
        &[],
    )
    .says(&[said, "the server has no TLS"]);
    let _ = with("", "", &[("PGHOSTADDR", "127.0.0.2")]).says(&[said, "PGHOSTADDR is set"]);
    // What refuses everybody proves nothing.
    let _ = with("", "", &[("JAFFLE_DBNAME", "no_such_database")]).says(&[said, "SQLSTATE 3D000"]);
    lab.assert_nothing_left();
}

/// Leaves a lease behind that the database refuses to end, since its user owns a schema; the record's `ended`.
fn left_queued(lab: &Lab) -> serde_json::Value {
    let gate = Gate::new(lab);
    let mut running = Running::start(lab.command(&gate.held("echo up")));
    running.wait_for_line("up");
    let user = lab.world.database_users().remove(0);
    lab.world
        .query(&format!("CREATE SCHEMA kept AUTHORIZATION \"{user}\""));
    gate.open();
    let _ = running.end().code(0).says(&["is not revoked yet"]);
    let ended = ended(lab);
    assert_eq!(ended["leases"][0]["result"], "queued", "{ended}");
    ended
}

#[test]
fn the_next_session_of_the_environment_tries_again_what_was_queued() {
    let lab = Lab::new();
    let first = left_queued(&lab);
    // Another environment's identity has nothing to do with it.
    lab.run(&["exec", "-t", "staging", "--", "true"])
        .silent()
        .success();
    let of_first = |event: &str| {
        let record = lab.record();
        let mut events = record.into_iter();
        events.rfind(|found| found["event"] == event && found["session"] == first["session"])
    };
    assert_eq!(of_first("looked_again"), None);

    let session = first["session"].as_str().expect("a session");
    let words = format!(
        "warning: session {session} of the environment production, whose lease on `database/creds/dbt-prod` was left open: queued: "
    );
    let _ = lab
        .exec_script("true")
        .code(0)
        .says(&[&words, "some objects depend on it"]);
    let looked = of_first("looked_again").expect("on record");
    assert_eq!(looked["leases"][0]["result"], "queued", "{looked}");
    assert_eq!(
        looked["leases"][0]["lease_id"],
        first["leases"][0]["lease_id"]
    );

    lab.world.query("DROP SCHEMA kept");
    let said = lab.run(&["sweep"]).success();
    assert!(
        said.contains("was left open: revoked: Vault revoked it with sync and answered 204"),
        "{said}"
    );
    assert_eq!(
        of_first("looked_again").expect("on record")["leases"][0]["result"],
        "revoked"
    );
    lab.assert_nothing_left();
    // Then there is nothing left to look at.
    let requests = lab.requests().len();
    assert_eq!(lab.run(&["sweep"]).silent().success(), "");
    lab.exec_script("true").silent().success();
    assert_eq!(lab.requests().len(), requests + 4);
}

#[test]
fn sweep_says_what_still_cannot_be_revoked_and_where_it_cannot_look() {
    let lab = Lab::new();
    let first = left_queued(&lab);
    let ran = lab
        .run(&["sweep"])
        .code(1)
        .says(&["error: not everything that earlier sessions left could be taken back"]);
    assert!(
        ran.stdout.contains("was left open: queued: "),
        "{}",
        ran.stdout
    );
    // A project that has no such environment.
    let other = fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    lab.configure(&other.replace("production:", "elsewhere:"));
    let session = first["session"].as_str().expect("a session");
    let _ = lab.run(&["sweep"]).code(1).says(&[&format!(
        "warning: the session {session} of the environment `production` at "
    )]);
    lab.configure(&other);
    lab.world.query("DROP SCHEMA kept");
    let _ = lab.run(&["sweep"]).success();
    lab.assert_nothing_left();
}

#[test]
fn what_has_no_lease_is_never_called_revoked() {
    let lab = Lab::new();
    let config = fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    lab.configure(&config.replace(
        "database/creds/dbt-prod",
        "database/static-creds/dbt-static",
    ));
    let ran = lab
        .run(&["-v", "exec", "--strict", "-t", "prod", "--", "true"])
        .code(0);
    assert!(
        ran.stderr.contains(
            "0 leases, nothing to revoke; without a lease, and not to be revoked: `database/static-creds/dbt-static`"
        ),
        "{}",
        ran.stderr
    );
    let ended = ended(&lab);
    assert_eq!(
        ended["without_lease"],
        json!(["database/static-creds/dbt-static"])
    );
    assert_eq!(ended["leases"], json!([]));
    lab.assert_nothing_left();
}

#[test]
fn modes_are_private_whatever_the_umask_is() {
    let lab = Lab::new();
    let look = "stat -c %a $DBT_PROFILES_DIR/.. $DBT_PROFILES_DIR $DBT_PROFILES_DIR/profiles.yml $DBT_PROFILES_DIR/../janitor";
    for umask in ["000", "777"] {
        let tool = crate::support::DBT_LEASE;
        let script = format!("umask {umask}; exec {tool} exec -t prod -- sh -c '{look}; umask'");
        let mut command = lab.in_its_environment("sh");
        command.args(["-c", &script]);
        let said = ran(command.output().expect("started")).silent().success();
        assert_eq!(
            said,
            format!("700\n700\n600\n600\n0{umask}\n"),
            "umask {umask}"
        );
    }
    lab.assert_nothing_left();
}

#[test]
fn a_crash_of_the_command_leaves_no_core_where_it_is_protected_or_the_file_says_so() {
    let lab = Lab::new();
    let limit = |target: &str| {
        let tool = crate::support::DBT_LEASE;
        let script = format!("ulimit -c 5; exec {tool} exec -t {target} -- sh -c 'ulimit -Hc'");
        let mut command = lab.in_its_environment("sh");
        command.args(["-c", &script]);
        ran(command.output().expect("started")).silent().success()
    };
    assert_eq!(limit("prod"), "0\n");
    assert_eq!(limit("staging"), "5\n");
    let config = fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    lab.configure(
        &config
            .replace(
                "  staging:\n    auth",
                "  staging:\n    child_core_dumps: false\n    auth",
            )
            .replace(
                "    protected: true",
                "    child_core_dumps: true\n    protected: true",
            ),
    );
    assert_eq!(limit("prod"), "5\n");
    assert_eq!(limit("staging"), "0\n");
    lab.assert_nothing_left();
}
