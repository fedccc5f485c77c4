//! The only module that writes secrets: a private directory for dbt, and the child's environment.
#![forbid(unsafe_code)]

pub mod client;
pub mod environ;
#[cfg(target_os = "linux")]
pub mod gate;
#[cfg(not(target_os = "linux"))]
#[path = "no_gate.rs"]
pub mod gate;
pub mod private;
pub mod session;
pub mod shred;
pub mod sweep;

use std::io;
use std::path::PathBuf;

/// Why the private directory could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// No candidate could take it.
    #[error("no place for the private profiles directory: {}", tried(.0))]
    NoPlace(Vec<(PathBuf, String)>),
    /// `.user.yml`, TLS files and the like: a name that is not one path component.
    #[error("`{0}` cannot be a file name")]
    FileName(String),
    /// The contents could not be made for a candidate's paths; no other candidate would do better.
    #[error(transparent)]
    Contents(#[from] crate::render::RenderError),
}

fn tried(places: &[(PathBuf, String)]) -> String {
    places
        .iter()
        .map(|(path, why)| format!("{}: {why}", path.display()))
        .collect::<Vec<_>>()
        .join("; ")
}

impl DeliveryError {
    /// A stable word for JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoPlace(_) => "no_private_directory",
            Self::FileName(_) => "file_name",
            Self::Contents(error) => error.kind(),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoPlace(_) => Some(
                "give a directory of your own, mode 0700, best on a tmpfs: `XDG_RUNTIME_DIR=/path/to/dir dbt-lease …`; in a container with a \
                 read-only root mount an `emptyDir` with `medium: Memory`"
                    .to_owned(),
            ),
            Self::FileName(_) => None,
            Self::Contents(error) => error.hint(),
        }
    }
}

/// Why one candidate does not do, in words.
fn words(error: &io::Error) -> String {
    // "No such file or directory (os error 2)" → the words alone.
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .to_lowercase()
}
