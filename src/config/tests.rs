//! What a good dbt-lease.yml becomes, where it is found, and what holds for any text.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::refusals::shown;
use super::{
    AppRole, Auth, Config, ConfigError, Delivery, FieldValue, KvEngine, Lending, Lent, Operation,
    RoleId, SecretId, Shape, login_variables,
};
use crate::variables::Variables;

pub(super) fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(
        Path::new("/p/dbt-lease.yml"),
        text,
        &variables.iter().copied().collect(),
    )
}

fn parse(text: &str) -> Config {
    parse_with(text, &[]).unwrap_or_else(|error| panic!("{}", shown(&error)))
}

/// The target `prod` of an environment with a login.
fn prod(target: &str) -> Lent {
    let text = format!(
        "version: 1\nenvironments:\n  e:\n    auth: {{method: approle, role_id: r, secret_id_file: s}}\n    targets:\n      prod: {target}\n"
    );
    match &parse(&text).environments[0].targets[0].lending {
        Lending::Lent(lent) => lent.clone(),
        Lending::None => panic!("nothing is lent"),
    }
}

#[test]
fn the_short_form_is_one_secret_named_warehouse() {
    let lent = prod("database/creds/dbt-prod");
    let request = &lent.secrets[0].request;
    assert_eq!(
        (request.name.as_str(), request.path.as_str()),
        ("warehouse", "database/creds/dbt-prod")
    );
    assert_eq!(
        (&request.operation, request.shape),
        (&Operation::Read, Shape::Plain)
    );
    assert_eq!(
        (lent.delivery, lent.env.len(), lent.fields.len()),
        (Delivery::File, 0, 0)
    );
}

#[test]
fn the_long_form_keeps_order_templates_and_data() {
    let lent = prod(
        "{secrets: {warehouse: database/creds/x, tls: {path: pki/issue/dbt, data: {common_name: x, ttl: 60, sans: [a]}}}, \
         env: {DBT_ENV_SECRET_USER: '{{ vault.warehouse.username }}', PGPORT: '5432'}, \
         fields: {sslcert: {file: '{{ vault.tls.certificate }}'}, keyfile_json.key: '{{ vault.tls.private_key | trim }}'}}",
    );
    let body = serde_json::json!({"common_name": "x", "ttl": 60, "sans": ["a"]});
    assert_eq!(
        lent.secrets[1].request.operation,
        Operation::Write(body.as_object().expect("an object").clone())
    );
    let names: Vec<_> = lent.env.iter().map(|bridge| bridge.name.as_str()).collect();
    assert_eq!(names, ["DBT_ENV_SECRET_USER", "PGPORT"]);
    assert_eq!(
        lent.fields[0],
        (
            "sslcert".to_owned(),
            FieldValue::File("{{ vault.tls.certificate }}".to_owned())
        )
    );
    assert_eq!(lent.fields[1].0, "keyfile_json.key");
    assert_eq!(lent.delivery, Delivery::File);
}

#[test]
fn delivery_is_env_where_only_env_is_given_unless_it_is_said() {
    let env = "secrets: {w: database/creds/x}, env: {DBT_ENV_SECRET_P: '{{ vault.w.password }}'}";
    assert_eq!(prod(&format!("{{{env}}}")).delivery, Delivery::Env);
    assert_eq!(
        prod(&format!("{{{env}, delivery: file}}")).delivery,
        Delivery::File
    );
}

