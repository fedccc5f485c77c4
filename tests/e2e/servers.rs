//! The ways to a server and to a login, and the kinds of secrets, from the command line to what the child gets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dbt_lease_sandbox::OpenBao;
use dbt_lease_sandbox::openbao::ClientCertificates;
use serde_json::{Value, json};

use crate::support::{Lab, Ran};

const APPROLE: &str = "{method: approle, role_id_env: JAFFLE_PRODUCTION_ROLE_ID, secret_id_env: JAFFLE_PRODUCTION_SECRET_ID}";
const CREDS: &str = "database/creds/dbt-prod";

/// A dbt-lease.yml: what stands before `environments`, the login, what stands beside it, the target `prod`.
fn configured(lab: &Lab, vault: &str, auth: &str, beside: &str, prod: &str) {
    lab.configure(&format!(
        "version: 1\n{vault}\nenvironments:\n  production:\n    protected: true\n    {beside}\n    auth: {auth}\n    targets:\n      \
         prod: {prod}\n"
    ));
}

/// Runs `true` on `prod` with these variables.
fn run(lab: &Lab, variables: &[(&str, &str)]) -> Ran {
    lab.run_with(variables, &["exec", "-t", "prod", "--", "true"])
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// What a refusal says, with the names of this lab's own.
#[track_caller]
fn refused(lab: &Lab, ran: Ran) -> String {
    lab.shown(&ran.code(125).stderr)
}

/// A value in the profiles.yml that the child got.
#[track_caller]
fn value(profiles_yml: &str, key: &str) -> String {
    let line = profiles_yml
        .lines()
        .find_map(|line| line.trim().strip_prefix(&format!("\"{key}\": ")));
    line.unwrap_or_else(|| panic!("no {key} in\n{profiles_yml}"))
        .trim_matches('"')
        .to_owned()
}

#[test]
fn https_with_an_authority_by_variable_or_key_and_not_without() {
    let lab = Lab::with(OpenBao::tls());
    let address = lab.world.bao().tls_address();
    let certificates = lab.world.bao().certificates().clone();
    let (ca, other) = (text(&certificates.ca), text(&certificates.client));
    let here = ("VAULT_ADDR", address.as_str());
    run(&lab, &[here, ("VAULT_CACERT", &ca)]).silent().success();
    run(&lab, &[here, ("VAULT_CACERT", &other), ("BAO_CACERT", &ca)])
        .silent()
        .success();
    for authority in [&[here][..], &[here, ("VAULT_CACERT", &other)]] {
        let said = refused(&lab, run(&lab, authority)).replace(&address, "HTTPS");
        assert_eq!(
            said,
            "dbt-lease: error: log in by approle at `auth/approle`: POST HTTPS/v1/auth/approle/login: no TLS connection: the \
             server's certificate stems from no authority that is trusted here\n\n  hint: set `vault.ca_cert` (or BAO_CACERT, \
             VAULT_CACERT) to the PEM file of the authority that signed it\n",
            "{authority:?}"
        );
    }
    // The file's words win over the variables'.
    let vault = format!("vault: {{address: '{address}', ca_cert: '{ca}'}}");
    configured(&lab, &vault, APPROLE, "", CREDS);
    run(&lab, &[("VAULT_CACERT", &other)]).silent().success();
    let vault = format!("vault: {{address: '{address}', ca_cert: '{other}'}}");
    configured(&lab, &vault, APPROLE, &format!("ca_cert: '{ca}'"), CREDS);
    run(&lab, &[]).silent().success();
    assert_eq!(lab.record().len(), 8);
    lab.assert_nothing_left();
}

#[test]
fn a_client_certificate_by_variable_or_key() {
    let server = OpenBao::options().tls(ClientCertificates::Required).start();
    let lab = Lab::with(server);
    let address = lab.world.bao().tls_address();
    let certificates = lab.world.bao().certificates().clone();
    let ca = text(&certificates.ca);
    let (client, key) = (text(&certificates.client), text(&certificates.client_key));
    let here = [("VAULT_ADDR", address.as_str()), ("VAULT_CACERT", &ca)];
    let said = refused(&lab, run(&lab, &here));
    assert!(
        said.contains(
            "hint: set `vault.client_cert` and `vault.client_key` to a pair that the server trusts"
        ),
        "{said}"
    );
    let pair = [
        here[0],
        here[1],
        ("VAULT_CLIENT_CERT", &client),
        ("VAULT_CLIENT_KEY", &key),
    ];
    run(&lab, &pair).silent().success();
    let vault = format!("vault: {{client_cert: '{client}', client_key: '{key}'}}");
    configured(&lab, &vault, APPROLE, "", CREDS);
    run(&lab, &here).silent().success();
    lab.assert_nothing_left();
}

#[test]
fn a_unix_socket_is_an_address() {
    let lab = Lab::with(OpenBao::options().unix().start());
    let address = lab.world.bao().unix_address();
    run(&lab, &[("VAULT_ADDR", &address)]).silent().success();
    let vault = format!("vault: {{address: '{address}'}}");
    configured(&lab, &vault, APPROLE, "", CREDS);
    run(&lab, &[("VAULT_ADDR", "http://127.0.0.1:1")])
        .silent()
        .success();
    assert_eq!(lab.requests().len(), 8);
    lab.assert_nothing_left();
}

#[test]
fn a_namespace_is_asked_in() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    let root = bao.root_token().to_owned();
    let within = |method: &str, path: &str, body: Value| {
        let headers = [
            ("X-Vault-Token", root.as_str()),
            ("X-Vault-Namespace", "team"),
        ];
        let answer = bao.request(method, path, &headers, body);
        assert!(answer.status < 400, "{path}: {answer:?}");
        answer.body
    };
    bao.api("POST", "sys/namespaces/team", json!({}));
    within(
        "POST",
        "sys/mounts/kv",
        json!({"type": "kv", "options": {"version": "1"}}),
    );
    within(
        "POST",
        "kv/dbt",
        json!({"user": "teams_user", "password": "of-the-team"}),
    );
    within("POST", "sys/auth/approle", json!({"type": "approle"}));
    within(
        "PUT",
        "sys/policies/acl/dbt",
        json!({"policy": "path \"kv/dbt\" { capabilities = [\"read\"] }"}),
    );
    within(
        "POST",
        "auth/approle/role/dbt",
        json!({"token_policies": ["dbt"]}),
    );
    let role_id = within("GET", "auth/approle/role/dbt/role-id", json!(null));
    let secret_id = within("POST", "auth/approle/role/dbt/secret-id", json!({}));
    let ids = [
        (
            "JAFFLE_PRODUCTION_ROLE_ID",
            role_id["data"]["role_id"].as_str().expect("an id"),
        ),
        (
            "JAFFLE_PRODUCTION_SECRET_ID",
            secret_id["data"]["secret_id"].as_str().expect("an id"),
        ),
    ];
    let prod = "{secrets: {shop: {path: kv/dbt, engine: kv1}}, fields: {user: '{{ vault.shop.user }}', password: '{{ \
                vault.shop.password }}'}}";
    let show = [
        "exec",
        "-t",
        "prod",
        "--",
        "sh",
        "-c",
        "cat $DBT_PROFILES_DIR/profiles.yml",
    ];
    configured(&lab, "", APPROLE, "", prod);
    let variables = [ids[0], ids[1], ("VAULT_NAMESPACE", "team")];
    let stdout = lab.run_with(&variables, &show).silent().success();
    assert_eq!(value(&stdout, "user"), "teams_user");
    configured(&lab, "", APPROLE, "namespace: team", prod);
    let stdout = lab.run_with(&ids, &show).silent().success();
    assert_eq!(value(&stdout, "password"), "of-the-team");
    assert_eq!(lab.record()[0]["namespace"], "team");

    let headers = [
        ("X-Vault-Token", root.as_str()),
        ("X-Vault-Namespace", "team"),
    ];
    let tokens = bao.request("LIST", "auth/token/accessors", &headers, None);
    assert_eq!(tokens.status, 404, "left in the namespace: {tokens:?}");

    configured(&lab, "vault: {namespace: crew}", APPROLE, "", prod);
    let said = refused(&lab, run(&lab, &ids));
    assert!(
        said.contains("answered 404 in namespace `crew`: "),
        "{said}"
    );
    assert!(
        said.contains("hint: check `vault.namespace`: Vault has no `crew`"),
        "{said}"
    );
    lab.assert_nothing_left();
}

