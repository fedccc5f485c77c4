//! Which keys of an output hold a credential: the adapters' own keys (their credential classes, newest wheels, November 2026), and
//! names that say so.
//!
//! Two questions are asked. What may be *shown* is the broad one: a name that only sounds like a secret is masked, and nothing is
//! lost. What is to be *replaced* by a variable is the narrow one: a path of a key file or an address of a token's issuer is none.
#![forbid(unsafe_code)]

/// What a key of an output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A secret.
    Secret,
    /// The half of a credential that is no secret by itself and changes with it: a user's name, an access key's id.
    Identity,
    /// Neither.
    Other,
}

/// Whether a key's value is to be masked: the adapters' secret keys and whatever is named like one. Paths of key files are no secrets, and
/// are masked all the same: a name does not tell.
pub fn is_masked(path: &str) -> bool {
    // `sk`, `sts`: maxcompute's short names; `pat`: dremio's; `keytab`, `UID` are names, not values.
    const WHOLE: [&str; 4] = ["pat", "sk", "sts", "ak"];
    path.split('.').any(|part| {
        let name = part.to_lowercase();
        ["pass", "secret", "token", "key", "pwd", "credential"]
            .iter()
            .any(|word| name.contains(word))
            || WHOLE.contains(&name.as_str())
    })
}

/// What a key holds, by the adapter's table where it has one, else by its name alone. `nested` is whether it stands below another key of the
/// output: adapters' tables name the outermost ones.
pub fn role(adapter: Option<&str>, name: &str, nested: bool) -> Role {
    if !nested
        && let Some(known) = adapter.and_then(of_adapter)
        && let Some(role) = known
            .iter()
            .find_map(|(role, names)| names.contains(&name).then_some(*role))
    {
        return role;
    }
    of_name(name)
}

/// By the name alone, for nested keys and unknown adapters.
fn of_name(name: &str) -> Role {
    let name = name.to_lowercase().replace(['-', '.', ' '], "_");
    let ends = |words: &[&str]| words.iter().any(|word| name.ends_with(word));
    if IDENTITIES.contains(&name.as_str()) || ends(&IDENTITY_ENDS) {
        return Role::Identity;
    }
    if ends(&NO_SECRET_ENDS) || NO_SECRETS.contains(&name.as_str()) {
        return Role::Other;
    }
    if SECRETS.contains(&name.as_str())
        || ends(&SECRET_ENDS)
        || SECRET_WORDS.iter().any(|word| name.contains(word))
    {
        return Role::Secret;
    }
    Role::Other
}

/// The key of the secret without which an identity is none: `http_proxy_user` belongs to `http_proxy_password`, `client_id` to
/// `client_secret`; a plain `user` to any secret beside it.
pub fn belongs_to(identity: &str, secret: &str) -> bool {
    let normal = |name: &str| name.to_lowercase().replace(['-', '.', ' '], "_");
    let (identity, secret) = (normal(identity), normal(secret));
    if USERS.contains(&identity.as_str()) {
        return true;
    }
    // What stands before the word is the same on both sides: `s3_access_key_id`, `s3_secret_access_key`.
    let stem = IDENTITY_ENDS
        .iter()
        .chain(&IDENTITIES)
        .filter_map(|end| identity.strip_suffix(end))
        .min_by_key(|stem| stem.len())
        .unwrap_or_default();
    let Some(rest) = secret.strip_prefix(stem) else {
        return false;
    };
    if identity.contains("private_key") {
        rest.contains("private_key")
    } else if identity.ends_with("user") || identity.ends_with("username") {
        rest.contains("pass")
    } else {
        rest.contains("secret") || rest == "sk"
    }
}

/// Whether an identity is a user's name, and no id.
pub fn is_user(name: &str) -> bool {
    let name = name.to_lowercase();
    USERS.contains(&name.as_str()) || name.ends_with("_user") || name.ends_with("_username")
}

/// The names of users.
const USERS: [&str; 6] = ["user", "username", "user_name", "uid", "login", "user_id"];

const IDENTITIES: [&str; 12] = [
    "user",
    "username",
    "user_name",
    "uid",
    "login",
    "user_id",
    "key_id",
    "access_key_id",
    "client_id",
    "private_key_id",
    "ak",
    "app_id",
];

