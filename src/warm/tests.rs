//! Our hash beside that of the adapters' own classes; what dbt keeps of a project in its cache.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value as Json, json};

use super::adapters::{Adapter, adapter};
use super::python::Hashed;
use super::remembered::Values;
use super::{cache, python, values};
use crate::crypto::sha256;
use crate::dbt::jinja::{Value, Vars};
use crate::dbt::{Context, Engine, Rendering, yaml};
use crate::variables::Variables;

/// Our hashes of an output, one a list of the adapter's.
fn ours(adapter: &Adapter, output: &Json) -> Vec<Option<String>> {
    let variables = Variables::default();
    let context = Context {
        variables: &variables,
        cwd: Path::new("/"),
    };
    let rendering = Rendering::of(&Engine::of_version("1.11.16"), Vars::default(), &context)
        .expect("a rendering");
    let node = yaml::load(output.to_string().as_bytes()).expect("JSON is YAML");
    (0..adapter.lists().count())
        .map(|list| {
            let mut pairs =
                values::connection(adapter, list, &node, &Values::new(), &rendering).ok()?;
            pairs.sort_by_key(|(key, _)| *key);
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| (*key, value)).collect();
            Some(sha256(python::pformat(&pairs)?.as_bytes()))
        })
        .collect()
}

/// dbt's hashes of outputs.
fn theirs(python: &Path, outputs: &[Json]) -> Vec<String> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/differential/profile_hash.py"
    );
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("python starts");
    let mut stdin = child.stdin.take().expect("piped");
    let lines: String = outputs.iter().map(|output| format!("{output}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).expect("written"));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("all is written");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(str::to_owned).collect()
}

/// Texts as keys have them, short and long, with quotes and what pformat breaks.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9_.-]{1,20}",
        "[a-zA-Z0-9 '\"\\\\_-]{0,60}",
        "([a-z']{1,30} {1,3}){0,8}[a-z\"]{0,40}",
        "[ -~À-ÿ]{0,120}",
    ]
    // A template is another matter; dbt's Jinja drops nothing of the others.
    .prop_filter("no template", |text| {
        !text.contains("{{") && !text.contains("{%") && !text.contains("{#")
    })
}

/// An output with what is needed, and some of the rest, by the types of the defaults.
fn output(adapter: &Adapter, runner: &mut TestRunner) -> Json {
    let mut sample =
        |strategy: BoxedStrategy<Json>| strategy.new_tree(runner).expect("a value").current();
    let texts = || text().prop_map(Json::from).boxed();
    let numbers = || (0..100_000_i64).prop_map(Json::from).boxed();
    let flags = || any::<bool>().prop_map(Json::from).boxed();
    let mut made = Map::new();
    made.insert("type".to_owned(), adapter.name.into());
    for (key, value) in needed(adapter.name) {
        made.insert(key.to_owned(), value);
    }
    for (key, default) in adapter.lists().flatten() {
        let skipped = sample(flags()) == json!(true) && default.is_some();
        let mut spelled = adapter.spellings(adapter.canonical(key));
        if skipped
            || spelled.any(|name| name != "host" && made.contains_key(name) && default.is_some())
        {
            continue;
        }
        let value = match (key, default.as_ref().map(default_of)) {
            ("port", _) => sample(numbers()),
            (
                "user" | "username" | "UID" | "database" | "schema" | "host" | "account" | "dsn"
                | "region_name",
                _,
            ) => sample(texts()),
            ("tcp_keepalive", _) | (_, Some(Value::Bool(_))) => sample(flags()),
            (_, Some(Value::Int(_))) => sample(numbers()),
            (_, Some(Value::Float(_))) => {
                json!(sample(numbers()).as_i64().unwrap_or(0) as f64 / 4.0)
            }
            (_, Some(Value::List(_) | Value::Dict(_))) => continue,
            (key, Some(Value::None))
                if ["timeout", "count", "interval", "idle", "num_", "port"]
                    .iter()
                    .any(|word| key.contains(word)) =>
            {
                sample(numbers())
            }
            ("reuse_connections" | "is_serverless", _) => sample(flags()),
            _ => sample(texts()),
        };
        if [
            "method",
            "backend",
            "authenticator",
            "authentication",
            "driver",
            "seed_s3_upload_args",
            "lf_tags_database",
            "starburst_metadata_failure_strategy",
            "tcp_keepalive_count",
            "sslmode",
            "server",
        ]
        .contains(&key)
        {
            continue;
        }
        let name = adapter.spellings(key).last().unwrap_or(key);
        made.insert(
            if sample(flags()) == json!(true) {
                key
            } else {
                name
            }
            .to_owned(),
            value,
        );
    }
    Json::Object(made)
}

