//! What enters dbt's `profile_hash`, by adapter: its connection keys with their defaults, and the releases with which that was compared.
//!
//! From the adapters' own credential classes; `just warm-adapters` runs them on random outputs beside this table. A wrong entry makes a
//! run cold and never wrong: the hash of the last run's values is compared with dbt's own before anything is touched.
#![forbid(unsafe_code)]

use super::python::Hashed;
use crate::dbt::jinja::Value;

/// An adapter whose keys hold what a lease changes.
pub(super) struct Adapter {
    /// `type:` of an output.
    pub(super) name: &'static str,
    /// Its package's name, as its metadata directory has it.
    pub(super) package: &'static str,
    /// `(minor, patch)` of its releases 1.MINOR up to which it was compared.
    releases: &'static [(u32, u32)],
    /// `key` or `key=default`, in Python's words; one list a time that they changed, newest first.
    keys: &'static [&'static str],
    /// `(spelling, key)`
    pub(super) aliases: &'static [(&'static str, &'static str)],
    /// Packages whose macros are the adapter's and dbt's own: `target` is nothing but a parameter's name in them.
    pub(super) macros: &'static [&'static str],
}

/// dbt-core's releases with which the whole was compared: `(minor, patch)`, as above.
const CORE: &[(u32, u32)] = &[(9, 11), (11, 16), (12, 0)];

/// A member of an enumeration, of which Python shows more than its value.
const REDSHIFT_METHOD: &str = "RedshiftConnectionMethod.DATABASE";

const POSTGRES_ALIASES: &[(&str, &str)] = &[("dbname", "database"), ("pass", "password")];

const MICROSOFT_ALIASES: &[(&str, &str)] = &[
    ("user", "UID"),
    ("username", "UID"),
    ("pass", "PWD"),
    ("password", "PWD"),
    ("server", "host"),
    ("trusted_connection", "windows_login"),
    ("auth", "authentication"),
    ("app_id", "client_id"),
    ("app_secret", "client_secret"),
    ("TrustServerCertificate", "trust_cert"),
    ("schema_auth", "schema_authorization"),
    ("SQL_ATTR_TRACE", "trace_flag"),
];