#[test]
fn a_namespace_in_a_namespace_is_asked_in_by_header_or_by_path() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    let root = bao.root_token().to_owned();
    let within = |namespace: &str, method: &str, path: &str, body: Value| {
        let headers = [
            ("X-Vault-Token", root.as_str()),
            ("X-Vault-Namespace", namespace),
        ];
        let answer = bao.request(method, path, &headers, body);
        assert!(answer.status < 400, "{path}: {answer:?}");
        answer.body
    };
    bao.api("POST", "sys/namespaces/team", json!({}));
    within("team", "POST", "sys/namespaces/shop", json!({}));
    within(
        "team/shop",
        "POST",
        "sys/mounts/pki",
        json!({"type": "pki"}),
    );
    let authority = json!({"common_name": "sandbox", "ttl": "24h"});
    within("team/shop", "POST", "pki/root/generate/internal", authority);
    let role = json!({"allow_any_name": true, "enforce_hostnames": false, "generate_lease": true, "max_ttl": "1h", "key_type": "ec", "key_bits": 256});
    within("team/shop", "POST", "pki/roles/dbt", role);
    for (namespace, path) in [
        ("team/shop", "pki/issue/dbt"),
        ("team", "shop/pki/issue/dbt"),
    ] {
        let prod = format!(
            "{{secrets: {{tls: {{path: {path}, data: {{common_name: dbt}}}}}}, fields: {{user: '{{{{ vault.tls.serial_number }}}}', password: '{{{{ vault.tls.serial_number }}}}', sslkey: {{file: '{{{{ vault.tls.private_key }}}}'}}}}}}"
        );
        configured(&lab, "", APPROLE, &format!("namespace: {namespace}"), &prod);
        let plan = lab.run(&["plan", "--json", "--target", "prod"]).success();
        let plan: Value = serde_json::from_str(&plan).expect("JSON");
        // A lease is named, and ended, in its own namespace, wherever it was asked for.
        let policy = plan["policy"].as_str().expect("a text");
        let policy = policy
            .replace("\"shop/pki/issue/dbt/*\"", "\"pki/issue/dbt/*\"")
            .replace(
                "path \"sys/leases/revoke\"",
                if namespace == "team" {
                    "path \"shop/sys/leases/revoke\""
                } else {
                    "path \"sys/leases/revoke\""
                },
            );
        within(
            namespace,
            "POST",
            "sys/auth/approle",
            json!({"type": "approle"}),
        );
        within(
            namespace,
            "PUT",
            "sys/policies/acl/dbt",
            json!({"policy": policy}),
        );
        let role = json!({"token_policies": ["dbt"], "token_no_default_policy": true});
        within(namespace, "POST", "auth/approle/role/dbt", role);
        let role_id = within(
            namespace,
            "GET",
            "auth/approle/role/dbt/role-id",
            json!(null),
        );
        let secret_id = within(
            namespace,
            "POST",
            "auth/approle/role/dbt/secret-id",
            json!({}),
        );
        let ids = [
            (
                "JAFFLE_PRODUCTION_ROLE_ID",
                role_id["data"]["role_id"].as_str().expect("an id"),
            ),
            (
                "JAFFLE_PRODUCTION_SECRET_ID",
                secret_id["data"]["secret_id"].as_str().expect("an id"),
            ),
        ];
        run(&lab, &ids).silent().success();
        let events = lab.record();
        let ended = events.last().expect("an event");
        assert_eq!(
            ended["leases"][0]["result"], "revoked",
            "{namespace}: {ended}"
        );
        let headers = [
            ("X-Vault-Token", root.as_str()),
            ("X-Vault-Namespace", "team/shop"),
        ];
        let left = bao.request("LIST", "sys/leases/lookup/pki/issue/dbt", &headers, None);
        assert_eq!(left.status, 404, "{left:?}");
    }
    lab.assert_nothing_left();
}

