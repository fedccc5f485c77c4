//! The shapes of `plan --json`, and the same as a table for people.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use serde::Serialize;

use super::{Lease, Plan};
use crate::config::engines::EnginePath;
use crate::config::{Auth, Delivery, Lent, LentSecret};
use crate::dbt::Profile;

/// `project` of the JSON.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectView {
    /// `name:` of dbt_project.yml.
    pub name: String,
    /// Its directory, absolute.
    pub dir: PathBuf,
}

/// `login` of the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoginView {
    /// `approle`, `jwt`, …
    pub method: &'static str,
    /// Where it is mounted, below `auth/`; a token has none.
    pub mount: Option<String>,
    /// The role's name where dbt-lease.yml says it, else its literal id; the user's name where one logs in by that.
    pub role: Option<String>,
}

/// An entry of `secrets` of the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecretView {
    /// Its name in dbt-lease.yml.
    pub name: String,
    /// The API path below `/v1/`.
    pub path: String,
    /// What ends it, where no revocation does; the key is absent elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<&'static str>,
}

/// `delivery` of the JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryView {
    /// In the private profiles.yml.
    File,
    /// In variables.
    Env,
}

/// An entry of `requests` of the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// `GET`, `POST` or `PUT`.
    pub method: &'static str,
    /// The API path below `/v1/`.
    pub path: String,
}

impl LoginView {
    pub(super) fn of(auth: &Auth) -> Self {
        Self {
            method: auth.method(),
            mount: auth.mount().map(str::to_owned),
            role: auth.role().map(str::to_owned),
        }
    }
}

/// `parse_cache` of the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParseCacheView {
    /// `warm`: dbt will not parse everything because of the lease; `cold`: it may.
    pub state: &'static str,
    /// Why.
    pub why: String,
}

/// A further profile of the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherView {
    /// The profile's name.
    pub profile: String,
    /// The target's name.
    pub target: String,
    /// The target's secrets; none for a target that is `none`.
    pub secrets: Vec<SecretView>,
    /// How they reach the command.
    pub delivery: Option<DeliveryView>,
}

impl OtherView {
    pub(super) fn of(profile: &Profile, lent: Option<&Lent>) -> Self {
        Self {
            profile: profile.name.clone(),
            target: profile.target.clone(),
            secrets: lent
                .map(|lent| lent.secrets.iter().map(SecretView::of).collect())
                .unwrap_or_default(),
            delivery: lent.map(|lent| DeliveryView::of(lent.delivery)),
        }
    }
}

impl SecretView {
    pub(super) fn of(secret: &LentSecret) -> Self {
        Self {
            name: secret.request.name.clone(),
            path: secret.request.path.clone(),
            ends: secret.request.known.and_then(EnginePath::ends),
        }
    }

    fn row(&self) -> String {
        match self.ends {
            Some(ends) => format!("{}: {} ({ends})", self.name, self.path),
            None => format!("{}: {}", self.name, self.path),
        }
    }
}

impl DeliveryView {
    pub(super) fn of(delivery: Delivery) -> Self {
        match delivery {
            Delivery::File => Self::File,
            Delivery::Env => Self::Env,
        }
    }
}

impl Plan {
    /// The plan as rows of a table: a word, and what is said of it; in a row of several lines each is one.
    ///
    /// The policy is left out, since it is for pasting: [`Plan::policy`].
    pub fn rows(&self) -> Vec<(&'static str, Vec<String>)> {
        let from = |key: &str, value: String| match self.sources.get(key) {
            Some(said) => format!("{value} ({said})"),
            None => value,
        };
        let mut rows = Vec::new();
        if let Some(project) = &self.project {
            rows.push((
                "project",
                vec![from(
                    "project",
                    format!("{} in {}", project.name, project.dir.display()),
                )],
            ));
        }
        if let Some(file) = &self.profiles_file {
            rows.push((
                "profiles file",
                vec![from("profiles_dir", file.display().to_string())],
            ));
        }
        if let Some(profile) = &self.profile {
            rows.push(("profile", vec![from("profile", profile.clone())]));
        }
        if let Some(target) = &self.target {
            rows.push(("target", vec![from("target", target.clone())]));
        }
        if let Some(environment) = &self.environment {
            let protected = if self.protected == Some(true) {
                ", protected"
            } else {
                ""
            };
            rows.push((
                "environment",
                vec![from("environment", format!("{environment}{protected}"))],
            ));
        }
        let lease = match (self.lease, &self.environment) {
            (Lease::Needed, _) => "needed",
            (Lease::Placeholder, _) => {
                "not needed: the command does not connect, placeholders will do"
            }
            (Lease::None, Some(_)) => "not needed: the target is `none`",
            (Lease::None, None) => "not needed: the command reads no profile",
        };
        rows.push(("lease", vec![lease.to_owned()]));
        if let Some(login) = &self.login {
            let mount = login
                .mount
                .as_ref()
                .map(|mount| format!(" at auth/{mount}"))
                .unwrap_or_default();
            let role = login
                .role
                .as_ref()
                .map(|role| format!(", role {role}"))
                .unwrap_or_default();
            rows.push((
                "login",
                vec![from("login", format!("{}{mount}{role}", login.method))],
            ));
        }
        if let Some(address) = self.sources.get("address") {
            rows.push(("vault", vec![address.clone()]));
        }
        let secrets = self.secrets.iter().flatten().map(SecretView::row);
        rows.push(("secrets", secrets.collect()));
        for other in &self.others {
            let secrets = other.secrets.iter();
            let secrets = secrets.map(SecretView::row);
            let lines = std::iter::once(format!("{}, target {}", other.profile, other.target));
            rows.push(("also", lines.chain(secrets).collect()));
        }
        if let Some(delivery) = self.delivery {
            let said = match delivery {
                DeliveryView::File => "file: in the private profiles.yml",
                DeliveryView::Env => "env: in variables alone",
            };
            rows.push(("delivery", vec![said.to_owned()]));
        }
        if let Some(cache) = &self.parse_cache {
            rows.push((
                "parse cache",
                vec![format!("{}: {}", cache.state, cache.why)],
            ));
        }
        if let Some(client) = &self.client {
            let said = format!("{} gets {}", client.program, client.variables.join(", "));
            rows.push(("client", vec![said]));
        }
        let requests = self
            .requests
            .iter()
            .flatten()
            .map(|request| format!("{} {}", request.method, request.path));
        rows.push(("requests", requests.collect()));
        rows.retain(|(_, lines)| !lines.is_empty());
        rows
    }
}
