//! Getting an identity token: from where dbt-lease.yml says, or by asking the CI system or cloud that we run in.
//!
//! The shapes are the systems' own documentation's; GitHub's and Google's are as the Python package `id` reads them.
#![forbid(unsafe_code)]

use reqwest::Method;
use serde::Deserialize;

use super::claims::Claims;
use super::source::{self, Found};
use super::web::{Ask, Web};
use crate::config::{How, Jwt, Source, System};
use crate::secret::Secret;
use crate::variables::Variables;
use crate::vault::client::Client;
use crate::vault::error::{IdentityProblem, Place, SourceProblem, VaultError};
use crate::vault::words;

/// What it is called in messages.
const WHAT: &str = "identity token";

#[derive(Deserialize)]
struct GitHubAnswer {
    value: String,
}

#[derive(Deserialize)]
struct AzureAnswer {
    #[serde(rename = "oidcToken")]
    token: String,
}

/// Has the identity token of a login.
pub(super) async fn obtain(
    client: &Client,
    variables: &Variables,
    jwt: &Jwt,
) -> Result<Found, VaultError> {
    let audience = jwt.audience.as_deref().unwrap_or_default();
    let (found, place) = match (&jwt.token.how, jwt.token.system) {
        (How::Read(source), system) => (
            source::read(WHAT, source, variables)
                .await
                .map_err(|error| with_cure(error, system, source, audience))?,
            source::place(source),
        ),
        (How::Asked, Some(system)) => {
            let value = ask(client, variables, system, audience).await?;
            return Ok(Found { value, note: None });
        }
        (How::Asked, None) | (How::Nowhere, _) => {
            return Err(VaultError::NoIdentity {
                role: jwt.role.clone(),
                mount: jwt.mount.clone(),
                why: jwt.token.why.clone(),
            });
        }
    };
    // What is read may be meant for somebody else; a file that was exchanged must not log us in with another environment's token.
    if jwt.audience_is_said
        && let Some(claims) = Claims::of(&found.value)
        && !claims.audiences().iter().any(|found| found == audience)
    {
        return Err(VaultError::Source {
            what: WHAT,
            place,
            problem: SourceProblem::OtherAudience {
                found: words::tame(&claims.audiences().join("`, `"), &[]),
                expected: audience.to_owned(),
            },
        });
    }
    Ok(found)
}

/// A variable that a CI system sets only where the job asks for it.
fn with_cure(
    error: VaultError,
    system: Option<System>,
    source: &Source,
    audience: &str,
) -> VaultError {
    match (&error, system, source) {
        (
            VaultError::Source {
                problem: SourceProblem::NotSet,
                ..
            },
            Some(system),
            Source::Variable(name),
        ) => match system.cure(name, audience) {
            Some(cure) => VaultError::Identity {
                what: "an identity token",
                system: system.name(),
                problem: Box::new(IdentityProblem::NotSet {
                    variable: name.clone(),
                    cure,
                }),
            },
            None => error,
        },
        _ => error,
    }
}

async fn ask(
    client: &Client,
    variables: &Variables,
    system: System,
    audience: &str,
) -> Result<Secret, VaultError> {
    let answered = match system {
        System::GitHub => github(client, variables, audience).await,
        System::AzureDevOps => azure_devops(client, variables).await,
        _ => google(client, variables, audience).await,
    };
    answered.map_err(|problem| VaultError::Identity {
        what: "an identity token",
        system: system.name(),
        problem: Box::new(problem),
    })
}

async fn github(
    client: &Client,
    variables: &Variables,
    audience: &str,
) -> Result<Secret, IdentityProblem> {
    const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
    const TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
    let cure = "the job may not ask for one: give it `permissions: {id-token: write}` (a pull request from a fork never gets it)";
    let url = set(variables, URL, cure)?;
    let token = set(variables, TOKEN, cure)?;
    let mut url = Web::private(url, URL)?;
    url.query_pairs_mut().append_pair("audience", audience);
    let bearer = format!("bearer {token}");
    let ask = Ask {
        method: Method::GET,
        url,
        headers: vec![("authorization", &bearer)],
        body: None,
        hide: vec![token],
    };
    let address = ask.address();
    let reply = Web::through_proxy().send(client, &ask).await?;
    serde_json::from_slice::<GitHubAnswer>(&reply.body)
        .map(|answer| Secret::new(answer.value))
        .ok()
        .filter(|token| !token.is_empty())
        .ok_or(IdentityProblem::NoToken { address })
}

async fn azure_devops(client: &Client, variables: &Variables) -> Result<Secret, IdentityProblem> {
    const URL: &str = "SYSTEM_OIDCREQUESTURI";
    const TOKEN: &str = "SYSTEM_ACCESSTOKEN";
    let url = set(
        variables,
        URL,
        "run in a job of Azure Pipelines, which sets it",
    )?;
    let token = set(
        variables,
        TOKEN,
        "map it in the step: `env: {SYSTEM_ACCESSTOKEN: $(System.AccessToken)}`",
    )?;
    let mut url = Web::private(url, URL)?;
    url.query_pairs_mut()
        .append_pair("api-version", "7.1-preview.1");
    let bearer = format!("Bearer {token}");
    let ask = Ask {
        method: Method::POST,
        url,
        headers: vec![
            ("authorization", &bearer),
            ("content-type", "application/json"),
        ],
        body: Some(Vec::new()),
        hide: vec![token],
    };
    let address = ask.address();
    let reply = Web::through_proxy().send(client, &ask).await?;
    serde_json::from_slice::<AzureAnswer>(&reply.body)
        .map(|answer| Secret::new(answer.token))
        .ok()
        .filter(|token| !token.is_empty())
        .ok_or(IdentityProblem::NoToken { address })
}

/// The metadata server of a virtual machine, Cloud Run, Cloud Build, GKE. It answers with the token alone.
async fn google(
    client: &Client,
    variables: &Variables,
    audience: &str,
) -> Result<Secret, IdentityProblem> {
    const HOST: &str = "GCE_METADATA_HOST";
    let host = variables.text(HOST).unwrap_or("metadata.google.internal");
    let mut url = Web::address(
        &format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/identity"),
        HOST,
    )?;
    url.query_pairs_mut()
        .append_pair("audience", audience)
        .append_pair("format", "full");
    let ask = Ask {
        method: Method::GET,
        url,
        headers: vec![("metadata-flavor", "Google")],
        body: None,
        hide: Vec::new(),
    };
    let address = ask.address();
    let reply = Web::direct().send(client, &ask).await?;
    let text = std::str::from_utf8(&reply.body).unwrap_or_default();
    match source::literal(WHAT, text.trim(), Place::Literal) {
        Ok(found) => Ok(found.value),
        Err(_) => Err(IdentityProblem::NoToken { address }),
    }
}

fn set<'v>(variables: &'v Variables, name: &str, cure: &str) -> Result<&'v str, IdentityProblem> {
    variables.text(name).ok_or_else(|| IdentityProblem::NotSet {
        variable: name.to_owned(),
        cure: cure.to_owned(),
    })
}
