//! What is made from the code for others: the schema, held against real configurations by PyPI's `jsonschema`; completions; manual pages.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dbt_lease::config::engines::{Asked, EnginePath, Leased, PATHS};
use dbt_lease::render::adapters::{Credential, Form, adapters, credentials};
use serde_json::{Value, json};

use crate::support::{DBT_LEASE, ran};

/// Reads a schema and YAML texts; says what is wrong with each, null where nothing is.
const VALIDATOR: &str = "
import json, sys, yaml, jsonschema
asked = json.load(sys.stdin)
kind = jsonschema.Draft202012Validator
kind.check_schema(asked['schema'])
checker = kind(asked['schema'])
def wrong(text):
    errors = list(checker.iter_errors(yaml.safe_load(text)))
    return '; '.join(sorted(error.message for error in errors)) or None
json.dump([wrong(text) for text in asked['texts']], sys.stdout)
";

fn stdout(arguments: &[&str]) -> String {
    let output = Command::new(DBT_LEASE)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output();
    ran(output.expect("the tool starts")).silent().success()
}

/// What is wrong with each text by the schema; null where nothing is.
pub(crate) fn validated(texts: &[String]) -> Vec<Value> {
    let schema: Value = serde_json::from_str(&stdout(&["schema"])).expect("JSON");
    let mut python = Command::new(dbt_lease_sandbox::venv().python())
        .args(["-c", VALIDATOR])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = python.stdin.take().expect("a pipe");
    let asked = json!({"schema": schema, "texts": texts}).to_string();
    stdin.write_all(asked.as_bytes()).expect("it reads");
    drop(stdin);
    let output = python.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The dbt-lease.yml blocks of the README and the pages, and the fixtures' file.
fn real_configurations() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = std::fs::read_dir(root.join("docs"))
        .expect("docs/ is there")
        .map(|entry| entry.expect("an entry").path());
    let mut found = Vec::new();
    for page in pages.chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&page).expect("it is text");
        let blocks = text.split("\n```yaml\n").skip(1);
        for block in blocks.filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block)) {
            if block.contains("version: 1") {
                found.push((page.clone(), block.to_owned()));
            }
            // The pages on logins show each alone, beside what else its environment says.
            let (logins, rest): (Vec<&str>, Vec<&str>) =
                block.lines().partition(|line| line.starts_with("auth: "));
            for login in logins {
                let lines = [&rest[..], &[login, "targets: {}"]].concat();
                let text = format!(
                    "version: 1\nenvironments:\n  e:\n    {}\n",
                    lines.join("\n    ")
                );
                found.push((page.clone(), text));
            }
        }
    }
    let fixture = dbt_lease_sandbox::fixtures().join("jaffle/dbt-lease.yml");
    let text = std::fs::read_to_string(&fixture).expect("it is text");
    found.push((fixture, text));
    found
}

#[test]
fn the_schema_takes_every_configuration_of_the_pages() {
    let configurations = real_configurations();
    assert!(configurations.len() >= 15, "{}", configurations.len());
    let texts: Vec<String> = configurations
        .iter()
        .map(|(_, text)| text.clone())
        .collect();
    for ((page, text), wrong) in configurations.iter().zip(validated(&texts)) {
        assert_eq!(wrong, Value::Null, "{}:\n{text}", page.display());
    }
}

#[test]
fn the_schema_refuses_what_the_tool_refuses_for_its_shape() {
    let head = "version: 1\nenvironments:\n  e:\n    auth: {method: token}\n    ";
    let cases = [
        ("version: 2\nenvironments: {}", "1 was expected"),
        ("environments: {}", "'version' is a required property"),
        ("version: 1", "is not valid under any of the given schemas"),
        (
            "version: 1\nenvironment: {}",
            "'environment' was unexpected",
        ),
        (&format!("{head}targets: {{prod: 7}}"), "7 is not valid"),
        (
            &format!("{head}targets: {{prod: /database/creds/x}}"),
            "is not valid",
        ),
        (
            &format!("{head}targets: {{prod: {{secrets: {{w: {{path: a/b, engine: oracle}}}}}}}}"),
            "is not valid",
        ),
        (
            &format!("{head}protect: true\n    targets: {{}}"),
            "'protect' was unexpected",
        ),
        (
            "version: 1\nenvironments: {e: {auth: {method: jwt, role: r, audiences: x}, targets: {}}}",
            "is not valid under any of the given schemas",
        ),
        (
            "version: 1\nenvironments: {e: {auth: {method: userpass, username: a, password: x}, targets: {}}}",
            "is not valid under any of the given schemas",
        ),
        (
            "version: 1\nenvironments: {e: {auth: {method: tokn}, targets: {}}}",
            "'tokn' is not one of",
        ),
    ];
    let texts: Vec<String> = cases.iter().map(|(text, _)| (*text).to_owned()).collect();
    for ((text, words), wrong) in cases.iter().zip(validated(&texts)) {
        let wrong = wrong.as_str().unwrap_or_default();
        assert!(wrong.contains(words), "{text}: {wrong}");
    }
}

