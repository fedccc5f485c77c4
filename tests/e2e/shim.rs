//! `dbt-leased` in dbt's place, and projects that have no dbt-lease.yml.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use dbt_lease_sandbox::venv;

use crate::support::{DBT_LEASED, Lab, Ran, ran};

/// A lab on whose PATH a directory comes first, in which `dbt` is the shim.
fn shimmed() -> (Lab, PathBuf) {
    let lab = Lab::new();
    let bin = lab.home.directory().join("bin");
    fs::create_dir(&bin).expect("made");
    symlink(DBT_LEASED, bin.join("dbt")).expect("linked");
    (lab, bin)
}

/// `dbt` as a shell of this user finds it.
fn dbt(lab: &Lab, bin: &std::path::Path) -> Command {
    let mut command = lab.in_its_environment("sh");
    let venv = venv().bin();
    command.env(
        "PATH",
        format!("{}:{}:/usr/bin:/bin", bin.display(), venv.display()),
    );
    command.args(["-c", "exec dbt \"$@\"", "dbt"]);
    command
}

/// A program that stands for dbt where only what reaches it matters: its words, and how it is asked.
fn fake_dbt(lab: &Lab) -> PathBuf {
    let path = lab.home.directory().join("fake-dbt/dbt");
    fs::create_dir(path.parent().expect("a parent")).expect("made");
    fs::write(
        &path,
        "#!/bin/sh\necho words: \"$@\"\necho session: $DBT_LEASE_SESSION\necho profiles: $DBT_PROFILES_DIR\n\
         test -n \"$VAULT_TOKEN\" && echo token: kept\nexit 3\n",
    )
    .expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
    path
}

fn unadopted(lab: &Lab) {
    fs::remove_file(lab.project.join("dbt-lease.yml")).expect("removed");
}

fn output(mut command: Command) -> Ran {
    ran(command.output().expect("started"))
}

#[test]
fn as_dbt_on_path_it_runs_the_real_dbt_on_leased_credentials() {
    let (lab, bin) = shimmed();
    let mut command = dbt(&lab, &bin);
    command.args(["run", "-q", "-t", "prod", "-s", "built_by"]);
    let _ = output(command).silent().code(0);
    let owner = lab.world.query("select login, owner from prod.built_by");
    assert!(owner[0][0].starts_with("v-"), "{owner:?}");
    assert!(owner[0][1].starts_with("dbt_prod"), "{owner:?}");
    assert_eq!(lab.requests().len(), 4);
    assert_eq!(lab.record().len(), 2);
    lab.assert_nothing_left();
}

#[test]
fn dbt_lease_dbt_says_which_dbt_it_is() {
    let (lab, bin) = shimmed();
    let fake = fake_dbt(&lab);
    let mut command = dbt(&lab, &bin);
    command
        .env("DBT_LEASE_DBT", &fake)
        .args(["run", "--target", "prod"]);
    let ran = output(command).silent().code(3);
    assert!(
        ran.stdout
            .starts_with("words: run --target prod\nsession: 2"),
        "{}",
        ran.stdout
    );
    lab.assert_nothing_left();
    assert_eq!(lab.record()[1]["result"], "exit 3");

    let mut command = dbt(&lab, &bin);
    command
        .env("DBT_LEASE_DBT", "/no/such/dbt")
        .args(["run", "--target", "prod"]);
    let _ = output(command)
        .code(127)
        .says(&["`/no/such/dbt` was not found"]);
}

#[test]
fn without_any_other_dbt_on_path_it_says_so() {
    let (lab, bin) = shimmed();
    let mut command = dbt(&lab, &bin);
    command
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .args(["run"]);
    let ran = output(command).code(127);
    assert_eq!(
        ran.stderr,
        "dbt-lease: error: there is no `dbt` on PATH but this program itself\n\n  hint: install dbt in the environment that \
         PATH names, or set DBT_LEASE_DBT to its path\n"
    );
}

#[test]
fn a_project_without_dbt_lease_yml_runs_untouched_and_in_silence() {
    let (lab, bin) = shimmed();
    unadopted(&lab);
    let fake = fake_dbt(&lab);
    let run = |verbose: bool| {
        let mut command = dbt(&lab, &bin);
        command
            .env("DBT_LEASE_DBT", &fake)
            .env("VAULT_TOKEN", "the user's own")
            .args(["build", "--target", "prod"]);
        if verbose {
            command.env("DBT_LEASE_VERBOSE", "1");
        }
        output(command).code(3)
    };
    let ran = run(false).silent();
    assert_eq!(
        ran.stdout,
        "words: build --target prod\nsession:\nprofiles:\ntoken: kept\n"
    );
    let ran = run(true);
    assert_eq!(
        ran.stderr,
        "dbt-lease: no dbt-lease.yml here: the command runs untouched\n"
    );
    assert!(lab.requests().is_empty());
    assert!(lab.record().is_empty());
}

#[test]
fn what_is_broken_in_a_project_without_dbt_lease_yml_is_dbts_to_say() {
    let (lab, bin) = shimmed();
    unadopted(&lab);
    let fake = fake_dbt(&lab);
    for broken in ["profiles.yml", "dbt_project.yml"] {
        fs::write(lab.project.join(broken), "a: [").expect("written");
        let mut command = dbt(&lab, &bin);
        command.env("DBT_LEASE_DBT", &fake).args(["run"]);
        let ran = output(command).silent().code(3);
        assert!(ran.stdout.starts_with("words: run\n"), "{}", ran.stdout);
    }
    // The real dbt's own words, once.
    let mut command = dbt(&lab, &bin);
    command.args(["run"]);
    let ran = output(command).silent().code(2);
    assert!(
        ran.stdout.contains("Syntax error near line"),
        "{}",
        ran.stdout
    );
    assert!(lab.requests().is_empty());
}

