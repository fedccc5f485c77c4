//! oidc: a person logs in at an identity provider, in the browser or on another device.
//!
//! | mode | how the provider's answer comes to Vault |
//! | --- | --- |
//! | browser | the browser comes back to a port of this machine ([`super::callback`]), and we hand its code on |
//! | direct, device | Vault gets it itself, and is asked until it has it (OpenBao) |
//!
//! Vault compares `client_nonce`, so nobody else can take what our browser brought; `state` tells our own return from others'.
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use reqwest::{Method, Url};
use serde::Serialize;
use tokio::time::Instant;

use super::callback::Callback;
use super::{Surroundings, Token, helper, token};
use crate::config::{Oidc, OidcMode};
use crate::vault::answer::Answer;
use crate::vault::call::{Call, Repeat};
use crate::vault::client::Client;
use crate::vault::error::{BrowserProblem, VaultError, Wanted};
use crate::vault::fields::{Field, Fields};
use crate::vault::words;

const METHOD: &str = "oidc";
/// How long a person has, as with Vault's own program.
const PATIENCE: Duration = Duration::from_secs(120);
/// On another device there is a code to type first.
const DEVICE_PATIENCE: Duration = Duration::from_secs(300);
/// How often Vault is asked where it does not say.
const INTERVAL: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Begin<'a> {
    role: &'a str,
    redirect_uri: &'a str,
    client_nonce: &'a str,
}

#[derive(Serialize)]
struct Poll<'a> {
    state: &'a str,
    client_nonce: &'a str,
}

/// Takes the kept token, or has the person log in.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Oidc,
) -> Result<Token, VaultError> {
    if !login.keep {
        return log_in(client, around, login).await;
    }
    let mut notes = Vec::new();
    if let Some((found, place)) = helper::get(around.variables).await? {
        match token::look_up(client, found, place).await {
            // Somebody else's token in the same place is no login of this environment.
            Ok(token) if token.is_of(&login.mount, &login.role) => return Ok(token),
            Ok(_) => notes.push(super::Note::NotKept),
            // Expired, revoked, or another Vault's.
            Err(error) if error.code() == Some(403) => {}
            Err(error) => return Err(error),
        }
    }
    let mut token = log_in(client, around, login).await?;
    token.own = false;
    if notes.is_empty() {
        helper::store(around.variables, &token.value).await?;
    }
    token.notes.append(&mut notes);
    Ok(token)
}

async fn log_in(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Oidc,
) -> Result<Token, VaultError> {
    let failed = |problem| VaultError::Browser {
        mount: login.mount.clone(),
        problem: Box::new(problem),
    };
    if !around.person.is_there() {
        return Err(VaultError::NobodyToAsk {
            what: "the login in the browser",
            method: METHOD,
            mount: login.mount.clone(),
        });
    }
    // Before anything is asked: a port that is taken must not cost a login.
    let callback = match login.mode {
        OidcMode::Browser => Some(Callback::listen(login.port).await.map_err(|error| {
            failed(BrowserProblem::Port {
                port: login.port,
                words: error.to_string(),
            })
        })?),
        OidcMode::Direct | OidcMode::Device => None,
    };
    let nonce = super::nonce();
    let redirect_uri = login.redirect_uri();
    let answer = begin(client, login, &redirect_uri, &nonce).await?;
    let Some(Field::Map(data)) = &answer.data else {
        return Err(failed(BrowserProblem::NoAddress));
    };
    let url = text(data, "auth_url");
    if url.is_empty() {
        return Err(failed(BrowserProblem::NotAllowed {
            role: login.role.clone(),
            redirect_uri,
        }));
    }
    let url = Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http"))
        .ok_or_else(|| failed(BrowserProblem::NoAddress))?;
    let code = text(data, "user_code");
    if !code.is_empty() {
        let code = words::tame(code, &[]);
        around.person.tell(&format!("the code to type is {code}"));
    }
    around.person.open(url.as_str());
    match callback {
        Some(callback) => come_back(client, around, login, &callback, &url, &nonce).await,
        None => poll(client, around, login, data, &nonce).await,
    }
}

