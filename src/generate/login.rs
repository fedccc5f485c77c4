//! What the owner of Vault makes for an environment's login.
#![forbid(unsafe_code)]

use serde::Serialize;

use super::issuer::{self, Bound};
use super::need::Need;
use super::setting::Setting;
use super::text::{self, Text};
use super::{Options, Project, quote};
use crate::config::{Auth, Environment, OidcMode, PasswordKind, System, capital};

/// A login, for templates.
#[derive(Debug, Serialize)]
pub(super) struct Login {
    pub(super) method: &'static str,
    pub(super) mount: String,
    pub(super) slug: String,
    /// The user's name, where one logs in by that.
    pub(super) user: text::Written,
    pub(super) audience: text::Written,
    /// The same where a CI system fills `$VAULT_ADDR`.
    pub(super) audience_ci: String,
    pub(super) issuer: text::Written,
    pub(super) user_claim: &'static str,
    pub(super) claims: Vec<Claim>,
    /// The variable that `id_tokens` of GitLab sets.
    pub(super) token_variable: String,
    pub(super) redirect: String,
    pub(super) callback_mode: &'static str,
    pub(super) server_id: String,
    /// Whether a machine can log in so.
    pub(super) for_machines: bool,
}

/// A claim that must hold.
#[derive(Debug, Serialize)]
pub(super) struct Claim {
    name: &'static str,
    /// None: it must be false.
    value: Option<text::Written>,
}

/// Whether dbt-lease.yml names a role of Vault's with such a login, and no user.
pub(super) fn has_roles(auth: &Auth) -> bool {
    match auth {
        Auth::AppRole(_)
        | Auth::Aws(_)
        | Auth::Cert(_)
        | Auth::Jwt(_)
        | Auth::Kubernetes(_)
        | Auth::Oidc(_) => true,
        Auth::Command(_) | Auth::Generic(_) | Auth::Okta(_) | Auth::Password(_) | Auth::Token => {
            false
        }
    }
}

/// Whether a CI system sets the variable by itself, or the generated job does.
pub(super) fn is_of_a_system(name: &str) -> bool {
    [
        "VAULT_ID_TOKEN",
        "TFC_WORKLOAD_IDENTITY_TOKEN",
        "BITBUCKET_STEP_OIDC_TOKEN",
    ]
    .iter()
    .any(|known| name.starts_with(known))
}

