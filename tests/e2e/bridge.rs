//! `bridge`: what it shows, what it writes, what it refuses; and that dbt then runs on leased variables.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{DBT_LEASE, Lab, Ran, files_below, ran};

/// A file with every kind of value that must not be shown.
const PROFILES: &str = r#"# The team's warehouse.
shop:
  target: dev
  outputs:
    dev: &dev
      type: postgres
      host: db.example.com
      port: 5432
      user: 'sh0wn-user'
      password: sh0wn-password  # rotate it
      dbname: shop
      schema: public
    ci:
      <<: *dev
      password: "{{ env_var('CI_PASSWORD', 'sh0wn-default') }}"
    pem:
      type: snowflake
      account: a
      user: sh0wn-user2
      private_key: |
        -----BEGIN PRIVATE KEY-----
        sh0wn-key
        -----END PRIVATE KEY-----
    # password: sh0wn-comment
    number: {type: mysql, server: s, port: 3306, schema: s, username: u, password: 70707}
"#;

fn has_value(text: &str) -> bool {
    text.contains("sh0wn") || text.contains("70707")
}

/// The tool in a directory, in an environment of its own.
fn run(directory: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(DBT_LEASE);
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("HOME", directory.join("home"));
    ran(command.output().expect("the tool starts"))
}

/// A directory with a profiles.yml, and no project.
fn with(profiles: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("profiles.yml"), profiles).expect("written");
    directory
}

#[test]
fn the_diff_is_shown_and_nothing_is_written() {
    let directory = with(PROFILES);
    for arguments in [&["bridge"][..], &["bridge", "--diff"]] {
        let shown = run(directory.path(), arguments).code(0).says(&[
            "line 24",
            "`shop.number.password` stays as it is",
            "CI_PASSWORD",
        ]);
        assert!(
            shown.stdout.contains(
                "-      password: ********  # rotate it\n+      user: '{{ env_var(\"DBT_ENV_SECRET_SHOP_DEV_USER\") }}'\n\
                 +      password: \"{{ env_var('DBT_ENV_SECRET_SHOP_DEV_PASSWORD') }}\"  # rotate it\n"
            ),
            "{}",
            shown.stdout
        );
        for words in [
            "+++ profiles.env.example\n",
            "+DBT_ENV_SECRET_SHOP_PEM_PRIVATE_KEY=\n",
            "    DBT_ENV_SECRET_SHOP_DEV_PASSWORD: \"{{ vault.warehouse.password }}\"\n",
        ] {
            assert!(shown.stdout.contains(words), "{words}\n{}", shown.stdout);
        }
        assert!(
            !has_value(&shown.stdout) && !has_value(&shown.stderr),
            "{}{}",
            shown.stdout,
            shown.stderr
        );
    }
    assert_eq!(files_below(directory.path()).len(), 1);
}

#[test]
fn writing_keeps_the_mode_and_a_second_time_changes_nothing() {
    let directory = with(PROFILES);
    let file = directory.path().join("profiles.yml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("set");
    let _ = run(directory.path(), &["bridge", "--check"])
        .code(1)
        .says(&["5 values to be bridged"]);
    let said = run(directory.path(), &["bridge", "--write"]).code(0);
    assert!(
        said.stdout.is_empty() && !has_value(&said.stderr),
        "{}",
        said.stderr
    );
    let new = fs::read_to_string(&file).expect("readable");
    assert_eq!(fs::metadata(&file).expect("there").mode() & 0o7777, 0o640);
    // What is left of the values is what bridge said: the comment and the number.
    assert_eq!(new.matches("sh0wn").count(), 1, "{new}");
    assert!(new.contains("    # password: sh0wn-comment\n") && new.contains("password: 70707"));
    let example = directory.path().join("profiles.env.example");
    let names = fs::read_to_string(&example).expect("readable");
    assert!(
        names.contains("\n# shop.ci.user\n") && names.contains("\nCI_PASSWORD=\n"),
        "{names}"
    );
    assert!(!has_value(&names));

    let _ = run(directory.path(), &["bridge", "--write"]).code(0);
    assert_eq!(fs::read_to_string(&file).expect("readable"), new);
    assert_eq!(files_below(directory.path()).len(), 2);
    // The number alone is in the way of `--check`.
    let _ = run(directory.path(), &["bridge", "--check"]).code(1);
    fs::write(&file, new.replace("70707", "\"70707\"")).expect("written");
    let _ = run(directory.path(), &["bridge", "--write"]).code(0);
    let _ = run(directory.path(), &["bridge", "--check"]).code(0);
}

#[test]
fn the_json_is_the_new_text_with_the_variables_and_no_value() {
    let directory = with(PROFILES.split("    # password").next().expect("a part"));
    let printed = run(directory.path(), &["bridge", "--json"]).success();
    let shown: Value = serde_json::from_str(&printed).expect("JSON");
    let keys: Vec<&String> = shown.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["profiles", "variables"]);
    assert_eq!(
        shown["variables"][1],
        json!({"name": "DBT_ENV_SECRET_SHOP_DEV_PASSWORD", "profile": "shop", "target": "dev", "key": "password"})
    );
    assert_eq!(
        shown["variables"][2],
        json!({"name": "DBT_ENV_SECRET_SHOP_DEV_USER", "profile": "shop", "target": "ci", "key": "user"})
    );
    assert!(!has_value(&printed), "{printed}");
    let _ = run(directory.path(), &["bridge", "--write"]).code(0);
    let written = fs::read_to_string(directory.path().join("profiles.yml")).expect("readable");
    assert_eq!(shown["profiles"], written);

    let renamed = run(directory.path(), &["bridge", "--rename", "--json"]).success();
    assert!(
        renamed.contains("env_var('DBT_ENV_SECRET_CI_PASSWORD')"),
        "{renamed}"
    );
    let kept = with("p: {outputs: {t: {type: postgres, user: u, password: x}}}\n");
    let kept = run(kept.path(), &["bridge", "--keep-user", "--json"]).success();
    assert!(
        kept.contains("user: u, password: \\\"{{ env_var('DBT_ENV_SECRET_P_T_PASSWORD') }}"),
        "{kept}"
    );
}

