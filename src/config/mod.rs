//! dbt-lease.yml: the types that the rest of the tool reads, after validation.
//!
//! [`Config::find`] finds the file, [`Config::load`] reads it: every mistake in it is a [`ConfigError`] with its line. What
//! stands in a loaded [`Config`] keeps the isolation rules, holds no secret, and names files by absolute paths.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

mod auth;
mod duration;
pub mod engines;
mod error;
mod expect;
mod extends;
mod fingerprint;
mod isolation;
mod lines;
mod literal;
mod load;
mod names;
mod path;
#[cfg(test)]
mod refusals;
mod schema;
mod server;
mod target;
mod template;
#[cfg(test)]
mod tests;
mod walk;

pub use crate::place::Place;
pub use auth::{
    Across, AppRole, Auth, Aws, Cert, Datum, Generic, How, IdentityToken, Jwt, Kubernetes, Oidc,
    OidcMode, Okta, OktaFactor, Password, PasswordKind, Printed, RoleId, SecretId, Source, System,
    Text, capital,
};
pub use duration::parse as parse_duration;
pub use error::{ConfigError, Twice};
pub use names::{BridgeName, bridge_name, login_variables};
pub use schema::schema;
pub use server::{
    ClientPem, Header, Proxies, Proxy, RateLimit, Server, host_and_port, is_loopback,
    is_this_machines, names_port, own_addresses,
};
pub(crate) use walk::{is_variable_name, nearest};

/// dbt-lease.yml.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The path under which it was found; it may be a link.
    pub named: PathBuf,
    /// The file that this leads to, absolute.
    pub file: PathBuf,
    /// The files that it extends, the nearest first.
    pub extends: Vec<PathBuf>,
    /// SHA-256 of what the file and those say, in hexadecimal: what trust is tied to. Where the file lies does not count.
    pub fingerprint: String,
    /// The environments, in the file's order.
    pub environments: Vec<Environment>,
}

/// A trust zone: one login identity, its own roles and paths.
#[derive(Clone, Debug, PartialEq)]
pub struct Environment {
    /// Its key under `environments`.
    pub name: String,
    /// Its targets must be named by the user, and more (DESIGN, "Protected means").
    pub protected: bool,
    /// Whether a crash of the command may leave a core file; by default where it is not protected.
    pub child_core_dumps: bool,
    /// How to reach its Vault: the environment's keys over `vault:` over Vault's variables. None where no address is said
    /// anywhere, which only matters once something is lent.
    pub server: Option<Server>,
    /// What the file itself says of that server, for people: key and value. Vault's variables are not in it.
    pub says: Vec<(&'static str, String)>,
    /// Its login; always there when one of its targets lends.
    pub auth: Option<Auth>,
    /// Its targets, in the file's order.
    pub targets: Vec<Target>,
    /// Where it stands.
    pub at: Place,
    /// Where its login stands, or the environment itself.
    pub auth_at: Place,
}

/// A target of an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its key under `targets`.
    pub key: String,
    /// Another profile's name (`{profile: P, target: T}`); none for a target of the project's own profile.
    pub profile: Option<String>,
    /// The target's name in profiles.yml.
    pub target: String,
    /// What is lent for it.
    pub lending: Lending,
    /// `expect:`: what the output must say before anything is lent.
    pub expect: Expect,
    /// Where it stands.
    pub at: Place,
}

/// `expect:`: where the output must lead. What is not given is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    /// `host:`
    pub host: Option<String>,
    /// `port:`
    pub port: Option<u16>,
    /// `sslmode:`
    pub sslmode: Option<String>,
    /// Where it stands; none without it.
    pub at: Option<Place>,
}

/// What a target needs from Vault.
#[derive(Clone, Debug, PartialEq)]
pub enum Lending {
    /// `none`: nothing.
    None,
    /// Secrets.
    Lent(Lent),
}

/// The secrets of a target, and where their fields go.
#[derive(Clone, Debug, PartialEq)]
pub struct Lent {
    /// At least one, in the file's order.
    pub secrets: Vec<LentSecret>,
    /// `env:`: a variable and the template of its value, in the file's order.
    pub env: Vec<Bridge>,
    /// `fields:`: a key path of the output (dotted) and its value, in the file's order.
    pub fields: Vec<(String, FieldValue)>,
    /// How it is handed to dbt.
    pub delivery: Delivery,
    /// What becomes of dbt's parse cache.
    pub parse_cache: ParseCache,
}

