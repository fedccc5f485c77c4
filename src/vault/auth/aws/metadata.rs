//! Credentials of the machine's role: from the container's own endpoint, or from the instance's metadata (IMDSv2 alone: the first version can
//! be reached by whoever makes a server fetch an address).
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Method, Url};
use serde::Deserialize;

use super::super::source;
use super::super::web::{Ask, Web};
use super::credentials::{Credentials, Trouble};
use crate::secret::Secret;
use crate::variables::Variables;
use crate::vault::call::Reply;
use crate::vault::client::Client;
use crate::vault::error::{IdentityProblem, VaultError};

/// Of an instance, or not there at all.
const PATIENCE: Duration = Duration::from_secs(2);
/// Link-local addresses at which ECS and EKS answer.
const CONTAINER_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// What both endpoints, and helper programs, answer with.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Given {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
}

impl Given {
    /// Parses an answer; none where it is not one.
    pub(super) fn credentials(json: &[u8], source: String) -> Option<Credentials> {
        let given: Self = serde_json::from_slice(json).ok()?;
        Some(Credentials {
            access_key: given.access_key_id,
            secret_key: Secret::new(given.secret_access_key),
            session_token: given
                .token
                .filter(|token| !token.is_empty())
                .map(Secret::new),
            source,
        })
    }
}

/// The container's role, where its variables are set.
pub(super) async fn container(
    client: &Client,
    variables: &Variables,
) -> Result<Option<Credentials>, Trouble> {
    const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let (url, name) = if let Some(path) = variables.text(RELATIVE) {
        let text = format!("http://{}{path}", CONTAINER_HOSTS[0]);
        (Web::address(&text, RELATIVE)?, RELATIVE)
    } else if let Some(text) = variables.text(FULL) {
        (Web::address(text, FULL)?, FULL)
    } else {
        return Ok(None);
    };
    if !is_the_containers(&url) {
        return Err(Trouble::Problem(IdentityProblem::NotAnAddress {
            variable: name.to_owned(),
            problem: "a secret would be sent there without TLS",
        }));
    }
    let token = match variables.text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
        // Read each time: EKS replaces it.
        Some(path) => Some(source::file("container's token", path.as_ref())?.value),
        None => variables
            .text("AWS_CONTAINER_AUTHORIZATION_TOKEN")
            .filter(|token| !token.contains(['\r', '\n']))
            .map(|token| Secret::new(token.to_owned())),
    };
    let ask = Ask {
        method: Method::GET,
        url,
        headers: token
            .iter()
            .map(|token| ("Authorization", token.expose()))
            .collect(),
        body: None,
        hide: token.iter().map(Secret::expose).collect(),
    };
    let reply = Web::direct().send(client, &ask).await?;
    given(&reply, &ask, "the container's role").map(Some)
}

/// Whether an address is one that AWS's own programs would send the container's token to.
fn is_the_containers(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    url.scheme() == "https"
        || host == "localhost"
        || CONTAINER_HOSTS.contains(&host)
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The instance's role; none where no metadata service answers.
pub(super) async fn instance(
    client: &Client,
    variables: &Variables,
) -> Result<Option<Credentials>, Trouble> {
    const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
    if variables
        .text("AWS_EC2_METADATA_DISABLED")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    {
        return Ok(None);
    }
    let endpoint = variables
        .text(ENDPOINT)
        .unwrap_or("http://169.254.169.254")
        .trim_end_matches('/');
    let web = Web::at_once(PATIENCE);
    let url = |path: &str| Web::address(&format!("{endpoint}{path}"), ENDPOINT);
    let ask = Ask {
        method: Method::PUT,
        url: url("/latest/api/token")?,
        headers: vec![("X-aws-ec2-metadata-token-ttl-seconds", "60")],
        body: Some(Vec::new()),
        hide: Vec::new(),
    };
    // Elsewhere than on an instance nobody answers, or somebody who knows no such path.
    let Ok(reply) = web.send(client, &ask).await else {
        return Ok(None);
    };
    let session = Secret::new(String::from_utf8_lossy(&reply.body).trim().to_owned());
    let get = |path: &str| {
        Ok::<_, Trouble>(Ask {
            method: Method::GET,
            url: url(path)?,
            headers: vec![("X-aws-ec2-metadata-token", session.expose())],
            body: None,
            hide: vec![session.expose()],
        })
    };
    let ask = get(ROLES)?;
    let reply = match web.send(client, &ask).await {
        // An instance without a role.
        Err(IdentityProblem::Refused { code: 404, .. }) => return Ok(None),
        outcome => outcome?,
    };
    let listed = String::from_utf8_lossy(&reply.body).into_owned();
    let role = listed.lines().next().unwrap_or_default().trim();
    let ask = get(&format!("{ROLES}{role}"))?;
    let reply = web.send(client, &ask).await?;
    given(&reply, &ask, "the instance's role").map(Some)
}

fn given(reply: &Reply, ask: &Ask<'_>, source: &str) -> Result<Credentials, Trouble> {
    Given::credentials(&reply.body, source.to_owned()).ok_or_else(|| Trouble::NoCredentials {
        address: ask.address(),
    })
}

impl From<VaultError> for Trouble {
    fn from(error: VaultError) -> Self {
        Self::Other(Box::new(error))
    }
}