#[test]
fn profiles_are_found_as_dbt_finds_them_with_and_without_a_project() {
    let directory = with("p: {outputs: {t: {type: postgres, password: x}}}\n");
    let elsewhere = tempfile::tempdir().expect("a directory");
    let named = directory.path().to_str().expect("text");
    let _ = run(
        elsewhere.path(),
        &["bridge", "--check", "--profiles-dir", named],
    )
    .code(1)
    .says(&["1 value"]);
    let _ = run(elsewhere.path(), &["bridge", "--check"])
        .code(1)
        .says(&["no directory", ".dbt"]);
    let home = elsewhere.path().join("home/.dbt");
    fs::create_dir_all(&home).expect("made");
    let _ = run(elsewhere.path(), &["bridge", "--check"])
        .code(1)
        .says(&["no profiles.yml in"]);
    fs::copy(
        directory.path().join("profiles.yml"),
        home.join("profiles.yml"),
    )
    .expect("copied");
    let _ = run(elsewhere.path(), &["bridge", "--write"]).code(0);
    let _ = run(elsewhere.path(), &["bridge", "--check"])
        .code(0)
        .silent();
}

#[test]
fn what_dbt_refuses_is_refused_and_no_value_is_quoted() {
    for (profiles, kind) in [
        ("", "empty_profiles_file"),
        ("# nothing\n", "empty_profiles_file"),
        ("p:\n  password: sh0wn\n\tx: 1\n", "yaml"),
        ("p:\n  password: @sh0wn\n", "yaml"),
        (
            "p: {outputs: {t: {type: postgres, password: {{ sh0wn }}}}}\n",
            "yaml",
        ),
        ("p: 1\n---\nq: 1\n", "yaml"),
        ("- sh0wn\n", "bad_profile"),
        ("p: {target: dev, password: sh0wn}\n", "bad_profile"),
        ("p: {outputs: {t: [sh0wn]}}\n", "bad_profile"),
        ("p: {outputs: {t: {password: sh0wn}}}\n", "bad_profile"),
        (
            "p: {outputs: {t: {type: postgres, password: 70707}}}\n",
            "bad_profile",
        ),
        (
            "p: {outputs: {t: {type: postgres, pass: sh0wn, password: sh0wn2}}}\n",
            "two_spellings",
        ),
        (
            "p: {outputs: {t: {type: postgres, pass: 'sh0wn{{'}}}\n",
            "template",
        ),
        (
            "p: {outputs: {t: {type: postgres, pass: \"sh0wn{{ env_var('DBT_ENV_SECRET_A') ~ env_var('DBT_ENV_SECRET_B') }}\"}}}\n",
            "template",
        ),
        (
            "p: {outputs: {t: {type: postgres, pass: \"sh0wn{{ 'x' + 1 }}\"}}}\n",
            "template",
        ),
        (
            "p: {outputs: {t: {type: &a sh0wn, threads: 1, user: x, password: *a}, u: {type: x, password: &b sh0wn, threads: *b}}}\n",
            "shared_anchor",
        ),
    ] {
        let directory = with(profiles);
        let ran = run(directory.path(), &["bridge", "--json", "--write"]).code(1);
        let error: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(error["error"]["kind"], kind, "{profiles}\n{error}");
        assert!(
            !has_value(&ran.stdout) && !has_value(&ran.stderr),
            "{profiles}\n{}{}",
            ran.stdout,
            ran.stderr
        );
        let after = fs::read_to_string(directory.path().join("profiles.yml")).expect("readable");
        assert_eq!(after, profiles);
    }
    let directory = with("p: {outputs: {t: {type: x, password: y}}}\n");
    let _ = run(directory.path(), &["bridge", "--write", "--check"])
        .code(2)
        .says(&["cannot be used with"]);
}

