//! What is refused, with the whole text and the code 125; and the shapes of `plan --json` and `render --json`.

use std::fs;

use crate::support::{Lab, Ran};

/// The whole texts: `=== name`, then what is said.
const EXPECTED: &str = include_str!("refusals.txt");

/// Collects what differs, so that one run shows all of it.
#[derive(Default)]
struct Texts(String);

impl Texts {
    fn compare(&mut self, what: &str, got: &str) {
        let expected = EXPECTED
            .split("=== ")
            .find_map(|case| case.strip_prefix(what)?.strip_prefix('\n'));
        let expected = expected.unwrap_or_default();
        if got.trim_end() != expected.trim_end() {
            self.0.push_str(&format!(
                "--- {what}: expected\n{expected}\n--- got\n{got}\n"
            ));
        }
    }

    #[track_caller]
    fn are_equal(self) {
        assert!(self.0.is_empty(), "{}", self.0);
    }
}

/// A refusal of `exec`: the code is 125, the command did not run. Its text.
#[track_caller]
fn refused(lab: &Lab, ran: Ran) -> String {
    let ran = ran.code(125);
    assert_eq!(ran.stdout, "", "the command ran");
    lab.shown(&ran.stderr)
}

const RAN: [&str; 3] = ["--", "echo", "ran"];

fn exec<'a>(before: &[&'a str]) -> Vec<&'a str> {
    ["exec"].iter().chain(before).chain(&RAN).copied().collect()
}

#[test]
fn what_dbt_would_not_find_is_refused_with_the_nearest_name() {
    let lab = Lab::new();
    let mut texts = Texts::default();
    for (what, arguments) in [
        ("an unknown target", exec(&["--target", "prd"])),
        (
            "an unknown target of dbt's own",
            vec!["exec", "--", "dbt", "run", "-t", "stagin"],
        ),
        (
            "an unknown profile",
            exec(&["--profile", "jafle", "--target", "prod"]),
        ),
        (
            "a directory that is not there",
            exec(&["--project-dir", "no/such"]),
        ),
        (
            "another target before `--` than after",
            vec![
                "exec", "--target", "prod", "--", "dbt", "build", "--target", "staging",
            ],
        ),
    ] {
        let text = refused(&lab, lab.run(&arguments));
        texts.compare(what, &text);
    }
    let _ = lab
        .run(&["exec", "--", "xargs", "dbt", "build"])
        .code(125)
        .says(&[
            "cannot tell what dbt is told to do by `xargs",
            "hint: put dbt-lease right before dbt, or name `--target` before `--`",
        ]);
    texts.are_equal();
    assert!(lab.requests().is_empty());
    assert!(lab.record().is_empty());
}

#[test]
fn a_broken_output_is_refused_before_anything_is_lent_and_no_value_is_shown() {
    const PORT: &str = "port: \"{{ env_var('JAFFLE_PORT', '5432') | int }}\"";
    let lab = Lab::new();
    let file = lab.project.join("profiles.yml");
    let sound = fs::read_to_string(&file).expect("read");
    // Only the last output, `prod`.
    let with = |old: &str, new: &str| {
        let at = sound.rfind(old).expect("it is there");
        format!("{}{new}{}", &sound[..at], &sound[at + old.len()..])
    };
    let threads = "threads: 2";
    let mut texts = Texts::default();
    for (what, text) in [
        (
            "a template without quotes",
            with(PORT, "port: {{ env_var('s3cret') }}"),
        ),
        ("a tab", with("  threads: 2", "\tthreads: s3cret")),
        (
            "a quote that does not end",
            with(threads, "password: \"s3cret"),
        ),
        (
            "a missing variable",
            with(threads, "sslcert: \"s3cret/{{ env_var('TEAM_CERT') }}\""),
        ),
        (
            "a template in threads",
            with(threads, "threads: \"{{ env_var('JAFFLE_THREADS', '4') }}\""),
        ),
        ("threads in quotes", with(threads, "threads: '4'")),
        (
            "a template for a port",
            with(PORT, "port: \"{{ env_var('JAFFLE_PORT', '5432') }}\""),
        ),
        (
            "two passwords",
            with(threads, "pass: s3cret\n      password: s3cret"),
        ),
        (
            "a template that fails",
            with(threads, "role: \"s3cret{{ nobody.knows }}\""),
        ),
    ] {
        fs::write(&file, text).expect("written");
        for command in [&["echo"][..], &["dbt", "build"]] {
            let mut arguments = vec!["exec", "--target", "prod", "--"];
            arguments.extend(command);
            if command[0] == "dbt" {
                arguments.extend(["--target", "prod"]);
            } else if what.contains("threads") {
                // Another program may say by itself how many.
                continue;
            }
            let text = refused(&lab, lab.run(&arguments));
            assert!(!text.contains("s3cret"), "{what}: {text}");
            texts.compare(what, &text);
        }
    }
    texts.are_equal();
    assert!(lab.requests().is_empty());
}

