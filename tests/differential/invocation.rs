//! Command lines and their surroundings: project, profiles file, profile and target as dbt chooses them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use dbt_lease::dbt::options::Command;
use dbt_lease::dbt::{Context, Engine, Need, Resolved, Selection, resolve};
use dbt_lease::variables::Variables;
use serde_json::{Value as Json, json};

use crate::oracle::{ask, python};
use crate::random::Random;

/// dbt's words; `ROOT` stands for the world's directory.
const LINES: &[&str] = &[
    "run",
    "build -t prod",
    "build --target=prod",
    "run -tprod",
    "run -t=prod",
    "run -xtprod",
    "run -xt prod",
    "-t prod run",
    "-dt prod run",
    "-tprod -x run",
    "-t prod run -t dev",
    "-t prod run --target prod",
    "run -t dev -t prod",
    "run -t",
    "run --target",
    "run --target=",
    "run -t ''",
    "run --tar prod",
    "run -T prod",
    "run -s a b -t prod",
    "run -s -t prod",
    "run --select=a b -t prod",
    "run -sa b -t prod",
    "run -s a --exclude b c -t prod x",
    "run --exclude -t prod",
    "run --vars {} -t prod",
    "run --vars -t prod",
    "run --vars -t",
    "run --vars {t:\\ prod}",
    "run --vars 5",
    "run --vars '{a: '",
    "run --vars '{x: 1}' --vars '{t: ci}'",
    "run --profile other",
    "run --profile=other -t prod",
    "--profile other run",
    "--profile other run --profile shop",
    "run --profile nope",
    "run --profile ''",
    "run --profile -t",
    "run --project-dir ROOT/project",
    "run --project-dir=ROOT/project -t prod",
    "run --project-dir ../project",
    "run --project-dir project",
    "run --project-dir nope",
    "run --project-dir ''",
    "run --project-dir ROOT/elsewhere",
    "run --project-dir ROOT/templated",
    "run --project-dir ROOT/secret",
    "run --project-dir ROOT/listed",
    "run --project-dir ROOT/none",
    "run --project-dir ROOT/none --profile shop",
    "run --project-dir ROOT/number",
    "run --project-dir ROOT/secret --profile shop",
    "run --project-dir ROOT/templated --profile other",
    "run --project-dir ROOT/undefined",
    "run --profiles-dir ROOT/elsewhere",
    "run --profiles-dir=ROOT/elsewhere -t prod",
    "run --profiles-dir nope",
    "run --profiles-dir ''",
    "run --profiles-dir ROOT/sub",
    "--profiles-dir ROOT/elsewhere run",
    "run --profiles-dir ROOT/elsewhere/profiles.yml",
    "run --profiles-dir ROOT/elsewhere --profiles-dir ROOT/project",
    "run --project-dir ROOT/indented",
    "retry --project-dir ROOT/indented -t prod",
    "retry --project-dir ROOT/indented -t prod --target-path ''",
    "retry -t prod --state ''",
    "run --project-dir ROOT/flagged",
    "run --project-dir ROOT/flagged --profiles-dir ROOT/configured",
    "run --profiles-dir ROOT/configured",
    "run --project-dir ROOT/project/../nested",
    "run --project-dir .",
    "run --profiles-dir ..",
    "run --profiles-dir .",
    "run --profiles-dir ROOT/bad/empty",
    "run --profiles-dir ROOT/bad/list",
    "run --profiles-dir ROOT/bad/syntax",
    "run --profiles-dir ROOT/bad/forms",
    "run --profiles-dir ROOT/bad/forms --profile noout",
    "run --profiles-dir ROOT/bad/forms --profile nulltarget",
    "run --profiles-dir ROOT/bad/forms --profile inttarget",
    "run --profiles-dir ROOT/bad/forms --profile notarget",
    "run --profiles-dir ROOT/bad/forms --profile deftarget",
    "run --profiles-dir ROOT/bad/forms --profile liststuff",
    "run --profiles-dir ROOT/bad/forms --profile textout",
    "run --profiles-dir ROOT/bad/forms --profile nulled",
    "run --profiles-dir ROOT/bad/forms --profile date",
    "run --profiles-dir ROOT/bad/forms --profile notype",
    "run --profiles-dir ROOT/bad/forms --profile block",
    "run --profiles-dir ROOT/bad/forms --profile env",
    "run --profiles-dir ROOT/bad/forms --profile envdefault",
    "run --profiles-dir ROOT/bad/forms --profile missing",
    "run --profiles-dir ROOT/bad/forms --profile missing -t dev",
    "run --profiles-dir ROOT/bad/forms --profile cond",
    "run --profiles-dir ROOT/bad/forms --profile vars --vars {t:\\ prod}",
    "run --profiles-dir ROOT/bad/forms --profile vars",
    "run --profiles-dir ROOT/bad/forms --profile secret",
    "run --profiles-dir ROOT/bad/forms --profile native",
    "run --profiles-dir ROOT/bad/forms --profile odd",
    "run --profiles-dir ROOT/bad/forms --profile dbttarget",
    "run --profiles-dir ROOT/bad/forms --profile undefined",
    "run --profiles-dir ROOT/bad/forms --profile twin",
    "run --profiles-dir ROOT/bad/forms --profile twin_of_old",
    "run --profiles-dir ROOT/bad/forms --profile prefix",
    "ls",
    "list -s x",
    "parse",
    "compile",
    "test",
    "seed",
    "snapshot",
    "show -s x",
    "clone",
    "run-operation",
    "run-operation m --args {}",
    "run-operation a b",
    "docs generate",
    "docs serve",
    "docs -t prod generate",
    "docs -t prod generate -t dev",
    "-t dev docs -t prod generate",
    "docs",
    "docs -t prod",
    "docs bogus",
    "source freshness",
    "source snapshot-freshness -t prod",
    "source freshness -o x",
    "freshness",
    "deps",
    "deps --profiles-dir nope",
    "clean",
    "init",
    "init -s",
    "init -s x",
    "init x y",
    "debug",
    "debug -t prod",
    "debug --config-dir",
    "debug --connection",
    "debug --profiles-dir nope",
    "debug --project-dir ROOT/elsewhere",
    "debug --profile other --project-dir ROOT/elsewhere",
    "debug --profiles-dir ROOT/single --project-dir ROOT/elsewhere",
    "debug --profiles-dir ROOT/single --project-dir ROOT/none",
    "",
    "--version",
    "-V",
    "-v",
    "-h",
    "--help",
    "run --help",
    "run -h",
    "run -xh",
    "-t prod",
    "--",
    "-- run -t prod",
    "run -- -t prod",
    "run --",
    "-- --version",
    "- run",
    "run -",
    "run x",
    "bogus",
    "-x",
    "--debug=1 run",
    "run --no-debug --debug",
    "run --threads 4",
    "run --threads four",
    "run --threads ' 4 '",
    "run --threads 1_0",
    "run --log-level loud",
    "run --log-level=debug -t prod",
    "run --deprecated-state x",
    "run -f -t prod",
    "run --full-refresh=1",
    "run --resource-type model -t prod",
    "build --resource-type all returns",
    "build --resource-type model TEST 'seed' -t prod",
    "build --resource-type 'model test' -t prod",
    "build --resource-type 'model  test' -t prod",
    "build --resource-type model --resource-type x --resource-type test",
    "build --exclude-resource-type model x",
    "run --sample 3",
    "run --sample ''",
    "run --sample '3 days' -t prod",
    "run --sample '3 DAY' -t prod",
    "run --sample '3  days'",
    "run --sample '3 weeks'",
    "run --sample 'x days'",
    "run --sample '-3 hourss' -t prod",
    "run --sample '3 days ago'",
    "run --sample x --sample '1 year' -t prod",
    "run --log-level INFO -t prod",
    "deps --add-package a@1 --source HUB",
    "deps --add-package a@1 --source hub",
    "ls --output NAME -t prod",
    "run --nope",
    "run -txprod",
    "run -qxdft prod",
    "run --target prod --log-path -t",
    "run -r -t prod",
    "build --exclude-resource-types seed test -t prod",
    "ls --output-keys a b --output json -t prod",
    "show --inline 'select 1' -t prod",
    "show --limit -1 -t prod",
    "run --printer-width x",
    "--printer-width 5 run",
    "run --indirect-selection eager",
    "--no-use-colors run -t prod",
    "--log-format json --log-level none run -t prod",
    "run --no-version-check",
    "run -m a -t prod",
    "run --models a --model b -t prod",
    "run --state st -t prod",
    "run --target -x",
    "run -t prod --",
    "-q -- run",
    "retry",
    "retry -t prod",
    "retry --state ROOT/state/prod",
    "retry --state ROOT/state/prod -t prod",
    "retry --state ROOT/state/plain -t prod",
    "retry --state ROOT/state/plain",
    "retry --state ROOT/state/other",
    "retry --state ROOT/state/other --profile other",
    "retry --state ROOT/state/freshness",
    "retry --state ROOT/state/nulled",
    "retry --target-path ROOT/state/plain",
    "retry --project-dir ROOT/project --state ROOT/state/prod --target prod",
    "retry --state ROOT/state/vars -t prod",
    "retry --state ROOT/state/vars -t prod --vars {t:\\ prod}",
    "retry --state ROOT/state/whole -t prod",
    "retry --state ROOT/state/whole -t prod --threads 4",
    "retry --state ROOT/state/whole -t prod --threads four",
    "retry --state ROOT/state/whole",
    "retry --state ROOT/state/docs",
    "retry --state ROOT/state/operation",
    "retry --state ROOT/state/warned",
    "retry --state ROOT/state/warned --warn-error",
    "--warn-error retry --state ROOT/state/prod -t prod",
    "retry --state ROOT/state/odd",
    "retry --state ROOT/state/moments",
    "retry --state ROOT/state/listed",
    "run --event-time-start 2024-01-31 --event-time-end 2024-2-1 -t prod",
    "run --event-time-start 2024-01-31 --event-time-end 2024-02-30",
    "run --event-time-start 2024-01-31",
    "build --event-time-end 2024-01-31T10:00:00",
    "run --event-time-start 2024-01-31 --event-time-end 2024-01-31",
    "run --event-time-start 2024-01-31 --event-time-end '2024-01-31 00:00:01' -t prod",
    "run --event-time-start 2024-01-31t1:2:3 --event-time-end '2024-01-31  1:2:4' -t prod",
    "run --event-time-start 24-01-31 --event-time-end 2024-02-01",
    "run --event-time-start '2024-01- 1' --event-time-end '2024-01- 2 10:00:00' -t prod",
    "run --event-time-start 2024-01-31T24:00:00 --event-time-end 2024-02-01",
    "run --event-time-start 2024-01-31T10:00 --event-time-end 2024-02-01",
    "run-operation m --args x",
    "run-operation m --args '{a: '",
    "run-operation m --args '{a: b}' -t prod",
    "run-operation m --args ''",
    "run --warn-error --warn-error-options {}",
    "--warn-error run --warn-error-options {}",
    "run --warn-error-options {} -t prod",
    "run --warn-error-options x",
    "run --warn-error-options '{error: all}' -t prod",
    "show --select a --inline 'select 1'",
    "compile --inline 'select 1' --selector a",
    "compile --inline 'select 1' -t prod",
    "compile --select a --selector b -t prod",
    "run --state dbt_project.yml",
    "run --state models -t prod",
    "run --defer-state nope -t prod",
    "run --partial-parse-file-path nope",
    "run --partial-parse-file-path dbt_project.yml -t prod",
    "run --partial-parse-file-path models",
    "run --partial-parse-file-path ''",
    "source freshness -o models",
    "source freshness -o sources.json -t prod",
    "run --log-path dbt_project.yml -t prod",
];

