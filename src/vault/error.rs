//! What can go wrong between us and Vault. Every text is a fragment that reads after "failed to".
#![forbid(unsafe_code)]

use std::fmt;

use super::hint;
pub use super::reason::{
    AwsProblem, BrowserProblem, Cause, IdentityProblem, Missing, Place, SourceProblem, Tampering,
    TlsProblem,
};

/// A failure of the layer that talks to Vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Vault (or what stands before it) answered, and refused.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// No complete answer came.
    #[error(transparent)]
    Transport(Box<Transport>),
    /// The answer points elsewhere, and we do not go there.
    #[error("{asked} answered {code} and points to `{to}`, which is not followed: {why}")]
    Redirected {
        /// What was asked.
        asked: Box<Asked>,
        /// The HTTP status.
        code: u16,
        /// Where it points.
        to: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// The answer is longer than any of Vault's.
    #[error("{asked}: the answer is longer than {limit} bytes")]
    TooLarge {
        /// What was asked.
        asked: Box<Asked>,
        /// The bound in bytes.
        limit: usize,
    },
    /// The answer says yes, but is not what Vault's API promises.
    #[error("{asked}: the answer cannot be used: {problem}")]
    BadAnswer {
        /// What was asked.
        asked: Box<Asked>,
        /// What is wrong with it.
        problem: String,
    },
    /// The secret is there in name, and holds nothing.
    #[error("{asked}: {why}")]
    NoData {
        /// What was asked.
        asked: Box<Asked>,
        /// Why.
        why: Missing,
    },
    /// The wrapped secret id is not as whoever wrapped it left it.
    #[error("unwrap the secret id of {place}: {tampering}")]
    Wrapping {
        /// What holds the wrapping token.
        place: Place,
        /// What was found.
        tampering: Tampering,
    },
    /// A secret's wrapped answer is not as Vault made it.
    #[error("{asked}: its wrapped answer: {tampering}")]
    Exchanged {
        /// What was asked.
        asked: Box<Asked>,
        /// What was found.
        tampering: Tampering,
    },
    /// The login asks for a second factor.
    #[error(
        "log in by {method} at `auth/{mount}`: Vault asks for multi-factor authentication, and nobody is here to give it"
    )]
    SecondFactor {
        /// The method.
        method: &'static str,
        /// Its mount.
        mount: String,
    },
    /// `method: token`, and no token anywhere.
    #[error("find a Vault token: none in {}", looked.join(", "))]
    NoToken {
        /// Where was looked, in order.
        looked: Vec<String>,
    },
    /// A login in the browser.
    #[error("log in by oidc at `auth/{mount}`: {problem}")]
    Browser {
        /// Its mount.
        mount: String,
        /// Why it came to nothing.
        problem: Box<BrowserProblem>,
    },
    /// Something that a person has to do, and nobody is there, or nothing was typed.
    #[error("log in by {method} at `auth/{mount}`: {what} needs a person, and nobody answered")]
    NobodyToAsk {
        /// `the password`, `the login in the browser`
        what: &'static str,
        /// The method.
        method: &'static str,
        /// Its mount.
        mount: String,
    },
    /// `method: jwt`, and no identity token here.
    #[error("find an identity token for the role `{role}` of `auth/{mount}`: {why}")]
    NoIdentity {
        /// The role.
        role: String,
        /// The method's mount.
        mount: String,
        /// What was looked for.
        why: String,
    },
    /// There is no AWS identity.
    #[error("find the AWS identity: {0}")]
    Aws(AwsProblem),
    /// The CI system or cloud that we run in gives no identity.
    #[error("get {what} from {system}: {problem}")]
    Identity {
        /// `an identity token`, `credentials`.
        what: &'static str,
        /// `GitHub Actions`, …
        system: &'static str,
        /// Why.
        problem: Box<IdentityProblem>,
    },
    /// A file, variable or program that gives a part of the login.
    #[error("read the {what} from {place}: {problem}")]
    Source {
        /// `role id`, `secret id`, `wrapping token`, `token`.
        what: &'static str,
        /// Where.
        place: Place,
        /// What is wrong.
        problem: SourceProblem,
    },
    /// An address, certificate or header that no connection can be made with.
    #[error("use {setting} `{value}`: {problem}")]
    Settings {
        /// The key below `vault:`.
        setting: &'static str,
        /// Its value; never a secret.
        value: String,
        /// What is wrong.
        problem: String,
    },
}

