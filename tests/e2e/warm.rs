//! dbt's parse cache stays warm over new users, and is never served stale.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Lab, Ran, Running, files_below, ran, wait_until};

const COLD: &str = "Unable to do partial parsing because";

/// `exec -v -- dbt … --target prod`, with dbt's own log on stdout.
fn exec_dbt(lab: &Lab, words: &[&str]) -> Ran {
    let mut command = lab.command(&["-v", "exec", "--", "dbt"]);
    command.args(words).args(["--target", "prod"]);
    ran(command.output().expect("started"))
}

const KEEP: &str = "prod: {secrets: {warehouse: database/creds/dbt-prod}, parse_cache: keep}";

/// A lab whose target keeps the cache.
fn keeping() -> Lab {
    let lab = Lab::new();
    let text = fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    lab.configure(&text.replace("prod: database/creds/dbt-prod", KEEP));
    lab
}

/// A lab with the dbt that the recipe names before the tests' own on PATH.
fn lab_of_another_dbt() -> Lab {
    let mut lab = keeping();
    if let Ok(bin) = std::env::var("DBT_LEASE_WARM_BIN") {
        lab.home
            .set("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin"));
        // dbt 1.9 does not know `arguments:`.
        let schema = lab.project.join("models/schema.yml");
        let text = fs::read_to_string(&schema).expect("read");
        let text = text.replace(
            "arguments: {to: ref('stg_customers'), field: customer_id}",
            "{to: ref('stg_customers'), field: customer_id}",
        );
        let text = text.replace(
            "- relationships:\n              {to",
            "- relationships: {to",
        );
        fs::write(&schema, text).expect("written");
    }
    lab
}

/// A run that connects and reads the cache, on a new user.
fn compile(lab: &Lab) -> Ran {
    let ran = exec_dbt(lab, &["compile", "-s", "built_by"]);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    ran
}

/// A run that connects and does not compile, which would add to the manifest.
fn parse_on_a_lease(lab: &Lab) -> Ran {
    let ran = exec_dbt(lab, &["run-operation", "nothing"]);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    ran
}

fn cache(lab: &Lab) -> PathBuf {
    lab.project.join("target/partial_parse.msgpack")
}

