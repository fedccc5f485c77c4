//! One environment's identity at another environment's door: what `check` tries, and Vault has to refuse.
#![forbid(unsafe_code)]

use super::{Auth, Cert, How, Jwt, Kubernetes};

/// What is tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Across {
    /// This login.
    Login(Box<Auth>),
    /// A login with a token that is asked for in the other environment's name: whoever runs here gets one.
    Asked(Box<Auth>),
    /// Nothing, since no such identity can open such a role.
    Nothing(&'static str),
    /// Nothing, though it could: why.
    Not(&'static str),
}

impl Auth {
    /// This identity, shown at the role of another login.
    pub fn at_the_role_of(&self, other: &Self) -> Vec<Across> {
        let one = |auth| vec![Across::Login(Box::new(auth))];
        match (self, other) {
            (Self::Jwt(own), Self::Jwt(other)) => {
                let there = Jwt {
                    mount: other.mount.clone(),
                    role: other.role.clone(),
                    ..own.clone()
                };
                let mut tried = one(Self::Jwt(there));
                if own.token.how == How::Asked {
                    tried.push(Across::Asked(Box::new(Self::Jwt(Jwt {
                        token: own.token.clone(),
                        ..other.clone()
                    }))));
                }
                tried
            }
            (Self::Kubernetes(own), Self::Kubernetes(other)) => one(Self::Kubernetes(Kubernetes {
                token: own.token.clone(),
                ..other.clone()
            })),
            (Self::Aws(own), Self::Aws(other)) => {
                let mut there = own.clone();
                there.mount.clone_from(&other.mount);
                there.role.clone_from(&other.role);
                one(Self::Aws(there))
            }
            (Self::Cert(own), Self::Cert(other)) => one(Self::Cert(Cert {
                mount: other.mount.clone(),
                name: other.name.clone(),
                ..own.clone()
            })),
            (_, Self::Token) => vec![Across::Nothing("it has no role to log in to")],
            (Self::Token | Self::Command(_), _) => {
                vec![Across::Nothing(
                    "a token that is there already logs in nowhere",
                )]
            }
            // A secret id is stored under its role, and good for no other.
            (Self::AppRole(_), Self::AppRole(_)) => {
                vec![Across::Nothing(
                    "a secret id is good for its own role alone",
                )]
            }
            (Self::Password(_) | Self::Okta(_), Self::Password(_) | Self::Okta(_)) => {
                vec![Across::Not(
                    "a wrong password counts towards the lock of the other's account",
                )]
            }
            (Self::Oidc(_), _) | (_, Self::Oidc(_)) => {
                vec![Across::Not("it takes a person in a browser")]
            }
            (Self::Generic(_), _) | (_, Self::Generic(_)) => vec![Across::Not(
                "`method: generic` does not say which part of it is the role",
            )],
            (Self::Jwt(_), Self::Kubernetes(_)) | (Self::Kubernetes(_), Self::Jwt(_)) => {
                vec![Across::Not(
                    "the two take identity tokens by different methods",
                )]
            }
            _ => vec![Across::Nothing("the two log in by different methods")],
        }
    }
}
