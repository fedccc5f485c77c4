//! What Fusion makes of a command line and its surroundings, and of a profiles.yml, held against ours; `just fusion` fetches one and runs this.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use std::rc::Rc;

use dbt_lease::dbt::yaml::{Node, Value, emit_for, load};
use dbt_lease::dbt::{Context, Selection, resolve};
use dbt_lease::variables::Variables;
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use crate::yaml::hostile_strings;

/// dbt's words and the variables of the process; `ROOT` stands for the world's directory.
const CASES: &[(&str, &[(&str, &str)])] = &[
    ("debug", &[]),
    ("debug -t prod", &[]),
    ("debug -tprod", &[]),
    ("debug -t=prod", &[]),
    ("debug --target prod", &[]),
    ("debug --target=prod", &[]),
    ("debug --tar prod", &[]),
    ("debug -t", &[]),
    ("debug -t nope", &[]),
    ("debug -t dev -t prod", &[]),
    ("debug -dtprod", &[]),
    ("debug --profile other", &[]),
    ("debug --profile other -t prod", &[]),
    ("debug --profile nope", &[]),
    ("debug --profile lonely", &[]),
    ("debug --profile untargeted", &[]),
    ("debug --profile untargeted -t prod", &[]),
    ("debug --profile templated", &[]),
    ("debug --profile templated", &[("T", "prod")]),
    ("debug --profile merged", &[]),
    ("debug --profile merged -t prod", &[]),
    ("debug --profiles-dir ROOT/elsewhere", &[]),
    ("debug --profiles-dir ROOT/elsewhere -t prod", &[]),
    ("debug --profiles-dir ROOT/nope", &[]),
    ("debug --profiles-dir ../elsewhere", &[]),
    ("debug --project-dir ROOT/second", &[]),
    (
        "debug --project-dir ROOT/second --profiles-dir ROOT/elsewhere",
        &[],
    ),
    ("debug --project-dir ROOT/named", &[]),
    ("debug --project-dir ROOT/named", &[("P", "other")]),
    ("debug --project-dir ROOT/named -t prod", &[("P", "other")]),
    ("debug", &[("DBT_TARGET", "prod")]),
    ("debug -t dev", &[("DBT_TARGET", "prod")]),
    ("debug", &[("DBT_ENGINE_TARGET", "prod")]),
    (
        "debug",
        &[("DBT_ENGINE_TARGET", "prod"), ("DBT_TARGET", "dev")],
    ),
    ("debug", &[("DBT_TARGET", "")]),
    ("debug", &[("DBT_TARGET", "nope")]),
    ("debug", &[("DBT_PROFILE", "other")]),
    ("debug", &[("DBT_ENGINE_PROFILE", "other")]),
    ("debug --profile shop", &[("DBT_PROFILE", "other")]),
    ("debug", &[("DBT_PROFILES_DIR", "ROOT/elsewhere")]),
    ("debug", &[("DBT_ENGINE_PROFILES_DIR", "ROOT/elsewhere")]),
    ("debug", &[("DBT_PROFILES_DIR", "ROOT/nope")]),
    ("debug", &[("DBT_PROJECT_DIR", "ROOT/second")]),
];

const PROFILES: &str = "\
shop:
  target: dev
  outputs: &outputs
    dev: &dev {type: duckdb, schema: s, path: WHERE-dev.db}
    prod: {type: duckdb, schema: s, path: WHERE-prod.db}
    default: {type: duckdb, schema: s, path: WHERE-default.db}
other:
  target: dev
  outputs:
    dev: {type: duckdb, schema: s, path: WHERE-other-dev.db}
    prod: {type: duckdb, schema: s, path: WHERE-other-prod.db}
lonely:
  outputs:
    only: {type: duckdb, schema: s, path: WHERE-lonely.db}
untargeted:
  outputs: *outputs
templated:
  target: \"{{ env_var('T', 'dev') }}\"
  outputs: *outputs
merged:
  target: dev
  outputs:
    dev: {<<: *dev}
    prod: {<<: *dev, path: WHERE-merged.db}
";

fn world() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().canonicalize().expect("it is there");
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    };
    let project = |profile: &str| format!("name: shop\nversion: '1.0'\nprofile: {profile}\n");
    write("project/dbt_project.yml", &project("shop"));
    write("project/profiles.yml", &PROFILES.replace("WHERE", "here"));
    write("second/dbt_project.yml", &project("other"));
    write("second/profiles.yml", &PROFILES.replace("WHERE", "second"));
    write(
        "named/dbt_project.yml",
        &project("\"{{ env_var('P', 'shop') }}\""),
    );
    write(
        "elsewhere/profiles.yml",
        &PROFILES.replace("WHERE", "elsewhere"),
    );
    write("home/.dbt/profiles.yml", &PROFILES.replace("WHERE", "home"));
    (dir, root)
}