/// The value of a default; a member of an enumeration is a text.
fn default_of(default: &Hashed) -> Value {
    match default {
        Hashed::Value(value) => value.clone(),
        Hashed::Shown(text) => Value::text(*text),
    }
}

/// What an adapter wants beside its connection keys.
fn needed(adapter: &str) -> Vec<(&'static str, Json)> {
    match adapter {
        "trino" => vec![("method", "ldap".into()), ("password", "x".into())],
        "sqlserver" => vec![
            ("PWD", "x".into()),
            ("driver", "ODBC Driver 18 for SQL Server".into()),
            ("server", "h".into()),
        ],
        _ => vec![("password", "x".into())],
    }
}

/// By which Python, and the adapters that it has.
fn compare(python: &Path, adapters: &[&str], cases: usize) {
    let mut runner = TestRunner::deterministic();
    let mut outputs = Vec::new();
    for name in adapters {
        let adapter = adapter(name).expect("in the table");
        outputs.extend((0..cases).map(|_| output(adapter, &mut runner)));
    }
    let answers = theirs(python, &outputs);
    assert_eq!(answers.len(), outputs.len());
    let mut taken = vec![0; adapters.len()];
    for (place, (output, answer)) in outputs.iter().zip(&answers).enumerate() {
        let name = adapters[place / cases];
        if answer.starts_with("refused") {
            continue;
        }
        let ours = ours(adapter(name).expect("in the table"), output);
        assert!(
            ours.iter().flatten().any(|own| own == answer),
            "{output}: {answer}, ours {ours:?}"
        );
        taken[place / cases] += 1;
    }
    for (name, taken) in adapters.iter().zip(taken) {
        let first = answers
            .iter()
            .zip(&outputs)
            .find(|(answer, output)| answer.starts_with("refused") && output["type"] == **name);
        assert!(
            taken * 4 > cases,
            "{name}: the class took only {taken} of {cases}: {first:?}"
        );
    }
}

#[test]
fn our_hash_is_that_of_the_adapters_own_class() {
    compare(&dbt_lease_sandbox::venv().python(), &["postgres"], 500);
}

/// `just warm-adapters`
#[test]
#[ignore = "needs the adapters that DBT_LEASE_WARM_PYTHON names: `just warm-adapters`"]
fn our_hash_is_that_of_every_adapters_own_class() {
    let python =
        PathBuf::from(std::env::var("DBT_LEASE_WARM_PYTHON").expect("DBT_LEASE_WARM_PYTHON"));
    let adapters = std::env::var("DBT_LEASE_WARM_ADAPTERS").expect("DBT_LEASE_WARM_ADAPTERS");
    let adapters: Vec<&str> = adapters.split_whitespace().collect();
    compare(&python, &adapters, 300);
}

