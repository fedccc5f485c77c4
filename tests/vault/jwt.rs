//! jwt: identity tokens from every source, verified by a real OpenBao. The CI systems' and Google's own endpoints are a stub of their shapes
//! (`dbt_lease_sandbox::issuer`), and so are the programs of Buildkite and CircleCI.
#![forbid(unsafe_code)]

use std::path::Path;

use dbt_lease::config::{Auth, Config};
use dbt_lease::variables::Variables;
use dbt_lease::vault::auth::{Token, login};
use dbt_lease::vault::error::VaultError;
use dbt_lease::vault::lease::revoke_self;
use dbt_lease_sandbox::issuer::REQUEST_TOKEN;
use dbt_lease_sandbox::web::Reply;
use dbt_lease_sandbox::{Issuer, OpenBao};
use serde_json::{Value, json};

use crate::{client, hint, no_variables, server, variables};

const AUDIENCE: &str = "https://vault.example.com/production";

/// A server with jwt at `jwt`, which knows the issuer by this configuration, and the role `dbt` for production's audience.
fn bao(config: Value) -> OpenBao {
    let bao = OpenBao::start();
    bao.api("POST", "sys/auth/jwt", json!({"type": "jwt"}));
    bao.api("POST", "auth/jwt/config", config);
    bao.api(
        "POST",
        "auth/jwt/role/dbt",
        json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [AUDIENCE],
            "bound_claims": {"sub": "repo:acme/jaffle:environment:production"},
            "token_policies": ["default"],
            "token_ttl": "10m",
        }),
    );
    bao
}

fn with_key(issuer: &Issuer) -> OpenBao {
    bao(json!({"jwt_validation_pubkeys": [issuer.public_key()], "bound_issuer": issuer.address()}))
}

/// The login of this `auth:`, read as dbt-lease.yml is in a process with these variables.
fn auth(yaml: &str, set: &Variables) -> Auth {
    let text = format!(
        "version: 1\nvault: {{address: 'https://vault.example.com'}}\nenvironments: {{production: {{auth: {yaml}, targets: {{}}}}}}"
    );
    let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, set)
        .unwrap_or_else(|error| panic!("{error}"));
    config.environments[0].auth.clone().expect("a login")
}

async fn log_in(bao: &OpenBao, yaml: &str, set: &Variables) -> Result<Token, VaultError> {
    login(&client(&server(bao.address())), &auth(yaml, set), set).await
}

/// Message and hint, the changing parts named.
fn said(error: &VaultError, bao: &OpenBao, issuer: &Issuer) -> (String, String) {
    let named = |text: String| {
        text.replace(&bao.address(), "VAULT")
            .replace(issuer.address(), "ISSUER")
    };
    (named(error.to_string()), named(hint(error)))
}

#[tokio::test]
async fn static_keys_jwks_and_discovery_verify_the_same_token() {
    let issuer = Issuer::start();
    let set = variables([("ID_TOKEN", issuer.token(json!({"aud": AUDIENCE})).as_str())]);
    for config in [
        json!({"jwt_validation_pubkeys": [issuer.public_key()]}),
        json!({"jwks_url": format!("{}/jwks", issuer.address())}),
        json!({"oidc_discovery_url": issuer.address(), "bound_issuer": issuer.address()}),
    ] {
        let bao = bao(config);
        let token = log_in(
            &bao,
            "{method: jwt, role: dbt, token: {env: ID_TOKEN}}",
            &set,
        )
        .await
        .expect("the token is good");
        assert!(token.own && token.renewable && !token.is_root);
        assert_eq!(token.identity, [("role".to_owned(), "dbt".to_owned())]);
        let client = client(&server(bao.address()));
        revoke_self(&client, &token, None).await.expect("it ends");
        let paths: Vec<_> = bao.requests().into_iter().map(|asked| asked.path).collect();
        assert_eq!(paths, ["auth/jwt/login", "auth/token/revoke-self"]);
    }
}

