//! `.env` files, read by us and by python-dotenv.

use std::collections::BTreeMap;

use dbt_lease::dbt::{Engine, Environment, Lookup};
use dbt_lease::variables::Variables;
use serde_json::json;

use crate::oracle::ask;
use crate::random::Random;

const PARTS: &[&str] = &[
    "A",
    "B",
    "A=",
    "B =",
    "C=x",
    "export ",
    "export A=1",
    "=",
    "'",
    "\"",
    "'q'",
    "\"q\"",
    "#",
    " # c",
    "#c",
    " ",
    "\t",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "\\",
    "\\n",
    "\\'",
    "\\\"",
    "${A}",
    "${R}",
    "${N:-d}",
    "${N:-}",
    "${N}",
    "${",
    "}",
    "$A",
    ":",
    "é",
    "\u{a0}",
    "\u{1c}",
    "\u{2028}",
    "\u{85}",
    "x y",
    "\u{feff}",
    "'k'=v",
    "=\"\\a\\b\\f\\n\\r\\t\\v\"",
    "\\\\",
    "\\x",
    "\\u00e9",
];

#[test]
fn files_are_read_as_python_dotenv_reads_them() {
    let mut random = Random::new();
    let environment = BTreeMap::from([("R", "real"), ("C", "kept"), ("E", "")]);
    let real: Variables = environment.iter().collect();
    let dir = tempfile::tempdir().expect("a directory");
    let (mut files, mut variables) = (0, 0);
    for _ in 0..3000 {
        let count = 1 + random.below(14);
        let text: String = (0..count).map(|_| random.one(PARTS)).collect();
        std::fs::write(dir.path().join(".env"), &text).expect("a file");
        let answer = ask(&json!({"kind": "dotenv", "text": text, "env": environment}));
        let found = Environment::of(&Engine::default(), &real, dir.path());
        if answer.get("refused").is_some() {
            assert!(found.is_err(), "{text:?}: {answer}");
            continue;
        }
        let environment = found.unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let theirs: BTreeMap<String, String> =
            serde_json::from_value(answer["added"].clone()).expect("names and values");
        for (name, value) in &theirs {
            assert_eq!(
                environment.get(name),
                Lookup::Text(value),
                "{name} in {text:?}: {theirs:?}"
            );
        }
        for name in ["A", "B", "q", "x", "k", "export"] {
            if !theirs.contains_key(name) {
                assert_eq!(
                    environment.get(name),
                    Lookup::Missing,
                    "{name} in {text:?}: {theirs:?}"
                );
            }
        }
        files += 1;
        variables += theirs.len();
    }
    assert!(
        variables > files / 4,
        "{variables} variables in {files} files"
    );
}
