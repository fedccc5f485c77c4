//! What can go wrong between us and Vault. Every text is a fragment that reads after "failed to".
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

use super::hint;

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
    #[error(
        "{wanted}: {method} {url} answered {code} and points to `{to}`, which is not followed: {why}"
    )]
    Redirected {
        /// What was wanted.
        wanted: Wanted,
        /// The HTTP method.
        method: &'static str,
        /// The address that was asked.
        url: String,
        /// The HTTP status.
        code: u16,
        /// Where it points.
        to: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// The answer is longer than any of Vault's.
    #[error("{wanted}: the answer of {method} {url} is longer than {limit} bytes")]
    TooLarge {
        /// What was wanted.
        wanted: Wanted,
        /// The HTTP method.
        method: &'static str,
        /// The address that was asked.
        url: String,
        /// The bound in bytes.
        limit: usize,
    },
    /// The answer says yes, but is not what Vault's API promises.
    #[error("{wanted}: the answer of {method} {url} cannot be used: {problem}")]
    BadAnswer {
        /// What was wanted.
        wanted: Wanted,
        /// The HTTP method.
        method: &'static str,
        /// The address that was asked.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The secret is there in name, and holds nothing.
    #[error("{wanted}: {method} {url}: {why}")]
    NoData {
        /// What was wanted.
        wanted: Wanted,
        /// The HTTP method.
        method: &'static str,
        /// The address that was asked.
        url: String,
        /// Why.
        why: Missing,
    },
    /// The wrapped secret id is not as whoever wrapped it left it.
    #[error("unwrap the secret id of `{file}`: {tampering}", file = file.display())]
    Wrapping {
        /// The file that holds the wrapping token.
        file: PathBuf,
        /// What was found.
        tampering: Tampering,
    },
    /// The login asks for a second factor.
    #[error(
        "log in by {method} at `auth/{mount}`: Vault asks for multi-factor authentication, which a run cannot give"
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
    /// A file or variable that holds a part of the login.
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
            Self::Wrapping { .. } => "vault_wrapping_tampered",
            Self::SecondFactor { .. } => "vault_second_factor",
            Self::NoToken { .. } => "vault_no_token",
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
    /// Whether a lease is still there.
    LookupLease {
        /// The path that the lease came from.
        path: String,
    },
    /// The end of our token.
    RevokeToken,
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
            Self::RevokeToken => {
                Some(r#"path "auth/token/revoke-self" { capabilities = ["update"] }"#.to_owned())
            }
            Self::LookupToken => {
                Some(r#"path "auth/token/lookup-self" { capabilities = ["read"] }"#.to_owned())
            }
            Self::Login { .. } | Self::Unwrap => None,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login { method, mount } => {
                write!(formatter, "log in by {method} at `auth/{mount}`")
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
            Self::LookupLease { path } => write!(formatter, "look up the lease of `{path}`"),
            Self::RevokeToken => formatter.write_str("revoke the session's token"),
        }
    }
}

/// A refusal, with all that an administrator of Vault asks for.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What was wanted.
    pub wanted: Wanted,
    /// The HTTP method.
    pub method: &'static str,
    /// The address that was asked.
    pub url: String,
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
        write!(
            formatter,
            "{}: {} {} answered {}",
            self.wanted, self.method, self.url, self.code
        )?;
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
        write!(formatter, ": {}", self.words())
    }
}

/// A request without a complete answer.
#[derive(Clone, Debug)]
pub struct Transport {
    /// What was wanted.
    pub wanted: Wanted,
    /// The HTTP method.
    pub method: &'static str,
    /// The address that was asked.
    pub url: String,
    /// Why.
    pub cause: Cause,
    /// How often it was tried.
    pub attempts: u32,
}

impl std::error::Error for Transport {}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {} {}: {}",
            self.wanted, self.method, self.url, self.cause
        )?;
        if self.attempts > 1 {
            write!(formatter, " (tried {} times)", self.attempts)?;
        }
        Ok(())
    }
}

/// Why no complete answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host's name cannot be resolved.
    Name(String),
    /// No connection: refused, unreachable, no such socket.
    Connect(String),
    /// The two sides do not agree on TLS.
    Tls(TlsProblem),
    /// The request went out, and its answer did not end in time.
    NoAnswer {
        /// The bound in milliseconds.
        millis: u128,
    },
    /// The connection ended before the answer did.
    Lost(String),
}

impl Cause {
    /// Whether it is certain that the server saw nothing of the request.
    pub fn is_before_request(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Connect(_))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(words) => write!(formatter, "the host's name cannot be resolved: {words}"),
            Self::Connect(words) => write!(formatter, "no connection: {words}"),
            Self::Tls(problem) => write!(formatter, "no TLS connection: {problem}"),
            Self::NoAnswer { millis } => {
                write!(formatter, "no complete answer within {}", seconds(*millis))
            }
            Self::Lost(words) => write!(
                formatter,
                "the connection was lost before the answer's end: {words}"
            ),
        }
    }
}