/// What `plan` says of the cache.
fn planned(lab: &Lab, variables: &[(&str, &str)]) -> (String, String) {
    let words = ["plan", "--json", "--", "dbt", "run", "-t", "prod"];
    let plan: Value =
        serde_json::from_str(&lab.run_with(variables, &words).success()).expect("JSON");
    let said = |key: &str| {
        plan["parse_cache"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (said("state"), said("why"))
}

#[track_caller]
fn assert_warm(ran: &Ran) {
    assert!(!ran.stdout.contains(COLD), "{}\n{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("parse cache is kept for the new user"),
        "{}",
        ran.stderr
    );
}

#[track_caller]
fn assert_cold(ran: &Ran, why: &str) {
    assert!(
        ran.stdout.contains(&format!("{COLD} profile has changed")),
        "{}\n{}",
        ran.stdout,
        ran.stderr
    );
    assert!(ran.stderr.contains(why), "{}", ran.stderr);
}

#[test]
fn a_new_user_does_not_make_dbt_parse_everything_again() {
    let lab = keeping();
    assert_eq!(planned(&lab, &[]).0, "cold");
    let first = compile(&lab);
    assert!(first.stdout.contains(COLD), "{}", first.stdout);
    assert!(
        first.stderr.contains("there is no parse cache yet"),
        "{}",
        first.stderr
    );
    assert_eq!(planned(&lab, &[]).0, "warm");
    for _ in 0..2 {
        assert_warm(&compile(&lab));
    }
    // What does not connect gets the last user's name, and leaves the cache as it was.
    let listed = exec_dbt(&lab, &["ls"]);
    assert!(!listed.stdout.contains(COLD), "{}", listed.stdout);
    assert_warm(&compile(&lab));
    // Users come and go; their names alone are remembered.
    let state = files_below(lab.home.directory())
        .into_iter()
        .filter(|path| {
            path.to_string_lossy().contains("parse-caches/")
                && path.extension().is_some_and(|end| end == "json")
        })
        .collect::<Vec<_>>();
    assert_eq!(state.len(), 1, "{state:?}");
    let kept: Value =
        serde_json::from_str(&fs::read_to_string(&state[0]).expect("read")).expect("JSON");
    let runs = kept["runs"].as_array().expect("a list");
    assert_eq!(runs.len(), 4, "{kept}");
    for run in runs {
        let keys: Vec<&String> = run.as_object().expect("a mapping").keys().collect();
        assert_eq!(keys, ["user"], "{kept}");
    }
    lab.assert_nothing_left();
}

#[test]
fn what_reads_the_user_is_never_served_stale() {
    let lab = keeping();
    let model = lab.project.join("models/marts/who.sql");
    let text = "{{ config(materialized='view', meta={'who': target.user}) }} select 1 as one";
    fs::write(&model, text).expect("written");
    for run in 0..2 {
        let ran = compile(&lab);
        let record = lab.record();
        let user = &record[2 * run]["secrets"][0]["database_user"];
        let meta =
            &manifest(&lab.project.join("target"))["nodes"]["model.jaffle.who"]["config"]["meta"];
        assert_eq!(&meta["who"], user);
        if run > 0 {
            assert_cold(&ran, "`model.jaffle.who` could read a key of `target`");
        }
    }
    let (state, why) = planned(&lab, &[]);
    assert_eq!(
        (state.as_str(), why.contains("model.jaffle.who")),
        ("cold", true),
        "{why}"
    );
    lab.assert_nothing_left();
}

/// Edits of a project, each of which dbt must see.
const EDITS: [(&str, &str); 8] = [
    (
        "models/marts/new.sql",
        "select customer_id from {{ ref('customers') }}",
    ),
    (
        "models/marts/new.sql",
        "{{ config(materialized='view') }} select {{ one() }} as one from {{ ref('stg_orders') }}",
    ),
    ("macros/one.sql", "{% macro one() %}1{% endmacro %}"),
    ("macros/one.sql", "{% macro one() %}1 + 0{% endmacro %}"),
    (
        "models/new.yml",
        "models: [{name: new, description: New., columns: [{name: one, data_tests: [not_null]}]}]\n",
    ),
    (
        "models/new.yml",
        "models: [{name: new, description: Newer.}]\n",
    ),
    (
        "tests/new.sql",
        "select 1 from {{ ref('new') }} where false",
    ),
    (
        "models/marts/who.sql",
        "{{ config(meta={'who': 'x' ~ target.user}) }} select 1 as one",
    ),
];

/// `just warm-edits` makes twenty of the edits.
#[test]
fn after_any_edit_and_a_new_user_the_manifest_is_that_of_a_full_parse() {
    let lab = lab_of_another_dbt();
    let edits = std::env::var("DBT_LEASE_TEST_EDITS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    let mut seed = std::env::var("DBT_LEASE_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(7_u64);
    // What some of the others need.
    for (name, text) in [EDITS[2], EDITS[1]] {
        fs::write(lab.project.join(name), text).expect("written");
    }
    let operation = lab.project.join("macros/nothing.sql");
    fs::write(operation, "{% macro nothing() %}{% endmacro %}").expect("written");
    let _ = parse_on_a_lease(&lab);
    let mut warm = 0;
    for edit in 0..edits {
        // Knuth's generator: the same edits in every run with one seed.
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (name, text) = EDITS[usize::try_from(seed >> 33).expect("31 bits") % EDITS.len()];
        let path = lab.project.join(name);
        if path.exists()
            && fs::read_to_string(&path).expect("read") == text
            && name.ends_with("who.sql")
        {
            fs::remove_file(&path).expect("removed");
        } else {
            fs::write(&path, text).expect("written");
        }
        let ran = parse_on_a_lease(&lab);
        warm += u32::from(!ran.stdout.contains(COLD));
        let user = lab.record().iter().rev().find_map(|event| {
            event["secrets"][0]["database_user"]
                .as_str()
                .map(str::to_owned)
        });
        let kept = manifest(&lab.project.join("target"));
        let full = exec_dbt(
            &lab,
            &["parse", "--no-partial-parse", "--target-path", "full"],
        );
        assert_eq!(full.code, Some(0), "{}", full.stdout);
        let fresh = manifest(&lab.project.join("full")).to_string();
        // A command that does not connect has another user where the cache of its target directory is new.
        let fresh = fresh.replace("dbt-lease-placeholder", &user.expect("recorded"));
        let fresh: Value = serde_json::from_str(&fresh).expect("JSON");
        assert!(
            kept == fresh,
            "edit {edit}, {name}: {}",
            first_difference(&kept, &fresh, "")
        );
    }
    assert!(warm > 0, "no run was warm");
}

/// A manifest without what no two parses have in common.
fn manifest(target: &Path) -> Value {
    let text = fs::read_to_string(target.join("manifest.json")).expect("manifest.json");
    let mut manifest: Value = serde_json::from_str(&text).expect("JSON");
    manifest["metadata"] = Value::Null;
    without_times(&mut manifest);
    manifest
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for key in [
                "created_at",
                "compiled",
                "compiled_code",
                "compiled_path",
                "extra_ctes",
                "extra_ctes_injected",
                "_pre_injected_sql",
                "contract_checksum",
                "build_path",
            ] {
                map.remove(key);
            }
            map.values_mut().for_each(without_times);
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// Where two manifests begin to differ.
fn first_difference(one: &Value, other: &Value, at: &str) -> String {
    if let (Value::Object(one), Value::Object(other)) = (one, other) {
        for key in one.keys().chain(other.keys()) {
            let (one, other) = (
                &one.get(key).unwrap_or(&Value::Null),
                &other.get(key).unwrap_or(&Value::Null),
            );
            if one != other {
                return first_difference(one, other, &format!("{at}.{key}"));
            }
        }
    }
    format!("{at}: {one} / {other}")
}

#[test]
fn a_session_that_is_killed_in_the_middle_leaves_a_whole_cache() {
    let lab = keeping();
    let _ = compile(&lab);
    for point in [
        "parse_cache_remembered",
        "parse_cache_copied",
        "parse_cache_written",
        "parse_cache_renamed",
    ] {
        let before = fs::read(cache(&lab)).expect("read");
        let words = [
            "exec", "--", "dbt", "compile", "-s", "built_by", "-t", "prod",
        ];
        let ran = lab.run_with(&[("DBT_LEASE_FAILPOINT", &format!("{point}:kill"))], &words);
        assert_eq!(ran.signal, Some(9), "{point}: {}", ran.stderr);
        let after = fs::read(cache(&lab)).expect("read");
        let other = before
            .iter()
            .zip(&after)
            .filter(|(one, other)| one != other)
            .count();
        assert_eq!(before.len(), after.len(), "{point}");
        assert_eq!(
            other > 0,
            point == "parse_cache_renamed",
            "{point}: {other} bytes"
        );
        assert!(other <= 64, "{point}: {other} bytes");
        assert_eq!(planned(&lab, &[]).0, "warm", "{point}");
    }
    assert_warm(&compile(&lab));
    let left = files_below(&lab.project.join("target"));
    let is_ours = |path: &PathBuf| path.extension().is_some_and(|end| end == "dbt-lease");
    assert!(!left.iter().any(is_ours), "{left:?}");
    wait_until("all is given back", || {
        lab.world.database_users().is_empty()
    });
}

#[test]
fn a_cache_is_left_alone_where_it_is_to_be_or_its_dbt_is_not_known() {
    let lab = keeping();
    let _ = compile(&lab);
    let before = fs::read(cache(&lab)).expect("read");
    let said = |variables: &[(&str, &str)], words: &[&str]| {
        let mut arguments = vec![
            "-v", "exec", "-t", "prod", "--", "dbt", "debug", "-t", "prod",
        ];
        arguments.extend(words);
        let ran = lab.run_with(variables, &arguments);
        assert!(
            fs::read(cache(&lab)).expect("read") == before,
            "{words:?}: it was changed"
        );
        ran.stderr
    };
    // Before the installed one: a release that nobody compared.
    let packages = lab.home.directory().join("packages");
    let metadata = packages.join("dbt_postgres-1.99.0.dist-info");
    fs::create_dir_all(&metadata).expect("made");
    fs::write(metadata.join("METADATA"), "").expect("written");
    let packages = packages.to_string_lossy().into_owned();
    let (state, why) = planned(&lab, &[("PYTHONPATH", &packages)]);
    assert_eq!(
        (state.as_str(), why.contains("dbt_postgres 1.99.0")),
        ("cold", true),
        "{why}"
    );
    let stderr = said(&[("PYTHONPATH", &packages)], &[]);
    assert!(
        stderr.contains("dbt_postgres 1.99.0 was not compared"),
        "{stderr}"
    );

    let stderr = said(&[("DBT_PARTIAL_PARSE", "false")], &[]);
    assert!(
        stderr.contains("partial parsing is switched off"),
        "{stderr}"
    );

    // Somebody changed the connection: the lease is not all that is new.
    let stderr = said(&[("JAFFLE_HOST", "localhost")], &[]);
    assert!(stderr.contains("not left by a last run"), "{stderr}");

    let text = fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    lab.configure(&text.replace(KEEP, "prod: database/creds/dbt-prod"));
    let stderr = said(&[], &[]);
    assert!(!stderr.contains("parse cache"), "{stderr}");
    assert_eq!(planned(&lab, &[]).0, "");
}

#[test]
fn variables_of_the_bridge_and_runs_at_once_keep_the_cache_too() {
    let lab = keeping();
    lab.configure(
        &fs::read_to_string(lab.project.join("dbt-lease.yml"))
            .expect("read")
            .replace(
                KEEP,
                "prod: {secrets: {warehouse: database/creds/dbt-prod}, parse_cache: keep, env: {DBT_ENV_SECRET_USER: '{{ vault.warehouse.username }}', DBT_ENV_SECRET_PASSWORD: '{{ vault.warehouse.password }}'}}",
            ),
    );
    let profiles = lab.project.join("profiles.yml");
    let text = fs::read_to_string(&profiles).expect("read");
    let text = text.replace(
        "      schema: prod\n",
        "      schema: prod\n      user: \"{{ env_var('DBT_ENV_SECRET_USER') }}\"\n      password: \"{{ env_var('DBT_ENV_SECRET_PASSWORD') }}\"\n",
    );
    fs::write(&profiles, text).expect("written");
    let first = exec_dbt(&lab, &["parse"]);
    assert_eq!(first.code, Some(0), "{}\n{}", first.stdout, first.stderr);
    // What does not connect leaves a cache that the next new user keeps.
    assert_warm(&compile(&lab));
    let start = || {
        let mut command = lab.command(&["-v", "exec", "--", "dbt", "compile", "-s", "built_by"]);
        command.args(["--target", "prod"]);
        Running::start(command)
    };
    for running in [start(), start()].map(Running::end) {
        assert_eq!(
            running.code,
            Some(0),
            "{}\n{}",
            running.stdout,
            running.stderr
        );
    }
    assert_warm(&compile(&lab));
    lab.assert_nothing_left();
}

/// `just warm`: what a run costs with a static user, and with a new one each time.
#[test]
#[ignore = "measures: `just warm`"]
fn a_dynamic_user_beside_a_static_one() {
    let number = |name: &str, default: usize| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (models, rounds) = (
        number("DBT_LEASE_TEST_MODELS", 2000),
        number("DBT_LEASE_TEST_ROUNDS", 5),
    );
    let lab = lab_of_another_dbt();
    let models_dir = lab.project.join("models/many");
    fs::create_dir(&models_dir).expect("made");
    let mut yaml = "models:\n".to_owned();
    for model in 0..models {
        let text = match model {
            0 => "select 1 as one".to_owned(),
            _ => format!(
                "{{{{ config(materialized='view') }}}} select * from {{{{ ref('many_{}') }}}}",
                model / 2
            ),
        };
        fs::write(models_dir.join(format!("many_{model}.sql")), text).expect("written");
        yaml.push_str(&format!(
            "  - {{name: many_{model}, columns: [{{name: one, data_tests: [unique, not_null]}}]}}\n"
        ));
    }
    fs::write(models_dir.join("many.yml"), yaml).expect("written");
    fs::write(
        lab.project.join("macros/nothing.sql"),
        "{% macro nothing() %}{% endmacro %}",
    )
    .expect("written");

    // A user of its own, for a project of its own: the same files, another target directory.
    lab.world
        .query("create role warm_static superuser login password 'static'");
    let fixed = lab.home.directory().join("static");
    fs::create_dir(&fixed).expect("made");
    let profiles = fs::read_to_string(lab.project.join("profiles.yml")).expect("read");
    let profiles = profiles.replace(
        "      schema: prod\n",
        "      schema: prod\n      user: warm_static\n      password: static\n",
    );
    fs::write(fixed.join("profiles.yml"), profiles).expect("written");
    let words = ["run-operation", "nothing", "--target", "prod"];
    let alone = |lab: &Lab| {
        let dbt = std::env::var("DBT_LEASE_WARM_BIN")
            .map_or("dbt".to_owned(), |bin| format!("{bin}/dbt"));
        let mut command = lab.in_its_environment(&dbt);
        command.args(words).arg("--profiles-dir").arg(&fixed);
        command.args(["--target-path", "of-static"]);
        command
    };
    let leased = |lab: &Lab| {
        let mut command = lab.command(&["exec", "--", "dbt"]);
        command.args(words);
        command
    };
    let config = fs::read_to_string(lab.project.join("dbt-lease.yml")).expect("read");
    let cold_config = config.replace(
        KEEP,
        "prod: {secrets: {warehouse: database/creds/dbt-prod}, parse_cache: off}",
    );
    let timed = |command: &mut std::process::Command| {
        let start = std::time::Instant::now();
        let _ = ran(command.output().expect("started")).success();
        start.elapsed().as_secs_f64()
    };
    let mut times = [const { Vec::new() }; 3];
    for round in 0..=rounds {
        let fixed = timed(&mut alone(&lab));
        lab.configure(&config);
        let warm = timed(&mut leased(&lab));
        lab.configure(&cold_config);
        let cold = timed(leased(&lab).args(["--target-path", "of-cold"]));
        // The first parse of each is a full one.
        if round > 0 {
            for (times, time) in times.iter_mut().zip([fixed, warm, cold]) {
                times.push(time);
            }
        }
    }
    let median = |times: &[f64]| {
        let mut sorted = times.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    let ratios: Vec<f64> = times[1]
        .iter()
        .zip(&times[0])
        .map(|(warm, fixed)| warm / fixed)
        .collect();
    // Past libtest's capture, and clippy's eye for what is left from looking for a fault.
    let _ = writeln!(
        std::io::stderr(),
        "{models} models, {rounds} rounds, seconds: static user {:.2}, dynamic + keep {:.2}, dynamic + off {:.2}; \
         dynamic + keep / static, pair by pair: median {:.3} of {ratios:.3?}",
        median(&times[0]),
        median(&times[1]),
        median(&times[2]),
        median(&ratios)
    );
}