#[test]
fn kv_of_both_versions_reaches_the_output_without_a_lease() {
    let lab = Lab::new();
    let sample = lab.world.bao().api("GET", "kv/dbt/production", None);
    let password = sample["data"]["password"].as_str().expect("a password");
    for secret in [
        "{path: kv/dbt/production, engine: kv1}",
        "{path: secret/dbt/production, engine: kv2}",
        "secret/data/dbt/production",
    ] {
        let fields = "{user: '{{ vault.shop.user }}', password: '{{ vault.shop.password }}'}";
        let prod = format!("{{secrets: {{shop: {secret}}}, fields: {fields}}}");
        configured(&lab, "", APPROLE, "", &prod);
        let stdout = lab
            .exec_script("cat $DBT_PROFILES_DIR/profiles.yml")
            .silent()
            .success();
        assert_eq!(value(&stdout, "user"), "production_user", "{secret}");
        assert_eq!(value(&stdout, "password"), password, "{secret}");
    }
    let requests = lab.requests();
    for (session, path) in requests.chunks(3).zip([
        "kv/dbt/production",
        "secret/data/dbt/production",
        "secret/data/dbt/production",
    ]) {
        let read = format!("read {path}");
        assert_eq!(
            session,
            [
                "update auth/approle/login",
                &read,
                "update auth/token/revoke-self"
            ]
        );
    }
    assert_eq!(requests.len(), 9);
    assert_eq!(lab.record()[0]["secrets"][0]["lease_id"], Value::Null);
    assert_eq!(lab.record()[1]["leases"], json!([]));

    // The wrong version is told.
    let wrong = "{secrets: {shop: {path: secret/dbt/production, engine: kv1}}, fields: {password: '{{ vault.shop.password }}'}}";
    configured(&lab, "", APPROLE, "", wrong);
    lab.allow("path \"secret/dbt/production\" { capabilities = [\"read\"] }");
    let said = refused(&lab, run(&lab, &[]));
    assert!(said.contains("engine: kv2"), "{said}");
    lab.assert_nothing_left();
}

