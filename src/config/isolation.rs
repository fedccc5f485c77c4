//! Isolation is structural: two environments never share a login role, a secret's path, or a source of tokens.
//!
//! Compared is what this file can know. That two addresses lead to one server, or two paths to one role, is for `check` to
//! prove against the server.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::error::{ConfigError, Twice};
use super::{Auth, Config, Environment, Lending, RoleId, SecretId, names_port};
use crate::place::Place;

/// Something that belongs to one environment alone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    /// Server, namespace, mount, and the role's name or where its id is read.
    Role(Reach, String, Identity),
    /// Server and the path below the root namespace.
    Path(String, String),
    /// A file that a login's secret is read from.
    File(PathBuf),
    /// A variable that it is read from.
    Variable(String),
    /// VAULT_TOKEN, BAO_TOKEN, the token file: one source, the user.
    UserToken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    Name(String),
    Literal(String),
    File(PathBuf),
    Variable(String),
}

/// Server and namespace.
type Reach = (String, String);

/// Refuses a configuration whose environments are not kept apart.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let owned: Vec<Vec<(Owned, Place)>> = config.environments.iter().map(owned).collect();
    for (later, mine) in owned.iter().enumerate() {
        for (earlier, theirs) in owned[..later].iter().enumerate() {
            for (what, second) in mine {
                if let Some((_, first)) = theirs.iter().find(|(other, _)| other == what) {
                    return Err(ConfigError::NotIsolated {
                        twice: Box::new(Twice {
                            earlier: config.environments[earlier].name.clone(),
                            first: first.clone(),
                            later: config.environments[later].name.clone(),
                            second: second.clone(),
                        }),
                        what: what.described(),
                        hint: what.hint(),
                    });
                }
            }
        }
    }
    Ok(())
}

impl Owned {
    fn described(&self) -> String {
        match self {
            Self::Role(_, mount, Identity::Name(role)) => {
                format!("the role `{role}` of `auth/{mount}`")
            }
            Self::Role(_, mount, Identity::Literal(_)) => format!("a role id of `auth/{mount}`"),
            Self::Role(_, mount, Identity::File(file)) => {
                format!("the role id in {} of `auth/{mount}`", file.display())
            }
            Self::Role(_, mount, Identity::Variable(name)) => {
                format!("the role id in the variable {name} of `auth/{mount}`")
            }
            Self::Path(_, path) => format!("the secret's path `{path}`"),
            Self::File(file) => format!("the secret id in {}", file.display()),
            Self::Variable(name) => format!("the secret id in the variable {name}"),
            Self::UserToken => "the user's own token (`method: token`)".to_owned(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Role(..) => "give each environment a login role of its own",
            Self::Path(..) => {
                "give each environment a role of its own in the secrets engine, and its own path by that"
            }
            Self::File(_) => "give each environment a file of its own",
            Self::Variable(_) => "give each environment a variable of its own",
            Self::UserToken => {
                "one environment at most can use the user's own token; give the others approle"
            }
        }
    }
}

fn owned(environment: &Environment) -> Vec<(Owned, Place)> {
    // Each address of a cluster counts: two environments that share one share the server.
    let all: Vec<Reach> = match &environment.server {
        None => vec![Reach::default()],
        Some(server) => server
            .addresses()
            .map(|address| reach(address, server.namespace.as_deref()))
            .collect(),
    };
    let mut owned: Vec<(Owned, Place)> = Vec::new();
    for reach in &all {
        for each in owned_at(environment, reach) {
            if !owned.contains(&each) {
                owned.push(each);
            }
        }
    }
    owned
}

fn owned_at(environment: &Environment, (server, namespace): &Reach) -> Vec<(Owned, Place)> {
    let mut owned = Vec::new();
    match &environment.auth {
        Some(Auth::AppRole {
            mount,
            role_id,
            secret_id,
            role,
        }) => {
            let reach = (server.clone(), namespace.clone());
            let mut role_as = |identity| {
                owned.push((
                    Owned::Role(reach.clone(), mount.clone(), identity),
                    environment.auth_at.clone(),
                ))
            };
            role_as(match role_id {
                RoleId::Literal(id) => Identity::Literal(id.clone()),
                RoleId::File(file) => Identity::File(real(file)),
                RoleId::Variable(name) => Identity::Variable(name.clone()),
            });
            // Vault keeps AppRole's names in small letters.
            if let Some(role) = role {
                role_as(Identity::Name(role.to_ascii_lowercase()));
            }
            let source = match secret_id {
                SecretId::File(file) | SecretId::WrappedFile(file) => Owned::File(real(file)),
                // The user's own token, under a name that hides it.
                SecretId::Variable(name) if name == "VAULT_TOKEN" || name == "BAO_TOKEN" => {
                    Owned::UserToken
                }
                SecretId::Variable(name) => Owned::Variable(name.clone()),
            };
            owned.push((source, environment.auth_at.clone()));
        }
        Some(Auth::Token) => owned.push((Owned::UserToken, environment.auth_at.clone())),
        None => {}
    }
    for target in &environment.targets {
        if let Lending::Lent(lent) = &target.lending {
            for secret in &lent.secrets {
                // A namespace may stand in the header or before the path: `a` + `b/kv/x` is `a/b` + `kv/x`.
                let path = match namespace.as_str() {
                    "" => secret.request.path.clone(),
                    namespace => format!("{namespace}/{}", secret.request.path),
                };
                owned.push((Owned::Path(server.clone(), path), secret.at.clone()));
            }
        }
    }
    owned
}

/// The server without its scheme and with its port, so that `https://v` and `https://v:443` are one.
fn reach(address: &str, namespace: Option<&str>) -> Reach {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (host, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = match scheme {
        _ if names_port(address) => "",
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    (
        format!("{host}{port}{below}"),
        namespace.unwrap_or_default().to_owned(),
    )
}

/// The file that a path leads to now; where it is not there yet, what it would be by the part that is there.
fn real(file: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(file) {
        return real;
    }
    match (file.parent(), file.components().next_back()) {
        (Some(parent), Some(Component::Normal(name))) => real(parent).join(name),
        (Some(parent), Some(Component::ParentDir)) => real(parent)
            .parent()
            .map_or_else(|| PathBuf::from("/"), Path::to_owned),
        _ => file.to_owned(),
    }
}
