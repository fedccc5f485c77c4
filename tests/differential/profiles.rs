//! Whole outputs of many adapters: what `render --json --reveal` shows, and what is refused, against dbt's own Profile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dbt_lease::dbt::{Context, Profile, Rendering, Selection, resolve};
use dbt_lease::render::check::{Around, check};
use dbt_lease::render::view::view;
use dbt_lease::variables::Variables;
use serde_json::{Value as Json, json};

use crate::oracle::ask;

/// Outputs as people write them, beside those of fixtures/profiles/.
const REALISTIC: &str = include_str!("profiles.yml");

/// The variables that are set; all others are missing.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("USER", "ada"),
    ("HOME", "/home/ada"),
    ("HOST", "db.example.com"),
    ("PORT", "5432"),
    ("THREADS", "7"),
    ("SCHEMA", "analytics"),
    ("EMPTY", ""),
    ("BRANCH", "feature/ABC-12_x"),
    ("CI", "true"),
    ("PR", "17"),
    ("LIST", "a,b,c"),
    (
        "JSON",
        "{\"type\": \"service_account\", \"private_key\": \"-----BEGIN\\nx\\n-----END\\n\"}",
    ),
    ("PEM", "-----BEGIN\\nabc\\n-----END"),
    ("DBT_ENV_SECRET_PASSWORD", "p{{w}}'\"#"),
    ("DBT_ENV_SECRET_TOKEN", "dapi-0123"),
];

/// What dbt-core has no credentials class for here: only the rendered output is compared.
const INSTALLED: [&str; 2] = ["postgres", "duckdb"];

struct Compared {
    outputs: usize,
    unrendered: Vec<String>,
    wrong: Vec<String>,
    refused: usize,
}

/// dbt's value as Python's json.dumps writes it.
fn plain(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            if let Some(digits) = map.get("int").and_then(Json::as_str) {
                return digits
                    .parse::<i64>()
                    .map(Json::from)
                    .or_else(|_| digits.parse::<u64>().map(Json::from))
                    .unwrap_or_else(|_| digits.into());
            }
            if let Some(text) = map.get("timestamp") {
                return text.clone();
            }
            if let Some(entries) = map.get("map").and_then(Json::as_array) {
                let key = |key: &Json| match plain(key) {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                return entries
                    .iter()
                    .map(|entry| (key(&entry[0]), plain(&entry[1])))
                    .collect::<serde_json::Map<_, _>>()
                    .into();
            }
            value.clone()
        }
        Json::Array(items) => items.iter().map(plain).collect(),
        other => other.clone(),
    }
}

