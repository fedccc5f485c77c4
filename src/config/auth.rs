//! `auth:`: one shape a login method.
#![forbid(unsafe_code)]

use std::path::Path;

use super::error::ConfigError;
use super::walk::{Cursor, Keys, nearest};
use super::{Auth, RoleId, SecretId, path};

/// What works.
const METHODS: [&str; 2] = ["approle", "token"];
/// What the design names.
const LATER_METHODS: [&str; 14] = [
    "jwt",
    "oidc",
    "userpass",
    "ldap",
    "cert",
    "kubernetes",
    "okta",
    "aws",
    "azure",
    "gcp",
    "github",
    "kerberos",
    "generic",
    "command",
];

const APPROLE: Keys = Keys {
    known: &[
        "method",
        "mount",
        "role",
        "role_id",
        "role_id_file",
        "role_id_env",
        "secret_id_file",
        "secret_id_env",
        "wrapped_secret_id_file",
    ],
    later: &["keep"],
    elsewhere: &[(
        "token",
        "`method: token` takes the user's own token; approle takes a role id and a secret id",
    )],
};
const TOKEN: Keys = Keys {
    known: &["method"],
    later: &["keep", "mount"],
    elsewhere: &[("role", "the token has its role already")],
};

const ROLE_IDS: [&str; 3] = ["role_id", "role_id_file", "role_id_env"];
const SECRET_IDS: [&str; 3] = ["secret_id_file", "secret_id_env", "wrapped_secret_id_file"];

/// Reads a login.
pub(super) fn read(cursor: &Cursor<'_>, home: Option<&Path>) -> Result<Auth, ConfigError> {
    const SHAPE: &str = "a mapping, for example `{method: approle, role_id_env: DBT_ROLE_ID, secret_id_file: /run/secrets/dbt}`";
    let entries = cursor.entries(SHAPE)?;
    let Some((_, method)) = entries.iter().find(|(key, _)| *key == "method") else {
        return Err(ConfigError::Missing {
            at: cursor.at(),
            what: "`method`".to_owned(),
            parent: cursor.key(),
            hint: format!("methods: {}", METHODS.join(", ")),
        });
    };
    match method.text("a login method: approle or token")? {
        "approle" => approle(cursor, home),
        "token" => {
            if let Some((_, token)) = entries.iter().find(|(key, _)| *key == "token") {
                let hint = "leave it out: `method: token` takes BAO_TOKEN, VAULT_TOKEN or the token file (~/.vault-token)";
                return Err(token.secret("holds a secret by its name", hint));
            }
            cursor.object(&TOKEN, SHAPE)?;
            Ok(Auth::Token)
        }
        later if LATER_METHODS.contains(&later) => {
            Err(method.value_not_yet(later, &format!("methods that are: {}", METHODS.join(", "))))
        }
        other => {
            let methods = format!("methods: {}", METHODS.join(", "));
            let hint = match nearest(other, METHODS.into_iter().chain(LATER_METHODS)) {
                Some(near) => format!("did you mean `{near}`? {methods}"),
                None => methods,
            };
            Err(method.bad("not a login method", &hint))
        }
    }
}

fn approle(cursor: &Cursor<'_>, home: Option<&Path>) -> Result<Auth, ConfigError> {
    let entries = cursor.entries("a mapping")?;
    if let Some((_, secret_id)) = entries
        .iter()
        .find(|(key, _)| *key == "secret_id" || *key == "wrapped_secret_id")
    {
        let hint = "put the secret id into a file that only this user can read and name it: `secret_id_file: FILE`, or `secret_id_env: VARIABLE`";
        return Err(secret_id.secret("holds a secret", hint));
    }
    let object = cursor.object(&APPROLE, "a mapping")?;
    let mount = match object.get("mount") {
        Some(cursor) => {
            let mount =
                path::canonical(cursor, "where the method is mounted, for example `approle`")?;
            if mount.split('/').next() == Some("auth") {
                return Err(cursor.bad("a mount with `auth/`", "write what follows `auth/`"));
            }
            mount.to_owned()
        }
        None => "approle".to_owned(),
    };
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
        ("role_id_file", cursor) => RoleId::File(cursor.file(home)?),
        (_, cursor) => RoleId::Variable(cursor.variable()?),
    };
    let secret_id = match object.one_of(
        &SECRET_IDS,
        "where the secret id is: in a file (0600), a variable, or wrapped in a file",
    )? {
        ("secret_id_file", cursor) => SecretId::File(cursor.file(home)?),
        ("secret_id_env", cursor) => SecretId::Variable(cursor.variable()?),
        (_, cursor) => SecretId::WrappedFile(cursor.file(home)?),
    };
    Ok(Auth::AppRole {
        mount,
        role_id,
        secret_id,
        role,
    })
}

fn role_name(cursor: &Cursor<'_>) -> Result<String, ConfigError> {
    let role = path::canonical(cursor, "the role's name")?;
    if role.contains('/') {
        return Err(cursor.bad("a role's name with `/`", "write the name alone"));
    }
    Ok(role.to_owned())
}
