//! `just bench-profiles`: what reading profiles.yml costs, beside dbt's own loader: a usual profile, and 10,000 outputs.
//!
//! Ours is the whole way of `render`: files found and read, the target chosen, the output checked and rendered. dbt's is its YAML loader
//! and `Profile.render_profile`, its imports left out. Each is measured in a process of its own, for its peak of memory.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use dbt_lease::dbt::{Context, Rendering, Selection, resolve};
use dbt_lease::render::check::{Around, check};
use dbt_lease::render::view::view;
use dbt_lease::variables::Variables;

/// As the tool has it: what is freed is wiped.
#[global_allocator]
static ALLOCATOR: dbt_lease::allocator::WipeOnFree = dbt_lease::allocator::WipeOnFree;

/// How often each is run; the fastest counts, since the machine may be busy.
const USUAL_ROUNDS: usize = 300;
const LARGE_ROUNDS: usize = 5;

/// dbt's loader: file, target, rounds.
const DBT: &str = r#"
import resource, sys, time
from dbt.clients.yaml_helper import load_yaml_text
from dbt.config.profile import Profile
from dbt.config.renderer import ProfileRenderer
from dbt_common.context import set_invocation_context
set_invocation_context({})
renderer = ProfileRenderer({})
path, target, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
best = None
for _ in range(rounds):
    began = time.perf_counter()
    with open(path, "rb") as file:
        profiles = load_yaml_text(file.read().decode("utf-8"))
    Profile.render_profile(profiles["p"], "p", target, renderer)
    took = time.perf_counter() - began
    best = took if best is None else min(best, took)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(best * 1000, after / 1024, before / 1024)
"#;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|word| word == "--measure") {
        let rounds = arguments[at + 3].parse().expect("a number");
        measure(Path::new(&arguments[at + 1]), &arguments[at + 2], rounds);
        return;
    }
    println!("                          fastest       peak memory (before)");
    for (what, outputs, rounds) in [
        ("usual, 5 outputs", 5, USUAL_ROUNDS),
        ("10,000 outputs", 10_000, LARGE_ROUNDS),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("dbt_project.yml"), "name: p\nprofile: p\n")
            .expect("written");
        let file = dir.path().join("profiles.yml");
        std::fs::write(&file, document(outputs)).expect("written");
        let target = format!("t{}", outputs - 1);
        let rounds = rounds.to_string();
        let own = std::env::current_exe().expect("it is there");
        let ours = Command::new(own)
            .arg("--measure")
            .args([dir.path().as_os_str(), target.as_ref(), rounds.as_ref()])
            .output();
        let theirs = Command::new(dbt_lease_sandbox::venv().python())
            .args(["-c", DBT])
            .args([file.as_os_str(), target.as_ref(), rounds.as_ref()])
            .output();
        for (who, ran) in [("dbt-lease", ours), ("dbt", theirs)] {
            let ran = ran.expect("it starts");
            let text = String::from_utf8_lossy(&ran.stdout).into_owned();
            let figures: Vec<f64> = text
                .split_whitespace()
                .filter_map(|figure| figure.parse().ok())
                .collect();
            let [time, peak, before] = figures[..] else {
                panic!("{who}: {text}{}", String::from_utf8_lossy(&ran.stderr));
            };
            println!("{what:18} {who:9} {time:>9.3} ms  {peak:>6.1} MiB ({before:.1})");
        }
    }
}

fn measure(dir: &Path, target: &str, rounds: usize) {
    let before = peak();
    let best = (0..rounds)
        .map(|_| once(dir, target))
        .min()
        .expect("rounds");
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let milliseconds = best as f64 / 1e6;
    println!("{milliseconds} {} {before}", peak());
}

/// What `render --profiles-dir DIR --target TARGET` does, in nanoseconds.
fn once(dir: &Path, target: &str) -> u128 {
    let variables = Variables::default();
    let context = Context {
        variables: &variables,
        cwd: dir,
    };
    let selection = Selection {
        target: Some(target.to_owned()),
        ..Selection::default()
    };
    let began = Instant::now();
    let resolved = resolve(&[], &selection, &context).expect("it is resolved");
    let rendering =
        Rendering::of(&resolved.engine, resolved.vars.clone(), &context).expect("it is read");
    let profile = resolved.profile.expect("there is one");
    let around = Around {
        rendering: &rendering,
        later: &BTreeSet::new(),
        threads_count: true,
        is_lent: false,
    };
    check(&profile, &profile.output, &around).expect("it is sound");
    let shown = view(&profile.output, &[], &rendering, true).expect("it is rendered");
    let took = began.elapsed().as_nanos();
    assert!(shown.unrendered.is_empty());
    took
}

/// The peak of this process's memory so far, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    });
    kib.unwrap_or_default() / 1024.0
}

fn document(outputs: usize) -> String {
    let mut text = "p:\n  target: t0\n  outputs:\n".to_owned();
    for number in 0..outputs {
        text.push_str(&format!(
            "    t{number}:
      type: postgres
      host: \"{{{{ env_var('WAREHOUSE_HOST', 'db-{number}.example.com') }}}}\"
      port: \"{{{{ env_var('WAREHOUSE_PORT', '5432') | int }}}}\"
      user: dbt_{number}
      password: \"{{{{ env_var('WAREHOUSE_PASSWORD', 'none') }}}}\"
      dbname: analytics
      schema: \"{{{{ env_var('BRANCH', 'Main') | lower | replace('/', '_') }}}}_{number}\"
      threads: 4
"
        ));
    }
    text
}
