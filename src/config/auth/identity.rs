//! Identity tokens (JWT) for a login: where they are said to be, or which CI system, file or cloud of this machine gives one.
//!
//! Only variables are looked at, and whether a file is there: which identity it would be is known before anything is asked. The order is
//! what dbt-lease.yml says, the CI system, a file that is mounted, the cloud's metadata server.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys, nearest};
use super::source::Source;
use super::{Claim, Context};

/// Where the identity token of a login comes from, and why from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityToken {
    /// How it is had.
    pub how: How,
    /// The system that gives it, where it is one that we know.
    pub system: Option<System>,
    /// Why this one: `GITHUB_ACTIONS is set`, `said by dbt-lease.yml`.
    pub why: String,
}

/// How an identity token is had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It is read, or a program prints it.
    Read(Source),
    /// The CI or cloud is asked over HTTP for one with our audience.
    Asked,
    /// There is none here.
    Nowhere,
}

/// A system that gives identity tokens to what runs in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// GitHub Actions: asked by ACTIONS_ID_TOKEN_REQUEST_URL.
    GitHub,
    /// GitLab CI: `id_tokens:` of the job, in variables.
    GitLab,
    /// Buildkite: its agent prints one.
    Buildkite,
    /// CircleCI: its program prints one.
    CircleCi,
    /// Bitbucket Pipelines: `oidc: true` of the step, in a variable.
    Bitbucket,
    /// Azure DevOps: asked by SYSTEM_OIDCREQUESTURI; its audience is fixed.
    AzureDevOps,
    /// Terraform Cloud: in variables.
    TerraformCloud,
    /// Jenkins with the plugin `oidc-provider`: in a variable.
    Jenkins,
    /// Kubernetes: a projected service account token, in a file.
    Kubernetes,
    /// Google Cloud: asked of the metadata server.
    Google,
}

pub(super) const KEYS: Keys = Keys {
    known: &["from", "file", "env", "command"],
    later: &[],
    elsewhere: &[(
        "audience",
        "it stands beside `token`: `auth: {method: jwt, audience: …}`",
    )],
};
/// Why a token is had so, where dbt-lease.yml says it.
const SAID: &str = "said by dbt-lease.yml";
const ONE: [&str; 4] = ["from", "file", "env", "command"];
const EXAMPLE: &str = "where the identity token is: `{from: github}`, `{file: FILE}`, `{env: VARIABLE}` or `{command: [PROGRAM, ARGUMENT]}`";

/// In the order in which they are looked for.
const SYSTEMS: [System; 10] = [
    System::GitHub,
    System::GitLab,
    System::Buildkite,
    System::CircleCi,
    System::Bitbucket,
    System::AzureDevOps,
    System::TerraformCloud,
    System::Jenkins,
    System::Kubernetes,
    System::Google,
];

/// Where pods of the Kubernetes documentation's own example have a token that is meant for Vault.
const PROJECTED: &str = "/var/run/secrets/tokens/vault-token";
/// Where every pod has a token for the cluster itself.
pub(super) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// What the firmware says of a virtual machine.
const PRODUCT: &str = "/sys/class/dmi/id/product_name";

/// Reads `token:`.
pub(super) fn read(
    cursor: &Cursor<'_>,
    context: &Context<'_>,
    audience: Option<&str>,
) -> Result<IdentityToken, ConfigError> {
    if cursor.is_text() {
        return Err(cursor.secret(
            "may hold the identity token itself",
            &format!("write {EXAMPLE}"),
        ));
    }
    let object = cursor.object(&KEYS, EXAMPLE)?;
    match object.one_of(&ONE, EXAMPLE)? {
        ("from", cursor) => Ok(IdentityToken::of(
            System::read(cursor)?,
            context,
            audience,
            SAID.to_owned(),
        )),
        source => Ok(IdentityToken {
            how: How::Read(Source::of(source, context)?),
            system: None,
            why: SAID.to_owned(),
        }),
    }
}

/// The names that `from:` takes.
pub(super) fn keys() -> Vec<&'static str> {
    SYSTEMS.into_iter().map(System::key).collect()
}