#[test]
fn kv_says_its_version_by_engine_or_by_the_literal_path() {
    let cases = [
        (
            "secret/data/dbt/prod",
            "secret/data/dbt/prod",
            Shape::KvV2,
            Some(KvEngine::V2),
        ),
        (
            "{path: secret/dbt/prod, engine: kv2}",
            "secret/data/dbt/prod",
            Shape::KvV2,
            Some(KvEngine::V2),
        ),
        (
            "{path: secret/dbt/prod, engine: kv1}",
            "secret/dbt/prod",
            Shape::Plain,
            Some(KvEngine::V1),
        ),
        (
            "{path: team/kv/dbt, mount: team/kv, engine: kv2}",
            "team/kv/data/dbt",
            Shape::KvV2,
            Some(KvEngine::V2),
        ),
        (
            "{path: dbt/prod, mount: team/kv, engine: kv2}",
            "team/kv/data/dbt/prod",
            Shape::KvV2,
            Some(KvEngine::V2),
        ),
        (
            "{path: team/kv/data/dbt, mount: team/kv}",
            "team/kv/data/dbt",
            Shape::KvV2,
            Some(KvEngine::V2),
        ),
        ("secret/dbt/prod", "secret/dbt/prod", Shape::Plain, None),
        ("secret/data", "secret/data", Shape::Plain, None),
        (
            "database/creds/data",
            "database/creds/data",
            Shape::Plain,
            None,
        ),
    ];
    for (said, path, shape, engine) in cases {
        let lent = prod(&format!("{{secrets: {{w: {said}}}}}"));
        let secret = &lent.secrets[0];
        assert_eq!(
            (
                secret.request.path.as_str(),
                secret.request.shape,
                secret.engine
            ),
            (path, shape, engine),
            "{said}"
        );
    }
}

#[test]
fn what_never_has_a_lease_is_known() {
    for (said, may) in [
        ("database/creds/x", true),
        ("pki/issue/x", true),
        ("database/static-creds/x", false),
        ("ldap/static-cred/x", false),
        ("secret/data/x", false),
        ("{path: secret/x, engine: kv1}", false),
    ] {
        assert_eq!(
            prod(&format!("{{secrets: {{w: {said}}}}}")).secrets[0].may_lease(),
            may,
            "{said}"
        );
    }
}

#[test]
fn logins_name_files_from_the_configurations_directory_and_home() {
    let text = "version: 1\nenvironments:\n  a:\n    auth: {method: approle, mount: team/approle, role: r, role_id_file: ids/a, secret_id_file: ~/a}\n    targets: {}\n  b:\n    auth: {method: approle, role_id_env: ROLE, wrapped_secret_id_file: /run/b}\n    targets: {}\n  c:\n    auth: {method: token}\n    targets: {}\n";
    let config = parse_with(text, &[("HOME", "/home/u")]).expect("a good dbt-lease.yml");
    let auths: Vec<_> = config
        .environments
        .iter()
        .map(|environment| environment.auth.clone().expect("a login"))
        .collect();
    assert_eq!(
        auths,
        [
            Auth::AppRole(AppRole {
                mount: "team/approle".to_owned(),
                role_id: RoleId::File(PathBuf::from("/p/ids/a")),
                secret_id: SecretId::File(PathBuf::from("/home/u/a")),
                role: Some("r".to_owned()),
            }),
            Auth::AppRole(AppRole {
                mount: "approle".to_owned(),
                role_id: RoleId::Variable("ROLE".to_owned()),
                secret_id: SecretId::WrappedFile(PathBuf::from("/run/b")),
                role: None,
            }),
            Auth::Token,
        ]
    );
    let without_home = parse_with(text, &[]).expect_err("`~` without HOME");
    assert_eq!(
        shown(&without_home),
        "/p/dbt-lease.yml:4: `environments.a.auth.secret_id_file`: `~` without HOME\nhint: set HOME, or write the whole path"
    );
}

