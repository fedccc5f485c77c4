//! aws, by contract: OpenBao has it not built in. The signed request is held against botocore's own signer, and handed, as Vault would hand
//! it, to moto's STS, which verifies the signature and says whose it is. Every source of the identity is gone through so. The container's and
//! the instance's metadata are stubs of AWS's documentation; single sign-on is a stub of `aws configure export-credentials`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dbt_lease::config::{Auth, Config};
use dbt_lease::variables::Variables;
use dbt_lease::vault::auth::login;
use dbt_lease::vault::error::VaultError;
use dbt_lease_sandbox::aws::{Moto, botocore};
use dbt_lease_sandbox::web::{Received, Reply, Web};
use serde_json::{Value, json};

use crate::{client, hint, server};

/// A Vault that lets everybody in; what it was asked is what counts.
fn vault() -> Web {
    Web::start(|_| {
        Reply::json(&json!({"auth": {"client_token": "hvs.x", "policies": ["default"]}}))
    })
}

fn auth(address: &str, keys: &str, set: &Variables) -> Auth {
    let text = format!(
        "version: 1\nvault: {{address: '{address}'}}\nenvironments: {{production: {{auth: {{method: aws, role: dbt{keys}}}, targets: {{}}}}}}"
    );
    let config = Config::parse(Path::new("/p/dbt-lease.yml"), &text, set)
        .unwrap_or_else(|error| panic!("{error}"));
    config.environments[0].auth.clone().expect("a login")
}

/// The request that Vault is to send on.
#[derive(Debug)]
struct Signed {
    url: String,
    body: String,
    headers: BTreeMap<String, String>,
}

async fn sign(keys: &str, set: &Variables) -> Result<Signed, VaultError> {
    let vault = vault();
    let connection = client(&server(vault.address()))
        .pausing_with(Box::new(|_| Box::pin(std::future::ready(()))));
    login(&connection, &auth(&vault.address(), keys, set), set).await?;
    let received = vault.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].path, "/v1/auth/aws/login");
    let body: Value = serde_json::from_str(&received[0].body).expect("JSON");
    assert_eq!(body["role"], "dbt");
    assert_eq!(body["iam_http_request_method"], "POST");
    let text = |key: &str| {
        let bytes = STANDARD
            .decode(body[key].as_str().expect("a text"))
            .expect("base64");
        String::from_utf8(bytes).expect("UTF-8")
    };
    let headers: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&text("iam_request_headers")).expect("a map of lists");
    Ok(Signed {
        url: text("iam_request_url"),
        body: text("iam_request_body"),
        headers: headers
            .into_iter()
            .map(|(name, values)| (name, values.join(",")))
            .collect(),
    })
}

const BOTOCORE: &str = r#"
import datetime, json, sys
import botocore.auth
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

asked = json.loads(sys.argv[1])
stamp = datetime.datetime.strptime(asked['headers']['X-Amz-Date'], '%Y%m%dT%H%M%SZ')
botocore.auth.get_current_datetime = lambda *args, **kwargs: stamp
headers = {k: v for k, v in asked['headers'].items() if k not in ('Authorization', 'X-Amz-Date', 'X-Amz-Security-Token')}
request = AWSRequest(method='POST', url=asked['url'], data=asked['body'], headers=headers)
SigV4Auth(Credentials(*asked['credentials']), 'sts', asked['region']).add_auth(request)
print(request.headers['Authorization'])
"#;

