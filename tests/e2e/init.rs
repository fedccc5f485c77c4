//! `init`: what it proposes is obeyed by `plan` and valid by the schema; what is there is never lost; no value is shown.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::generated::validated;
use crate::scene::{Scene, Stage};
use crate::support::{DBT_LEASE, Ran, files_below, ran, wait_until};

/// A team's file: most adapters, every kind of name, credentials in every form.
const PROFILES: &str = r#"# password: sh0wn-comment
shop:
  target: dev
  outputs:
    dev: {type: duckdb, path: shop.duckdb}
    default: {type: postgres, host: localhost, port: 5432, user: sh0wn, password: sh0wn, dbname: a, schema: b}
    ci: &ci {type: postgres, host: db.example.com, port: 5432, user: sh0wn, password: "sh0wn", dbname: a, schema: b}
    staging: {<<: *ci, host: staging.example.com}
    prod: {<<: *ci, user: "{{ env_var('DBT_ENV_SECRET_USER') }}", password: "{{ env_var('DBT_ENV_SECRET_PASSWORD') }}"}
    prod_eu: {<<: *ci, password: "{{ env_var('OLD', 'sh0wn-default') }}"}
    prod bq: {type: bigquery, method: service-account, keyfile: /x/y.json, project: p, dataset: d}
    prod_bq_json: {type: bigquery, method: service-account-json, keyfile_json: {private_key: sh0wn}, project: p, dataset: d}
    prod_sso: {type: snowflake, account: a, user: u, authenticator: externalbrowser, database: d, schema: s}
    prod_key: {type: snowflake, account: a, user: u, private_key: sh0wn, database: d, schema: s}
    prod_athena: {type: athena, s3_staging_dir: "s3://b", region_name: r, database: d, schema: s}
    прод: {type: databricks, host: h, http_path: p, token: sh0wn, schema: s}
    "yes": {type: trino, method: ldap, host: h, port: 443, user: u, password: sh0wn, database: d, schema: s}
    odd "one": {type: redshift, host: h, port: 5439, user: u, password: sh0wn, dbname: a, schema: s}
    wild: {type: nobody_knows, api_secret: sh0wn}
elementary:
  outputs:
    default: {type: postgres, host: prod.example.com, port: 5432, user: sh0wn, password: sh0wn, dbname: a, schema: b}
"#;

/// What tells the rest.
const FLAGS: [&str; 10] = [
    "init",
    "--yes",
    "--address",
    "https://vault.example.com:8200",
    "--environment",
    "прод=production",
    "--environment",
    "yes=analytics",
    "--environment",
    "odd \"one\"=analytics",
];

/// A directory with a home and a project in it.
struct Place {
    directory: tempfile::TempDir,
    project: PathBuf,
}

impl Place {
    fn new(profiles: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let project = directory.path().join("shop");
        fs::create_dir(directory.path().join("home")).expect("made");
        make_project(&project, "shop");
        fs::write(project.join("profiles.yml"), profiles).expect("written");
        Self { directory, project }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.program(DBT_LEASE);
        command.args(words);
        command
    }

    fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.project)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path().join("home"));
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        ran(self.command(words).output().expect("the tool starts"))
    }

    fn git(&self, words: &[&str]) {
        let mut git = self.program("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
        let ended = git.args(words).output().expect("git starts");
        assert!(ended.status.success(), "{words:?}: {ended:?}");
    }

    fn lease(&self) -> String {
        fs::read_to_string(self.project.join("dbt-lease.yml")).expect("it is there")
    }

    /// `plan --json` of a target.
    fn plan(&self, target: &str) -> Value {
        let mut command = self.command(&["plan", "--json", "--target", target]);
        command
            .env("DBT_ENV_SECRET_USER", "u")
            .env("DBT_ENV_SECRET_PASSWORD", "p");
        let printed = ran(command.output().expect("the tool starts"));
        assert_eq!(printed.code, Some(0), "{target}: {}", printed.stdout);
        serde_json::from_str(&printed.stdout).expect("JSON")
    }
}

