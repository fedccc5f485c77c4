//! What a target is lent, by its adapter: a path of the engine that makes such credentials, else a KV secret, else nothing.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use super::outputs::Output;
use crate::bridge::seen::{Seen, What};
use crate::render::adapters::{self, Form};

/// What a target is lent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lend {
    /// The secret's path; none where nothing is lent.
    pub path: Option<String>,
    /// `fields:`, where the adapter's own keys are not known or will not do: key and template.
    pub fields: Vec<(String, String)>,
    /// Of these, what gets the path of a file.
    pub files: Vec<(String, String)>,
    /// `env:`: variable and template.
    pub env: Vec<(String, String)>,
    /// Why it is so, for a comment.
    pub why: String,
}

impl Lend {
    fn nothing(why: &str) -> Self {
        Self {
            why: why.to_owned(),
            ..Self::default()
        }
    }

    /// A path by the user's word; `none` is nothing.
    pub fn said(path: &str, output: &Output) -> Self {
        if path == "none" {
            return Self::nothing("");
        }
        Self::of_path(path.to_owned()).with_bridge(output)
    }

    fn of_path(path: String) -> Self {
        Self {
            path: Some(path),
            ..Self::default()
        }
    }

    fn with_field(mut self, key: &str, field: &str) -> Self {
        self.fields.push((key.to_owned(), template(field)));
        self
    }

    /// Where the output reads its whole credential from variables already, they are fed: the file stays the one that is committed.
    fn with_bridge(mut self, output: &Output) -> Self {
        let is_bridged = output.credentials.iter().any(|seen| {
            seen.is_secret
                && matches!(&seen.what, What::Variable(name) if name.starts_with("DBT_ENV_SECRET_"))
        });
        if is_bridged && let Some(env) = bridge(output) {
            self.env = env;
        }
        self
    }
}

/// What a target is lent; `name` is the segment of its role in Vault.
pub fn lend(output: &Output, name: &str) -> Lend {
    let database = || Lend::of_path(format!("database/creds/dbt-{name}")).with_bridge(output);
    let azure = || Lend::of_path(format!("azure/creds/dbt-{name}"));
    let session = || Lend::of_path(format!("aws/sts/dbt-{name}"));
    let has_any = |keys: &[&str]| keys.iter().any(|key| output.has(key));
    let kv = || kv(output, name);
    match output.adapter.as_deref().unwrap_or_default() {
        "postgres" | "materialize" | "risingwave" | "timescaledb" | "mysql" | "mysql5"
        | "mariadb" | "singlestore" | "oracle" => database(),
        "redshift" => match output.said("method").as_str() {
            method if method.starts_with("browser") => Lend::nothing("a login in the browser"),
            "iam" | "iam_role" if has_any(&["access_key_id", "secret_access_key"]) => {
                Lend::of_path(format!("aws/creds/dbt-{name}"))
            }
            "iam" | "iam_role" => Lend::nothing("the machine's own AWS identity"),
            _ => database(),
        },
        "snowflake" => match output.said("authenticator").as_str() {
            "externalbrowser" => Lend::nothing("a login in the browser"),
            method if method.starts_with("oauth") => kv(),
            _ if has_any(&["private_key"]) || output.keys.contains("private_key_path") => {
                database_key(output, name)
            }
            _ => database(),
        },
        "sqlserver" | "synapse" | "fabric" => {
            let method = [output.said("authentication"), output.said("auth")].concat();
            match method.as_str() {
                "serviceprincipal" | "activedirectoryserviceprincipal" => azure(),
                "" | "sql" | "activedirectorypassword" if has_any(&["PWD", "pass", "password"]) => {
                    database()
                }
                "" if output.adapter.as_deref() == Some("fabric") => azure(),
                "" | "sql" => database(),
                _ => Lend::nothing("a login of the machine or the person"),
            }
        }
        "fabricspark" if has_any(&["client_secret"]) => azure(),
        "bigquery" => match output.said("method").as_str() {
            "oauth" => Lend::nothing("the person's own login to Google"),
            "external-oauth-wif" => Lend::nothing("the machine's own identity"),
            // The key is written into a file, and the adapter gets its path.
            "service-account" => {
                let mut lend = Lend::of_path(format!("gcp/roleset/dbt-{name}/key"));
                let key = "{{ vault.warehouse.private_key_data | b64decode }}";
                lend.files.push(("keyfile".to_owned(), key.to_owned()));
                lend
            }
            "service-account-json" => Lend::of_path(format!("gcp/roleset/dbt-{name}/key")),
            _ => Lend::of_path(format!("gcp/roleset/dbt-{name}/token")),
        },
        "databricks" if output.said("auth_type") == "oauth" => {
            if has_any(&["azure_client_secret"]) {
                azure()
            } else if has_any(&["client_secret"]) {
                kv()
            } else {
                Lend::nothing("a login in the browser")
            }
        }
        "athena" if output.keys.contains("aws_profile_name") && output.credentials.is_empty() => {
            Lend::nothing("the machine's own AWS identity")
        }
        "athena" => session(),
        // It has no key for a credential: its client reads variables.
        "glue" => Lend {
            env: [
                ("AWS_ACCESS_KEY_ID", "access_key"),
                ("AWS_SECRET_ACCESS_KEY", "secret_key"),
                ("AWS_SESSION_TOKEN", "session_token"),
            ]
            .map(|(variable, field)| (variable.to_owned(), template(field)))
            .to_vec(),
            ..session()
        },
        "duckdb" if has_any(&["secrets.0.key_id", "secrets.0.secret"]) => session(),
        "duckdb" if output.said("path").starts_with("md:") && output.credentials.is_empty() => {
            Lend::of_path(kv_path(name)).with_field("motherduck_token", "motherduck_token")
        }
        "duckdb" | "sqlite" if output.credentials.is_empty() => {
            Lend::nothing("a file of this machine")
        }
        "spark" | "trino" | "hive" | "impala" if output.credentials.is_empty() => {
            Lend::nothing("it logs in without a secret")
        }
        "trino"
            if ["oauth", "oauth_console", "kerberos", "none"]
                .contains(&output.said("method").as_str()) =>
        {
            Lend::nothing("it logs in without a secret")
        }
        _ => kv(),
    }
}