#[test]
fn a_variable_that_the_lease_sets_is_not_missing() {
    let lab = Lab::new();
    let file = lab.project.join("profiles.yml");
    let text = fs::read_to_string(&file).expect("read");
    let bridge = "role: \"{{ env_var('DBT_ENV_SECRET_USER') }}\"\n      user: \"{{ env_var('DBT_ENV_SECRET_USER') }}\"\n      pass: \"{{ env_var('DBT_ENV_SECRET_PASSWORD') }}\"\n      threads: 2";
    fs::write(&file, text.replace("threads: 2", bridge)).expect("written");
    let config = lab.project.join("dbt-lease.yml");
    let text = fs::read_to_string(&config).expect("read");
    let long = "prod:\n        secrets: {warehouse: database/creds/dbt-prod}\n        env: {DBT_ENV_SECRET_USER: \"{{ vault.warehouse.username }}\", DBT_ENV_SECRET_PASSWORD: \"{{ vault.warehouse.password }}\"}";
    assert!(text.contains("prod: database/creds/dbt-prod"));
    lab.configure(&text.replace("prod: database/creds/dbt-prod", long));
    let _ = lab.run(&["plan", "--target", "prod"]).code(0);
    let _ = lab
        .run(&["plan", "--target", "staging"])
        .code(1)
        .says(&["Env var required but not provided: 'DBT_ENV_SECRET_USER'"]);
}

#[test]
fn a_target_that_dbt_lease_yml_does_not_list_is_refused() {
    let lab = Lab::new();
    let text = fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    lab.configure(&text.replace("      staging: database", "      stage: database"));
    let mut texts = Texts::default();
    let text = refused(&lab, lab.run(&exec(&["--target", "staging"])));
    texts.compare("a target that is not listed", &text);
    texts.are_equal();
    assert!(lab.requests().is_empty());
}

#[test]
fn a_protected_target_must_be_named_by_the_user() {
    let lab = Lab::new();
    let profiles = lab.project.join("profiles.yml");
    let text = fs::read_to_string(&profiles).expect("read");
    fs::write(&profiles, text.replace("target: dev", "target: prod")).expect("written");
    let mut texts = Texts::default();
    let by_default = refused(&lab, lab.run(&exec(&[])));
    texts.compare("a protected target by profiles.yml", &by_default);
    let of_dbt = refused(&lab, lab.run(&["exec", "--", "dbt", "build"]));
    texts.compare("a protected target by profiles.yml, dbt", &of_dbt);
    fs::write(lab.project.join(".env"), "DBT_TARGET=prod\n").expect("written");
    let by_dotenv = refused(&lab, lab.run(&exec(&[])));
    texts.compare("a protected target by .env", &by_dotenv);
    texts.are_equal();
    assert!(lab.requests().is_empty());
    for (variables, arguments) in [
        (vec![], exec(&["--target", "prod"])),
        (vec![("DBT_TARGET", "prod")], exec(&[])),
        (vec![("DBT_ENGINE_TARGET", "prod")], exec(&[])),
    ] {
        let ran = lab.run_with(&variables, &arguments);
        assert_eq!(ran.silent().success(), "ran\n", "{variables:?}");
    }
    lab.assert_nothing_left();
}