fn make_project(directory: &Path, name: &str) {
    fs::create_dir_all(directory).expect("made");
    let text = format!("name: {name}\nprofile: {name}\nversion: '1'\n");
    fs::write(directory.join("dbt_project.yml"), text).expect("written");
}

fn has_value(ran: &Ran) -> bool {
    ran.stdout.contains("sh0wn") || ran.stderr.contains("sh0wn")
}

#[test]
fn what_is_written_is_obeyed_by_plan_for_every_target_and_valid_by_its_schema() {
    let place = Place::new(PROFILES);
    let said = place.run(&FLAGS).code(0);
    assert!(!has_value(&said), "{}{}", said.stdout, said.stderr);
    let text = place.lease();
    assert!(
        said.stdout
            .contains(&format!("+{}", text.lines().last().unwrap_or_default()))
    );
    assert!(
        said.stdout.ends_with(
            "\nnext:\n  dbt-lease generate vault-setup\n  dbt-lease trust\n  dbt-lease check --rehearse\n"
        ),
        "{}",
        said.stdout
    );
    assert!(!said.stderr.contains("refuses"), "{}", said.stderr);
    assert_eq!(
        validated(std::slice::from_ref(&text)),
        [Value::Null],
        "{text}"
    );
    for (target, environment, path) in [
        ("dev", "local", None),
        ("default", "development", Some("database/creds/dbt-default")),
        ("ci", "ci", Some("database/creds/dbt-ci")),
        ("staging", "staging", Some("database/creds/dbt-staging")),
        ("prod", "production", Some("database/creds/dbt-prod")),
        ("prod_eu", "production", Some("database/creds/dbt-prod_eu")),
        (
            "prod bq",
            "production",
            Some("gcp/roleset/dbt-prod-bq-9553f7/key"),
        ),
        (
            "prod_bq_json",
            "production",
            Some("gcp/roleset/dbt-prod_bq_json/key"),
        ),
        ("prod_sso", "production", None),
        (
            "prod_key",
            "production",
            Some("database/creds/dbt-prod_key"),
        ),
        ("prod_athena", "production", Some("aws/sts/dbt-prod_athena")),
        ("прод", "production", Some("secret/data/dbt/9126a4")),
        ("yes", "analytics", Some("secret/data/dbt/yes")),
        (
            "odd \"one\"",
            "analytics",
            Some("database/creds/dbt-odd--one-ca4e8f"),
        ),
        ("wild", "production", Some("secret/data/dbt/wild")),
    ] {
        let plan = place.plan(target);
        assert_eq!(plan["environment"], environment, "{target}");
        let planned = plan["secrets"][0]["path"].as_str();
        if target == "odd \"one\"" {
            assert!(planned.is_some_and(|path| path.starts_with("database/creds/dbt-odd")));
        } else {
            assert_eq!(planned, path, "{target}");
        }
        assert_eq!(plan["protected"], environment == "production", "{target}");
    }
    // A profile that reads variables already gets them, and no credential in any file.
    assert_eq!(place.plan("prod")["delivery"], "env");
    assert_eq!(place.plan("prod_eu")["delivery"], "file");
    let schema = fs::read_to_string(place.project.join("dbt-lease.schema.json")).expect("there");
    assert!(text.starts_with("# yaml-language-server: $schema=./dbt-lease.schema.json\n"));
    assert_eq!(schema, place.run(&["schema"]).success());
    let _ = place.run(&["trust", "--show"]).code(0);
}