/// The output that Fusion's `debug` shows: its `path` is in no other output.
fn theirs(fusion: &Path, words: &[String], variables: &Variables, cwd: &Path) -> Option<String> {
    let ran = Command::new(fusion)
        .args(words)
        .env_clear()
        .envs(variables.iter())
        .current_dir(cwd)
        .output()
        .expect("Fusion runs");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let (_, after) = said.split_once("\"path\": \"")?;
    Some(after.split_once('"')?.0.to_owned())
}

#[test]
#[ignore = "needs Fusion: `just fusion`"]
fn fusion_chooses_what_we_choose_or_we_refuse() {
    let fusion = PathBuf::from(
        std::env::var_os("DBT_LEASE_TEST_FUSION").expect("DBT_LEASE_TEST_FUSION names it"),
    );
    let bin = fusion.parent().expect("a directory");
    let (_dir, root) = world();
    let said = |text: &str| text.replace("ROOT", root.to_str().expect("a path of text"));
    let cwd = root.join("project");
    let (mut same, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
    for (line, environment) in CASES {
        let variables: Variables = [
            ("HOME", said("ROOT/home")),
            ("PATH", format!("{}:/usr/bin:/bin", bin.display())),
            ("DO_NOT_TRACK", "1".to_owned()),
        ]
        .into_iter()
        .chain(environment.iter().map(|(name, value)| (*name, said(value))))
        .collect();
        let words: Vec<String> = said(line).split(' ').map(str::to_owned).collect();
        let command: Vec<OsString> = std::iter::once("dbt".to_owned())
            .chain(words.iter().cloned())
            .map(OsString::from)
            .collect();
        let context = Context {
            variables: &variables,
            cwd: &cwd,
        };
        let ours = resolve(&command, &Selection::default(), &context);
        let theirs = theirs(&fusion, &words, &variables, &cwd);
        let chosen = ours.as_ref().ok().and_then(|found| {
            assert!(found.engine.fusion, "it is not taken for Fusion");
            let output = found.profile.as_ref()?.output.map()?.get("path")?;
            output.text().map(str::to_owned)
        });
        match (&ours, chosen) {
            (Err(error), _) if theirs.is_some() => {
                refused.push(format!("{line} {environment:?}: {error}"));
            }
            (_, chosen) if chosen == theirs => same += 1,
            (_, chosen) => wrong.push(format!(
                "{line} {environment:?}\n  Fusion: {theirs:?}\n  ours:   {chosen:?}"
            )),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong of {}:\n{}",
        wrong.len(),
        CASES.len(),
        wrong.join("\n")
    );
    let all = CASES.len();
    assert!(same * 10 > all * 8, "{same} of {all}: {refused:?}");
}

/// Fusion, and a project beside which profiles.yml is written.
struct Fusion {
    program: PathBuf,
    dir: tempfile::TempDir,
}

impl Fusion {
    fn new() -> Self {
        let program = PathBuf::from(
            std::env::var_os("DBT_LEASE_TEST_FUSION").expect("DBT_LEASE_TEST_FUSION names it"),
        );
        let dir = tempfile::tempdir().expect("a directory");
        let project = "name: shop\nversion: '1.0'\nprofile: shop\n";
        std::fs::write(dir.path().join("dbt_project.yml"), project).expect("a file");
        Self { program, dir }
    }

    /// The connection that `debug` shows: all keys but those that Fusion takes for secret.
    fn connection(&self, profiles: &str, target: &str) -> Result<Json, String> {
        std::fs::write(self.dir.path().join("profiles.yml"), profiles).expect("a file");
        let ran = Command::new(&self.program)
            .args(["debug", "-t", target])
            .env_clear()
            .envs([
                ("HOME", "/nonexistent"),
                ("DO_NOT_TRACK", "1"),
                ("DBT_ALLOW_EXPERIMENTAL_ADAPTERS", "true"),
                ("BRACES", "a: {b"),
                ("NUMBER", "5432"),
            ])
            .current_dir(self.dir.path())
            .output()
            .expect("Fusion runs");
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        let shown = said
            .split_once("Debugging connection:\n")
            .and_then(|(_, after)| after.split_once("\n\n"));
        let (shown, _) = shown.ok_or_else(|| said.clone())?;
        serde_json::from_str(&format!("{{{shown}}}")).map_err(|error| format!("{error}: {shown}"))
    }
}

fn map(pairs: Vec<(&str, Rc<Node>)>) -> Rc<Node> {
    let mut map = dbt_lease::dbt::yaml::Mapping::default();
    for (key, value) in pairs {
        map.set(key, value);
    }
    Rc::new(Node::of(Value::Map(map)))
}

fn text(text: &str) -> Rc<Node> {
    Rc::new(Node::of(Value::Str(Zeroizing::new(text.to_owned()))))
}

fn literal(text: &str) -> Rc<Node> {
    Rc::new(Node::of(Value::Literal(Zeroizing::new(text.to_owned()))))
}

fn document(output: Rc<Node>) -> Result<String, String> {
    let outputs = map(vec![("dev", output)]);
    let profile = map(vec![("target", text("dev")), ("outputs", outputs)]);
    let root = map(vec![("shop", profile)]);
    emit_for(&root, true)
        .map(|text| text.to_string())
        .map_err(|error| error.kind().to_owned())
}

/// Fusion shows lists and nested maps of duckdb and the user of postgres; a password it never shows.
#[test]
#[ignore = "needs Fusion: `just fusion`"]
fn hostile_strings_reach_fusion_unchanged_or_are_refused() {
    let fusion = Fusion::new();
    let (mut refused, mut kept) = (Vec::new(), Vec::new());
    for string in hostile_strings() {
        match document(map(vec![("type", literal(&string))])) {
            Ok(_) => kept.push(string),
            Err(kind) => {
                assert_eq!(kind, "emit_not_for_fusion", "{string:?}");
                refused.push(string);
            }
        }
    }
    let wrong = |strings: &[String]| -> Option<String> {
        let list = strings.iter().map(|string| literal(string)).collect();
        let names: Vec<String> = (0..strings.len())
            .map(|number| format!("k{number}"))
            .collect();
        let nested = names.iter().zip(strings);
        let settings = nested.map(|(name, string)| (name.as_str(), literal(string)));
        let output = map(vec![
            ("type", text("duckdb")),
            ("path", text("here.db")),
            ("schema", text("s")),
            ("extensions", Rc::new(Node::of(Value::List(list)))),
            ("settings", map(settings.collect())),
        ]);
        let document = document(output).expect("all of them can be written");
        let shown = match fusion.connection(&document, "dev") {
            Ok(shown) => shown,
            Err(why) => return Some(why),
        };
        let same = shown["extensions"] == json!(strings)
            && names
                .iter()
                .zip(strings)
                .all(|(name, string)| shown["settings"][name] == json!(string));
        (!same).then(|| shown.to_string())
    };
    let mut failures = Vec::new();
    for strings in kept.chunks(100) {
        if wrong(strings).is_some() {
            let alone = strings
                .iter()
                .map(|string| (string, wrong(std::slice::from_ref(string))));
            failures.extend(alone.filter_map(|(string, why)| Some((string, why?))));
        }
    }
    assert!(
        failures.is_empty(),
        "{} changed: {failures:?}",
        failures.len()
    );
    for string in kept.iter().step_by(40) {
        let output = map(vec![
            ("type", text("postgres")),
            ("host", text("h")),
            ("port", Rc::new(Node::of(Value::Int("5432".to_owned())))),
            ("user", literal(string)),
            ("password", literal(string)),
            ("dbname", text("d")),
            ("schema", text("s")),
        ]);
        let document = document(output).expect("it can be written");
        let shown = fusion
            .connection(&document, "dev")
            .expect("Fusion shows it");
        assert_eq!(shown["user"], json!(string));
    }
    assert!(refused.len() * 20 < kept.len(), "{refused:?}");
}

const PASSED: &str = "\
base: &base
  type: duckdb
  path: here.db
  schema: s
shop:
  target: dev
  outputs:
    dev: *base
    merged: {<<: *base, schema: other}
    quoted: {type: duckdb, path: 'here.db', schema: \"0123\", settings: {a: 'yes', b: \"1e3\", c: '~', d: \"null\"}}
    plain: {type: duckdb, path: a b, schema: s, settings: {a: true, b: 5, c: -1.50, d: ~, e: null, f: a text, g: y, h: 2024-01-31}}
    templates:
      type: duckdb
      path: \"{{ env_var('NOT_SET', 'x') }}.db\"
      schema: \"s_{{ env_var('NUMBER') }}\"
      extensions: [\"{{ env_var('BRACES') }}\", 'a{# c #}b']
      settings: {d: '{{ 1 + 1 }}', e: \"{{ env_var('NUMBER') }}\", a: \"{{ env_var('NUMBER') | int }}\", b: \"{{ env_var('NUMBER') | as_number }}\", c: '{{ true }}'}
    blocks:
      type: duckdb
      path: |
        here.db
      schema: >-
        s
      settings:
        a: |
          -----BEGIN
          x: y
        b: >+
          folded
          text

        c: \"a\\r\\nb\\n\"
    server: {type: postgres, host: h, port: 5432, user: \"a\\\"{{ env_var('NUMBER') }}\", password: 'p: [', dbname: d, schema: s, search_path: 'yes'}
";

#[test]
#[ignore = "needs Fusion: `just fusion`"]
fn outputs_passed_through_are_the_same_to_fusion() {
    let fusion = Fusion::new();
    let root = load(PASSED.as_bytes()).expect("YAML");
    let shop = root
        .map()
        .and_then(|map| map.get("shop"))
        .expect("a profile");
    let outputs = shop.map().and_then(|map| map.get("outputs"));
    let outputs = outputs.and_then(|outputs| outputs.map()).expect("outputs");
    for (target, output) in &outputs.0 {
        let target = target.text().expect("a name");
        let theirs = fusion.connection(PASSED, target);
        let ours = document(Rc::clone(output)).expect("it can be written");
        assert_eq!(
            fusion.connection(&ours, "dev").ok(),
            theirs.as_ref().ok().cloned(),
            "{target}: {theirs:?}"
        );
        assert!(theirs.is_ok(), "{target}: {theirs:?}");
    }
}