#[test]
fn the_environment_wins_over_vault_and_that_over_the_variables() {
    let text = "version: 1\nvault: {namespace: team, timeout: 2m, ca_cert: ca.pem}\nenvironments:\n  a:\n    address: HTTPS://A.Example.com:8200/\n    namespace: ''\n    max_retries: 0\n    targets: {}\n  b: {targets: {}}\n";
    let variables = [
        ("VAULT_ADDR", "https://v.example.com"),
        ("BAO_ADDR", "https://b.example.com/"),
        ("VAULT_NAMESPACE", "other"),
        ("VAULT_CAPATH", "/etc/ca"),
        ("VAULT_SKIP_VERIFY", "true"),
        ("BAO_SKIP_VERIFY", ""),
        ("VAULT_MAX_RETRIES", "5"),
        ("VAULT_CLIENT_TIMEOUT", "1m30s"),
        ("VAULT_TLS_SERVER_NAME", "vault"),
    ];
    let config = parse_with(text, &variables).expect("a good dbt-lease.yml");
    let server = |at: usize| config.environments[at].server.clone().expect("a server");
    let (a, b) = (server(0), server(1));
    assert_eq!(
        (a.address.as_str(), a.namespace.as_deref(), a.max_retries),
        ("https://a.example.com:8200", None, 0)
    );
    assert_eq!(
        (b.address.as_str(), b.namespace.as_deref(), b.max_retries),
        ("https://b.example.com", Some("team"), 5)
    );
    assert_eq!(
        (b.timeout, b.skip_verify),
        (Duration::from_secs(120), false),
        "BAO_X counts even where it is empty"
    );
    assert_eq!(
        (b.ca_cert, b.ca_path),
        (Some(PathBuf::from("/p/ca.pem")), None),
        "whom to trust is one setting"
    );
    assert_eq!(b.tls_server_name.as_deref(), Some("vault"));
}

#[test]
fn without_any_address_there_is_no_server_and_the_agent_wins_over_the_address() {
    let text = "version: 1\nenvironments: {a: {targets: {dev: none}}}\n";
    let address = |variables: &[(&str, &str)]| {
        parse_with(text, variables)
            .expect("a good dbt-lease.yml")
            .environments[0]
            .server
            .as_ref()
            .map(|server| server.address.clone())
    };
    assert_eq!(address(&[]), None);
    assert_eq!(
        address(&[("VAULT_ADDR", "https://v"), ("BAO_ADDR", "")]),
        None
    );
    assert_eq!(
        address(&[
            ("VAULT_ADDR", "https://v"),
            ("VAULT_AGENT_ADDR", "unix:///run/a.sock")
        ])
        .as_deref(),
        Some("unix:///run/a.sock")
    );
}

#[test]
fn a_variable_of_vaults_that_cannot_be_used_is_named_without_its_value() {
    let text = "version: 1\nenvironments: {a: {targets: {dev: none}}}\n";
    let cases = [
        (
            "VAULT_ADDR",
            "vault:8200",
            "variable VAULT_ADDR: an address without its scheme\nhint: write https://HOST:PORT, http://127.0.0.1:PORT or unix:///PATH",
        ),
        (
            "BAO_NAMESPACE",
            "a b",
            "variable BAO_NAMESPACE: not a namespace\nhint: unset it, or set it to a namespace such as `admin/team`",
        ),
        (
            "VAULT_SKIP_VERIFY",
            "yes",
            "variable VAULT_SKIP_VERIFY: neither true nor false\nhint: unset it, or set it to `true` or `false`",
        ),
        (
            "VAULT_CLIENT_TIMEOUT",
            "soon",
            "variable VAULT_CLIENT_TIMEOUT: not a duration\nhint: unset it, or set it to a duration such as `60s`",
        ),
        (
            "VAULT_RATE_LIMIT",
            "fast",
            "variable VAULT_RATE_LIMIT: not a rate\nhint: unset it, or set it to requests a second such as `10`, or with a burst `10:20`",
        ),
        (
            "BAO_HEADERS",
            r#"{"x-vault-token": "hunter2"}"#,
            "variable BAO_HEADERS: a header that is Vault's or the connection's own\nhint: unset it, or set it to a JSON object such as `{\"name\": \"value\"}`",
        ),
        (
            "BAO_CLIENT_KEY_BYTES",
            "hunter2",
            "variable BAO_CLIENT_KEY_BYTES: a key without its certificate\nhint: set BAO_CLIENT_CERT_BYTES too",
        ),
        (
            "VAULT_MAX_RETRIES",
            "-1",
            "variable VAULT_MAX_RETRIES: not a whole number\nhint: unset it, or set it to a number such as `2`",
        ),
    ];
    for (name, value, expected) in cases {
        assert_eq!(
            shown(&parse_with(text, &[(name, value)]).expect_err(name)),
            expected
        );
    }
}