/// The variables of the process.
const ENVIRONMENTS: &[&[(&str, &str)]] = &[
    &[],
    &[],
    &[("DBT_TARGET", "prod")],
    &[("DBT_ENGINE_TARGET", "prod"), ("DBT_TARGET", "dev")],
    &[("DBT_TARGET", ""), ("DBT_ENGINE_TARGET", "")],
    &[("DBT_TARGET", " prod")],
    &[("DBT_PROFILE", "other")],
    &[("DBT_ENGINE_PROFILE", "other"), ("DBT_TARGET", "prod")],
    &[("DBT_PROFILES_DIR", "ROOT/elsewhere")],
    &[
        ("DBT_PROFILES_DIR", "ROOT/nope"),
        ("DBT_ENGINE_PROFILES_DIR", "ROOT/elsewhere"),
    ],
    &[("DBT_PROFILES_DIR", "ROOT/nope")],
    &[("DBT_PROJECT_DIR", "ROOT/project")],
    &[
        ("DBT_PROJECT_DIR", "ROOT/nope"),
        ("DBT_ENGINE_PROJECT_DIR", "ROOT/project"),
    ],
    &[("P", "other"), ("T", "prod"), ("DBT_ENV_SECRET_T", "prod")],
    &[("P", "nope"), ("T", "nope")],
    &[("HOME", "ROOT/nowhere")],
    &[("HOME", "")],
    &[("PYTHON_DOTENV_DISABLED", "true")],
    &[("DBT_STATE", "ROOT/state/prod"), ("DBT_TARGET", "prod")],
    &[("DBT_TARGET_PATH", "ROOT/state/plain")],
    &[("dbt_target", "prod"), ("DBT_ENGINE_LOG_LEVEL", "info")],
    &[("DBT_LOG_LEVEL", "loud")],
    &[("DBT_LOG_LEVEL", "WARN"), ("DBT_ENGINE_DEBUG", "foo")],
    &[
        ("DBT_USE_COLORS", " Yes "),
        ("DBT_QUIET", "off"),
        ("DBT_TARGET", "prod"),
    ],
    &[("DBT_PRINTER_WIDTH", "x"), ("DBT_FULL_REFRESH", "2")],
    &[
        ("DBT_INDIRECT_SELECTION", "Eager"),
        ("DBT_PRINTER_WIDTH", " 7 "),
    ],
    &[("DBT_FAIL_FAST", "maybe"), ("DBT_ENGINE_FAIL_FAST", "")],
    &[("DBT_NO_PRINT", "x"), ("DBT_DEFER_TO_STATE", "perhaps")],
    &[("DBT_SAMPLE", "3"), ("DBT_TARGET", "prod")],
    &[
        ("DBT_RESOURCE_TYPES", "model  test"),
        ("DBT_WARN_ERROR", "1"),
    ],
    &[("DBT_RESOURCE_TYPES", "model returns")],
    &[("DBT_EXCLUDE_RESOURCE_TYPES", " Model\tSEED ")],
    &[
        ("DBT_EVENT_TIME_START", "2024-01-01"),
        ("DBT_WARN_ERROR", "no"),
    ],
    &[
        ("DBT_EVENT_TIME_START", "2024-01-01"),
        ("DBT_EVENT_TIME_END", "2024-01-02"),
    ],
    &[("DBT_WARN_ERROR_OPTIONS", "{}"), ("DBT_TARGET", "prod")],
    &[("DBT_WARN_ERROR_OPTIONS", "[]")],
    &[("DBT_PARTIAL_PARSE_FILE_PATH", "ROOT/nope")],
];

