//! Plans of hand-made resolutions, and every refusal with its whole text.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::rc::Rc;

use zeroize::Zeroizing;

use super::{Plan, PlanError, plan};
use crate::config::Config;
use crate::dbt::yaml::{Mapping, Mark, Node, Value};
use crate::dbt::{Need, Other, Profile, Project, Resolved, Source, Sources};
use crate::variables::Variables;

const NULL: serde_json::Value = serde_json::Value::Null;

const CONFIG: &str = "\
version: 1
vault: {address: 'https://vault.example.com:8200'}
environments:
  staging:
    auth: {method: token}
    targets:
      staging: {secrets: {warehouse: {path: kv/stg, engine: kv2}}}
  production:
    protected: true
    auth: {method: approle, mount: machines, role: dbt, role_id_env: DBT_ROLE_ID, wrapped_secret_id_file: /run/wrapped}
    targets:
      prod:
        secrets:
          warehouse: database/creds/dbt-prod
          fixed: database/static-creds/dbt
          tls: {path: pki/issue/dbt, data: {common_name: x}}
        env: {DBT_ENV_SECRET_PASSWORD: '{{ vault.warehouse.password }}', WAREHOUSE_USER: '{{ vault.warehouse.username }}'}
  local:
    targets:
      dev: none
      other: {profile: elementary, target: prod, secrets: none}
";

fn string(text: &str, line: usize) -> Rc<Node> {
    Rc::new(Node {
        value: Value::Str(Zeroizing::new(text.to_owned())),
        mark: Mark { line, column: 5 },
    })
}

/// A command on a target of the project's own profile `shop`, whose output has these strings.
pub(super) fn command(need: Need, target: &str, named: bool, output: &[(&str, &str)]) -> Resolved {
    let pairs = output
        .iter()
        .enumerate()
        .map(|(at, (key, text))| (string(key, at + 5), string(text, at + 5)));
    let source = |said: &str, named| Source {
        said: said.to_owned(),
        named,
    };
    Resolved {
        need,
        is_dbt: true,
        argv: Vec::new(),
        project: Some(Project {
            name: "shop_project".to_owned(),
            dir: PathBuf::from("/p"),
            profile: Some("shop".to_owned()),
        }),
        profile: Some(Profile {
            file: PathBuf::from("/home/u/.dbt/profiles.yml"),
            name: "shop".to_owned(),
            target: target.to_owned(),
            output: Rc::new(Node::of(Value::Map(Mapping(pairs.collect())))),
            config: None,
            adapter: Some("postgres".to_owned()),
        }),
        others: Vec::new(),
        sources: Some(Sources {
            project: source("the working directory", false),
            profiles_dir: source("by default", false),
            profile: source("from dbt_project.yml", false),
            target: if named {
                source("from --target", true)
            } else {
                source("from profiles.yml", false)
            },
        }),
        usage: None,
        profile_reads: None,
        written: Vec::new(),
        parse_cache: crate::dbt::ParseCache::default(),
        threads_count: false,
        vars: crate::dbt::jinja::Vars::default(),
        deciding_files: Vec::new(),
        engine: crate::dbt::Engine::of_version("1.12.0"),
    }
}

fn prod(named: bool) -> Resolved {
    command(
        Need::Lease,
        "prod",
        named,
        &[("user", "{{ env_var('WAREHOUSE_USER') }}")],
    )
}

fn planned(resolved: &Resolved, config: &str) -> Result<Plan, PlanError> {
    planned_with(resolved, config, &Variables::default())
}

fn planned_with(
    resolved: &Resolved,
    config: &str,
    variables: &Variables,
) -> Result<Plan, PlanError> {
    let config = Config::parse(Path::new("/p/dbt-lease.yml"), config, variables)
        .expect("a good dbt-lease.yml");
    plan(resolved, Some(&config), variables)
}

fn refusal(resolved: &Resolved, config: &str) -> String {
    let error = planned(resolved, config).expect_err("a refusal");
    format!(
        "[{}] {error}\nhint: {}",
        error.kind(),
        error.hint().expect("every refusal says what to do")
    )
}