#[test]
fn login_variables_are_those_of_every_environment_and_all_known_tokens() {
    let config = parse(
        "version: 1\nenvironments:\n  a:\n    auth: {method: approle, role_id_env: A_ROLE, secret_id_env: A_SECRET}\n    targets: {}\n  b:\n    auth: {method: approle, role_id: x, secret_id_env: B_SECRET}\n    targets: {}\n",
    );
    let variables = [
        ("TFC_WORKLOAD_IDENTITY_TOKEN_PROD", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ]
    .into_iter()
    .collect();
    let names = login_variables(&config, &variables);
    for name in [
        "A_ROLE",
        "A_SECRET",
        "B_SECRET",
        "VAULT_TOKEN",
        "BAO_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "TFC_WORKLOAD_IDENTITY_TOKEN_PROD",
    ] {
        assert!(names.contains(name), "{name}");
    }
    assert!(
        !names.contains("AWS_SECRET_ACCESS_KEY"),
        "dbt's own access is not a login of ours"
    );
}

#[test]
fn the_flag_wins_over_the_variable_and_that_over_the_file_beside_the_project() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().canonicalize().expect("a path");
    for name in ["flag.yml", "variable.yml", "dbt-lease.yml"] {
        fs::write(root.join(name), "").expect("a file");
    }
    let variable: Variables = [("DBT_LEASE_CONFIG", root.join("variable.yml"))]
        .into_iter()
        .collect();
    let unset: Variables = [("DBT_LEASE_CONFIG", "")].into_iter().collect();
    let flag = root.join("flag.yml");
    let found = |flag: Option<&Path>, variables| {
        Config::find(Some(&root), flag, variables)
            .expect("no error")
            .expect("a file")
    };
    assert_eq!(found(Some(&flag), &variable), flag);
    assert_eq!(found(None, &variable), root.join("variable.yml"));
    assert_eq!(found(None, &unset), root.join("dbt-lease.yml"));
    assert_eq!(Config::find(None, None, &unset), Ok(None));
}

#[test]
fn a_project_of_links_leads_to_the_file_beside_the_real_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().canonicalize().expect("a path");
    let (real, links) = (root.join("real"), root.join("links"));
    fs::create_dir(&real).expect("a directory");
    fs::create_dir(&links).expect("a directory");
    fs::write(real.join("dbt_project.yml"), "").expect("a file");
    std::os::unix::fs::symlink(real.join("dbt_project.yml"), links.join("dbt_project.yml"))
        .expect("a link");
    assert_eq!(
        Config::find(Some(&links), None, &Variables::default()),
        Ok(None)
    );
    fs::write(real.join("dbt-lease.yml"), "").expect("a file");
    assert_eq!(
        Config::find(Some(&links), None, &Variables::default()),
        Ok(Some(real.join("dbt-lease.yml")))
    );
    std::os::unix::fs::symlink(root.join("nowhere"), links.join("dbt-lease.yml")).expect("a link");
    let dangling = Config::find(Some(&links), None, &Variables::default())
        .expect("no error")
        .expect("a file");
    assert_eq!(
        Config::load(&dangling, &Variables::default())
            .expect_err("nothing to read")
            .kind(),
        "config_unreadable"
    );
}

