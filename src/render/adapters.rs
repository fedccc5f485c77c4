//! Which keys of an output take a credential's fields, by adapter.
//!
//! From the adapters' own credential classes (newest wheels, November 2026); `just adapters` runs them on what is made by this table. A
//! key that is missing here is no loss: `fields:` sets any key.

/// One whole credential: all of its fields must be there.
#[derive(Debug)]
pub struct Credential {
    /// The fields with their keys.
    pub takes: &'static [Take],
    /// What the output must say beside them, or the adapter would not look at them.
    pub says: &'static [Says],
    /// Fields that it must not have: the adapter has no key for them, and the rest would be refused without.
    pub without: &'static [&'static str],
}

/// A field and the keys that take it.
#[derive(Debug)]
pub struct Take {
    /// The field's name, as the engines have it; the first that is there counts.
    pub fields: &'static [&'static str],
    /// The keys, canonical first, then its aliases.
    pub keys: &'static [&'static str],
    /// What the key gets.
    pub form: Form,
}

/// A key that tells the adapter how to log in.
#[derive(Debug)]
pub struct Says {
    /// The key, canonical first, then its aliases.
    pub keys: &'static [&'static str],
    /// What it may say; all is well where there is none. The first is set where the output says nothing.
    pub values: &'static [&'static str],
}

/// What a key gets of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The value as it is.
    AsItIs,
    /// The path of a 0600 file with the value.
    File,
    /// A mapping: the field is base64 of its JSON.
    Base64Json,
}

impl Take {
    /// The field that a secret has, of those that will do.
    pub fn field(&self, has: impl Fn(&str) -> bool) -> Option<&'static str> {
        self.fields.iter().copied().find(|field| has(field))
    }
}

const fn take(fields: &'static [&'static str], keys: &'static [&'static str]) -> Take {
    Take {
        fields,
        keys,
        form: Form::AsItIs,
    }
}

const fn in_file(fields: &'static [&'static str], keys: &'static [&'static str]) -> Take {
    Take {
        fields,
        keys,
        form: Form::File,
    }
}

const fn credential(takes: &'static [Take]) -> Credential {
    Credential {
        takes,
        says: &[],
        without: &[],
    }
}

const fn saying(takes: &'static [Take], says: &'static [Says]) -> Credential {
    Credential {
        takes,
        says,
        without: &[],
    }
}

const fn says(keys: &'static [&'static str], values: &'static [&'static str]) -> Says {
    Says { keys, values }
}

// A library of LDAP accounts gives `service_account_name`.
const USERNAME: &[&str] = &["username", "service_account_name"];
const PASSWORD: &[&str] = &["password"];
/// Vault names the session's token `session_token`, older versions `security_token`; an IAM user's credential has none.
const SESSION: &[&str] = &["session_token", "security_token"];
/// PKI names it `certificate`, the database engine `client_certificate`.
const CERTIFICATE: &[&str] = &["client_certificate", "certificate"];

const USER_PASSWORD: Credential =
    credential(&[take(USERNAME, &["user"]), take(PASSWORD, &["password"])]);
const USER_PASS: Credential = credential(&[
    take(USERNAME, &["user"]),
    take(PASSWORD, &["password", "pass"]),
]);
const USERNAME_PASSWORD: Credential =
    credential(&[take(USERNAME, &["username"]), take(PASSWORD, &["password"])]);
const USERNAME_ALIASES: Credential = credential(&[
    take(USERNAME, &["username", "UID", "user"]),
    take(PASSWORD, &["password", "PWD"]),
]);
const USERNAME_PASS: Credential = credential(&[
    take(USERNAME, &["username", "user"]),
    take(PASSWORD, &["password", "pass"]),
]);
const MICROSOFT: Credential = credential(&[
    take(USERNAME, &["UID", "user", "username"]),
    take(PASSWORD, &["PWD", "pass", "password"]),
]);
const MICROSOFT_APP: Credential = saying(
    &[
        take(&["client_id"], &["client_id", "app_id"]),
        take(&["client_secret"], &["client_secret", "app_secret"]),
    ],
    &[says(
        &["authentication", "auth"],
        &["ServicePrincipal", "ActiveDirectoryServicePrincipal"],
    )],
);
const APP: Credential = credential(&[
    take(&["client_id"], &["client_id"]),
    take(&["client_secret"], &["client_secret"]),
]);
const TOKEN: Credential = credential(&[take(&["token"], &["token"])]);