#[test]
fn a_static_roles_credential_is_lent_without_a_lease() {
    let lab = Lab::new();
    configured(&lab, "", APPROLE, "", "database/static-creds/dbt-static");
    let stdout = lab
        .exec_script("cat $DBT_PROFILES_DIR/profiles.yml")
        .silent()
        .success();
    let (user, password) = (value(&stdout, "user"), value(&stdout, "password"));
    let postgres = lab.world.postgres();
    let rows = postgres.query_as(
        &user,
        &password,
        lab.world.database(),
        "select session_user",
    );
    assert_eq!(rows, Ok(vec![vec![user.clone()]]));
    assert_eq!(
        lab.requests(),
        [
            "update auth/approle/login",
            "read database/static-creds/dbt-static",
            "update auth/token/revoke-self",
        ]
    );
    assert_eq!(lab.record()[0]["secrets"][0]["database_user"], user);
    assert_eq!(lab.record()[1]["leases"], json!([]));
    lab.assert_nothing_left();
}

#[test]
fn what_is_asked_for_with_data_is_lent_and_taken_back_beside_the_rest() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    bao.api("POST", "sys/mounts/pki", json!({"type": "pki"}));
    bao.api(
        "POST",
        "pki/root/generate/internal",
        json!({"common_name": "sandbox", "ttl": "24h"}),
    );
    bao.api(
        "POST",
        "pki/roles/dbt",
        json!({"allow_any_name": true, "enforce_hostnames": false, "generate_lease": true, "max_ttl": "1h", "key_type": "ec", "key_bits": 256}),
    );
    configured(
        &lab,
        "",
        APPROLE,
        "",
        "
        secrets:
          warehouse: database/creds/dbt-prod
          tls: {path: pki/issue/dbt, data: {common_name: dbt-prod}}
        fields:
          user: '{{ vault.warehouse.username }}'
          password: '{{ vault.warehouse.password }}'
          sslcert: {file: '{{ vault.tls.certificate }}'}
          sslkey: {file: '{{ vault.tls.private_key }}'}",
    );
    // The plan's own policy is all that it takes.
    let plan = lab.run(&["plan", "--json", "--target", "prod"]).success();
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let policy = "sys/policies/acl/dbt-production";
    bao.api("PUT", policy, json!({"policy": plan["policy"]}));
    let stdout = lab
        .exec_script(
            "cat $DBT_PROFILES_DIR/profiles.yml; for k in sslcert sslkey; do \
             f=$(sed -n \"s/.*\\\"$k\\\": \\\"\\(.*\\)\\\"/\\1/p\" $DBT_PROFILES_DIR/profiles.yml); stat -c %a $f; head -1 $f; done",
        )
        .silent()
        .success();
    assert!(value(&stdout, "user").starts_with("v-"), "{stdout}");
    let last: Vec<&str> = stdout.lines().rev().take(4).collect();
    assert_eq!(last[3], "600");
    assert_eq!(last[2], "-----BEGIN CERTIFICATE-----");
    assert_eq!(last[1], "600");
    assert!(last[0].starts_with("-----BEGIN"), "{stdout}");
    assert!(last[0].ends_with("PRIVATE KEY-----"), "{stdout}");
    assert_eq!(
        lab.requests(),
        [
            "update auth/approle/login",
            "read database/creds/dbt-prod",
            "update pki/issue/dbt",
            "update sys/leases/revoke",
            "update sys/leases/revoke",
            "update auth/token/revoke-self",
        ]
    );
    assert_eq!(
        lab.requests().len(),
        plan["requests"].as_array().expect("a list").len()
    );
    let results: Vec<Value> = lab.record()[1]["leases"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|lease| lease["result"].clone())
        .collect();
    assert_eq!(results, ["revoked", "revoked"]);
    lab.assert_nothing_left();
}

