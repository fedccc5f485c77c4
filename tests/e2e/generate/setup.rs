//! The setup, applied to an empty OpenBao and an empty PostgreSQL.

use std::path::Path;
use std::process::Command;

use dbt_lease_sandbox::{Issuer, OpenBao, Postgres, venv};
use serde_json::{Value, json};

use super::Bench;
use crate::support::{Ran, ran};

/// What the owner of Vault needs for it, and no root token.
const OPERATOR: &str = r#"
path "sys/auth" { capabilities = ["read"] }
path "sys/auth/*" { capabilities = ["create", "update", "sudo"] }
path "sys/mounts" { capabilities = ["read"] }
path "sys/mounts/*" { capabilities = ["create", "update"] }
path "sys/policies/acl/*" { capabilities = ["create", "update"] }
path "auth/*" { capabilities = ["create", "read", "update"] }
path "database/*" { capabilities = ["create", "read", "update"] }
"#;

pub(super) fn operator(bao: &OpenBao) -> String {
    bao.api(
        "PUT",
        "sys/policies/acl/operator",
        json!({"policy": OPERATOR}),
    );
    let made = bao.api(
        "POST",
        "auth/token/create",
        json!({"policies": ["operator"]}),
    );
    made["auth"]["client_token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

/// A generated script, as the owner of Vault runs it.
pub(super) fn apply(
    bench: &Bench,
    bao: &OpenBao,
    token: &str,
    script: &Path,
    variables: &[(&str, String)],
) -> Ran {
    let mut command: Command = bench.command("sh", &[script.to_str().expect("UTF-8")]);
    command
        .env("BAO", venv().bao())
        .env("VAULT_ADDR", bao.address())
        .env("VAULT_TOKEN", token)
        .envs(variables.iter().map(|(name, value)| (*name, value)));
    ran(command.output().expect("it starts"))
}

#[test]
fn from_an_empty_vault_and_database_two_runs_of_each_environment_are_lent_and_kept_apart() {
    let (bao, postgres) = (OpenBao::start(), Postgres::shared());
    let database = "from_nothing";
    postgres.create_database(database);
    // The static user that dbt had until now, with a table that dbt will replace, and one with a sequence.
    postgres.query(
        database,
        "CREATE ROLE old_dbt LOGIN PASSWORD 'x'; CREATE SCHEMA prod AUTHORIZATION old_dbt; SET ROLE old_dbt;
         CREATE TABLE prod.customers (customer_id int); CREATE TABLE prod.kept (id serial); CREATE VIEW prod.seen AS SELECT 1 AS one;",
    );
    let mut bench = Bench::new();
    for (name, value) in [
        ("VAULT_ADDR", bao.address()),
        ("JAFFLE_HOST", "127.0.0.1".to_owned()),
        ("JAFFLE_PORT", postgres.port().to_string()),
        ("JAFFLE_DBNAME", database.to_owned()),
    ] {
        bench.home.set(name, value);
    }
    let _ = bench.run(&["generate", "vault-setup", "--write"]).success();
    let script = bench.project.join("vault/setup.sh");
    let token = operator(&bao);
    let admin = format!(
        "host=127.0.0.1 port={} dbname={database} user=postgres",
        postgres.port()
    );
    let variables = [
        ("STAGING_ADMIN", admin.clone()),
        ("PRODUCTION_ADMIN", admin),
        ("PGPASSWORD", postgres.password().to_owned()),
        ("STAGING_SSLMODE", "disable".to_owned()),
        ("PRODUCTION_SSLMODE", "disable".to_owned()),
        ("PRODUCTION_OLD_USER", "old_dbt".to_owned()),
    ];
    // Twice: what is there stays.
    for _ in 0..2 {
        let applied = apply(&bench, &bao, &token, &script, &variables);
        let said = applied.stderr.clone();
        let _ = applied.success();
        assert!(said.contains("done: production"), "{said}");
    }
    // Only Vault knows its own user's password, and the old one is nobody's.
    let owners = postgres.query(
        database,
        "SELECT DISTINCT rolname FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE nspname = 'prod' AND relkind IN ('r', 'v', 'S')",
    );
    assert_eq!(owners, [["dbt_prod"]]);

    terraform_says_the_same(&bench, &bao);

    for environment in ["staging", "production"] {
        let role = format!("auth/approle/role/jaffle-{environment}");
        let id = bao.api("GET", &format!("{role}/role-id"), None);
        let secret = bao.api("POST", &format!("{role}/secret-id"), None);
        let upper = environment.to_ascii_uppercase();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        bench.home.set(
            format!("JAFFLE_{upper}_ROLE_ID"),
            text(&id["data"]["role_id"]),
        );
        bench.home.set(
            format!("JAFFLE_{upper}_SECRET_ID"),
            text(&secret["data"]["secret_id"]),
        );
        let ids =
            json!({"role_id": id["data"]["role_id"], "secret_id": secret["data"]["secret_id"]});
        let login = bao.api_as("", "POST", "auth/approle/login", ids);
        let token = text(&login.body["auth"]["client_token"]);
        let policies = &login.body["auth"]["policies"];
        assert_eq!(policies, &json!([format!("jaffle-{environment}")]));
        let other = if environment == "staging" {
            "prod"
        } else {
            "staging"
        };
        for path in [
            format!("database/creds/dbt-{other}"),
            "database/config/jaffle-staging".to_owned(),
            "sys/mounts".to_owned(),
        ] {
            assert_eq!(
                bao.api_as(&token, "GET", &path, None).status,
                403,
                "{environment}: {path}"
            );
        }
    }
    let mut users = Vec::new();
    for (target, schema) in [
        ("staging", "staging"),
        ("staging", "staging"),
        ("prod", "prod"),
        ("prod", "prod"),
    ] {
        let built = bench
            .run(&["exec", "--strict", "--", "dbt", "build", "--target", target])
            .success();
        assert!(built.contains("ERROR=0"), "{built}");
        let row = postgres.query(database, &format!("SELECT * FROM {schema}.built_by"));
        users.push(row[0].join(" "));
    }
    let is_of =
        |user: &str, environment: &str| user.contains(&format!("dbt-{environment}-approle-"));
    assert!(
        is_of(&users[0], "staging") && is_of(&users[2], "production"),
        "{users:?}"
    );
    assert!(users[0] != users[1] && users[2] != users[3], "{users:?}");
    let left = postgres.query(
        database,
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'dbt-%'",
    );
    assert!(left.is_empty(), "{left:?}");
}

/// What the script has made is what the HCL would make.
fn terraform_says_the_same(bench: &Bench, bao: &OpenBao) {
    let _ = bench
        .run(&[
            "generate",
            "vault-setup",
            "--format",
            "terraform",
            "-o",
            "setup.tf",
        ])
        .success();
    let parser = dbt_lease_sandbox::validators().join("hcl2tojson");
    let read = bench
        .command(parser.to_str().expect("UTF-8"), &["setup.tf"])
        .output()
        .expect("it starts");
    let read = ran(read).success();
    let read: Value = serde_json::from_str(&read).expect("JSON");
    // The parser keeps the quotes of names and strings.
    let text = |value: &Value| -> Value {
        let quoted = value.as_str().expect("a text");
        serde_json::from_str(quoted).unwrap_or_else(|_| json!(quoted))
    };
    let resource = |kind: &str, name: &str| -> Value {
        let (kind, name) = (format!("\"{kind}\""), format!("\"{name}\""));
        let all = read["resource"].as_array().expect("resources").iter();
        all.map(|each| &each[&kind][&name])
            .find(|found| !found.is_null())
            .unwrap_or_else(|| panic!("no {kind} {name}: {read}"))
            .clone()
    };
    for (environment, role) in [("staging", "dbt-staging"), ("production", "dbt-prod")] {
        let policy = bao.api(
            "GET",
            &format!("sys/policies/acl/jaffle-{environment}"),
            None,
        );
        let said = resource("vault_policy", environment);
        let trimmed = |value: &Value| value.as_str().expect("a policy").trim().to_owned();
        assert_eq!(
            trimmed(&text(&said["policy"])),
            trimmed(&policy["data"]["policy"])
        );
        let made = bao.api("GET", &format!("database/roles/{role}"), None);
        let said = resource(
            "vault_database_secret_backend_role",
            &format!("{environment}_1"),
        );
        for statements in [
            "creation_statements",
            "renew_statements",
            "revocation_statements",
            "rollback_statements",
        ] {
            let list: Vec<Value> = said[statements]
                .as_array()
                .expect("statements")
                .iter()
                .map(text)
                .collect();
            assert_eq!(
                json!(list),
                made["data"][statements],
                "{role}: {statements}"
            );
        }
        let made = bao.api(
            "GET",
            &format!("database/config/jaffle-{environment}"),
            None,
        );
        let said = resource("vault_database_secret_backend_connection", environment);
        let block = &said["postgresql"][0];
        let details = &made["data"]["connection_details"];
        for key in ["username", "username_template", "password_authentication"] {
            assert_eq!(text(&block[key]), details[key], "{environment}: {key}");
        }
        assert_eq!(text(&said["plugin_name"]), made["data"]["plugin_name"]);
        let made = bao.api(
            "GET",
            &format!("auth/approle/role/jaffle-{environment}"),
            None,
        );
        let said = resource("vault_approle_auth_backend_role", environment);
        for key in ["bind_secret_id", "secret_id_ttl", "token_no_default_policy"] {
            assert_eq!(said[key], made["data"][key], "{environment}: {key}");
        }
    }
}

/// A jwt login in a protected environment and in one that is not.
const JWT: &str = "version: 1
environments:
  staging:
    auth: {method: jwt, role: gen-staging, mount: MOUNT, audience: 'for staging'}
    targets: {s: database/creds/gen-staging}
  production:
    protected: true
    auth: {method: jwt, role: gen-production, mount: MOUNT, audience: 'for production'}
    targets: {p: database/creds/gen-production}
";
const OUTPUTS: &str = "    s: {type: postgres, host: h, dbname: d, schema: s}\n    p: {type: postgres, host: h, dbname: d, schema: p}\n";

#[test]
fn roles_for_identity_tokens_take_the_claims_of_the_protected_branch_and_no_others() {
    let (bao, issuer) = (OpenBao::start(), Issuer::start());
    let token = operator(&bao);
    let url = issuer.address().to_owned();
    let (front, port) = url.rsplit_once(':').expect("a port");
    let systems = [
        (
            "github",
            vec![("GITHUB_ISSUER", &*url), ("GITHUB_REPOSITORY_ID", "77")],
            json!({"repository_id": "77", "environment": "production", "ref": "refs/heads/main", "ref_protected": "true"}),
        ),
        (
            "gitlab",
            vec![("GITLAB_URL", &*url), ("GITLAB_PROJECT_ID", "77")],
            json!({"project_id": "77", "environment": "production", "ref": "main", "ref_type": "branch", "ref_protected": "true"}),
        ),
        (
            "buildkite",
            vec![
                ("BUILDKITE_ISSUER", &*url),
                ("BUILDKITE_ORGANIZATION", "o"),
                ("BUILDKITE_PIPELINE", "p"),
            ],
            json!({"organization_slug": "o", "pipeline_slug": "p", "build_branch": "main"}),
        ),
        (
            "circleci",
            vec![
                ("CIRCLE_ISSUER", front),
                ("CIRCLE_ORGANIZATION_ID", port),
                ("CIRCLE_PROJECT_UUID", "u"),
            ],
            json!({"oidc.circleci.com/project-id": "u", "oidc.circleci.com/vcs-ref": "refs/heads/main", "oidc.circleci.com/ssh-rerun": false}),
        ),
        (
            "azure-devops",
            vec![
                ("AZURE_ISSUER", front),
                ("AZURE_ORGANIZATION_ID", port),
                ("AZURE_PROJECT_ID", "j"),
                ("AZURE_PIPELINE_ID", "9"),
            ],
            json!({"prj_id": "j", "def_id": "9", "rpo_ref": "refs/heads/main"}),
        ),
        (
            "bitbucket",
            vec![
                ("BITBUCKET_ISSUER", &*url),
                ("BITBUCKET_REPOSITORY_UUID", "{r}"),
                ("PRODUCTION_DEPLOYMENT_UUID", "{d}"),
            ],
            json!({"repositoryUuid": "{r}", "branchName": "main", "deploymentEnvironmentUuid": "{d}"}),
        ),
    ];
    for (system, variables, claims) in systems {
        let bench = Bench::with(&JWT.replace("MOUNT", system), OUTPUTS);
        let _ = bench
            .run(&["generate", "vault-auth", "--ci", system, "--write"])
            .success();
        let mut variables: Vec<(&str, String)> = variables
            .into_iter()
            .map(|(name, value)| {
                (
                    name,
                    if value == front {
                        format!("{front}:")
                    } else {
                        value.to_owned()
                    },
                )
            })
            .collect();
        // A policy belongs to a role that exists without it.
        variables.push(("LEASE_TTL", "5m".to_owned()));
        let script = bench.project.join("vault/auth.sh");
        let _ = apply(&bench, &bao, &token, &script, &variables).success();
        let audience = |environment: &str| match system {
            "azure-devops" => "api://AzureADTokenExchange".to_owned(),
            _ => format!("for {environment}"),
        };
        let login = |role: &str, claims: &Value, audience: &str| {
            let mut claims = claims.clone();
            claims["aud"] = json!(audience);
            let jwt = issuer.token(claims);
            bao.api_as(
                "",
                "POST",
                &format!("auth/{system}/login"),
                json!({"role": role, "jwt": jwt}),
            )
        };
        let right = login("gen-production", &claims, &audience("production"));
        assert_eq!(right.status, 200, "{system}: {}", right.body);
        assert_eq!(right.body["auth"]["policies"], json!(["gen-production"]));
        assert_eq!(
            login("gen-staging", &claims, &audience("staging")).status,
            200,
            "{system}"
        );
        if system != "azure-devops" {
            let wrong = login("gen-production", &claims, &audience("staging"));
            assert_eq!(wrong.status, 400, "{system}: a token for staging");
        }
        for name in claims.as_object().expect("claims").keys() {
            let mut other = claims.clone();
            other[name] = if claims[name].is_boolean() {
                json!(true)
            } else {
                json!("other")
            };
            let wrong = login("gen-production", &other, &audience("production"));
            assert_eq!(wrong.status, 400, "{system}: {name}: {}", wrong.body);
        }
        // Somebody else's issuer at this mount.
        for (name, _) in &variables {
            if name.ends_with("ISSUER") || *name == "GITLAB_URL" {
                let other = [(*name, "https://other.example.com/".to_owned())];
                let all: Vec<_> = variables.iter().cloned().chain(other).collect();
                let _ = apply(&bench, &bao, &token, &script, &all)
                    .code(1)
                    .says(&["takes tokens of", "a mount of its own"]);
            }
        }
    }
}

#[test]
fn each_method_has_a_role_with_one_policy_and_no_default_one() {
    let bao = OpenBao::tls();
    let token = operator(&bao);
    let bench = Bench::new();
    let ca = bao.certificates().ca.display().to_string();
    for (method, path, variables) in [
        ("approle", "auth/approle/role/jaffle-production", vec![]),
        (
            "kubernetes",
            "auth/kubernetes/role/jaffle-production",
            vec![("K8S_CA", ca.clone())],
        ),
        (
            "userpass",
            "auth/userpass/users/jaffle-production",
            vec![
                ("STAGING_USER_PASSWORD", "a\"b\\".to_owned()),
                ("PRODUCTION_USER_PASSWORD", "c".to_owned()),
            ],
        ),
        ("oidc", "auth/oidc/role/jaffle-production", vec![]),
        (
            "cert",
            "auth/cert/certs/jaffle-production",
            vec![
                ("STAGING_CLIENT_CA", ca.clone()),
                ("PRODUCTION_CLIENT_CA", ca.clone()),
            ],
        ),
    ] {
        let name = format!("{method}.sh");
        let _ = bench
            .run(&["generate", "vault-auth", "--method", method, "-o", &name])
            .success();
        let script = bench.project.join(&name);
        if let Some((name, _)) = variables
            .first()
            .filter(|(name, _)| name.starts_with("STAGING"))
        {
            // What cannot be known is asked for by name.
            let _ = apply(&bench, &bao, &token, &script, &[])
                .code(1)
                .says(&[name]);
        }
        for _ in 0..2 {
            let _ = apply(&bench, &bao, &token, &script, &variables).success();
        }
        let role = bao.api("GET", path, None);
        assert_eq!(
            role["data"]["token_policies"],
            json!(["jaffle-production"]),
            "{method}: {role}"
        );
        assert_eq!(
            role["data"]["token_no_default_policy"],
            json!(true),
            "{method}: {role}"
        );
        assert_eq!(
            role["data"]["token_max_ttl"],
            json!(28_800),
            "{method}: {role}"
        );
    }
    let login = bao.api_as(
        "",
        "POST",
        "auth/userpass/login/jaffle-staging",
        json!({"password": "a\"b\\"}),
    );
    assert_eq!(
        login.body["auth"]["policies"],
        json!(["jaffle-staging"]),
        "{}",
        login.body
    );
}