#[test]
fn a_lease_is_planned_with_requests_in_order_and_the_least_policy() {
    let plan = planned(&prod(true), CONFIG).expect("a plan");
    let expected = r#"{
  "project": {
    "name": "shop_project",
    "dir": "/p"
  },
  "profiles_file": "/home/u/.dbt/profiles.yml",
  "profile": "shop",
  "target": "prod",
  "environment": "production",
  "protected": true,
  "lease": "needed",
  "login": {
    "method": "approle",
    "mount": "machines",
    "role": "dbt"
  },
  "secrets": [
    {
      "name": "warehouse",
      "path": "database/creds/dbt-prod"
    },
    {
      "name": "fixed",
      "path": "database/static-creds/dbt",
      "ends": "not revocable: ends at its next rotation"
    },
    {
      "name": "tls",
      "path": "pki/issue/dbt",
      "ends": "not revocable unless its role has `generate_lease`: ends by its time alone"
    }
  ],
  "delivery": "env",
  "requests": [
    {
      "method": "PUT",
      "path": "sys/wrapping/lookup"
    },
    {
      "method": "PUT",
      "path": "sys/wrapping/unwrap"
    },
    {
      "method": "POST",
      "path": "auth/machines/login"
    },
    {
      "method": "GET",
      "path": "database/creds/dbt-prod"
    },
    {
      "method": "GET",
      "path": "database/static-creds/dbt"
    },
    {
      "method": "POST",
      "path": "pki/issue/dbt"
    },
    {
      "method": "PUT",
      "path": "sys/leases/revoke"
    },
    {
      "method": "PUT",
      "path": "sys/leases/revoke"
    },
    {
      "method": "POST",
      "path": "auth/token/revoke-self"
    }
  ],
  "policy": "POLICY",
  "sources": {
    "address": "https://vault.example.com:8200",
    "config": "/p/dbt-lease.yml",
    "dbt": "dbt-core 1.12.0",
    "environment": "from /p/dbt-lease.yml:12",
    "login": "role id from the variable DBT_ROLE_ID, wrapped secret id from /run/wrapped",
    "profile": "from dbt_project.yml",
    "profiles_dir": "by default",
    "project": "the working directory",
    "target": "from --target"
  }
}"#;
    let policy = r#"path "database/creds/dbt-prod" {
  capabilities = ["read"]
}

path "database/static-creds/dbt" {
  capabilities = ["read"]
}

path "pki/issue/dbt" {
  capabilities = ["update"]
}

path "sys/leases/renew" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = ["database/creds/dbt-prod/*"]
    "increment" = []
  }
}

path "sys/leases/revoke" {
  capabilities = ["update"]
  allowed_parameters = {
    "lease_id" = ["database/creds/dbt-prod/*", "pki/issue/dbt/*"]
    "sync" = []
  }
}

path "auth/token/renew-self" {
  capabilities = ["update"]
}

path "auth/token/revoke-self" {
  capabilities = ["update"]
}
"#;
    assert_eq!(plan.policy.as_deref(), Some(policy));
    let shown = serde_json::to_string_pretty(&Plan {
        policy: Some("POLICY".to_owned()),
        ..plan.clone()
    })
    .expect("JSON");
    assert_eq!(shown, expected);
    let loan = plan.loan.expect("a loan");
    assert_eq!(loan.lent.secrets.len(), 3);
    assert!(plan.login_variables.contains("DBT_ROLE_ID"));
}

#[test]
fn the_users_own_token_is_looked_at_and_never_revoked_and_kv_has_no_lease() {
    let own = [("VAULT_ADDR", "https://vault.example.com:8200")];
    let plan = planned_with(
        &command(Need::Lease, "staging", false, &[]),
        CONFIG,
        &own.into_iter().collect(),
    )
    .expect("a plan");
    let requests: Vec<_> = plan
        .requests
        .expect("requests")
        .into_iter()
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    assert_eq!(requests, ["GET auth/token/lookup-self", "GET kv/data/stg"]);
    assert_eq!(
        plan.policy.expect("a policy"),
        "path \"kv/data/stg\" {\n  capabilities = [\"read\"]\n}\n\npath \"auth/token/lookup-self\" {\n  capabilities = [\"read\"]\n}\n"
    );
    let login = plan.login.expect("a login");
    assert_eq!(
        (login.method, login.mount, login.role),
        ("token", None, None)
    );
}

