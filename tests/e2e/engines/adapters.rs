//! What the short form makes of each engine's answer for each adapter, loaded by dbt's own credential classes. No warehouse: what the
//! classes, and the adapters' own readers of keys, take is what is compared.
//!
//! The sandbox's dbt has Postgres and DuckDB; `just adapters` runs all rows, with all adapters that can be installed here.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dbt_lease_sandbox::OpenBao;
use serde_json::{Value, json};

use super::stub::{VaultStub, leased, plain};
use crate::support::{Ran, ran};

/// A Python with more adapters.
const ANOTHER: &str = "DBT_LEASE_ADAPTERS_PYTHON";
/// What the sandbox's has.
const OURS: [&str; 2] = ["postgres", "duckdb"];

/// One row: an engine's path, an output, what dbt must have in it.
struct Row {
    path: &'static str,
    /// The output in flow style; `type` first.
    output: &'static str,
    keys: Value,
    /// What the adapter's own reader says.
    read: Value,
}

fn row(path: &'static str, output: &'static str, keys: Value, read: Value) -> Row {
    Row {
        path,
        output,
        keys,
        read,
    }
}

/// A key and a certificate, as PKI gives them.
struct Key {
    key: String,
    certificate: String,
}

fn made_by_pki() -> Key {
    let bao = OpenBao::start();
    bao.api("POST", "sys/mounts/pki", json!({"type": "pki"}));
    let made = bao.api(
        "POST",
        "pki/root/generate/exported",
        json!({"common_name": "dbt", "key_type": "rsa", "key_bits": 2048, "private_key_format": "pkcs8"}),
    );
    let text = |key: &str| made["data"][key].as_str().expect(key).to_owned();
    Key {
        key: text("private_key"),
        certificate: text("certificate"),
    }
}