#[tokio::test]
async fn the_token_is_read_from_a_file_a_variable_or_a_command() {
    let issuer = Issuer::start();
    let bao = with_key(&issuer);
    let token = issuer.token(json!({"aud": [AUDIENCE, "other"]}));
    let file = bao.directory().join("id token");
    std::fs::write(&file, format!("{token}\n")).expect("written");
    let set = variables([("T", token.as_str()), ("PATH", "/usr/bin:/bin")]);
    for source in [
        format!("{{file: '{}'}}", file.display()),
        "{env: T}".to_owned(),
        format!("{{command: [cat, '{}']}}", file.display()),
        "{command: [sh, -c, 'echo \"$T\"']}".to_owned(),
    ] {
        let yaml = format!("{{method: jwt, role: dbt, audience: '{AUDIENCE}', token: {source}}}");
        log_in(&bao, &yaml, &set).await.expect(&source);
    }
}

#[tokio::test]
async fn a_ci_system_is_asked_for_a_token_of_this_environment_s_audience() {
    let issuer = Issuer::start();
    let bao = with_key(&issuer);
    let address = issuer.address();
    let host = address.strip_prefix("http://").expect("http");
    for (set, asked) in [
        (
            vec![
                ("GITHUB_ACTIONS", "true".to_owned()),
                (
                    "ACTIONS_ID_TOKEN_REQUEST_URL",
                    format!("{address}/github?api-version=2.0"),
                ),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", REQUEST_TOKEN.to_owned()),
            ],
            "GET /github?api-version=2.0&audience=https%3A%2F%2Fvault.example.com%2Fproduction",
        ),
        (
            vec![("GCE_METADATA_HOST", host.to_owned())],
            "GET /computeMetadata/v1/instance/service-accounts/default/identity?audience=https%3A%2F%2Fvault.example.com%2Fproduction&format=full",
        ),
    ] {
        let before = issuer.received().len();
        let set: Variables = set.into_iter().collect();
        log_in(&bao, "{method: jwt, role: dbt}", &set)
            .await
            .expect(asked);
        let received = &issuer.received()[before..];
        assert_eq!(received.len(), 1, "{received:?}");
        assert_eq!(
            format!("{} {}", received[0].method, received[0].path),
            asked
        );
    }
}

#[tokio::test]
async fn azure_devops_gives_its_own_audience() {
    let issuer = Issuer::start();
    let bao = with_key(&issuer);
    bao.api(
        "POST",
        "auth/jwt/role/dbt",
        json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": ["api://AzureADTokenExchange"],
        }),
    );
    let set = variables([
        ("TF_BUILD", "True"),
        (
            "SYSTEM_OIDCREQUESTURI",
            &format!("{}/azure", issuer.address()),
        ),
        ("SYSTEM_ACCESSTOKEN", REQUEST_TOKEN),
    ]);
    log_in(&bao, "{method: jwt, role: dbt}", &set)
        .await
        .expect("the role is for that audience");
    let received = issuer.received();
    assert_eq!(
        (received[0].method.as_str(), received[0].path.as_str()),
        ("POST", "/azure?api-version=7.1-preview.1")
    );
    assert_eq!(received[0].header("content-type"), "application/json");
}

#[tokio::test]
async fn programs_of_ci_systems_are_told_the_audience() {
    use std::os::unix::fs::PermissionsExt as _;
    let issuer = Issuer::start();
    let bao = with_key(&issuer);
    let token = issuer.token(json!({"aud": AUDIENCE}));
    let bin = bao.directory().join("bin");
    std::fs::create_dir(&bin).expect("made");
    for (sign, program, arguments) in [
        (
            "BUILDKITE",
            "buildkite-agent",
            "oidc request-token --audience https://vault.example.com/production".to_owned(),
        ),
        (
            "CIRCLECI",
            "circleci",
            format!("run oidc get --claims {}", json!({"aud": AUDIENCE})),
        ),
    ] {
        let script = format!(
            "#!/bin/sh\n[ \"$*\" = '{arguments}' ] && echo '{token}' || {{ echo \"odd: $*\" >&2; exit 1; }}\n"
        );
        let file = bin.join(program);
        std::fs::write(&file, script).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("ours");
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let set = variables([(sign, "true"), ("PATH", path.as_str())]);
        log_in(&bao, "{method: jwt, role: dbt}", &set)
            .await
            .expect(program);
    }
}

