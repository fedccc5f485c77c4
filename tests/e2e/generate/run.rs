//! The rules, recipes and aliases, run.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use dbt_lease_sandbox::validators;

use super::{Bench, HOSTILE};
use crate::support::{Ran, ran};

#[test]
fn make_just_and_the_aliases_run_dbt_on_a_target() {
    let bench = Bench::new();
    for kind in ["makefile", "justfile", "shell-alias"] {
        let _ = bench.run(&["generate", kind, "--write"]).success();
    }
    bench.write("Makefile", "include dbt-lease.mk\n");
    bench.write("justfile", "import 'dbt-lease.just'\n");
    let run = |program: &str, arguments: &[&str]| -> Ran {
        ran(bench
            .command(program, arguments)
            .output()
            .expect("it starts"))
    };
    let built = run("make", &["build-dev", "ARGS=--select raw_customers"]).success();
    assert!(built.contains("PASS="), "{built}");
    let just = validators().join("just");
    let just = just.to_str().expect("UTF-8");
    let built = run(just, &["build-dev", "--select", "raw_customers"]).success();
    assert!(built.contains("PASS="), "{built}");
    let script = "shopt -s expand_aliases; source ./dbt-lease.bash\nalias dbt; dbt-dev ls --select raw_customers";
    let listed = run("bash", &["-c", script]).success();
    assert!(
        listed.starts_with("alias dbt='dbt-leased'") && listed.contains("jaffle.raw_customers"),
        "{listed}"
    );
}

#[test]
fn a_hostile_name_reaches_dbt_as_it_is() {
    let quoted = serde_json::to_string(HOSTILE).expect("JSON");
    let bench = Bench::with(
        &format!(
            "version: 1\nenvironments:\n  local:\n    targets:\n      {quoted}: none\n      dev: none\n"
        ),
        &format!("    {quoted}: {{type: duckdb}}\n    dev: {{type: duckdb}}\n"),
    );
    // What dbt-lease starts prints what it got.
    let bin = bench.home.directory().join("bin");
    fs::create_dir(&bin).expect("made");
    let dbt = bin.join("dbt");
    fs::write(
        &dbt,
        "#!/bin/sh\nfor word; do printf '%s\\n' \"<$word>\"; done\n",
    )
    .expect("written");
    fs::set_permissions(&dbt, fs::Permissions::from_mode(0o755)).expect("set");
    for kind in ["makefile", "justfile", "shell-alias"] {
        let _ = bench.run(&["generate", kind, "--write"]).success();
    }
    let slug = "we-ird-env-touch-pwned-touch-pwned-x-x-x-n";
    let just = validators().join("just");
    let just = just.to_str().expect("UTF-8");
    let function = format!("source ./dbt-lease.bash; dbt-{slug} run --select 'a b'");
    let rule = format!("run-{slug}");
    for (program, arguments) in [
        (
            "make",
            vec!["-s", "-f", "dbt-lease.mk", &*rule, "ARGS=--select 'a b'"],
        ),
        (
            just,
            vec!["--justfile", "dbt-lease.just", &*rule, "--select", "a b"],
        ),
        ("bash", vec!["-c", &*function]),
    ] {
        let mut command = bench.command(program, &arguments);
        let path = command
            .get_envs()
            .find(|(name, _)| *name == "PATH")
            .and_then(|(_, value)| value)
            .expect("a PATH")
            .to_string_lossy()
            .into_owned();
        command.env("PATH", format!("{}:{path}", bin.display()));
        let got = ran(command.output().expect("it starts")).success();
        for word in [&format!("<{HOSTILE}>")[..], "<run>", "<--target>", "<a b>"] {
            assert!(
                got.lines().any(|line| line == word),
                "{program}: {word}\n{got}"
            );
        }
    }
    assert!(!bench.project.join("pwned").exists());
}
