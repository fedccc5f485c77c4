//! What can be generated, and where it goes.
#![forbid(unsafe_code)]

/// What can be generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Policies.
    VaultPolicy,
    /// Login roles.
    VaultAuth,
    /// Database roles, and their SQL.
    VaultDatabase,
    /// All three.
    VaultSetup,
    /// make.
    Makefile,
    /// just.
    Justfile,
    /// Aliases.
    ShellAlias,
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
    /// Buildkite.
    Buildkite,
    /// CircleCI.
    CircleCi,
    /// Azure Pipelines.
    Azure,
    /// pre-commit.
    PreCommit,
}

/// All kinds.
pub const KINDS: [Kind; 13] = [
    Kind::VaultPolicy,
    Kind::VaultAuth,
    Kind::VaultDatabase,
    Kind::VaultSetup,
    Kind::Makefile,
    Kind::Justfile,
    Kind::ShellAlias,
    Kind::GitHub,
    Kind::GitLab,
    Kind::Buildkite,
    Kind::CircleCi,
    Kind::Azure,
    Kind::PreCommit,
];

impl Kind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::VaultPolicy => "vault-policy",
            Self::VaultAuth => "vault-auth",
            Self::VaultDatabase => "vault-database",
            Self::VaultSetup => "vault-setup",
            Self::Makefile => "makefile",
            Self::Justfile => "justfile",
            Self::ShellAlias => "shell-alias",
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Buildkite => "buildkite",
            Self::CircleCi => "circleci",
            Self::Azure => "azure",
            Self::PreCommit => "pre-commit",
        }
    }

    /// The kind of a name.
    pub fn of(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.name() == name)
    }

    /// What it is for.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::VaultPolicy => "the least policy of each environment, HCL for Vault's owner",
            Self::VaultAuth => "the login role of each environment, a script for Vault's owner",
            Self::VaultDatabase => {
                "database roles, and the SQL that they stand on, a script for Vault's owner"
            }
            Self::VaultSetup => {
                "policies, login roles and database roles in one script, or as Terraform (--format terraform)"
            }
            Self::Makefile => "a rule for each target, to be included by your Makefile",
            Self::Justfile => "a recipe for each target, to be imported by your justfile",
            Self::ShellAlias => "dbt and a function for each target in bash, zsh or fish (--shell)",
            Self::GitHub => "a workflow of GitHub Actions",
            Self::GitLab => "a pipeline of GitLab CI",
            Self::Buildkite => "a pipeline of Buildkite",
            Self::CircleCi => "a pipeline of CircleCI",
            Self::Azure => "a pipeline of Azure DevOps",
            Self::PreCommit => "hooks that keep credentials out, and what is generated fresh",
        }
    }
}
