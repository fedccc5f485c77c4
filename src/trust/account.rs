//! What a dbt-lease.yml would do, for the user who is to allow it.
//!
//! Whoever wrote the file may want to hide something: control characters and what turns the direction of text are escaped.
#![forbid(unsafe_code)]

use crate::config::{Config, Environment, FieldValue, Lending, Lent, Operation, Target};
use crate::plan::{Loan, Plan};

/// The whole file: its hash, and for each environment where tokens go, what they are made of, and what is done with what
/// comes back.
pub fn of_file(config: &Config) -> String {
    let mut rows = vec![
        row("file", &config.file.display().to_string()),
        row("hash", &config.fingerprint),
    ];
    for (at, file) in config.extends.iter().enumerate() {
        rows.insert(1 + at, row("extends", &file.display().to_string()));
    }
    for environment in &config.environments {
        let protected = if environment.protected {
            ", protected"
        } else {
            ""
        };
        rows.push(String::new());
        rows.push(format!(
            "environment {}{protected}",
            shown(&environment.name)
        ));
        rows.extend(of_environment(environment));
        for target in &environment.targets {
            rows.extend(of_target(target));
        }
    }
    rows.join("\n") + "\n"
}

/// What this command would do by it, in three lines at most.
pub(super) fn of_plan(plan: &Plan, loan: &Loan) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(session) = &loan.session {
        let (address, source) = (&session.server.address, session.auth.source());
        lines.push(shown(&match session.auth.mount() {
            Some(mount) => format!("log in to {address} at auth/{mount} ({source})"),
            None => format!("send to {address} {source}"),
        }));
        let further = plan.others.iter().flat_map(|other| &other.secrets);
        let paths: Vec<&str> = plan
            .secrets
            .iter()
            .flatten()
            .chain(further)
            .map(|secret| secret.path.as_str())
            .collect();
        let further = plan.others.iter().map(|other| other.target.as_str());
        let mut targets: Vec<&str> = plan.target.as_deref().into_iter().chain(further).collect();
        targets.dedup();
        lines.push(shown(&format!(
            "read {} for the target `{}` of the environment `{}`",
            paths.join(", "),
            targets.join("`, `"),
            plan.environment.as_deref().unwrap_or_default(),
        )));
    }
    let set: Vec<String> = loan.all().flatten().map(|(lent, _)| sets(lent)).collect();
    lines.push(shown(&format!("set {}", set.join("; "))));
    lines
}

fn of_environment(environment: &Environment) -> Vec<String> {
    let mut rows = Vec::new();
    if environment.says.iter().all(|(key, _)| *key != "address") {
        rows.push(row("  address", "that of BAO_ADDR or VAULT_ADDR"));
    }
    for (key, value) in &environment.says {
        rows.push(row(&format!("  {key}"), value));
    }
    if let Some(auth) = &environment.auth {
        let role = auth
            .said_role()
            .map(|role| format!(", role {role}"))
            .unwrap_or_default();
        let said = match auth.mount() {
            Some(mount) => format!("{} at auth/{mount}{role}: {}", auth.method(), auth.source()),
            None => auth.source(),
        };
        rows.push(row("  login", &said));
    }
    rows
}

fn of_target(target: &Target) -> Vec<String> {
    let name = match &target.profile {
        Some(profile) => format!("{} of profile {profile}", target.target),
        None => target.target.clone(),
    };
    let Lending::Lent(lent) = &target.lending else {
        return vec![row("  target", &format!("{name}: nothing from Vault"))];
    };
    let mut rows = Vec::new();
    let expect = &target.expect;
    let expected = [
        ("host", expect.host.clone()),
        ("port", expect.port.map(|port| port.to_string())),
        ("sslmode", expect.sslmode.clone()),
    ];
    rows.push(row("  target", &name));
    for secret in &lent.secrets {
        let (verb, body) = match &secret.request.operation {
            Operation::Read => ("reads", String::new()),
            Operation::Write(body) => (
                "writes",
                format!(" {}", serde_json::Value::Object(body.clone())),
            ),
        };
        let query: String = secret
            .request
            .query
            .iter()
            .map(|(key, value)| format!(" ({key} {value})"))
            .collect();
        rows.push(row(
            &format!("    {verb}"),
            &format!("{}{query}{body}", secret.request.path),
        ));
    }
    for bridge in &lent.env {
        rows.push(row(
            "    sets",
            &format!("the variable {} to `{}`", bridge.name, bridge.template),
        ));
    }
    for (key, value) in &lent.fields {
        let value = match value {
            FieldValue::Text(template) => format!("to `{template}`"),
            FieldValue::File(template) => format!("to a file that holds `{template}`"),
        };
        rows.push(row("    sets", &format!("the output's {key} {value}")));
    }
    if lent.env.is_empty() && lent.fields.is_empty() {
        rows.push(row("    sets", ADAPTER_KEYS));
    }
    for (key, value) in expected {
        if let Some(value) = value {
            rows.push(row(
                "    expects",
                &format!("the output's {key} to be {value}"),
            ));
        }
    }
    rows
}

