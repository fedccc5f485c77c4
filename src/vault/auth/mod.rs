//! Logging in: one file a method.
#![forbid(unsafe_code)]

mod approle;
mod aws;
mod callback;
mod cert;
mod claims;
mod command;
mod generic;
mod helper;
mod identity;
mod jwt;
mod kubernetes;
mod mfa;
mod oidc;
mod okta;
mod password;
mod person;
mod source;
mod token;
mod web;

use std::time::{Duration, SystemTime};

pub use person::{Answer as PersonsAnswer, Nobody, Person};
pub use source::Note;

use super::answer::Answer;
use super::call::Call;
use super::client::Client;
use super::error::{VaultError, Wanted};
use super::fields::{Field, Fields};
use crate::config::Auth;
use crate::crypto;
use crate::secret::Secret;
use crate::variables::Variables;

/// The session's token, with what Vault says of it. Its text shows in no Debug.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token itself.
    pub value: Secret,
    /// Its accessor: names it in Vault's audit log, and cannot be used to read anything.
    pub accessor: Option<String>,
    /// Its policies.
    pub policies: Vec<String>,
    /// When it was asked for: its life is counted from here.
    pub issued: SystemTime,
    /// How long it lives from `issued` on; `None`: without end, as a root token does.
    pub lifetime: Option<Duration>,
    /// Whether its life can be prolonged.
    pub renewable: bool,
    /// Whether it is ours to revoke: a login's is, the user's own is not.
    pub own: bool,
    /// Whether it may do everything.
    pub is_root: bool,
    /// `service` or `batch`.
    pub kind: TokenKind,
    /// Whom Vault takes us for: the login's metadata (`role_name=dbt-prod`), or the token's display name.
    pub identity: Vec<(String, String)>,
    /// The path of the login that made a token which was there before us, and its role.
    pub made_by: Option<(String, String)>,
    /// The id of the request that gave it (or looked it up), as in Vault's audit log.
    pub request_id: Option<String>,
    /// What the user should know of the login's sources.
    pub notes: Vec<Note>,
}

impl Token {
    /// When it ends, unless it is renewed.
    pub fn expires(&self) -> Option<SystemTime> {
        self.lifetime.map(|lifetime| self.issued + lifetime)
    }

    /// Whether a login of this mount and role made it.
    fn is_of(&self, mount: &str, role: &str) -> bool {
        self.made_by.as_ref().is_some_and(|(path, of)| {
            of.eq_ignore_ascii_case(role)
                && path
                    .strip_prefix("auth/")
                    .and_then(|path| path.strip_prefix(mount))
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    }
}

/// What kind of token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Stored by Vault; can be renewed and revoked.
    Service,
    /// Not stored: it cannot be revoked, and ends by its time alone.
    Batch,
}

/// Logs in as `auth` says. One request to Vault; for a wrapped secret id two more. What gives the identity may be asked before that: a CI
/// system, a metadata server, a program.
///
/// # Errors
/// [`VaultError::Source`], [`VaultError::NoToken`], [`VaultError::NoIdentity`], [`VaultError::Identity`] before anything is sent to Vault; [`VaultError::Wrapping`]; what
/// the client gives ([`VaultError::Refused`], [`VaultError::Transport`], …).
pub async fn login<'a>(
    client: &Client,
    auth: &Auth,
    around: impl Into<Surroundings<'a>>,
) -> Result<Token, VaultError> {
    let around = &around.into();
    match auth {
        Auth::AppRole(approle) => approle::login(client, around, approle).await,
        Auth::Aws(aws) => aws::login(client, around, aws).await,
        Auth::Cert(cert) => cert::login(client, around, cert).await,
        Auth::Command(command) => command::login(client, around, command).await,
        Auth::Generic(generic) => generic::login(client, around, generic).await,
        Auth::Jwt(jwt) => jwt::login(client, around, jwt).await,
        Auth::Kubernetes(kubernetes) => kubernetes::login(client, around, kubernetes).await,
        Auth::Oidc(oidc) => oidc::login(client, around, oidc).await,
        Auth::Okta(okta) => okta::login(client, around, okta).await,
        Auth::Password(password) => password::login(client, around, password).await,
        Auth::Token => token::login(client, around.variables).await,
    }
}

/// The secret id of an AppRole, for somebody who looks at it; none where it is wrapped, and to look would use it up.
///
/// # Errors
/// [`VaultError::Source`].
pub async fn secret_id(
    variables: &Variables,
    approle: &crate::config::AppRole,
) -> Result<Option<Secret>, VaultError> {
    approle::secret_id(variables, approle).await
}

