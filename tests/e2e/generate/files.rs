//! Where it goes, and whether it is fresh.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::Bench;

#[test]
fn every_kind_is_listed_and_made_and_none_needs_the_network() {
    let bench = Bench::new();
    let listed = bench.run(&["generate", "--list", "--json"]).success();
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let kinds: Vec<&str> = listed
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|kind| kind["kind"].as_str())
        .collect();
    assert_eq!(kinds.len(), 13, "{kinds:?}");
    for kind in kinds {
        let made = bench.run(&["generate", kind]).silent().success();
        let head = format!("# Made by `dbt-lease generate {kind}` of the project jaffle: sha256:");
        assert!(
            made.lines().take(2).any(|line| line.starts_with(&head)),
            "{made}"
        );
        let json = bench.run(&["generate", kind, "--json"]).success();
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let texts: Vec<&str> = json["files"]
            .as_array()
            .expect("files")
            .iter()
            .filter_map(|file| file["text"].as_str())
            .collect();
        assert_eq!(texts.join("\n"), made);
    }
}

#[test]
fn what_is_made_is_the_same_wherever_its_maker_has_his_vault() {
    let bench = Bench::new();
    for kind in ["vault-setup", "github", "gitlab"] {
        let here = bench.made(&[kind]);
        let mut there = bench.command(crate::support::DBT_LEASE, &["generate", kind]);
        there
            .env("VAULT_ADDR", "https://elsewhere.example.com")
            .env("JAFFLE_HOST", "other")
            .env("GITLAB_CI", "true");
        let there = crate::support::ran(there.output().expect("it starts")).success();
        assert_eq!(here, there);
    }
}

#[test]
fn a_file_goes_where_it_belongs_and_what_somebody_changed_is_not_written_over() {
    let bench = Bench::new();
    let _ = bench
        .run(&["generate", "github", "--write"])
        .silent()
        .success();
    let _ = bench.run(&["generate", "vault-setup", "--write"]).success();
    let _ = bench
        .run(&["generate", "vault-policy", "--write"])
        .success();
    let workflow = bench.project.join(".github/workflows/dbt.yml");
    let text = fs::read_to_string(&workflow).expect("there");
    let mode = |name: &str| {
        fs::metadata(bench.project.join(name))
            .expect("there")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("vault/setup.sh"), mode("vault/jaffle-production.hcl")),
        (0o755, 0o644)
    );
    // Fresh: nothing is to be done, also where it was changed but would be made so again.
    let _ = bench.run(&["generate", "--check"]).silent().success();
    fs::write(&workflow, text.replace("17 5", "18 6")).expect("written");
    let checked = bench.run(&["generate", "--check", "--json"]).success();
    let checked: Value = serde_json::from_str(&checked).expect("JSON");
    let first = &checked["files"][0];
    assert_eq!(first["path"], ".github/workflows/dbt.yml");
    assert_eq!(
        (&first["state"], &first["changed_by_hand"]),
        (&"fresh".into(), &true.into())
    );
    let _ = bench
        .run(&["generate", "github", "--write"])
        .code(1)
        .says(&["somebody has changed it", "--force"]);
    let _ = bench
        .run(&["generate", "github", "--write", "--force"])
        .success();
    assert_eq!(fs::read_to_string(&workflow).expect("there"), text);
    // Somebody else's file.
    bench.write("dbt-lease.mk", "all:\n");
    let _ = bench
        .run(&["generate", "makefile", "--write"])
        .code(1)
        .says(&["was not made by"]);
    // Several files are no one file.
    let _ = bench
        .run(&["generate", "vault-policy", "--output", "x.hcl"])
        .code(1)
        .says(&["makes 2 files"]);
    let _ = bench
        .run(&[
            "generate",
            "vault-policy",
            "--environment",
            "production",
            "-o",
            "x.hcl",
        ])
        .success();
}

#[test]
fn what_would_be_made_otherwise_now_is_stale() {
    let bench = Bench::new();
    for kind in ["makefile", "gitlab", "vault-setup"] {
        let _ = bench.run(&["generate", kind, "--write"]).success();
    }
    let fish = bench.project.join("conf/aliases.fish");
    let fish = fish.to_str().expect("UTF-8");
    let _ = bench
        .run(&["generate", "shell-alias", "--shell", "fish", "-o", fish])
        .success();
    let _ = bench.run(&["generate", "--check"]).silent().success();
    let lease = fs::read_to_string(bench.project.join("dbt-lease.yml")).expect("there");
    bench.write(
        "dbt-lease.yml",
        &lease.replace(
            "dev: none",
            "dev: none\n      prod2: {profile: jaffle, target: dev2, secrets: none}",
        ),
    );
    let profiles = fs::read_to_string(bench.project.join("profiles.yml")).expect("there");
    bench.write(
        "profiles.yml",
        &format!("{profiles}    dev2: {{type: duckdb}}\n"),
    );
    let _ = bench.run(&["generate", "--check"]).code(1).says(&[
        "`.gitlab-ci.yml` (dbt-lease generate gitlab)",
        "`conf/aliases.fish` (dbt-lease generate shell-alias --shell fish)",
        "`dbt-lease.mk`",
    ]);
    // The owner's script does not hang on a target that lends nothing.
    let said = bench.run(&["generate", "--check"]);
    assert!(!said.stderr.contains("setup.sh"), "{}", said.stderr);
}

#[test]
fn what_vault_would_take_apart_is_refused() {
    let lease = "version: 1\nenvironments:\n  p:\n    auth: {method: approle, role_id_env: R, secret_id_env: S}\n    targets:\n      t: database/creds/t\n";
    let output = "    t: {type: mysql, server: h, port: 3306, schema: 'a;b'}\n";
    let bench = Bench::with(lease, output);
    let _ = bench
        .run(&["generate", "vault-setup"])
        .code(1)
        .says(&["the target `t`", "takes statements apart"]);
}
