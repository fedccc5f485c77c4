//! Any text as `.env`.
#![no_main]

use dbt_lease::dbt::dotenv::added;
use dbt_lease::variables::Variables;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = added(text, &[("A", "a")].into_iter().collect::<Variables>());
});