/// A login with an AppRole's role id alone, which a server must refuse.
///
/// # Errors
/// As [`login`].
pub async fn login_by_role_id<'a>(
    client: &Client,
    approle: &crate::config::AppRole,
    around: impl Into<Surroundings<'a>>,
) -> Result<Token, VaultError> {
    approle::login_by_role_id(client, &around.into(), approle).await
}

/// Asks Vault what it knows of a token: all fields of its lookup.
///
/// # Errors
/// What the client gives; 403 where the policy lacks `auth/token/lookup-self`.
pub async fn looked_up(client: &Client, token: &Token) -> Result<Fields, VaultError> {
    let call = Call::new(
        Wanted::LookupToken { place: None },
        reqwest::Method::GET,
        "auth/token/lookup-self",
    )
    .with_token(&token.value);
    match client.ask(&call).await?.data {
        Some(Field::Map(fields)) => Ok(fields),
        _ => Err(client.bad(&call, "it does not describe a token".to_owned())),
    }
}

/// What a login is made in.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The process environment.
    pub variables: &'a Variables,
    /// Who can be asked.
    pub person: &'a dyn Person,
}

/// Nobody is there.
impl<'a> From<&'a Variables> for Surroundings<'a> {
    fn from(variables: &'a Variables) -> Self {
        Self {
            variables,
            person: &Nobody,
        }
    }
}

/// A login to send.
struct Attempt<'a> {
    /// Its method.
    method: &'static str,
    /// Its mount, below `auth/`.
    mount: &'a str,
    /// What follows the mount.
    below: &'a str,
    /// The role, where it is known by a name.
    role: Option<&'a str>,
    /// What the credential says of itself.
    about: Option<String>,
    /// What the server's words must not show.
    hide: Vec<&'a str>,
}

/// Sends a login and takes the token out of the answer.
async fn send(
    client: &Client,
    around: &Surroundings<'_>,
    attempt: Attempt<'_>,
    body: &impl serde::Serialize,
) -> Result<Token, VaultError> {
    let Attempt {
        method,
        mount,
        below,
        role,
        about,
        hide,
    } = attempt;
    let path = format!("auth/{mount}/{below}");
    let wanted = Wanted::Login {
        method,
        mount: mount.to_owned(),
        role: role.map(str::to_owned),
        about,
    };
    let mut call = Call::new(wanted, reqwest::Method::POST, &path).with_body(body);
    call.hide = hide;
    let issued = SystemTime::now();
    let answer = client.ask(&call).await?;
    finish(client, around, answer, issued, &call, (method, mount)).await
}

/// The token of a login's answer, after the second factor where one is required.
async fn finish(
    client: &Client,
    around: &Surroundings<'_>,
    mut answer: Answer,
    issued: SystemTime,
    call: &Call<'_>,
    (method, mount): (&'static str, &str),
) -> Result<Token, VaultError> {
    let required = answer
        .auth
        .as_mut()
        .filter(|auth| auth.client_token.is_empty())
        .and_then(|auth| auth.mfa_requirement.take());
    if let Some(Field::Map(requirement)) = required {
        answer = mfa::validate(client, around, &requirement, (method, mount)).await?;
    }
    of_answer(answer, issued).ok_or_else(|| client.bad(call, "it holds no token".to_owned()))
}

/// The token of a login's answer; `None` where it has none.
fn of_answer(answer: Answer, issued: SystemTime) -> Option<Token> {
    let auth = answer.auth.filter(|auth| !auth.client_token.is_empty())?;
    let policies = auth.policies.unwrap_or_default();
    Some(Token {
        value: auth.client_token,
        accessor: auth.accessor.filter(|accessor| !accessor.is_empty()),
        is_root: policies.iter().any(|policy| policy == "root"),
        policies,
        issued,
        lifetime: auth
            .lease_duration
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs),
        renewable: auth.renewable.unwrap_or(false),
        own: true,
        kind: kind(auth.token_type.as_deref()),
        identity: auth
            .metadata
            .iter()
            .flat_map(super::fields::Fields::iter)
            .filter_map(|(name, value)| Some((name.to_owned(), value.plain()?.to_owned())))
            .collect(),
        made_by: None,
        request_id: answer.request_id.filter(|id| !id.is_empty()),
        notes: Vec::new(),
    })
}

fn kind(name: Option<&str>) -> TokenKind {
    if name == Some("batch") {
        TokenKind::Batch
    } else {
        TokenKind::Service
    }
}

/// 160 random bits. Without a random number what Vault itself adds (`state`) must do.
fn nonce() -> String {
    let mut bytes = [0; 20];
    let _ = getrandom::fill(&mut bytes);
    crypto::hex(&bytes)
}
