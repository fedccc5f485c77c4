//! Which keys of an output take a credential's fields, by adapter.
//!
//! From the adapters' own credential classes (newest wheels, November 2026): the canonical key first, then its aliases. A key that is
//! missing here is no loss: `fields:` sets any key.

/// One of Vault's fields and the keys that take it, canonical first.
pub type FieldKeys = (&'static str, &'static [&'static str]);

const USER_PASSWORD: &[FieldKeys] = &[("username", &["user"]), ("password", &["password"])];
const USER_PASS: &[FieldKeys] = &[("username", &["user"]), ("password", &["password", "pass"])];
const USERNAME_PASSWORD: &[FieldKeys] = &[("username", &["username"]), ("password", &["password"])];
const USERNAME_ALIASES: &[FieldKeys] = &[
    ("username", &["username", "UID", "user"]),
    ("password", &["password", "PWD"]),
];
const USERNAME_PASS: &[FieldKeys] = &[
    ("username", &["username", "user"]),
    ("password", &["password", "pass"]),
];
const MICROSOFT: &[FieldKeys] = &[
    ("username", &["UID", "user", "username"]),
    ("password", &["PWD", "pass", "password"]),
];
const SNOWFLAKE_KEY: &[FieldKeys] = &[
    ("username", &["user"]),
    ("rsa_private_key", &["private_key"]),
];
// Vault names the session's token `session_token`, older versions `security_token`; an IAM user's credential has none.
const ATHENA: &[FieldKeys] = &[
    ("access_key", &["aws_access_key_id"]),
    ("secret_key", &["aws_secret_access_key"]),
    ("session_token", &["aws_session_token"]),
];
const ATHENA_OLDER: &[FieldKeys] = &[
    ("access_key", &["aws_access_key_id"]),
    ("secret_key", &["aws_secret_access_key"]),
    ("security_token", &["aws_session_token"]),
];
const ATHENA_USER: &[FieldKeys] = &[
    ("access_key", &["aws_access_key_id"]),
    ("secret_key", &["aws_secret_access_key"]),
];
const MAXCOMPUTE: &[FieldKeys] = &[
    ("access_key", &["access_key_id", "ak"]),
    ("secret_key", &["access_key_secret", "sk"]),
    ("security_token", &["security_token", "sts"]),
];
const TOKEN: &[FieldKeys] = &[("token", &["token"])];

/// What an adapter can take: each entry is one whole credential, all of whose fields the secret must have.
const ADAPTERS: &[(&[&str], &[&[FieldKeys]])] = &[
    (
        &[
            "postgres",
            "materialize",
            "risingwave",
            "timescaledb",
            "redshift",
        ],
        &[USER_PASS],
    ),
    (&["snowflake"], &[USER_PASSWORD, SNOWFLAKE_KEY]),
    (
        &["trino", "clickhouse", "singlestore", "db2", "firebolt"],
        &[USER_PASSWORD],
    ),
    (&["oracle", "exasol"], &[USER_PASS]),
    (&["spark"], &[USER_PASSWORD, TOKEN]),
    (&["bigquery", "databricks"], &[TOKEN]),
    (&["athena"], &[ATHENA, ATHENA_OLDER, ATHENA_USER]),
    (&["maxcompute"], &[MAXCOMPUTE]),
    (&["sqlserver", "fabric", "synapse"], &[MICROSOFT]),
    (
        &["mysql", "mysql5", "mariadb", "teradata"],
        &[USERNAME_ALIASES],
    ),
    (&["starrocks", "doris", "vertica"], &[USERNAME_PASSWORD]),
    (
        &["dremio"],
        &[&[
            ("username", &["UID", "username", "user"]),
            ("password", &["PWD", "password"]),
        ]],
    ),
    (&["netezza", "impala", "hive"], &[USERNAME_PASS]),
];

/// The credentials that an adapter's output can take, or `None` for an adapter that is not in the table.
pub fn credentials(adapter: &str) -> Option<&'static [&'static [FieldKeys]]> {
    ADAPTERS
        .iter()
        .find(|(names, _)| names.contains(&adapter))
        .map(|(_, credentials)| *credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_adapter_stands_twice() {
        let mut names: Vec<&str> = ADAPTERS
            .iter()
            .flat_map(|(names, _)| names.iter().copied())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