#[test]
fn files_that_cannot_be_the_configuration_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().canonicalize().expect("a path");
    let at = root.display();
    let variables = Variables::default();
    let missing = Config::find(None, Some(&root.join("x.yml")), &variables).expect_err("no file");
    assert_eq!(
        shown(&missing),
        format!(
            "{at}/x.yml: no such file, though --config names it\nhint: correct --config, or leave it out: dbt-lease.yml beside dbt_project.yml is found"
        )
    );
    fs::write(root.join("dbt_lease.yaml"), "").expect("a file");
    let misnamed = Config::find(Some(&root), None, &variables).expect_err("another name");
    assert_eq!(
        shown(&misnamed),
        format!(
            "{at}/dbt_lease.yaml: not read, since the configuration is named dbt-lease.yml\nhint: mv {at}/dbt_lease.yaml {at}/dbt-lease.yml"
        )
    );
    let load = |bytes: &[u8]| {
        let file = root.join("bytes.yml");
        fs::write(&file, bytes).expect("a file");
        shown(&Config::load(&file, &variables).expect_err("a refusal"))
    };
    assert_eq!(
        load(b"version: 1\n\xff"),
        format!("{at}/bytes.yml:2: not valid YAML: not UTF-8\nhint: save the file as UTF-8")
    );
    assert_eq!(
        load(&vec![b'#'; 1024 * 1024 + 1]),
        format!(
            "{at}/bytes.yml: cannot be read: larger than 1 MiB\nhint: name a dbt-lease.yml that this user can read"
        )
    );
    let directory = Config::load(&root, &variables).expect_err("a directory");
    assert_eq!(
        shown(&directory),
        format!(
            "{at}: cannot be read: not a regular file\nhint: name a dbt-lease.yml that this user can read"
        )
    );
}

#[test]
fn no_refusal_quotes_what_looks_like_a_secret() {
    const SECRET: &str = "hvs.CAESIJquiteSecret0123";
    let places = [
        format!("version: {SECRET}\n"),
        format!("{SECRET}: 1\n"),
        format!("version: 1\nvault: {{address: {SECRET}}}\n"),
        format!("version: 1\nvault: {{timeout: {SECRET}}}\n"),
        format!("version: 1\nenvironments: {{{SECRET}: 1}}\n"),
        format!("version: 1\nenvironments: {{a: {{targets: {{dev: {SECRET}}}}}}}\n"),
        format!("version: 1\nvault: {{address: 'https://root:{SECRET}@v'}}\n"),
        format!(
            "version: 1\nenvironments: {{a: {{targets: {{dev: {{secrets: {{a: kv/x}}, fields: {{password: '{{{{ {SECRET}'}}}}}}}}}}\n"
        ),
        format!("version: 1\nx: [{SECRET}\n"),
        format!("version: 1\nx: *{SECRET}\n"),
    ];
    for text in places {
        let error = parse_with(&text, &[]).expect_err(&text);
        assert!(
            !format!("{error:?} {}", shown(&error)).contains(SECRET),
            "{}",
            shown(&error)
        );
    }
}

#[test]
fn bombs_are_refused() {
    let brackets = "[".repeat(100_000);
    let dashes = "- ".repeat(100_000);
    let keys = "? ".repeat(100_000);
    let aliases = (1..40).fold("a0: &a0 [x]\n".to_owned(), |text, at| {
        format!("{text}a{at}: &a{at} [*a{0}, *a{0}, *a{0}]\n", at - 1)
    });
    for text in [
        brackets,
        dashes.clone(),
        keys,
        format!("a: 1\na: 2\nb:\n  {dashes}"),
        aliases,
    ] {
        let refused = parse_with(&text, &[]).expect_err("a bomb");
        assert_eq!(refused.kind(), "config_syntax", "{refused}");
    }
}

