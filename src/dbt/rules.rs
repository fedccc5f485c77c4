//! What differs between dbt's lines of releases, and which line a dbt follows.
#![forbid(unsafe_code)]

use super::options::Command;
use super::version::Found;
use super::{options_1_9, options_1_10, options_1_11, options_1_12};

/// The rules of one line of releases of dbt-core.
#[derive(Debug)]
pub struct Rules {
    /// The line: `1.12`.
    pub line: &'static str,
    /// The second number of its versions; the first is 1.
    minor: u32,
    /// The command line, `dbt` itself first.
    pub commands: &'static [Command],
    /// `(DBT_ENGINE_X, DBT_X)`: what dbt takes for one variable in env_var().
    pub twins: &'static [(&'static str, &'static str)],
    /// Whether dbt loads `.env` (facts dbt #16).
    pub dotenv: bool,
    /// Whether dbt reads `~/.dbt/user_settings.yml` (facts dbt #18).
    pub settings: bool,
}

/// The lines whose rules are known, oldest first.
pub static LINES: [Rules; 4] = [
    Rules {
        line: "1.9",
        minor: 9,
        commands: options_1_9::COMMANDS,
        twins: options_1_9::TWINS,
        dotenv: false,
        settings: false,
    },
    Rules {
        line: "1.10",
        minor: 10,
        commands: options_1_10::COMMANDS,
        twins: options_1_10::TWINS,
        dotenv: false,
        settings: false,
    },
    Rules {
        line: "1.11",
        minor: 11,
        commands: options_1_11::COMMANDS,
        twins: options_1_11::TWINS,
        dotenv: false,
        settings: false,
    },
    NEWEST,
];

const NEWEST: Rules = Rules {
    line: "1.12",
    minor: 12,
    commands: options_1_12::COMMANDS,
    twins: options_1_12::TWINS,
    dotenv: true,
    settings: true,
};

/// Which dbt a command runs, as far as it is known without running it.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Its version, where it is known.
    pub version: Option<String>,
    /// Whether it is Fusion, whose command line and `.env` are its own.
    pub fusion: bool,
    /// The rules by which we read for it.
    pub rules: &'static Rules,
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
        Self::of(Found::Version(version.to_owned()))
    }

    pub(super) fn of(found: Found) -> Self {
        let newest = &LINES[LINES.len() - 1];
        match found {
            Found::Fusion => Self {
                version: None,
                fusion: true,
                rules: newest,
            },
            Found::Unknown => Self {
                version: None,
                fusion: false,
                rules: newest,
            },
            Found::Version(version) => {
                let line = line(&version);
                Self {
                    // dbt-core 2 is Fusion under another name.
                    fusion: line.is_some_and(|(major, _)| major > 1),
                    rules: match line {
                        Some((1, minor)) => LINES
                            .iter()
                            .rev()
                            .find(|rules| rules.minor <= minor)
                            .unwrap_or(&LINES[0]),
                        Some((0, _)) => &LINES[0],
                        _ => newest,
                    },
                    version: Some(version),
                }
            }
        }
    }

    /// Whether the rules are those of exactly this dbt's line.
    pub(super) fn is_known(&self) -> bool {
        let line = self.version.as_deref().and_then(line);
        line == Some((1, self.rules.minor))
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

/// The first two numbers of a version: `1.9.0rc1` is of (1, 9).
fn line(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.bytes().take_while(u8::is_ascii_digit).count();
    Some((major, minor[..digits].parse().ok()?))
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
        }
    }
}
