//! Logins other than AppRole, through the binary: what `plan` says of them, what Vault is asked, what the child does not get.
#![forbid(unsafe_code)]

use dbt_lease_sandbox::Issuer;
use dbt_lease_sandbox::issuer::REQUEST_TOKEN;
use serde_json::json;

use crate::support::Lab;

/// dbt-lease.yml with this login for production.
fn configured(lab: &Lab, auth: &str) {
    lab.configure(&format!(
        "version: 1\nenvironments:\n  production:\n    protected: true\n    auth: {auth}\n    targets:\n      prod: database/creds/dbt-prod\n"
    ));
}

#[test]
fn github_s_identity_token_is_enough_and_the_child_can_ask_for_none() {
    let lab = Lab::new();
    let bao = lab.world.bao();
    let issuer = Issuer::start();
    bao.api("POST", "sys/auth/jwt", json!({"type": "jwt"}));
    bao.api(
        "POST",
        "auth/jwt/config",
        json!({"oidc_discovery_url": issuer.address(), "bound_issuer": issuer.address()}),
    );
    let audience = format!("{}/production", bao.address());
    bao.api(
        "POST",
        "auth/jwt/role/dbt-production",
        json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [audience],
            "bound_claims": {"sub": "repo:acme/jaffle:environment:production"},
            "token_policies": ["dbt-production"],
            "token_no_default_policy": true,
        }),
    );
    configured(&lab, "{method: jwt, role: dbt-production}");
    let url = format!("{}/github?api-version=2.0", issuer.address());
    let ci = [
        ("GITHUB_ACTIONS", "true"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN),
    ];

    let plan = lab
        .run_with(&ci, &["plan", "--target", "prod", "--", "true"])
        .success();
    assert!(
        lab.shown(&plan).contains(
            "login          jwt at auth/jwt, role dbt-production (identity token of GitHub Actions for the audience VAULT/production \
             (GITHUB_ACTIONS is set))"
        ),
        "{plan}"
    );
    assert!(plan.contains("POST auth/jwt/login"), "{plan}");
    assert_eq!(issuer.received(), []);

    let child = lab
        .run_with(&ci, &["exec", "--target", "prod", "--", "env"])
        .success();
    assert!(child.contains("GITHUB_ACTIONS=true"), "{child}");
    assert!(!child.contains("ACTIONS_ID_TOKEN") && !child.contains(REQUEST_TOKEN));
    assert_eq!(
        lab.requests(),
        [
            "update auth/jwt/login",
            "read database/creds/dbt-prod",
            "update sys/leases/revoke",
            "update auth/token/revoke-self",
        ]
    );
    assert_eq!(lab.record()[0]["login"]["method"], "jwt");
    lab.assert_nothing_left();
}