/// Our value with floats as the oracle writes them.
fn with_hex(value: &Json) -> Json {
    match value {
        Json::Number(number) if number.is_f64() => {
            let float = ask(
                &json!({"kind": "literal", "text": format!("{:e}", number.as_f64().unwrap_or_default())}),
            );
            float["value"].clone()
        }
        Json::Array(items) => items.iter().map(with_hex).collect(),
        Json::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), with_hex(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn is_at(unrendered: &[(String, String)], key: &str) -> bool {
    unrendered
        .iter()
        .any(|(path, _)| path == key || path.starts_with(&format!("{key}.")))
}

fn compare(document: &str, compared: &mut Compared) {
    let environment: BTreeMap<&str, &str> = ENVIRONMENT.iter().copied().collect();
    let variables: Variables = ENVIRONMENT.iter().copied().collect();
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("profiles.yml"), document).expect("written");
    let targets = ask(&json!({"kind": "targets", "document": document}))["targets"].clone();
    for pair in targets.as_array().expect("targets") {
        let (name, target) = (
            pair[0].as_str().expect("text"),
            pair[1].as_str().expect("text"),
        );
        compared.outputs += 1;
        let theirs = ask(&json!({
            "kind": "profile", "document": document, "profile": name, "target": target, "env": environment,
        }));
        let ours = ours(dir.path(), name, target, &variables);
        let what = format!("{name}.{target}");
        match ours {
            Err(why) => {
                compared.refused += 1;
                // Only where the class is installed can dbt tell of a credential's form.
                if theirs.get("refused").is_none() {
                    compared
                        .wrong
                        .push(format!("{what}: we refuse: {why}\n  dbt: {theirs}"));
                }
            }
            Ok((profile, output, unrendered)) => {
                if let Some(refused) = theirs.get("refused") {
                    let message = &theirs["message"];
                    let installed = profile
                        .adapter
                        .as_deref()
                        .is_some_and(|adapter| INSTALLED.contains(&adapter));
                    if unrendered.is_empty()
                        && (!installed || profile.adapter.as_deref() == Some("postgres"))
                    {
                        compared
                            .wrong
                            .push(format!("{what}: dbt refuses: {refused} {message}"));
                    }
                    continue;
                }
                for (path, why) in &unrendered {
                    compared.unrendered.push(format!("{what}: {path}: {why}"));
                }
                let theirs = plain(&theirs["output"]);
                let ours = with_hex(&output);
                let (Json::Object(ours), Json::Object(theirs)) = (&ours, &theirs) else {
                    panic!("{what}: no mappings: {theirs}");
                };
                let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
                for key in keys {
                    if !is_at(&unrendered, key) && ours.get(key) != theirs.get(key) {
                        compared.wrong.push(format!(
                            "{what}: {key}\n  dbt:  {:?}\n  ours: {:?}",
                            theirs.get(key),
                            ours.get(key)
                        ));
                    }
                }
            }
        }
    }
}

type Ours = (Profile, Json, Vec<(String, String)>);

/// What `render --json --reveal --profile P --target T` does.
fn ours(dir: &Path, profile: &str, target: &str, variables: &Variables) -> Result<Ours, String> {
    let context = Context {
        variables,
        cwd: dir,
    };
    let selection = Selection {
        profile: Some(profile.to_owned()),
        target: Some(target.to_owned()),
        ..Selection::default()
    };
    std::fs::write(dir.join("dbt_project.yml"), "name: p\nprofile: p\n").expect("written");
    let resolved = resolve(&[], &selection, &context).map_err(|error| error.to_string())?;
    let rendering = Rendering::of(&resolved.engine, resolved.vars.clone(), &context)
        .map_err(|error| error.to_string())?;
    let profile = resolved.profile.expect("there is a profile");
    let around = Around {
        rendering: &rendering,
        later: &BTreeSet::new(),
        threads_count: resolved.threads_count,
        is_lent: false,
    };
    check(&profile, &profile.output, &around).map_err(|error| error.to_string())?;
    let view = view(&profile.output, &[], &rendering, true).map_err(|error| error.to_string())?;
    Ok((profile, Json::Object(view.output), view.unrendered))
}

#[test]
fn outputs_of_many_adapters_are_rendered_as_dbt_renders_them() {
    let mut compared = Compared {
        outputs: 0,
        unrendered: Vec::new(),
        wrong: Vec::new(),
        refused: 0,
    };
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/profiles");
    for entry in std::fs::read_dir(fixtures).expect("fixtures") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("it is text");
        compare(&text, &mut compared);
    }
    compare(REALISTIC, &mut compared);
    let Compared {
        outputs,
        unrendered,
        wrong,
        refused,
    } = compared;
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let with_unrendered: BTreeSet<&str> = unrendered
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert!(
        outputs >= 100 && with_unrendered.len() * 50 <= outputs && refused * 4 < outputs,
        "{outputs} outputs, {refused} refused, {} with something unrendered:\n{}",
        with_unrendered.len(),
        unrendered.join("\n")
    );
}