#[test]
fn what_is_broken_in_a_project_with_dbt_lease_yml_is_ours_to_say() {
    let (lab, bin) = shimmed();
    let fake = fake_dbt(&lab);
    fs::write(lab.project.join("profiles.yml"), "jaffle: [").expect("written");
    let mut command = dbt(&lab, &bin);
    command.env("DBT_LEASE_DBT", &fake).args(["run"]);
    let ran = output(command).code(125);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("profiles.yml"), "{}", ran.stderr);
}

#[test]
fn required_refuses_a_project_without_dbt_lease_yml() {
    let (lab, bin) = shimmed();
    unadopted(&lab);
    let fake = fake_dbt(&lab);
    let required = |arguments: &[&str]| {
        let mut command = dbt(&lab, &bin);
        command
            .env("DBT_LEASE_DBT", &fake)
            .env("DBT_LEASE_REQUIRED", "1")
            .args(arguments);
        output(command)
    };
    let ran = required(&["run", "--target", "prod"]).code(125);
    assert_eq!(ran.stdout, "");
    assert_eq!(
        lab.shown(&ran.stderr),
        "dbt-lease: error: there is no dbt-lease.yml in `PROJECT`, so it is not known what to lend for this command\n\n  \
         hint: `dbt-lease init` proposes one from the project's profiles, or name it: `--config FILE`, DBT_LEASE_CONFIG\n"
    );
    fs::write(lab.project.join("profiles.yml"), "a: [").expect("written");
    assert_eq!(required(&["run"]).code(125).stdout, "");
    // What needs no credentials needs no dbt-lease.yml.
    for words in [&["deps"][..], &["--version"], &["run", "--help"]] {
        assert!(
            required(words)
                .silent()
                .code(3)
                .stdout
                .starts_with("words: "),
            "{words:?}"
        );
    }
}

#[test]
fn in_a_session_it_passes_through() {
    let (lab, bin) = shimmed();
    let fake = fake_dbt(&lab);
    let script = format!(
        "echo $DBT_LEASE_SESSION; PATH={}:$PATH dbt run --target prod; echo code $?",
        bin.display()
    );
    let mut command = lab.command(&["exec", "--target", "prod", "--", "sh", "-c", &script]);
    command.env("DBT_LEASE_DBT", &fake);
    let stdout = output(command).silent().success();
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines[1], "words: run --target prod");
    assert_eq!(lines[2], format!("session: {}", lines[0]));
    assert!(lines[3].contains(lines[0]), "{stdout}");
    assert_eq!(lines[4], "code 3");
    assert_eq!(lab.requests().len(), 4, "one session");
    lab.assert_nothing_left();
}

#[test]
fn arguments_are_dbts_own_even_where_we_have_the_same() {
    let (lab, bin) = shimmed();
    let fake = fake_dbt(&lab);
    for words in [&["--version"][..], &["--help"], &["-h"], &["deps"], &[]] {
        let mut command = dbt(&lab, &bin);
        command.env("DBT_LEASE_DBT", &fake).args(words);
        let ran = output(command).silent().code(3);
        let expected = format!("words: {}", words.join(" "));
        assert_eq!(
            ran.stdout.lines().next().map(str::trim_end),
            Some(expected.trim_end())
        );
    }
    assert!(lab.requests().is_empty());
}

#[test]
fn exec_without_dbt_lease_yml_names_what_to_write_and_runs_what_needs_none() {
    let lab = Lab::new();
    unadopted(&lab);
    for arguments in [
        vec!["exec", "--target", "prod", "--", "echo", "ran"],
        vec!["exec", "--", "dbt", "build", "--target", "prod"],
        vec!["exec", "--", "dbt", "ls"],
    ] {
        let ran = lab.run(&arguments).code(125).says(&[
            "there is no dbt-lease.yml in",
            "`dbt-lease init` proposes one",
        ]);
        assert_eq!(ran.stdout, "");
    }
    let fake = fake_dbt(&lab).display().to_string();
    for words in [
        &["deps"][..],
        &["--version"],
        &["clean"],
        &["run", "--help"],
    ] {
        let arguments: Vec<&str> = ["exec", "--", fake.as_str()]
            .iter()
            .chain(words)
            .copied()
            .collect();
        let ran = lab.run(&arguments).silent().code(3);
        assert!(ran.stdout.starts_with("words: "), "{words:?}");
    }
    // `--config` and its variable stand for the file that is not there.
    let elsewhere = lab.home.directory().join("lease.yml");
    let fixture = dbt_lease_sandbox::fixtures().join("jaffle/dbt-lease.yml");
    fs::copy(fixture, &elsewhere).expect("copied");
    let elsewhere = elsewhere.display().to_string();
    let words = ["exec", "--config", &elsewhere, "-t", "prod", "--", "true"];
    lab.run(&words).silent().success();
    let words = ["exec", "-t", "prod", "--", "true"];
    lab.run_with(&[("DBT_LEASE_CONFIG", &elsewhere)], &words)
        .silent()
        .success();
    assert_eq!(lab.record().len(), 4);
    lab.assert_nothing_left();
}