impl VaultError {
    /// Whether no answer was seen to a request that may have reached the server.
    pub(crate) fn is_after_the_request(&self) -> bool {
        match self {
            Self::Transport(transport) => {
                transport.after_loss
                    || matches!(transport.cause, Cause::NoAnswer { .. } | Cause::Lost(_))
            }
            Self::TooLarge { .. } => true,
            _ => false,
        }
    }

    /// A stable word for JSON output.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => match refusal.code {
                403 => "vault_permission_denied",
                429 => "vault_rate_limited",
                503 if refusal.says("sealed") => "vault_sealed",
                _ => "vault_refused",
            },
            Self::Transport(transport) => match transport.cause {
                Cause::Tls(_) => "vault_tls",
                Cause::NoAnswer { .. } => "vault_timeout",
                Cause::Name(_) | Cause::Connect(_) => "vault_unreachable",
                Cause::Lost(_) => "vault_connection_lost",
            },
            Self::Redirected { .. } => "vault_redirect",
            Self::TooLarge { .. } | Self::BadAnswer { .. } => "vault_bad_answer",
            Self::NoData { .. } => "vault_no_data",
            Self::Wrapping { .. } | Self::Exchanged { .. } => "vault_wrapping_tampered",
            Self::SecondFactor { .. } => "vault_second_factor",
            Self::NoToken { .. } => "vault_no_token",
            Self::Browser { .. } => "login_browser",
            Self::NobodyToAsk { .. } => "login_nobody_to_ask",
            Self::NoIdentity { .. } => "login_no_identity",
            Self::Aws(_) => "login_aws",
            Self::Identity { .. } => "login_identity",
            Self::Source { .. } => "login_source",
            Self::Settings { .. } => "vault_settings",
        }
    }

    /// What to do next, where that is known.
    pub fn hint(&self) -> Option<String> {
        hint::of(self)
    }

    /// The HTTP status of a refusal.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            _ => None,
        }
    }
}

/// What a request was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A token by a login method.
    Login {
        /// `approle`, …
        method: &'static str,
        /// Its mount, below `auth/`.
        mount: String,
        /// The role, where it is known by a name.
        role: Option<String>,
        /// What the credential says of itself, where it does: `issuer …, audience …, expired 3 min ago`.
        about: Option<String>,
    },
    /// The second factor of a login.
    SecondFactor {
        /// The login's mount, below `auth/`.
        mount: String,
    },
    /// What the user's token is.
    LookupToken,
    /// Where a wrapped secret id comes from, and the secret id.
    Unwrap,
    /// A secret.
    Secret {
        /// Its name in dbt-lease.yml.
        name: String,
        /// Its API path.
        path: String,
        /// Whether it is asked for by a write with data.
        write: bool,
    },
    /// The end of a lease.
    RevokeLease {
        /// The path that the lease came from.
        path: String,
    },
    /// A longer life for a lease.
    RenewLease {
        /// The path that the lease came from.
        path: String,
    },
    /// A longer life for our token.
    RenewToken,
    /// Whether a lease is still there.
    LookupLease {
        /// The path that the lease came from.
        path: String,
    },
    /// The end of our token.
    RevokeToken,
    /// The end of a killed session's token.
    RevokeAccessor,
    /// What is there, for somebody who only looks.
    Look {
        /// `the seal`, `the role`, …
        what: &'static str,
    },
}