/// What this machine has, where dbt-lease.yml says nothing.
pub(super) fn find(context: &Context<'_>, audience: Option<&str>) -> IdentityToken {
    let found = SYSTEMS
        .into_iter()
        .find_map(|system| Some((system, system.sign(context)?)));
    match found {
        Some((system, why)) => IdentityToken::of(system, context, audience, why),
        None => IdentityToken {
            how: How::Nowhere,
            system: None,
            why: if context.variables.text("SPIFFE_ENDPOINT_SOCKET").is_some() {
                "only SPIFFE_ENDPOINT_SOCKET is set, and the Workload API itself is not spoken here"
            } else {
                "no CI system, no pod of Kubernetes, no machine of Google's"
            }
            .to_owned(),
        },
    }
}

impl IdentityToken {
    fn of(system: System, context: &Context<'_>, audience: Option<&str>, why: String) -> Self {
        let variable = |name: String| How::Read(Source::Variable(name));
        let command = |words: &[&str]| {
            How::Read(Source::Command(
                words.iter().map(|word| (*word).to_owned()).collect(),
            ))
        };
        let audience = audience.unwrap_or_default();
        let how = match system {
            System::GitHub | System::AzureDevOps | System::Google => How::Asked,
            System::GitLab | System::Jenkins => variable(of_environment(context, "VAULT_ID_TOKEN")),
            System::TerraformCloud => {
                variable(of_environment(context, "TFC_WORKLOAD_IDENTITY_TOKEN"))
            }
            System::Bitbucket => variable("BITBUCKET_STEP_OIDC_TOKEN".to_owned()),
            System::Buildkite => command(&[
                "buildkite-agent",
                "oidc",
                "request-token",
                "--audience",
                audience,
            ]),
            System::CircleCi => command(&[
                "circleci",
                "run",
                "oidc",
                "get",
                "--claims",
                &serde_json::json!({"aud": audience}).to_string(),
            ]),
            System::Kubernetes => How::Read(Source::File(PathBuf::from(
                if Path::new(PROJECTED).exists() {
                    PROJECTED
                } else {
                    SERVICE_ACCOUNT
                },
            ))),
        };
        Self {
            how,
            system: Some(system),
            why,
        }
    }

    /// For people: which, for whom, and why.
    pub fn said(&self, audience: Option<&str>) -> String {
        let whose = self
            .system
            .map(|system| format!(" of {}", system.name()))
            .unwrap_or_default();
        let place = match &self.how {
            How::Read(source) => format!(" {}", source.said()),
            How::Asked => match self.fixed_audience().or(audience) {
                Some(audience) => format!(" for the audience {audience}"),
                None => String::new(),
            },
            How::Nowhere => return format!("no identity token: {}", self.why),
        };
        format!("identity token{whose}{place} ({})", self.why)
    }

    /// Whether dbt-lease.yml says it; otherwise it depends on the machine that we are on.
    pub fn is_said(&self) -> bool {
        self.why == SAID
    }

    /// The audience that the system gives, whatever we ask for.
    pub fn fixed_audience(&self) -> Option<&'static str> {
        self.system.and_then(System::fixed_audience)
    }

    pub(super) fn variable(&self) -> Option<&str> {
        match &self.how {
            How::Read(source) => source.variable(),
            How::Asked | How::Nowhere => None,
        }
    }

    pub(super) fn claims(&self, audience: Option<&str>) -> Vec<Claim> {
        let mut claims = Vec::new();
        if let How::Read(source) = &self.how {
            claims.push(source.claim("identity token"));
        }
        // Whoever mints it: a token for one environment must not be good for another.
        if let Some(audience) = self.fixed_audience().or(audience) {
            claims.push(Claim::Audience(audience.to_owned()));
        }
        claims
    }
}

