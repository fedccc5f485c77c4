//! One rule broken at a time: found with its cure, and the cure, done to the letter, cures it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::AssertUnwindSafe;

use dbt_lease_sandbox::{Issuer, World};
use serde_json::{Value, json};

use super::{Case, Checked};

/// A rule that is broken: where it is found, and how it is broken.
struct Broken {
    id: &'static str,
    state: &'static str,
    environment: Option<&'static str>,
    by: fn(&Case<'_>),
}

const fn broken(
    id: &'static str,
    state: &'static str,
    environment: &'static str,
    by: fn(&Case<'_>),
) -> Broken {
    Broken {
        id,
        state,
        environment: Some(environment),
        by,
    }
}

/// Writes a part of staging's database role.
fn database_role(case: &Case<'_>, part: Value) {
    case.api("POST", &case.database_role("staging"), part);
}

/// Writes a part of staging's login role.
fn login_role(case: &Case<'_>, part: Value) {
    case.api("POST", &case.login_role("staging"), part);
}

const RULES: [Broken; 28] = [
    broken("policy_default", "warning", "staging", |case| {
        login_role(case, json!({"token_no_default_policy": false}));
    }),
    broken("policy_broad", "failure", "staging", |case| {
        case.with(
            "staging",
            r#"path "sys/policies/acl/*" { capabilities = ["create", "update"] }"#,
        );
    }),
    broken("policy_broad", "failure", "production", |case| {
        // What the whole engine gives, others' roles too: but not what is another environment's here.
        case.with(
            "production",
            r#"path "database/creds/+" { capabilities = ["read"] }
path "database/creds/WHAT" { capabilities = ["deny"] }"#
                .replace("WHAT", &case.of("staging"))
                .as_str(),
        );
    }),
    broken("isolation_paths", "failure", "staging", |case| {
        case.with(
            "staging",
            &format!(
                r#"path "database/creds/{}" {{ capabilities = ["read"] }}"#,
                case.of("production")
            ),
        );
    }),
    broken("isolation_paths", "failure", "staging", |case| {
        // Not the secret itself, but what makes another of production's identities.
        case.with(
            "staging",
            &format!(
                r#"path "{}/secret-id" {{ capabilities = ["update"] }}"#,
                case.login_role("production")
            ),
        );
    }),
    broken("secret_allowed", "failure", "staging", |case| {
        case.without("staging", "path \"database/creds/")
    }),
    broken("revoke_allowed", "failure", "staging", |case| {
        case.without("staging", "sys/leases/revoke")
    }),
    broken("renew_allowed", "warning", "production", |case| {
        case.without("production", "sys/leases/renew")
    }),
    broken("revoke_self_allowed", "failure", "staging", |case| {
        case.without("staging", "revoke-self")
    }),
    broken("renew_self_allowed", "warning", "staging", |case| {
        case.without("staging", "renew-self")
    }),
    broken("capabilities", "not_proven", "staging", |case| {
        case.without("staging", "capabilities-self")
    }),
    broken("audit_device", "not_proven", "staging", |case| {
        case.without("staging", "sys/audit")
    }),
    broken("role", "not_proven", "staging", |case| {
        case.without("staging", "database/roles/")
    }),
    broken("secret_id_expiry", "not_proven", "staging", |case| {
        case.without("staging", "secret-id/lookup")
    }),
    broken("role_renewal", "failure", "staging", |case| {
        database_role(
            case,
            json!({"renew_statements": ["GRANT CONNECT ON DATABASE postgres TO \"{{name}}\";"]}),
        );
    }),
    broken("role_revocation", "failure", "staging", |case| {
        database_role(case, json!({"revocation_statements": []}));
    }),
    broken("role_revocation", "failure", "production", |case| {
        case.api(
            "POST",
            &case.database_role("production"),
            json!({"revocation_statements": ["DROP ROLE IF EXISTS \"{{name}}\";"]}),
        );
    }),
    broken("role_creation_expiry", "warning", "staging", |case| {
        let path = case.database_role("staging");
        let role = case.api("GET", &path, None);
        let all = role["data"]["creation_statements"]
            .to_string()
            .replace(" VALID UNTIL '{{expiration}}'", "");
        database_role(
            case,
            json!({"creation_statements": serde_json::from_str::<Value>(&all).expect("JSON")}),
        );
    }),
    broken("role_creation_group", "warning", "staging", |case| {
        let path = case.database_role("staging");
        let role = case.api("GET", &path, None);
        database_role(
            case,
            json!({"creation_statements": [role["data"]["creation_statements"][0]]}),
        );
    }),
    broken("role_default_ttl", "warning", "staging", |case| {
        database_role(case, json!({"default_ttl": "60s"}))
    }),
    broken("role_default_ttl", "warning", "production", |case| {
        case.api(
            "POST",
            &case.database_role("production"),
            json!({"default_ttl": "100h", "max_ttl": "200h"}),
        );
    }),
    broken("role_max_ttl", "failure", "staging", |case| {
        case.edit(
            "dbt-lease.yml",
            &format!("staging: database/creds/{}", case.of("staging")),
            &format!(
                "staging: {{secrets: {{warehouse: {{path: database/creds/{}, ttl: 6h}}}}}}",
                case.of("staging")
            ),
        );
    }),
    broken("token_life", "failure", "staging", |case| {
        login_role(
            case,
            json!({"token_explicit_max_ttl": "120s", "token_ttl": "100s"}),
        );
    }),
    broken("token_uses", "failure", "staging", |case| {
        login_role(case, json!({"token_num_uses": 40}))
    }),
    broken("token_kind", "warning", "staging", |case| {
        login_role(case, json!({"token_type": "batch", "token_num_uses": 0}))
    }),
    broken("secret_id_needed", "failure", "production", |case| {
        case.api(
            "POST",
            &case.login_role("production"),
            json!({"bind_secret_id": false, "token_bound_cidrs": ["127.0.0.0/8"]}),
        );
    }),
    broken("secret_id_expiry", "warning", "staging", |case| {
        login_role(case, json!({"secret_id_ttl": 0}));
        case.new_secret_id("staging");
    }),
    broken("login", "failure", "staging", |case| {
        // Spent: as one that has expired, Vault does not know it any more.
        let id = fs::read_to_string(case.file("staging", "secret-id")).expect("read");
        case.api(
            "POST",
            &format!("{}/secret-id/destroy", case.login_role("staging")),
            json!({"secret_id": id}),
        );
    }),
];

/// Finds it, cures it, finds all well.
fn found_and_cured(case: &Case<'_>, rule: &Broken) {
    (rule.by)(case);
    let checked = case.check(&["--all"]);
    let found = checked.found(rule.id, rule.state);
    assert_eq!(found["environment"], json!(rule.environment), "{found:#}");
    assert_eq!(
        checked.code,
        Some(i32::from(checked.json["failures"] != 0)),
        "{}",
        case.name
    );
    if rule.state == "failure" {
        assert_eq!(checked.code, Some(1), "{found:#}");
    }
    if rule.id == "revoke_self_allowed" {
        let _ = checked.found("token_revoked", "failure");
    }
    case.apply(found);
    let cured = case.check(&["--all"]);
    let left: Vec<&Value> = cured
        .wrong()
        .into_iter()
        .filter(|left| left["id"] == rule.id)
        .collect();
    assert!(
        left.is_empty(),
        "{}: the cure\n{}\nleaves {left:#?}",
        case.name,
        found["cure"]["text"].as_str().unwrap_or_default()
    );
    // What a cure takes away, a policy's look at more than a run needs, is no failure.
    for wrong in cured.wrong() {
        assert_eq!(wrong["state"], "not_proven", "{}: {wrong:#}", case.name);
    }
}

#[test]
fn each_broken_rule_is_found_with_a_cure_that_cures_it() {
    let world = World::start();
    let half = RULES.len().div_ceil(2);
    let wrong: Vec<&str> = std::thread::scope(|scope| {
        let halves: Vec<_> = RULES
            .chunks(half)
            .enumerate()
            .map(|(which, rules)| {
                let world = &world;
                let one = move |(number, rule): (usize, &Broken)| {
                    let case = Case::new(world, &format!("c{which}x{number}"));
                    let outcome =
                        std::panic::catch_unwind(AssertUnwindSafe(|| found_and_cured(&case, rule)));
                    outcome.is_err().then_some(rule.id)
                };
                scope.spawn(move || rules.iter().enumerate().filter_map(one).collect::<Vec<_>>())
            })
            .collect();
        halves
            .into_iter()
            .flat_map(|half| half.join().expect("no panic"))
            .collect()
    });
    assert!(wrong.is_empty(), "{wrong:?}: see above");
    // The one that may not end itself, which was told.
    let left = world.tokens();
    assert_eq!(left.len(), 1, "{left:?}");
    world.bao().api(
        "POST",
        "auth/token/revoke-accessor",
        json!({"accessor": left[0]}),
    );
    world.assert_nothing_left();
}

#[test]
fn a_root_token_an_untrusted_file_and_files_of_others_are_found_and_cured() {
    let world = World::start();
    root_token(&world);
    untrusted(&world);
    writable_by_everybody(&world);
    one_jwt_for_both(&world);
    a_ci_job_that_can_be_both(&world);
    shared_role(&world);
    no_engine(&world);
    rare_rotation(&world);
    world.assert_nothing_left();
}

fn root_token(world: &World) {
    let mut case = Case::new(world, "root");
    let auth = format!(
        "{{method: approle, role: {0}, role_id_file: {1}, secret_id_file: {2}}}",
        case.of("staging"),
        case.file("staging", "role-id").display(),
        case.file("staging", "secret-id").display()
    );
    case.edit("dbt-lease.yml", &auth, "{method: token}");
    case.home.set("VAULT_TOKEN", world.bao().root_token());
    let checked = case.check(&["--target", "staging"]);
    let found = checked.found("root_token", "failure");
    let text = found["cure"]["text"]
        .as_str()
        .expect("a cure")
        .replace("# in the place of the root token", "> new-token");
    let cure = json!({"cure": {"kind": "command", "text": text}});
    case.apply(&cure);
    let token = fs::read_to_string(case.project.join("new-token")).expect("a token");
    case.home.set("VAULT_TOKEN", token.trim());
    let cured = case.check(&["--target", "staging"]);
    let bad: Vec<&Value> = cured
        .wrong()
        .into_iter()
        .filter(|wrong| wrong["state"] != "not_proven")
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    case.api("POST", "auth/token/revoke", json!({"token": token.trim()}));
}

fn untrusted(world: &World) {
    let mut case = Case::new(world, "untrusted");
    case.home.set("DBT_LEASE_TRUST", "");
    let before = world.bao().requests().len();
    let checked = case.check(&["--all", "--rehearse"]);
    let found = checked.found("trust", "failure");
    assert_eq!(checked.code, Some(1));
    assert!(
        found["why"]
            .as_str()
            .expect("why")
            .contains("nothing was sent")
    );
    assert_eq!(world.bao().requests().len(), before, "something was sent");
    let command = found["cure"]["text"].as_str().expect("a cure");
    assert!(
        command.starts_with("dbt-lease trust --config "),
        "{command}"
    );
    // The word is a person's: said here by --yes.
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let _ = case.run(&[&words[..], &["--yes"]].concat()).success();
    case.check(&["--all"]).all_well();
}

fn writable_by_everybody(world: &World) {
    let mut case = Case::new(world, "foreign");
    let shown = case.run(&["trust", "--show"]).success();
    let hash = shown
        .split(|c: char| !c.is_ascii_hexdigit())
        .find(|word| word.len() == 64)
        .expect("a hash");
    case.home.set("DBT_LEASE_TRUST", hash);
    let file = case.project.join("profiles.yml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("a mode");
    let checked = case.check(&["--all"]);
    case.apply(checked.found("foreign_file", "failure"));
    case.check(&["--all"]).all_well();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(65534), None).expect("given away");
        let checked = case.check(&["--all"]);
        case.apply(checked.found("foreign_file", "failure"));
        case.check(&["--all"]).all_well();
    }
    // So is a login's file that others may read.
    fs::set_permissions(
        case.file("staging", "secret-id"),
        fs::Permissions::from_mode(0o644),
    )
    .expect("a mode");
    let checked = case.check(&["--all"]);
    case.apply(checked.found("login_source", "warning"));
    case.check(&["--all"]).all_well();
}

fn one_jwt_for_both(world: &World) {
    let case = Case::new(world, "jwt");
    let issuer = Issuer::start();
    case.api("POST", "sys/auth/jwt", json!({"type": "jwt"}));
    case.api(
        "POST",
        "auth/jwt/config",
        json!({"jwt_validation_pubkeys": [issuer.public_key()]}),
    );
    let mut config = "version: 1\nenvironments:\n".to_owned();
    let audience = |environment: &str| format!("{}/{environment}", world.bao().address());
    for (environment, target) in super::ENVIRONMENTS {
        case.api(
            "POST",
            &format!("auth/jwt/role/{}", case.of(environment)),
            json!({
                "role_type": "jwt",
                "user_claim": "sub",
                // The broken rule: both roles take both audiences.
                "bound_audiences": [audience("staging"), audience("production")],
                "token_policies": [case.of(environment)],
                "token_no_default_policy": true,
            }),
        );
        case.write_id(
            environment,
            "jwt",
            &issuer.token(json!({"sub": "ci", "aud": audience(environment)})),
        );
        config.push_str(&format!(
            "  {environment}:\n    child_core_dumps: false\n    auth: {{method: jwt, role: {0}, token: {{file: {1}}}}}\n    targets:\n      {target}: database/creds/{0}\n",
            case.of(environment),
            case.file(environment, "jwt").display()
        ));
    }
    case.configure(&config);
    let checked = case.check(&["--all"]);
    let found: Vec<&Value> = checked
        .wrong()
        .into_iter()
        .filter(|wrong| wrong["id"] == "isolation_login")
        .collect();
    assert_eq!(found.len(), 2, "{:#}", checked.json);
    assert!(
        found[0]["what"]
            .as_str()
            .expect("what")
            .contains("staging's identity opens production's role")
    );
    for finding in found {
        case.apply(finding);
    }
    case.check(&["--all"]).all_well();
}

/// A CI system gives any job a token for any audience: only claims keep the jobs apart.
fn a_ci_job_that_can_be_both(world: &World) {
    let case = Case::new(world, "ci");
    let issuer = Issuer::start();
    case.api("POST", "sys/auth/ci", json!({"type": "jwt"}));
    case.api(
        "POST",
        "auth/ci/config",
        json!({"oidc_discovery_url": issuer.address(), "bound_issuer": issuer.address()}),
    );
    let role = |environment: &str, sub: &str| {
        case.api(
            "POST",
            &format!("auth/ci/role/{}", case.of(environment)),
            json!({
                "role_type": "jwt",
                "user_claim": "sub",
                "bound_audiences": [format!("{}/{environment}", world.bao().address())],
                "bound_claims": {"sub": sub},
                "bound_claims_type": "glob",
                "token_policies": [case.of(environment)],
                "token_no_default_policy": true,
            }),
        );
    };
    role("staging", "repo:acme/*");
    // The broken rule: every job of the repository.
    role("production", "repo:acme/*");
    let mut config = "version: 1\nenvironments:\n".to_owned();
    for (environment, target) in super::ENVIRONMENTS {
        config.push_str(&format!(
            "  {environment}:\n    child_core_dumps: false\n    auth: {{method: jwt, mount: ci, role: {0}}}\n    targets:\n      {target}: database/creds/{0}\n",
            case.of(environment)
        ));
    }
    case.configure(&config);
    let url = format!("{}/github?api-version=2.0", issuer.address());
    let token = dbt_lease_sandbox::issuer::REQUEST_TOKEN;
    let ci = [
        ("GITHUB_ACTIONS", "true"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", token),
    ];
    let closed = || {
        case.api(
            "POST",
            &format!("auth/ci/role/{}", case.of("production")),
            json!({"role_type": "jwt", "bound_claims": {"sub": "repo:acme/jaffle:environment:another"}}),
        );
    };
    let both = case.check_with(&ci, &["--all"]);
    let open: Vec<&Value> = both
        .wrong()
        .into_iter()
        .filter(|wrong| wrong["id"] == "isolation_login")
        .collect();
    assert_eq!(open.len(), 2, "{open:#?}");
    assert!(open.iter().all(|open| open["state"] == "not_proven"));
    closed();
    // Then it is staging's alone, and that production refuses it is proven, and no failure.
    let apart = case.check_with(&ci, &["--all"]);
    assert_eq!(apart.code, Some(0));
    assert_eq!(
        apart.found("login", "not_proven")["environment"],
        "production"
    );
    let refused = apart
        .findings()
        .find(|finding| finding["id"] == "isolation_login" && finding["environment"] == "staging");
    assert_eq!(refused.expect("tried")["state"], "ok");
    // A job that says that it is production's should be.
    let named = case.check_with(&ci, &["--target", "prod"]);
    let _ = named.found("login", "failure");
}

fn shared_role(world: &World) {
    let case = Case::new(world, "shared");
    // No file can tell: production's ids lie where staging's should.
    for what in ["role-id", "secret-id"] {
        let id = fs::read_to_string(case.file("production", what)).expect("read");
        case.write_id("staging", what, &id);
    }
    let checked = case.check(&["--all"]);
    let found = checked.found("shared_role", "failure");
    // A role of its own: its ids are printed, and put where the cure says.
    let name = format!(
        "dbt-{}",
        found["environment"].as_str().expect("an environment")
    );
    case.apply(found);
    let path = format!("auth/approle/role/{name}");
    let id = case.api("GET", &format!("{path}/role-id"), None)["data"]["role_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let environment = found["environment"].as_str().expect("an environment");
    case.write_id(environment, "role-id", &id);
    let secret = case.api("POST", &format!("{path}/secret-id"), None)["data"]["secret_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    case.write_id(environment, "secret-id", &secret);
    let cured = case.check(&["--all"]);
    assert!(
        cured
            .findings()
            .all(|finding| finding["id"] != "shared_role"),
        "{:#}",
        cured.json
    );
}

fn no_engine(world: &World) {
    let case = Case::new(world, "engine");
    let role = case.of("staging");
    case.edit(
        "dbt-lease.yml",
        &format!("database/creds/{role}"),
        &format!("warehouse/creds/{role}"),
    );
    case.set_policy(
        "staging",
        &case
            .policy("staging")
            .replace("\"database/", "\"warehouse/"),
    );
    let checked = case.check(&["--all"]);
    case.apply(checked.found("engine_mounted", "failure"));
    let cured = case.check(&["--all"]);
    // The engine is there, and has no role yet.
    let _ = cured.found("role_exists", "failure");
    case.api("POST", "warehouse/config/warehouse", {
        let mut config = case.api("GET", "database/config/warehouse", None)["data"].clone();
        config = json!({"plugin_name": config["plugin_name"], "allowed_roles": "*", "verify_connection": false,
            "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/x", "username": "x", "password": "x"});
        config
    });
    let old = case.api("GET", &case.database_role("staging"), None)["data"].clone();
    let mut old = old;
    old["credential_config"] = Value::Null;
    case.api("POST", &format!("warehouse/roles/{role}"), old);
    case.check(&["--all"]).all_well();
}

fn rare_rotation(world: &World) {
    let case = Case::new(world, "static");
    let path = "database/static-roles/dbt-static";
    let role = case.of("production");
    case.edit(
        "dbt-lease.yml",
        &format!("prod: database/creds/{role}"),
        "prod: database/static-creds/dbt-static",
    );
    case.set_policy("production", &(case.policy("production")
        + "path \"database/static-creds/dbt-static\" { capabilities = [\"read\"] }\npath \"database/static-roles/dbt-static\" { capabilities = [\"read\"] }\n"));
    let mut rare = case.api("GET", path, None)["data"].clone();
    rare = json!({"db_name": rare["db_name"], "username": rare["username"], "rotation_period": "2160h"});
    case.api("POST", path, rare);
    let checked: Checked = case.check(&["--all"]);
    case.apply(checked.found("static_rotation", "warning"));
    case.check(&["--all"]).all_well();
}