#[tokio::test]
async fn the_signature_is_botocore_s_own() {
    for (keys, token, url, region) in [
        ("", None, "https://sts.amazonaws.com/", "us-east-1"),
        (
            "",
            Some("session/token+with=signs"),
            "https://sts.amazonaws.com/",
            "us-east-1",
        ),
        (
            ", server_id: vault.example.com, region: eu-central-1",
            Some("session"),
            "https://sts.eu-central-1.amazonaws.com/",
            "eu-central-1",
        ),
        (
            ", region: cn-north-1",
            None,
            "https://sts.cn-north-1.amazonaws.com.cn/",
            "cn-north-1",
        ),
    ] {
        let mut set: Variables = [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            (
                "AWS_SECRET_ACCESS_KEY",
                "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            ),
        ]
        .into_iter()
        .collect();
        if let Some(token) = token {
            set.set("AWS_SESSION_TOKEN", token);
        }
        let signed = sign(keys, &set).await.expect("the variables are set");
        assert_eq!(signed.url, url);
        assert_eq!(signed.body, "Action=GetCallerIdentity&Version=2011-06-15");
        assert_eq!(
            signed
                .headers
                .get("X-Vault-AWS-IAM-Server-ID")
                .map(String::as_str),
            keys.contains("server_id").then_some("vault.example.com")
        );
        let authorization = &signed.headers["Authorization"];
        assert_eq!(
            authorization.contains("x-vault-aws-iam-server-id"),
            keys.contains("server_id")
        );
        let theirs = botocore(
            BOTOCORE,
            &json!({
                "url": signed.url, "body": signed.body, "headers": signed.headers, "region": region,
                "credentials": ["AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token],
            })
            .to_string(),
        );
        assert_eq!(*authorization, theirs.trim());
        // Vault refuses X-Amz-* headers that it does not know (vault.md A4).
        for name in signed
            .headers
            .keys()
            .filter(|name| name.starts_with("X-Amz-"))
        {
            assert!(
                ["X-Amz-Date", "X-Amz-Security-Token"].contains(&name.as_str()),
                "{name}"
            );
        }
    }
}

/// An account in moto: a user who may do everything, and the roles `dbt` and `chained`.
struct Account {
    moto: Moto,
    http: reqwest::Client,
    key: String,
    secret: String,
    /// STS's answer with credentials of the role `dbt` in a session `web`.
    web: String,
}

impl Account {
    async fn open() -> Self {
        let moto = Moto::start();
        // Installs the TLS provider, which the HTTP client of this test wants too.
        drop(client(&server("http://127.0.0.1:1".to_owned())));
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client");
        let mut account = Self {
            moto,
            http,
            key: String::new(),
            secret: String::new(),
            web: String::new(),
        };
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["sts:AssumeRole","sts:AssumeRoleWithWebIdentity"]}]}"#;
        let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        account
            .iam(&[("Action", "CreateUser"), ("UserName", "dbt")])
            .await;
        account
            .iam(&[
                ("Action", "PutUserPolicy"),
                ("UserName", "dbt"),
                ("PolicyName", "all"),
                ("PolicyDocument", all),
            ])
            .await;
        for role in ["dbt", "chained"] {
            account
                .iam(&[
                    ("Action", "CreateRole"),
                    ("RoleName", role),
                    ("AssumeRolePolicyDocument", trust),
                ])
                .await;
            account
                .iam(&[
                    ("Action", "PutRolePolicy"),
                    ("RoleName", role),
                    ("PolicyName", "all"),
                    ("PolicyDocument", all),
                ])
                .await;
        }
        let made = account
            .iam(&[("Action", "CreateAccessKey"), ("UserName", "dbt")])
            .await;
        account.key = element(&made, "AccessKeyId");
        account.secret = element(&made, "SecretAccessKey");
        account.web = account
            .form(
                "sts",
                &[
                    ("Action", "AssumeRole"),
                    ("RoleArn", "arn:aws:iam::123456789012:role/dbt"),
                    ("RoleSessionName", "web"),
                    ("Version", "2011-06-15"),
                ],
            )
            .await;
        // From here on every request must be signed, and by somebody who may.
        account
            .http
            .post(format!("{}/moto-api/reset-auth", account.moto.address()))
            .body("0")
            .send()
            .await
            .expect("moto answers");
        account
    }

    async fn iam(&self, parameters: &[(&str, &str)]) -> String {
        let parameters = [parameters, &[("Version", "2010-05-08")]].concat();
        self.form("iam", &parameters).await
    }

    async fn form(&self, service: &str, parameters: &[(&str, &str)]) -> String {
        let mut form = reqwest::Url::parse("http://form").expect("an address");
        form.query_pairs_mut().extend_pairs(parameters);
        let answer = self
            .http
            .post(self.moto.address())
            // moto tells services apart by it, before it looks at signatures.
            .header(
                "Authorization",
                format!("AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x"),
            )
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.query().expect("a query").to_owned())
            .send()
            .await
            .expect("moto answers");
        let status = answer.status();
        let text = answer.text().await.expect("an answer");
        assert!(status.is_success(), "{parameters:?}: {status} {text}");
        text
    }

    /// Whose request it is, in STS's word, or why it is nobody's.
    async fn caller(&self, signed: &Signed) -> Result<String, String> {
        let mut request = self
            .http
            .post(self.moto.address())
            .body(signed.body.clone());
        for (name, value) in &signed.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.expect("moto answers");
        let status = answer.status();
        let text = answer.text().await.expect("an answer");
        if status.is_success() {
            Ok(element(&text, "Arn"))
        } else {
            Err(text)
        }
    }
}

