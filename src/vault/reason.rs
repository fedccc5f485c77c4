//! The reasons that a [`VaultError`](super::error::VaultError) carries.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

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
    /// A program that prints it, with its arguments.
    Command(String),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "`{}`", path.display()),
            Self::Variable(name) => write!(formatter, "the variable {name}"),
            Self::Literal => formatter.write_str("dbt-lease.yml"),
            Self::Command(words) => write!(formatter, "the command `{words}`"),
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
    /// Not a name that can stand in a path.
    NotAName,
    /// There is no such program.
    NoProgram,
    /// The program failed.
    Failed {
        /// How it ended.
        status: String,
        /// Its own words, tamed.
        said: String,
    },
    /// The program did not end in time.
    TooSlow {
        /// The bound.
        seconds: u64,
    },
    /// An identity token for somebody else: not sent.
    OtherAudience {
        /// Whom it is for, in its own words, tamed.
        found: String,
        /// Whom dbt-lease.yml names.
        expected: String,
    },
    /// Not credentials of AWS in the form of `credential_process`.
    NotCredentials,
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
            Self::NotAName => formatter.write_str(
                "it is not a name of letters, digits and `._@-`, and others cannot stand in the login's path",
            ),
            Self::NotCredentials => formatter.write_str(
                "it is not JSON with AccessKeyId and SecretAccessKey",
            ),
            Self::NoProgram => formatter.write_str("there is no such program"),
            Self::Failed { status, said } if said.is_empty() => {
                write!(formatter, "it failed ({status}) and said nothing")
            }
            Self::Failed { status, said } => write!(formatter, "it failed ({status}): {said}"),
            Self::TooSlow { seconds } => write!(formatter, "it did not end within {seconds} s"),
            Self::OtherAudience { found, expected } => write!(
                formatter,
                "it is for the audience `{found}`, and `audience:` says `{expected}`: it was not sent"
            ),
            Self::Io(words) => formatter.write_str(words),
        }
    }
}

/// Why there is no AWS identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AwsProblem {
    /// None was found.
    Nowhere {
        /// The profile that was looked at.
        profile: String,
        /// The files that it would stand in.
        files: String,
        /// Whether everything else was looked at too.
        elsewhere: bool,
    },
    /// A profile that cannot be used.
    Profile {
        /// Its name.
        profile: String,
        /// What is wrong.
        problem: String,
        /// The files that it would stand in.
        files: String,
    },
    /// An answer without credentials.
    BadAnswer {
        /// Whose.
        address: String,
    },
}

impl fmt::Display for AwsProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere {
                profile,
                files,
                elsewhere,
            } => {
                formatter.write_str("no credentials in ")?;
                if *elsewhere {
                    formatter.write_str("AWS_ACCESS_KEY_ID, ")?;
                }
                write!(formatter, "the profile `{profile}` of {files}")?;
                if *elsewhere {
                    formatter.write_str(
                        ", AWS_WEB_IDENTITY_TOKEN_FILE, the container's and the instance's metadata",
                    )?;
                }
                Ok(())
            }
            Self::Profile {
                profile,
                problem,
                files,
            } => write!(formatter, "the profile `{profile}` of {files}: {problem}"),
            Self::BadAnswer { address } => {
                write!(formatter, "the answer of {address} holds no credentials")
            }
        }
    }
}

/// Why a login in the browser came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrowserProblem {
    /// The port that the browser is to come back to cannot be had.
    Port {
        /// The port.
        port: u16,
        /// The system's words.
        words: String,
    },
    /// Vault gives no address to log in at: it does not know the role, or the role does not allow where the browser comes back to.
    NotAllowed {
        /// The role.
        role: String,
        /// Where the browser comes back to.
        redirect_uri: String,
    },
    /// Vault gives something else than an address.
    NoAddress,
    /// The provider refused.
    Refused {
        /// Its words, tamed.
        said: String,
    },
    /// Nobody logged in.
    TooLate {
        /// How long was waited.
        seconds: u64,
    },
}

impl fmt::Display for BrowserProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { port, words } => {
                write!(
                    formatter,
                    "port {port} of this machine cannot be listened at: {words}"
                )
            }
            Self::NotAllowed { role, redirect_uri } => write!(
                formatter,
                "Vault gives no address to log in at for the role `{role}` and the way back `{redirect_uri}`"
            ),
            Self::NoAddress => {
                formatter.write_str("Vault's answer holds no address that a browser could open")
            }
            Self::Refused { said } => write!(formatter, "the identity provider refused: {said}"),
            Self::TooLate { seconds } => write!(formatter, "nobody logged in within {seconds} s"),
        }
    }
}

/// Why a CI system or cloud gave no identity token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityProblem {
    /// The variable that holds it, or says where to ask for it, is not set.
    NotSet {
        /// Its name.
        variable: String,
        /// What to do.
        cure: String,
    },
    /// The variable says an address that a secret must not be sent to.
    NotAnAddress {
        /// Its name.
        variable: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// It was asked, and refused.
    Refused {
        /// Where.
        address: String,
        /// The HTTP status.
        code: u16,
        /// Its words, tamed.
        said: String,
    },
    /// It did not answer.
    NoAnswer {
        /// Where.
        address: String,
        /// Why.
        cause: Cause,
        /// How often it was tried.
        attempts: u32,
    },
    /// Its answer holds no token.
    NoToken {
        /// Where.
        address: String,
    },
}

impl fmt::Display for IdentityProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSet { variable, .. } => write!(formatter, "{variable} is not set"),
            Self::NotAnAddress { variable, problem } => {
                write!(
                    formatter,
                    "the address in {variable} cannot be used: {problem}"
                )
            }
            Self::Refused {
                address,
                code,
                said,
            } => write!(formatter, "{address} answered {code}: {said}"),
            Self::NoAnswer {
                address,
                cause,
                attempts,
            } => {
                write!(formatter, "{address}: {cause}")?;
                if *attempts > 1 {
                    write!(formatter, " (tried {attempts} times)")?;
                }
                Ok(())
            }
            Self::NoToken { address } => {
                write!(formatter, "the answer of {address} holds no token")
            }
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
