//! Which variables `env:` may set for dbt, and which must never reach it: the sources of our own logins.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::Config;
use crate::variables::Variables;

/// What `env:` may do with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeName {
    /// `DBT_ENV_SECRET_*`, or a name that an adapter's client reads by itself.
    Allowed,
    /// Only where the chosen output reads it by `env_var()`; the plan knows.
    IfRead,
    /// Never; a phrase that says what the variable does.
    Refused(&'static str),
}

/// Whether a variable decides what the child runs or which target dbt chooses: one that names itself a login's source would be
/// taken from the child, and dbt would choose another target than we did.
pub(super) fn steers(name: &str) -> bool {
    let capital = name.to_ascii_uppercase();
    decides_code(&capital) || is_dbt_option(&capital) || capital.starts_with("DBT_LEASE_")
}

fn decides_code(capital: &str) -> bool {
    ["PATH", "HOME", "BASH_ENV"].contains(&capital)
        || ["LD_", "DYLD_", "PYTHON"]
            .iter()
            .any(|prefix| capital.starts_with(prefix))
}

fn is_dbt_option(capital: &str) -> bool {
    capital.starts_with("DBT_ENGINE_")
        || capital
            .strip_prefix("DBT_")
            .is_some_and(|option| DBT_OPTIONS.contains(&option))
}

/// What `env:` may do with this name.
pub fn bridge_name(name: &str) -> BridgeName {
    let capital = name.to_ascii_uppercase();
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| capital.starts_with(prefix));
    if decides_code(&capital) {
        BridgeName::Refused("decides what code the child runs")
    } else if capital.ends_with("_PROXY") || begins(&["SSL_"]) {
        BridgeName::Refused("decides where the child's connections go and whom they trust")
    } else if begins(&["VAULT_", "BAO_"]) {
        BridgeName::Refused("belongs to Vault")
    } else if begins(&["DBT_LEASE_", "DBT_ENV_CUSTOM_ENV_"]) {
        BridgeName::Refused("is set by dbt-lease or copied by dbt into its artifacts")
    } else if is_dbt_option(&capital) {
        BridgeName::Refused("is an option of dbt itself")
    } else if name
        .strip_prefix("DBT_ENV_SECRET_")
        .is_some_and(|rest| !rest.is_empty())
        || AMBIENT.iter().any(|prefix| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| !rest.is_empty())
        })
    {
        BridgeName::Allowed
    } else {
        BridgeName::IfRead
    }
}

/// The names of all variables that the child must not get: what logs us in, in any environment of dbt-lease.yml, the tokens
/// of Vault and OpenBao, and the identity tokens of CI systems (a dbt package could read them).
///
/// Some CI systems let the user tag the name (`TFC_WORKLOAD_IDENTITY_TOKEN_PROD`, `VAULT_ID_TOKEN_PROD`): those are found in `variables`.
pub fn login_variables(config: &Config, variables: &Variables) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = TOKENS.iter().map(|name| (*name).to_owned()).collect();
    for (name, _) in variables.iter() {
        if let Some(name) = name.to_str()
            && TOKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        {
            names.insert(name.to_owned());
        }
    }
    let servers = config
        .environments
        .iter()
        .filter_map(|environment| environment.server.as_ref());
    // What stands before Vault asks for secrets of its own.
    names.extend(
        servers
            .flat_map(|server| &server.headers)
            .filter_map(|header| header.variable.clone()),
    );
    for auth in config
        .environments
        .iter()
        .filter_map(|environment| environment.auth.as_ref())
    {
        names.extend(auth.variables().into_iter().map(str::to_owned));
    }
    names
}

/// What the clients below dbt's adapters read by themselves.
const AMBIENT: [&str; 14] = [
    "AWS_",
    "AZURE_",
    "ARM_",
    "GOOGLE_",
    "CLOUDSDK_",
    "PG",
    "SNOWFLAKE_",
    "DATABRICKS_",
    "CLICKHOUSE_",
    "TRINO_",
    "MYSQL_",
    "REDSHIFT_",
    "MOTHERDUCK_",
    "ORA_",
];

/// Tokens that a login could use, and keys. The first ten are Vault's and OpenBao's.
const TOKENS: [&str; 23] = [
    "VAULT_TOKEN",
    "BAO_TOKEN",
    "VAULT_TOKEN_PATH",
    "BAO_TOKEN_PATH",
    "VAULT_TOKEN_FILE",
    "BAO_TOKEN_FILE",
    "VAULT_HEADERS",
    "BAO_HEADERS",
    "VAULT_CLIENT_KEY_BYTES",
    "BAO_CLIENT_KEY_BYTES",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "VAULT_ID_TOKEN",
    "CI_JOB_JWT",
    "CI_JOB_JWT_V1",
    "CI_JOB_JWT_V2",
    "CIRCLE_OIDC_TOKEN",
    "CIRCLE_OIDC_TOKEN_V2",
    "BITBUCKET_STEP_OIDC_TOKEN",
    "SYSTEM_ACCESSTOKEN",
    "SYSTEM_OIDCREQUESTURI",
    "TFC_WORKLOAD_IDENTITY_TOKEN",
    "BUILDKITE_AGENT_ACCESS_TOKEN",
];

