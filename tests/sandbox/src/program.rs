//! Small programs of this crate that tests run as children.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// `report-signals`: tells each signal that it gets, see its own page.
///
/// Built here: `cargo test --test NAME` builds the programs of its own package alone. Where it is fresh that takes a fifth of a second, once a
/// test binary.
///
/// # Panics
/// Where it cannot be built.
pub fn report_signals() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("report-signals"))
}

fn build(name: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // Both packages, so that features are those of `cargo test`, and nothing is built twice.
    let mut command = Command::new(cargo);
    // What `cargo test` says of the package under test: ring's build script would take it for a change, and be run again and again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(["build", "--quiet", "--message-format=json"])
        .args(["--package", "dbt-lease", "--package", "dbt-lease-sandbox"])
        .args(["--bin", name])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "{name} cannot be built:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap_or_else(|| panic!("cargo does not say where {name} is"))
}