#[test]
fn every_adapter_of_the_fixtures_gets_a_file_that_plan_obeys() {
    for directory in ["bridge", "profiles"] {
        let fixtures = dbt_lease_sandbox::fixtures().join(directory);
        for entry in fs::read_dir(fixtures).expect("the fixtures") {
            let file = entry.expect("an entry").path();
            let place = Place::new(&fs::read_to_string(&file).expect("text"));
            let flags = ["init", "--yes", "--json", "--address", "https://v:8200"];
            let mut refused = Vec::new();
            // The profile is whichever the file has.
            let text = fs::read_to_string(&file).expect("text");
            let Some(profile) = text.lines().find_map(|line| {
                line.strip_suffix(':')
                    .filter(|name| !name.starts_with([' ', '#']) && *name != "config")
            }) else {
                continue;
            };
            let project = format!("name: shop\nprofile: {profile}\n");
            fs::write(place.project.join("dbt_project.yml"), project).expect("written");
            let ran = place.run(&flags);
            let shown: Value = serde_json::from_str(&ran.stdout).expect("JSON");
            if ran.code != Some(0) {
                refused.push(format!("{}: {}", file.display(), shown["error"]["message"]));
            }
            let text = place.lease();
            assert_eq!(
                validated(std::slice::from_ref(&text)),
                [Value::Null],
                "{text}"
            );
            // dbt itself refuses a number where this one has it.
            if !file.ends_with("profiles/spark.yml") {
                assert_eq!(shown["refused"], json!([]), "{}\n{text}", file.display());
            }
            assert!(refused.is_empty(), "{refused:?}");
        }
    }
}

#[test]
fn without_a_terminal_what_is_not_known_is_asked_for_by_its_flags() {
    let place = Place::new(PROFILES);
    let _ = place.run(&["init"]).code(1).says(&[
        "--environment прод=ENVIRONMENT",
        "--auth production=METHOD",
        "--auth development=METHOD",
        "--address URL",
        "--yes",
    ]);
    // An address cannot be guessed.
    let said = place
        .run(&["init", "--yes"])
        .code(1)
        .says(&["--address URL"]);
    assert!(!said.stderr.contains("--auth"), "{}", said.stderr);
    assert!(!place.project.join("dbt-lease.yml").exists());
    let shown = place.run(&["init", "--json"]).code(1);
    let error: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(error["error"]["kind"], "not_known");
    for (flags, words) in [
        (
            &["--environment", "nobody=production"][..],
            "names no target",
        ),
        (&["--path", "nobody=a/b"], "names no target"),
        (&["--auth", "nowhere=jwt"], "names no environment"),
        (&["--role", "one-for-all"], "one login role"),
        (
            &["--auth", "production=token", "--auth", "development=token"],
            "user's own token",
        ),
        (
            &[
                "--path",
                "prod=database/creds/same",
                "--path",
                "ci=database/creds/same",
            ],
            "database/creds/same",
        ),
        (&["--path", "prod=../x"], "path"),
    ] {
        let mut all = FLAGS.to_vec();
        all.extend(flags);
        let _ = place.run(&all).code(1).says(&[words]);
        assert!(!place.project.join("dbt-lease.yml").exists(), "{flags:?}");
    }
    let _ = place
        .run(&["init", "--auth", "kerberos"])
        .code(2)
        .says(&["approle"]);
    let _ = place
        .run(&["init", "--path", "prod"])
        .code(2)
        .says(&["NAME=VALUE"]);
}

#[test]
fn a_person_is_asked_on_the_terminal_and_may_say_no() {
    let place = Place::new(
        "shop:\n  outputs:\n    eu: {type: postgres, host: h, user: u, password: sh0wn}\n",
    );
    let ask = |answers: &[(&str, &str)]| {
        let scene = Scene::start(Stage::Terminal, place.command(&["init"]));
        for (question, answer) in answers {
            wait_until(question, || scene.output().contains(question));
            scene.types(&format!("{answer}\n"));
        }
        scene.end()
    };
    let (end, output) = ask(&[
        ("whose names do not tell: eu?", "staging"),
        ("Vault's address", "https://vault.example.com:8200"),
        ("log in to Vault for staging?", "jwt"),
        ("write this? [y/N]", ""),
    ]);
    assert_eq!(end, "exit 1", "{output}");
    assert!(!place.project.join("dbt-lease.yml").exists());
    let (end, output) = ask(&[
        ("whose names do not tell: eu?", ""),
        ("Vault's address", "https://vault.example.com:8200"),
        ("log in to Vault for production?", ""),
        ("write this? [y/N]", "y"),
    ]);
    assert_eq!(end, "exit 0", "{output}");
    assert!(
        output.contains("next:") && !output.contains("sh0wn"),
        "{output}"
    );
    let plan = place.plan("eu");
    assert_eq!(
        (&plan["environment"], &plan["login"]["method"]),
        (&json!("production"), &json!("approle"))
    );
}

