//! What an adapter demands of a key's value beyond its type.
//!
//! From the adapters' own credential classes: what stands here holds in every release for dbt 1.9 to 1.12 (read in each adapter's 1.8,
//! 1.9 and newest release, November 2026). What is missing here is dbt's to judge.
#![forbid(unsafe_code)]

/// A demand on one key.
#[derive(Clone, Copy)]
pub(super) enum Demand {
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A text that is not empty.
    Filled,
    /// A text that is more than white space.
    NotBlank,
    /// The text of this other key, or null.
    SameAs(&'static str),
    /// A mapping whose values are texts.
    OfTexts,
}

/// The keys with demands, an alias a line.
pub(super) fn demands(adapter: &str) -> &'static [(&'static str, Demand)] {
    match adapter {
        "bigquery" => &[
            (
                "method",
                Demand::OneOf(&[
                    "oauth",
                    "oauth-secrets",
                    "service-account",
                    "service-account-json",
                    "external-oauth-wif",
                ]),
            ),
            ("schema", Demand::Filled),
            ("dataset", Demand::Filled),
        ],
        "databricks" => &[
            ("catalog", Demand::NotBlank),
            ("database", Demand::NotBlank),
        ],
        "duckdb" => &[("path", Demand::Filled)],
        "spark" => &[
            (
                "method",
                Demand::OneOf(&["thrift", "http", "odbc", "session"]),
            ),
            ("database", Demand::SameAs("schema")),
            ("server_side_parameters", Demand::OfTexts),
        ],
        _ => &[],
    }
}

impl Demand {
    /// What is wrong with a text, which is not told: it may be a secret in the wrong place. `other` is the text of another key.
    pub(super) fn refuses(
        self,
        text: &str,
        other: impl FnOnce(&str) -> Option<String>,
    ) -> Option<String> {
        match self {
            Self::OneOf(words) if !words.contains(&text) => {
                Some(format!("is none of {}", words.join(", ")))
            }
            Self::Filled if text.is_empty() => Some("is empty".to_owned()),
            Self::NotBlank if text.trim().is_empty() => Some("is empty".to_owned()),
            Self::SameAs(name) if other(name).is_some_and(|other| other != text) => Some(format!(
                "is not the same as `{name}`, which is the same thing to this adapter; leave it out"
            )),
            _ => None,
        }
    }
}
