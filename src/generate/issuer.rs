//! Whose identity tokens a `jwt` role takes, and which of their claims it is bound to.
//!
//! The claims are those of the issuers' own documentation. None binds `sub` by a pattern: what it holds has changed (GitHub, July 2026), and a pattern
//! that is a little too wide is somebody else's repository. What is protected is bound to what no pull request can edit.
#![forbid(unsafe_code)]

use super::need::Need;
use super::setting::Setting;
use super::text::Text;
use crate::config::System;

/// What a claim must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Text(Text),
    False,
}

/// An issuer of identity tokens.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    /// Its `iss`, where its keys are found too.
    pub(super) url: Text,
    /// The claim that names who one is.
    pub(super) user_claim: &'static str,
    /// The claims that must hold.
    pub(super) claims: Vec<(&'static str, Bound)>,
    /// What nobody can know from here.
    pub(super) needs: Vec<Need>,
}

const BRANCH: &str = "PROTECTED_BRANCH";

/// The issuer of a CI system, for an environment; of what is none, one that is named when it is applied.
pub(super) fn of(
    system: Option<System>,
    environment: &str,
    variable: &str,
    protected: bool,
) -> Issuer {
    let mut issuer = match system {
        Some(System::GitHub) => Issuer {
            url: Text::variable("GITHUB_ISSUER"),
            user_claim: "repository_id",
            claims: vec![("repository_id", bound("GITHUB_REPOSITORY_ID"))],
            needs: vec![
                Need::open(
                    "GITHUB_REPOSITORY_ID",
                    "the repository's number: gh api repos/OWNER/NAME --jq .id",
                ),
                Need::known(
                    "GITHUB_ISSUER",
                    "https://token.actions.githubusercontent.com",
                    "the issuer; of GitHub Enterprise Server https://HOST/_services/token",
                ),
            ],
        },
        Some(System::GitLab) => Issuer {
            url: Text::variable("GITLAB_URL"),
            user_claim: "project_id",
            claims: vec![("project_id", bound("GITLAB_PROJECT_ID"))],
            needs: vec![
                Need::open(
                    "GITLAB_PROJECT_ID",
                    "the project's number: its page, or CI_PROJECT_ID of a job",
                ),
                Need::known("GITLAB_URL", "https://gitlab.com", "the GitLab"),
            ],
        },
        Some(System::Buildkite) => Issuer {
            url: Text::variable("BUILDKITE_ISSUER"),
            user_claim: "pipeline_slug",
            claims: vec![
                ("organization_slug", bound("BUILDKITE_ORGANIZATION")),
                ("pipeline_slug", bound("BUILDKITE_PIPELINE")),
            ],
            needs: vec![
                Need::open("BUILDKITE_ORGANIZATION", "the organization's slug"),
                Need::open("BUILDKITE_PIPELINE", "the pipeline's slug"),
                Need::known(
                    "BUILDKITE_ISSUER",
                    "https://agent.buildkite.com",
                    "the issuer",
                ),
            ],
        },
        Some(System::CircleCi) => Issuer {
            url: Text::variable("CIRCLE_ISSUER").then_variable("CIRCLE_ORGANIZATION_ID"),
            user_claim: "oidc.circleci.com/project-id",
            claims: vec![("oidc.circleci.com/project-id", bound("CIRCLE_PROJECT_UUID"))],
            needs: vec![
                Need::open(
                    "CIRCLE_ORGANIZATION_ID",
                    "the organization's id: its settings",
                ),
                Need::open("CIRCLE_PROJECT_UUID", "the project's id: its settings"),
                Need::known(
                    "CIRCLE_ISSUER",
                    "https://oidc.circleci.com/org/",
                    "the issuer, without the organization",
                ),
            ],
        },
        Some(System::AzureDevOps) => Issuer {
            url: Text::variable("AZURE_ISSUER").then_variable("AZURE_ORGANIZATION_ID"),
            user_claim: "sub",
            claims: vec![
                ("prj_id", bound("AZURE_PROJECT_ID")),
                ("def_id", bound("AZURE_PIPELINE_ID")),
            ],
            needs: vec![
                Need::open("AZURE_ORGANIZATION_ID", "the organization's id, a GUID"),
                Need::open("AZURE_PROJECT_ID", "the project's id, a GUID"),
                Need::open(
                    "AZURE_PIPELINE_ID",
                    "the pipeline's number: definitionId of its address",
                ),
                Need::known(
                    "AZURE_ISSUER",
                    "https://vstoken.dev.azure.com/",
                    "the issuer, without the organization",
                ),
            ],
        },
        Some(System::Bitbucket) => Issuer {
            url: Text::variable("BITBUCKET_ISSUER"),
            user_claim: "repositoryUuid",
            claims: vec![("repositoryUuid", bound("BITBUCKET_REPOSITORY_UUID"))],
            needs: vec![
                Need::open(
                    "BITBUCKET_REPOSITORY_UUID",
                    "the repository's UUID, in braces",
                ),
                Need::open(
                    "BITBUCKET_ISSUER",
                    "the issuer: OpenID Connect of the repository's settings",
                ),
            ],
        },
        Some(System::TerraformCloud | System::Jenkins | System::Kubernetes | System::Google)
        | None => {
            let subject = format!("{variable}_SUBJECT");
            return Issuer {
                url: Text::variable("JWT_ISSUER"),
                user_claim: "sub",
                claims: vec![("sub", bound(&subject))],
                needs: vec![
                    Need::open(
                        "JWT_ISSUER",
                        "the issuer of the identity tokens: their `iss`",
                    ),
                    Need::open(
                        &subject,
                        "`sub` of this environment's tokens, whole; nothing else may get such a token",
                    ),
                ],
            };
        }
    };
    if protected {
        issuer.protect(system, environment, variable);
    }
    issuer
}

impl Issuer {
    fn protect(&mut self, system: Option<System>, environment: &str, variable: &str) {
        let branch = Need {
            name: BRANCH.to_owned(),
            why: "the protected branch that production runs from".to_owned(),
            setting: Setting::Known("main".to_owned()),
            optional: false,
        };
        let heads = || Bound::Text(Text::known("refs/heads/").then_variable(BRANCH));
        let text = |text: &str| Bound::Text(Text::known(text));
        let claims: Vec<(&'static str, Bound)> = match system {
            Some(System::GitHub) => vec![
                ("environment", text(environment)),
                ("ref", heads()),
                ("ref_protected", text("true")),
            ],
            Some(System::GitLab) => vec![
                ("environment", text(environment)),
                ("ref", bound(BRANCH)),
                ("ref_type", text("branch")),
                ("ref_protected", text("true")),
            ],
            Some(System::Buildkite) => vec![("build_branch", bound(BRANCH))],
            Some(System::CircleCi) => vec![
                ("oidc.circleci.com/vcs-ref", heads()),
                ("oidc.circleci.com/ssh-rerun", Bound::False),
            ],
            Some(System::AzureDevOps) => vec![("rpo_ref", heads())],
            Some(System::Bitbucket) => {
                let deployment = format!("{variable}_DEPLOYMENT_UUID");
                self.needs.push(Need::open(
                    &deployment,
                    "the deployment environment's UUID, in braces",
                ));
                vec![
                    ("branchName", bound(BRANCH)),
                    ("deploymentEnvironmentUuid", bound(&deployment)),
                ]
            }
            _ => Vec::new(),
        };
        self.claims.extend(claims);
        self.needs.push(branch);
    }
}

fn bound(variable: &str) -> Bound {
    Bound::Text(Text::variable(variable))
}
