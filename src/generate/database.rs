//! Database roles whose users come and go while what dbt makes stays: each engine's statements.
//!
//! PostgreSQL's and MySQL's are run by the tests (docs/generate.md); the others follow the documents of Vault's plugins and of the databases.
#![forbid(unsafe_code)]

use super::need::Need;
use super::quote;
use super::setting::Setting;
use super::text::Text;

/// What the statements are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Postgres,
    MySql,
    Redshift,
    Snowflake,
    SqlServer,
}

/// Where the plugin of a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) family: Family,
    pub(super) host: Setting,
    pub(super) port: Setting,
    pub(super) database: Setting,
    pub(super) sslmode: Setting,
    pub(super) warehouse: Setting,
}

/// The statements of a role.
#[derive(Clone, Debug)]
pub(super) struct Statements {
    pub(super) creation: Vec<Text>,
    pub(super) renew: Vec<Text>,
    pub(super) revocation: Vec<Text>,
    pub(super) rollback: Vec<Text>,
}

impl Family {
    /// Of an adapter; none where no statements are known.
    pub(super) fn of(adapter: &str) -> Option<Self> {
        Some(match adapter {
            "postgres" | "timescaledb" => Self::Postgres,
            "mysql" | "mysql5" | "mariadb" => Self::MySql,
            "redshift" => Self::Redshift,
            "snowflake" => Self::Snowflake,
            "sqlserver" => Self::SqlServer,
            _ => return None,
        })
    }

