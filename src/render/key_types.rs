//! The types of the keys that an output may have, by adapter.
//!
//! From the JSON schemas of the adapters' own credential classes: what stands here no release for dbt 1.9 to 1.12 takes otherwise
//! (measured with each adapter's 1.8, 1.9, 1.10 and newest release, November 2026). A key that is missing here is dbt's to judge.
#![forbid(unsafe_code)]

use super::check::{Key, Wanted};

/// The keys that an adapter takes beside those that it needs; keys of one type share an entry.
pub(super) fn optional(adapter: &str) -> &'static [Key] {
    match adapter {
        "postgres" => &[
            (
                &["connect_timeout", "keepalives_idle", "retries"],
                Wanted::Int,
            ),
            (
                &[
                    "role",
                    "search_path",
                    "sslmode",
                    "sslcert",
                    "sslkey",
                    "sslrootcert",
                    "application_name",
                ],
                Wanted::TextOrNull,
            ),
        ],
        "snowflake" => &[
            (
                &[
                    "user",
                    "password",
                    "role",
                    "warehouse",
                    "authenticator",
                    "token",
                    "private_key",
                    "private_key_path",
                    "private_key_passphrase",
                    "oauth_client_id",
                    "oauth_client_secret",
                    "host",
                    "protocol",
                    "proxy_host",
                    "query_tag",
                ],
                Wanted::TextOrNull,
            ),
            (
                &[
                    "client_session_keep_alive",
                    "retry_all",
                    "retry_on_database_errors",
                ],
                Wanted::Bool,
            ),
            (&["connect_retries"], Wanted::Int),
            (
                &["connect_timeout", "port", "proxy_port"],
                Wanted::IntOrNull,
            ),
            (&["insecure_mode", "reuse_connections"], Wanted::BoolOrNull),
        ],
        "bigquery" => &[
            (
                &[
                    "project",
                    "database",
                    "execution_project",
                    "location",
                    "keyfile",
                    "impersonate_service_account",
                    "token",
                    "refresh_token",
                    "client_id",
                    "client_secret",
                    "token_uri",
                    "gcs_bucket",
                    "dataproc_cluster_name",
                ],
                Wanted::TextOrNull,
            ),
            (&["keyfile_json", "dataproc_batch"], Wanted::MapOrNull),
            (
                &[
                    "job_creation_timeout_seconds",
                    "job_execution_timeout_seconds",
                    "timeout_seconds",
                    "job_retries",
                    "retries",
                    "job_retry_deadline_seconds",
                    "maximum_bytes_billed",
                ],
                Wanted::IntOrNull,
            ),
        ],
        "redshift" => &[
            (
                &[
                    "user",
                    "password",
                    "pass",
                    "role",
                    "cluster_id",
                    "iam_profile",
                    "region",
                ],
                Wanted::TextOrNull,
            ),
            (&["connect_timeout"], Wanted::IntOrNull),
            (&["retries"], Wanted::Int),
            (&["autocreate"], Wanted::Bool),
            (&["autocommit", "ra3_node"], Wanted::BoolOrNull),
        ],
        "spark" => &[
            (
                &[
                    "user",
                    "password",
                    "token",
                    "cluster",
                    "endpoint",
                    "driver",
                    "auth",
                    "kerberos_service_name",
                ],
                Wanted::TextOrNull,
            ),
            (&["organization"], Wanted::Text),
            (&["port", "connect_retries", "connect_timeout"], Wanted::Int),
            (&["use_ssl", "retry_all"], Wanted::Bool),
        ],
        "databricks" => &[
            (
                &[
                    "host",
                    "http_path",
                    "token",
                    "schema",
                    "database",
                    "catalog",
                    "client_id",
                    "client_secret",
                    "auth_type",
                    "oauth_redirect_url",
                ],
                Wanted::TextOrNull,
            ),
            (
                &["session_properties", "connection_parameters", "compute"],
                Wanted::MapOrNull,
            ),
            (&["connect_retries"], Wanted::Int),
            (&["connect_timeout", "connect_max_idle"], Wanted::IntOrNull),
            (&["retry_all"], Wanted::Bool),
        ],
        "sqlserver" => &[
            (
                &[
                    "UID",
                    "user",
                    "username",
                    "PWD",
                    "pass",
                    "password",
                    "tenant_id",
                    "client_id",
                    "app_id",
                    "client_secret",
                    "app_secret",
                ],
                Wanted::TextOrNull,
            ),
            (
                &["port", "login_timeout", "query_timeout"],
                Wanted::IntOrNull,
            ),
            (&["retries"], Wanted::Int),
            (
                &[
                    "encrypt",
                    "trust_cert",
                    "TrustServerCertificate",
                    "windows_login",
                    "trusted_connection",
                    "trace_flag",
                    "SQL_ATTR_TRACE",
                ],
                Wanted::BoolOrNull,
            ),
        ],
        "clickhouse" => &[
            (&["host", "password"], Wanted::Text),
            (&["user", "schema", "cluster"], Wanted::TextOrNull),
            (&["port"], Wanted::IntOrNull),
            (
                &["connect_timeout", "compress_block_size", "retries"],
                Wanted::Int,
            ),
            (
                &[
                    "secure",
                    "verify",
                    "cluster_mode",
                    "use_lw_deletes",
                    "check_exchange",
                    "allow_automatic_deduplication",
                ],
                Wanted::Bool,
            ),
            (&["custom_settings"], Wanted::MapOrNull),
        ],
        "dremio" => &[
            (
                &[
                    "UID",
                    "user",
                    "username",
                    "PWD",
                    "password",
                    "pat",
                    "software_host",
                ],
                Wanted::TextOrNull,
            ),
            (&["port"], Wanted::IntOrNull),
            (&["use_ssl", "verify_ssl"], Wanted::BoolOrNull),
        ],
        "duckdb" => &[
            (&["path", "schema", "database"], Wanted::Text),
            (&["disable_transactions", "keep_open"], Wanted::Bool),
            (&["config_options", "settings"], Wanted::MapOrNull),
        ],
        _ => &[],
    }
}
