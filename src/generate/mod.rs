//! Files for others, from the project's own plan: policies and roles for Vault's owner, rules for make and just, jobs for CI systems.
//!
//! Pure: everything that a template says comes from dbt-lease.yml and the outputs of its targets, and is the same on every machine. What cannot be known
//! stands as one named variable at the top. Each file says in its head what made it and from what, so that [`head`] can tell whether it would still be made so.
#![forbid(unsafe_code)]

mod connection;
mod database;
mod error;
mod facts;
pub mod head;
mod issuer;
mod kind;
mod login;
mod need;
pub mod quote;
mod setting;
mod templates;
mod text;

use std::path::PathBuf;

pub use error::GenerateError;
pub use kind::{KINDS, Kind};

use crate::config::{Config, System};
use crate::dbt::Profile;

/// What is known of a project.
pub struct Project<'a> {
    /// Its name, as dbt_project.yml has it.
    pub name: &'a str,
    /// Its directory below the repository's, with `/`; empty where they are one.
    pub below: String,
    /// dbt-lease.yml.
    pub config: &'a Config,
    /// The output of each of its targets, in the order of [`Config::targets`]; none where profiles.yml is not to be had.
    pub outputs: Vec<Option<Profile>>,
    /// The file that pip installs dbt from, where the project has one.
    pub requirements: Option<&'a str>,
    /// The CI system whose files the repository has.
    pub ci: Option<System>,
}

/// What the user chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// These environments alone; all where it is empty.
    pub environments: Vec<String>,
    /// `--format`
    pub format: Format,
    /// `--ci`
    pub ci: Option<System>,
    /// `--method`
    pub method: Option<&'static str>,
    /// `--shell`
    pub shell: Shell,
}

/// The form of `vault-setup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A script for `bao` or `vault`.
    #[default]
    Shell,
    /// HCL.
    Terraform,
}

/// Whose aliases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shell {
    /// bash
    #[default]
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// The methods whose roles can be made, as dbt-lease.yml names them.
pub const METHODS: [&str; 9] = [
    "approle",
    "aws",
    "cert",
    "jwt",
    "kubernetes",
    "ldap",
    "oidc",
    "okta",
    "userpass",
];

/// A file that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where it goes, below the repository's directory or the project's.
    pub path: PathBuf,
    /// Whether that is the repository's: CI systems look there.
    pub at_root: bool,
    /// Whether it is a program.
    pub executable: bool,
    /// All of it, with its head.
    pub text: String,
}

impl Shell {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}

/// Makes the files of a kind.
///
/// # Errors
/// There is nothing to make it of, or a name cannot stand in it.
pub fn generate(
    kind: Kind,
    options: &Options,
    project: &Project<'_>,
) -> Result<Vec<Made>, GenerateError> {
    let facts = facts::gather(project, options)?;
    let nothing = |why: &str| {
        Err(GenerateError::Nothing {
            why: why.to_owned(),
        })
    };
    if facts.zones.is_empty()
        && !matches!(
            kind,
            Kind::Makefile | Kind::Justfile | Kind::ShellAlias | Kind::PreCommit
        )
    {
        return nothing("no environment of dbt-lease.yml lends anything");
    }
    if kind == Kind::VaultDatabase && facts.zones.iter().all(|zone| zone.connections.is_empty()) {
        return nothing(
            "no target lends from the database engine for an adapter whose statements are known",
        );
    }
    let said = head::said(kind, options);
    let mut made = Vec::new();
    for part in templates::fill(kind, options, &facts)? {
        made.push(Made {
            text: head::with(&said, &facts.project, &part.text),
            path: part.path,
            at_root: part.at_root,
            executable: part.executable,
        });
    }
    Ok(made)
}