impl Login {
    /// The login, and what is asked for at the top for it.
    pub(super) fn of(
        project: &Project<'_>,
        options: &Options,
        environment: &Environment,
        variable: &str,
        role: &str,
        address: &str,
    ) -> (Self, Vec<Need>) {
        let auth = environment.auth.as_ref();
        let configured = auth.map_or("approle", Auth::method);
        let method = options.method.unwrap_or(configured);
        // Another method than dbt-lease.yml has is at its own mount.
        let auth = auth.filter(|auth| auth.method() == method);
        let mount = auth.and_then(Auth::mount).unwrap_or(method).to_owned();
        let mut login = Self {
            method,
            slug: quote::slug(&mount, '_'),
            mount,
            user: Text::known(role).written(),
            audience: Text::default().written(),
            audience_ci: String::new(),
            issuer: Text::default().written(),
            user_claim: "",
            claims: Vec::new(),
            token_variable: String::new(),
            redirect: String::new(),
            callback_mode: "",
            server_id: String::new(),
            for_machines: !matches!(method, "oidc" | "okta" | "token" | "command"),
        };
        let needs = match method {
            "jwt" => login.identity_token(project, options, environment, variable, address, auth),
            "kubernetes" => vec![
                Need::known(
                    "K8S_HOST",
                    "https://kubernetes.default.svc",
                    "the cluster's API, as Vault reaches it",
                ),
                Need::open("K8S_CA", "a file with the authority of the cluster's API, PEM; empty: Vault runs in the cluster").optional(),
                Need::known(
                    &format!("{variable}_K8S_NAMESPACE"),
                    &environment.name,
                    &format!(
                        "{}: the pods' namespace, where nobody else may make pods",
                        environment.name
                    ),
                ),
                Need::known(
                    &format!("{variable}_K8S_ACCOUNT"),
                    "dbt",
                    &format!("{}: the pods' service account", environment.name),
                ),
            ],
            "cert" => vec![Need::open(
                &format!("{variable}_CLIENT_CA"),
                &format!(
                    "{}: a file with the authority of its client certificates, PEM",
                    environment.name
                ),
            )],
            "aws" => {
                if let Some(Auth::Aws(aws)) = auth {
                    login.server_id = aws.server_id.clone().unwrap_or_default();
                }
                vec![Need::open(
                    &format!("{variable}_PRINCIPAL_ARN"),
                    &format!(
                        "{}: the IAM role that dbt runs as, arn:aws:iam::ACCOUNT:role/NAME",
                        environment.name
                    ),
                )]
            }
            "oidc" => {
                let (mode, port) = match auth {
                    Some(Auth::Oidc(oidc)) => (oidc.mode, oidc.port),
                    _ => (OidcMode::Browser, 8250),
                };
                (login.callback_mode, login.redirect) = match mode {
                    OidcMode::Browser => {
                        ("client", format!("http://localhost:{port}/oidc/callback"))
                    }
                    OidcMode::Direct => ("direct", String::new()),
                    OidcMode::Device => ("device", String::new()),
                };
                vec![
                    Need::open(
                        "OIDC_DISCOVERY_URL",
                        "the provider; empty: auth is configured already",
                    )
                    .optional(),
                    Need::open("OIDC_CLIENT_ID", "Vault's client id at the provider").optional(),
                    Need::open(
                        "OIDC_CLIENT_SECRET",
                        "Vault's client secret at the provider",
                    )
                    .optional(),
                    Need::known(
                        "OIDC_GROUPS_CLAIM",
                        "groups",
                        "the claim that holds a person's groups",
                    ),
                    Need::known(
                        &format!("{variable}_GROUP"),
                        role,
                        &format!("{}: the group of those who may run it", environment.name),
                    ),
                ]
            }
            "userpass" | "ldap" | "okta" => {
                let said = match auth {
                    Some(Auth::Password(password)) if password.kind == PasswordKind::UserPass => {
                        password.username.literal()
                    }
                    _ => None,
                };
                let name = match method {
                    "userpass" => format!("{variable}_USER"),
                    _ => format!("{variable}_GROUP"),
                };
                login.user = Text::variable(&name).written();
                let what = if method == "userpass" {
                    "its user"
                } else {
                    "the group of those who may run it"
                };
                let mut needs = vec![Need::known(
                    &name,
                    said.unwrap_or(role),
                    &format!("{}: {what}", environment.name),
                )];
                if method == "userpass" {
                    needs.push(
                        Need::open(
                            &format!("{variable}_USER_PASSWORD"),
                            &format!(
                                "{}: the password of a user that is not there yet",
                                environment.name
                            ),
                        )
                        .optional(),
                    );
                }
                needs
            }
            _ => Vec::new(),
        };
        (login, needs)
    }

    fn identity_token(
        &mut self,
        project: &Project<'_>,
        options: &Options,
        environment: &Environment,
        variable: &str,
        address: &str,
        auth: Option<&Auth>,
    ) -> Vec<Need> {
        let jwt = match auth {
            Some(Auth::Jwt(jwt)) => Some(jwt),
            _ => None,
        };
        let said = jwt.filter(|jwt| jwt.token.is_said());
        let system = match (options.ci, said) {
            (Some(system), _) => Some(system),
            (None, Some(jwt)) => jwt.token.system,
            (None, None) => project.ci.or(Some(System::GitHub)),
        };
        let named = jwt
            .filter(|jwt| jwt.audience_is_said)
            .and_then(|jwt| jwt.audience.clone());
        self.audience_ci = match &named {
            Some(audience) => audience.clone(),
            None if address.is_empty() => format!("$VAULT_ADDR/{}", environment.name),
            None => format!("{address}/{}", environment.name),
        };
        let audience = match (system.and_then(System::fixed_audience), named) {
            (Some(fixed), _) => Text::known(fixed),
            (_, Some(audience)) => Text::known(audience),
            (_, None) if address.is_empty() => {
                Text::variable("ADDRESS").then(format!("/{}", environment.name))
            }
            (_, None) => Text::known(format!("{address}/{}", environment.name)),
        };
        self.audience = audience.written();
        self.token_variable = format!("VAULT_ID_TOKEN_{}", capital(&environment.name));
        let issuer = issuer::of(system, &environment.name, variable, environment.protected);
        self.issuer = issuer.url.written();
        self.user_claim = issuer.user_claim;
        self.claims = issuer
            .claims
            .iter()
            .map(|(name, bound)| Claim {
                name,
                value: match bound {
                    Bound::Text(text) => Some(text.written()),
                    Bound::False => None,
                },
            })
            .collect();
        let mut needs = issuer.needs;
        if address.is_empty() {
            needs.push(Need {
                name: "ADDRESS".to_owned(),
                why: "this Vault's address, as dbt-lease has it".to_owned(),
                setting: Setting::Variable("VAULT_ADDR".to_owned(), None),
                optional: false,
            });
        }
        needs
    }
}
