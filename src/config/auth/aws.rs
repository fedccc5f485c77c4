//! `method: aws`: the AWS identity of the machine, shown to Vault by a signed request that Vault sends to STS.
#![forbid(unsafe_code)]

use super::super::error::ConfigError;
use super::super::walk::{Cursor, Keys};
use super::{Claim, Context, Identity, Login, mount, plain_text, role_needed};

/// A login by the AWS identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aws {
    /// Where the method is mounted, below `auth/`.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The value of X-Vault-AWS-IAM-Server-ID, where the mount demands one: a request for another Vault is not good for this one.
    pub server_id: Option<String>,
    /// The region whose STS is named in the request; the global one's where it is not said.
    pub region: Option<String>,
    /// The profile of `~/.aws`; AWS's own rules where it is not said.
    pub profile: Option<String>,
    /// What the variables say of where the identity comes from, for people.
    pub why: String,
}

pub(super) const KEYS: Keys = Keys {
    known: &["method", "mount", "role", "server_id", "region", "profile"],
    later: &[],
    elsewhere: &[
        ("type", "it is always iam: a signed request"),
        ("header_value", "write `server_id: VALUE`"),
    ],
};

/// Reads the login.
pub(super) fn read(cursor: &Cursor<'_>, context: &Context<'_>) -> Result<Aws, ConfigError> {
    let object = cursor.object(&KEYS, "a mapping")?;
    let text = |key: &str, what: &str| {
        object
            .get(key)
            .map(|cursor| plain_text(cursor, what))
            .transpose()
    };
    let profile = text("profile", "the name of a profile in `~/.aws/config`")?;
    let region = match object.get("region") {
        None => None,
        Some(cursor) => Some(region(cursor)?),
    };
    Ok(Aws {
        mount: mount(&object, "aws")?,
        role: role_needed(&object)?,
        server_id: text("server_id", "the mount's `iam_server_id_header_value`")?,
        region,
        why: why(profile.as_deref(), context),
        profile,
    })
}

/// It is part of a host's name.
fn region(cursor: &Cursor<'_>) -> Result<String, ConfigError> {
    let region = cursor.text("a region, for example eu-central-1")?;
    if region.is_empty()
        || !region
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        return Err(cursor.bad("not a region", "write one such as `eu-central-1`"));
    }
    Ok(region.to_owned())
}

/// In AWS's own order, as far as variables tell.
fn why(profile: Option<&str>, context: &Context<'_>) -> String {
    let set = |name: &str| context.variables.text(name);
    let named = set("AWS_PROFILE").or_else(|| set("AWS_DEFAULT_PROFILE"));
    if let Some(profile) = profile {
        return format!("the profile {profile}, said by dbt-lease.yml");
    }
    if named.is_none() && set("AWS_ACCESS_KEY_ID").is_some() {
        return "AWS_ACCESS_KEY_ID is set".to_owned();
    }
    if let Some(profile) = named {
        return format!("the profile {profile}, said by AWS_PROFILE");
    }
    for name in [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ] {
        if set(name).is_some() {
            return format!("{name} is set; ~/.aws comes first where it has a default profile");
        }
    }
    "the default profile of ~/.aws, else the machine's role".to_owned()
}

impl Login for Aws {
    fn method(&self) -> &'static str {
        "aws"
    }

    fn mount(&self) -> Option<&str> {
        Some(&self.mount)
    }

    fn role(&self) -> Option<&str> {
        Some(&self.role)
    }

    fn source(&self) -> String {
        let server = match &self.server_id {
            Some(id) => format!(" for the server id {id}"),
            None => String::new(),
        };
        format!("AWS identity{server} ({})", self.why)
    }

    fn claims(&self) -> Vec<Claim> {
        vec![
            Claim::Role(self.mount.clone(), Identity::Role(self.role.clone())),
            Claim::Aws {
                profile: self.profile.clone(),
                server_id: self.server_id.clone(),
            },
        ]
    }
}
