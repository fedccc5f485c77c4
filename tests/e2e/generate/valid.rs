//! What is made passes the validators of its languages, with plain names and with hostile ones.

use std::path::Path;

use dbt_lease_sandbox::{validators, venv};
use serde_json::Value;

use super::{Bench, HOSTILE};
use crate::support::ran;

/// Two environments, by identity tokens; all adapters whose statements are known; a fixed user; a path that is not made.
const LEASE: &str = "version: 1
vault: {address: 'https://vault.example.com:8200', namespace: team}
environments:
  staging:
    auth: {method: OTHER}
    targets:
      pg: database/creds/st-pg
      'TARGET': database/creds/st-hostile
  production:
    protected: true
    auth: {method: METHOD}
    targets:
      fixed: database/static-creds/pr-fixed
      my: database/creds/pr-my
      red: database/creds/pr-red
      snow: database/creds/pr-snow
      ms: database/creds/pr-ms
      lake: {secrets: {lake: aws/sts/x}, env: {AWS_ACCESS_KEY_ID: '{{ vault.lake.access_key }}'}}
";

/// A project with a name in every place that takes one.
fn project(name: &str, method: &str, other: &str) -> Bench {
    let quoted = serde_json::to_string(name).expect("JSON");
    // Where Vault reads statements, `;` and `{{` are refused, and are no names of a schema here.
    let schema = name.replace([';', '{', '}'], "");
    let schema = serde_json::to_string(&schema).expect("JSON");
    let outputs = format!(
        "    pg: {{type: postgres, host: h, port: 5432, user: {schema}, dbname: d, schema: {schema}}}
    {quoted}: {{type: postgres, host: \"{{{{ env_var('H') }}}}\", dbname: d, schema: s, threads: 1}}
    fixed: {{type: postgres, host: h, user: {schema}, dbname: \"{{{{ env_var('D', 'a b') }}}}\", schema: \"{{{{ env_var('S') }}}}\"}}
    my: {{type: mysql, server: h, port: 3306, schema: {schema}}}
    red: {{type: redshift, host: h, dbname: d, schema: {schema}}}
    snow: {{type: snowflake, account: a, database: d, warehouse: w, role: R, schema: s}}
    ms: {{type: sqlserver, host: h, database: {schema}, schema: {schema}}}
    lake: {{type: athena, region_name: r, s3_staging_dir: s, database: d, schema: s}}
"
    );
    let lease = LEASE
        .replace("'TARGET'", &quoted)
        .replace("{method: METHOD}", method)
        .replace("{method: OTHER}", other);
    Bench::with(&lease, &outputs)
}

/// A validator passes, or its words are shown.
#[track_caller]
fn passes(bench: &Bench, program: &Path, arguments: &[&str]) -> String {
    let mut command = bench.command(program.to_str().expect("UTF-8"), arguments);
    command.env("NO_COLOR", "1");
    ran(command.output().expect("it starts")).success()
}

#[test]
fn ci_files_pass_the_schemas_of_their_systems_and_the_linters() {
    let bin = validators();
    let hostile = HOSTILE
        .replace("{{", "")
        .replace("${", "")
        .replace("$(", "");
    for (name, method) in [
        ("plain", "{method: jwt, role: dbt-production}"),
        (
            &*hostile,
            "{method: approle, role_id_env: R, secret_id_env: S}",
        ),
    ] {
        let bench = project(name, method, "{method: oidc, role: dbt-staging}");
        let mut files = Vec::new();
        for (kind, schema) in [
            ("github", &["vendor.github-workflows"][..]),
            (
                "gitlab",
                &["vendor.gitlab-ci", "--data-transform", "gitlab-ci"],
            ),
            ("buildkite", &["vendor.buildkite"]),
            ("circleci", &["vendor.circle-ci"]),
            (
                "azure",
                &[
                    "vendor.azure-pipelines",
                    "--data-transform",
                    "azure-pipelines",
                    "--regex-variant",
                    "nonunicode",
                ],
            ),
            ("pre-commit", &[]),
        ] {
            let file = format!("{kind}.yml");
            let _ = bench.run(&["generate", kind, "-o", &file]).success();
            if let [schema, rest @ ..] = schema {
                let words: Vec<&str> = ["--builtin-schema", schema]
                    .into_iter()
                    .chain(rest.iter().copied())
                    .chain([&*file])
                    .collect();
                passes(&bench, &bin.join("check-jsonschema"), &words);
            }
            files.push(file);
        }
        const RULES: &str =
            "{extends: default, rules: {line-length: disable, document-start: disable}}";
        let files: Vec<&str> = ["-s", "-d", RULES]
            .into_iter()
            .chain(files.iter().map(String::as_str))
            .collect();
        passes(&bench, &bin.join("yamllint"), &files);
        passes(
            &bench,
            &bin.join("zizmor"),
            &["--offline", "--persona=pedantic", "github.yml"],
        );
    }
}

#[test]
fn what_a_ci_system_would_read_in_a_name_does_not_reach_it() {
    let (jwt, jwt_too) = (
        "{method: jwt, role: dbt-production}",
        "{method: jwt, role: dbt-staging}",
    );
    let bench = project(HOSTILE, jwt, jwt_too);
    let text = bench.made(&["github"]);
    // What the workflow's own expressions are: none of them is the name's.
    let name = "${{ secrets.X }}";
    let expression = project(name, jwt, jwt_too).made(&["github"]);
    assert!(
        expression.contains("${{ '${{' }} secrets.X }}"),
        "{expression}"
    );
    assert!(!text.contains("${{ x"), "{text}");
    for (kind, name) in [
        ("circleci", "<< x >>"),
        ("azure", "$(x)"),
        ("azure", "${{ x }}"),
        ("buildkite", "a\\$b"),
    ] {
        let _ = project(name, jwt, jwt_too)
            .run(&["generate", kind])
            .code(1)
            .says(&["cannot stand in", "rename it"]);
    }
    assert!(
        project("a$b", jwt, jwt_too)
            .made(&["buildkite"])
            .contains("'a$$b'")
    );
}

#[test]
fn scripts_pass_shellcheck_policies_openbaos_own_and_terraform_its_parser() {
    let bin = validators();
    for (name, method, other) in [
        (
            HOSTILE,
            "{method: approle, role_id_env: R, secret_id_env: S, role: dbt-production}",
            "{method: jwt, role: dbt-staging}",
        ),
        (
            "plain",
            "{method: aws, role: dbt-production, server_id: 'a b'}",
            "{method: okta, username: u}",
        ),
        (
            "plain",
            "{method: ldap, username: u, mount: l}",
            "{method: userpass, username: u}",
        ),
        (
            "plain",
            "{method: oidc, role: dbt-production, mode: device}",
            "{method: kubernetes, role: dbt-staging}",
        ),
    ] {
        let bench = project(name, method, other);
        // The whole has all parts; alone, each is looked at once.
        let kinds = if name == HOSTILE {
            &["vault-setup", "vault-auth", "vault-database"][..]
        } else {
            &["vault-setup"]
        };
        let mut files = Vec::new();
        for kind in kinds {
            let file = format!("{kind}.sh");
            let _ = bench.run(&["generate", kind, "-o", &file]).success();
            files.push(file);
        }
        let _ = bench
            .run(&["generate", "shell-alias", "-o", "alias.bash"])
            .success();
        let scripts: Vec<&str> = files.iter().map(String::as_str).collect();
        passes(
            &bench,
            &bin.join("shellcheck"),
            &[&["-s", "sh"][..], &scripts].concat(),
        );
        passes(
            &bench,
            &bin.join("shellcheck"),
            &["-s", "bash", "-e", "SC2016", "alias.bash"],
        );
        for script in scripts {
            passes(&bench, Path::new("sh"), &["-n", script]);
        }
        let _ = bench
            .run(&["generate", "vault-policy", "--write"])
            .success();
        for file in std::fs::read_dir(bench.project.join("vault")).expect("policies") {
            let file = file.expect("an entry").path();
            passes(
                &bench,
                &venv().bao(),
                &["policy", "fmt", file.to_str().expect("UTF-8")],
            );
        }
        let _ = bench
            .run(&[
                "generate",
                "vault-setup",
                "--format",
                "terraform",
                "-o",
                "setup.tf",
            ])
            .success();
        let read = passes(&bench, &bin.join("hcl2tojson"), &["setup.tf"]);
        let read: Value = serde_json::from_str(&read).expect("JSON");
        assert!(
            read["resource"].as_array().map_or(0, Vec::len) > 8,
            "{read}"
        );
    }
}

#[test]
fn rules_and_recipes_are_read_by_make_and_just() {
    let bench = project(
        HOSTILE,
        "{method: jwt, role: dbt-production}",
        "{method: jwt, role: dbt-staging}",
    );
    let _ = bench.run(&["generate", "makefile", "--write"]).success();
    let _ = bench.run(&["generate", "justfile", "--write"]).success();
    let shown = passes(
        &bench,
        Path::new("make"),
        &["-n", "-f", "dbt-lease.mk", "build-pg", "ARGS=-s x"],
    );
    assert_eq!(shown.trim(), "dbt-lease exec -- dbt build --target pg -s x");
    let just = validators().join("just");
    passes(
        &bench,
        &just,
        &[
            "--unstable",
            "--fmt",
            "--check",
            "--justfile",
            "dbt-lease.just",
        ],
    );
    passes(
        &bench,
        &just,
        &["--dry-run", "--justfile", "dbt-lease.just", "build-pg"],
    );
}
