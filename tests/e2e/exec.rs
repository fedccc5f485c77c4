//! A run: what is lent, what the child sees, what is asked of Vault.

use crate::support::{Gate, Lab, Running, files_below};

#[test]
fn a_run_makes_four_requests_on_one_connection_and_leaves_nothing() {
    let lab = Lab::new();
    lab.exec_script("true").silent().success();
    assert_eq!(
        lab.requests(),
        [
            "update auth/approle/login",
            "read database/creds/dbt-prod",
            "update sys/leases/revoke",
            "update auth/token/revoke-self",
        ]
    );
    let requests = lab.world.bao().requests();
    let ports: std::collections::BTreeSet<_> = requests
        .iter()
        .filter(|request| request.session.is_some())
        .map(|request| request.client_port)
        .collect();
    assert_eq!(ports.len(), 1, "one kept-alive connection: {ports:?}");
    lab.assert_nothing_left();
}

#[test]
fn the_child_gets_a_private_profiles_directory_with_one_target() {
    let lab = Lab::new();
    let stdout = lab
        .exec_script(
            "stat -c '%a %n' $DBT_PROFILES_DIR/.. $DBT_PROFILES_DIR $DBT_PROFILES_DIR/profiles.yml; \
             test $DBT_PROFILES_DIR = $DBT_ENGINE_PROFILES_DIR && cat $DBT_PROFILES_DIR/profiles.yml",
        )
        .silent()
        .success();
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(
        lines[0].starts_with("700 ") && lines[1].starts_with("700 "),
        "{stdout}"
    );
    assert!(lines[2].starts_with("600 "), "{stdout}");
    let runtime = lab.home.runtime().display().to_string();
    assert!(lines[2].contains(&runtime), "{stdout}");
    // The leased values stand in the adapter's keys, the user's templates are untouched, and the other outputs are not there.
    assert!(stdout.contains("\"user\": \"v-"), "{stdout}");
    assert!(stdout.contains("\"password\": \""), "{stdout}");
    assert!(
        stdout.contains("{{ env_var('JAFFLE_HOST', 'localhost') }}"),
        "{stdout}"
    );
    assert!(
        !stdout.contains("duckdb") && !stdout.contains("staging"),
        "{stdout}"
    );
}

#[test]
fn the_leased_credential_works_while_the_child_runs_and_not_after() {
    let lab = Lab::new();
    let stdout = lab
        .exec_script("cat $DBT_PROFILES_DIR/profiles.yml")
        .success();
    let value = |key: &str| {
        let line = stdout
            .lines()
            .find(|line| line.contains(&format!("\"{key}\": ")))
            .expect(key);
        line.split(": ")
            .nth(1)
            .expect(key)
            .trim_matches('"')
            .to_owned()
    };
    let (user, password) = (value("user"), value("password"));
    let after = lab
        .world
        .postgres()
        .query_as(lab.world.database(), &user, &password, "select 1");
    assert!(after.is_err(), "the credential still works");
    assert!(!lab.world.database_users().contains(&user));
}

#[test]
fn the_record_ties_the_run_to_vaults_audit_log() {
    let lab = Lab::new();
    let session = lab.exec_script("printf %s $DBT_LEASE_SESSION").success();
    let record = lab.record();
    assert_eq!(record.len(), 2, "{record:?}");
    let (lent, ended) = (&record[0], &record[1]);
    assert_eq!(lent["event"], "lent");
    assert_eq!(ended["event"], "ended");
    for event in &record {
        assert_eq!(event["session"], session.as_str());
        assert_eq!(event["version"], 1);
        assert_eq!(event["environment"], "production");
    }
    assert_eq!(lent["project"], "jaffle");
    assert_eq!(lent["target"], "prod");
    assert_eq!(lent["login"]["method"], "approle");
    assert_eq!(ended["result"], "exit 0");
    assert_eq!(ended["directory"], "removed");
    assert_eq!(ended["token"], "revoked");
    assert_eq!(ended["leases"][0]["result"], "revoked");
    assert_eq!(
        ended["leases"][0]["lease_id"],
        lent["secrets"][0]["lease_id"]
    );
    // Vault's own words on the same requests.
    let requests = lab.world.bao().requests();
    for (id, path) in [
        (&lent["login"]["request_id"], "auth/approle/login"),
        (&lent["secrets"][0]["request_id"], "database/creds/dbt-prod"),
    ] {
        let request = requests
            .iter()
            .find(|request| request.id == id.as_str().expect("an id"))
            .expect("in the audit log");
        assert_eq!(request.path, path);
        assert_eq!(request.session.as_deref(), Some(session.as_str()));
    }
    let user = lent["secrets"][0]["database_user"]
        .as_str()
        .expect("a user");
    assert!(user.starts_with("v-"), "{user}");
    let audit = std::fs::read_to_string(lab.world.bao().audit_file()).expect("the audit log");
    assert!(
        audit.contains(user),
        "the database user joins Vault's audit log"
    );
    assert!(
        !std::fs::read_to_string(lab.home.record())
            .expect("the record")
            .contains("printf"),
        "argv stands in no record"
    );
}