#[tokio::test]
async fn what_a_ci_system_lacks_is_named_with_its_cure_before_anything_is_sent() {
    let issuer = Issuer::start();
    let bao = with_key(&issuer);
    let permission = "the job may not ask for one: give it `permissions: {id-token: write}` (a pull request from a fork never gets it)";
    for (set, problem, cure) in [
        (
            vec![("GITHUB_ACTIONS", "true")],
            "get an identity token from GitHub Actions: ACTIONS_ID_TOKEN_REQUEST_URL is not set",
            permission,
        ),
        (
            vec![
                ("GITHUB_ACTIONS", "true"),
                ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://ci.example"),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "t"),
            ],
            "get an identity token from GitHub Actions: the address in ACTIONS_ID_TOKEN_REQUEST_URL cannot be used: a secret would be sent there without TLS",
            "",
        ),
        (
            vec![("GITLAB_CI", "true")],
            "get an identity token from GitLab CI: VAULT_ID_TOKEN_PRODUCTION is not set",
            "give the job `id_tokens: {VAULT_ID_TOKEN_PRODUCTION: {aud: 'https://vault.example.com/production'}}`",
        ),
        (
            vec![("BITBUCKET_BUILD_NUMBER", "7")],
            "get an identity token from Bitbucket Pipelines: BITBUCKET_STEP_OIDC_TOKEN is not set",
            "give the step `oidc: true`",
        ),
        (
            vec![("TF_BUILD", "True"), ("SYSTEM_OIDCREQUESTURI", "https://x")],
            "get an identity token from Azure DevOps: SYSTEM_ACCESSTOKEN is not set",
            "map it in the step: `env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}`",
        ),
        (
            vec![("TFC_RUN_ID", "run-1")],
            "get an identity token from Terraform Cloud: TFC_WORKLOAD_IDENTITY_TOKEN_PRODUCTION is not set",
            "set the workspace's variable TFC_WORKLOAD_IDENTITY_AUDIENCE_PRODUCTION to `https://vault.example.com/production`",
        ),
        (
            vec![("JENKINS_URL", "https://j")],
            "get an identity token from Jenkins: VAULT_ID_TOKEN_PRODUCTION is not set",
            "bind an `OpenID Connect id token` with the audience `https://vault.example.com/production` to the variable VAULT_ID_TOKEN_PRODUCTION (`withCredentials`)",
        ),
        (
            vec![("BUILDKITE", "true"), ("PATH", "/nonexistent")],
            "read the identity token from the command `buildkite-agent oidc request-token --audience https://vault.example.com/production`: there is no such program",
            "install it, or correct `command:` in dbt-lease.yml; a path that begins with `./` is below dbt-lease.yml",
        ),
        (
            vec![("KUBERNETES_SERVICE_HOST", "10.0.0.1")],
            "read the identity token from `/var/run/secrets/kubernetes.io/serviceaccount/token`: there is no such file",
            "write the value to `/var/run/secrets/kubernetes.io/serviceaccount/token`, mode 0600, or correct the path in dbt-lease.yml",
        ),
        (
            vec![("SPIFFE_ENDPOINT_SOCKET", "unix:///run/spire.sock")],
            "find an identity token for the role `dbt` of `auth/jwt`: only SPIFFE_ENDPOINT_SOCKET is set, and the Workload API itself is not spoken here",
            "let spiffe-helper write the token to a file, and name it: `token: {file: FILE}`",
        ),
        (
            vec![],
            "find an identity token for the role `dbt` of `auth/jwt`: no CI system, no pod of Kubernetes, no machine of Google's",
            "say where it is: `token: {file: FILE}`, `{env: VARIABLE}` or `{command: [PROGRAM, ARGUMENT]}`; people log in by another method (`method: oidc`)",
        ),
    ] {
        let set = variables(set);
        let error = log_in(&bao, "{method: jwt, role: dbt}", &set)
            .await
            .expect_err(problem);
        assert_eq!(
            said(&error, &bao, &issuer),
            (problem.to_owned(), cure.to_owned())
        );
    }
    assert_eq!(bao.requests(), []);
    assert_eq!(issuer.received(), []);
}

