//! AppRole: a role id, which is a name, and a secret id, which is a password, plain or wrapped.
#![forbid(unsafe_code)]

use reqwest::Method;
use serde::Serialize;

use super::source::{self, Found};
use super::{Attempt, Note, Surroundings, Token};
use crate::config::{AppRole, RoleId, SecretId};
use crate::secret::Secret;
use crate::variables::Variables;
use crate::vault::call::{Call, Repeat};
use crate::vault::client::Client;
use crate::vault::error::{Place, Tampering, VaultError, Wanted};
use crate::vault::fields::Field;
use crate::vault::words;

#[derive(Serialize)]
struct Body<'a> {
    role_id: &'a str,
    secret_id: &'a str,
}

/// Reads both ids and logs in.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    approle: &AppRole,
) -> Result<Token, VaultError> {
    // Both are read before anything is sent: a run that lacks one must not use up the other.
    let variables = around.variables;
    let mut notes = Vec::new();
    let role_id = keep_notes(role_id(variables, &approle.role_id)?, &mut notes);
    let secret_id = match &approle.secret_id {
        SecretId::File(path) => keep_notes(source::file("secret id", path)?, &mut notes),
        SecretId::Variable(name) => {
            keep_notes(source::variable("secret id", variables, name)?, &mut notes)
        }
        SecretId::Command(words) => {
            let found = source::command("secret id", words, variables).await?;
            keep_notes(found, &mut notes)
        }
        SecretId::WrappedFile(path) => {
            let wrapping = keep_notes(source::file("wrapping token", path)?, &mut notes);
            unwrap(client, approle, &Place::File(path.clone()), &wrapping).await?
        }
        SecretId::WrappedVariable(name) => {
            let found = source::variable("wrapping token", variables, name)?;
            let wrapping = keep_notes(found, &mut notes);
            unwrap(client, approle, &Place::Variable(name.clone()), &wrapping).await?
        }
    };
    let body = Body {
        role_id: role_id.expose(),
        secret_id: secret_id.expose(),
    };
    let attempt = Attempt {
        method: "approle",
        mount: &approle.mount,
        below: "login",
        role: approle.role.as_deref(),
        about: None,
        hide: vec![secret_id.expose()],
    };
    let mut token = super::send(client, around, attempt, &body).await?;
    token.notes = notes;
    Ok(token)
}

/// The secret id as it is here, where reading it uses nothing up; none where it is wrapped.
///
/// # Errors
/// [`VaultError::Source`].
pub(super) async fn secret_id(
    variables: &Variables,
    approle: &AppRole,
) -> Result<Option<Secret>, VaultError> {
    let found = match &approle.secret_id {
        SecretId::File(path) => source::file("secret id", path)?,
        SecretId::Variable(name) => source::variable("secret id", variables, name)?,
        SecretId::Command(words) => source::command("secret id", words, variables).await?,
        SecretId::WrappedFile(_) | SecretId::WrappedVariable(_) => return Ok(None),
    };
    Ok(Some(found.value))
}

/// A login with the role id alone, which Vault must refuse. Without a secret id it is no wrong one, and counts towards no lock.
///
/// # Errors
/// As [`login`].
pub(super) async fn login_by_role_id(
    client: &Client,
    around: &Surroundings<'_>,
    approle: &AppRole,
) -> Result<Token, VaultError> {
    let role_id = role_id(around.variables, &approle.role_id)?.value;
    let attempt = Attempt {
        method: "approle",
        mount: &approle.mount,
        below: "login",
        role: approle.role.as_deref(),
        about: None,
        hide: Vec::new(),
    };
    let body = Body {
        role_id: role_id.expose(),
        secret_id: "",
    };
    super::send(client, around, attempt, &body).await
}

/// The role id is a name: a file of it that others may read is no note's worth.
fn role_id(variables: &Variables, role_id: &RoleId) -> Result<Found, VaultError> {
    match role_id {
        RoleId::Literal(text) => source::literal("role id", text, Place::Literal),
        RoleId::File(path) => source::file("role id", path).map(|found| Found {
            note: None,
            ..found
        }),
        RoleId::Variable(name) => source::variable("role id", variables, name),
    }
}