#[test]
fn broken_outputs_are_refused_where_dbt_refuses_them() {
    let sound = "type: postgres\nhost: h\nport: 5432\nuser: u\npassword: p\ndbname: d\nschema: s\nthreads: 1\n";
    let changes: &[(&str, &[&str])] = &[
        (
            "threads",
            &[
                "4",
                "'4'",
                "\"{{ env_var('THREADS') }}\"",
                "\"{{ env_var('THREADS') | int }}\"",
                "\"{{ env_var('THREADS') | as_number }}\"",
                "4.0",
                "4.5",
                "yes",
                "",
                "[]",
                "-1",
                "0",
                "'{{ 4 }}'",
                "\"{{ nope }}\"",
                "\"{{ env_var('MISSING') }}\"",
                "\"{{ env_var('MISSING', 4) }}\"",
                "\"{{ env_var('EMPTY') | int }}\"",
                "1:30",
                "0x1F",
            ],
        ),
        (
            "port",
            &[
                "'5432'",
                "\"{{ env_var('PORT') }}\"",
                "\"{{ env_var('PORT') | int }}\"",
                "5432.0",
                "on",
                "null",
                "70000",
                "\"{{ env_var('MISSING', '5432') }}\"",
                "\"{{ env_var('EMPTY') | as_number }}\"",
            ],
        ),
        (
            "user",
            &[
                "\"{{ env_var('PORT')\"",
                "\"a{{\"",
                "5",
                "null",
                "''",
                "yes",
                "[a]",
                "2024-01-01",
                "\"{{ nope }}\"",
                "\"{{ env_var('MISSING') }}\"",
                "{a: b}",
                "1.5",
            ],
        ),
        (
            "password",
            &[
                "123456",
                "''",
                "null",
                "\"{{ env_var('MISSING') }}\"",
                "\"{{ env_var('PORT') | int }}\"",
                "'{{ nope.x }}'",
                "'a{{b'",
                "\"{{ nope }}\"",
                "\"{{ env_var('DBT_ENV_SECRET_PASSWORD') }}\"",
            ],
        ),
        ("pass", &["x", "\"{{ env_var('MISSING') }}\""]),
        ("database", &["x"]),
        ("schema", &["5", "'{{ x.y }}'", "'a{{'"]),
        ("sslmode", &["true", "null", "require", "5", "no"]),
        ("connect_timeout", &["'5'", "5", "null"]),
        ("keepalives_idle", &["'0'", "0", "null"]),
        ("retries", &["'1'", "1"]),
        ("autocommit", &["true", "null"]),
        ("search_path", &["[a]", "'a, b'", "null"]),
        ("role", &["5", "r"]),
        (
            "unknown_key",
            &[
                "{a: [1, '{{ env_var(\"MISSING\") }}']}",
                "{password: '{{ env_var(\"MISSING\") }}'}",
                "1",
            ],
        ),
    ];
    let mut compared = Compared {
        outputs: 0,
        unrendered: Vec::new(),
        wrong: Vec::new(),
        refused: 0,
    };
    let mut document = "p:\n  outputs:\n".to_owned();
    let mut add = |name: String, output: &str| {
        document.push_str(&format!("    {name}:\n"));
        for line in output.lines() {
            document.push_str(&format!("      {line}\n"));
        }
    };
    for (key, values) in changes {
        let begin = format!("{key}: ");
        for (number, value) in values.iter().enumerate() {
            let mut output: String = sound
                .lines()
                .filter(|line| !line.starts_with(&begin))
                .map(|line| format!("{line}\n"))
                .collect();
            output.push_str(&format!("{key}: {value}\n"));
            add(format!("{key}-{number}"), &output);
        }
    }
    for line in sound.lines().filter(|line| !line.starts_with("type")) {
        add(
            format!("without-{}", line.split(':').next().unwrap_or_default()),
            &sound.replace(&format!("{line}\n"), ""),
        );
    }
    compare(&document, &mut compared);
    assert!(
        compared.wrong.is_empty(),
        "{} wrong:\n{}",
        compared.wrong.len(),
        compared.wrong.join("\n")
    );
    assert!(
        compared.refused >= 30 && compared.outputs - compared.refused >= 25,
        "{} refused of {}",
        compared.refused,
        compared.outputs
    );
}