#[test]
fn what_is_there_is_added_to_and_never_lost() {
    let place = Place::new(PROFILES);
    let own = "# ours\nversion: 1\nvault: {address: 'https://v:8200'}\nenvironments:\n    prd:   # guarded\n        protected: true\n        auth: {method: jwt, role: dbt-prd}\n        targets:\n            prod: database/creds/mine  # stays\n\n    local:\n        targets: {}\n";
    let file = place.project.join("dbt-lease.yml");
    fs::write(&file, own).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("set");
    let flags = &FLAGS[..2];
    let rest = &FLAGS[4..];
    // Without a word nothing that is there is changed.
    let mut unsaid = vec!["init", "--auth", "approle"];
    unsaid.extend(rest);
    unsaid.extend(["--environment", "wild=prd"]);
    let _ = place
        .run(&unsaid)
        .code(1)
        .says(&["`--yes` adds", "--force"]);
    assert_eq!(place.lease(), own);
    let all: Vec<&str> = flags.iter().chain(rest).copied().collect();
    let said = place.run(&all).code(0);
    let new = place.lease();
    let mut lines = new.lines();
    for line in own.lines().filter(|line| *line != "        targets: {}") {
        assert!(
            lines.any(|other| other == line),
            "`{line}` is gone or moved:\n{new}"
        );
    }
    assert!(
        said.stdout
            .contains("+            prod_eu: database/creds/dbt-prod_eu\n"),
        "{}",
        said.stdout
    );
    assert!(
        new.contains("        targets:\n          dev: none"),
        "{new}"
    );
    assert_eq!(
        place.plan("prod")["secrets"][0]["path"],
        "database/creds/mine"
    );
    assert_eq!(place.plan("prod_eu")["environment"], "prd");
    assert_eq!(place.plan("staging")["environment"], "staging");
    assert_eq!(
        fs::metadata(&file).expect("there").permissions().mode() & 0o777,
        0o640
    );
    let again = place.run(&all).code(0);
    assert!(
        again.stdout.starts_with("dbt-lease.yml has every target"),
        "{}",
        again.stdout
    );
    assert_eq!(place.lease(), new);

    // In another form it is refused by what is missing, or replaced.
    let flow = "version: 1\nvault: {address: 'https://v:8200'}\nenvironments: {prd: {auth: {method: jwt, role: r}, targets: {prod: database/creds/mine}}}\n";
    fs::write(&file, flow).expect("written");
    let _ = place.run(&all).code(1).says(&[
        "cannot be added to",
        "prod_eu: database/creds/dbt-prod_eu",
        "--force",
    ]);
    assert_eq!(place.lease(), flow);
    let mut forced = FLAGS.to_vec();
    forced.push("--force");
    let said = place.run(&forced).code(0);
    assert!(
        said.stdout.contains("-environments: {prd:"),
        "{}",
        said.stdout
    );
    assert_eq!(
        place.plan("prod")["secrets"][0]["path"],
        "database/creds/dbt-prod"
    );
    // One that does not load may hold a secret.
    fs::write(&file, "version: 1\nsecret: sh0wn\n").expect("written");
    let _ = place.run(&all).code(1).says(&["secret"]);
    let said = place.run(&forced).code(0);
    assert!(!has_value(&said), "{}", said.stdout);
    let _ = place.plan("prod");
}