#[test]
fn a_planted_link_is_never_followed() {
    let directory = with("p: {outputs: {t: {type: x, password: y}}}\n");
    let (file, real) = (
        directory.path().join("profiles.yml"),
        directory.path().join("real.yml"),
    );
    fs::rename(&file, &real).expect("moved");
    symlink(&real, &file).expect("linked");
    let before = fs::read(&real).expect("readable");
    let _ = run(directory.path(), &["bridge", "--write"])
        .code(1)
        .says(&["it is a link", "real.yml"]);
    assert_eq!(fs::read(&real).expect("readable"), before);
    // The example's place is another.
    fs::remove_file(&file).expect("removed");
    fs::rename(&real, &file).expect("moved");
    let victim = directory.path().join("victim");
    fs::write(&victim, "mine").expect("written");
    symlink(&victim, directory.path().join("profiles.env.example")).expect("linked");
    let _ = run(directory.path(), &["bridge", "--write"])
        .code(1)
        .says(&["it is a link"]);
    assert_eq!(fs::read(&victim).expect("readable"), b"mine");
    assert_eq!(fs::read(&file).expect("readable"), before);
    assert_eq!(files_below(directory.path()).len(), 3);
}

#[test]
fn a_bridged_project_runs_on_leased_variables() {
    let lab = Lab::new();
    let profiles = lab.project.join("profiles.yml");
    // As it was before anybody thought of leases: a user and a password in the file.
    let old = fs::read_to_string(&profiles).expect("readable").replace(
        "      schema: prod\n",
        "      schema: prod\n      user: old_user # since 2019\n      password: 'sh0wn'\n",
    );
    fs::write(&profiles, &old).expect("written");
    let shown = lab.run(&["bridge"]).success();
    assert!(
        shown.contains("-      prod: database/creds/dbt-prod\n+      prod:\n+        secrets:\n+          warehouse: database/creds/dbt-prod\n+        env:\n"),
        "{shown}"
    );
    let said = lab
        .run(&["bridge", "--write"])
        .code(0)
        .says(&["dbt-lease trust"]);
    assert!(!has_value(&said.stderr));
    let new = fs::read_to_string(&profiles).expect("readable");
    assert!(
        new.contains("user: \"{{ env_var('DBT_ENV_SECRET_JAFFLE_PROD_USER') }}\" # since 2019\n"),
        "{new}"
    );
    let _ = lab.run(&["bridge", "--check"]).code(0).silent();
    let _ = lab.run(&["bridge", "--write"]).code(0).silent();

    let plan = lab.run(&["plan", "--json", "--target", "prod"]).success();
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!(plan["delivery"], "env", "{plan}");
    let built = lab
        .run(&["exec", "--", "dbt", "build", "--target", "prod"])
        .silent()
        .success();
    assert!(built.contains("Completed successfully"), "{built}");
    let user = &lab.world.query("select login from prod.built_by")[0][0];
    assert!(user.starts_with("v-"), "{user}");
    lab.run(&["exec", "--", "dbt", "parse", "--target", "prod"])
        .silent()
        .success();
    lab.assert_nothing_left();
}

#[test]
fn the_document_s_example_is_what_bridge_makes() {
    let blocks = super::readme::blocks("docs/bridge.md", "yaml");
    let directory = with(&format!("{}\n", blocks[0]));
    let shown = run(directory.path(), &["bridge"]).success();
    assert!(shown.ends_with(&format!("{}\n", blocks[2])), "{shown}");
    let _ = run(directory.path(), &["bridge", "--write"]).code(0);
    let written = fs::read_to_string(directory.path().join("profiles.yml")).expect("readable");
    assert_eq!(written, format!("{}\n", blocks[1]));
}