/// Why two sides do not agree on TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsProblem {
    /// The certificate stems from nobody that we trust.
    UnknownIssuer,
    /// The certificate is another host's.
    WrongName(String),
    /// The certificate's time is over, or has not come.
    Expired(String),
    /// Any other flaw of the certificate.
    Certificate(String),
    /// What answers does not speak TLS.
    NotTls,
    /// The server wants a client certificate, or another one.
    ClientCertificate(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => formatter
                .write_str("the server's certificate stems from no authority that is trusted here"),
            Self::WrongName(words) => write!(
                formatter,
                "the server's certificate is another host's: {words}"
            ),
            Self::Expired(words) => write!(
                formatter,
                "the server's certificate is out of its time: {words}"
            ),
            Self::Certificate(words) => {
                write!(formatter, "the server's certificate is refused: {words}")
            }
            Self::NotTls => formatter.write_str("what answers there does not speak TLS"),
            Self::ClientCertificate(words) => write!(
                formatter,
                "the server refuses our client certificate, or wants one: {words}"
            ),
            Self::Other(words) => formatter.write_str(words),
        }
    }
}

/// Why a secret holds nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// KV version 2: the newest version was deleted; it can be restored.
    Deleted {
        /// The version.
        version: u64,
        /// When, in the server's words.
        at: String,
    },
    /// KV version 2: the newest version was destroyed for good.
    Destroyed {
        /// The version.
        version: u64,
    },
    /// A KV version 2 was read as if it were version 1.
    IsKvV2,
    /// A version 1 was read as if it were version 2.
    IsNotKvV2,
    /// An answer without any field.
    Empty,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted { version, at } => write!(
                formatter,
                "its newest version {version} was deleted at {at}"
            ),
            Self::Destroyed { version } => {
                write!(formatter, "its newest version {version} was destroyed")
            }
            Self::IsKvV2 => {
                formatter.write_str("this is a KV version 2, read as if it were another engine")
            }
            Self::IsNotKvV2 => formatter
                .write_str("the answer is not a KV version 2's: it has no data below its data"),
            Self::Empty => formatter.write_str("the answer holds no field"),
        }
    }
}

/// What is wrong with a wrapped secret id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tampering {
    /// Vault does not know the wrapping token (any more).
    Spent,
    /// It wraps something else.
    Foreign {
        /// The path that it should have been made at.
        expected: String,
        /// Where it was made, in the server's words.
        found: String,
    },
}

impl fmt::Display for Tampering {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spent => formatter.write_str(
                "Vault does not know its wrapping token: it has expired, or was unwrapped before, by us or by somebody else",
            ),
            Self::Foreign { expected, found } => {
                write!(formatter, "it was made at `{found}`, not at `{expected}`: it was exchanged, or is meant for something else")
            }
        }
    }
}

/// Where a part of the login stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// dbt-lease.yml itself.
    Literal,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "`{}`", path.display()),
            Self::Variable(name) => write!(formatter, "the variable {name}"),
            Self::Literal => formatter.write_str("dbt-lease.yml"),
        }
    }
}

/// What is wrong with a place that holds a part of the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceProblem {
    /// There is no such file.
    NoFile,
    /// The variable is not set.
    NotSet,
    /// The file may not be read by us.
    NotAllowed,
    /// A directory, pipe, socket or device.
    NotAFile,
    /// Nothing in it, or white space alone.
    Empty,
    /// Longer than any such thing.
    TooLong {
        /// The bound in bytes.
        limit: u64,
    },
    /// Not UTF-8, or with control characters or several lines in it.
    NotText,
    /// Any other trouble of the system.
    Io(String),
}

impl fmt::Display for SourceProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => formatter.write_str("there is no such file"),
            Self::NotSet => formatter.write_str("it is not set"),
            Self::NotAllowed => formatter.write_str("permission denied"),
            Self::NotAFile => formatter.write_str("it is not a regular file"),
            Self::Empty => formatter.write_str("it is empty"),
            Self::TooLong { limit } => write!(formatter, "it is longer than {limit} bytes"),
            Self::NotText => formatter.write_str("it is not one line of text"),
            Self::Io(words) => formatter.write_str(words),
        }
    }
}

/// `1.5 s`, `60 s`.
fn seconds(millis: u128) -> String {
    if millis.is_multiple_of(1000) {
        format!("{} s", millis / 1000)
    } else {
        format!("{}.{:03} s", millis / 1000, millis % 1000)
    }
}
