//! The demo leaves nothing behind when it is interrupted, and does not claim what does not hold.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dbt_lease_sandbox::Home;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

#[test]
fn ctrl_c_while_the_tool_runs_leaves_nothing() {
    let home = Home::new();
    let note = home.directory().join("note");
    // A stand-in for dbt-lease: it says where it runs, and runs until a signal ends it.
    let tool = script(
        &home,
        &format!(
            "echo $$ $HOME > {0}.new; mv {0}.new {0}; exec sleep 600",
            note.display()
        ),
    );
    let mut demo = demo(&tool)
        .process_group(0)
        .spawn()
        .expect("the demo starts");
    let (tool_pid, scratch) = wait_for(|| read_note(&note));
    killpg(
        Pid::from_raw(i32::try_from(demo.id()).expect("a pid")),
        Signal::SIGINT,
    )
    .expect("it lives");
    let status = demo.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    // No waiting here: the demo itself has waited.
    assert!(!scratch.exists(), "{} is still there", scratch.display());
    assert!(
        !Path::new(&format!("/proc/{tool_pid}")).exists(),
        "the tool still runs"
    );
}

#[test]
fn a_tool_that_lends_nothing_fails_the_demo() {
    let home = Home::new();
    let tool = script(&home, "exit 0");
    let mut demo = demo(&tool).spawn().expect("the demo starts");
    let mut said = String::new();
    demo.stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut said)
        .expect("UTF-8");
    assert_eq!(demo.wait().expect("it ends").code(), Some(1), "{said}");
    assert!(
        said.contains("✗ NOT SO: while it ran, PostgreSQL had a user"),
        "{said}"
    );
    assert!(said.lines().count() <= 40, "more than a screen:\n{said}");
}

fn demo(tool: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command
        .arg("--tool")
        .arg(tool)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

fn script(home: &Home, text: &str) -> PathBuf {
    let path = home.directory().join("tool");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

/// The tool's process id, and the demo's scratch directory: the tool's HOME is two levels below it.
fn read_note(note: &Path) -> Option<(u32, PathBuf)> {
    let text = std::fs::read_to_string(note).ok()?;
    let (pid, home) = text.trim().split_once(' ')?;
    let scratch = Path::new(home).ancestors().nth(2)?;
    Some((pid.parse().ok()?, scratch.to_owned()))
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "60 s have passed"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
