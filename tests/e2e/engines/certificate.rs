//! A certificate of Vault's own authority opens a PostgreSQL that takes nothing else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use dbt_lease_sandbox::{OpenBao, Postgres};
use serde_json::json;

use super::real::mount;
use crate::support::Lab;

#[test]
fn dbt_seeds_a_postgresql_that_takes_certificates_alone() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    mount(&lab, "pki", json!({"type": "pki"}));
    bao.api(
        "POST",
        "pki/root/generate/internal",
        json!({"common_name": "analytics authority", "key_type": "ec", "key_bits": 256}),
    );
    let role = |generate_lease: bool| {
        json!({"allow_any_name": true, "enforce_hostnames": false, "key_type": "ec", "key_bits": 256, "max_ttl": "1h",
               "generate_lease": generate_lease})
    };
    bao.api("POST", "pki/roles/dbt", role(true));
    bao.api("POST", "pki/roles/server", role(false));
    let postgres = Postgres::start();
    if !postgres.speaks_tls() {
        return;
    }
    takes_certificates_alone(&postgres, bao);

    let profile = format!(
        "jaffle:\n  target: prod\n  outputs:\n    prod: {{type: postgres, host: 127.0.0.1, port: {}, user: dbt_tls, password: '', dbname: postgres, \
         schema: built, threads: 1, sslmode: verify-full}}\n",
        postgres.port()
    );
    fs::write(lab.project.join("profiles.yml"), profile).expect("written");
    lab.configure(
        "version: 1\nenvironments:\n  production:\n    \
         auth: {method: approle, role_id_env: JAFFLE_PRODUCTION_ROLE_ID, secret_id_env: JAFFLE_PRODUCTION_SECRET_ID}\n    targets:\n      prod:\n        \
         secrets: {tls: {path: pki/issue/dbt, data: {common_name: dbt_tls}, ttl: 10m}}\n        fields:\n          \
         sslcert: {file: '{{ vault.tls.certificate }}'}\n          sslkey: {file: '{{ vault.tls.private_key }}'}\n          \
         sslrootcert: {file: '{{ vault.tls.issuing_ca }}'}\n",
    );
    let plan = lab.run(&["plan", "-t", "prod", "--json"]).success();
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    lab.allow(plan["policy"].as_str().expect("a policy"));
    let ran = lab
        .run(&["exec", "-v", "--", "dbt", "seed", "--target", "prod"])
        .code(0);
    assert!(ran.stderr.contains("1 lease, 1 revoked"), "{}", ran.stderr);
    let by = postgres.query(
        "postgres",
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'built'",
    );
    assert_eq!(by, [["dbt_tls"]], "{by:?}");
    // Without the certificate nobody is let in.
    let refused = postgres
        .query_as("dbt_tls", "any", "postgres", "SELECT 1")
        .expect_err("refused");
    assert!(refused.contains("certificate"), "{refused}");
    lab.assert_nothing_left();
}

/// Gives the server a certificate of the same authority, and one user who must show one.
fn takes_certificates_alone(postgres: &Postgres, bao: &OpenBao) {
    let issued = bao.api(
        "POST",
        "pki/issue/server",
        json!({"common_name": "localhost", "ip_sans": "127.0.0.1"}),
    );
    let set = |name: &str, field: &str, setting: &str| {
        let path = postgres.directory().join(name);
        let text = issued["data"][field].as_str().expect("PEM");
        owned_by_the_server(&path, postgres, text);
        postgres.query(
            "postgres",
            &format!("ALTER SYSTEM SET {setting} = '{}'", path.display()),
        );
    };
    set("server.pem", "certificate", "ssl_cert_file");
    set("server.key", "private_key", "ssl_key_file");
    set("ca.pem", "issuing_ca", "ssl_ca_file");
    postgres.query("postgres", "ALTER SYSTEM SET ssl = on");
    postgres.query("postgres", "CREATE ROLE dbt_tls LOGIN");
    postgres.query("postgres", "GRANT CREATE ON DATABASE postgres TO dbt_tls");
    let rules = postgres.query("postgres", "SHOW hba_file")[0][0].clone();
    let old = fs::read_to_string(&rules).expect("rules");
    let new = format!("hostssl all dbt_tls 127.0.0.1/32 cert\nhost all dbt_tls all reject\n{old}");
    fs::write(&rules, new).expect("written");
    postgres.query("postgres", "SELECT pg_reload_conf()");
    crate::support::wait_until("PostgreSQL speaks TLS", || {
        postgres.query("postgres", "SHOW ssl")[0][0] == "on"
    });
}

fn owned_by_the_server(path: &Path, postgres: &Postgres, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
    let owner = fs::metadata(postgres.directory()).expect("there").uid();
    chown(path, Some(owner), None).expect("given away");
}
