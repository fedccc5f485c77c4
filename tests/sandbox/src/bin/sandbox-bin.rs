//! Prints the directory of dbt, python, bao and typos, for .ci/run and the justfile; builds the environment if need be.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

fn main() {
    println!("{}", dbt_lease_sandbox::venv().bin().display());
}