#[test]
fn several_projects_share_one_part() {
    let place = Place::new(
        "shop: {outputs: {prod: {type: postgres, host: h, user: u, password: x}, dev: {type: duckdb, path: d}}}\n",
    );
    let root = place.directory.path();
    let other = root.join("teams/crm");
    make_project(&other, "crm");
    make_project(&other.join("dbt_packages/foreign"), "foreign");
    fs::write(
        other.join("profiles.yml"),
        "crm: {outputs: {prod: {type: postgres, host: h, user: u, password: x}, staging: {type: postgres, host: h, user: u, password: x}}}\n",
    )
    .expect("written");
    let mut command = place.command(&["init", "--yes", "--address", "https://v:8200"]);
    let said = ran(command.current_dir(root).output().expect("it starts")).code(0);
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let texts = [
        read("dbt-lease.yml"),
        read("shop/dbt-lease.yml"),
        read("teams/crm/dbt-lease.yml"),
    ];
    assert!(
        texts[0].contains("address:") && texts[0].contains("protected: true"),
        "{}",
        texts[0]
    );
    assert!(
        texts[1].contains("extends: ../dbt-lease.yml"),
        "{}",
        texts[1]
    );
    assert!(
        texts[2].contains("extends: ../../dbt-lease.yml") && !texts[2].contains("auth:"),
        "{}",
        texts[2]
    );
    assert_eq!(validated(&texts), [Value::Null, Value::Null, Value::Null]);
    assert!(!said.stderr.contains("refuses"), "{}", said.stderr);
    assert!(
        !root
            .join("teams/crm/dbt_packages/foreign/dbt-lease.yml")
            .exists()
    );
    assert_eq!(
        place.plan("prod")["secrets"][0]["path"],
        "database/creds/dbt-shop-prod"
    );
    assert_eq!(place.plan("dev")["environment"], "local");
    let mut plan = place.command(&["plan", "--json", "--target", "staging"]);
    let plan = ran(plan.current_dir(&other).output().expect("it starts")).success();
    assert!(plan.contains("database/creds/dbt-crm-staging"), "{plan}");

    // A project that comes later takes the shared part, and adds what it has not.
    let late = root.join("late");
    make_project(&late, "late");
    fs::create_dir(root.join(".git")).expect("made");
    fs::write(
        late.join("profiles.yml"),
        "late: {outputs: {prod: {type: postgres, host: h, user: u, password: x}, ci: {type: postgres, host: h, user: u, password: x}}}\n",
    )
    .expect("written");
    let mut command = place.command(&["init", "--yes"]);
    let _ = ran(command.current_dir(&late).output().expect("it starts")).code(0);
    let text = read("late/dbt-lease.yml");
    assert!(
        text.contains("extends: ../dbt-lease.yml") && text.contains("role: dbt-ci"),
        "{text}"
    );
    for target in ["prod", "ci"] {
        let mut plan = place.command(&["plan", "--json", "--target", target]);
        let _ = ran(plan.current_dir(&late).output().expect("it starts")).code(0);
    }
}

#[test]
fn what_is_or_was_in_git_is_told() {
    let place = Place::new(
        "shop: {outputs: {prod: {type: postgres, host: h, user: u, password: sh0wn}}}\n",
    );
    let show = ["init", "--diff", "--yes", "--address", "https://v:8200"];
    let _ = place
        .run(&show)
        .code(0)
        .says(&["shop.prod.password (line 1)", "in no Git repository"]);
    place.git(&["init", "--quiet", "."]);
    let _ = place.run(&show).code(0).says(&["never in Git"]);
    place.git(&["add", "."]);
    let _ = place
        .run(&show)
        .code(0)
        .says(&["and the file is in Git", "rotate them"]);
    place.git(&["commit", "--quiet", "-m", "x"]);
    place.git(&["rm", "--quiet", "--cached", "profiles.yml"]);
    place.git(&["commit", "--quiet", "-m", "y"]);
    let said = place
        .run(&show)
        .code(0)
        .says(&["was in Git", "rotate them"]);
    assert!(!has_value(&said));
    // Also of a link to a file that lies in another repository.
    let elsewhere = place.directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).expect("made");
    fs::rename(
        place.project.join("profiles.yml"),
        elsewhere.join("profiles.yml"),
    )
    .expect("moved");
    symlink(
        elsewhere.join("profiles.yml"),
        place.project.join("profiles.yml"),
    )
    .expect("linked");
    let _ = place.run(&show).code(0).says(&["was in Git"]);
    let mut shown = place.command(&[
        "init",
        "--diff",
        "--yes",
        "--json",
        "--address",
        "https://v:8200",
    ]);
    let shown = ran(shown
        .env("PATH", "/nonexistent")
        .output()
        .expect("it starts"))
    .success();
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["git"][0]["history"], "unknown");
    assert_eq!(shown["secrets"][0]["key"], "shop.prod.password");
    assert_eq!(shown["files"][0]["written"], false);
    assert_eq!(
        files_below(&place.project)
            .iter()
            .filter(|file| file.ends_with("dbt-lease.yml"))
            .count(),
        0
    );
}

