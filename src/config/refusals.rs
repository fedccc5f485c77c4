//! Every refusal of dbt-lease.yml with its whole text: what is wrong, where, and what to do.
//!
//! The cases stand in `refusals/*.txt`: `=== name`, the file, `-->`, the message and its hint.
#![forbid(unsafe_code)]

use std::path::Path;

use super::{Config, ConfigError};
use crate::variables::Variables;

const CASES: [&str; 6] = [
    include_str!("refusals/file.txt"),
    include_str!("refusals/vault.txt"),
    include_str!("refusals/login.txt"),
    include_str!("refusals/target.txt"),
    include_str!("refusals/delivery.txt"),
    include_str!("refusals/isolation.txt"),
];

/// As `cli/` shows it, without colour.
pub(super) fn shown(error: &ConfigError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

/// Name, dbt-lease.yml, and what is said of it.
fn cases() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    CASES
        .iter()
        .flat_map(|file| file.split("=== ").skip(1))
        .map(|case| {
            let (name, rest) = case.split_once('\n').expect("a name on a line of its own");
            let (text, said) = rest
                .split_once("-->\n")
                .expect("`-->` on a line of its own");
            (name, text, said.trim_end_matches('\n'))
        })
}

#[test]
fn every_refusal_says_what_where_and_what_to_do() {
    assert!(cases().count() > 100, "the cases were not read");
    for (name, text, said) in cases() {
        let refused = Config::parse(Path::new("/p/dbt-lease.yml"), text, &Variables::default());
        assert_eq!(shown(&refused.expect_err(name)), said, "{name}");
    }
}
