//! What enters dbt's `profile_hash`, by adapter: its connection keys with their defaults, and the releases with which that was compared.
//!
//! From the adapters' own credential classes; `just warm-adapters` runs them on random outputs beside this table. A wrong entry makes a
//! run cold and never wrong: the hash of the last run's values is compared with dbt's own before anything is touched.
#![forbid(unsafe_code)]

use crate::dbt::jinja::Value;

/// An adapter whose keys hold what a lease changes.
pub(super) struct Adapter {
    /// `type:` of an output.
    pub(super) name: &'static str,
    /// Its package's name, as its metadata directory has it.
    pub(super) package: &'static str,
    /// `(minor, patch)` of its releases 1.MINOR up to which it was compared.
    releases: &'static [(u32, u32)],
    /// `key` or `key=default`, in Python's words; one list a time that they changed, newest first.
    keys: &'static [&'static str],
    /// `(spelling, key)`
    pub(super) aliases: &'static [(&'static str, &'static str)],
    /// Packages whose macros are the adapter's and dbt's own: `target` is nothing but a parameter's name in them.
    pub(super) macros: &'static [&'static str],
}

/// dbt-core's releases with which the whole was compared: `(minor, patch)`, as above.
const CORE: &[(u32, u32)] = &[(9, 11), (11, 16), (12, 0)];

const POSTGRES_ALIASES: &[(&str, &str)] = &[("dbname", "database"), ("pass", "password")];

const ADAPTERS: &[Adapter] = &[Adapter {
    name: "postgres",
    package: "dbt_postgres",
    releases: &[(9, 1), (11, 0)],
    keys: &[
        "host port user database schema connect_timeout=10 role=None search_path=None keepalives_idle=0 sslmode=None sslcert=None \
         sslkey=None sslrootcert=None application_name='dbt' autocommit=False retries=1",
        "host port user database schema connect_timeout=10 role=None search_path=None keepalives_idle=0 sslmode=None sslcert=None \
         sslkey=None sslrootcert=None application_name='dbt' retries=1",
    ],
    aliases: POSTGRES_ALIASES,
    macros: &["dbt", "dbt_postgres"],
}];

/// The adapter of an output's `type:`.
pub(super) fn adapter(name: &str) -> Option<&'static Adapter> {
    ADAPTERS.iter().find(|adapter| adapter.name == name)
}

/// Whether this release of dbt-core was compared.
pub(super) fn is_core_compared(version: &str) -> bool {
    is_in(CORE, version)
}

fn is_in(releases: &[(u32, u32)], version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    // Anything behind the numbers is a release before a release.
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Some(1)), Some(Some(minor)), Some(Some(patch)), None) => releases
            .iter()
            .any(|(known, until)| *known == minor && patch <= *until),
        _ => false,
    }
}

impl Adapter {
    /// Whether this release of it was compared.
    pub(super) fn is_compared(&self, version: &str) -> bool {
        is_in(self.releases, version)
    }

    /// The lists of connection keys, each key with its default; none is a key that must be there.
    pub(super) fn lists(&self) -> impl Iterator<Item = Vec<(&'static str, Option<Value>)>> {
        self.keys.iter().map(|keys| {
            keys.split_whitespace()
                .map(|word| match word.split_once('=') {
                    Some((key, default)) => (key, Some(literal(default))),
                    None => (word, None),
                })
                .collect()
        })
    }

    /// The key that a spelling means.
    pub(super) fn canonical<'k>(&self, spelling: &'k str) -> &'k str {
        self.aliases
            .iter()
            .find(|(alias, _)| *alias == spelling)
            .map_or(spelling, |(_, key)| key)
    }

    /// The spellings of a key, the key itself first.
    pub(super) fn spellings<'k>(&self, key: &'k str) -> impl Iterator<Item = &'k str> {
        let aliases = self.aliases.iter().filter(move |(_, of)| *of == key);
        std::iter::once(key).chain(aliases.map(|(alias, _)| *alias))
    }

    /// What the adapter itself changes in the values.
    pub(super) fn finish(&self, _values: &mut [(&'static str, Value)]) {}
}

/// A default as the table writes it.
fn literal(text: &str) -> Value {
    match text {
        "None" => Value::None,
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        "[]" => Value::List(Vec::new()),
        "{}" => Value::Dict(Vec::new()),
        quoted if quoted.starts_with('\'') => {
            Value::text(quoted.trim_matches('\'').replace('~', " "))
        }
        number => match number.parse() {
            Ok(whole) => Value::Int(whole),
            Err(_) => Value::Float(
                number
                    .parse()
                    .expect("a number, since the table's test reads all of it"),
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read() {
        for adapter in ADAPTERS {
            for list in adapter.lists() {
                assert!(list.len() > 3, "{}", adapter.name);
            }
        }
    }

    #[test]
    fn a_release_beyond_the_last_that_was_compared_is_unknown() {
        for (version, known) in [
            ("1.12.0", true),
            ("1.12.1", false),
            ("1.11.16", true),
            ("1.11.3", true),
            ("1.10.3", false),
            ("1.9.0b1", false),
            ("1.9.0rc1", false),
            ("1.9.11.post1", false),
            ("2.0.0", false),
            ("1.9", false),
            ("", false),
        ] {
            assert_eq!(is_core_compared(version), known, "{version}");
        }
    }
}
