//! The shim `dbt-leased`: an exit code, nothing else.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: dbt_lease::allocator::WipeOnFree = dbt_lease::allocator::WipeOnFree;

fn main() -> ExitCode {
    dbt_lease::cli::shim()
}
