//! What is kept of a session when it is over. Sees no secret value.
#![forbid(unsafe_code)]

pub mod again;
pub mod audit;
pub mod back;
pub mod dead;

/// This machine's name, by which a record that several share tells their sessions apart.
pub fn host() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
