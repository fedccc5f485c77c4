//! Any words, one a line, as dbt's command line.
#![no_main]

use dbt_lease::dbt::invocation::read;
use dbt_lease::dbt::options_1_12::TABLE;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let words: Vec<String> = text.lines().map(str::to_owned).collect();
    let _ = read(&words, TABLE.commands);
});
