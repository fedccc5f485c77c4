//! `just bench`: what a run of the tool costs, beside a shell script with curl that does the same four requests.
//!
//! Whole processes from outside, in turn (tool, curl, `true`, tool, …), medians; compare figures only within one table.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dbt_lease_sandbox::{World, fixtures};

const ROUNDS: usize = 30;

/// Login, credentials, the command, revocation, the token's end.
const CURL: &str = r#"
set -e
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
ask() { curl -sSf -H "X-Vault-Token: $token" "$@"; }
token=$(curl -sSf -d "{\"role_id\":\"$JAFFLE_PRODUCTION_ROLE_ID\",\"secret_id\":\"$JAFFLE_PRODUCTION_SECRET_ID\"}" \
    "$VAULT_ADDR/v1/auth/approle/login" | field client_token)
lease=$(ask "$VAULT_ADDR/v1/database/creds/dbt-prod" | field lease_id)
true
ask -X PUT -d "{\"lease_id\":\"$lease\",\"sync\":true}" "$VAULT_ADDR/v1/sys/leases/revoke"
ask -X POST "$VAULT_ADDR/v1/auth/token/revoke-self"
"#;

fn main() {
    let tool = build();
    let world = World::start();
    let (home, project) = world.home();
    let exec = || {
        let mut command = home.command(&tool);
        command.args(["exec", "--target", "prod", "--", "true"]);
        command
    };
    let curl = || {
        let mut command = home.command("sh");
        command.args(["-c", CURL]);
        command
    };
    let mut rows = [
        ("dbt-lease exec -- true", Vec::new()),
        ("sh + curl, four requests", Vec::new()),
        ("true", Vec::new()),
    ];
    for _ in 0..ROUNDS {
        rows[0].1.push(time(exec(), &project));
        rows[1].1.push(time(curl(), &project));
        rows[2].1.push(time(home.command("true"), &project));
        world.assert_nothing_left();
    }
    println!("| medians of {ROUNDS}, in turn | ms | least |\n| --- | --- | --- |");
    for (name, times) in &mut rows {
        times.sort();
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        println!(
            "| {name} | {:.1} | {:.1} |",
            millis(times[times.len() / 2]),
            millis(times[0])
        );
    }
}

/// The release binary: what is shipped.
fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--release",
        "--package",
        "dbt-lease",
        "--bin",
        "dbt-lease",
    ]);
    let built = cargo
        .current_dir(fixtures())
        .status()
        .is_ok_and(|status| status.success());
    assert!(
        built,
        "`cargo build --release --bin dbt-lease` failed: its own words stand above"
    );
    let own = std::env::current_exe().expect("this program has a path");
    let target = own.ancestors().nth(2).expect("it lies in target/PROFILE");
    target.join("release/dbt-lease")
}

fn time(mut command: Command, project: &Path) -> Duration {
    command.current_dir(project).stdin(Stdio::null());
    let started = Instant::now();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let took = started.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} failed: {said}",
        command.get_program().display()
    );
    took
}