/// dbt-postgres wants a `password`, also beside a certificate.
const NO_PASSWORD: &[Says] = &[Says {
    keys: &["password", "pass"],
    values: &[],
}];
const POSTGRES_USER_CERTIFICATE: Credential = saying(
    &[
        take(USERNAME, &["user"]),
        in_file(CERTIFICATE, &["sslcert"]),
        in_file(&["private_key"], &["sslkey"]),
    ],
    NO_PASSWORD,
);
const POSTGRES_CERTIFICATE: Credential = saying(
    &[
        in_file(CERTIFICATE, &["sslcert"]),
        in_file(&["private_key"], &["sslkey"]),
    ],
    NO_PASSWORD,
);
const REDSHIFT_USER: Credential = Credential {
    takes: &[
        take(&["access_key"], &["access_key_id"]),
        take(&["secret_key"], &["secret_access_key"]),
    ],
    says: &[says(&["method"], &["iam", "iam_role"])],
    without: SESSION,
};
/// The key as PEM: dbt-snowflake reads that and base64 of DER.
const SNOWFLAKE_KEY: Credential = credential(&[
    take(USERNAME, &["user"]),
    take(&["rsa_private_key"], &["private_key"]),
]);
const TRINO_PASSWORD: Credential = saying(
    &[take(USERNAME, &["user"]), take(PASSWORD, &["password"])],
    &[says(&["method"], &["ldap"])],
);
const TRINO_CERTIFICATE: Credential = saying(
    &[
        in_file(CERTIFICATE, &["client_certificate"]),
        in_file(&["private_key"], &["client_private_key"]),
    ],
    &[says(&["method"], &["certificate"])],
);
const TRINO_TOKEN: Credential = saying(
    &[take(&["jwt_token", "token"], &["jwt_token"])],
    &[says(&["method"], &["jwt"])],
);
const CLICKHOUSE_CERTIFICATE: Credential = credential(&[
    in_file(CERTIFICATE, &["client_cert"]),
    in_file(&["private_key"], &["client_cert_key"]),
]);
const BIGQUERY_KEY: Credential = saying(
    &[Take {
        fields: &["private_key_data"],
        keys: &["keyfile_json"],
        form: Form::Base64Json,
    }],
    &[says(&["method"], &["service-account-json"])],
);
const BIGQUERY_TOKEN: Credential = saying(
    &[take(&["token"], &["token"])],
    &[says(&["method"], &["oauth-secrets"])],
);
const DATABRICKS_AZURE: Credential = saying(
    &[
        take(&["client_id"], &["azure_client_id"]),
        take(&["client_secret"], &["azure_client_secret"]),
    ],
    &[says(&["auth_type"], &["oauth"])],
);
const ATHENA: Credential = credential(&[
    take(&["access_key"], &["aws_access_key_id"]),
    take(&["secret_key"], &["aws_secret_access_key"]),
    take(SESSION, &["aws_session_token"]),
]);
const ATHENA_USER: Credential = credential(&[
    take(&["access_key"], &["aws_access_key_id"]),
    take(&["secret_key"], &["aws_secret_access_key"]),
]);
const MAXCOMPUTE: Credential = credential(&[
    take(&["access_key"], &["access_key_id", "ak"]),
    take(&["secret_key"], &["access_key_secret", "sk"]),
    take(&["security_token"], &["security_token", "sts"]),
]);
const DREMIO: Credential = credential(&[
    take(USERNAME, &["UID", "username", "user"]),
    take(PASSWORD, &["PWD", "password"]),
]);
/// The first of its `secrets`, beside what the output says there (`region`, `scope`).
const DUCKDB: Credential = saying(
    &[
        take(&["access_key"], &["secrets.0.key_id"]),
        take(&["secret_key"], &["secrets.0.secret"]),
        take(SESSION, &["secrets.0.session_token"]),
    ],
    &[says(&["secrets.0.type"], &["s3", "r2"])],
);
const DUCKDB_USER: Credential = saying(
    &[
        take(&["access_key"], &["secrets.0.key_id"]),
        take(&["secret_key"], &["secrets.0.secret"]),
    ],
    &[says(&["secrets.0.type"], &["s3", "r2"])],
);
const DUCKDB_MOTHERDUCK: Credential =
    credential(&[take(&["motherduck_token"], &["motherduck_token"])]);

