//! The child and the signals that pass between it and the world.

pub mod child;
pub mod inherited;
pub mod janitor;
pub mod renewal;
pub mod signals;