    /// Its word in templates.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::Redshift => "redshift",
            Self::Snowflake => "snowflake",
            Self::SqlServer => "sqlserver",
        }
    }

    /// Vault's plugin.
    pub(super) fn plugin(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql-database-plugin",
            Self::MySql => "mysql-database-plugin",
            Self::Redshift => "redshift-database-plugin",
            Self::Snowflake => "snowflake-database-plugin",
            Self::SqlServer => "mssql-database-plugin",
        }
    }

    /// The block of Terraform's resource.
    pub(super) fn block(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::MySql => "mysql",
            Self::Redshift => "redshift",
            Self::Snowflake => "snowflake",
            Self::SqlServer => "mssql",
        }
    }

    /// `connection_url`, from the variables of a connection.
    pub(super) fn url(self, variable: &str) -> Text {
        let of = |suffix: &str| format!("{variable}_{suffix}");
        let known = Text::known;
        match self {
            Self::Postgres | Self::Redshift => known("postgresql://{{username}}:{{password}}@")
                .then_variable(of("HOST"))
                .then(":")
                .then_variable(of("PORT"))
                .then("/")
                .then_variable(of("DATABASE"))
                .then("?sslmode=")
                .then_variable(of("SSLMODE")),
            Self::MySql => known("{{username}}:{{password}}@tcp(")
                .then_variable(of("HOST"))
                .then(":")
                .then_variable(of("PORT"))
                .then(")/?tls=")
                .then_variable(of("SSLMODE")),
            Self::Snowflake => known("{{username}}:{{password}}@")
                .then_variable(of("HOST"))
                .then(".snowflakecomputing.com/")
                .then_variable(of("DATABASE")),
            Self::SqlServer => known("sqlserver://{{username}}:{{password}}@")
                .then_variable(of("HOST"))
                .then(":")
                .then_variable(of("PORT"))
                .then("?encrypt=")
                .then_variable(of("SSLMODE")),
        }
    }

    /// What is asked for at the top for a connection.
    pub(super) fn needs(self, variable: &str, environment: &str, place: &Place) -> Vec<Need> {
        let need = |suffix: &str, why: String, setting: &Setting| Need {
            name: format!("{variable}_{suffix}"),
            why,
            setting: setting.clone(),
            optional: false,
        };
        let or = |setting: &Setting, otherwise: &str| match setting {
            Setting::Unknown => Setting::Known(otherwise.to_owned()),
            known => known.clone(),
        };
        let host = match self {
            Self::Snowflake => "the Snowflake account",
            _ => "the database's host, as Vault reaches it",
        };
        let mut needs = vec![need("HOST", format!("{environment}: {host}"), &place.host)];
        let (port, ssl) = match self {
            Self::Postgres => ("5432", "require"),
            Self::Redshift => ("5439", "require"),
            Self::MySql => ("3306", "true"),
            Self::SqlServer => ("1433", "true"),
            Self::Snowflake => ("", ""),
        };
        if self != Self::Snowflake {
            needs.push(need(
                "PORT",
                format!("{environment}: its port"),
                &or(&place.port, port),
            ));
        }
        needs.push(need(
            "DATABASE",
            format!("{environment}: the database"),
            &place.database,
        ));
        if self != Self::Snowflake {
            let why = match self {
                Self::MySql => "TLS from Vault to the database: true, false, skip-verify",
                Self::SqlServer => "TLS from Vault to the database: true, false, disable",
                _ => "TLS from Vault to the database: libpq's sslmode",
            };
            let said = match self {
                Self::Postgres | Self::Redshift => or(&place.sslmode, ssl),
                _ => Setting::Known(ssl.to_owned()),
            };
            needs.push(need("SSLMODE", format!("{environment}: {why}"), &said));
        }
        needs
    }

    /// How its users are called: by environment, by who logged in, and by chance. The lengths are the engines' own.
    pub(super) fn username_template(self, environment: &str) -> String {
        let short: String = quote::slug(environment, '-').chars().take(16).collect();
        match self {
            // 32 characters, and none to spare for who logged in.
            Self::MySql => format!(
                "{{{{ printf \"dbt-{}-%s\" (random 12) | truncate 32 }}}}",
                short.chars().take(14).collect::<String>()
            ),
            Self::Snowflake => format!(
                "{{{{ printf \"DBT_{}_%s_%s_%s\" (.DisplayName | truncate 24) (random 12) (unix_time) | truncate 255 | replace \"-\" \"_\" | uppercase }}}}",
                short
            ),
            _ => format!(
                "{{{{ printf \"dbt-{short}-%s-%s-%s\" (.DisplayName | truncate 16) (random 12) (unix_time) | truncate 63 }}}}"
            ),
        }
    }

    /// The statements of a role whose users act as `owner`.
    pub(super) fn statements(self, owner: &str, schema: &Text, database: &Text) -> Statements {
        let list = |texts: &[String]| texts.iter().map(Text::known).collect::<Vec<_>>();
        let known = |text: &str| Text::known(text);
        match self {
            Self::Postgres => Statements {
                creation: list(&[
                    format!(
                        "CREATE ROLE \"{{{{name}}}}\" LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}' IN ROLE {owner};"
                    ),
                    // What dbt makes belongs to the group, so that the next user can replace it.
                    format!("ALTER ROLE \"{{{{name}}}}\" SET role = '{owner}';"),
                ]),
                renew: vec![known(
                    "ALTER ROLE \"{{name}}\" VALID UNTIL '{{expiration}}';",
                )],
                revocation: vec![
                    known("ALTER ROLE \"{{name}}\" NOLOGIN;"),
                    known(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}';",
                    ),
                    known("DROP ROLE IF EXISTS \"{{name}}\";"),
                ],
                rollback: vec![known("DROP ROLE IF EXISTS \"{{name}}\";")],
            },
            Self::MySql => {
                let grant = |suffix: &str| {
                    Text::known(
                        "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, LOCK TABLES, CREATE TEMPORARY TABLES, CREATE VIEW, SHOW VIEW ON `",
                    )
                    .joined(schema)
                    .then(format!("{suffix}`.* TO '{{{{name}}}}'@'%';"))
                };
                Statements {
                    creation: vec![
                        known("CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}';"),
                        grant(""),
                        // dbt's custom schemas.
                        grant("\\_%"),
                    ],
                    renew: Vec::new(),
                    revocation: vec![
                        known("ALTER USER IF EXISTS '{{name}}'@'%' ACCOUNT LOCK;"),
                        // A session outlives DROP USER.
                        known("CALL dbt_lease.end_sessions('{{name}}');"),
                        known("DROP USER IF EXISTS '{{name}}'@'%';"),
                    ],
                    rollback: vec![known("DROP USER IF EXISTS '{{name}}'@'%';")],
                }
            }
            Self::Redshift => Statements {
                creation: list(&[
                    format!(
                        "CREATE USER \"{{{{name}}}}\" PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}' IN GROUP {owner};"
                    ),
                    // What it makes is the group's to replace, at once.
                    format!(
                        "ALTER DEFAULT PRIVILEGES FOR USER \"{{{{name}}}}\" GRANT SELECT, INSERT, UPDATE, DELETE, DROP, REFERENCES, ALTER, TRUNCATE ON TABLES TO GROUP {owner};"
                    ),
                ]),
                renew: vec![known(
                    "ALTER USER \"{{name}}\" VALID UNTIL '{{expiration}}';",
                )],
                revocation: vec![known("CALL dbt_lease.end_user('{{name}}');")],
                rollback: vec![known("DROP USER IF EXISTS \"{{name}}\";")],
            },
            Self::Snowflake => Statements {
                creation: list(&[
                    format!(
                        "CREATE USER {{{{name}}}} TYPE = SERVICE RSA_PUBLIC_KEY = '{{{{public_key}}}}' DAYS_TO_EXPIRY = {{{{expiration}}}} DEFAULT_ROLE = {owner} COMMENT = 'leased by Vault';"
                    ),
                    format!("GRANT ROLE {owner} TO USER {{{{name}}}};"),
                ]),
                renew: vec![known(
                    "ALTER USER {{name}} SET DAYS_TO_EXPIRY = {{expiration}};",
                )],
                revocation: vec![
                    known("ALTER USER IF EXISTS {{name}} SET DISABLED = TRUE;"),
                    known("ALTER USER IF EXISTS {{name}} ABORT ALL QUERIES;"),
                    known("DROP USER IF EXISTS {{name}};"),
                ],
                rollback: vec![known("DROP USER IF EXISTS {{name}};")],
            },
            Self::SqlServer => Statements {
                creation: vec![
                    known("CREATE LOGIN [{{name}}] WITH PASSWORD = '{{password}}';"),
                    Text::known("USE [").joined(database).then("];"),
                    Text::known(
                        "CREATE USER [{{name}}] FOR LOGIN [{{name}}] WITH DEFAULT_SCHEMA = [",
                    )
                    .joined(schema)
                    .then("];"),
                    Text::known(format!("ALTER ROLE {owner} ADD MEMBER [{{{{name}}}}];")),
                ],
                renew: Vec::new(),
                // The plugin's own: it disables the login, ends its sessions, and drops the users and the login.
                revocation: Vec::new(),
                rollback: Vec::new(),
            },
        }
    }
}

/// The role that owns what dbt makes, from the name of Vault's role: letters, digits and `_`, so that it needs no quotes anywhere.
pub(super) fn owner(role: &str) -> String {
    let made: String = role
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    let made = if made.starts_with(|c: char| c.is_ascii_digit()) {
        format!("dbt_{made}")
    } else {
        made
    };
    // PostgreSQL cuts names at 63 bytes without a word; two long ones must stay two.
    if made.len() > 48 {
        format!(
            "{}_{}",
            &made[..40],
            &crate::crypto::sha256(role.as_bytes())[..8]
        )
    } else {
        made
    }
}