const TOKEN_PREFIXES: [&str; 4] = [
    "VAULT_ID_TOKEN",
    "CI_JOB_JWT",
    "CIRCLE_OIDC_TOKEN",
    "TFC_WORKLOAD_IDENTITY_TOKEN",
];

/// dbt 1.12's options that have a variable, without `DBT_` (dbt/cli/params.py), and what it reads elsewhere.
const DBT_OPTIONS: [&str; 78] = [
    "ARTIFACT_STATE_PATH",
    "CACHE_SELECTED_ONLY",
    "CLEAN_PROJECT_FILES_ONLY",
    "DEBUG",
    "DEFER",
    "DEFER_STATE",
    "DEFER_TO_STATE",
    "DOWNLOADS_DIR",
    "DOWNLOAD_DIR",
    "EMPTY",
    "EVENT_TIME_END",
    "EVENT_TIME_START",
    "EXCLUDE_RESOURCE_TYPES",
    "EXPORT_SAVED_QUERIES",
    "FAIL_FAST",
    "FAVOR_STATE",
    "FAVOR_STATE_MODE",
    "FULL_REFRESH",
    "HOST",
    "HTTP_TIMEOUT",
    "INCLUDE_SAVED_QUERY",
    "INDIRECT_SELECTION",
    "INTROSPECT",
    "INVOCATION_ENV",
    "LOG_CACHE_EVENTS",
    "LOG_FILE_MAX_BYTES",
    "LOG_FORMAT",
    "LOG_FORMAT_FILE",
    "LOG_LEVEL",
    "LOG_LEVEL_FILE",
    "LOG_PATH",
    "MACRO_DEBUGGING",
    "NO_PRINT",
    "PACKAGE_HUB_URL",
    "PARTIAL_PARSE",
    "PARTIAL_PARSE_FILE_DIFF",
    "PARTIAL_PARSE_FILE_PATH",
    "POPULATE_CACHE",
    "PP_TEST",
    "PRINT",
    "PRINTER_WIDTH",
    "PROFILE",
    "PROFILES_DIR",
    "PROJECT_DIR",
    "QUIET",
    "RECORDER_FILE_PATH",
    "RECORDER_MODE",
    "RECORDER_TYPES",
    "RESOURCE_TYPES",
    "SAMPLE",
    "SEND_ANONYMOUS_USAGE_STATS",
    "SHOW_RESOURCE_REPORT",
    "SINGLE_THREADED",
    "STATE",
    "STATIC_PARSER",
    "STORE_FAILURES",
    "TARGET",
    "TARGET_PATH",
    "TEST_STATE_MODIFIED",
    "UPLOAD_TO_ARTIFACTS_INGEST_API",
    "USE_COLORS",
    "USE_COLORS_FILE",
    "USE_EXPERIMENTAL_PARSER",
    "USE_FAST_TEST_EDGES",
    "VERSION_CHECK",
    "WARN_ERROR",
    "WARN_ERROR_OPTIONS",
    "WRITE_JSON",
    "CLOUD_PROJECT_ID",
    "CLOUD_JOB_ID",
    "CLOUD_RUN_ID",
    "CLOUD_RUN_REASON",
    "CLOUD_RUN_REASON_CATEGORY",
    "CLOUD_ACCOUNT_ID",
    "CLOUD_ENVIRONMENT_ID",
    "CLOUD_GIT_BRANCH",
    "CLOUD_GIT_SHA",
    "CLOUD_PR_ID",
];

#[cfg(test)]
mod tests {
    use super::{BridgeName, bridge_name};

    #[test]
    fn dangerous_names_are_always_refused() {
        for name in [
            "PATH",
            "HOME",
            "LD_PRELOAD",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "BASH_ENV",
            "HTTPS_PROXY",
            "no_proxy",
            "SSL_CERT_FILE",
            "VAULT_ADDR",
            "BAO_TOKEN",
            "DBT_LEASE_CONFIG",
            "DBT_ENV_CUSTOM_ENV_X",
            "DBT_TARGET",
            "DBT_PROFILES_DIR",
            "DBT_ENGINE_ANYTHING",
        ] {
            assert!(
                matches!(bridge_name(name), BridgeName::Refused(_)),
                "{name}"
            );
        }
    }

    #[test]
    fn secret_and_ambient_names_are_allowed_others_only_if_read() {
        for name in [
            "DBT_ENV_SECRET_PASSWORD",
            "PGPASSWORD",
            "AWS_ACCESS_KEY_ID",
            "SNOWFLAKE_PASSWORD",
            "DATABRICKS_TOKEN",
        ] {
            assert_eq!(bridge_name(name), BridgeName::Allowed, "{name}");
        }
        for name in [
            "DBT_ENV_SECRET_",
            "DBT_ENV_SECRET",
            "dbt_env_secret_x",
            "DBT_USER",
            "WAREHOUSE_PASSWORD",
            "PG",
        ] {
            assert_eq!(bridge_name(name), BridgeName::IfRead, "{name}");
        }
    }
}