#[test]
fn a_wrapped_secret_id_logs_in_once_and_a_tampered_one_is_refused() {
    let lab = Lab::new();
    let file = lab.home.directory().join("wrapped");
    let place = |token: &str| {
        fs::write(&file, token).expect("written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
    };
    let auth = format!(
        "{{method: approle, role: dbt-production, role_id_env: JAFFLE_PRODUCTION_ROLE_ID, wrapped_secret_id_file: '{}'}}",
        file.display()
    );
    configured(&lab, "", &auth, "", CREDS);
    let world = &lab.world;
    place(&world.wrapped_secret_id(world.production(), "5m"));
    run(&lab, &[]).silent().success();
    assert_eq!(
        lab.requests()[..3],
        [
            "update sys/wrapping/lookup",
            "update sys/wrapping/unwrap",
            "update auth/approle/login"
        ]
    );
    // The same one again: whoever used it first may have been a thief.
    let spent = refused(&lab, run(&lab, &[]));
    assert!(
        spent.starts_with("dbt-lease: error: unwrap the secret id of `HOME/wrapped`: "),
        "{spent}"
    );
    assert!(spent.contains("treat the secret id as stolen"), "{spent}");
    // Another role's, and something that is no secret id at all.
    let staging = world.wrapped_secret_id(world.staging(), "5m");
    let other = world.bao().wrap("GET", "kv/dbt/production", "5m", None);
    for token in [staging, other] {
        place(&token);
        let said = refused(&lab, run(&lab, &[]));
        assert!(
            said.contains(
                "hint: find out who wrote `HOME/wrapped`; a new one: `bao write -wrap-ttl=5m -f \
                           auth/approle/role/dbt-production/secret-id`"
            ),
            "{said}"
        );
        assert!(!said.contains(&token), "{said}");
        // It is not unwrapped, so that its owner can still tell what it was.
        let lookup = world
            .bao()
            .api("POST", "sys/wrapping/lookup", json!({"token": token}));
        assert!(lookup["data"]["creation_path"].is_string());
        world
            .bao()
            .api("POST", "auth/token/revoke", json!({"token": token}));
    }
    lab.assert_nothing_left();
}

#[test]
fn a_token_is_found_where_vaults_own_client_finds_it() {
    let lab = Lab::new();
    configured(&lab, "", "{method: token}", "", CREDS);
    let bao = lab.world.bao();
    let new_token = || {
        let body = json!({"policies": ["dbt-production"], "no_default_policy": true, "ttl": "1h"});
        let answer = bao.api("POST", "auth/token/create", body);
        answer["auth"]["client_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    };
    let said = refused(&lab, run(&lab, &[]));
    assert!(
        said.starts_with("dbt-lease: error: find a Vault token: none in "),
        "{said}"
    );
    assert!(
        said.contains("hint: `bao login` writes ~/.vault-token; or set VAULT_TOKEN"),
        "{said}"
    );

    let (by_file, by_vault, by_bao) = (new_token(), new_token(), new_token());
    let accessor = |token: &str| {
        let answer = bao.api_as(token, "GET", "auth/token/lookup-self", None);
        answer.body["data"]["accessor"].clone()
    };
    let file = lab.home.home().join(".vault-token");
    fs::write(&file, format!("{by_file}\n")).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
    let vault = ("VAULT_TOKEN", by_vault.as_str());
    let bao_token = ("BAO_TOKEN", by_bao.as_str());
    for (number, (variables, token)) in [
        (&[][..], &by_file),
        (&[vault], &by_vault),
        (&[vault, bao_token], &by_bao),
    ]
    .into_iter()
    .enumerate()
    {
        run(&lab, variables).silent().success();
        assert_eq!(
            lab.record()[2 * number]["login"]["accessor"],
            accessor(token)
        );
    }
    // One that is good for nothing is not shown.
    let wrong = "s.wrong-token-of-somebody";
    let ran = run(&lab, &[("VAULT_TOKEN", wrong)]);
    assert!(!ran.stderr.contains(wrong), "{}", ran.stderr);
    let said = refused(&lab, ran);
    assert!(
        said.contains("look up the token from the variable VAULT_TOKEN: GET VAULT/v1/auth/token/lookup-self answered 403"),
        "{said}"
    );
    for token in [by_file, by_vault, by_bao] {
        bao.api("POST", "auth/token/revoke", json!({"token": token}));
    }
    lab.assert_nothing_left();
}

#[test]
fn the_login_s_ids_are_read_from_files() {
    let lab = Lab::new();
    let identity = lab.world.production();
    let auth = format!(
        "{{method: approle, role_id_file: '{}', secret_id_file: '{}'}}",
        identity.role_id_file.display(),
        identity.secret_id_file.display()
    );
    configured(&lab, "", &auth, "", CREDS);
    run(&lab, &[]).silent().success();
    let auth = format!(
        "{{method: approle, role_id: {}, secret_id_file: '{}'}}",
        identity.role_id,
        identity.secret_id_file.display()
    );
    configured(&lab, "", &auth, "", CREDS);
    run(&lab, &[]).silent().success();
    let auth = "{method: approle, role_id: x, secret_id_file: /no/such/file}";
    configured(&lab, "", auth, "", CREDS);
    assert_eq!(
        refused(&lab, run(&lab, &[])),
        "dbt-lease: error: read the secret id from `/no/such/file`: there is no such file\n\n  \
         hint: write the value to `/no/such/file`, mode 0600, or correct the path in dbt-lease.yml\n"
    );
    lab.assert_nothing_left();
}