#[test]
fn lent_is_on_record_before_the_child_starts() {
    let lab = Lab::new();
    let record = lab.home.record().display().to_string();
    let stdout = lab.exec_script(&format!("cat {record}")).success();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert!(stdout.contains("\"event\":\"lent\""), "{stdout}");
}

#[test]
fn the_login_s_sources_are_not_in_the_child_s_environment_and_the_rest_is() {
    let lab = Lab::new();
    let mut command = lab.command(&["exec", "--target", "prod", "--", "env"]);
    command
        .env("VAULT_TOKEN", "not-used")
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x")
        .env("KEPT", "as it was");
    let stdout = crate::support::ran(command.output().expect("started")).success();
    for (name, _) in lab
        .world
        .variables()
        .iter()
        .filter(|(name, _)| name.ends_with("_ID"))
    {
        assert!(
            !stdout.contains(&format!("{name}=")),
            "{name} reached the child"
        );
    }
    assert!(
        !stdout.contains("VAULT_TOKEN") && !stdout.contains("ACTIONS_ID_TOKEN"),
        "{stdout}"
    );
    assert!(stdout.contains("KEPT=as it was\n"), "{stdout}");
    assert!(
        stdout.contains("DBT_ENV_CUSTOM_ENV_LEASE_SESSION="),
        "{stdout}"
    );
}

#[test]
fn delivery_env_sets_variables_and_writes_no_secret() {
    let lab = Lab::new();
    lab.configure(
        r#"
version: 1
environments:
  production:
    protected: true
    auth: {method: approle, role_id_env: JAFFLE_PRODUCTION_ROLE_ID, secret_id_env: JAFFLE_PRODUCTION_SECRET_ID}
    targets:
      prod:
        secrets: {warehouse: {path: database/creds/dbt-prod}}
        env:
          DBT_ENV_SECRET_USER: "{{ vault.warehouse.username }}"
          DBT_ENV_SECRET_URL: "postgresql://{{ vault.warehouse.username }}:{{ vault.warehouse.password }}@db"
"#,
    );
    let stdout = lab
        .exec_script("echo $DBT_ENV_SECRET_URL; cat $DBT_PROFILES_DIR/profiles.yml")
        .silent()
        .success();
    let (url, profile) = stdout.split_once('\n').expect("two parts");
    let (user, password) = url
        .trim_start_matches("postgresql://")
        .trim_end_matches("@db")
        .split_once(':')
        .expect("user and password");
    assert!(user.starts_with("v-"), "{user}");
    assert!(
        !profile.contains(user) && !profile.contains(password),
        "{profile}"
    );
    lab.assert_nothing_left();
}

#[test]
fn fields_and_files_reach_the_output_and_the_files_path_is_the_same_from_run_to_run() {
    let lab = Lab::new();
    lab.configure(
        r#"
version: 1
environments:
  production:
    auth: {method: approle, role_id_env: JAFFLE_PRODUCTION_ROLE_ID, secret_id_env: JAFFLE_PRODUCTION_SECRET_ID}
    targets:
      prod:
        secrets: {warehouse: {path: database/creds/dbt-prod}}
        fields:
          user: "{{ vault.warehouse.username }}"
          keepalives_idle: "{{ vault.warehouse.username | length }}"
          sslkey: {file: "{{ vault.warehouse.password }}"}
"#,
    );
    let run = || {
        let script = "grep -F sslkey $DBT_PROFILES_DIR/profiles.yml; p=$(sed -n 's/.*sslkey\": \"\\(.*\\)\"/\\1/p' $DBT_PROFILES_DIR/profiles.yml); \
                      stat -c %a $p; wc -c < $p";
        lab.exec_script(script).silent().success()
    };
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    let lines: Vec<&str> = first.lines().collect();
    assert!(lines[0].contains("/files-0/sslkey"), "{first}");
    assert_eq!(&lines[1..], ["600", "20"], "{first}");
    lab.assert_nothing_left();
}