#[tokio::test]
async fn a_ci_system_that_refuses_or_fails_is_quoted_and_not_pressed() {
    let issuer = Issuer::start();
    let bao = with_key(&issuer);
    let url = format!("{}/github", issuer.address());
    let set = |token| {
        variables([
            ("GITHUB_ACTIONS", "true"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", token),
        ])
    };
    let at_once =
        client(&server(bao.address())).pausing_with(Box::new(|_| Box::pin(std::future::ready(()))));
    let yaml = "{method: jwt, role: dbt}";

    let wrong = set("wrong-token");
    let error = login(&at_once, &auth(yaml, &wrong), &wrong)
        .await
        .expect_err("refused");
    assert_eq!(
        said(&error, &bao, &issuer).0,
        "get an identity token from GitHub Actions: GET ISSUER/github answered 401: {\"message\":\"bad credentials\"}"
    );
    assert_eq!(issuer.received().len(), 1);

    // Two failures are borne.
    let right = set(REQUEST_TOKEN);
    issuer.answer_next([Reply::new(503, "busy"), Reply::new(500, "")]);
    login(&at_once, &auth(yaml, &right), &right)
        .await
        .expect("the third time");
    assert_eq!(issuer.received().len(), 4);

    issuer.answer_next([(); 3].map(|()| Reply::new(503, format!("busy with {REQUEST_TOKEN}"))));
    let error = login(&at_once, &auth(yaml, &right), &right)
        .await
        .expect_err("it lasts");
    assert_eq!(
        said(&error, &bao, &issuer).0,
        "get an identity token from GitHub Actions: GET ISSUER/github answered 503: busy with …"
    );
    assert_eq!(issuer.received().len(), 7);

    issuer.answer_next([Reply::new(200, "{\"token\":\"x\"}")]);
    let error = login(&at_once, &auth(yaml, &right), &right)
        .await
        .expect_err("no token");
    assert_eq!(
        said(&error, &bao, &issuer).0,
        "get an identity token from GitHub Actions: the answer of GET ISSUER/github holds no token"
    );
    // Vault was asked only where there was a token.
    assert_eq!(bao.requests().len(), 1);
}

#[tokio::test]
async fn each_refusal_of_a_token_has_its_own_words_and_one_request() {
    let issuer = Issuer::start();
    let stranger = Issuer::start();
    let bao = with_key(&issuer);
    let good = json!({"aud": AUDIENCE});
    let with = |more: Value| {
        let mut claims = good.clone();
        claims
            .as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        issuer.token(claims)
    };
    let dbt = "{method: jwt, role: dbt, token: {env: T}}";
    let cases = [
        (
            dbt,
            with(json!({"aud": "https://vault.example.com/staging"})),
            "400: error validating token: invalid audience (aud) claim: audience claim does not match any expected audience",
            "the role's `bound_audiences` and the token's audience differ: set one to the other (`bao read auth/jwt/role/dbt`); \
             the token says of itself: issuer `ISSUER`, subject `repo:acme/jaffle:environment:production`, audience \
             `https://vault.example.com/staging`",
        ),
        (
            dbt,
            with(json!({"exp": 1_700_000_000, "iat": 1_699_999_000, "nbf": 1_699_999_000})),
            "400: error validating token: invalid expiration time (exp) claim: token is expired",
            "the token's time is over, or a clock is wrong (`date`): a token is to be made for each run; the token says of itself: ",
        ),
        (
            dbt,
            with(json!({"sub": "repo:acme/jaffle:pull_request"})),
            "400: error validating claims: claim \"sub\" does not match any associated bound claim values",
            "the role is bound to another branch, environment or project than this run's: `bound_claims` of `bao read auth/jwt/role/dbt`; \
             the token says of itself: issuer `ISSUER`, subject `repo:acme/jaffle:pull_request`, audience `https://vault.example.com/production`",
        ),
        (
            dbt,
            stranger.token(json!({"aud": AUDIENCE, "iss": issuer.address()})),
            "400: error validating token: error verifying token signature: no known key successfully validated the token signature",
            "the token was not signed by a key of the mount's: is it this CI's? `bao read auth/jwt/config` (jwks_url, oidc_discovery_url); \
             the token says of itself: ",
        ),
        (
            dbt,
            with(json!({"iss": "https://ci.example"})),
            "400: error validating token: invalid issuer (iss) claim",
            "the mount's `bound_issuer` is another one than the token's: `bao read auth/jwt/config`; the token says of itself: issuer `https://ci.example`",
        ),
        (
            "{method: jwt, role: absent, token: {env: T}}",
            with(json!({})),
            "400: role \"absent\" could not be found",
            "there is no such role: `bao list auth/jwt/role`, or correct `role:` in dbt-lease.yml; the token says of itself: ",
        ),
        (
            "{method: jwt, mount: ci, role: dbt, token: {env: T}}",
            with(json!({})),
            "403: permission denied",
            "is jwt enabled at `auth/ci`? (`bao auth list`); else set `mount:` or `namespace:`; the token says of itself: ",
        ),
    ];
    for (yaml, token, words, cure) in cases {
        let before = bao.requests().len();
        let set = variables([("T", token.as_str())]);
        let error = log_in(&bao, yaml, &set).await.expect_err(words);
        let (text, hint) = said(&error, &bao, &issuer);
        assert!(text.ends_with(&format!("answered {words}")), "{text}");
        assert!(hint.starts_with(cure), "{hint}");
        assert!(!text.contains(&token) && !hint.contains(&token));
        assert_eq!(bao.requests().len() - before, 1, "{text}");
    }
}

#[tokio::test]
async fn a_token_for_another_audience_than_the_one_that_is_named_is_not_sent() {
    let issuer = Issuer::start();
    let bao = with_key(&issuer);
    let token = issuer.token(json!({"aud": "https://vault.example.com/staging"}));
    let set = variables([("T", token.as_str())]);
    let yaml = format!("{{method: jwt, role: dbt, audience: '{AUDIENCE}', token: {{env: T}}}}");
    let error = log_in(&bao, &yaml, &set).await.expect_err("staging's");
    assert_eq!(
        said(&error, &bao, &issuer),
        (
            "read the identity token from the variable T: it is for the audience `https://vault.example.com/staging`, and `audience:` says \
             `https://vault.example.com/production`: it was not sent"
                .to_owned(),
            "have the token made for the audience that dbt-lease.yml names, or correct `audience:`".to_owned()
        )
    );
    assert_eq!(bao.requests(), []);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_the_login() {
    let issuer = Issuer::start();
    let token = issuer.token(json!({"aud": AUDIENCE}));
    let set = variables([("T", token.as_str())]);
    let address = format!("http://127.0.0.1:{}", dbt_lease_sandbox::free_port());
    let auth = auth("{method: jwt, role: dbt, token: {env: T}}", &set);
    let error = login(&client(&server(address.clone())), &auth, &no_variables())
        .await
        .expect_err("the variable is not set there");
    assert_eq!(error.kind(), "login_source");
    let error = login(&client(&server(address.clone())), &auth, &set)
        .await
        .expect_err("nobody listens");
    assert!(
        error.to_string().starts_with(&format!(
            "log in by jwt at `auth/jwt`: POST {address}/v1/auth/jwt/login: no connection"
        )),
        "{error}"
    );
    assert_eq!(error.kind(), "vault_unreachable");
}
