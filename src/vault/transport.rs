//! Why a request got no answer, read from the HTTP client's chain of errors.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, InvalidMessage};

use super::error::{Cause, TlsProblem};
use super::words;

/// How one try failed.
pub(crate) enum Failure {
    /// Before the request could be sent.
    Before(Cause),
    /// TLS did not come about, or was ended by the server.
    Tls(TlsProblem),
    /// The answer did not end in time.
    NoAnswer {
        /// The bound in milliseconds.
        millis: u128,
    },
    /// The connection ended too early.
    Lost(String),
    /// The answer is too long.
    TooLarge,
}

impl Failure {
    /// What an error of the HTTP client means.
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        if let Some(tls) = of_rustls(error) {
            return Self::Tls(problem(tls));
        }
        let words = deepest(error);
        if error.is_dns() {
            Self::Before(Cause::Name(words))
        } else if error.is_connect() {
            Self::Before(Cause::Connect(words))
        } else {
            Self::Lost(words)
        }
    }

    /// Whether it is certain that the server saw nothing, and another try may help.
    pub(crate) fn is_before_request(&self) -> bool {
        matches!(self, Self::Before(_))
    }

    /// For people.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Self::Before(cause) => cause.clone(),
            Self::Tls(problem) => Cause::Tls(problem.clone()),
            Self::NoAnswer { millis } => Cause::NoAnswer { millis: *millis },
            Self::Lost(words) => Cause::Lost(words.clone()),
            Self::TooLarge => Cause::Lost("the answer is too long".to_owned()),
        }
    }
}

/// The words of the innermost error, where the reason stands.
pub(crate) fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut current = error;
    while let Some(source) = inner(current) {
        current = source;
    }
    words::tame(&current.to_string(), &[])
}

/// The next error inwards; `io::Error` hides its own content from `source()`.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(io) = error.downcast_ref::<io::Error>()
        && let Some(content) = io.get_ref()
    {
        return Some(content);
    }
    error.source()
}

fn of_rustls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        current = inner(error);
    }
    None
}

fn problem(error: &rustls::Error) -> TlsProblem {
    let words = words::tame(&error.to_string(), &[]);
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer => TlsProblem::UnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsProblem::WrongName(words)
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsProblem::Expired(words),
            _ => TlsProblem::Certificate(words),
        },
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsProblem::NotTls,
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied,
        ) => TlsProblem::ClientCertificate(words),
        _ => TlsProblem::Other(words),
    }
}