/// What the templates ask for.
const ASKED: &[(&str, &str)] = &[
    ("P", "other"),
    ("T", "prod"),
    ("DBT_ENV_SECRET_T", "prod"),
    ("DBT_ENGINE_STATE", "prod"),
    ("DBT_SAMPLE", "1 day"),
];

/// `.env` in the world's directory, and user_settings.yml.
const FILES: &[(&str, &str)] = &[
    ("", ""),
    ("", ""),
    ("DBT_TARGET=prod\nT=ci", ""),
    ("export DBT_ENGINE_TARGET = \"prod\" # c", ""),
    ("DBT_ENGINE_PROFILES_DIR=${PWD_}ROOT/elsewhere\nPWD_=x", ""),
    ("DBT_PROFILE='other'\nP=other\nBROKEN 'x\n", ""),
    ("", "flags: {target: prod}"),
    ("", "flags: {profile: other, target: null}"),
    ("", "flags: {profiles_dir: ROOT/elsewhere}"),
    ("", "flags: {project_dir: ROOT/project}"),
    ("", "flags: {profiles_dir: ROOT/nope, target: ''}"),
    ("DBT_TARGET=dev", "flags: {target: prod}"),
    ("", "flags: [x"),
    ("", "flags: {target: '{{ 1 }}'}"),
    ("", "target: prod"),
];

