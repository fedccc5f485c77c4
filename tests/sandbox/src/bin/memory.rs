//! `just memory`: what supervisor and janitor cost while a command runs, on the release binary, and that it stays within its bounds. Bytes that
//! the kernel counts, no times: a busy machine changes nothing.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a measurement prints")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dbt_lease_sandbox::{World, fixtures};
use serde_json::json;

/// What both may take together, kB.
const BOUNDS: [(&str, u64); 2] = [("Pss", 6000), ("Private_Dirty", 800)];
/// They give back what is free soon after the command's start.
const SETTLED: Duration = Duration::from_secs(20);
/// A lease that is renewed soon, seconds.
const SHORT: u64 = 6;

fn main() {
    let tool = match std::env::args_os().nth(1) {
        Some(tool) => PathBuf::from(tool),
        None => build(),
    };
    let world = World::start();
    let mut too_much = measure(&tool, &world, "waiting", &|| ());
    world.bao().api(
        "POST",
        "database/roles/dbt-prod",
        json!({"default_ttl": SHORT}),
    );
    // What a renewal needs is given back too.
    let renewed = || {
        let renewals = || {
            let requests = world.bao().requests();
            requests
                .iter()
                .filter(|request| request.path.ends_with("sys/leases/renew"))
                .count()
        };
        let end = Instant::now() + SETTLED;
        while renewals() < 2 {
            assert!(Instant::now() < end, "nothing was renewed");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    too_much.extend(measure(&tool, &world, "after renewals", &renewed));
    assert!(too_much.is_empty(), "more than it may be: {too_much:?}");
}

/// Measures one session when `ready` has returned; what is too much.
fn measure(tool: &Path, world: &World, when: &str, ready: &dyn Fn()) -> Vec<String> {
    let (home, project) = world.home();
    let mut session = home
        .command(tool)
        .args([
            "exec",
            "--target",
            "prod",
            "--",
            "sh",
            "-c",
            "echo up; read line",
        ])
        .current_dir(project)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let mut line = String::new();
    let output = session.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut line).expect("read");
    assert_eq!(line, "up\n", "the command did not start");
    // Pages of a file that has just been built would count as dirty.
    let _ = std::fs::File::open(tool).and_then(|file| file.sync_all());
    ready();
    let supervisor = session.id();
    let janitor = janitor_of(supervisor);
    let end = Instant::now() + SETTLED;
    let both = |name| [supervisor, janitor].map(|pid| measured(pid, name));
    while BOUNDS
        .iter()
        .any(|(name, bound)| both(name).iter().sum::<u64>() > *bound)
        && Instant::now() < end
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "\n{when}\n\n| kB | supervisor | janitor | together | at most |\n| --- | --- | --- | --- | --- |"
    );
    let mut too_much = Vec::new();
    for (name, bound) in BOUNDS {
        let [one, other] = both(name);
        println!("| {name} | {one} | {other} | {} | {bound} |", one + other);
        if one + other > bound {
            too_much.push(format!("{name}, {when}"));
        }
    }
    drop(session.stdin.take());
    session.wait().expect("waited for");
    too_much
}

/// The sum over a process's memory.
fn measured(pid: u32, name: &str) -> u64 {
    let file = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{file}: {error}; the processes hide their memory: only root can measure it")
    });
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("{file} says nothing of {name}"))
}

fn janitor_of(supervisor: u32) -> u32 {
    let children = format!("/proc/{supervisor}/task/{supervisor}/children");
    let children = std::fs::read_to_string(children).expect("its children");
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .find(|pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line == b"dbt-lease-janitor\0")
        })
        .expect("there is a janitor")
}

/// The release binary: what is shipped.
fn build() -> PathBuf {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--message-format=json", "--quiet"])
        .args(["--package", "dbt-lease", "--bin", "dbt-lease"])
        .current_dir(fixtures())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo starts");
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("the release binary is built")
}