fn element(xml: &str, name: &str) -> String {
    let rest = xml.split(&format!("<{name}>")).nth(1);
    rest.and_then(|rest| rest.split('<').next())
        .unwrap_or_else(|| panic!("no {name}: {xml}"))
        .to_owned()
}

#[tokio::test]
async fn every_source_of_the_identity_signs_what_sts_accepts() {
    let account = Account::open().await;
    let (key, secret, sts) = (&account.key, &account.secret, account.moto.address());
    let home = tempfile::tempdir().expect("a directory");
    let aws = home.path().join(".aws");
    std::fs::create_dir(&aws).expect("made");
    let given = json!({
        "Version": 1, "AccessKeyId": key, "SecretAccessKey": secret,
    });
    let bin = home.path().join("bin");
    std::fs::create_dir(&bin).expect("made");
    let program = |name: &str, script: String| {
        let path = bin.join(name);
        std::fs::write(&path, script).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
        path.display().to_string()
    };
    let process = program(
        "give",
        format!("#!/bin/sh\n[ \"$1\" = 'a b' ] && echo '{given}'\n"),
    );
    program(
        "aws",
        format!(
            "#!/bin/sh\n[ \"$*\" = 'configure export-credentials --profile sso --format process' ] && echo '{given}'\n"
        ),
    );
    let token = home.path().join("web-token");
    std::fs::write(&token, "a.b.c").expect("written");
    std::fs::write(
        aws.join("credentials"),
        format!("[shared]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"),
    )
    .expect("written");
    let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    std::fs::write(
        aws.join("config"),
        format!(
            "[profile in-config]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n\
             [profile process]\ncredential_process = \"{process}\" 'a b'\n\
             [profile sso]\nsso_session = corporate\n\
             [profile assumed]\nrole_arn = {dbt}\nsource_profile = shared\nexternal_id = x\nduration_seconds = 900\n\
             [profile chain]\nrole_arn = {chained}\nsource_profile = assumed\nrole_session_name = second\n\
             [profile of-variables]\nrole_arn = {dbt}\ncredential_source = Environment\n\
             [profile web]\nrole_arn = {dbt}\nweb_identity_token_file = {token}\nrole_session_name = web\n\
             [profile round]\nrole_arn = {dbt}\nsource_profile = round2\n\
             [profile round2]\nrole_arn = {dbt}\nsource_profile = round\n\
             [profile half]\nrole_arn = {dbt}\n\
             [profile empty]\nregion = eu-central-1\n",
            dbt = role("dbt"),
            chained = role("chained"),
            token = token.display(),
        ),
    )
    .expect("written");
    let of_role = json!({
        "Code": "Success", "AccessKeyId": key, "SecretAccessKey": secret, "Token": "", "Expiration": "2099-01-01T00:00:00Z",
    });
    let answer = of_role.clone();
    let container = Web::start(move |request: &Received| {
        if request.header("authorization") == "container-token" {
            Reply::json(&answer)
        } else {
            Reply::new(401, "no token")
        }
    });
    let answer = of_role.clone();
    let instance = Web::start(move |request: &Received| {
        match (request.method.as_str(), request.path.as_str()) {
            ("PUT", "/latest/api/token") => Reply::new(200, "imds-session"),
            _ if request.header("x-aws-ec2-metadata-token") != "imds-session" => {
                Reply::new(401, "")
            }
            ("GET", "/latest/meta-data/iam/security-credentials/") => Reply::new(200, "my-role\n"),
            ("GET", "/latest/meta-data/iam/security-credentials/my-role") => Reply::json(&answer),
            _ => Reply::new(404, ""),
        }
    });
    // A request without a signature is beyond moto once it looks at signatures: this one looks at the request, and gives moto's credentials.
    let answer = account.web.clone();
    let web_sts = Web::start(move |request: &Received| {
        let session = ["web", "pod"].into_iter().find(|session| {
            request.body
                == format!(
                    "Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdbt&RoleSessionName={session}\
                     &WebIdentityToken=a.b.c&Version=2011-06-15"
                )
        });
        if request.header("authorization").is_empty() && session.is_some() {
            Reply::new(200, answer.clone())
        } else {
            Reply::new(400, format!("odd: {request:?}"))
        }
    });
    let container_token = home.path().join("container-token");
    std::fs::write(&container_token, "container-token\n").expect("written");

    let text = |path: &Path| path.display().to_string();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let environment = |more: &[(&str, &str)]| -> Variables {
        let mut set: Variables = [
            ("HOME", text(home.path())),
            ("PATH", path.clone()),
            ("AWS_ENDPOINT_URL_STS", sts.clone()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.address()),
        ]
        .into_iter()
        .collect();
        for (name, value) in more {
            set.set(*name, *value);
        }
        set
    };
    let variables = [
        ("AWS_ACCESS_KEY_ID", key.as_str()),
        ("AWS_SECRET_ACCESS_KEY", secret.as_str()),
    ];
    let container_url = format!("{}/role", container.address());
    let token_file = text(&container_token);
    let web_file = text(&token);
    let dbt = role("dbt");
    let of_container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container_url.as_str()),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            token_file.as_str(),
        ),
    ];
    let web_address = web_sts.address();
    let of_web = [("AWS_ENDPOINT_URL_STS", web_address.as_str())];
    let of_pod = [
        of_web[0],
        ("AWS_WEB_IDENTITY_TOKEN_FILE", web_file.as_str()),
        ("AWS_ROLE_ARN", dbt.as_str()),
        ("AWS_ROLE_SESSION_NAME", "pod"),
    ];
    const USER: &str = "arn:aws:iam::123456789012:user/dbt";
    const ASSUMED: &str = "arn:aws:sts::123456789012:assumed-role/";
    for (what, set, keys, who) in [
        ("variables", environment(&variables), "", USER.to_owned()),
        (
            "the credentials file",
            environment(&[]),
            ", profile: shared",
            USER.to_owned(),
        ),
        (
            "AWS_PROFILE",
            environment(&[
                ("AWS_PROFILE", "in-config"),
                ("AWS_ACCESS_KEY_ID", "x"),
                ("AWS_SECRET_ACCESS_KEY", "x"),
            ]),
            "",
            USER.to_owned(),
        ),
        (
            "a program",
            environment(&[]),
            ", profile: process",
            USER.to_owned(),
        ),
        (
            "single sign-on",
            environment(&[]),
            ", profile: sso",
            USER.to_owned(),
        ),
        (
            "a role",
            environment(&[]),
            ", profile: assumed",
            format!("{ASSUMED}dbt/dbt-lease-"),
        ),
        (
            "a role of a role",
            environment(&[]),
            ", profile: chain",
            format!("{ASSUMED}chained/second"),
        ),
        (
            "a role of variables",
            environment(&variables),
            ", profile: of-variables",
            format!("{ASSUMED}dbt/dbt-lease-"),
        ),
        (
            "a web identity of a profile",
            environment(&of_web),
            ", profile: web",
            format!("{ASSUMED}dbt/web"),
        ),
        (
            "a pod's web identity",
            environment(&of_pod),
            "",
            format!("{ASSUMED}dbt/web"),
        ),
        (
            "the container",
            environment(&of_container),
            "",
            USER.to_owned(),
        ),
        ("the instance", environment(&[]), "", USER.to_owned()),
    ] {
        let signed = sign(keys, &set)
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}\n{}", account.moto.log()));
        let caller = account.caller(&signed).await;
        let caller =
            caller.unwrap_or_else(|error| panic!("{what}: {error}\n{}", account.moto.log()));
        assert!(caller.starts_with(&who), "{what}: {caller}");
    }
    // That moto looks at all: another secret is nobody's.
    let wrong = environment(&[
        ("AWS_ACCESS_KEY_ID", key.as_str()),
        ("AWS_SECRET_ACCESS_KEY", "wrong"),
    ]);
    let signed = sign("", &wrong).await.expect("it is signed");
    let refused = account
        .caller(&signed)
        .await
        .expect_err("the signature is wrong");
    assert!(refused.contains("SignatureDoesNotMatch"), "{refused}");

    // What cannot be found is told, and nothing is sent to Vault.
    let files = format!("`{0}/config`, `{0}/credentials`", text(&aws));
    let disabled = [("AWS_EC2_METADATA_DISABLED", "true")];
    for (set, keys, problem) in [
        (environment(&disabled), "", format!("find the AWS identity: no credentials in AWS_ACCESS_KEY_ID, the profile `default` of {files}, AWS_WEB_IDENTITY_TOKEN_FILE, the container's and the instance's metadata")),
        (environment(&[]), ", profile: empty", format!("find the AWS identity: no credentials in the profile `empty` of {files}")),
        (environment(&[]), ", profile: absent", format!("find the AWS identity: the profile `absent` of {files}: it is not there")),
        (environment(&[]), ", profile: round", format!("find the AWS identity: the profile `round2` of {files}: its profiles stand on one another without an end")),
        (environment(&[]), ", profile: half", format!("find the AWS identity: the profile `half` of {files}: `role_arn` needs one of `source_profile` and `credential_source` (Environment, EcsContainer, Ec2InstanceMetadata)")),
        (environment(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/x")]), "", "get credentials from AWS: the address in AWS_CONTAINER_CREDENTIALS_FULL_URI cannot be used: a secret would be sent there without TLS".to_owned()),
        (environment(&of_container[..1]), "", format!("get credentials from AWS: GET {container_url} answered 401: no token")),
    ] {
        let error = sign(keys, &set).await.expect_err(&problem);
        assert_eq!(error.to_string(), problem);
    }
}

/// Contract: the words of Vault's `path_login.go`, which quotes STS; the codes are those of AWS's documentation of common errors.
#[tokio::test]
async fn what_vault_refuses_has_its_own_cure() {
    for (words, cure) in [
        (
            "error validating X-Vault-AWS-IAM-Server-ID header: expected \"a\" but got \"b\"",
            "the mount demands another server id: set `server_id:` to `bao read auth/aws/config/client` (iam_server_id_header_value)",
        ),
        (
            "IAM Principal \"arn:aws:iam::1:user/x\" does not belong to the role \"dbt\"",
            "the role is bound to another principal than this machine's: `bound_iam_principal_arn` of `bao read auth/aws/role/dbt`",
        ),
        (
            "error making upstream request: received error code 403 from STS: SignatureDoesNotMatch",
            "AWS does not accept the signature: the access is wrong, expired or revoked, or this machine's clock is (`date`)",
        ),
        (
            "error making upstream request: received error code 403 from STS: <ErrorResponse><Error><Code>ExpiredToken</Code><Message>The \
             security token included in the request is expired</Message></Error></ErrorResponse>",
            "AWS says that this access is expired, or this machine's clock is wrong (`date`): have it issued again (`aws sso login`, a new session)",
        ),
        (
            "error making upstream request: received error code 403 from STS: <ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>The \
             security token included in the request is invalid.</Message></Error></ErrorResponse>",
            "AWS does not know this access: it is deleted, inactive or another partition's (`aws sts get-caller-identity`)",
        ),
        (
            "error making upstream request: error making request: Post \"https://sts.amazonaws.com/\": dial tcp: lookup sts.amazonaws.com: no such host",
            "Vault does not reach STS: `bao read auth/aws/config/client` (sts_endpoint, sts_region)",
        ),
        (
            "entry for role dbt not found",
            "there is no such role: `bao list auth/aws/role`, or correct `role:` in dbt-lease.yml",
        ),
    ] {
        let body = json!({"errors": [words]}).to_string();
        let vault = Web::start(move |_| Reply::new(400, body.clone()));
        let set: Variables = [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "very-secret"),
        ]
        .into_iter()
        .collect();
        let auth = auth(&vault.address(), "", &set);
        let error = login(&client(&server(vault.address())), &auth, &set)
            .await
            .expect_err(words);
        assert_eq!(
            hint(&error),
            format!("{cure}; AWS credentials from AWS_ACCESS_KEY_ID")
        );
        assert_eq!(vault.received().len(), 1);
    }
}