/// Google's JSON key, as base64, as its engine gives it.
fn google_key(key: &str) -> (Value, String) {
    let file = json!({
        "type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": key,
        "client_email": "dbt@p.iam.gserviceaccount.com", "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token"
    });
    let mut encoder = Command::new("base64")
        .arg("-w0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("base64 starts");
    let mut stdin = encoder.stdin.take().expect("a pipe");
    stdin
        .write_all(file.to_string().as_bytes())
        .expect("it reads");
    drop(stdin);
    let output = encoder.wait_with_output().expect("it ends");
    (file, String::from_utf8(output.stdout).expect("text"))
}

fn answers(key: &Key, google: &str) -> Vec<(&'static str, Value)> {
    let session = json!({"access_key": "ASIA1", "secret_key": "s/+=", "session_token": "t{{1}}", "security_token": "t{{1}}",
                         "arn": "arn:aws:sts::1:assumed-role/dbt/x", "ttl": 3600});
    let user = json!({"access_key": "AKIA1", "secret_key": "s/+=", "security_token": null});
    vec![
        (
            "database/creds/dbt",
            leased(
                "database/creds/dbt",
                900,
                true,
                json!({"username": "v-dbt", "password": "-p{{ 1 }}'\""}),
            ),
        ),
        (
            "database/creds/key",
            leased(
                "database/creds/key",
                900,
                true,
                json!({"username": "v-dbt", "rsa_private_key": key.key}),
            ),
        ),
        (
            "database/creds/certificate",
            leased(
                "database/creds/certificate",
                900,
                true,
                json!({"username": "v-dbt", "client_certificate": key.certificate, "private_key": key.key,
                                "private_key_type": "rsa"}),
            ),
        ),
        (
            "pki/issue/dbt",
            plain(
                json!({"certificate": key.certificate, "private_key": key.key, "serial_number": "1",
                         "ca_chain": [key.certificate], "issuing_ca": key.certificate, "private_key_type": "rsa", "expiration": 4_102_444_800_u64}),
            ),
        ),
        ("aws/sts/dbt", leased("aws/sts/dbt", 3600, false, session)),
        ("aws/creds/dbt", leased("aws/creds/dbt", 3600, true, user)),
        (
            "gcp/roleset/dbt/token",
            plain(
                json!({"token": "ya29.x", "token_ttl": 3599, "expires_at_seconds": 4_102_444_800_u64}),
            ),
        ),
        (
            "gcp/roleset/dbt/key",
            leased(
                "gcp/roleset/dbt/key",
                3600,
                true,
                json!({"private_key_data": google, "key_algorithm": "KEY_ALG_RSA_2048", "key_type": "TYPE_GOOGLE_CREDENTIALS_FILE"}),
            ),
        ),
        (
            "azure/creds/dbt",
            leased(
                "azure/creds/dbt",
                3600,
                true,
                json!({"client_id": "c0ffee", "client_secret": "az~secret"}),
            ),
        ),
        (
            "ldap/creds/dbt",
            leased(
                "ldap/creds/dbt",
                3600,
                true,
                json!({"username": "v_dbt", "password": "lp", "distinguished_names": ["cn=v_dbt"]}),
            ),
        ),
        (
            "ldap/library/dbt/check-out",
            leased(
                "ldap/library/dbt/check-out",
                3600,
                true,
                json!({"service_account_name": "svc@example.com", "password": "lp"}),
            ),
        ),
    ]
}

fn rows(google: &Value) -> Vec<Row> {
    let password = json!({"user": "v-dbt", "password": "-p{{ 1 }}'\""});
    let postgres = "{type: postgres, host: h, port: 5432, dbname: d, schema: s}";
    let null = Value::Null;
    let named = |user: &str, pass: &str| json!({user: "v-dbt", pass: "-p{{ 1 }}'\""});
    // dbt-fabric gives the way its longer name.
    let app = |way: &str| json!({"client_id": "c0ffee", "client_secret": "az~secret", "authentication": way});
    vec![
        row(
            "database/creds/dbt",
            postgres,
            password.clone(),
            null.clone(),
        ),
        row(
            "database/creds/certificate",
            postgres,
            json!({"user": "v-dbt", "password": "", "sslcert": "FILE certificate", "sslkey": "FILE key"}),
            null.clone(),
        ),
        row(
            "pki/issue/dbt",
            "{type: postgres, host: h, port: 5432, dbname: d, schema: s, user: dbt}",
            json!({"user": "dbt", "password": "", "sslcert": "FILE certificate", "sslkey": "FILE key"}),
            null.clone(),
        ),
        row(
            "ldap/creds/dbt",
            postgres,
            json!({"user": "v_dbt", "password": "lp"}),
            null.clone(),
        ),
        row(
            "ldap/library/dbt/check-out",
            postgres,
            json!({"user": "svc@example.com", "password": "lp"}),
            null.clone(),
        ),
        row(
            "aws/sts/dbt",
            "{type: duckdb, path: ':memory:', secrets: [{type: s3, region: eu-west-1}]}",
            json!({"secrets": [{"region": "eu-west-1", "key_id": "ASIA1", "secret": "s/+=", "session_token": "t{{1}}"}]}),
            json!([
                "CREATE OR REPLACE SECRET _dbt_secret_1 (\n    type s3,\n    region 'eu-west-1',\n    key_id 'ASIA1',\n    secret 's/+=',\n    session_token 't{{1}}'\n)"
            ]),
        ),
        row(
            "aws/creds/dbt",
            "{type: duckdb, path: ':memory:'}",
            json!({"secrets": [{"key_id": "AKIA1", "secret": "s/+="}]}),
            json!([
                "CREATE OR REPLACE SECRET _dbt_secret_1 (\n    type s3,\n    key_id 'AKIA1',\n    secret 's/+='\n)"
            ]),
        ),
        row(
            "database/creds/dbt",
            "{type: snowflake, account: a, database: d, schema: s}",
            password.clone(),
            null.clone(),
        ),
        row(
            "database/creds/key",
            "{type: snowflake, account: a, database: d, schema: s}",
            json!({"user": "v-dbt"}),
            json!(2048),
        ),
        row(
            "gcp/roleset/dbt/token",
            "{type: bigquery, method: oauth-secrets, project: p, dataset: s}",
            json!({"token": "ya29.x"}),
            json!("oauth-secrets"),
        ),
        row(
            "gcp/roleset/dbt/token",
            "{type: bigquery, project: p, dataset: s}",
            json!({"token": "ya29.x", "method": "oauth-secrets"}),
            json!("oauth-secrets"),
        ),
        row(
            "gcp/roleset/dbt/key",
            "{type: bigquery, method: service-account-json, project: p, dataset: s}",
            json!({"keyfile_json": google}),
            json!("dbt@p.iam.gserviceaccount.com"),
        ),
        row(
            "aws/sts/dbt",
            "{type: athena, region_name: r, s3_staging_dir: 's3://b/', database: d, schema: s}",
            json!({"aws_access_key_id": "ASIA1", "aws_secret_access_key": "s/+=", "aws_session_token": "t{{1}}"}),
            null.clone(),
        ),
        row(
            "aws/creds/dbt",
            "{type: athena, region_name: r, s3_staging_dir: 's3://b/', database: d, schema: s}",
            json!({"aws_access_key_id": "AKIA1", "aws_secret_access_key": "s/+="}),
            null.clone(),
        ),
        row(
            "database/creds/dbt",
            "{type: redshift, host: h, port: 5439, dbname: d, schema: s}",
            password.clone(),
            json!("database"),
        ),
        row(
            "aws/creds/dbt",
            "{type: redshift, host: h.c.eu-west-1.redshift.amazonaws.com, port: 5439, dbname: d, schema: s, cluster_id: c, user: dbt, region: eu-west-1}",
            json!({"method": "iam", "user": "dbt", "access_key_id": "AKIA1", "secret_access_key": "s/+="}),
            json!("iam"),
        ),
        row(
            "ldap/creds/dbt",
            "{type: trino, method: ldap, host: h, port: 443, database: d, schema: s}",
            json!({"user": "v_dbt", "password": "lp"}),
            json!("BasicAuthentication"),
        ),
        row(
            "pki/issue/dbt",
            "{type: trino, host: h, port: 443, database: d, schema: s}",
            json!({"client_certificate": "FILE certificate", "client_private_key": "FILE key"}),
            json!("CertificateAuthentication"),
        ),
        row(
            "azure/creds/dbt",
            "{type: databricks, host: h, http_path: /sql, schema: s}",
            json!({"azure_client_id": "c0ffee", "azure_client_secret": "az~secret", "auth_type": "oauth"}),
            json!("valid"),
        ),
        row(
            "database/creds/dbt",
            "{type: clickhouse, host: h, schema: s}",
            password,
            null.clone(),
        ),
        row(
            "database/creds/certificate",
            "{type: clickhouse, host: h, schema: s, user: dbt}",
            json!({"client_cert": "FILE certificate", "client_cert_key": "FILE key"}),
            null,
        ),
        row(
            "database/creds/dbt",
            "{type: singlestore, host: h, port: 3306, database: d, schema: s}",
            named("user", "password"),
            Value::Null,
        ),
        row(
            "database/creds/dbt",
            "{type: oracle, host: h, port: 1521, service: x, database: d, schema: s}",
            named("user", "password"),
            Value::Null,
        ),
        row(
            "database/creds/dbt",
            "{type: exasol, dsn: 'h:8563', dbname: d, schema: s}",
            named("user", "password"),
            Value::Null,
        ),
        row(
            "database/creds/dbt",
            "{type: teradata, host: h, schema: s, tmode: ANSI}",
            named("username", "password"),
            Value::Null,
        ),
        row(
            "database/creds/dbt",
            "{type: vertica, host: h, port: 5433, database: d, schema: s}",
            named("username", "password"),
            Value::Null,
        ),
        row(
            "database/creds/dbt",
            "{type: dremio, software_host: h, port: 9047, use_ssl: false}",
            named("UID", "PWD"),
            Value::Null,
        ),
        row(
            "database/creds/dbt",
            "{type: firebolt, account_name: a, engine_name: e, database: d, schema: s}",
            named("user", "password"),
            Value::Null,
        ),
        row(
            "azure/creds/dbt",
            "{type: firebolt, account_name: a, engine_name: e, database: d, schema: s}",
            json!({"client_id": "c0ffee", "client_secret": "az~secret"}),
            Value::Null,
        ),
        row(
            "database/creds/dbt",
            "{type: starrocks, host: h, port: 9030, schema: s}",
            named("username", "password"),
            Value::Null,
        ),
        row(
            "database/creds/dbt",
            "{type: doris, host: h, port: 9030, schema: s}",
            named("username", "password"),
            Value::Null,
        ),
        row(
            "database/creds/dbt",
            "{type: sqlserver, driver: x, server: h, port: 1433, database: d, schema: s}",
            named("UID", "PWD"),
            Value::Null,
        ),
        row(
            "azure/creds/dbt",
            "{type: sqlserver, driver: x, server: h, port: 1433, database: d, schema: s, tenant_id: t}",
            app("ServicePrincipal"),
            Value::Null,
        ),
        row(
            "azure/creds/dbt",
            "{type: fabric, driver: x, server: h, port: 1433, database: d, schema: s, tenant_id: t}",
            app("ActiveDirectoryServicePrincipal"),
            Value::Null,
        ),
    ]
}

/// The project with one output, and what `exec` makes of it.
struct Case {
    home: dbt_lease_sandbox::Home,
    project: PathBuf,
}

impl Case {
    fn new(stub: &VaultStub, path: &str, output: &str) -> Self {
        let mut home = dbt_lease_sandbox::Home::new();
        home.set("DBT_LEASE_TRUST", "any");
        home.set("VAULT_ADDR", stub.address());
        home.set("ROLE_ID", "role");
        home.set("SECRET_ID", "secret");
        let project = home.copy_project("jaffle");
        let write =
            |name: &str, text: String| std::fs::write(project.join(name), text).expect(name);
        write(
            "profiles.yml",
            format!("jaffle: {{target: prod, outputs: {{prod: {output}}}}}\n"),
        );
        write(
            "dbt-lease.yml",
            format!(
                "version: 1\nenvironments:\n  production:\n    auth: {{method: approle, role_id_env: ROLE_ID, secret_id_env: SECRET_ID}}\n    \
                 targets:\n      prod: {path}\n"
            ),
        );
        Self { home, project }
    }

    fn exec(&self, script: &str) -> Ran {
        self.run(&["exec", "-t", "prod", "--", "sh", "-c", script])
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.home.command(crate::support::DBT_LEASE);
        command
            .args(arguments)
            .current_dir(&self.project)
            .stdin(Stdio::null());
        ran(command.output().expect("the tool starts"))
    }

    /// The profiles.yml that the command gets, in a directory of its own. Files that it names are copied beside it.
    fn generated(&self) -> PathBuf {
        let to = self.home.directory().join("generated");
        std::fs::create_dir(&to).expect("made");
        let script = format!(
            "cp \"$DBT_PROFILES_DIR/profiles.yml\" {to}; for f in \"$XDG_RUNTIME_DIR\"/dbt-lease-*/files-*/*; do [ -f \"$f\" ] && cp \"$f\" {to}; done; true",
            to = to.display()
        );
        self.exec(&script).silent().success();
        to
    }
}

#[test]
fn each_adapter_takes_what_the_short_form_makes_of_an_engines_answer() {
    let key = made_by_pki();
    let (google, encoded) = google_key(&key.key);
    let stub = VaultStub::start(answers(&key, &encoded));
    let another = std::env::var_os(ANOTHER).map(PathBuf::from);
    let python = another
        .clone()
        .unwrap_or_else(|| dbt_lease_sandbox::venv().python());
    let rows: Vec<Row> = rows(&google)
        .into_iter()
        .filter(|row| {
            another.is_some()
                || OURS
                    .iter()
                    .any(|name| row.output.contains(&format!("type: {name}")))
        })
        .collect();
    let cases: Vec<(Case, PathBuf)> = rows
        .iter()
        .map(|row| {
            let case = Case::new(&stub, row.path, row.output);
            let generated = case.generated();
            (case, generated)
        })
        .collect();
    let directories: Vec<&Path> = cases.iter().map(|(_, path)| path.as_path()).collect();
    let loaded = load(&python, &json!(directories));
    let mut wrong = Vec::new();
    for ((row, loaded), directory) in rows.iter().zip(&loaded).zip(directories) {
        let place = format!("{} for {}", row.path, row.output);
        if !loaded["error"].is_null() {
            wrong.push(format!("{place}: {}", loaded["error"]));
            continue;
        }
        for (name, expected) in row.keys.as_object().expect("a map") {
            let mut found = loaded["keys"][name].clone();
            if expected
                .as_str()
                .is_some_and(|text| text.starts_with("FILE "))
            {
                let file = Path::new(found.as_str().expect("a path"));
                let copy = directory.join(file.file_name().expect("a name"));
                let text = std::fs::read_to_string(copy).expect("the file was there");
                found = json!(if text == key.key {
                    "FILE key"
                } else if text == key.certificate {
                    "FILE certificate"
                } else {
                    "FILE ?"
                });
            }
            if &found != expected {
                wrong.push(format!("{place}: {name}: {found}, not {expected}"));
            }
        }
        if loaded["read"] != row.read {
            wrong.push(format!("{place}: {}, not {}", loaded["read"], row.read));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// dbt's classes on generated profiles.
fn load(python: &Path, directories: &Value) -> Vec<Value> {
    let mut loader = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/e2e/adapters.py"
        ))
        .env("DBT_SEND_ANONYMOUS_USAGE_STATS", "false")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut stdin = loader.stdin.take().expect("a pipe");
    stdin
        .write_all(directories.to_string().as_bytes())
        .expect("it reads");
    drop(stdin);
    let output = loader.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn what_an_adapter_has_no_key_for_is_refused_before_anything_is_asked_of_vault() {
    let key = Key {
        key: String::new(),
        certificate: String::new(),
    };
    let stub = VaultStub::start(answers(&key, ""));
    for (path, output, said) in [
        (
            "gcp/roleset/dbt/token",
            "{type: postgres, host: h, port: 5432, dbname: d, schema: s}",
            &[
                "the secret `warehouse` (`gcp/roleset/dbt/token`) does not fit `type: postgres`: it takes `username` and `password`, or",
                "its engine gives `token`, `token_ttl`, `expires_at_seconds`",
                "say which key (user, password, sslcert, sslkey, or another) takes which field",
            ][..],
        ),
        (
            "aws/sts/dbt",
            "{type: redshift, host: h, port: 5439, dbname: d, schema: s, method: iam}",
            &["(`aws/sts/dbt`) does not fit `type: redshift`"],
        ),
        (
            "aws/sts/dbt",
            "{type: glue, role_arn: r, schema: s}",
            &[
                "no key of it takes a credential",
                "env: {AWS_ACCESS_KEY_ID: \"{{ vault.warehouse.access_key }}\"}",
            ],
        ),
        (
            "gcp/roleset/dbt/token",
            "{type: bigquery, method: oauth, project: p, dataset: s}",
            &[
                "the output's `method:` in profiles.yml says another way to log in",
                "write `method: oauth-secrets` in the output",
            ],
        ),
    ] {
        let case = Case::new(&stub, path, output);
        let _ = case.exec("true").code(125).says(said);
        assert_eq!(stub.requests(), [], "{path} for {output}");
        let plan = ["plan", "-t", "prod"];
        let _ = case.run(&plan).code(1).says(said);
    }
}
