//! What Fusion makes of a command line and its surroundings, held against ours; `just fusion` fetches one and runs this.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use dbt_lease::dbt::{Context, Selection, resolve};
use dbt_lease::variables::Variables;

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
