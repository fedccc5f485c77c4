//! What names say: of a target, whose it is; and names that may stand in a path, a file, a variable.
#![forbid(unsafe_code)]

use crate::crypto;

/// Whose a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What people work on.
    Development,
    /// What builds of changes use.
    Ci,
    /// What is like production and is none.
    Staging,
    /// What counts.
    Production,
}

impl Class {
    /// The environment of that class, as it is proposed.
    pub fn environment(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Ci => "ci",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

const PRODUCTION: [&str; 6] = ["prod", "production", "prd", "live", "produktion", "prods"];
const STAGING: [&str; 26] = [
    "stag",
    "stage",
    "staging",
    "stg",
    "qa",
    "test",
    "tests",
    "testing",
    "tst",
    "uat",
    "acc",
    "acceptance",
    "preprod",
    "preproduction",
    "nonprod",
    "nonproduction",
    "int",
    "integ",
    "integration",
    "canary",
    "preview",
    "demo",
    "beta",
    "sit",
    "perf",
    "rc",
];
const CI: [&str; 15] = [
    "ci",
    "cicd",
    "pr",
    "prs",
    "mr",
    "pullrequest",
    "github",
    "gitlab",
    "jenkins",
    "buildkite",
    "circleci",
    "travis",
    "bitbucket",
    "actions",
    "slim",
];
const DEVELOPMENT: [&str; 17] = [
    "dev",
    "devel",
    "develop",
    "development",
    "developer",
    "dbtdev",
    "local",
    "localhost",
    "sandbox",
    "playground",
    "personal",
    "laptop",
    "docker",
    "duckdb",
    "sqlite",
    "memory",
    "scratch",
];
/// What makes another word of `prod`.
const BEFORE_PRODUCTION: [&str; 5] = ["non", "not", "no", "pre", "un"];

/// Whose a name says that a target is; none for one that says nothing. Where it says several things, the one that is guarded best counts.
pub fn class(name: &str) -> Option<Class> {
    let words = words(name);
    let is = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let mut production = false;
    let mut staging = is(&STAGING);
    for (at, word) in words.iter().enumerate() {
        // `dbtprod`, `nonprod`: glued.
        let glued = PRODUCTION[..3]
            .iter()
            .find_map(|end| word.strip_suffix(end));
        if !PRODUCTION.contains(&word.as_str()) && glued.is_none() {
            continue;
        }
        let before = match glued {
            Some(before) if !before.is_empty() => Some(before),
            _ => at.checked_sub(1).map(|at| words[at].as_str()),
        };
        match before {
            Some(before) if BEFORE_PRODUCTION.contains(&before) => staging = true,
            _ => production = true,
        }
    }
    if production {
        Some(Class::Production)
    } else if is(&CI) {
        Some(Class::Ci)
    } else if staging {
        Some(Class::Staging)
    } else if is(&DEVELOPMENT) {
        Some(Class::Development)
    } else {
        None
    }
}

/// The words of a name, in small letters, without the digits behind them: `ProdEU2` is `prod`, `eu`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = None;
    for ch in name.chars() {
        let breaks = before.is_some_and(|before: char| before.is_lowercase() && ch.is_uppercase());
        if breaks || !ch.is_alphabetic() {
            words.push(String::new());
        }
        if ch.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(ch.to_lowercase());
        }
        before = Some(ch);
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A name as a segment of a path of Vault's. What had to be changed gets six digits of its SHA-256 behind it, so that two names stay two.
pub fn segment(name: &str) -> String {
    let allowed = |ch: char| ch.is_ascii_alphanumeric() || "._@-".contains(ch);
    let made: String = name
        .chars()
        .map(|ch| if allowed(ch) { ch } else { '-' })
        .collect();
    let trimmed = made.trim_matches(['-', '.']);
    if trimmed == name {
        return made;
    }
    let digits = &crypto::sha256(name.as_bytes())[..6];
    match trimmed {
        "" => digits.to_owned(),
        trimmed => format!("{trimmed}-{digits}"),
    }
}

/// A name as a key or a text of YAML, in quotes where it needs any.
pub fn scalar(name: &str) -> String {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let is_plain = name.starts_with(|ch: char| ch.is_ascii_alphabetic() || ch == '_')
        && name
            .chars()
            .all(|ch| ch.is_ascii_alphanumeric() || "_-./@".contains(ch))
        && !WORDS.contains(&name.to_ascii_lowercase().as_str());
    if is_plain {
        return name.to_owned();
    }
    let mut quoted = String::from("\"");
    for ch in name.chars() {
        match ch {
            '"' | '\\' => quoted.extend(['\\', ch]),
            ch if ch.is_control() || "\u{2028}\u{2029}\u{feff}".contains(ch) => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(ch)));
            }
            ch => quoted.push(ch),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_team_s_names_say_whose_a_target_is() {
        for (names, expected) in [
            (
                "prod production prd live prod_eu ProdUS snowflake-prod dbtprod prod2 ci_prod PRODUCTION prod-ci prod_test",
                Some(Class::Production),
            ),
            (
                "staging stage stg qa test uat preprod pre-prod non_prod nonprod NonProd int test2",
                Some(Class::Staging),
            ),
            (
                "ci pr ci_pr github slim_ci ci-duckdb dev_ci",
                Some(Class::Ci),
            ),
            (
                "dev development local sandbox dev_alice dev2 docker duckdb",
                Some(Class::Development),
            ),
            (
                "default alice eu warehouse products product prodigy latest протест",
                None,
            ),
        ] {
            for name in names.split(' ') {
                assert_eq!(class(name), expected, "{name}");
            }
        }
    }

    #[test]
    fn a_segment_is_one_of_vault_s_and_two_names_stay_two() {
        assert_eq!(segment("prod-eu.1"), "prod-eu.1");
        let odd: Vec<String> = ["прод", "тест", "a b", "a-b", "a/b", "..", ".", ""]
            .map(segment)
            .to_vec();
        let mut unique = odd.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), odd.len(), "{odd:?}");
    }

    proptest! {
        #[test]
        fn every_text_is_the_same_as_a_scalar(text in "\\PC{0,8}|[\\x00-\\x7f\\u{80}-\\u{a0}\\u{2028}\\u{feff}]{0,6}|yes|~|1|- a|a: b|#") {
            let read: String = serde_yaml::from_str(&scalar(&text)).expect("YAML");
            prop_assert_eq!(read, text);
        }
    }
}
