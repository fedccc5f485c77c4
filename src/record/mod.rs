//! What is kept of a session when it is over. Sees no secret value.
#![forbid(unsafe_code)]

pub mod again;
pub mod audit;
pub mod back;
pub mod dead;
