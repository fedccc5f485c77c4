//! `method: userpass` and `method: ldap`: a user's name and password. Both take the same keys.
#![forbid(unsafe_code)]

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::source::{Source, Text};
use super::{Claim, Context, Login, claims_of_user, mount, password, password_said, user_name};

/// A login by name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// Which of the two.
    pub kind: PasswordKind,
    /// Where the method is mounted, below `auth/`.
    pub mount: String,
    /// The user's name.
    pub username: Text,
    /// The password; asked for on the terminal where it is not said.
    pub password: Option<Source>,
}

/// Whose passwords they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordKind {
    /// Vault's own.
    UserPass,
    /// A directory's.
    Ldap,
}

pub(super) const KEYS: Keys = Keys {
    known: &["method", "mount", "username", "password"],
    later: &[],
    elsewhere: &[
        ("user", "write `username: NAME`"),
        ("role", "a user's name stands for it: `username: NAME`"),
        ("password_file", "write `password: {file: FILE}`"),
        ("password_env", "write `password: {env: VARIABLE}`"),
    ],
};

/// Reads the login.
pub(super) fn read(
    cursor: &Cursor<'_>,
    context: &Context<'_>,
    kind: PasswordKind,
) -> Result<Password, ConfigError> {
    let object = cursor.object(&KEYS, "a mapping")?;
    Ok(Password {
        kind,
        mount: mount(&object, kind.method())?,
        username: user_name(&object, context)?,
        password: password(&object, context)?,
    })
}

impl PasswordKind {
    /// Its name in dbt-lease.yml.
    pub fn method(self) -> &'static str {
        match self {
            Self::UserPass => "userpass",
            Self::Ldap => "ldap",
        }
    }
}

impl Login for Password {
    fn method(&self) -> &'static str {
        self.kind.method()
    }

    fn mount(&self) -> Option<&str> {
        Some(&self.mount)
    }

    fn role(&self) -> Option<&str> {
        self.username.literal()
    }

    fn source(&self) -> String {
        let password = password_said(self.password.as_ref());
        format!("user {}, {password}", self.username.said())
    }

    fn variables(&self) -> Vec<&str> {
        // A name is no secret, and the child may need it: USER.
        self.password.iter().filter_map(Source::variable).collect()
    }

    fn requests(&self) -> Vec<(&'static str, String)> {
        vec![(
            "POST",
            format!("auth/{}/login/{}", self.mount, self.username.in_path()),
        )]
    }

    fn claims(&self) -> Vec<Claim> {
        claims_of_user(&self.mount, &self.username, self.password.as_ref())
    }
}
