//! `auth:`: one file a login method, each with the keys it takes and what can be said of it before anything is asked.
#![forbid(unsafe_code)]

mod across;
mod approle;
mod aws;
mod cert;
mod command;
mod generic;
mod identity;
mod jwt;
mod kubernetes;
mod oidc;
mod okta;
mod password;
mod source;
#[cfg(test)]
mod tests;
mod token;

use std::path::{Path, PathBuf};

pub use across::Across;
pub use approle::{AppRole, RoleId, SecretId};
pub use aws::Aws;
pub use cert::Cert;
pub(super) use cert::client_certificate;
pub use command::Printed;
pub use generic::{Datum, Generic};
pub use identity::{How, IdentityToken, System, capital};
pub use jwt::Jwt;
pub use kubernetes::Kubernetes;
pub use oidc::{Oidc, OidcMode};
pub use okta::{Okta, OktaFactor};
pub use password::{Password, PasswordKind};
pub use source::{Source, Text};

use super::error::ConfigError;
use super::path;
use super::walk::{Cursor, Keys, Object, nearest};
use crate::variables::Variables;

/// A login method with what it needs; one variant a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `method: approle`
    AppRole(AppRole),
    /// `method: aws`
    Aws(Aws),
    /// `method: cert`
    Cert(Cert),
    /// `method: command`
    Command(Printed),
    /// `method: generic`
    Generic(Generic),
    /// `method: jwt`
    Jwt(Jwt),
    /// `method: kubernetes`
    Kubernetes(Kubernetes),
    /// `method: oidc`
    Oidc(Oidc),
    /// `method: okta`
    Okta(Okta),
    /// `method: userpass`, `method: ldap`
    Password(Password),
    /// `method: token`
    Token,
}

/// What works.
const METHODS: [&str; 12] = [
    "approle",
    "aws",
    "cert",
    "command",
    "generic",
    "jwt",
    "kubernetes",
    "ldap",
    "oidc",
    "okta",
    "token",
    "userpass",
];
/// What the design names.
const LATER_METHODS: [&str; 4] = ["azure", "gcp", "github", "kerberos"];

/// What a login is read in.
pub(super) struct Context<'a> {
    /// The user's home directory.
    pub(super) home: Option<&'a Path>,
    /// The process environment: what it says of the machine that we are on.
    pub(super) variables: &'a Variables,
    /// The environment's name.
    pub(super) environment: &'a str,
    /// The address of its Vault.
    pub(super) address: Option<&'a str>,
    /// The client certificate of its connection, and the key.
    pub(super) client: Option<(Source, Source)>,
}