const ADAPTERS: &[Adapter] = &[
    Adapter {
        name: "postgres",
        package: "dbt_postgres",
        releases: &[(9, 1), (11, 0)],
        keys: &[
            "host port user database schema connect_timeout=10 role=None search_path=None keepalives_idle=0 sslmode=None \
         sslcert=None sslkey=None sslrootcert=None application_name='dbt' autocommit=False retries=1",
            "host port user database schema connect_timeout=10 role=None search_path=None keepalives_idle=0 sslmode=None \
         sslcert=None sslkey=None sslrootcert=None application_name='dbt' retries=1",
        ],
        aliases: POSTGRES_ALIASES,
        macros: &["dbt", "dbt_postgres"],
    },
    Adapter {
        name: "redshift",
        package: "dbt_redshift",
        releases: &[(9, 5), (11, 2)],
        keys: &[
            "host user=None port database method=RedshiftConnectionMethod.DATABASE cluster_id=None iam_profile=None schema sslmode='prefer' region=None \
         sslmode='prefer' region=None autocreate=False db_groups=[] ra3_node=False datasharing=False connect_timeout=None \
         role=None retries=1 retry_all=False autocommit=True access_key_id=None is_serverless=None serverless_work_group=None \
         serverless_acct_id=None tcp_keepalive=True tcp_keepalive_idle=None tcp_keepalive_interval=None \
         tcp_keepalive_count=None query_group=None allow_concurrent_drops=False drop_without_cascade=False",
            "host user=None port database method=RedshiftConnectionMethod.DATABASE cluster_id=None iam_profile=None schema sslmode='prefer' region=None \
         sslmode='prefer' region=None autocreate=False db_groups=[] ra3_node=False connect_timeout=None role=None retries=1 \
         retry_all=False autocommit=True access_key_id=None is_serverless=None serverless_work_group=None \
         serverless_acct_id=None",
        ],
        aliases: POSTGRES_ALIASES,
        macros: &["dbt", "dbt_postgres", "dbt_redshift"],
    },
    Adapter {
        name: "snowflake",
        package: "dbt_snowflake",
        releases: &[(9, 4), (12, 4)],
        keys: &[
            "account user=None database warehouse=None role=None schema authenticator=None oauth_client_id=None query_tag=None \
         client_session_keep_alive=False host=None port=None proxy_host=None proxy_port=None protocol=None connect_retries=1 \
         connect_timeout=None retry_on_database_errors=False retry_all=False insecure_mode=False reuse_connections=None \
         s3_stage_vpce_dns_name=None workload_identity_provider=None workload_identity_entra_resource=None \
         platform_detection_timeout_seconds=0.0",
            "account user=None database warehouse=None role=None schema authenticator=None oauth_client_id=None query_tag=None \
         client_session_keep_alive=False host=None port=None proxy_host=None proxy_port=None protocol=None connect_retries=1 \
         connect_timeout=None retry_on_database_errors=False retry_all=False insecure_mode=False reuse_connections=None",
        ],
        aliases: &[],
        macros: &["dbt", "dbt_snowflake"],
    },
    Adapter {
        name: "trino",
        package: "dbt_trino",
        releases: &[(9, 3), (11, 0)],
        keys: &[
            "host port user=None database schema cert=None prepared_statements_enabled=True starburst_url=None \
         starburst_metadata_failure_strategy='continue_on_error' starburst_max_column_batch_size=100",
            "host port user=None database schema cert=None prepared_statements_enabled=True",
        ],
        aliases: &[("catalog", "database")],
        macros: &["dbt", "dbt_trino"],
    },
    Adapter {
        name: "clickhouse",
        package: "dbt_clickhouse",
        releases: &[(9, 8), (10, 3)],
        keys: &[
            "driver=None host='localhost' port=None user='default' schema='default' retries=1 cluster=None database_engine=None \
         cluster_mode=False secure=False verify=True client_cert=None client_cert_key=None connect_timeout=10 \
         send_receive_timeout=300 sync_request_timeout=5 compress_block_size=1048576 compression='' check_exchange=True \
         custom_settings=None use_lw_deletes=False allow_automatic_deduplication=False tcp_keepalive=False \
         reuse_connections=True server_host_name=None",
            "driver=None host='localhost' port=None user='default' schema='default' retries=1 cluster=None database_engine=None \
         cluster_mode=False secure=False verify=True client_cert=None client_cert_key=None connect_timeout=10 \
         send_receive_timeout=300 sync_request_timeout=5 compress_block_size=1048576 compression='' check_exchange=True \
         custom_settings=None use_lw_deletes=False allow_automatic_deduplication=False tcp_keepalive=False",
        ],
        aliases: &[],
        macros: &["dbt", "dbt_clickhouse"],
    },
    Adapter {
        name: "oracle",
        package: "dbt_oracle",
        releases: &[(9, 3), (11, 1), (12, 0)],
        keys: &[
            "user=None database=None schema=None protocol=None host=None port=None tns_name=None service=None \
         connection_string=None shardingkey=[] supershardingkey=[] cclass=None purity=None retry_count=1 retry_delay=3 \
         oml_cloud_service_url=None session_info={}",
        ],
        aliases: POSTGRES_ALIASES,
        macros: &["dbt", "dbt_oracle"],
    },
    Adapter {
        name: "sqlserver",
        package: "dbt_sqlserver",
        releases: &[(9, 2), (11, 3), (12, 1)],
        keys: &[
            "driver=None server=None port=1433 database=None schema=None UID=None authentication='sql' windows_login=False \
         retries=3 login_timeout=0 query_timeout=0 trace_flag=False encrypt=True trust_cert=False backend='pyodbc' \
         xact_abort=True",
            "server port=1433 database schema UID=None authentication='sql' retries=3 login_timeout=0 query_timeout=0 \
         trace_flag=False encrypt=True trust_cert=False",
            "server=None port=1433 database=None schema=None UID=None authentication='sql' windows_login=False retries=3 \
         login_timeout=0 query_timeout=0 trace_flag=False encrypt=True trust_cert=False backend='pyodbc' xact_abort=True",
        ],
        aliases: MICROSOFT_ALIASES,
        macros: &["dbt", "dbt_fabric", "dbt_sqlserver"],
    },
    Adapter {
        name: "exasol",
        package: "dbt_exasol",
        releases: &[(12, 2)],
        keys: &[
            "dsn user='' database='DB' schema connection_timeout=10 socket_timeout=30 query_timeout=0 compression=False \
         encryption=True validate_server_certificate=True protocol_version='v3' row_separator=None \
         timestamp_format='YYYY-MM-DDTHH:MI:SS.FF6'",
        ],
        aliases: POSTGRES_ALIASES,
        macros: &["dbt", "dbt_exasol"],
    },
    Adapter {
        name: "vertica",
        package: "dbt_vertica",
        releases: &[(12, 0)],
        keys: &[
            "host port=5433 database username schema connection_load_balance=True autocommit=False",
        ],
        aliases: &[],
        macros: &["dbt", "dbt_vertica"],
    },
    Adapter {
        name: "starrocks",
        package: "dbt_starrocks",
        releases: &[(12, 2)],
        keys: &[
            "host=None port=None schema=None catalog='default_catalog' username=None use_pure=None is_async=False \
         async_query_timeout=300 poll_interval=1 poll_max_delay=600 poll_factor=2.0 auth_plugin=''",
        ],
        aliases: &[],
        macros: &["dbt", "dbt_starrocks"],
    },
    Adapter {
        name: "singlestore",
        package: "dbt_singlestore",
        releases: &[(10, 1)],
        keys: &["host='localhost' port=3306 user='root' database schema=None"],
        aliases: &[],
        macros: &["dbt", "dbt_singlestore"],
    },
];

