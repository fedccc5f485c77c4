//! Logging in: one file a method.
#![forbid(unsafe_code)]

mod approle;
mod claims;
mod identity;
mod jwt;
mod source;
mod token;
mod web;

use std::time::{Duration, SystemTime};

pub use source::Note;

use super::answer::Answer;
use super::call::Call;
use super::client::Client;
use super::error::{VaultError, Wanted};
use super::fields::Field;
use crate::config::Auth;
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
pub async fn login(
    client: &Client,
    auth: &Auth,
    variables: &Variables,
) -> Result<Token, VaultError> {
    match auth {
        Auth::AppRole(approle) => approle::login(client, variables, approle).await,
        Auth::Jwt(jwt) => jwt::login(client, variables, jwt).await,
        Auth::Token => token::lookup(client, variables).await,
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
    of_answer(answer, issued, method, mount)
        .ok_or_else(|| client.bad(&call, "it holds no token".to_owned()))?
}

/// The token of a login's answer; `None` where it has none.
fn of_answer(
    answer: Answer,
    issued: SystemTime,
    method: &'static str,
    mount: &str,
) -> Option<Result<Token, VaultError>> {
    let auth = answer.auth?;
    if auth.client_token.is_empty() {
        return match auth.mfa_requirement {
            Some(Field::Map(_)) => Some(Err(VaultError::SecondFactor {
                method,
                mount: mount.to_owned(),
            })),
            _ => None,
        };
    }
    let policies = auth.policies.unwrap_or_default();
    Some(Ok(Token {
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
        request_id: answer.request_id.filter(|id| !id.is_empty()),
        notes: Vec::new(),
    }))
}

fn kind(name: Option<&str>) -> TokenKind {
    if name == Some("batch") {
        TokenKind::Batch
    } else {
        TokenKind::Service
    }
}