/// What belongs to one environment alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// A mount, and who one is there.
    Role(String, Identity),
    /// What a file holds, and the file.
    File(&'static str, PathBuf),
    /// What a variable holds, and its name.
    Variable(&'static str, String),
    /// What a program prints, and how it is called.
    Command(&'static str, Vec<String>),
    /// Whom identity tokens are meant for.
    Audience(String),
    /// An AWS identity, and the server that its signed requests are good for.
    Aws {
        /// The profile; none: the machine's own.
        profile: Option<String>,
        /// The server's id.
        server_id: Option<String>,
    },
    /// VAULT_TOKEN, BAO_TOKEN, the token file: one source, the user.
    UserToken,
}

/// Who one is at a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// A role, by its name.
    Role(String),
    /// A role, by its id.
    RoleId(String),
    /// A role, by the file of its id.
    RoleIdFile(PathBuf),
    /// A role, by the variable of its id.
    RoleIdVariable(String),
    /// A user, by name.
    User(Text),
}

/// What every login can say of itself.
trait Login {
    /// Its name in dbt-lease.yml.
    fn method(&self) -> &'static str;

    /// Where it is mounted, below `auth/`.
    fn mount(&self) -> Option<&str> {
        None
    }

    /// Who one is there.
    fn role(&self) -> Option<&str> {
        None
    }

    /// The same, as far as dbt-lease.yml gives it a name.
    fn said_role(&self) -> Option<&str> {
        self.role()
    }

    /// Where what it needs is read, for people.
    fn source(&self) -> String;

    /// The variables that it reads.
    fn variables(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Its requests to Vault, method and path, in order.
    fn requests(&self) -> Vec<(&'static str, String)> {
        let mount = self.mount().unwrap_or_else(|| self.method());
        vec![("POST", format!("auth/{mount}/login"))]
    }

    /// Whether the token is there already, and is looked up instead of a login; such a one is never revoked by us.
    fn is_ready_made(&self) -> bool {
        false
    }

    /// Whether it may send a token that was the user's own before us.
    fn takes_users_token(&self) -> bool {
        false
    }

    /// What no other environment may share.
    fn claims(&self) -> Vec<Claim>;
}

impl Auth {
    /// Its name in dbt-lease.yml.
    pub fn method(&self) -> &'static str {
        self.login().method()
    }

    /// Where it is mounted, below `auth/`; a token of the user's own is mounted nowhere.
    pub fn mount(&self) -> Option<&str> {
        self.login().mount()
    }

    /// Who one is there: the role's name or literal id, the user's name.
    pub fn role(&self) -> Option<&str> {
        self.login().role()
    }

    /// The same, as far as dbt-lease.yml gives it a name.
    pub fn said_role(&self) -> Option<&str> {
        self.login().said_role()
    }

    /// Where what it needs is read, for people.
    pub fn source(&self) -> String {
        self.login().source()
    }

    /// The variables that it reads: the child does not get them.
    pub fn variables(&self) -> Vec<&str> {
        self.login().variables()
    }

    /// Its requests to Vault, method and path, in order.
    pub fn requests(&self) -> Vec<(&'static str, String)> {
        self.login().requests()
    }

    /// Whether the token is there already, and is looked up instead of a login; such a one is never revoked by us.
    pub fn is_ready_made(&self) -> bool {
        self.login().is_ready_made()
    }

    /// Whether it may send a token that was the user's own before us: that goes to the user's own address alone.
    pub fn takes_users_token(&self) -> bool {
        self.login().takes_users_token()
    }

    /// What no other environment may share.
    pub(super) fn claims(&self) -> Vec<Claim> {
        self.login().claims()
    }

    fn login(&self) -> &dyn Login {
        match self {
            Self::AppRole(login) => login,
            Self::Aws(login) => login,
            Self::Cert(login) => login,
            Self::Command(login) => login,
            Self::Generic(login) => login,
            Self::Jwt(login) => login,
            Self::Kubernetes(login) => login,
            Self::Oidc(login) => login,
            Self::Okta(login) => login,
            Self::Password(login) => login,
            Self::Token => &token::Token,
        }
    }
}

/// Reads a login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Auth, ConfigError> {
    const SHAPE: &str = "a mapping, for example `{method: approle, role_id_env: DBT_ROLE_ID, secret_id_file: /run/secrets/dbt}`";
    let entries = cursor.entries(SHAPE)?;
    let methods = METHODS.join(", ");
    let Some((_, method)) = entries.iter().find(|(key, _)| *key == "method") else {
        return Err(ConfigError::Missing {
            at: cursor.at(),
            what: "`method`".to_owned(),
            parent: cursor.key(),
            hint: format!("methods: {methods}"),
        });
    };
    Ok(match method.text(&format!("a login method: {methods}"))? {
        "approle" => Auth::AppRole(approle::read(cursor, context)?),
        "aws" => Auth::Aws(aws::read(cursor, context)?),
        "cert" => Auth::Cert(cert::read(cursor, context)?),
        "command" => Auth::Command(command::read(cursor, context)?),
        "generic" => Auth::Generic(generic::read(cursor, context)?),
        "jwt" => Auth::Jwt(jwt::read(cursor, context)?),
        "kubernetes" => Auth::Kubernetes(kubernetes::read(cursor, context)?),
        "ldap" => Auth::Password(password::read(cursor, context, PasswordKind::Ldap)?),
        "userpass" => Auth::Password(password::read(cursor, context, PasswordKind::UserPass)?),
        "oidc" => Auth::Oidc(oidc::read(cursor, context)?),
        "okta" => Auth::Okta(okta::read(cursor, context)?),
        "token" => {
            token::read(cursor)?;
            Auth::Token
        }
        later if LATER_METHODS.contains(&later) => {
            return Err(method.value_not_yet(later, &format!("methods that are: {methods}")));
        }
        other => {
            let hint = match nearest(other, METHODS.into_iter().chain(LATER_METHODS)) {
                Some(near) => format!("did you mean `{near}`? methods: {methods}"),
                None => format!("methods: {methods}"),
            };
            return Err(method.bad("not a login method", &hint));
        }
    })
}