#[test]
fn two_runs_at_once_have_their_own_directories_and_leases() {
    let lab = Lab::new();
    let gate = Gate::new(&lab);
    let mut first = Running::start(lab.command(&gate.held("echo $DBT_PROFILES_DIR; echo up")));
    first.wait_for_line("up");
    let second = lab.exec_script("echo $DBT_PROFILES_DIR").success();
    assert!(second.contains("/profiles"), "{second}");
    gate.open();
    first.end().success();
    assert_eq!(lab.record().len(), 4);
    lab.assert_nothing_left();
}

#[test]
fn a_dbt_command_that_does_not_connect_gets_placeholders_and_no_login() {
    let lab = Lab::new();
    let stdout = lab
        .run(&[
            "exec",
            "--",
            "dbt",
            "ls",
            "--target",
            "prod",
            "--resource-type",
            "model",
        ])
        .silent()
        .success();
    assert!(stdout.contains("jaffle."), "{stdout}");
    assert!(lab.requests().is_empty());
    assert!(lab.record().is_empty());
    assert!(files_below(lab.home.runtime()).is_empty());
}

#[test]
fn help_version_and_usage_errors_run_at_once_and_unleased() {
    let lab = Lab::new();
    for (arguments, code) in [
        (vec!["--version"], 0),
        (vec!["run", "--help"], 0),
        (vec!["run", "--no-such-option"], 2),
        (vec!["no-such-command"], 2),
    ] {
        let command: Vec<&str> = ["exec", "--", "dbt"].into_iter().chain(arguments).collect();
        let ran = lab.run(&command).code(code);
        assert!(!ran.stderr.contains("dbt-lease:"), "{}", ran.stderr);
    }
    assert!(lab.requests().is_empty());
}

#[test]
fn a_session_inside_a_session_borrows_nothing_again() {
    let lab = Lab::new();
    let script = format!(
        "{} exec --target prod -- sh -c 'echo $DBT_LEASE_SESSION'; echo $DBT_LEASE_SESSION",
        crate::support::DBT_LEASE
    );
    let stdout = lab.exec_script(&script).success();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[0], lines[1]);
    assert_eq!(lab.requests().len(), 4);
}

#[test]
fn verbose_ends_with_one_line_that_says_what_was_proven() {
    let lab = Lab::new();
    let ran = lab.run(&["-v", "exec", "--target", "prod", "--", "true"]);
    let stderr = ran.stderr.clone();
    ran.success();
    let last = stderr.lines().last().expect("a line");
    assert!(last.contains("1 lease, 1 revoked, verified"), "{stderr}");
}

/// A tool that reads a profile of its own beside the project's, as elementary's `edr` does.
fn with_a_second_profile(lab: &Lab, environment: &str) {
    let profiles = lab.project.join("profiles.yml");
    let text = std::fs::read_to_string(&profiles).expect("profiles.yml");
    let own = "\nelementary:\n  target: default\n  outputs:\n    default: {type: postgres, host: h, port: 5432, user: nobody, \
               password: none, dbname: d, schema: elementary}\n    prod: {type: postgres, host: other, port: 5432, dbname: d, schema: s}\n";
    std::fs::write(&profiles, format!("{text}{own}")).expect("profiles.yml");
    let config = lab.project.join("dbt-lease.yml");
    let text = std::fs::read_to_string(&config).expect("dbt-lease.yml");
    let role = if environment == "production" {
        "dbt-prod"
    } else {
        "dbt-staging"
    };
    let entry = format!(
        "edr: {{profile: elementary, target: default, secrets: {{warehouse: database/creds/{role}}}}}"
    );
    let (before, after) = text
        .split_once(&format!("  {environment}:\n"))
        .expect("the environment");
    let (head, tail) = after.split_once("targets:\n").expect("its targets");
    let text = format!("{before}  {environment}:\n{head}targets:\n      {entry}\n{tail}");
    std::fs::write(&config, text).expect("dbt-lease.yml");
}

