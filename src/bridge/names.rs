//! The scheme of names: `DBT_ENV_SECRET_`, profile, target and key path, each in capitals, joined by `_`.
//!
//! What is neither a letter A–Z nor a digit becomes `_`, several of them one. A name depends on its place alone, so it is the same from run
//! to run and on every machine. Where two places come to the same name, or the file has a variable of that name already, each of them
//! gets six digits of its place's SHA-256 behind it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto;

/// What begins every name: dbt keeps such a variable's value out of its logs.
pub(super) const PREFIX: &str = "DBT_ENV_SECRET_";

/// Names for places (each its parts from the outermost), none of which is taken.
pub(super) fn names(places: &[Vec<String>], taken: &BTreeSet<String>) -> Vec<String> {
    let bases: Vec<String> = places.iter().map(|parts| base(parts)).collect();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for base in &bases {
        *count.entry(base).or_default() += 1;
    }
    places
        .iter()
        .zip(&bases)
        .map(|(parts, base)| {
            if count.get(base.as_str()) == Some(&1) && !taken.contains(base) {
                return base.clone();
            }
            apart(parts, base, |name| {
                taken.contains(name) || count.contains_key(name)
            })
        })
        .collect()
}

/// The secret name for a variable that has another: its own, with the prefix before it.
pub(super) fn renamed(name: &str, taken: &BTreeSet<String>) -> String {
    let base = format!("{PREFIX}{name}");
    if taken.contains(&base) {
        apart(&[name.to_owned()], &base, |name| taken.contains(name))
    } else {
        base
    }
}

fn base(parts: &[String]) -> String {
    let mut name = PREFIX.to_owned();
    for part in parts {
        for ch in part.chars().map(|ch| ch.to_ascii_uppercase()).chain(['_']) {
            let ch = if ch.is_ascii_alphanumeric() { ch } else { '_' };
            if ch != '_' || !name.ends_with('_') {
                name.push(ch);
            }
        }
    }
    name.truncate(name.trim_end_matches('_').len());
    name
}

fn apart(parts: &[String], base: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let digits = crypto::sha256(parts.join("\0").as_bytes()).to_ascii_uppercase();
    (6..=digits.len())
        .map(|length| format!("{base}_{}", &digits[..length]))
        .find(|name| !is_taken(name))
        .unwrap_or_else(|| format!("{base}_{digits}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{names, renamed};

    fn named(places: &[&[&str]], taken: &[&str]) -> Vec<String> {
        let places: Vec<Vec<String>> = places
            .iter()
            .map(|parts| parts.iter().map(|part| (*part).to_owned()).collect())
            .collect();
        names(
            &places,
            &taken.iter().map(|name| (*name).to_owned()).collect(),
        )
    }

    #[test]
    fn a_name_is_its_place_in_capitals() {
        assert_eq!(
            named(
                &[
                    &["jaffle_shop", "prod", "password"],
                    &["My-Shop", "dev.eu", "secrets", "0", "key_id"],
                    &["größe", "é", "pass"],
                    &["x", "__", "token_"],
                ],
                &[]
            ),
            [
                "DBT_ENV_SECRET_JAFFLE_SHOP_PROD_PASSWORD",
                "DBT_ENV_SECRET_MY_SHOP_DEV_EU_SECRETS_0_KEY_ID",
                "DBT_ENV_SECRET_GR_E_PASS",
                "DBT_ENV_SECRET_X_TOKEN",
            ]
        );
    }

    #[test]
    fn places_that_come_to_one_name_are_kept_apart_whatever_their_order() {
        let (one, two): (&[&str], &[&str]) = (&["a", "b_c", "pass"], &["a-b", "c", "pass"]);
        let first = named(&[one, two], &[]);
        let second = named(&[two, one], &[]);
        assert_eq!(first[0], second[1]);
        assert_eq!(first[1], second[0]);
        assert_ne!(first[0], first[1]);
        assert!(
            first[0].starts_with("DBT_ENV_SECRET_A_B_C_PASS_"),
            "{}",
            first[0]
        );
    }

    #[test]
    fn a_name_that_the_file_has_is_not_taken() {
        let name = &named(&[&["p", "t", "pass"]], &["DBT_ENV_SECRET_P_T_PASS"])[0];
        assert!(
            name.starts_with("DBT_ENV_SECRET_P_T_PASS_") && name.len() == 30,
            "{name}"
        );
    }

    #[test]
    fn a_variable_keeps_its_name_behind_the_prefix() {
        assert_eq!(
            renamed("PGPASSWORD", &BTreeSet::new()),
            "DBT_ENV_SECRET_PGPASSWORD"
        );
        let taken = BTreeSet::from(["DBT_ENV_SECRET_PW".to_owned()]);
        assert!(renamed("PW", &taken).starts_with("DBT_ENV_SECRET_PW_"));
    }
}
