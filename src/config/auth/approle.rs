//! `method: approle`: a role id, which is a name, and a secret id, which is a password, plain or wrapped.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::{Claim, Context, Identity, Login, mount, role_name, source};

/// An AppRole login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRole {
    /// Where the method is mounted, below `auth/`.
    pub mount: String,
    /// The role's id.
    pub role_id: RoleId,
    /// The secret id.
    pub secret_id: SecretId,
    /// The role's name, where given: compared with a wrapped secret id's creation path.
    pub role: Option<String>,
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
    /// `secret_id_command:`: a program that prints it.
    Command(Vec<String>),
    /// `wrapped_secret_id_file:`, absolute: a file that holds a response-wrapping token.
    WrappedFile(PathBuf),
    /// `wrapped_secret_id_env:`: a variable that holds one.
    WrappedVariable(String),
}

pub(super) const KEYS: Keys = Keys {
    known: &[
        "method",
        "mount",
        "role",
        "role_id",
        "role_id_file",
        "role_id_env",
        "secret_id_file",
        "secret_id_env",
        "secret_id_command",
        "wrapped_secret_id_file",
        "wrapped_secret_id_env",
    ],
    later: &[],
    elsewhere: &[(
        "token",
        "`method: token` takes the user's own token; approle takes a role id and a secret id",
    )],
};
const ROLE_IDS: [&str; 3] = ["role_id", "role_id_file", "role_id_env"];
const SECRET_IDS: [&str; 5] = [
    "secret_id_file",
    "secret_id_env",
    "secret_id_command",
    "wrapped_secret_id_file",
    "wrapped_secret_id_env",
];

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<AppRole, ConfigError> {
    let entries = cursor.entries("a mapping")?;
    if let Some((_, secret_id)) = entries
        .iter()
        .find(|(key, _)| *key == "secret_id" || *key == "wrapped_secret_id")
    {
        let hint = "put the secret id into a file that only this user can read and name it: `secret_id_file: FILE`, or `secret_id_env: VARIABLE`";
        return Err(secret_id.secret("holds a secret", hint));
    }
    let object = cursor.object(&KEYS, "a mapping")?;
    let mount = mount(&object, "approle")?;
    let role = object.get("role").map(role_name).transpose()?;
    let role_id = match object.one_of(
        &ROLE_IDS,
        "where the role's id is: it is no secret, so `role_id: ID` will do",
    )? {
        ("role_id", cursor) => {
            let id = cursor.text("the role's id")?;
            if id.trim().is_empty() || id.chars().any(char::is_control) {
                return Err(cursor.bad(
                    "not a role id",
                    "read it by `vault read auth/approle/role/ROLE/role-id`",
                ));
            }
            RoleId::Literal(id.to_owned())
        }
        ("role_id_file", cursor) => RoleId::File(cursor.file(context.home)?),
        (_, cursor) => RoleId::Variable(cursor.variable()?),
    };
    let secret_id = match object.one_of(
        &SECRET_IDS,
        "where the secret id is: in a file (0600), a variable, printed by a command, or wrapped in a file or variable",
    )? {
        ("secret_id_file", cursor) => SecretId::File(cursor.file(context.home)?),
        ("secret_id_env", cursor) => SecretId::Variable(cursor.variable()?),
        ("secret_id_command", cursor) => SecretId::Command(source::command(cursor, context)?),
        ("wrapped_secret_id_file", cursor) => SecretId::WrappedFile(cursor.file(context.home)?),
        (_, cursor) => SecretId::WrappedVariable(cursor.variable()?),
    };
    Ok(AppRole {
        mount,
        role_id,
        secret_id,
        role,
    })
}

impl Login for AppRole {
    fn method(&self) -> &'static str {
        "approle"
    }

    fn mount(&self) -> Option<&str> {
        Some(&self.mount)
    }

    fn role(&self) -> Option<&str> {
        self.role.as_deref().or(match &self.role_id {
            RoleId::Literal(id) => Some(id),
            RoleId::File(_) | RoleId::Variable(_) => None,
        })
    }

    fn said_role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    fn source(&self) -> String {
        let role_id = match &self.role_id {
            RoleId::Literal(_) => "role id from dbt-lease.yml".to_owned(),
            RoleId::File(file) => format!("role id from {}", file.display()),
            RoleId::Variable(name) => format!("role id from the variable {name}"),
        };
        let secret_id = match &self.secret_id {
            SecretId::File(file) => format!("secret id from {}", file.display()),
            SecretId::Variable(name) => format!("secret id from the variable {name}"),
            SecretId::Command(words) => format!("secret id printed by `{}`", words.join(" ")),
            SecretId::WrappedFile(file) => format!("wrapped secret id from {}", file.display()),
            SecretId::WrappedVariable(name) => {
                format!("wrapped secret id from the variable {name}")
            }
        };
        format!("{role_id}, {secret_id}")
    }

    fn variables(&self) -> Vec<&str> {
        let mut names = Vec::new();
        if let RoleId::Variable(name) = &self.role_id {
            names.push(name.as_str());
        }
        if let SecretId::Variable(name) | SecretId::WrappedVariable(name) = &self.secret_id {
            names.push(name.as_str());
        }
        names
    }

    /// A wrapped secret id is looked at before it is unwrapped.
    fn requests(&self) -> Vec<(&'static str, String)> {
        let mut requests = Vec::new();
        if let SecretId::WrappedFile(_) | SecretId::WrappedVariable(_) = self.secret_id {
            requests.push(("PUT", "sys/wrapping/lookup".to_owned()));
            requests.push(("PUT", "sys/wrapping/unwrap".to_owned()));
        }
        requests.push(("POST", format!("auth/{}/login", self.mount)));
        requests
    }

    fn claims(&self) -> Vec<Claim> {
        let role = |identity| Claim::Role(self.mount.clone(), identity);
        let mut claims = vec![role(match &self.role_id {
            RoleId::Literal(id) => Identity::RoleId(id.clone()),
            RoleId::File(file) => Identity::RoleIdFile(file.clone()),
            RoleId::Variable(name) => Identity::RoleIdVariable(name.clone()),
        })];
        // Vault keeps AppRole's names in small letters.
        if let Some(name) = &self.role {
            claims.push(role(Identity::Role(name.to_ascii_lowercase())));
        }
        claims.push(match &self.secret_id {
            SecretId::File(file) | SecretId::WrappedFile(file) => {
                Claim::File("secret id", file.clone())
            }
            SecretId::Variable(name) | SecretId::WrappedVariable(name) => {
                Claim::Variable("secret id", name.clone())
            }
            SecretId::Command(words) => Claim::Command("secret id", words.clone()),
        });
        claims
    }
}