async fn begin(
    client: &Client,
    login: &Oidc,
    redirect_uri: &str,
    nonce: &str,
) -> Result<Answer, VaultError> {
    let path = format!("auth/{}/oidc/auth_url", login.mount);
    let mut call = Call::new(wanted(login), Method::POST, &path).with_body(&Begin {
        role: &login.role,
        redirect_uri,
        client_nonce: nonce,
    });
    call.hide = vec![nonce];
    client.ask(&call).await
}

/// Waits for the browser on our port, and hands its code on.
async fn come_back(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Oidc,
    callback: &Callback,
    url: &Url,
    nonce: &str,
) -> Result<Token, VaultError> {
    let failed = |problem| VaultError::Browser {
        mount: login.mount.clone(),
        problem: Box::new(problem),
    };
    let state = url
        .query_pairs()
        .find(|(name, _)| name == "state")
        .map(|(_, state)| state.into_owned())
        .unwrap_or_default();
    let returned = match tokio::time::timeout(PATIENCE, callback.wait(&state)).await {
        Ok(returned) => returned,
        Err(_) => {
            return Err(failed(BrowserProblem::TooLate {
                seconds: PATIENCE.as_secs(),
            }));
        }
    };
    let code = match returned {
        Ok(code) => code,
        Err(said) => {
            return Err(failed(BrowserProblem::Refused {
                said: words::tame(&said, &[]),
            }));
        }
    };
    let path = format!("auth/{}/oidc/callback", login.mount);
    let mut call = Call::new(wanted(login), Method::GET, &path);
    call.query = vec![
        ("state", &state),
        ("code", code.expose()),
        ("client_nonce", nonce),
    ];
    call.hide = vec![&state, code.expose(), nonce];
    // The code is good once.
    call.repeat = Repeat::WhenNothingWasDone;
    let issued = SystemTime::now();
    let answer = client.ask(&call).await?;
    super::finish(
        client,
        around,
        answer,
        issued,
        &call,
        (METHOD, &login.mount),
    )
    .await
}

/// Asks Vault until it has the provider's answer.
async fn poll(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Oidc,
    data: &Fields,
    nonce: &str,
) -> Result<Token, VaultError> {
    let patience = match login.mode {
        OidcMode::Device => DEVICE_PATIENCE,
        OidcMode::Browser | OidcMode::Direct => PATIENCE,
    };
    let end = Instant::now() + patience;
    let (state, path) = (
        text(data, "state"),
        format!("auth/{}/oidc/poll", login.mount),
    );
    let mut interval = text(data, "poll_interval")
        .parse()
        .ok()
        .filter(|seconds| (1..60).contains(seconds))
        .map_or(INTERVAL, Duration::from_secs);
    while Instant::now() + interval < end {
        client.wait(interval).await;
        let mut call = Call::new(wanted(login), Method::POST, &path).with_body(&Poll {
            state,
            client_nonce: nonce,
        });
        call.hide = vec![state, nonce];
        let issued = SystemTime::now();
        match client.ask(&call).await {
            Ok(answer) => {
                let whose = (METHOD, login.mount.as_str());
                return super::finish(client, around, answer, issued, &call, whose).await;
            }
            Err(VaultError::Refused(refusal)) if refusal.says("authorization_pending") => {}
            // RFC 8628: five seconds more from now on.
            Err(VaultError::Refused(refusal)) if refusal.says("slow_down") => {
                interval += Duration::from_secs(5);
            }
            Err(error) => return Err(error),
        }
    }
    Err(VaultError::Browser {
        mount: login.mount.clone(),
        problem: Box::new(BrowserProblem::TooLate {
            seconds: patience.as_secs(),
        }),
    })
}

fn wanted(login: &Oidc) -> Wanted {
    Wanted::Login {
        method: METHOD,
        mount: login.mount.clone(),
        role: Some(login.role.clone()),
        about: None,
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Field::plain).unwrap_or_default()
}