#[test]
fn a_mistake_in_dbt_lease_yml_is_shown_with_its_line() {
    let lab = Lab::new();
    let auth = "auth: {method: approle, role_id_env: A, secret_id_env: B}";
    let mut texts = Texts::default();
    for (what, text) in [
        ("an unknown key", "version: 1\nenviroments: {}\n".to_owned()),
        (
            "a syntax error",
            "version: 1\nenvironments:\n  production: {protected: true\n  targets: {}\n".to_owned(),
        ),
        (
            "keep",
            format!(
                "version: 1\nenvironments:\n  p:\n    {auth}\n    targets:\n      prod:\n        keep: true\n        secrets: {{warehouse: database/creds/x}}\n"
            ),
        ),
        (
            "delivery: proxy",
            format!(
                "version: 1\nenvironments:\n  p:\n    {auth}\n    targets:\n      prod: {{secrets: {{warehouse: database/creds/x}}, delivery: proxy}}\n"
            ),
        ),
        (
            "a login that is not there yet",
            "version: 1\nenvironments:\n  p:\n    auth: {method: kerberos, role: r}\n    targets: {prod: database/creds/x}\n".to_owned(),
        ),
        (
            "one role for two environments",
            format!(
                "version: 1\nenvironments:\n  p:\n    {auth}\n    targets: {{prod: database/creds/x}}\n  s:\n    {auth}\n    targets: {{staging: database/creds/y}}\n"
            ),
        ),
        ("an empty file", "# later\n".to_owned()),
    ] {
        lab.configure(&text);
        let text = refused(&lab, lab.run(&exec(&["--target", "prod"])));
        texts.compare(what, &text);
    }
    let text = refused(
        &lab,
        lab.run(&exec(&["--config", "other.yml", "--target", "prod"])),
    );
    texts.compare("a file that is not there", &text);
    texts.are_equal();
    assert!(lab.requests().is_empty());
}

#[test]
fn options_that_are_not_there_yet_say_so() {
    let lab = Lab::new();
    let mut texts = Texts::default();
    let text = refused(&lab, lab.run(&exec(&["-t", "prod", "--delivery", "proxy"])));
    texts.compare("--delivery proxy", &text);
    let text = refused(&lab, lab.run(&exec(&["-t", "prod", "--delivery", "env"])));
    texts.compare("--delivery env", &text);
    texts.are_equal();
    // Its variable is read too.
    let ran = lab.run_with(&[("DBT_LEASE_VERIFY", "x")], &exec(&["-t", "prod"]));
    let _ = ran
        .code(125)
        .says(&["invalid value 'x' for '--verify <VERIFY>'"]);
    assert!(lab.requests().is_empty());
}

