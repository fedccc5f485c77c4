//! What differs between dbt's lines of releases, and which line a dbt follows.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::LazyLock;

use super::options::{Command, Table};
use super::version::{self, Found};
use super::yaml::Merging;
use super::{options_1_9, options_1_10, options_1_11, options_1_12, options_1_12_0};

/// The rules of dbt-core from one release to the next that changed them.
#[derive(Debug)]
pub struct Rules {
    /// The line of releases whose command line it is: `1.12`.
    pub line: &'static str,
    /// The first version: `(minor, patch)` of dbt-core 1.
    since: (u32, u32),
    /// The last version that was compared with them.
    until: (u32, u32),
    table: &'static LazyLock<Table>,
    /// Whether DBT_ENGINE_X and DBT_X are one variable in env_var().
    has_twins: bool,
    /// Whether dbt loads `.env` (facts dbt #16).
    pub dotenv: bool,
    /// Whether dbt reads `~/.dbt/user_settings.yml` (facts dbt #18).
    pub settings: bool,
}

impl Rules {
    /// The command line, `dbt` itself first.
    pub fn commands(&self) -> &'static [Command] {
        self.table.commands
    }

    /// `(DBT_ENGINE_X, DBT_X)`: what dbt takes for one variable in env_var().
    pub fn twins(&self) -> &'static [(&'static str, &'static str)] {
        if self.has_twins {
            self.table.twins
        } else {
            &[]
        }
    }
}

/// The rules that are known, oldest first. DBT_ENGINE_ names came in two steps: in 1.10.5 for env_var(), in 1.11.8 for the
/// options.
static RULES: [Rules; 7] = [
    Rules {
        line: "1.9",
        since: (9, 0),
        until: (9, 11),
        table: &options_1_9::TABLE,
        has_twins: false,
        dotenv: false,
        settings: false,
    },
    Rules {
        line: "1.10",
        since: (10, 0),
        until: (10, 4),
        table: &options_1_10::TABLE,
        has_twins: false,
        dotenv: false,
        settings: false,
    },
    Rules {
        line: "1.10",
        since: (10, 5),
        until: (10, 23),
        table: &options_1_10::TABLE,
        has_twins: true,
        dotenv: false,
        settings: false,
    },
    // 1.11 before 1.11.8 has the command line of 1.10.
    Rules {
        line: "1.11",
        since: (11, 0),
        until: (11, 7),
        table: &options_1_10::TABLE,
        has_twins: true,
        dotenv: false,
        settings: false,
    },
    Rules {
        line: "1.11",
        since: (11, 8),
        until: (11, 16),
        table: &options_1_11::TABLE,
        has_twins: true,
        dotenv: false,
        settings: false,
    },
    Rules {
        line: "1.12",
        since: (12, 0),
        until: (12, 0),
        table: &options_1_12_0::TABLE,
        has_twins: true,
        dotenv: true,
        settings: true,
    },
    Rules {
        line: "1.12",
        since: (12, 1),
        until: (12, 6),
        table: &options_1_12::TABLE,
        has_twins: true,
        dotenv: true,
        settings: true,
    },
];

/// Which dbt a command runs, as far as it is known without running it.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Its version, where it is known.
    pub version: Option<String>,
    /// Whether it is Fusion, whose command line and `.env` are its own.
    pub fusion: bool,
    /// The rules by which we read for it.
    pub rules: &'static Rules,
    /// How its PyYAML merges, where that is known.
    pub merging: Option<Merging>,
    /// Where its Python looks for packages, where that is known.
    packages: Vec<PathBuf>,
}

/// A dbt of which nothing is known.
impl Default for Engine {
    fn default() -> Self {
        Self::of(Found::Unknown)
    }
}

impl Engine {
    /// dbt-core of this version.
    pub fn of_version(version: &str) -> Self {
        Self::of(Found::Version {
            dbt: version.to_owned(),
            yaml: None,
            packages: Vec::new(),
        })
    }

    /// The version of a package of its Python, where it is known without running it; `name` as in the name of its metadata directory
    /// (`dbt_postgres`).
    pub fn package(&self, name: &str) -> Option<String> {
        version::first_version(&self.packages, &format!("{name}-"))
    }

    pub(super) fn of(found: Found) -> Self {
        let newest = &RULES[RULES.len() - 1];
        match found {
            Found::Fusion => Self {
                version: None,
                fusion: true,
                rules: newest,
                merging: None,
                packages: Vec::new(),
            },
            Found::Unknown => Self {
                version: None,
                fusion: false,
                rules: newest,
                merging: None,
                packages: Vec::new(),
            },
            Found::Version {
                dbt: version,
                yaml,
                packages,
            } => {
                let number = number(&version);
                // dbt-core 2 is Fusion under another name.
                let fusion = number.is_some_and(|(major, ..)| major > 1);
                Self {
                    fusion,
                    rules: match number {
                        Some((1, minor, patch)) => RULES
                            .iter()
                            .rev()
                            .find(|rules| rules.since <= (minor, patch))
                            .unwrap_or(&RULES[0]),
                        Some((0, ..)) => &RULES[0],
                        _ => newest,
                    },
                    merging: yaml
                        .as_deref()
                        .filter(|_| !fusion)
                        .and_then(Merging::of_version),
                    version: Some(version),
                    packages,
                }
            }
        }
    }

