//! `method: kubernetes`: a pod's service account token, which Vault has the cluster review.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::identity::SERVICE_ACCOUNT;
use super::source::Source;
use super::{Claim, Context, Identity, Login, mount, role_needed};

/// A login by a service account token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    /// Where the method is mounted, below `auth/`.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The token; by default the pod's own.
    pub token: Source,
}

pub(super) const KEYS: Keys = Keys {
    known: &["method", "mount", "role", "token"],
    later: &[],
    elsewhere: &[
        (
            "audience",
            "the token has its audience already: `serviceAccountToken: {audience: …}` of the pod's projected volume",
        ),
        ("token_path", "write `token: {file: FILE}`"),
    ],
};

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Kubernetes, ConfigError> {
    let object = cursor.object(&KEYS, "a mapping")?;
    Ok(Kubernetes {
        mount: mount(&object, "kubernetes")?,
        role: role_needed(&object)?,
        token: match object.get("token") {
            Some(cursor) => Source::read(cursor, context, "service account token")?,
            None => Source::File(PathBuf::from(SERVICE_ACCOUNT)),
        },
    })
}

impl Login for Kubernetes {
    fn method(&self) -> &'static str {
        "kubernetes"
    }

    fn mount(&self) -> Option<&str> {
        Some(&self.mount)
    }

    fn role(&self) -> Option<&str> {
        Some(&self.role)
    }

    fn source(&self) -> String {
        format!("service account token {}", self.token.said())
    }

    fn variables(&self) -> Vec<&str> {
        self.token.variable().into_iter().collect()
    }

    fn claims(&self) -> Vec<Claim> {
        vec![
            Claim::Role(self.mount.clone(), Identity::Role(self.role.clone())),
            self.token.claim("service account token"),
        ]
    }
}