#[test]
fn the_users_own_token_goes_to_the_users_own_address_alone() {
    let staging = command(Need::Lease, "staging", false, &[]);
    assert_eq!(
        refusal(&staging, CONFIG),
        "[token_to_foreign_address] environment `staging` takes the user's own token (/p/dbt-lease.yml:5), and \
         https://vault.example.com:8200 is not known to be the user's own server: neither BAO_ADDR nor VAULT_ADDR is set\n\
         hint: if https://vault.example.com:8200 is yours: export VAULT_ADDR=https://vault.example.com:8200; else log in by \
         a role of the project's (`method: approle`)"
    );
    let with = |variables: &[(&str, &str)]| {
        planned_with(&staging, CONFIG, &variables.iter().copied().collect())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let (same, other) = (
        "https://VAULT.example.com:8200/",
        "https://vault.example.com:8201",
    );
    assert_eq!(with(&[("VAULT_ADDR", same)]), Ok(()));
    assert_eq!(with(&[("BAO_ADDR", same), ("VAULT_ADDR", other)]), Ok(()));
    assert_eq!(
        with(&[("VAULT_AGENT_ADDR", other), ("VAULT_ADDR", same)]),
        Ok(())
    );
    for foreign in [
        vec![("VAULT_ADDR", other)],
        vec![("BAO_ADDR", other), ("VAULT_ADDR", same)],
        vec![("BAO_ADDR", ""), ("VAULT_ADDR", same)],
        vec![("VAULT_ADDR", "http://vault.example.com:8200")],
    ] {
        let refused = with(&foreign).expect_err("refused");
        assert!(
            refused.contains("takes the user's own token"),
            "{foreign:?}: {refused}"
        );
    }
    // A role of the project's is nobody's own: its address may stand in the file alone.
    assert!(planned(&prod(true), CONFIG).is_ok());
}

#[test]
fn a_path_that_is_read_twice_stands_once_in_the_policy() {
    let config = CONFIG.replace(
        "fixed: database/static-creds/dbt",
        "again: database/creds/dbt-prod",
    );
    let plan = planned(&prod(true), &config).expect("a plan");
    let policy = plan.policy.expect("a policy");
    assert_eq!(
        policy.matches("path \"database/creds/dbt-prod\"").count(),
        1,
        "{policy}"
    );
    assert!(
        policy.contains("[\"database/creds/dbt-prod/*\", \"pki/issue/dbt/*\"]"),
        "{policy}"
    );
    let requests = plan.requests.expect("requests");
    assert_eq!(
        requests
            .iter()
            .filter(|request| request.path == "sys/leases/revoke")
            .count(),
        3
    );
}

#[test]
fn a_placeholder_asks_vault_nothing_and_needs_no_name() {
    let resolved = Resolved {
        need: Need::Placeholder,
        ..prod(false)
    };
    let plan = planned(&resolved, CONFIG).expect("a plan");
    let json = serde_json::to_value(&plan).expect("JSON");
    assert_eq!(json["lease"], "placeholder");
    assert_eq!(json["login"], serde_json::Value::Null);
    assert_eq!(json["requests"], serde_json::json!([]));
    assert_eq!(json["policy"], "");
    assert_eq!(json["environment"], "production");
    assert!(plan.loan.expect("a loan").session.is_none());
}

#[test]
fn a_target_that_is_none_and_a_command_that_reads_no_profile_need_no_lease() {
    let dev = serde_json::to_value(
        planned(&command(Need::Lease, "dev", false, &[]), CONFIG).expect("a plan"),
    )
    .expect("JSON");
    assert_eq!(
        (&dev["lease"], &dev["environment"]),
        (&"none".into(), &"local".into())
    );
    assert_eq!(
        (&dev["login"], &dev["delivery"], &dev["requests"]),
        (&NULL, &NULL, &serde_json::json!([]))
    );
    let deps = Resolved {
        need: Need::None,
        profile: None,
        sources: None,
        ..prod(false)
    };
    let plan = planned(&deps, CONFIG).expect("a plan");
    let json = serde_json::to_value(&plan).expect("JSON");
    assert_eq!(
        (&json["lease"], &json["environment"], &json["profile"]),
        (&"none".into(), &NULL, &NULL)
    );
    assert!(
        plan.login_variables.contains("VAULT_TOKEN"),
        "taken from the child also where nothing is lent"
    );
}

#[test]
fn without_a_configuration_only_the_need_is_known() {
    let plan = plan(&prod(false), None, &Variables::default()).expect("a plan");
    let json = serde_json::to_value(&plan).expect("JSON");
    assert_eq!(json["lease"], "needed");
    for key in [
        "environment",
        "protected",
        "login",
        "secrets",
        "delivery",
        "requests",
        "policy",
    ] {
        assert_eq!(json[key], serde_json::Value::Null, "{key}");
    }
    assert!(
        plan.login_variables.is_empty(),
        "without dbt-lease.yml nothing is taken"
    );
}

#[test]
fn another_profiles_target_is_never_matched_by_its_name_alone() {
    let mut resolved = command(Need::Lease, "prod", true, &[]);
    let profile = resolved.profile.as_mut().expect("a profile");
    profile.name = "elementary".to_owned();
    let json = serde_json::to_value(planned(&resolved, CONFIG).expect("a plan")).expect("JSON");
    assert_eq!(
        (&json["environment"], &json["lease"]),
        (&"local".into(), &"none".into())
    );
    // Without the project's own profile known, a plain key matches nothing.
    let mut orphan = prod(true);
    orphan.project = None;
    assert_eq!(
        planned(&orphan, CONFIG).expect_err("a refusal").kind(),
        "target_not_listed"
    );
}

#[test]
fn an_unlisted_target_is_refused_with_the_nearest_name_and_the_line_to_add() {
    assert_eq!(
        refusal(&command(Need::Lease, "stagng", true, &[]), CONFIG),
        "[target_not_listed] /p/dbt-lease.yml: target `stagng` of profile `shop` is not listed in any environment\n\
         hint: did you mean `--target staging`? else add it under `targets` of the environment it belongs to (staging, \
         production, local), with `none` for the path if it needs nothing from Vault:\n    stagng: database/creds/ROLE"
    );
    let mut other = command(Need::Placeholder, "x", true, &[]);
    other.profile.as_mut().expect("a profile").name = "audit".to_owned();
    assert_eq!(
        refusal(&other, CONFIG),
        "[target_not_listed] /p/dbt-lease.yml: target `x` of profile `audit` is not listed in any environment\n\
         hint: else add it under `targets` of the environment it belongs to (staging, production, local), with `none` for \
         the path if it needs nothing from Vault:\n    KEY: {profile: audit, target: x, secrets: {warehouse: database/creds/ROLE}}"
    );
}

#[test]
fn a_free_key_that_means_an_own_target_of_another_environment_is_refused() {
    let config = CONFIG.replace("profile: elementary", "profile: shop");
    assert_eq!(
        refusal(&prod(true), &config),
        "[target_ambiguous] /p/dbt-lease.yml:21: target `prod` of profile `shop` stands in environment `local`, and already \
         in environment `production` (/p/dbt-lease.yml:12)\n\
         hint: a target belongs to one environment: remove one of the two"
    );
}

#[test]
fn a_protected_target_must_be_named() {
    assert_eq!(
        refusal(&prod(false), CONFIG),
        "[protected_target_not_named] environment `production` is protected, and its target `prod` was not named: it comes \
         from profiles.yml\n\
         hint: add `--target prod` to dbt's arguments, or set DBT_TARGET=prod for this command"
    );
    let resolved = Resolved {
        is_dbt: false,
        ..prod(false)
    };
    assert!(
        refusal(&resolved, CONFIG)
            .ends_with("add `--target prod` before `--`, or set DBT_TARGET=prod for this command")
    );
}

#[test]
fn a_protected_environment_is_reached_by_verified_tls_or_loopback_alone() {
    let with = |vault: &str| CONFIG.replace("{address: 'https://vault.example.com:8200'}", vault);
    assert_eq!(
        refusal(
            &prod(true),
            &with("{address: 'http://vault.example.com:8200'}")
        ),
        "[protected_plain_http] environment `production` is protected, and http://vault.example.com:8200 is plain http to \
         another machine\n\
         hint: use https:// (/p/dbt-lease.yml:8, `vault:` or VAULT_ADDR); plain http is for loopback alone"
    );
    assert_eq!(
        refusal(
            &prod(true),
            &with("{address: 'https://vault.example.com:8200', skip_verify: true}")
        ),
        "[protected_skip_verify] environment `production` is protected, and the certificate of \
         https://vault.example.com:8200 would not be verified (skip_verify)\n\
         hint: remove skip_verify (/p/dbt-lease.yml:8, `vault:` or VAULT_SKIP_VERIFY) and name the authority: `ca_cert: FILE`"
    );
    for near in [
        "http://127.0.0.1:8200",
        "http://localhost:8200",
        "http://[::1]:8200",
        "unix:///run/vault.sock",
    ] {
        assert!(
            planned(&prod(true), &with(&format!("{{address: '{near}'}}"))).is_ok(),
            "{near}"
        );
    }
    for far in [
        "http://127.0.0.1.example.com",
        "http://localhost.example.com:1",
        "http://[2001:db8::1]:8200",
        "http://10.0.0.1/127.0.0.1",
    ] {
        let refused = planned(&prod(true), &with(&format!("{{address: '{far}'}}")));
        assert_eq!(
            refused.expect_err(far).kind(),
            "protected_plain_http",
            "{far}"
        );
    }
}

#[test]
fn without_an_address_a_lease_is_refused_and_a_target_that_needs_none_is_not() {
    let config = CONFIG.replace("vault: {address: 'https://vault.example.com:8200'}\n", "");
    assert_eq!(
        refusal(&prod(true), &config),
        "[no_vault_address] no address of Vault for environment `production` (/p/dbt-lease.yml:7)\n\
         hint: set VAULT_ADDR, or write `vault: {address: https://HOST:8200}` into dbt-lease.yml"
    );
    assert!(planned(&command(Need::Lease, "dev", false, &[]), &config).is_ok());
}

#[test]
fn a_variable_that_nothing_reads_is_refused() {
    assert_eq!(
        refusal(
            &command(
                Need::Lease,
                "prod",
                true,
                &[("user", "{{ env_var('WAREHOUSE_NAME') }}")]
            ),
            CONFIG
        ),
        "[variable_not_read] /p/dbt-lease.yml:17: `env:` sets WAREHOUSE_USER, which target `prod` of profile `shop` does not \
         read by env_var()\n\
         hint: read it there (`\"{{ env_var('WAREHOUSE_USER') }}\"`), or use a name that begins with `DBT_ENV_SECRET_`, or one \
         that the adapter's client reads by itself (PGPASSWORD, AWS_…)"
    );
}

#[test]
fn an_output_that_reads_what_logs_us_in_is_refused() {
    for (need, target) in [(Need::Lease, "dev"), (Need::Placeholder, "staging")] {
        assert_eq!(
            refusal(
                &command(
                    need,
                    target,
                    true,
                    &[
                        ("host", "db"),
                        ("user", "{{ env_var('DBT_ROLE_ID', 'x') }}")
                    ]
                ),
                CONFIG
            ),
            "[variable_kept] /home/u/.dbt/profiles.yml:6: `user` reads DBT_ROLE_ID, which dbt does not get: it can log in to \
             Vault\n\
             hint: give the output a variable of its own: a token that logs in must not reach dbt, whose packages could read it"
        );
    }
}

#[test]
fn the_table_says_the_same_to_people() {
    let rows = planned(&prod(true), CONFIG).expect("a plan").rows();
    let text: String = rows
        .into_iter()
        .map(|(word, lines)| format!("{word}: {}\n", lines.join(" | ")))
        .collect();
    assert_eq!(
        text,
        "project: shop_project in /p (the working directory)
profiles file: /home/u/.dbt/profiles.yml (by default)
profile: shop (from dbt_project.yml)
target: prod (from --target)
environment: production, protected (from /p/dbt-lease.yml:12)
lease: needed
login: approle at auth/machines, role dbt (role id from the variable DBT_ROLE_ID, wrapped secret id from /run/wrapped)
vault: https://vault.example.com:8200
secrets: warehouse: database/creds/dbt-prod | fixed: database/static-creds/dbt (not revocable: ends at its next rotation) | \
         tls: pki/issue/dbt (not revocable unless its role has `generate_lease`: ends by its time alone)
delivery: env: in variables alone
requests: PUT sys/wrapping/lookup | PUT sys/wrapping/unwrap | POST auth/machines/login | GET database/creds/dbt-prod | \
         GET database/static-creds/dbt | POST pki/issue/dbt | PUT sys/leases/revoke | PUT sys/leases/revoke | \
         POST auth/token/revoke-self
"
    );
}

/// A further profile `elementary`, whose target `prod` is in this environment.
fn with_another(named: bool, config: &str) -> (Resolved, String) {
    let mut resolved = prod(true);
    let mut further = prod(named);
    let mut profile = further.profile.take().expect("a profile");
    profile.name = "elementary".to_owned();
    let target = further.sources.take().expect("sources").target;
    resolved.others = vec![Other { profile, target }];
    let local = "      other: {profile: elementary, target: prod, secrets: none}\n";
    let entry = format!("      edr: {{profile: elementary, target: prod, {config}}}\n");
    let text = CONFIG.replace(local, "");
    (
        resolved,
        text.replace("  local:\n", &format!("{entry}  local:\n")),
    )
}

#[test]
fn a_further_profile_s_secrets_are_planned_too() {
    let (resolved, config) = with_another(true, "secrets: {warehouse: database/creds/edr}");
    let planned = planned(&resolved, &config).expect("a plan");
    let paths: Vec<&str> = planned
        .others
        .iter()
        .flat_map(|other| &other.secrets)
        .map(|secret| secret.path.as_str())
        .collect();
    assert_eq!(paths, ["database/creds/edr"]);
    let asked = planned.requests.as_ref().expect("requests");
    assert!(
        asked
            .iter()
            .any(|request| request.path == "database/creds/edr")
    );
    assert!(
        planned
            .policy
            .as_ref()
            .is_some_and(|policy| policy.contains("database/creds/edr"))
    );
    let rows = planned.rows();
    let also = rows
        .iter()
        .find(|(name, _)| *name == "also")
        .expect("a row");
    assert_eq!(
        also.1,
        ["elementary, target prod", "warehouse: database/creds/edr"]
    );
}

#[test]
fn a_further_profile_is_held_to_the_rules_of_the_first() {
    let (resolved, config) = with_another(false, "secrets: {warehouse: database/creds/edr}");
    assert!(refusal(&resolved, &config).starts_with("[protected_target_not_named]"));
    let (mut elsewhere, _) = with_another(true, "secrets: none");
    assert!(refusal(&elsewhere, CONFIG).starts_with("[several_environments]"));
    let bridge = "secrets: {warehouse: database/creds/edr}, env: {DBT_ENV_SECRET_PASSWORD: '{{ vault.warehouse.password }}'}";
    let (resolved, config) = with_another(true, bridge);
    assert!(refusal(&resolved, &config).starts_with("[profiles_clash]"));
    elsewhere.profile.as_mut().expect("a profile").target = "dev".to_owned();
    assert!(refusal(&elsewhere, CONFIG).starts_with("[first_lends_nothing]"));
}