const IDENTITY_ENDS: [&str; 5] = [
    "_user",
    "_username",
    "_access_key_id",
    "_client_id",
    "_key_id",
];

/// Ends of names that speak of a secret and hold none.
const NO_SECRET_ENDS: [&str; 46] = [
    "_path",
    "_file",
    "_filename",
    "_uri",
    "_url",
    "_endpoint",
    "_type",
    "_name",
    "_arn",
    "_format",
    "_lifetime",
    "_ttl",
    "_expiry",
    "_expires",
    "_expiration",
    "_timeout",
    "_region",
    "_provider",
    "_host",
    "_server",
    "_scope",
    "_scopes",
    "_algorithm",
    "_dir",
    "_directory",
    "_location",
    "_method",
    "_mode",
    "_port",
    "_cache",
    "_enabled",
    "_required",
    "_field",
    "_column",
    "_prefix",
    "_seconds",
    "_minutes",
    "_length",
    "_class",
    "_version",
    "_store",
    "_audience",
    "_issuer",
    "_manager",
    "_strategy",
    "_storage",
];

/// Names that would be taken for a secret's, and are another thing's.
const NO_SECRETS: [&str; 3] = [
    // trino's: paths.
    "client_private_key",
    "client_certificate",
    "passcode_in_password",
];

const SECRETS: [&str; 16] = [
    "pass",
    "pw",
    "pat",
    "sas",
    "jwt",
    "bearer",
    "authorization",
    "proxy_authorization",
    "cookie",
    "auth_header",
    "otp",
    "sk",
    "sts",
    "psk",
    "apikey",
    "secretid",
];

const SECRET_ENDS: [&str; 5] = ["_pass", "_pw", "_pat", "_jwt", "_apikey"];

const SECRET_WORDS: [&str; 20] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "secret",
    "token",
    "credential",
    "api_key",
    "apikey",
    "private_key",
    "privatekey",
    "access_key",
    "accesskey",
    "account_key",
    "accountkey",
    "encryption_key",
    "shared_key",
    "signing_key",
    "auth_key",
];

type Keys = &'static [(Role, &'static [&'static str])];

const fn both(user: &'static [&'static str]) -> (Role, &'static [&'static str]) {
    (Role::Identity, user)
}

const fn secret(names: &'static [&'static str]) -> (Role, &'static [&'static str]) {
    (Role::Secret, names)
}

/// Keys whose names do not say what they hold, or say something else.
const ADAPTERS: &[(&[&str], Keys)] = &[
    (
        &["redshift"],
        &[
            both(&["user"]),
            secret(&["access_key_id", "secret_access_key"]),
        ],
    ),
    (
        &["bigquery"],
        &[both(&["client_id"]), secret(&["keyfile_json"])],
    ),
    (
        &["databricks"],
        &[secret(&["client_id", "azure_client_id"])],
    ),
    (&["athena"], &[secret(&["aws_access_key_id"])]),
    (
        &["maxcompute"],
        &[
            both(&["access_key_id", "ak"]),
            secret(&["access_key_secret", "sk", "security_token", "sts"]),
        ],
    ),
    (&["dremio"], &[both(&["UID"]), secret(&["PWD", "pat"])]),
    (
        &["sqlserver", "fabric", "synapse"],
        &[both(&["UID"]), secret(&["PWD", "app_secret"])],
    ),
    (&["fabricspark"], &[secret(&["accessToken"])]),
    (
        // Addresses, files and names, though they sound otherwise.
        &["oracle"],
        &[(
            Role::Other,
            &["connection_string", "tns_name", "wallet_location"],
        )],
    ),
];

fn of_adapter(adapter: &str) -> Option<Keys> {
    ADAPTERS
        .iter()
        .find(|(names, _)| names.contains(&adapter))
        .map(|(_, keys)| *keys)
}

#[cfg(test)]
mod tests {
    use super::{Role, belongs_to, is_masked, role};

    #[test]
    fn keys_named_like_secrets_are_masked_and_others_are_not() {
        for key in [
            "password",
            "pass",
            "PWD",
            "private_key_passphrase",
            "token",
            "client_secret",
            "keyfile_json.private_key",
            "secrets.0.x",
        ] {
            assert!(is_masked(key), "{key}");
        }
        for key in ["user", "host", "port", "schema", "threads", "sslmode"] {
            assert!(!is_masked(key), "{key}");
        }
    }

