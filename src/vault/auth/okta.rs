//! okta: name and password at Okta, by Vault. A push is waited for by the login itself; meanwhile Vault is asked each second which number the
//! person has to choose.
//!
//! By contract: Vault's documentation of the method, and its source (`path_login.go`: `nonce`, `totp`, `provider`; `verify/NONCE`).
#![forbid(unsafe_code)]

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde::Serialize;

use super::source::Found;
use super::{Surroundings, Token, password};
use crate::config::{Okta, OktaFactor};
use crate::secret::Secret;
use crate::vault::call::{Call, Repeat};
use crate::vault::client::Client;
use crate::vault::error::{VaultError, Wanted};
use crate::vault::fields::Field;

const METHOD: &str = "okta";
/// How often it is asked for the number.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Body<'a> {
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    totp: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

/// Reads or asks for what is needed, and logs in.
pub(super) async fn login(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Okta,
) -> Result<Token, VaultError> {
    let nobody = |what| VaultError::NobodyToAsk {
        what,
        method: METHOD,
        mount: login.mount.clone(),
    };
    if login.factor != OktaFactor::None && !around.person.is_there() {
        // A machine must not make somebody's telephone ring.
        return Err(nobody("the second factor"));
    }
    let name = password::user_name(&login.username, around).await?;
    let Found { value, note } =
        password::password(login.password.as_ref(), around, METHOD, &login.mount, &name).await?;
    let code = match login.factor {
        OktaFactor::Totp { .. } => Some(
            around
                .person
                .ask(&format!("code of {name} for auth/{}", login.mount))
                .await
                .ok_or_else(|| nobody("the code"))?,
        ),
        OktaFactor::Push | OktaFactor::None => None,
    };
    let nonce = (login.factor == OktaFactor::Push).then(super::nonce);

    let path = format!("auth/{}/login/{name}", login.mount);
    let mut call = Call::new(wanted(login, &name), Method::POST, &path).with_body(&Body {
        password: value.expose(),
        totp: code.as_ref().map(Secret::expose),
        provider: match login.factor {
            OktaFactor::Totp { google: true } => Some("GOOGLE"),
            _ => None,
        },
        nonce: nonce.as_deref(),
    });
    call.hide = vec![value.expose()];
    call.hide.extend(code.as_ref().map(Secret::expose));
    // A second push for one login would teach people to approve what they did not ask for.
    call.repeat = Repeat::WhenNothingWasDone;
    let issued = SystemTime::now();
    let work = client.ask(&call);
    let answer = match &nonce {
        None => work.await?,
        Some(nonce) => tokio::select! {
            answer = work => answer?,
            never = number(client, around, login, &name, nonce) => match never {},
        },
    };
    let whose = (METHOD, login.mount.as_str());
    let mut token = super::finish(client, around, answer, issued, &call, whose).await?;
    token.notes.extend(note);
    Ok(token)
}

/// Tells the number to choose, once it is known; does not end by itself.
async fn number(
    client: &Client,
    around: &Surroundings<'_>,
    login: &Okta,
    name: &str,
    nonce: &str,
) -> std::convert::Infallible {
    let path = format!("auth/{}/verify/{nonce}", login.mount);
    around
        .person
        .tell("approve the login in Okta on your other device");
    loop {
        client.wait(INTERVAL).await;
        let call = Call::new(wanted(login, name), Method::GET, &path);
        // Until Okta has asked for a number there is none, which is a refusal; and the login says what is wrong, if anything.
        let Ok(answer) = client.ask(&call).await else {
            continue;
        };
        let number = match &answer.data {
            Some(Field::Map(data)) => data.get("correct_answer").and_then(Field::whole),
            _ => None,
        };
        if let Some(number) = number {
            around.person.tell(&format!("choose the number {number}"));
            return std::future::pending().await;
        }
    }
}

fn wanted(login: &Okta, name: &str) -> Wanted {
    Wanted::Login {
        method: METHOD,
        mount: login.mount.clone(),
        role: Some(name.to_owned()),
        about: None,
    }
}
