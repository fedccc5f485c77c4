//! Isolation is structural: two environments never share a login role, a secret's path, or a source of tokens.
//!
//! Compared is what this file can know. That two addresses lead to one server, or two paths to one role, is for `check` to
//! prove against the server.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::auth::{Auth, Claim, Identity, Text};
use super::error::{ConfigError, Twice};
use super::{Config, Environment, Lending, names_port};
use crate::place::Place;

/// Something that belongs to one environment alone.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    /// Part of a login, at a server and namespace.
    Login(Reach, Claim),
    /// Server and the path below the root namespace.
    Path(String, String),
}

/// Server and namespace.
type Reach = (String, String);

/// Refuses a configuration whose environments are not kept apart.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let owned: Vec<Vec<(Owned, Place)>> = config.environments.iter().map(owned).collect();
    for (later, mine) in owned.iter().enumerate() {
        for (earlier, theirs) in owned[..later].iter().enumerate() {
            for (what, second) in mine {
                if let Some((_, first)) = theirs.iter().find(|(other, _)| other.is(what)) {
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
    /// Whether two environments that have these share something.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path(server, path), Self::Path(others, other)) => {
                (server, path) == (others, other)
            }
            (Self::Login(reach, one), Self::Login(others, other)) => match (one, other) {
                // A role is one where it can be reached by one way.
                (Claim::Role(mount, identity), Claim::Role(other_mount, other)) => {
                    (reach, mount, identity) == (others, other_mount, other)
                }
                // A source of tokens is one whatever it is used for, and wherever.
                (Claim::File(_, one), Claim::File(_, other)) => one == other,
                (Claim::Variable(_, one), Claim::Variable(_, other)) => one == other,
                (Claim::Command(_, one), Claim::Command(_, other)) => one == other,
                (one, other) => one == other,
            },
            _ => false,
        }
    }

    fn described(&self) -> String {
        match self {
            Self::Path(_, path) => format!("the secret's path `{path}`"),
            Self::Login(_, Claim::Role(mount, identity)) => match identity {
                Identity::Role(role) => format!("the role `{role}` of `auth/{mount}`"),
                Identity::RoleId(_) => format!("a role id of `auth/{mount}`"),
                Identity::RoleIdFile(file) => {
                    format!("the role id in {} of `auth/{mount}`", file.display())
                }
                Identity::RoleIdVariable(name) => {
                    format!("the role id in the variable {name} of `auth/{mount}`")
                }
                Identity::User(Text::Literal(name)) => {
                    format!("the user `{name}` of `auth/{mount}`")
                }
                Identity::User(Text::Read(source)) => {
                    format!("the user {} of `auth/{mount}`", source.said())
                }
            },
            Self::Login(_, Claim::File(what, file)) => format!("the {what} in {}", file.display()),
            Self::Login(_, Claim::Variable(what, name)) => {
                format!("the {what} in the variable {name}")
            }
            Self::Login(_, Claim::Command(what, words)) => {
                format!("the {what} that `{}` prints", words.join(" "))
            }
            Self::Login(_, Claim::Audience(audience)) => {
                format!("the identity tokens for the audience `{audience}`")
            }
            Self::Login(_, Claim::Aws { profile, server_id }) => format!(
                "the AWS identity of {} for {}",
                profile
                    .as_ref()
                    .map_or("this machine".to_owned(), |name| format!(
                        "the profile `{name}`"
                    )),
                server_id
                    .as_ref()
                    .map_or("any server".to_owned(), |id| format!(
                        "the server id `{id}`"
                    )),
            ),
            Self::Login(_, Claim::UserToken) => {
                "the user's own token (`method: token`, `keep: true`)".to_owned()
            }
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Path(..) => {
                "give each environment a role of its own in the secrets engine, and its own path by that"
            }
            Self::Login(_, Claim::Role(..)) => "give each environment a login role of its own",
            Self::Login(_, Claim::File(..)) => "give each environment a file of its own",
            Self::Login(_, Claim::Variable(..)) => "give each environment a variable of its own",
            Self::Login(_, Claim::Command(..)) => "give each environment a command of its own",
            Self::Login(_, Claim::Audience(_)) => {
                "give each environment an audience of its own (by default it is ADDRESS/ENVIRONMENT); where the CI system's audience is fixed, one environment at most can use it"
            }
            Self::Login(_, Claim::Aws { .. }) => {
                "give each environment a profile or a server id of its own (`profile:`, `server_id:`)"
            }
            Self::Login(_, Claim::UserToken) => {
                "one environment at most can use or keep the user's own token; give the others another login"
            }
        }
    }
}

/// The same thing always in the same form.
fn normal(claim: Claim) -> Claim {
    match claim {
        // The user's own token, under a name that hides it.
        Claim::Variable(_, name) if name == "VAULT_TOKEN" || name == "BAO_TOKEN" => {
            Claim::UserToken
        }
        Claim::File(_, file) if file.ends_with(".vault-token") => Claim::UserToken,
        Claim::File(what, file) => Claim::File(what, real(&file)),
        Claim::Role(mount, Identity::RoleIdFile(file)) => {
            Claim::Role(mount, Identity::RoleIdFile(real(&file)))
        }
        claim => claim,
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
    for claim in environment.auth.iter().flat_map(Auth::claims) {
        owned.push((
            Owned::Login((server.clone(), namespace.clone()), normal(claim)),
            environment.auth_at.clone(),
        ));
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
