//! `method: cert`: the client certificate of the TLS connection.
#![forbid(unsafe_code)]

use super::super::error::ConfigError;
use super::super::server::Server;
use super::super::walk::{Cursor, Keys};
use super::{Claim, Context, Identity, Login, Source, mount, role_name};
use crate::variables::Variables;

/// A login by the client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cert {
    /// Where the method is mounted, below `auth/`.
    pub mount: String,
    /// The certificate role's name; Vault tries all of them where it is not said.
    pub name: Option<String>,
    /// The certificate, as the environment's settings name it: a file, or a variable that holds it.
    pub certificate: Source,
    /// Its key.
    pub key: Source,
}

/// Where the certificate that the connection shows is, and its key.
pub(in crate::config) fn client_certificate(
    server: &Server,
    variables: &Variables,
) -> Option<(Source, Source)> {
    if let (Some(certificate), Some(key)) = (&server.client_cert, &server.client_key) {
        return Some((Source::File(certificate.clone()), Source::File(key.clone())));
    }
    server.client_pem.as_ref()?;
    let set = |what: &str| {
        let name = ["BAO", "VAULT"]
            .map(|whose| format!("{whose}_CLIENT_{what}_BYTES"))
            .into_iter()
            .find(|name| variables.os(name).is_some())?;
        Some(Source::Variable(name))
    };
    Some((set("CERT")?, set("KEY")?))
}

pub(super) const KEYS: Keys = Keys {
    known: &["method", "mount", "name"],
    later: &[],
    elsewhere: &[
        ("role", "it is the certificate role's `name`"),
        (
            "client_cert",
            "it is how the connection is made: `client_cert` and `client_key` stand under the environment, beside `auth`",
        ),
        (
            "client_key",
            "it is how the connection is made: `client_cert` and `client_key` stand under the environment, beside `auth`",
        ),
    ],
};

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Cert, ConfigError> {
    let object = cursor.object(&KEYS, "a mapping")?;
    let Some((certificate, key)) = &context.client else {
        return Err(cursor.bad(
            "a login by certificate without one",
            "add `client_cert: FILE` and `client_key: FILE` to the environment (or BAO_CLIENT_CERT and BAO_CLIENT_KEY)",
        ));
    };
    Ok(Cert {
        mount: mount(&object, "cert")?,
        name: object.get("name").map(role_name).transpose()?,
        certificate: certificate.clone(),
        key: key.clone(),
    })
}

impl Login for Cert {
    fn method(&self) -> &'static str {
        "cert"
    }

    fn mount(&self) -> Option<&str> {
        Some(&self.mount)
    }

    fn role(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn source(&self) -> String {
        format!("client certificate {}", self.certificate.said())
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![self.key.claim("client certificate's key")];
        if let Some(name) = &self.name {
            claims.push(Claim::Role(
                self.mount.clone(),
                Identity::Role(name.clone()),
            ));
        }
        claims
    }
}
