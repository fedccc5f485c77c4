//! A login that worked, and what is known by it.
#![forbid(unsafe_code)]

use std::rc::Rc;

use super::finding::{Cure, is_plain, quoted};
use crate::config::{Auth, Environment, Lending, LentSecret, SecretId, Server};
use crate::plan::policy;
use crate::vault::auth::Token;
use crate::vault::client::Client;
use crate::vault::error::VaultError;

/// An environment whose identity is here.
pub(super) struct Visit<'a> {
    pub(super) environment: &'a Environment,
    pub(super) server: &'a Server,
    pub(super) auth: &'a Auth,
    pub(super) client: Rc<Client>,
    pub(super) token: Token,
}

/// All secrets of an environment.
pub(super) fn secrets(environment: &Environment) -> impl Iterator<Item = &LentSecret> {
    environment
        .targets
        .iter()
        .filter_map(|target| match &target.lending {
            Lending::Lent(lent) => Some(&lent.secrets),
            Lending::None => None,
        })
        .flatten()
}

/// What `check` itself asks with, beside what a run needs.
pub(super) const OF_CHECK: &str = "path \"sys/capabilities-self\" {\n  capabilities = [\"update\"]\n}\n\npath \"auth/token/lookup-self\" {\n  capabilities = [\"read\"]\n}\n";

/// The policy line for what `check` asks first.
pub(super) const CAPABILITIES: &str =
    "path \"sys/capabilities-self\" { capabilities = [\"update\"] }";

/// The command that makes a new secret id, and puts it where the login reads it.
pub(super) fn new_secret_id(secret_id: &SecretId, role_path: &str) -> String {
    let issue = format!("bao write -f -field=secret_id {role_path}/secret-id");
    match secret_id {
        SecretId::File(file) => format!(
            "(umask 077; {issue} > {})",
            quoted(&file.display().to_string())
        ),
        SecretId::Variable(name) => format!("export {name}=\"$({issue})\""),
        SecretId::Command(_) | SecretId::WrappedFile(_) | SecretId::WrappedVariable(_) => issue,
    }
}

/// One key of a login's role, as a write takes it that leaves the others as they are.
pub(super) fn role_data(auth: &Auth, key: &str, value: serde_json::Value) -> serde_json::Value {
    match auth {
        // Without it a write to an existing role is taken for one of a browser's.
        Auth::Jwt(_) => serde_json::json!({"role_type": "jwt", key: value}),
        _ => serde_json::json!({key: value}),
    }
}

impl Visit<'_> {
    /// The login role's name, as dbt-lease.yml or the server says it.
    pub(super) fn role_name(&self) -> Option<String> {
        let told = |wanted: &str| {
            let told = self.token.identity.iter();
            told.filter(|(name, _)| name == wanted)
                .map(|(_, value)| value.clone())
                .find(|value| is_plain(value))
        };
        match self.auth {
            Auth::AppRole(_) => told("role_name").or(self.auth.said_role().map(str::to_owned)),
            Auth::Cert(_) => self.auth.role().map(str::to_owned).or(told("cert_name")),
            auth => auth.role().map(str::to_owned),
        }
    }

    /// Where the login's role is written.
    pub(super) fn role_path(&self) -> Option<String> {
        let mount = self.auth.mount()?;
        let kind = match self.auth {
            Auth::Cert(_) => "certs",
            Auth::Password(_) | Auth::Okta(_) => "users",
            Auth::Generic(_) | Auth::Command(_) | Auth::Token => return None,
            _ => "role",
        };
        Some(format!("auth/{mount}/{kind}/{}", self.role_name()?))
    }

    /// What cures a refusal: the policy lines that were missing, where it is one; else what is known of the error.
    pub(super) fn cure(&self, error: &VaultError, lines: impl Into<String>) -> Option<Cure> {
        match error.code() {
            Some(403) => Some(Cure::Policy {
                name: self.policy_name(),
                lines: lines.into(),
            }),
            _ => error.hint().map(Cure::Action),
        }
    }

    /// The policy that is the environment's own, for cures: its token's only one, or what it should be called.
    pub(super) fn policy_name(&self) -> String {
        let mut own = self
            .token
            .policies
            .iter()
            .filter(|name| !["default", "root"].contains(&name.as_str()) && is_plain(name));
        match (own.next(), own.next()) {
            (Some(only), None) => only.clone(),
            _ => format!("dbt-{}", self.environment.name),
        }
    }

    /// What the environment's runs and `check` need, and no more.
    pub(super) fn least_policy(&self) -> String {
        let secrets: Vec<LentSecret> = secrets(self.environment).cloned().collect();
        let least = policy::least(self.auth, &secrets);
        if least.contains("\"auth/token/lookup-self\"") {
            let own = OF_CHECK.split("\n\n").next().unwrap_or_default();
            return format!("{least}\n{own}\n");
        }
        format!("{least}\n{OF_CHECK}")
    }
}