/// A key pair of the database engine, by the keys that the adapter has for one.
fn database_key(output: &Output, name: &str) -> Lend {
    let mut lend = Lend::of_path(format!("database/creds/dbt-{name}"))
        .with_field("user", "username")
        .with_field("private_key", "rsa_private_key");
    if output.keys.contains("private_key_path") {
        lend.why =
            "take private_key_path out of profiles.yml: it has the key itself now".to_owned();
    }
    lend
}

fn kv_path(name: &str) -> String {
    format!("secret/data/dbt/{name}")
}

/// A KV secret with the fields that the output has.
fn kv(output: &Output, name: &str) -> Lend {
    let lend = Lend::of_path(kv_path(name));
    let known = output.adapter.as_deref().and_then(adapters::credentials);
    let first = known.and_then(<[_]>::first);
    // A key with a dot in it is none that `fields:` can name.
    let (unnamed, named): (Vec<&Seen>, Vec<&Seen>) = output
        .credentials
        .iter()
        .partition(|seen| seen.has_dots || !may_be_set(&seen.key));
    let keys: BTreeSet<&str> = named.iter().map(|seen| seen.key.as_str()).collect();
    if let Some(first) = first {
        // Whole by the adapter's own keys.
        let is_its = |key: &&str| {
            let its = first.takes.iter().any(|take| take.keys.contains(key));
            its && first.takes.iter().all(|take| take.form == Form::AsItIs)
        };
        if unnamed.is_empty() && keys.iter().all(is_its) {
            let fields: Vec<&str> = first.takes.iter().map(|take| take.fields[0]).collect();
            return Lend {
                why: format!("its fields: {}", fields.join(", ")),
                ..lend
            };
        }
    }
    if keys.is_empty() && unnamed.is_empty() {
        return Lend::nothing("there is no credential in it that is known");
    }
    let mut lend = lend;
    let mut taken: BTreeSet<String> = BTreeSet::new();
    if !unnamed.is_empty() {
        lend.why = "write env_var(…) for its keys with dots: `fields:` cannot name them".to_owned();
    }
    for key in keys {
        let short = field_name(key.rsplit('.').next().unwrap_or(key));
        let field = if taken.contains(&short) {
            field_name(key)
        } else {
            short
        };
        lend = lend.with_field(key, &field);
        taken.insert(field);
    }
    lend
}

/// What `fields:` takes as a key.
fn may_be_set(key: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    key.split('.').all(part)
}

/// A field's name for a template.
fn field_name(key: &str) -> String {
    let name: String = key
        .chars()
        .map(|ch| if ch.is_ascii_alphanumeric() { ch } else { '_' })
        .collect();
    if name.starts_with(|ch: char| ch.is_ascii_digit()) {
        format!("_{name}")
    } else {
        name
    }
}

fn template(field: &str) -> String {
    format!("{{{{ vault.warehouse.{field} }}}}")
}

/// The variables that an output reads its whole credential from, with the fields that feed them; none where it does not.
fn bridge(output: &Output) -> Option<Vec<(String, String)>> {
    let credentials = adapters::credentials(output.adapter.as_deref()?)?;
    credentials.iter().find_map(|credential| {
        let mut env = Vec::new();
        for seen in &output.credentials {
            let What::Variable(variable) = &seen.what else {
                return None;
            };
            let takes = |take: &&adapters::Take| {
                take.form == Form::AsItIs && take.keys.contains(&seen.key.as_str())
            };
            let take = credential.takes.iter().find(takes)?;
            env.push((variable.clone(), template(take.fields[0])));
        }
        env.dedup();
        (env.len() == credential.takes.len()).then_some(env)
    })
}