fn keep_notes(found: Found, notes: &mut Vec<Note>) -> Secret {
    notes.extend(found.note);
    found.value
}

/// Unwraps a secret id, after Vault said that it was made as a secret id of this mount (and role): otherwise whoever
/// can write the file could exchange it, and have us log in as somebody else.
async fn unwrap(
    client: &Client,
    approle: &AppRole,
    place: &Place,
    wrapping: &Secret,
) -> Result<Secret, VaultError> {
    let tampered = |tampering| VaultError::Wrapping {
        place: place.clone(),
        tampering,
    };
    let spent = |error: VaultError| match error.code() {
        Some(400 | 403) => tampered(Tampering::Spent),
        _ => error,
    };

    // Without a token: the wrapping token in the body is all that this path wants, and a lookup does not use it up.
    let body = std::collections::BTreeMap::from([("token", wrapping.expose())]);
    let mut call = Call::new(Wanted::Unwrap, Method::PUT, "sys/wrapping/lookup").with_body(&body);
    call.hide = vec![wrapping.expose()];
    let answer = client.ask(&call).await.map_err(spent)?;
    let found = match &answer.data {
        Some(Field::Map(fields)) => fields
            .get("creation_path")
            .and_then(Field::plain)
            .unwrap_or_default(),
        _ => "",
    };
    if !is_secret_id_path(found, &approle.mount, approle.role.as_deref()) {
        let expected = format!(
            "auth/{}/role/{}/secret-id",
            approle.mount,
            approle.role.as_deref().unwrap_or("ROLE")
        );
        return Err(tampered(Tampering::Foreign {
            expected,
            found: words::tame(found, &[]),
        }));
    }

    let mut call =
        Call::new(Wanted::Unwrap, Method::PUT, "sys/wrapping/unwrap").with_token(wrapping);
    call.repeat = Repeat::WhenNothingWasDone;
    let answer = client.ask(&call).await.map_err(spent)?;
    let secret_id = match answer.data {
        Some(Field::Map(mut fields)) => fields.take("secret_id"),
        _ => None,
    };
    match secret_id {
        Some(Field::Text(text)) if !text.is_empty() => Ok(text),
        _ => Err(client.bad(&call, "it holds no secret_id".to_owned())),
    }
}

/// Whether a path is `auth/MOUNT/role/ROLE/secret-id`, for any one ROLE where none is given.
fn is_secret_id_path(path: &str, mount: &str, role: Option<&str>) -> bool {
    let found = path
        .strip_prefix("auth/")
        .and_then(|rest| rest.strip_prefix(mount))
        .and_then(|rest| rest.strip_prefix("/role/"))
        .and_then(|rest| rest.strip_suffix("/secret-id"));
    match (found, role) {
        (Some(found), Some(role)) => found == role,
        (Some(found), None) => !found.is_empty() && !found.contains('/'),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_secret_id_path;

    #[test]
    fn a_secret_id_comes_from_its_own_mount_and_role_alone() {
        assert!(is_secret_id_path(
            "auth/approle/role/dbt/secret-id",
            "approle",
            Some("dbt")
        ));
        assert!(is_secret_id_path(
            "auth/ci/approle/role/dbt/secret-id",
            "ci/approle",
            None
        ));
        for foreign in [
            "auth/approle/role/other/secret-id",
            "auth/approle2/role/dbt/secret-id",
            "auth/approle/role/dbt/custom-secret-id",
            "auth/approle/role//secret-id",
            "cubbyhole/auth/approle/role/dbt/secret-id",
            "sys/wrapping/wrap",
            "",
        ] {
            assert!(
                !is_secret_id_path(foreign, "approle", Some("dbt")),
                "{foreign}"
            );
        }
        assert!(!is_secret_id_path(
            "auth/approle/role/a/b/secret-id",
            "approle",
            None
        ));
        assert!(!is_secret_id_path(
            "auth/approle/role//secret-id",
            "approle",
            None
        ));
    }
}
