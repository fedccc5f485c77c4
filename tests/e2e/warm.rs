//! dbt's parse cache stays warm over new users, and is never served stale.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Lab, Ran, files_below, ran};

const COLD: &str = "Unable to do partial parsing because";

/// `exec -v -- dbt … --target prod`, with dbt's own log on stdout.
fn exec_dbt(lab: &Lab, words: &[&str]) -> Ran {
    let mut command = lab.command(&["-v", "exec", "--", "dbt"]);
    command.args(words).args(["--target", "prod"]);
    ran(command.output().expect("started"))
}

/// A run that connects and reads the cache, on a new user.
fn compile(lab: &Lab) -> Ran {
    let ran = exec_dbt(lab, &["compile", "-s", "built_by"]);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
    ran
}

/// A project of the fixtures on which nothing has run yet.
fn lab() -> Lab {
    Lab::new()
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
    let lab = lab();
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