    #[test]
    fn every_adapter_s_secret_keys_are_secrets() {
        for (adapters, names) in [
            (
                "postgres materialize risingwave timescaledb",
                "password pass",
            ),
            ("redshift", "password pass access_key_id secret_access_key"),
            (
                "snowflake",
                "password private_key private_key_passphrase token oauth_client_secret",
            ),
            ("bigquery", "keyfile_json token refresh_token client_secret"),
            (
                "databricks",
                "token client_id client_secret azure_client_id azure_client_secret",
            ),
            ("spark", "token password"),
            ("trino", "password jwt_token"),
            ("clickhouse singlestore starrocks doris db2", "password"),
            (
                "athena",
                "aws_access_key_id aws_secret_access_key aws_session_token",
            ),
            (
                "sqlserver fabric synapse",
                "PWD pass password client_secret app_secret access_token",
            ),
            ("fabricspark", "client_secret accessToken"),
            ("mysql mysql5 mariadb", "password PWD"),
            ("oracle", "password pass"),
            (
                "teradata",
                "password PWD http_proxy_password https_proxy_password",
            ),
            ("exasol", "password pass access_token refresh_token"),
            ("vertica", "password oauth_access_token"),
            ("dremio", "PWD password pat"),
            ("firebolt", "password client_secret"),
            ("netezza impala hive", "password pass"),
            ("maxcompute", "access_key_secret sk security_token sts"),
            ("duckdb", "motherduck_token"),
            (
                "never_heard_of_it",
                "password pass token api_key my_secret X-Api-Key db_pwd",
            ),
        ] {
            for adapter in adapters.split(' ') {
                for name in names.split(' ') {
                    assert_eq!(
                        role(Some(adapter), name, false),
                        Role::Secret,
                        "{adapter}: {name}"
                    );
                }
            }
        }
    }

    #[test]
    fn names_and_ids_that_change_with_a_secret_are_identities() {
        for (adapter, name) in [
            ("postgres", "user"),
            ("mysql", "username"),
            ("sqlserver", "UID"),
            ("fabricspark", "client_id"),
            ("firebolt", "client_id"),
            ("maxcompute", "ak"),
            ("maxcompute", "access_key_id"),
            ("snowflake", "oauth_client_id"),
            ("teradata", "http_proxy_user"),
        ] {
            assert_eq!(
                role(Some(adapter), name, false),
                Role::Identity,
                "{adapter}: {name}"
            );
        }
    }

    #[test]
    fn paths_addresses_and_switches_are_no_credentials() {
        for name in [
            "keyfile",
            "private_key_path",
            "sslkey",
            "sslcert",
            "token_uri",
            "token_endpoint",
            "client_private_key",
            "keytab",
            "use_credential_provider",
            "secret_directory",
            "host",
            "schema",
            "threads",
            "key",
            "primary_key",
            "kms_key",
            "tenant_id",
            "role_arn",
            "aws_profile_name",
            "credentials_path",
            "connection_string",
            "secret_arn",
            "project_id",
            "client_email",
            "wallet_location",
            "authenticator",
            "token_lifetime",
        ] {
            assert_eq!(role(None, name, false), Role::Other, "{name}");
        }
    }

    #[test]
    fn an_identity_belongs_to_the_secret_of_its_own_pair() {
        for (identity, secret) in [
            ("user", "password"),
            ("username", "oauth_access_token"),
            ("client_id", "client_secret"),
            ("client_id", "app_secret"),
            ("oauth_client_id", "oauth_client_secret"),
            ("key_id", "secret"),
            ("s3_access_key_id", "s3_secret_access_key"),
            ("access_key_id", "access_key_secret"),
            ("ak", "sk"),
            ("private_key_id", "private_key"),
            ("http_proxy_user", "http_proxy_password"),
        ] {
            assert!(belongs_to(identity, secret), "{identity}: {secret}");
        }
        for (identity, secret) in [
            ("oauth_client_id", "password"),
            ("client_id", "token"),
            ("http_proxy_user", "password"),
            ("private_key_id", "password"),
        ] {
            assert!(!belongs_to(identity, secret), "{identity}: {secret}");
        }
    }
}