const DIRECTORIES: &[&str] = &[
    "project",
    "project/models/deep",
    "sub",
    "nested/inner",
    "",
    "link",
];

const PROFILES: &str = "\
shop:
  target: TARGET
  outputs: &outputs
    dev: &output {type: postgres, host: h, user: u, password: p, port: 5432, dbname: d, schema: s}
    prod: *output
    ci: *output
other:
  target: TARGET
  outputs: *outputs
nested:
  outputs:
    default: *output
    prod: *output
";

const FORMS: &str = "\
base: &outputs
  dev: &output {type: postgres, host: h, user: u, password: p, port: 5432, dbname: d, schema: s}
  prod: *output
  ci: *output
  default: *output
  '2024-01-31': *output
  '1': *output
  1: *output
  listed: [1]
  untyped: {host: h}
noout: {target: dev}
nulltarget: {target: null, outputs: *outputs}
inttarget: {target: 1, outputs: *outputs}
notarget: {outputs: {only: *output}}
deftarget: {outputs: *outputs}
liststuff: {target: listed, outputs: *outputs}
textout: {target: dev, outputs: dev}
nulled: null
date: {target: 2024-01-31, outputs: *outputs}
notype: {target: untyped, outputs: *outputs}
block:
  target: |
    prod
  outputs: *outputs