impl System {
    /// The audience that its tokens have, whatever is asked for.
    pub fn fixed_audience(self) -> Option<&'static str> {
        (self == Self::AzureDevOps).then_some("api://AzureADTokenExchange")
    }

    fn read(cursor: &Cursor<'_>) -> Result<Self, ConfigError> {
        let text = cursor.text("the name of a CI system or cloud")?;
        if let Some(system) = Self::of(text) {
            return Ok(system);
        }
        if text == "spiffe" {
            let hint = "let spiffe-helper write the token to a file: `token: {file: FILE}`; or `token: {command: [spire-agent, api, fetch, jwt, …]}` with a program that prints the token alone";
            return Err(cursor.bad("the Workload API itself is not spoken here", hint));
        }
        let known = format!("known: {}", keys().join(", "));
        let hint = match nearest(text, keys().into_iter()) {
            Some(near) => format!("did you mean `{near}`? {known}"),
            None => known,
        };
        Err(cursor.bad("no system that gives identity tokens", &hint))
    }

    /// The names of all in dbt-lease.yml.
    pub fn names() -> Vec<&'static str> {
        keys()
    }

    /// The system of a name in dbt-lease.yml.
    pub fn of(name: &str) -> Option<Self> {
        SYSTEMS.into_iter().find(|system| system.key() == name)
    }

    /// Its name in dbt-lease.yml.
    pub fn key(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Buildkite => "buildkite",
            Self::CircleCi => "circleci",
            Self::Bitbucket => "bitbucket",
            Self::AzureDevOps => "azure-devops",
            Self::TerraformCloud => "terraform-cloud",
            Self::Jenkins => "jenkins",
            Self::Kubernetes => "kubernetes",
            Self::Google => "google",
        }
    }

    /// Its own name.
    pub fn name(self) -> &'static str {
        match self {
            Self::GitHub => "GitHub Actions",
            Self::GitLab => "GitLab CI",
            Self::Buildkite => "Buildkite",
            Self::CircleCi => "CircleCI",
            Self::Bitbucket => "Bitbucket Pipelines",
            Self::AzureDevOps => "Azure DevOps",
            Self::TerraformCloud => "Terraform Cloud",
            Self::Jenkins => "Jenkins",
            Self::Kubernetes => "Kubernetes",
            Self::Google => "Google Cloud",
        }
    }

    /// What says that we run in it; none where we do not.
    fn sign(self, context: &Context<'_>) -> Option<String> {
        let set = |names: &[&'static str]| {
            names
                .iter()
                .find(|name| {
                    context
                        .variables
                        .text(name)
                        .is_some_and(|value| !value.eq_ignore_ascii_case("false"))
                })
                .map(|name| format!("{name} is set"))
        };
        match self {
            Self::GitHub => set(&["GITHUB_ACTIONS"]),
            Self::GitLab => set(&["GITLAB_CI"]),
            Self::Buildkite => set(&["BUILDKITE"]),
            Self::CircleCi => set(&["CIRCLECI"]),
            Self::Bitbucket => set(&["BITBUCKET_BUILD_NUMBER"]),
            Self::AzureDevOps => set(&["TF_BUILD"]),
            Self::TerraformCloud => set(&["TFC_RUN_ID"]),
            Self::Jenkins => set(&["JENKINS_URL"]),
            Self::Kubernetes => set(&["KUBERNETES_SERVICE_HOST"]),
            Self::Google => {
                set(&["GCE_METADATA_HOST", "K_SERVICE", "CLOUD_RUN_JOB"]).or_else(|| {
                    std::fs::read_to_string(PRODUCT)
                        .is_ok_and(|product| product.starts_with("Google"))
                        .then(|| "the firmware says so".to_owned())
                })
            }
        }
    }

    /// What to do where the variable with its token is not set.
    pub fn cure(self, variable: &str, audience: &str) -> Option<String> {
        Some(match self {
            Self::GitLab => {
                format!("give the job `id_tokens: {{{variable}: {{aud: '{audience}'}}}}`")
            }
            Self::Bitbucket => "give the step `oidc: true`".to_owned(),
            Self::TerraformCloud => format!(
                "set the workspace's variable {} to `{audience}`",
                variable.replace(
                    "TFC_WORKLOAD_IDENTITY_TOKEN",
                    "TFC_WORKLOAD_IDENTITY_AUDIENCE"
                )
            ),
            Self::Jenkins => format!(
                "bind an `OpenID Connect id token` with the audience `{audience}` to the variable {variable} (`withCredentials`)"
            ),
            _ => return None,
        })
    }
}

/// An environment's name as part of a variable's.
pub fn capital(environment: &str) -> String {
    environment
        .chars()
        .map(|character| match character.to_ascii_uppercase() {
            capital if capital.is_ascii_alphanumeric() => capital,
            _ => '_',
        })
        .collect()
}

/// `NAME_ENVIRONMENT` where that is set, or `NAME` is not: several environments can have a token each in one job.
fn of_environment(context: &Context<'_>, name: &str) -> String {
    let own = format!("{name}_{}", capital(context.environment));
    if context.variables.text(&own).is_none() && context.variables.text(name).is_some() {
        name.to_owned()
    } else {
        own
    }
}