#[test]
fn the_user_s_own_profiles_are_read_too_and_other_projects_are_left_out() {
    let place =
        Place::new("shop: {outputs: {prod: {type: postgres, host: h, user: u, password: x}}}\n");
    let home = place.directory.path().join("home/.dbt");
    fs::create_dir(&home).expect("made");
    fs::write(
        home.join("profiles.yml"),
        "shop: {outputs: {dev: {type: postgres, host: h, user: u, password: sh0wn}}}\nother: {outputs: {dev: {type: postgres, host: h, user: u, password: sh0wn}}}\n",
    )
    .expect("written");
    let said = place
        .run(&["init", "--yes", "--address", "https://v:8200"])
        .code(0)
        .says(&[
            "home/.dbt/profiles.yml` holds credentials",
            "other.dev.password",
        ]);
    assert!(
        !has_value(&said) && !said.stderr.contains("refuses"),
        "{}",
        said.stderr
    );
    assert!(place.lease().contains("dev: database/creds/dbt-dev"));
    assert!(!place.lease().contains("other"));
    let _ = place.run(&["init", "--yes", "--profile", "other"]).code(0);
    assert!(
        place.lease().contains("profile: other"),
        "{}",
        place.lease()
    );
}

#[test]
fn what_cannot_be_read_or_written_is_told_and_nothing_is_left() {
    let flags = ["init", "--yes", "--address", "https://v:8200"];
    for (profiles, words) in [
        ("", "profiles.yml"),
        ("other: {outputs: {dev: {type: duckdb}}}\n", ""),
        ("shop: {outputs: {dev: [sh0wn]}}\n", "has an output"),
        ("shop:\n  password: @sh0wn\n", "profiles.yml"),
        ("shop: &a {outputs: *a}\n", "profiles.yml"),
    ] {
        let place = Place::new(profiles);
        let said = place.run(&flags);
        if !words.is_empty() {
            assert_eq!(said.code, Some(1), "{profiles}");
            assert!(said.stderr.contains(words), "{}", said.stderr);
            assert!(!place.project.join("dbt-lease.yml").exists());
        }
        assert!(!has_value(&said), "{}", said.stderr);
    }
    let place = Place::new(PROFILES);
    let lease = place.project.join("dbt-lease.yml");
    // A link is not followed, another name is told.
    let victim = place.directory.path().join("victim");
    fs::write(&victim, "mine").expect("written");
    symlink(&victim, &lease).expect("linked");
    let _ = place.run(&FLAGS).code(1).says(&["it is a link"]);
    fs::remove_file(&lease).expect("removed");
    assert_eq!(fs::read(&victim).expect("read"), b"mine");
    fs::write(place.project.join("dbt_lease.yml"), "version: 1\n").expect("written");
    let _ = place.run(&FLAGS).code(1).says(&["dbt_lease.yml"]);
    fs::remove_file(place.project.join("dbt_lease.yml")).expect("removed");
    fs::remove_file(place.project.join("dbt_project.yml")).expect("removed");
    let _ = place.run(&FLAGS).code(1).says(&["no dbt_project.yml"]);
    assert!(!lease.exists());
}