/// The entry of the second profile with where its output must lead.
fn with_expected_host(lab: &Lab, environment: &str, host: &str) {
    let config = lab.project.join("dbt-lease.yml");
    let text = std::fs::read_to_string(&config).expect("dbt-lease.yml");
    let role = format!("dbt-{environment}");
    let entry = format!("secrets: {{warehouse: database/creds/{role}}}}}");
    assert!(text.contains(&entry), "{text}");
    let expecting = entry.replace("}}", &format!("}}, expect: {{host: {host}}}}}"));
    std::fs::write(&config, text.replace(&entry, &expecting)).expect("dbt-lease.yml");
}

#[test]
fn several_profiles_of_one_environment_stand_in_one_private_file() {
    let lab = Lab::new();
    with_a_second_profile(&lab, "production");
    let both = [
        "--profile",
        "jaffle",
        "-t",
        "prod",
        "--profile",
        "elementary",
        "-t",
        "default",
    ];
    let script = "cat $DBT_PROFILES_DIR/profiles.yml; echo profile=$DBT_PROFILE target=$DBT_TARGET";
    let arguments = [&["exec"], &both[..], &["--", "sh", "-c", script]].concat();
    let stdout = lab.run(&arguments).silent().success();
    let users: std::collections::BTreeSet<&str> = stdout
        .lines()
        .filter(|line| line.contains("\"user\": \"v-"))
        .collect();
    assert_eq!(users.len(), 2, "each has a user of its own: {stdout}");
    assert!(
        stdout.contains("\"jaffle\":") && stdout.contains("\"elementary\":"),
        "{stdout}"
    );
    assert!(
        !stdout.contains("nobody") && !stdout.contains("staging"),
        "{stdout}"
    );
    // Each dbt that the tool starts knows its own profile.
    assert!(stdout.contains("profile= target="), "{stdout}");
    assert_eq!(
        lab.requests(),
        [
            "update auth/approle/login",
            "read database/creds/dbt-prod",
            "read database/creds/dbt-prod",
            "update sys/leases/revoke",
            "update sys/leases/revoke",
            "update auth/token/revoke-self",
        ]
    );
    lab.assert_nothing_left();
    let plan = [&["plan", "--json"], &both[..]].concat();
    let plan: serde_json::Value =
        serde_json::from_str(&lab.run(&plan).silent().success()).expect("JSON");
    assert_eq!(plan["profile"], "jaffle");
    assert_eq!(
        plan["others"],
        serde_json::json!([{
            "profile": "elementary", "target": "default", "delivery": "file",
            "secrets": [{"name": "warehouse", "path": "database/creds/dbt-prod"}],
        }])
    );
    assert_eq!(plan["requests"].as_array().map(Vec::len), Some(6));
}

#[test]
fn several_profiles_are_refused_where_they_are_not_for_one_session() {
    let lab = Lab::new();
    with_a_second_profile(&lab, "staging");
    let refused = |arguments: &[&str], kind: &str| {
        let arguments = [&["plan", "--json"], arguments].concat();
        let ran = lab.run(&arguments);
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        let shown: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(shown["error"]["kind"], kind, "{}", ran.stdout);
    };
    let both = [
        "--profile",
        "jaffle",
        "-t",
        "prod",
        "--profile",
        "elementary",
        "-t",
        "default",
    ];
    refused(&both, "several_environments");
    refused(
        &[&both[..], &["--", "dbt", "run"]].concat(),
        "several_profiles",
    );
    refused(
        &["--profile", "jaffle", "--profile", "jaffle"],
        "several_profiles",
    );
    // One target counts for all profiles, as DBT_TARGET does.
    refused(
        &[
            "--profile",
            "jaffle",
            "--profile",
            "elementary",
            "-t",
            "prod",
        ],
        "target_not_listed",
    );
    refused(
        &[
            "--profile",
            "jaffle",
            "-t",
            "dev",
            "--profile",
            "elementary",
            "-t",
            "default",
        ],
        "first_lends_nothing",
    );
    // An edited `host:` of the second gets no password either.
    with_expected_host(&lab, "staging", "db.example.com");
    let second = ["exec", "--profile", "jaffle", "-t", "staging"];
    let second = [&second[..], &both[4..], &["--", "true"]].concat();
    let ran = lab.run(&second);
    assert_eq!(ran.code, Some(125), "{}", ran.stderr);
    assert!(ran.stderr.contains("db.example.com"), "{}", ran.stderr);
    // One target of two counts for neither.
    let ran = lab.run(&["plan", "-t", "prod", "-t", "dev"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(lab.requests().is_empty());
}
