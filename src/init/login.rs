//! The login of an environment, by what is at hand: a CI system, a pod, the user's own token; else what is said.
#![forbid(unsafe_code)]

use std::path::Path;

use super::words;
use crate::config::{System, capital};
use crate::variables::Variables;

/// The methods that can be proposed. The others need what only their owner knows: docs/logins.md has them.
pub const METHODS: [&str; 8] = [
    "approle",
    "jwt",
    "kubernetes",
    "aws",
    "oidc",
    "token",
    "userpass",
    "ldap",
];

/// Variables and files that tell a system. Bitbucket and Azure DevOps are left out: they have one audience, so one environment alone could use it.
const SYSTEMS: [(System, &str, &str); 4] = [
    (System::GitHub, "GITHUB_ACTIONS", ".github/workflows"),
    (System::GitLab, "GITLAB_CI", ".gitlab-ci.yml"),
    (System::Buildkite, "BUILDKITE", ".buildkite"),
    (System::CircleCi, "CIRCLECI", ".circleci"),
];

/// What is at hand for logins.
#[derive(Clone, Debug, Default)]
pub struct AtHand {
    /// The CI system that gives each job an identity token.
    pub ci: Option<System>,
    /// Whether this is a pod of Kubernetes.
    pub is_pod: bool,
    /// Whether the user has a token of their own.
    pub has_token: bool,
    /// The address in the user's own variables.
    pub address: Option<String>,
}

impl AtHand {
    /// Looks at variables, and at which files a checkout has.
    pub fn look(variables: &Variables, root: &Path) -> Self {
        let set = |name: &str| variables.text(name).is_some();
        let by_variable = SYSTEMS.iter().find(|(_, name, _)| set(name));
        let by_file = || SYSTEMS.iter().find(|(.., file)| root.join(file).exists());
        // With its plugin `oidc-provider`.
        let jenkins = || set("JENKINS_URL").then_some(System::Jenkins);
        let token_file = || {
            variables
                .text("HOME")
                .is_some_and(|home| Path::new(home).join(".vault-token").is_file())
        };
        Self {
            ci: by_variable
                .map(|(system, ..)| *system)
                .or_else(jenkins)
                .or_else(|| by_file().map(|(system, ..)| *system)),
            is_pod: set("KUBERNETES_SERVICE_HOST"),
            has_token: set("BAO_TOKEN") || set("VAULT_TOKEN") || token_file(),
            address: variables
                .text("BAO_ADDR")
                .or_else(|| variables.text("VAULT_ADDR"))
                .map(str::to_owned),
        }
    }

    /// The method by which machines log in, where it is known.
    pub(super) fn for_machines(&self) -> Option<&'static str> {
        if self.ci.is_some() {
            Some("jwt")
        } else if self.is_pod {
            Some("kubernetes")
        } else {
            None
        }
    }

    /// The method by which people log in, where it is known. A token of the user's own goes to the user's own address alone.
    pub(super) fn for_people(&self, address: Option<&str>) -> Option<&'static str> {
        let is_home = self.address.is_some() && self.address.as_deref() == address;
        (self.has_token && is_home).then_some("token")
    }
}

/// `auth:` of an environment. Nothing in it is shared with another environment.
pub(super) fn written(method: &str, role: &str, environment: &str, at_hand: &AtHand) -> String {
    let capital = capital(environment);
    let role_written = words::scalar(role);
    let rest = match method {
        "token" => String::new(),
        "approle" => format!(
            ", role: {role_written}, role_id_env: DBT_{capital}_ROLE_ID, secret_id_env: DBT_{capital}_SECRET_ID"
        ),
        "jwt" => {
            let token = match at_hand.ci {
                // A variable of the job, whose name the job's own file says.
                Some(System::GitLab | System::Jenkins) => {
                    format!(", token: {{env: VAULT_ID_TOKEN_{capital}}}")
                }
                _ => String::new(),
            };
            format!(", role: {role_written}{token}")
        }
        "kubernetes" => format!(
            ", role: {role_written}, token: {{file: /var/run/secrets/dbt-lease/{environment}}}"
        ),
        // Each environment its own server id, so that a request for one is none for another.
        "aws" => format!(", role: {role_written}, server_id: {environment}"),
        "userpass" | "ldap" => format!(", username: {role_written}"),
        _ => format!(", role: {role_written}"),
    };
    format!("{{method: {method}{rest}}}")
}
