//! The `dbt-lease` program: an exit code, nothing else.

fn main() {}