/// Each kind of file uses another key: what dbt rendered is found in its cache, wherever it stood.
#[test]
fn every_file_that_dbt_renders_is_found_in_its_cache() {
    let scratch = tempfile::tempdir().expect("a directory");
    let project = scratch.path();
    let files = [
        (
            "dbt_project.yml",
            "name: p\nprofile: p\nmacro-paths: [macros]\non-run-start: [\"select '{{ target.k_hook }}'\"]\n",
        ),
        (
            "profiles.yml",
            "p: {target: t, outputs: {t: {type: postgres, host: h, port: 1, user: u, password: x, dbname: d, schema: s}}}\n",
        ),
        (
            "models/model.sql",
            "{{ config(alias='x' ~ target.k_model) }} select 1 as a",
        ),
        (
            "models/disabled.sql",
            "{{ config(enabled=(target.k_disabled == 'x')) }} select 1 as a",
        ),
        (
            "models/schema.yml",
            "models: [{name: model, config: {meta: {x: 'x{{ target.k_meta }}'}}, columns: [{name: a, data_tests: [{own: {arguments: {argument: 'x{{ target.k_argument }}'}, config: {where: \"a <> '{{ target.k_where }}'\"}}}]}]}]\n\
            sources: [{name: src, schema: 's{{ target.k_source }}', tables: [{name: t}]}]\n\
            exposures: [{name: e, type: dashboard, owner: {name: 'x{{ target.k_exposure }}', email: a@example.com}}]\n",
        ),
        (
            "macros/macro.sql",
            "{% macro m() %}{{ target.k_macro }}{% endmacro %}",
        ),
        (
            "tests/generic/own.sql",
            "{% test own(model, column_name, argument) %}select 1 where '{{ target.k_generic }}' = 'x'{% endtest %}",
        ),
        (
            "tests/singular.sql",
            "{{ config(tags=['x' ~ target.k_singular]) }} select 1 as a where false",
        ),
        ("analyses/analysis.sql", "select '{{ target.k_analysis }}'"),
        (
            "snapshots/snapshot.sql",
            "{% snapshot s %}{{ config(target_schema='x' ~ target.k_snapshot, unique_key='a', strategy='check', check_cols='all') }} select 1 as a{% endsnapshot %}",
        ),
        (
            "seeds/seeds.yml",
            "seeds: [{name: seed, config: {alias: 'y{{ target.k_seed }}'}}]\n",
        ),
        ("seeds/seed.csv", "a\n1\n"),
    ];
    for (name, text) in files {
        let path = project.join(name);
        fs::create_dir_all(path.parent().expect("below the project")).expect("made");
        fs::write(path, text).expect("written");
    }
    let parsed = Command::new(dbt_lease_sandbox::venv().dbt())
        .args(["parse", "--quiet"])
        .current_dir(project)
        .env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
        .output()
        .expect("dbt starts");
    assert!(
        parsed.status.success(),
        "{}",
        String::from_utf8_lossy(&parsed.stdout)
    );
    let path = project.join("target/partial_parse.msgpack");
    let user = |key: &str, trusted: &[&str]| {
        let (cache, _) = cache::read(&path, &[key], trusted).expect("read");
        cache.user
    };
    let trusted = ["dbt", "dbt_postgres"];
    for key in [
        "hook", "model", "disabled", "meta", "argument", "where", "source", "exposure", "macro",
        "generic", "singular", "analysis", "snapshot", "seed",
    ] {
        assert!(user(&format!("k_{key}"), &trusted).is_some(), "{key}");
    }
    assert_eq!(user("user", &trusted), None);
    assert!(
        user("user", &[]).is_some(),
        "dbt's own macros have `target` for a parameter and more"
    );

    let (found, _) = cache::read(&path, &["user"], &trusted).expect("read");
    assert_eq!(found.version, "1.12.0");
    assert!(
        found
            .roots
            .iter()
            .any(|root| project.join(root).join("dbt_project.yml").is_file()),
        "{:?}",
        found.roots
    );
    let bytes = fs::read(&path).expect("read");
    let at = usize::try_from(found.at).expect("small");
    assert_eq!(bytes[at..at + 64], *found.hash.as_bytes());

    // What is cut off or has more behind it is none of dbt's.
    for cut in [0, 1, at, at + 64, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).expect("written");
        assert!(cache::read(&path, &["user"], &trusted).is_err(), "{cut}");
    }
    fs::write(&path, [&bytes[..], &[0]].concat()).expect("written");
    assert!(cache::read(&path, &["user"], &trusted).is_err());
}