impl Wanted {
    /// The least policy that allows it; none where the default policy or no token at all does.
    pub fn policy(&self) -> Option<String> {
        match self {
            Self::Secret { path, write, .. } => {
                let capabilities = if *write {
                    r#""create", "update""#
                } else {
                    r#""read""#
                };
                Some(format!(
                    r#"path "{path}" {{ capabilities = [{capabilities}] }}"#
                ))
            }
            Self::RevokeLease { path } => Some(format!(
                r#"path "sys/leases/revoke" {{ capabilities = ["update"] allowed_parameters = {{ "lease_id" = ["{path}/*"], "sync" = [] }} }}"#
            )),
            Self::LookupLease { path } => Some(format!(
                r#"path "sys/leases/lookup" {{ capabilities = ["update"] allowed_parameters = {{ "lease_id" = ["{path}/*"] }} }}"#
            )),
            Self::RenewLease { path } => Some(format!(
                r#"path "sys/leases/renew" {{ capabilities = ["update"] allowed_parameters = {{ "lease_id" = ["{path}/*"], "increment" = [] }} }}"#
            )),
            Self::RenewToken => {
                Some(r#"path "auth/token/renew-self" { capabilities = ["update"] }"#.to_owned())
            }
            Self::RevokeToken => {
                Some(r#"path "auth/token/revoke-self" { capabilities = ["update"] }"#.to_owned())
            }
            Self::RevokeAccessor => Some(
                r#"path "auth/token/revoke-accessor" { capabilities = ["update"] }"#.to_owned(),
            ),
            Self::LookupToken => {
                Some(r#"path "auth/token/lookup-self" { capabilities = ["read"] }"#.to_owned())
            }
            Self::Login { .. } | Self::SecondFactor { .. } | Self::Unwrap | Self::Look { .. } => {
                None
            }
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login { method, mount, .. } => {
                write!(formatter, "log in by {method} at `auth/{mount}`")
            }
            Self::SecondFactor { mount } => {
                write!(
                    formatter,
                    "give the second factor of the login at `auth/{mount}`"
                )
            }
            Self::LookupToken => formatter.write_str("look up the token"),
            Self::Unwrap => formatter.write_str("unwrap the secret id"),
            Self::Secret {
                name, write: false, ..
            } => write!(formatter, "read secret `{name}`"),
            Self::Secret {
                name, write: true, ..
            } => write!(formatter, "write for secret `{name}`"),
            Self::RevokeLease { path } => write!(formatter, "revoke the lease of `{path}`"),
            Self::RenewLease { path } => write!(formatter, "renew the lease of `{path}`"),
            Self::RenewToken => formatter.write_str("renew the session's token"),
            Self::LookupLease { path } => write!(formatter, "look up the lease of `{path}`"),
            Self::RevokeToken => formatter.write_str("revoke the session's token"),
            Self::RevokeAccessor => formatter.write_str("revoke the killed session's token"),
            Self::Look { what } => write!(formatter, "look at {what}"),
        }
    }
}

/// One request, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What it was made for.
    pub wanted: Wanted,
    /// The HTTP method.
    pub method: &'static str,
    /// The address.
    pub url: String,
}

impl fmt::Display for Asked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {} {}", self.wanted, self.method, self.url)
    }
}

/// A refusal, with all that an administrator of Vault asks for.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What was asked.
    pub asked: Asked,
    /// The HTTP status.
    pub code: u16,
    /// The namespace that was asked in.
    pub namespace: Option<String>,
    /// Vault's own words, tamed; may be empty.
    pub errors: Vec<String>,
    /// Whether the body was Vault's JSON: else something before Vault spoke.
    pub from_vault: bool,
    /// How often it was asked.
    pub attempts: u32,
    /// What the other addresses said, where there are any.
    pub elsewhere: Vec<String>,
    /// Whether the answer to an earlier try was lost: it may have done what was asked.
    pub after_loss: bool,
    /// How long the server asks to wait, where that is why we gave up.
    pub wait: Option<std::time::Duration>,
}

impl Refusal {
    /// Whether one of Vault's errors holds these words.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.errors
            .iter()
            .any(|error| error.to_ascii_lowercase().contains(words))
    }

    /// Vault's words in one line.
    pub fn words(&self) -> String {
        if self.errors.is_empty() {
            "no reason given".to_owned()
        } else {
            self.errors.join("; ")
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} answered {}", self.asked, self.code)?;
        if let Some(namespace) = &self.namespace {
            write!(formatter, " in namespace `{namespace}`")?;
        }
        if self.attempts > 1 {
            write!(formatter, " (tried {} times)", self.attempts)?;
        }
        if let Some(wait) = self.wait {
            write!(formatter, " (it asks to wait {} s)", wait.as_secs())?;
        }
        if !self.from_vault {
            formatter.write_str(", not in Vault's form")?;
        }
        write!(formatter, ": {}", self.words())?;
        elsewhere(formatter, &self.elsewhere)
    }
}

/// A request without a complete answer.
#[derive(Clone, Debug)]
pub struct Transport {
    /// What was asked.
    pub asked: Asked,
    /// Why.
    pub cause: Cause,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether an earlier try was sent, and its answer was lost.
    pub after_loss: bool,
    /// The proxy before it, and who says so.
    pub proxy: Option<(String, String)>,
    /// What the other addresses said, where there are any.
    pub elsewhere: Vec<String>,
}

impl std::error::Error for Transport {}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.asked, self.cause)?;
        if self.attempts > 1 {
            write!(formatter, " (tried {} times)", self.attempts)?;
        }
        if let Some((proxy, said)) = &self.proxy {
            write!(formatter, " (through the proxy {proxy}, by {said})")?;
        }
        elsewhere(formatter, &self.elsewhere)
    }
}

fn elsewhere(formatter: &mut fmt::Formatter<'_>, others: &[String]) -> fmt::Result {
    others
        .iter()
        .try_for_each(|other| write!(formatter, "; before that {other}"))
}
