//! `method: jwt`: an identity token of a CI system, a pod, a cloud, or one that is somewhere.
#![forbid(unsafe_code)]

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::identity::{self, IdentityToken};
use super::{Claim, Context, Identity, Login, mount, plain_text, role_needed};

/// A login by an identity token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Where the method is mounted, below `auth/`.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The audience that the token is asked for: `ADDRESS/ENVIRONMENT` where dbt-lease.yml names none; none without an address.
    pub audience: Option<String>,
    /// Whether dbt-lease.yml names the audience: then a token for another one is not sent.
    pub audience_is_said: bool,
    /// The token.
    pub token: IdentityToken,
}

pub(super) const KEYS: Keys = Keys {
    known: &["method", "mount", "role", "audience", "token"],
    later: &[],
    elsewhere: &[
        ("jwt_env", "write `token: {env: VARIABLE}`"),
        ("jwt_file", "write `token: {file: FILE}`"),
    ],
};

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Jwt, ConfigError> {
    let object = cursor.object(&KEYS, "a mapping")?;
    let mount = mount(&object, "jwt")?;
    let role = role_needed(&object)?;
    let said = object
        .get("audience")
        .map(|cursor| plain_text(cursor, "the audience of the identity token"))
        .transpose()?;
    let audience = said.clone().or_else(|| {
        context
            .address
            .map(|address| format!("{address}/{}", context.environment))
    });
    let token = match object.get("token") {
        Some(cursor) => identity::read(cursor, context, audience.as_deref())?,
        None => identity::find(context, audience.as_deref()),
    };
    Ok(Jwt {
        mount,
        role,
        audience,
        audience_is_said: said.is_some(),
        token,
    })
}

impl Login for Jwt {
    fn method(&self) -> &'static str {
        "jwt"
    }

    fn mount(&self) -> Option<&str> {
        Some(&self.mount)
    }

    fn role(&self) -> Option<&str> {
        Some(&self.role)
    }

    fn source(&self) -> String {
        self.token.said(self.audience.as_deref())
    }

    fn variables(&self) -> Vec<&str> {
        self.token.variable().into_iter().collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![Claim::Role(
            self.mount.clone(),
            Identity::Role(self.role.clone()),
        )];
        claims.extend(self.token.claims(self.audience.as_deref()));
        claims
    }
}