/// YAML made of the file's own words, so that the walk gets deep.
fn yaml() -> impl Strategy<Value = serde_json::Value> {
    let word = prop::sample::select(vec![
        "version",
        "vault",
        "environments",
        "auth",
        "targets",
        "method",
        "approle",
        "token",
        "role_id",
        "secret_id_file",
        "role_id_env",
        "secrets",
        "env",
        "fields",
        "delivery",
        "path",
        "engine",
        "kv2",
        "mount",
        "data",
        "file",
        "none",
        "profile",
        "target",
        "address",
        "https://v:1",
        "namespace",
        "timeout",
        "protected",
        "prod",
        "database/creds/x",
        "DBT_ENV_SECRET_X",
        "{{ vault.a.b }}",
        "a",
        "",
    ]);
    let leaf = prop_oneof![
        word.clone().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        (-1..3_i64).prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(7, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            prop::collection::vec((word.clone(), inner), 0..5).prop_map(|pairs| {
                pairs
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    })
}

/// An environment: its login and its targets' paths from small sets, so that collisions are common.
fn environment(name: &'static str) -> impl Strategy<Value = String> {
    let role = prop_oneof![
        Just("role_id: r1"),
        Just("role_id: r2"),
        Just("role_id_env: R"),
        Just("role_id: r2, role: dbt")
    ];
    let secret = prop_oneof![
        Just("secret_id_env: S"),
        Just("secret_id_env: T"),
        Just("secret_id_file: f")
    ];
    let namespace = prop_oneof![Just(""), Just("team"), Just("team/a")];
    let address = prop_oneof![Just("https://v"), Just("https://V:443/"), Just("https://w")];
    let path = prop_oneof![
        Just("kv/x"),
        Just("kv/y"),
        Just("team/kv/x"),
        Just("a/kv/x")
    ];
    (role, secret, namespace, address, path).prop_map(move |(role, secret, namespace, address, path)| {
        format!(
            "  {name}:\n    address: {address}\n    namespace: '{namespace}'\n    auth: {{method: approle, {role}, {secret}}}\n    targets: {{{name}: {path}}}\n"
        )
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,200}") {
        let _ = parse_with(&text, &[]);
    }

    #[test]
    fn no_yaml_makes_it_panic_and_every_refusal_has_a_kind(value in yaml(), top in any::<bool>()) {
        let value = if top { value } else { serde_json::json!({"version": 1, "environments": value}) };
        let text = serde_yaml::to_string(&value).expect("YAML");
        if let Err(error) = parse_with(&text, &[("HOME", "/h")]) {
            prop_assert!(error.kind().starts_with("config_"));
            prop_assert!(!shown(&error).is_empty());
        }
    }

    #[test]
    fn what_is_accepted_is_isolated(one in environment("one"), two in environment("two")) {
        let text = format!("version: 1\nenvironments:\n{one}{two}");
        // An independent reading: the full path of the secret, the role and its source, as plain strings.
        let facts = |text: &str| {
            let find = |key: &str| text.split_once(key).map(|(_, rest)| rest.split([',', '}', '\n']).next().unwrap_or("").trim().trim_matches('\'').to_owned());
            let server = find("address: ").unwrap_or_default().to_lowercase().replace(":443/", "");
            let namespace = find("namespace: ").unwrap_or_default();
            let target = text.rsplit(": ").next().unwrap_or("").trim().trim_end_matches('}').to_owned();
            let path = if namespace.is_empty() { target } else { format!("{namespace}/{target}") };
            let role = find("role_id: ").map(|id| format!("id {id}")).or(find("role_id_env: ").map(|name| format!("env {name}"))).unwrap_or_default();
            let source = find("secret_id_env: ").or(find("secret_id_file: ")).unwrap_or_default();
            [format!("path {server} {path}"), format!("role {server} {namespace} {role}"), format!("source {source}")]
        };
        let shared = facts(&one).iter().zip(facts(&two).iter()).any(|(one, two)| one == two);
        match parse_with(&text, &[]) {
            Ok(_) => prop_assert!(!shared, "accepted: {text}"),
            Err(error) => {
                prop_assert_eq!(error.kind(), "config_not_isolated");
                prop_assert!(shared, "refused: {}\n{}", shown(&error), text);
            }
        }
    }
}