/// One secret of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct LentSecret {
    /// What is asked of Vault.
    pub request: SecretRequest,
    /// How long the lease is to live; the engine's own default where it is not said. Reading takes no TTL: a renewal gives it.
    pub ttl: Option<Duration>,
    /// The KV version, where it is KV; none where the engine is not said.
    pub engine: Option<KvEngine>,
    /// Where its path stands.
    pub at: Place,
}

/// A KV secrets engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvEngine {
    /// `engine: kv1`
    V1,
    /// `engine: kv2`, or a literal `MOUNT/data/…` path
    V2,
}

/// One variable of `env:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// The template of its value.
    pub template: String,
    /// Where it stands.
    pub at: Place,
}

/// What a key of `fields:` gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// What this template gives.
    Text(String),
    /// The path of a 0600 file that holds what this template gives.
    File(String),
}

/// How leased values reach dbt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In the private profiles.yml (and `env:` in variables too).
    File,
    /// In variables alone; the private profiles.yml holds no secret.
    Env,
}

/// What becomes of dbt's parse cache when a lease brings a new user name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParseCache {
    /// It is kept, where that is known to be right.
    Keep,
    /// It is left alone.
    #[default]
    Off,
}

impl Config {
    /// All targets with their environments, in the file's order.
    pub fn targets(&self) -> impl Iterator<Item = (&Environment, &Target)> {
        self.environments.iter().flat_map(|environment| {
            environment
                .targets
                .iter()
                .map(move |target| (environment, target))
        })
    }
}

impl Target {
    /// Whether this entry means that target of that profile: a key under `targets` is a target of the project's own
    /// profile, `{profile, target}` of the profile that it names; never is another profile's matched by the target's name
    /// alone.
    ///
    /// `own_profile` is the profile that dbt_project.yml names; without it only entries that name their profile can match.
    pub fn is(&self, profile: &str, target: &str, own_profile: Option<&str>) -> bool {
        self.target == target && self.profile.as_deref().or(own_profile) == Some(profile)
    }
}

impl LentSecret {
    /// Whether Vault may answer with a lease that is to be given back. Only the answer tells; known beforehand is that KV and
    /// static roles (`MOUNT/static-creds/…`, `MOUNT/static-cred/…`) have none, and what [`engines`] says of the others.
    pub fn may_lease(&self) -> bool {
        match self.request.known {
            Some(known) => known.may_lease(),
            None => {
                self.engine.is_none()
                    && !self
                        .request
                        .path
                        .split('/')
                        .any(|segment| segment == "static-creds" || segment == "static-cred")
            }
        }
    }

    /// Whether such a lease may be renewed.
    pub fn may_renew(&self) -> bool {
        match self.request.known {
            Some(known) => known.lease == engines::Leased::Renewable,
            None => self.may_lease(),
        }
    }

    /// Whether a wanted life is a matter of the request; otherwise a renewal of the lease gives it.
    pub fn asks_for_ttl(&self) -> bool {
        self.request.known.is_some_and(|known| known.takes_ttl)
    }

    /// What is asked of Vault for a wanted life.
    pub fn request_for(&self, ttl: Option<Duration>) -> SecretRequest {
        let mut request = self.request.clone();
        let Some(ttl) = ttl.filter(|_| self.asks_for_ttl()) else {
            return request;
        };
        let text = format!("{}s", ttl.as_secs());
        match &mut request.operation {
            Operation::Read => request.query.push(("ttl", text)),
            Operation::Write(body) => {
                body.insert("ttl".to_owned(), text.into());
            }
        }
        request
    }
}

/// One secret of a target as it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretRequest {
    /// Its name in dbt-lease.yml, `warehouse` in the short form.
    pub name: String,
    /// The API path below `/v1/`, canonical, with the `data/` of KV v2 where it is one.
    pub path: String,
    /// How it is asked for.
    pub operation: Operation,
    /// Where the fields stand in the answer.
    pub shape: Shape,
    /// What a read asks for beside its path.
    pub query: Vec<(&'static str, String)>,
    /// What is known of the path.
    pub known: Option<&'static engines::EnginePath>,
}

/// How a secret is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Operation {
    /// GET
    Read,
    /// POST with this body (`data:` in dbt-lease.yml).
    Write(serde_json::Map<String, serde_json::Value>),
}

/// Where a secret's fields stand in Vault's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `data`
    Plain,
    /// `data.data`: KV version 2.
    KvV2,
}