    /// Whether the rules are those of exactly this dbt's line.
    pub(super) fn is_known(&self) -> bool {
        self.version
            .as_deref()
            .is_some_and(|version| version.starts_with(&format!("{}.", self.rules.line)))
    }

    /// Whether this very version was compared with its rules, so that a word that they do not know is none of dbt's.
    pub(super) fn is_compared(&self) -> bool {
        let number = self.version.as_deref().and_then(number);
        matches!(number, Some((1, minor, patch)) if (self.rules.since..=self.rules.until).contains(&(minor, patch)))
    }

    /// What to say where dbt is read by other rules than those of its own line.
    pub fn note(&self) -> Option<String> {
        (!self.is_known() && !self.fusion).then(|| format!("dbt is {}", self.said()))
    }

    /// The dbt and the rules, for people.
    pub fn said(&self) -> String {
        match (&self.version, self.fusion) {
            (Some(version), false) if self.is_known() => format!("dbt-core {version}"),
            (Some(version), false) => format!(
                "dbt-core {version}, read by the rules of {}",
                self.rules.line
            ),
            (Some(version), true) => format!("dbt-core {version}, read as Fusion"),
            (None, true) => "Fusion".to_owned(),
            (None, false) => format!(
                "of a version that is not known without running it, read by the rules of {}",
                self.rules.line
            ),
        }
    }
}

/// The numbers of a version: `1.9.0rc1` is (1, 9, 0).
fn number(version: &str) -> Option<(u32, u32, u32)> {
    let mut parts = version.split('.').map(|part| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        part[..digits].parse().ok()
    });
    let mut next = || parts.next().flatten();
    Some((next()?, next()?, next().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::Engine;

    #[test]
    fn a_version_takes_the_rules_of_its_line_or_of_the_nearest() {
        for (version, line, fusion, said) in [
            ("1.9.11", "1.9", false, "dbt-core 1.9.11"),
            ("1.10.0rc2", "1.10", false, "dbt-core 1.10.0rc2"),
            ("1.12.0", "1.12", false, "dbt-core 1.12.0"),
            (
                "1.13.0b1",
                "1.12",
                false,
                "dbt-core 1.13.0b1, read by the rules of 1.12",
            ),
            (
                "1.7.3",
                "1.9",
                false,
                "dbt-core 1.7.3, read by the rules of 1.9",
            ),
            (
                "0.21.1",
                "1.9",
                false,
                "dbt-core 0.21.1, read by the rules of 1.9",
            ),
            ("2.0.0a3", "1.12", true, "dbt-core 2.0.0a3, read as Fusion"),
        ] {
            let engine = Engine::of_version(version);
            assert_eq!(
                (engine.rules.line, engine.fusion, engine.said().as_str()),
                (line, fusion, said)
            );
            let own = version.starts_with(&format!("{line}."));
            assert_eq!(engine.note().is_none(), own || fusion, "{version}");
        }
    }

    #[test]
    fn a_version_beyond_the_last_that_was_compared_may_know_other_words() {
        for (version, compared) in [
            ("1.9.11", true),
            ("1.9.12", false),
            ("1.8.3", false),
            ("1.10.4", true),
            ("1.11.16", true),
            ("1.11.17", false),
            ("1.12.0", true),
            ("1.12.6", true),
            ("1.12.7", false),
            ("1.13.0b1", false),
            ("2.0.0", false),
        ] {
            assert_eq!(
                Engine::of_version(version).is_compared(),
                compared,
                "{version}"
            );
        }
        assert!(!Engine::default().is_compared());
    }

    /// Measured release by release.
    #[test]
    fn engine_names_count_for_templates_since_1_10_5_and_for_options_since_1_11_8() {
        for (version, templates, options) in [
            ("1.9.11", false, false),
            ("1.10.4", false, false),
            ("1.10.5", true, false),
            ("1.10.23", true, false),
            ("1.11.0", true, false),
            ("1.11.7", true, false),
            ("1.11.8", true, true),
            ("1.11.16", true, true),
            ("1.12.0", true, true),
        ] {
            let rules = Engine::of_version(version).rules;
            let target = rules.commands()[0].named("target").expect("dbt has it");
            assert_eq!(!rules.twins().is_empty(), templates, "{version}");
            assert_eq!(
                target.variables.contains(&"DBT_ENGINE_TARGET"),
                options,
                "{version}"
            );
        }
    }
}
