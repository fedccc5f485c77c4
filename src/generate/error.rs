//! Why nothing is generated.
#![forbid(unsafe_code)]

/// Why nothing is generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// No environment lends anything, or none of those that were named.
    #[error("there is nothing to generate for: {why}")]
    Nothing {
        /// Why.
        why: String,
    },
    /// A name that has no place in what is generated.
    #[error("{what} cannot stand in {language}: {why}")]
    Unquotable {
        /// Whose name it is; never a value that may be a secret.
        what: String,
        /// What is generated.
        language: &'static str,
        /// Why.
        why: &'static str,
    },
    /// Several files, for one that was named.
    #[error("`{kind}` makes {count} files here, and `--output` names one")]
    Several {
        /// The kind.
        kind: &'static str,
        /// How many.
        count: usize,
    },
    /// A template that does not hold with these facts.
    #[error("a mistake in dbt-lease: the template `{template}` cannot be filled: {why}")]
    Template {
        /// The template.
        template: &'static str,
        /// minijinja's words.
        why: String,
    },
}

impl GenerateError {
    /// A stable word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing { .. } => "nothing_to_generate",
            Self::Unquotable { .. } => "unquotable",
            Self::Several { .. } => "several_files",
            Self::Template { .. } => "bug",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Nothing { .. } => {
                "`dbt-lease generate --list` says what each is for; dbt-lease.yml says what is lent"
                    .to_owned()
            }
            Self::Unquotable { .. } => "rename it, or write that part by hand".to_owned(),
            Self::Several { .. } => {
                "`--write` puts each in its place; `--environment NAME` makes one".to_owned()
            }
            Self::Template { .. } => "please report it, with the shape of dbt-lease.yml".to_owned(),
        })
    }
}