#[test]
fn usage_errors_are_json_where_messages_are() {
    let lab = Lab::new();
    let message = |ran: &Ran| -> serde_json::Value {
        assert_eq!(ran.stdout, "");
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
        serde_json::from_str(&ran.stderr).expect("JSON")
    };
    let of_exec = lab
        .run(&[
            "exec",
            "--log-format",
            "json",
            "--ttl",
            "soon",
            "--",
            "true",
        ])
        .code(125);
    let said = message(&of_exec);
    assert_eq!(
        (&said["level"], &said["kind"]),
        (&"error".into(), &"usage".into())
    );
    assert_eq!(
        said["message"],
        "invalid value 'soon' for '--ttl <DURATION>': a duration is 90, 45s, 30m, 2h or 1d"
    );
    let by_variable = lab
        .run_with(&[("DBT_LEASE_LOG_FORMAT", "json")], &["exce"])
        .code(2);
    let said = message(&by_variable);
    assert_eq!(said["message"], "unrecognized subcommand 'exce'");
    assert!(
        said["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("'exec'")),
        "{said}"
    );
    // What is asked for is no message.
    let help = lab.run(&["--log-format", "json", "--help"]).success();
    assert!(help.contains("Usage: dbt-lease"), "{help}");
}

#[test]
fn an_address_that_does_not_protect_is_refused_before_a_request() {
    let lab = Lab::new();
    let mut texts = Texts::default();
    for (what, variables) in [
        (
            "http to another machine",
            ("VAULT_ADDR", "http://vault.example.com:8200"),
        ),
        ("no address", ("VAULT_ADDR", "")),
        ("no verification", ("VAULT_SKIP_VERIFY", "true")),
    ] {
        let ran = lab.run_with(&[variables], &exec(&["--target", "prod"]));
        texts.compare(what, &refused(&lab, ran));
    }
    texts.are_equal();
    assert!(lab.requests().is_empty());
    assert!(lab.record().is_empty());
}

#[test]
fn what_vault_refuses_is_told_with_the_cure() {
    let lab = Lab::new();
    let mut texts = Texts::default();
    let production = |path: &str| {
        format!(
            "version: 1\nenvironments:\n  production:\n    protected: true\n    auth: {{method: approle, role_id_env: \
             JAFFLE_PRODUCTION_ROLE_ID, secret_id_env: JAFFLE_PRODUCTION_SECRET_ID}}\n    targets: {{prod: {path}}}\n"
        )
    };
    lab.allow("path \"database/creds/no-such\" { capabilities = [\"read\"] }\npath \"no-such/*\" { capabilities = [\"read\"] }");
    for (what, variables, path) in [
        (
            "a wrong secret id",
            vec![("JAFFLE_PRODUCTION_SECRET_ID", "wrong-secret-id")],
            "database/creds/dbt-prod",
        ),
        (
            "a wrong role id",
            vec![("JAFFLE_PRODUCTION_ROLE_ID", "wrong-role-id")],
            "database/creds/dbt-prod",
        ),
        (
            "no secret id",
            vec![("JAFFLE_PRODUCTION_SECRET_ID", "")],
            "database/creds/dbt-prod",
        ),
        (
            "another environment's path",
            vec![],
            "database/creds/dbt-staging",
        ),
        ("a role that is not there", vec![], "database/creds/no-such"),
        (
            "an engine that is not there",
            vec![],
            "no-such/creds/dbt-prod",
        ),
    ] {
        lab.configure(&production(path));
        let ran = lab.run_with(&variables, &exec(&["--target", "prod"]));
        assert!(!ran.stderr.contains("wrong-secret-id"), "{}", ran.stderr);
        texts.compare(what, &refused(&lab, ran));
    }
    texts.are_equal();
    // The tokens of the logins that worked are given back.
    lab.assert_nothing_left();
    let record = lab.record();
    assert!(
        record
            .iter()
            .all(|event| event["event"] == "ended" && event["token"] == "revoked"),
        "{record:?}"
    );
}

#[test]
fn a_root_token_is_refused_where_it_is_protected_and_warned_of_where_not() {
    let lab = Lab::new();
    let with_token = |protected: bool| {
        format!(
            "version: 1\nenvironments:\n  production:\n    protected: {protected}\n    auth: {{method: token}}\n    \
             targets: {{prod: database/creds/dbt-prod}}\n"
        )
    };
    let root = lab.world.bao().root_token().to_owned();
    let mut texts = Texts::default();
    lab.configure(&with_token(true));
    let ran = lab.run_with(&[("VAULT_TOKEN", &root)], &exec(&["-t", "prod"]));
    assert!(!ran.stderr.contains(&root));
    texts.compare("a root token where it is protected", &refused(&lab, ran));
    lab.configure(&with_token(false));
    let ran = lab
        .run_with(&[("VAULT_TOKEN", &root)], &exec(&["-t", "prod"]))
        .code(0);
    assert!(!ran.stderr.contains(&root));
    assert_eq!(ran.stdout, "ran\n");
    texts.compare(
        "a root token where it is not protected",
        &lab.shown(&ran.stderr),
    );
    texts.are_equal();
    lab.world.assert_nothing_left();
}

#[test]
fn a_sealed_server_and_one_that_is_gone_are_told_apart() {
    let lab = Lab::new();
    let mut texts = Texts::default();
    lab.world.bao().api("PUT", "sys/seal", None);
    texts.compare(
        "a sealed server",
        &refused(&lab, lab.run(&exec(&["-t", "prod"]))),
    );
    // A port that was free a moment ago.
    let port = dbt_lease_sandbox::free_port();
    let address = format!("http://127.0.0.1:{port}");
    let ran = lab.run_with(&[("VAULT_ADDR", &address)], &exec(&["-t", "prod"]));
    let text = refused(&lab, ran).replace(&address, "GONE");
    texts.compare("a server that is gone", &text);
    texts.are_equal();
}

#[test]
fn plan_json_has_every_key_of_the_interface() {
    let lab = Lab::new();
    let mut texts = Texts::default();
    let plan = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["plan", "--json"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let ran = lab.run(&arguments);
        assert_eq!(ran.stderr, "");
        lab.shown(&ran.success())
    };
    texts.compare(
        "plan of prod",
        &plan(&["--", "dbt", "build", "--target", "prod"]),
    );
    texts.compare(
        "plan of ls",
        &plan(&["--target", "prod", "--", "dbt", "ls", "--target", "prod"]),
    );
    texts.compare("plan of dev", &plan(&[]));
    fs::remove_file(lab.project.join("dbt-lease.yml")).expect("removed");
    // As dbt does.
    let refused = lab.run(&["plan", "--json", "--target", "prod"]).code(1);
    texts.compare(
        "plan of an output that is not whole",
        &lab.shown(&refused.stdout),
    );
    let file = lab.project.join("profiles.yml");
    let profiles = fs::read_to_string(&file).expect("profiles.yml");
    let whole = profiles.replace(
        "schema: prod\n",
        "schema: prod\n      user: u\n      password: p\n",
    );
    fs::write(&file, whole).expect("written");
    texts.compare("plan without dbt-lease.yml", &plan(&["--target", "prod"]));
    texts.are_equal();
    assert!(lab.requests().is_empty());
}

#[test]
fn plan_json_of_a_refusal_is_an_error_object_and_1() {
    let lab = Lab::new();
    let ran = lab.run(&["plan", "--json", "--target", "prd"]).code(1);
    let mut texts = Texts::default();
    texts.compare("plan of an unknown target, stdout", &lab.shown(&ran.stdout));
    texts.compare("plan of an unknown target, stderr", &lab.shown(&ran.stderr));
    let ran = lab.run(&["render", "--json", "--target", "prd"]).code(1);
    texts.compare("render of an unknown target", &lab.shown(&ran.stdout));
    let ran = lab.run(&["plan", "--target", "prd"]).code(1);
    assert_eq!(ran.stdout, "");
    texts.are_equal();
}

#[test]
fn render_json_shows_the_output_as_dbt_will_see_it() {
    let lab = Lab::new();
    let profiles = lab.project.join("profiles.yml");
    let text = fs::read_to_string(&profiles).expect("read");
    let text = text.replace(
        "      schema: prod\n",
        "      schema: prod\n      sslkey_passphrase: \"{{ env_var('PASSPHRASE', 'hidden') }}\"\n      \
         search_path: \"{{ modules.datetime.datetime.now() }}\"\n",
    );
    fs::write(&profiles, text).expect("written");
    let render = |arguments: &[&str]| {
        let arguments: Vec<&str> = ["render", "--json"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let ran = lab.run(&arguments);
        assert_eq!(ran.stderr, "");
        let world = &lab.world;
        lab.shown(&ran.success())
            .replace(world.database(), "DATABASE")
            .replace(&world.postgres().port().to_string(), "5432")
    };
    let mut texts = Texts::default();
    texts.compare("render of prod", &render(&["--target", "prod"]));
    assert!(
        render(&["--target", "prod", "--reveal"]).contains("\"sslkey_passphrase\": \"hidden\"")
    );
    fs::remove_file(lab.project.join("dbt-lease.yml")).expect("removed");
    texts.compare("render without dbt-lease.yml", &render(&[]));
    texts.are_equal();
    assert!(lab.requests().is_empty());
}