const ADAPTER_KEYS: &str = "the output's keys for user and password, as the adapter names them";

fn sets(lent: &Lent) -> String {
    let variables: Vec<&str> = lent.env.iter().map(|bridge| bridge.name.as_str()).collect();
    let keys: Vec<&str> = lent.fields.iter().map(|(key, _)| key.as_str()).collect();
    let mut parts = Vec::new();
    if !variables.is_empty() {
        parts.push(format!(
            "{} in the command's environment",
            variables.join(", ")
        ));
    }
    if !keys.is_empty() {
        parts.push(format!("{} in the output", keys.join(", ")));
    }
    if parts.is_empty() {
        ADAPTER_KEYS.to_owned()
    } else {
        parts.join(", and ")
    }
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<14} {}", shown(value))
}

/// A text as it can be printed: what a terminal would act on, and what cannot be seen, is escaped.
pub fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\'' | '"' | '\\') {
            safe.push(character);
        } else {
            safe.extend(character.escape_debug());
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::variables::Variables;

    #[test]
    fn the_whole_file_is_told_and_nothing_in_it_can_hide() {
        let text = "\
version: 1
vault: {address: 'https://vault.example.com:8200', skip_verify: true}
environments:
  production:
    protected: true
    namespace: data
    auth: {method: approle, mount: machines, role: dbt, role_id_env: DBT_ROLE_ID, wrapped_secret_id_file: \"/run/\\e[2Jx\\u202E\"}
    targets:
      prod:
        secrets:
          warehouse: database/creds/dbt-prod
          tls: {path: pki/issue/dbt, data: {common_name: x}}
        env: {DBT_ENV_SECRET_PASSWORD: '{{ vault.warehouse.password }}', PGOPTIONS: '-c x=y'}
        fields: {sslkey: {file: '{{ vault.tls.private_key }}'}, user: '{{ vault.warehouse.username }}'}
        expect: {host: db.example.com, port: 5432}
  staging:
    auth: {method: token}
    targets:
      stg: database/creds/dbt-stg
      other: {profile: edr, target: dev, secrets: none}
";
        let config = Config::parse(Path::new("/p/dbt-lease.yml"), text, &Variables::default())
            .expect("good");
        let told = of_file(&config);
        let expected = format!("\
file           /p/dbt-lease.yml
hash           {}

environment production, protected
  address      https://vault.example.com:8200
  namespace    data
  skip_verify  true
  login        approle at auth/machines, role dbt: role id from the variable DBT_ROLE_ID, wrapped secret id from /run/\\u{{1b}}[2Jx\\u{{202e}}
  target       prod
    reads      database/creds/dbt-prod
    writes     pki/issue/dbt {{\"common_name\":\"x\"}}
    sets       the variable DBT_ENV_SECRET_PASSWORD to `{{{{ vault.warehouse.password }}}}`
    sets       the variable PGOPTIONS to `-c x=y`
    sets       the output's sslkey to a file that holds `{{{{ vault.tls.private_key }}}}`
    sets       the output's user to `{{{{ vault.warehouse.username }}}}`
    expects    the output's host to be db.example.com
    expects    the output's port to be 5432

environment staging
  address      https://vault.example.com:8200
  skip_verify  true
  login        the user's own token: BAO_TOKEN, VAULT_TOKEN or the token file
  target       stg
    reads      database/creds/dbt-stg
    sets       the output's keys for user and password, as the adapter names them
  target       dev of profile edr: nothing from Vault
", config.fingerprint);
        assert_eq!(told, expected);
    }

    #[test]
    fn an_address_of_the_user_s_own_is_said_to_be_that() {
        let text = "version: 1\nenvironments: {e: {auth: {method: token}, targets: {t: database/creds/x}}}\n";
        let variables: Variables = [("VAULT_ADDR", "https://mine:8200")].into_iter().collect();
        let config = Config::parse(Path::new("/p/dbt-lease.yml"), text, &variables).expect("good");
        assert!(of_file(&config).contains("  address      that of BAO_ADDR or VAULT_ADDR\n"));
    }
}