env: {target: \"{{ env_var('T') }}\", outputs: *outputs}
envdefault: {target: \"{{ env_var('T', 'ci') }}\", outputs: *outputs}
missing: {target: \"{{ env_var('NOT_THERE') }}\", outputs: *outputs}
cond: {target: \"{{ 'prod' if env_var('T', 'x') == 'prod' else 'dev' }}\", outputs: *outputs}
vars: {target: \"{{ var('t') }}\", outputs: *outputs}
secret: {target: \"{{ env_var('DBT_ENV_SECRET_T', 'dev') }}\", outputs: *outputs}
native: {target: \"{{ '1' | as_native }}\", outputs: *outputs}
odd: {target: \"{{ modules.datetime.date.today() }}\", outputs: *outputs}
dbttarget: {target: \"{{ env_var('DBT_TARGET', 'ci') }}\", outputs: *outputs}
undefined: {target: \"{{ nope }}\", outputs: *outputs}
twin: {target: \"{{ env_var('DBT_STATE', 'dev') }}\", outputs: *outputs}
twin_of_old: {target: \"{{ env_var('DBT_ENGINE_SAMPLE', 'dev') }}\", outputs: *outputs}
prefix: {target: \"{{ env_var('T', 'd') }}ev\", outputs: *outputs}
";

/// What dbt 1.12 itself wrote of a build with a target and variables.
const WHOLE: &str = r#""which": "build", "target": "prod", "vars": {"s": "it's", "n": null, "b": true, "i": 1, "f": 1.5, "l": [1, "x"]},
"threads": 3, "select": ["a", "b+"], "exclude": [], "resource_types": ["model", "test"], "exclude_resource_types": [], "full_refresh": true,
"defer": false, "favor_state": false, "empty": false, "print": true, "quiet": true, "use_colors": true, "cache_selected_only": false, "log_level": "info",
"log_format": "default", "log_format_file": "debug", "log_path": "/logs", "project_dir": "/p", "profiles_dir": "/p", "printer_width": 80, "static_parser": true,
"version_check": true, "write_json": true, "introspect": true, "indirect_selection": "eager", "send_anonymous_usage_stats": false,
"invocation_command": "dbt build -t prod", "warn_error_options": {"error": [], "warn": [], "silence": []}, "partial_parse": true, "populate_cache": true,
"export_saved_queries": false, "macro_debugging": false, "use_fast_test_edges": false, "show_resource_report": false, "require_yaml_configuration_for_mf_time_spines": false"#;

/// A directory tree that holds every kind of project and profile.
struct World {
    dir: tempfile::TempDir,
    root: PathBuf,
}

impl World {
    fn new(dotenv: &str, settings: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("it is there");
        let world = Self { dir, root };
        let project =
            |profile: &str| format!("name: shop\nversion: '1.0'\nconfig-version: 2\n{profile}\n");
        world.write("project/dbt_project.yml", &project("profile: shop"));
        world.write("project/profiles.yml", &PROFILES.replace("TARGET", "dev"));
        world.write("project/models/deep/x", "");
        world.write("nested/dbt_project.yml", &project("profile: shop"));
        world.write("nested/inner/dbt_project.yml", &project("profile: nested"));
        world.write("sub/x", "");
        world.write("elsewhere/profiles.yml", &PROFILES.replace("TARGET", "ci"));
        world.write(
            "home/.dbt/profiles.yml",
            &PROFILES.replace("TARGET", "prod"),
        );
        world.write(
            "templated/dbt_project.yml",
            &project("profile: \"{{ env_var('P', 'shop') }}\""),
        );
        world.write(
            "secret/dbt_project.yml",
            &project("profile: \"{{ env_var('DBT_ENV_SECRET_P', 'shop') }}\""),
        );
        world.write(
            "undefined/dbt_project.yml",
            &project("profile: \"{{ nope }}\""),
        );
        world.write("listed/dbt_project.yml", "- 1");
        world.write(
            "flagged/dbt_project.yml",
            &project("profile: shop\nflags: {quiet: true}"),
        );
        world.write(
            "configured/profiles.yml",
            &format!(
                "{}config: {{quiet: true}}\n",
                PROFILES.replace("TARGET", "ci")
            ),
        );
        world.write(
            "indented/dbt_project.yml",
            "\n\t  name: shop\nversion: '1.0'\nprofile: shop\ntarget-path: ../state/prod\n",
        );
        world.write("none/dbt_project.yml", &project(""));
        world.write("number/dbt_project.yml", &project("profile: 5"));
        world.write("bad/empty/profiles.yml", "# nothing\n");
        world.write("bad/list/profiles.yml", "- shop\n");
        world.write("bad/syntax/profiles.yml", "shop: {\n");
        world.write("bad/forms/profiles.yml", FORMS);
        let only = PROFILES.split("other:").next().unwrap_or_default();
        world.write("single/profiles.yml", &only.replace("TARGET", "ci"));
        let previous = |args: Json| {
            json!({
                "metadata": {"dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json"},
                "results": [{
                    "status": "error", "timing": [], "thread_id": "t", "execution_time": 0.1, "message": "m",
                    "adapter_response": {}, "failures": null, "unique_id": "model.shop.m", "compiled": true,
                    "compiled_code": "", "relation_name": "r",
                }], "elapsed_time": 0.1, "args": args,
            })
            .to_string()
        };
        let object = |text: &str| -> Json {
            serde_json::from_str(&format!("{{{text}}}")).expect("a JSON object")
        };
        for (name, args) in [
            ("plain", json!({"which": "run", "vars": {}})),
            (
                "prod",
                json!({"which": "build", "target": "prod", "vars": {}}),
            ),
            ("other", json!({"which": "run", "profile": "other"})),
            ("freshness", json!({"which": "freshness"})),
            ("nulled", json!({"which": "run", "target": null})),
            (
                "vars",
                json!({"which": "run", "target": "prod", "vars": {"a": "b"}}),
            ),
            ("whole", object(WHOLE)),
            (
                "docs",
                object(
                    r#""which": "generate", "static": false, "compile": true, "select": [], "vars": {}, "show": true"#,
                ),
            ),
            (
                "operation",
                object(
                    r#""which": "run-operation", "macro": "m", "args": {"x": null}, "full_refresh": false, "single_threaded": false"#,
                ),
            ),
            (
                "warned",
                object(
                    r#""which": "run", "warn_error_options": {"error": ["NoNodesForSelectionCriteria"], "warn": [], "silence": []}"#,
                ),
            ),
            (
                "odd",
                object(
                    r#""which": "run", "target": 5, "full_refresh": true, "printer_width": null"#,
                ),
            ),
            (
                "moments",
                object(
                    r#""which": "run", "event_time_start": "2024-01-01T00:00:00", "event_time_end": "2024-02-01T00:00:00""#,
                ),
            ),
            ("listed", object(r#""which": "run", "select": [1]"#)),
        ] {
            world.write(&format!("state/{name}/run_results.json"), &previous(args));
        }
        std::os::unix::fs::symlink(world.root.join("project"), world.root.join("link"))
            .expect("a link");
        if !dotenv.is_empty() {
            world.write(".env", &world.said(dotenv));
        }
        if !settings.is_empty() {
            world.write("home/.dbt/user_settings.yml", &world.said(settings));
        }
        world
    }

    fn said(&self, text: &str) -> String {
        text.replace(
            "ROOT",
            self.root.to_str().expect("a temporary path is text"),
        )
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }
}

/// Splits a line into words, as a shell would: quotes and backslashes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut escaped) = (Vec::new(), None::<String>, false, false);
    for character in line.chars() {
        match character {
            _ if escaped => {
                word.get_or_insert_default().push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

/// What dbt says of a case, in words that ours can be compared with.
fn theirs(answer: &Json) -> String {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    if answer.get("nothing").is_some() || answer.get("need").is_some() {
        return "unleased".to_owned();
    }
    if answer.get("usage").is_some() {
        return "usage".to_owned();
    }
    if answer.get("differs").is_some() {
        return "refused: retry_differs".to_owned();
    }
    if answer.get("refused").is_some() {
        return "refused".to_owned();
    }
    let real = |name: &str| real(Path::new(&text(name)));
    format!(
        "{} | {} | {} | {}",
        real("project_dir"),
        real("profiles_dir"),
        text("profile"),
        text("target")
    )
}

/// The oracle's dbt.
fn engine() -> Engine {
    let answer = ask(&json!({"kind": "version"}));
    Engine::of_version(answer["version"].as_str().expect("a version"))
}

/// PATH with the oracle's dbt.
fn path() -> String {
    let bin = python()
        .parent()
        .expect("a directory")
        .display()
        .to_string();
    format!("{bin}:/usr/bin:/bin")
}

#[test]
fn the_version_is_that_of_the_dbt_that_is_run() {
    let variables = Variables::from_iter([("PATH", path()), ("HOME", "/nonexistent".to_owned())]);
    let context = Context {
        variables: &variables,
        cwd: Path::new("/"),
    };
    let python = python();
    let python = python.to_str().expect("a path of text");
    for line in [
        vec!["dbt", "--version"],
        vec!["dbt-ol", "--version"],
        vec![python, "-I", "-m", "dbt.cli.main", "--version"],
    ] {
        let command: Vec<OsString> = line.iter().map(OsString::from).collect();
        let found = resolve(&command, &Selection::default(), &context).expect("it is resolved");
        assert_eq!(found.engine.version, engine().version, "{line:?}");
    }
}

fn real(path: &Path) -> String {
    path.canonicalize()
        .unwrap_or_else(|_| path.to_path_buf())
        .display()
        .to_string()
}

/// What we say; `uncertain` is where we may refuse though dbt does not.
fn ours(resolved: &Result<Resolved, dbt_lease::dbt::DbtError>, project: &str) -> String {
    match resolved {
        Ok(resolved) if resolved.need == Need::None => {
            if resolved.usage.is_some() {
                "usage".to_owned()
            } else {
                "unleased".to_owned()
            }
        }
        Ok(resolved) => {
            let profile = resolved
                .profile
                .as_ref()
                .expect("a profile is there where one is needed");
            let dir = profile.file.parent().map(real).unwrap_or_default();
            // `dbt debug` may have none; dbt then still names a directory.
            let project = resolved
                .project
                .as_ref()
                .map_or(project.to_owned(), |project| real(&project.dir));
            format!("{project} | {dir} | {} | {}", profile.name, profile.target)
        }
        Err(error) => match error.kind() {
            "no_directory" | "no_profiles_dir" => "usage".to_owned(),
            "target_uncertain" | "profile_uncertain" | "settings_file" | "unreadable_command" => {
                "uncertain".to_owned()
            }
            "retry_differs" => "refused: retry_differs".to_owned(),
            // Not asked of dbt: a variable that it has given up, a template for the target path.
            "retry_unreadable"
                if error.to_string().contains("given up")
                    || error.to_string().contains("is a template") =>
            {
                "uncertain".to_owned()
            }
            _ => "refused".to_owned(),
        },
    }
}

/// What dbt cannot repeat is a usage error of the repeated command to it, and a refusal to us.
fn refuses_retry(resolved: &Result<Resolved, dbt_lease::dbt::DbtError>) -> bool {
    resolved
        .as_ref()
        .is_err_and(|error| error.kind() == "retry_unreadable")
}

#[test]
fn command_lines_choose_what_dbt_chooses() {
    let mut random = Random::new();
    let worlds: Vec<World> = FILES
        .iter()
        .map(|(dotenv, settings)| World::new(dotenv, settings))
        .collect();
    let (mut cases, mut certain, mut wrong) = (0, 0, Vec::new());
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for line in LINES {
        for round in 0..6 {
            // Once in plain surroundings, once with every variable that templates ask for, then anywhere.
            let (world, environment, directory) = match round {
                0 => (&worlds[0], ENVIRONMENTS[0], DIRECTORIES[0]),
                1 => (&worlds[0], ASKED, DIRECTORIES[0]),
                _ => (
                    &worlds[random.below(worlds.len())],
                    ENVIRONMENTS[random.below(ENVIRONMENTS.len())],
                    DIRECTORIES[random.below(DIRECTORIES.len())],
                ),
            };
            let mut variables: BTreeMap<String, String> = [
                ("HOME", "ROOT/home"),
                ("PATH", &path()),
                ("DO_NOT_TRACK", "1"),
            ]
            .iter()
            .chain(environment)
            .map(|(name, value)| ((*name).to_owned(), world.said(value)))
            .collect();
            variables.insert("LANG".to_owned(), "C.UTF-8".to_owned());
            let argv = words(&world.said(line));
            let cwd = world.root.join(directory);
            let answer =
                ask(&json!({"kind": "resolve", "argv": argv, "env": variables, "cwd": cwd}));
            let command: Vec<OsString> = std::iter::once("dbt".to_owned())
                .chain(argv)
                .map(OsString::from)
                .collect();
            let real_variables: Variables = variables.iter().collect();
            let context = Context {
                variables: &real_variables,
                cwd: &cwd,
            };
            let found = resolve(&command, &Selection::default(), &context);
            let project = answer["project_dir"]
                .as_str()
                .map(|dir| real(Path::new(dir)))
                .unwrap_or_default();
            let (theirs, ours) = (theirs(&answer), ours(&found, &project));
            cases += 1;
            *outcomes
                .entry(
                    ours.split('|')
                        .next_back()
                        .unwrap_or_default()
                        .trim()
                        .to_owned(),
                )
                .or_default() += 1;
            // Where no profile is needed, a directory that dbt misses is dbt's to name: it runs unleased in any case.
            if ours == theirs || (ours == "unleased" && theirs == "usage") {
                certain += 1;
            } else if ours == "uncertain"
                || (theirs == "usage" && refuses_retry(&found))
                || (theirs == "refused" && ours == "refused: retry_differs")
            {
            } else {
                let said = found
                    .as_ref()
                    .map(|_| String::new())
                    .unwrap_or_else(|error| error.to_string());
                wrong.push(format!(
                    "dbt {line}  in {directory:?} with {environment:?}, .env {:?}\n  dbt:  {theirs} {answer}\n  ours: {ours} {said}",
                    FILES[worlds.iter().position(|other| std::ptr::eq(other, world)).unwrap_or_default()]
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong of {cases}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        certain > 300 && certain * 10 > cases * 9,
        "{certain} certain of {cases}: {outcomes:?}"
    );
    assert!(
        outcomes.contains_key("prod") && outcomes.contains_key("usage"),
        "{outcomes:?}"
    );
}

/// Words of any kind, more of those that matter.
fn random_line(random: &mut Random, commands: &[Command]) -> Vec<String> {
    const WORDS: &[&str] = &[
        "-t",
        "-tprod",
        "-t=prod",
        "-xt",
        "-dtprod",
        "--target",
        "--target=prod",
        "--profile",
        "--vars",
        "{}",
        "prod",
        "prod",
        "dev",
        "shop",
        "x",
        "-x",
        "-s",
        "-q",
        "-d",
        "-f",
        "-h",
        "-",
        "--",
        "",
        "=",
        "4",
        "four",
        "json",
        "debug",
        "-1",
        "-r",
        "-o",
        "-m",
        "-xq",
        "-sx",
        "--select=a",
        "a b",
        "--profiles-dir",
        "--project-dir",
        ".",
        "--no-print",
        "--help",
        "--log-level",
        "--threads",
        "--state",
        "--output-keys",
        "--resource-type",
        "model",
        "--=x",
        "---",
        "-é",
        "--Target",
        "-T",
        "--version",
        "-Vx",
    ];
    const COMMANDS: &[&str] = &[
        "run",
        "build",
        "ls",
        "docs",
        "generate",
        "serve",
        "source",
        "freshness",
        "init",
        "deps",
        "debug",
        "run-operation",
        "show",
        "compile",
        "test",
        "seed",
        "clone",
        "parse",
        "snapshot",
        "list",
    ];
    let mut line = Vec::new();
    for _ in 0..random.below(3) {
        line.push(random.one(WORDS).to_owned());
    }
    line.push(random.one(COMMANDS).to_owned());
    if matches!(line.last().map(String::as_str), Some("docs")) && random.below(4) > 0 {
        line.push("generate".to_owned());
    }
    for _ in 0..random.below(6) {
        let option = || {
            let all: Vec<&str> = commands
                .iter()
                .flat_map(|command| command.options.iter())
                .flat_map(|option| option.opts.iter().chain(option.off))
                .copied()
                .collect();
            all
        };
        line.push(match random.below(3) {
            0 => random.one(&option()).to_owned(),
            _ => random.one(WORDS).to_owned(),
        });
    }
    line
}

#[test]
fn random_command_lines_choose_what_dbt_chooses() {
    let mut random = Random::new();
    let world = World::new("", "");
    let variables: BTreeMap<String, String> = [
        ("HOME", "ROOT/home"),
        ("PATH", &path()),
        ("LANG", "C.UTF-8"),
    ]
    .map(|(name, value)| (name.to_owned(), world.said(value)))
    .into();
    let real_variables: Variables = variables.iter().collect();
    let cwd = world.root.join("project");
    let context = Context {
        variables: &real_variables,
        cwd: &cwd,
    };
    let (mut read, mut wrong) = (0, Vec::new());
    let count = std::env::var("DBT_LEASE_TEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(500);
    for _ in 0..count {
        let argv = random_line(&mut random, engine().rules.commands());
        let answer = ask(&json!({"kind": "resolve", "argv": argv, "env": variables, "cwd": cwd}));
        let command: Vec<OsString> = std::iter::once("dbt")
            .chain(argv.iter().map(String::as_str))
            .map(OsString::from)
            .collect();
        let found = resolve(&command, &Selection::default(), &context);
        let project = answer["project_dir"]
            .as_str()
            .map(|dir| real(Path::new(dir)))
            .unwrap_or_default();
        let (theirs, ours) = (theirs(&answer), ours(&found, &project));
        read += usize::from(ours.contains('|'));
        if ours != theirs && !(ours == "unleased" && theirs == "usage") && ours != "uncertain" {
            let said = found
                .as_ref()
                .map(|_| String::new())
                .unwrap_or_else(|error| error.to_string());
            wrong.push(format!(
                "dbt {argv:?}\n  dbt:  {theirs} {answer}\n  ours: {ours} {said}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(read * 20 > count, "{read} read of {count}");
}
