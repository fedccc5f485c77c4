//! A failure as a user sees it: what happened, what to do, and a stable word for JSON.
#![forbid(unsafe_code)]

use std::fmt;

use crate::bridge::BridgeError;
use crate::config::ConfigError;
use crate::dbt::DbtError;
use crate::delivery::DeliveryError;
use crate::delivery::client::ClientError;
use crate::generate::GenerateError;
use crate::init::InitError;
use crate::place::Spot;
use crate::plan::PlanError;
use crate::record::audit::RecordError;
use crate::render::RenderError;
use crate::supervise::child::StartError;
use crate::supervise::janitor::handle::JanitorError;
use crate::trust::TrustError;
use crate::vault::error::VaultError;

/// Why a subcommand gave up.
#[derive(Debug)]
pub(crate) struct Failure {
    /// A stable word.
    pub(crate) kind: &'static str,
    /// What was wanted, what happened, where.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<String>,
    /// Where it points to.
    pub(crate) spots: Vec<Spot>,
    /// The code of `exec`.
    pub(crate) code: u8,
}

impl Failure {
    /// A failure of cli/ itself.
    pub(crate) fn new(kind: &'static str, message: impl fmt::Display, hint: Option<&str>) -> Self {
        Self {
            kind,
            message: message.to_string(),
            hint: hint.map(str::to_owned),
            spots: Vec::new(),
            code: super::arguments::FAILED_BEFORE_THE_COMMAND,
        }
    }

    /// Our own code panicked, and said so.
    pub(crate) fn panicked() -> Self {
        let message = "dbt-lease has a bug (see above); please report it";
        Self::new("bug", message, None)
    }

    /// The message without the place that the picture below it says again.
    pub(crate) fn headline(&self) -> &str {
        let main = self.spots.iter().find(|spot| spot.is_main);
        main.and_then(|spot| self.message.strip_prefix(&format!("{}: ", spot.at)))
            .unwrap_or(&self.message)
    }
}

macro_rules! from_layer {
    ($($error:ty),+; pointing: $($pointing:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error.kind(), &error, error.hint().as_deref())
            }
        })+
        $(impl From<$pointing> for Failure {
            fn from(error: $pointing) -> Self {
                Self {
                    spots: error.spots(),
                    ..Self::new(error.kind(), &error, error.hint().as_deref())
                }
            }
        })+
    };
}

from_layer!(
    ClientError, DeliveryError, GenerateError, InitError, JanitorError, PlanError, RecordError, TrustError, VaultError;
    pointing: BridgeError, ConfigError, DbtError, RenderError
);

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let (kind, code) = match error {
            StartError::NotFound(_) => ("not_found", super::arguments::NOT_FOUND),
            // No descriptor, no process, no memory: that is no word about the program.
            StartError::NotExecutable { ref cause, .. } if is_a_shortage(cause) => {
                ("start", super::arguments::FAILED_BEFORE_THE_COMMAND)
            }
            StartError::NotExecutable { .. } => {
                ("not_executable", super::arguments::NOT_EXECUTABLE)
            }
        };
        Self {
            code,
            ..Self::new(kind, error, None)
        }
    }
}

fn is_a_shortage(cause: &std::io::Error) -> bool {
    use nix::errno::Errno;
    let errno = cause.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::EAGAIN | Errno::ENOMEM)
    )
}
