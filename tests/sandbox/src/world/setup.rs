//! The steps that make a [`super::World`]: SQL, engines, policies, AppRoles.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::Identity;
use crate::openbao::OpenBao;
use crate::postgres::Postgres;

/// An environment of the fixtures' dbt-lease.yml, with its names.
pub(super) struct Environment {
    pub(super) name: &'static str,
    pub(super) approle: &'static str,
    pub(super) database_role: &'static str,
    pub(super) group: String,
    pub(super) schema: &'static str,
}

/// The database, its schemas, the group roles, the administrator that OpenBao uses (no superuser), the static user.
pub(super) fn set_up_database(
    postgres: &Postgres,
    database: &str,
    environments: &[Environment],
    admin: &str,
    fixed: &str,
    password: &str,
) {
    let production = &environments[0].group;
    postgres.create_database(database);
    let mut sql = format!("CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD '{password}';");
    for Environment { group, schema, .. } in environments {
        sql.push_str(&format!(
            "CREATE ROLE {group} NOLOGIN;
             GRANT {group} TO {admin} WITH ADMIN OPTION;
             GRANT CREATE ON DATABASE {database} TO {group};
             CREATE SCHEMA {schema} AUTHORIZATION {group};
             -- Without it dbt's own cancel on Ctrl-C is denied.
             GRANT pg_signal_backend TO {group};"
        ));
    }
    sql.push_str(&format!(
        "GRANT pg_signal_backend TO {admin};
         CREATE ROLE {fixed} LOGIN PASSWORD '{password}' IN ROLE {production};
         ALTER ROLE {fixed} SET role = '{production}';"
    ));
    // Since PostgreSQL 16 the right to make roles does not reach roles that somebody else made.
    sql.push_str(&format!("GRANT {fixed} TO {admin} WITH ADMIN OPTION;"));
    postgres.query(database, &sql);
}

/// The database engine with its roles, and both versions of KV with a sample.
pub(super) fn set_up_engines(
    bao: &OpenBao,
    postgres: &Postgres,
    database: &str,
    environments: &[Environment],
    admin: &str,
    fixed: &str,
    password: &str,
) {
    bao.api("POST", "sys/mounts/database", json!({"type": "database"}));
    // The audit log then shows the leased user's name, which joins it with PostgreSQL's log.
    bao.api(
        "POST",
        "sys/mounts/database/tune",
        json!({"audit_non_hmac_response_keys": ["username"]}),
    );
    bao.api(
        "POST",
        "database/config/warehouse",
        json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "username": admin,
            "password": password,
            "password_authentication": "scram-sha-256",
            "connection_url": format!(
                "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/{database}?sslmode=disable",
                postgres.port()
            ),
        }),
    );
    bao.api(
        "POST",
        "sys/mounts/kv",
        json!({"type": "kv", "options": {"version": "1"}}),
    );
    for environment in environments {
        let group = &environment.group;
        bao.api(
            "POST",
            &format!("database/roles/{}", environment.database_role),
            json!({
                "db_name": "warehouse",
                "default_ttl": "15m",
                "max_ttl": "4h",
                "creation_statements": [
                    format!(
                        "CREATE ROLE \"{{{{name}}}}\" LOGIN PASSWORD '{{{{password}}}}' \
                         VALID UNTIL '{{{{expiration}}}}' IN ROLE {group};"
                    ),
                    // What dbt makes belongs to the group, so that the next user can replace it.
                    format!("ALTER ROLE \"{{{{name}}}}\" SET role = '{group}';"),
                ],
                "revocation_statements": [
                    "ALTER ROLE \"{{name}}\" NOLOGIN;",
                    // A session under SET ROLE would outlive its user.
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}';",
                    "DROP ROLE IF EXISTS \"{{name}}\";",
                ],
            }),
        );
        let sample = json!({"user": format!("{}_user", environment.name), "password": crate::random_hex(12)});
        bao.api(
            "POST",
            &format!("kv/dbt/{}", environment.name),
            sample.clone(),
        );
        bao.api(
            "POST",
            &format!("secret/data/dbt/{}", environment.name),
            json!({"data": sample}),
        );
    }
    bao.api(
        "POST",
        "database/static-roles/dbt-static",
        json!({"db_name": "warehouse", "username": fixed, "rotation_period": "24h"}),
    );
}

/// The environment's policy and AppRole, with the least that a run needs.
pub(super) fn set_up_identity(
    bao: &OpenBao,
    environment: &Environment,
    directory: &Path,
) -> Identity {
    if environment.name == "production" {
        bao.api("POST", "sys/auth/approle", json!({"type": "approle"}));
    }
    let role = environment.approle;
    bao.api(
        "PUT",
        &format!("sys/policies/acl/{role}"),
        json!({"policy": policy(environment)}),
    );
    bao.api(
        "POST",
        &format!("auth/approle/role/{role}"),
        json!({
            "token_policies": [role],
            "token_no_default_policy": true,
            "token_ttl": "1h",
            "token_max_ttl": "4h",
        }),
    );
    let text = |answer: Value, key: &str| {
        answer["data"][key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key}: {answer}"))
            .to_owned()
    };
    let role_id = text(
        bao.api("GET", &format!("auth/approle/role/{role}/role-id"), None),
        "role_id",
    );
    let secret_id = text(
        bao.api("POST", &format!("auth/approle/role/{role}/secret-id"), None),
        "secret_id",
    );
    let write = |what: &str, value: &str| {
        let path = directory.join(format!("{}.{what}", environment.name));
        let mut options = fs::OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(value.as_bytes()))
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    };
    Identity {
        role,
        role_id_file: write("role-id", &role_id),
        secret_id_file: write("secret-id", &secret_id),
        role_id,
        secret_id,
    }
}

fn policy(environment: &Environment) -> String {
    let Environment {
        name,
        database_role,
        ..
    } = environment;
    let mut policy = format!(
        "path \"database/creds/{database_role}\" {{ capabilities = [\"read\"] }}
         path \"sys/leases/revoke\" {{
           capabilities = [\"update\"]
           allowed_parameters = {{ \"lease_id\" = [\"database/creds/{database_role}/*\"], \"sync\" = [] }}
         }}
         path \"sys/leases/renew\" {{
           capabilities = [\"update\"]
           allowed_parameters = {{ \"lease_id\" = [\"database/creds/{database_role}/*\"], \"increment\" = [] }}
         }}
         path \"kv/dbt/{name}\" {{ capabilities = [\"read\"] }}
         path \"secret/data/dbt/{name}\" {{ capabilities = [\"read\"] }}
         path \"auth/token/lookup-self\" {{ capabilities = [\"read\"] }}
         path \"auth/token/renew-self\" {{ capabilities = [\"update\"] }}
         path \"auth/token/revoke-self\" {{ capabilities = [\"update\"] }}
         path \"sys/capabilities-self\" {{ capabilities = [\"update\"] }}\n"
    );
    if *name == "production" {
        policy
            .push_str("path \"database/static-creds/dbt-static\" { capabilities = [\"read\"] }\n");
    }
    policy
}