#[test]
fn a_hundred_targets_get_a_hundred_paths() {
    let outputs: String = (0..100)
        .map(|number| {
            format!("    t{number}: {{type: postgres, host: h, user: u, password: sh0wn}}\n")
        })
        .collect();
    let place = Place::new(&format!("shop:\n  outputs:\n{outputs}"));
    let said = place
        .run(&["init", "--yes", "--address", "https://v:8200"])
        .code(0);
    assert!(said.stderr.contains("and 80 more"), "{}", said.stderr);
    assert_eq!(place.lease().matches(": database/creds/dbt-t").count(), 100);
}

#[test]
fn the_document_s_example_is_what_init_makes() {
    let blocks = super::readme::blocks("docs/init.md", "yaml");
    let place = Place::new(&format!("{}\n", blocks[0]));
    fs::create_dir_all(place.project.join(".github/workflows")).expect("made");
    let _ = place
        .run(&["init", "--address", "https://vault.example.com:8200"])
        .code(0);
    assert_eq!(place.lease(), format!("{}\n", blocks[1]));
}

#[test]
fn odd_places_are_no_harm() {
    let profiles = "shop: {outputs: {prod: {type: postgres, host: h, user: u, password: sh0wn}}}\n";
    let flags = ["init", "--yes", "--address", "https://v:8200"];
    // What stands where the file would be is told, and the schema's place is not worth a failure.
    let place = Place::new(profiles);
    fs::create_dir(place.project.join("dbt-lease.yml")).expect("made");
    let _ = place.run(&flags).code(1).says(&["it is no file"]);
    fs::remove_dir(place.project.join("dbt-lease.yml")).expect("removed");
    fs::create_dir(place.project.join("dbt-lease.schema.json")).expect("made");
    let _ = place
        .run(&flags)
        .code(0)
        .says(&["dbt-lease.schema.json", "it is no file"]);
    let _ = place.plan("prod");
    // A submodule's history is its own.
    let place = Place::new(profiles);
    place.git(&["init", "--quiet", "."]);
    place.git(&["add", "."]);
    place.git(&["commit", "--quiet", "-m", "x"]);
    let outer = place.directory.path().join("outer");
    fs::create_dir(&outer).expect("made");
    let at_outer = |words: &[&str]| {
        let mut git = place.program("git");
        git.current_dir(&outer)
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
        git.args(["-c", "protocol.file.allow=always"]).args(words);
        let ended = git.output().expect("git starts");
        assert!(ended.status.success(), "{words:?}: {ended:?}");
    };
    at_outer(&["init", "--quiet", "."]);
    let url = place.project.display().to_string();
    at_outer(&["submodule", "--quiet", "add", &url, "shop"]);
    let mut command = place.command(&["init", "--diff", "--yes", "--address", "https://v:8200"]);
    let command = command.current_dir(outer.join("shop"));
    let _ = ran(command.output().expect("it starts"))
        .code(0)
        .says(&["the file is in Git"]);
    // What a repository's own settings would start is not started.
    let trap = place.directory.path().join("trap");
    let script = format!(
        "#!/bin/sh\ntouch {}\n",
        place.directory.path().join("sprung").display()
    );
    fs::write(&trap, script).expect("written");
    fs::set_permissions(&trap, fs::Permissions::from_mode(0o755)).expect("set");
    for key in [
        "core.fsmonitor",
        "gpg.program",
        "core.pager",
        "diff.external",
        "core.sshCommand",
    ] {
        place.git(&["config", key, &trap.display().to_string()]);
    }
    place.git(&["config", "log.showSignature", "true"]);
    let sprung = place.directory.path().join("sprung");
    let _ = fs::remove_file(&sprung);
    let _ = place.run(&flags).code(0).says(&["the file is in Git"]);
    assert!(!sprung.exists());
}