#[test]
fn completions_and_manual_pages_are_made_from_the_arguments() {
    for (shell, words) in [
        ("bash", "complete -F _dbt"),
        ("zsh", "#compdef dbt-lease"),
        ("fish", "complete -c dbt-lease"),
    ] {
        let made = stdout(&["completions", shell]);
        assert!(made.contains(words), "{shell}:\n{made}");
        assert!(
            made.contains("--delivery") || made.contains("-l delivery"),
            "{shell}"
        );
        assert!(
            !made.contains("janitor"),
            "{shell}: what is hidden is not completed"
        );
    }
    // The shell itself takes them.
    let mut bash = Command::new("bash")
        .args(["-n"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("bash starts");
    let mut stdin = bash.stdin.take().expect("a pipe");
    stdin
        .write_all(stdout(&["completions", "bash"]).as_bytes())
        .expect("it reads");
    drop(stdin);
    assert!(bash.wait().expect("it ends").success());

    let page = stdout(&["man"]);
    assert!(page.contains(".TH dbt-lease 1"), "{page}");
    assert!(
        page.contains("Run a command on leased credentials"),
        "{page}"
    );
    let page = stdout(&["man", "exec"]);
    assert!(page.contains(".TH dbt-lease-exec 1"), "{page}");
    assert!(
        page.contains("\\-\\-strict") && page.contains("\\-\\-config"),
        "{page}"
    );
    let output = Command::new(DBT_LEASE)
        .args(["man", "nothing"])
        .output()
        .expect("the tool starts");
    let _ = ran(output)
        .code(1)
        .says(&["there is no subcommand `nothing`"]);
}

/// The page's row of an engine's path.
fn engine_row(path: &EnginePath) -> String {
    let asked = match path.asked {
        Asked::Read => "read",
        Asked::Write => "write",
        Asked::Either => "read, or write with `data`",
    };
    let takes = if path.takes_ttl { ", `ttl`" } else { "" };
    let needs: String = path
        .needs
        .iter()
        .map(|key| format!(", needs `{key}`"))
        .collect();
    let fields: Vec<String> = path
        .fields
        .iter()
        .map(|field| format!("`{field}`"))
        .collect();
    let lease = match path.lease {
        Leased::Renewable => "renewable",
        Leased::Fixed => "of fixed length",
        Leased::Perhaps => "where its role says so",
        Leased::Never => "none",
    };
    format!(
        "| `{}/{}` | {asked}{takes}{needs} | {} | {lease} | {} |\n",
        path.engine,
        path.below,
        if fields.is_empty() {
            "what was written".to_owned()
        } else {
            fields.join(" ")
        },
        path.ends().unwrap_or("revoked"),
    )
}

/// The page's row of an adapter.
fn adapter_row(adapter: &str) -> String {
    let one = |credential: &Credential| {
        let takes = credential.takes.iter().map(|take| {
            let form = match take.form {
                Form::AsItIs => "",
                Form::File => " (a file)",
                Form::Base64Json => " (a mapping)",
            };
            format!("`{}` → `{}`{form}", take.fields[0], take.keys[0])
        });
        let says = credential
            .says
            .iter()
            .map(|says| match says.values.first() {
                Some(value) => format!("with `{}: {value}`", says.keys[0]),
                None => format!("`{}` empty unless it is set", says.keys[0]),
            });
        takes.chain(says).collect::<Vec<_>>().join(", ")
    };
    let all: Vec<String> = credentials(adapter)
        .unwrap_or_default()
        .iter()
        .map(one)
        .collect();
    let all = if all.is_empty() {
        "none: by `env:`".to_owned()
    } else {
        all.join("; ")
    };
    format!("| {adapter} | {all} |\n")
}

#[test]
fn the_page_of_engines_says_what_the_tables_in_the_code_say() {
    let engines: String = PATHS.iter().map(engine_row).collect();
    let adapters: String = adapters().map(adapter_row).collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/engines.md");
    let text = std::fs::read_to_string(page).unwrap_or_default();
    for table in [engines, adapters] {
        assert!(text.contains(&table), "docs/engines.md needs:\n{table}");
    }
}