/// `mount:`, else the method's own name.
fn mount(object: &Object<'_>, method: &str) -> Result<String, ConfigError> {
    let Some(cursor) = object.get("mount") else {
        return Ok(method.to_owned());
    };
    let mount = path::canonical(
        cursor,
        &format!("where the method is mounted, for example `{method}`"),
    )?;
    if mount.split('/').next() == Some("auth") {
        return Err(cursor.bad("a mount with `auth/`", "write what follows `auth/`"));
    }
    Ok(mount.to_owned())
}

fn role_name(cursor: &Cursor<'_>) -> Result<String, ConfigError> {
    let role = path::canonical(cursor, "the role's name")?;
    if role.contains('/') {
        return Err(cursor.bad("a role's name with `/`", "write the name alone"));
    }
    Ok(role.to_owned())
}

/// `role:`, which must be there: the isolation rules hang on it.
fn role_needed(object: &Object<'_>) -> Result<String, ConfigError> {
    role_name(object.need("role", "name the role of the login: `role: NAME`")?)
}

/// One line of text that is no secret.
fn plain_text(cursor: &Cursor<'_>, what: &str) -> Result<String, ConfigError> {
    let text = cursor.text(what)?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(cursor.bad("not one line of text", &format!("write {what}")));
    }
    Ok(text.to_owned())
}

/// `password:`; none where it is asked for.
fn password(object: &Object<'_>, context: &Context<'_>) -> Result<Option<Source>, ConfigError> {
    object
        .get("password")
        .map(|cursor| Source::read(cursor, context, "password"))
        .transpose()
}

/// Where a password comes from, for `plan` and `trust`.
fn password_said(password: Option<&Source>) -> String {
    match password {
        Some(source) => format!("password {}", source.said()),
        None => "password asked for on the terminal".to_owned(),
    }
}

/// What a login by name and password claims.
fn claims_of_user(mount: &str, username: &Text, password: Option<&Source>) -> Vec<Claim> {
    let user = Identity::User(match username {
        // Vault keeps them in small letters, and so do directories.
        Text::Literal(name) => Text::Literal(name.to_ascii_lowercase()),
        read => read.clone(),
    });
    let mut claims = vec![Claim::Role(mount.to_owned(), user)];
    claims.extend(password.map(|source| source.claim("password")));
    claims
}

/// `username:`, as it stands or read.
fn user_name(object: &Object<'_>, context: &Context<'_>) -> Result<Text, ConfigError> {
    let cursor = object.need(
        "username",
        "name the user: `username: NAME`, or `username: {env: USER}`",
    )?;
    if !cursor.is_text() {
        return Source::read(cursor, context, "user's name").map(Text::Read);
    }
    let name = path::canonical(cursor, "the user's name")?;
    if name.contains('/') {
        return Err(cursor.bad("a user's name with `/`", "write the name alone"));
    }
    Ok(Text::Literal(name.to_owned()))
}

/// What can be written for each method: its name, its keys, and those that must be there. For the schema.
pub(super) fn shapes() -> [(&'static str, &'static Keys, &'static [&'static str]); 12] {
    [
        ("approle", &approle::KEYS, &[]),
        ("aws", &aws::KEYS, &["role"]),
        ("cert", &cert::KEYS, &[]),
        ("command", &command::KEYS, &["command"]),
        ("generic", &generic::KEYS, &["path"]),
        ("jwt", &jwt::KEYS, &["role"]),
        ("kubernetes", &kubernetes::KEYS, &["role"]),
        ("ldap", &password::KEYS, &["username"]),
        ("oidc", &oidc::KEYS, &["role"]),
        ("okta", &okta::KEYS, &["username"]),
        ("token", &token::KEYS, &[]),
        ("userpass", &password::KEYS, &["username"]),
    ]
}

/// The keys of a source, and of an identity token. For the schema.
pub(super) fn source_keys() -> [&'static Keys; 2] {
    [&source::KEYS, &identity::KEYS]
}

/// The names that an identity token's `from` takes. For the schema.
pub(super) fn systems() -> Vec<&'static str> {
    identity::keys()
}
