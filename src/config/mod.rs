//! dbt-lease.yml: the types that the rest of the tool reads, after validation.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

/// How to reach one Vault: dbt-lease.yml and Vault's own variables, merged for one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `https://host:port`, `http://…` or `unix:///path`, without a trailing slash.
    pub address: String,
    /// The namespace, sent as `X-Vault-Namespace`.
    pub namespace: Option<String>,
    /// A PEM file of certificate authorities; then the machine's own roots are not loaded.
    pub ca_cert: Option<PathBuf>,
    /// A directory of PEM files.
    pub ca_path: Option<PathBuf>,
    /// A client certificate, PEM.
    pub client_cert: Option<PathBuf>,
    /// Its key, PEM.
    pub client_key: Option<PathBuf>,
    /// The name to verify in the server's certificate, where it is not the address's host.
    pub tls_server_name: Option<String>,
    /// Do not verify the server's certificate.
    pub skip_verify: bool,
    /// A bound on each request, from start to the answer's last byte.
    pub timeout: Duration,
    /// How often a request is tried again.
    pub max_retries: u32,
}

/// A login method with what it needs; one variant a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `method: approle`
    AppRole {
        /// Where the method is mounted, below `auth/`.
        mount: String,
        /// The role's id.
        role_id: RoleId,
        /// The secret id.
        secret_id: SecretId,
        /// The role's name, where given: compared with a wrapped secret id's creation path.
        role: Option<String>,
    },
    /// `method: token`: the user's own token, from BAO_TOKEN, VAULT_TOKEN or the token file. Never revoked by us.
    Token,
}

/// Where an AppRole's role id is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleId {
    /// `role_id:`, in dbt-lease.yml itself: it is not a secret.
    Literal(String),
    /// `role_id_file:`, absolute.
    File(PathBuf),
    /// `role_id_env:`
    Variable(String),
}

/// Where an AppRole's secret id is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretId {
    /// `secret_id_file:`, absolute.
    File(PathBuf),
    /// `secret_id_env:`
    Variable(String),
    /// `wrapped_secret_id_file:`, absolute: a file that holds a response-wrapping token.
    WrappedFile(PathBuf),
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