/// What an adapter can take, in the order in which a secret is tried.
const ADAPTERS: &[(&[&str], &[Credential])] = &[
    (
        &["postgres", "materialize", "risingwave", "timescaledb"],
        &[USER_PASS, POSTGRES_USER_CERTIFICATE, POSTGRES_CERTIFICATE],
    ),
    (&["redshift"], &[USER_PASS, REDSHIFT_USER]),
    (&["snowflake"], &[USER_PASSWORD, SNOWFLAKE_KEY]),
    (
        &["trino"],
        &[TRINO_PASSWORD, TRINO_CERTIFICATE, TRINO_TOKEN],
    ),
    (&["clickhouse"], &[USER_PASSWORD, CLICKHOUSE_CERTIFICATE]),
    (&["singlestore", "db2"], &[USER_PASSWORD]),
    (&["firebolt"], &[USER_PASSWORD, APP]),
    (&["oracle", "exasol"], &[USER_PASS]),
    (&["spark"], &[USER_PASSWORD, TOKEN]),
    (&["bigquery"], &[BIGQUERY_TOKEN, BIGQUERY_KEY]),
    (&["databricks"], &[TOKEN, DATABRICKS_AZURE]),
    (&["athena"], &[ATHENA, ATHENA_USER]),
    (&["maxcompute"], &[MAXCOMPUTE]),
    (
        &["sqlserver", "fabric", "synapse"],
        &[MICROSOFT, MICROSOFT_APP],
    ),
    (&["fabricspark"], &[APP]),
    (
        &["mysql", "mysql5", "mariadb", "teradata"],
        &[USERNAME_ALIASES],
    ),
    (&["starrocks", "doris", "vertica"], &[USERNAME_PASSWORD]),
    (&["dremio"], &[DREMIO]),
    (&["netezza", "impala", "hive"], &[USERNAME_PASS]),
    (&["duckdb"], &[DUCKDB, DUCKDB_USER, DUCKDB_MOTHERDUCK]),
    // It has no key for a credential: its client reads variables.
    (&["glue"], &[]),
];

/// The credentials that an adapter's output can take, or `None` for an adapter that is not in the table.
pub fn credentials(adapter: &str) -> Option<&'static [Credential]> {
    ADAPTERS
        .iter()
        .find(|(names, _)| names.contains(&adapter))
        .map(|(_, credentials)| *credentials)
}

/// The adapters in the table.
pub fn adapters() -> impl Iterator<Item = &'static str> {
    ADAPTERS.iter().flat_map(|(names, _)| names.iter().copied())
}

/// The keys of an adapter that take a field, each with its aliases.
pub fn spellings(adapter: &str) -> impl Iterator<Item = &'static [&'static str]> {
    credentials(adapter)
        .unwrap_or_default()
        .iter()
        .flat_map(|credential| credential.takes)
        .map(|take| take.keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_adapter_stands_twice() {
        let mut names: Vec<&str> = adapters().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_credential_is_not_hidden_by_a_lesser_one_before_it() {
        for (names, credentials) in ADAPTERS {
            for (at, later) in credentials.iter().enumerate() {
                let hides = |earlier: &Credential| {
                    earlier.without.is_empty()
                        && earlier.takes.iter().all(|take| {
                            later.takes.iter().any(|other| {
                                other.fields.iter().any(|field| take.fields.contains(field))
                            })
                        })
                };
                assert!(!credentials[..at].iter().any(hides), "{names:?}: {later:?}");
            }
        }
    }
}