/// The adapter of an output's `type:`.
pub(super) fn adapter(name: &str) -> Option<&'static Adapter> {
    ADAPTERS.iter().find(|adapter| adapter.name == name)
}

/// Whether this release of dbt-core was compared.
pub(super) fn is_core_compared(version: &str) -> bool {
    is_in(CORE, version)
}

fn is_in(releases: &[(u32, u32)], version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
    // Anything behind the numbers is a release before a release.
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Some(1)), Some(Some(minor)), Some(Some(patch)), None) => releases
            .iter()
            .any(|(known, until)| *known == minor && patch <= *until),
        _ => false,
    }
}

impl Adapter {
    /// Whether this release of it was compared.
    pub(super) fn is_compared(&self, version: &str) -> bool {
        is_in(self.releases, version)
    }

    /// The lists of connection keys, each key with its default; none is a key that must be there.
    pub(super) fn lists(&self) -> impl Iterator<Item = Vec<(&'static str, Option<Hashed>)>> {
        self.keys.iter().map(|keys| {
            keys.split_whitespace()
                .map(|word| match word.split_once('=') {
                    Some((key, default)) => (key, Some(literal(default))),
                    None => (word, None),
                })
                .collect()
        })
    }

    /// The key that a spelling means.
    pub(super) fn canonical<'k>(&self, spelling: &'k str) -> &'k str {
        self.aliases
            .iter()
            .find(|(alias, _)| *alias == spelling)
            .map_or(spelling, |(_, key)| key)
    }

    /// The spellings of a key, the key itself first.
    pub(super) fn spellings<'k>(&self, key: &'k str) -> impl Iterator<Item = &'k str> {
        let aliases = self.aliases.iter().filter(move |(_, of)| *of == key);
        std::iter::once(key).chain(aliases.map(|(alias, _)| *alias))
    }

    /// What the adapter itself changes in the values.
    pub(super) fn finish(&self, values: &mut [(&'static str, Hashed)]) {
        if self.name != "snowflake" {
            return;
        }
        let alive = values.iter().any(|(key, value)| {
            *key == "client_session_keep_alive" && *value == Hashed::Value(Value::Bool(true))
        });
        for (key, value) in values {
            let Hashed::Value(value) = value else {
                continue;
            };
            match (*key, &value) {
                ("account", Value::Str(text, _)) => *value = Value::text(text.replace('_', "-")),
                ("reuse_connections", Value::None) if !alive => *value = Value::Bool(true),
                _ => {}
            }
        }
    }
}

/// A default as the table writes it.
fn literal(text: &'static str) -> Hashed {
    Hashed::Value(match text {
        "None" => Value::None,
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        "[]" => Value::List(Vec::new()),
        "{}" => Value::Dict(Vec::new()),
        REDSHIFT_METHOD => return Hashed::Shown("<RedshiftConnectionMethod.DATABASE: 'database'>"),
        quoted if quoted.starts_with('\'') => Value::text(quoted.trim_matches('\'')),
        number => match number.parse() {
            Ok(whole) => Value::Int(whole),
            Err(_) => Value::Float(
                number
                    .parse()
                    .expect("a number, since the table's test reads all of it"),
            ),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read() {
        for adapter in ADAPTERS {
            for list in adapter.lists() {
                assert!(list.len() > 3, "{}", adapter.name);
            }
        }
    }

    #[test]
    fn a_release_beyond_the_last_that_was_compared_is_unknown() {
        for (version, known) in [
            ("1.12.0", true),
            ("1.12.1", false),
            ("1.11.16", true),
            ("1.11.3", true),
            ("1.10.3", false),
            ("1.9.0b1", false),
            ("1.9.0rc1", false),
            ("1.9.11.post1", false),
            ("2.0.0", false),
            ("1.9", false),
            ("", false),
        ] {
            assert_eq!(is_core_compared(version), known, "{version}");
        }
    }
}
