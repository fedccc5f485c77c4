//! The child and the signals that pass between it and the world.
//!
//! | file | holds |
//! | --- | --- |
//! | `inherited.rs` | what we were started with, for the child to find it unchanged |
//! | `signals.rs` | the signals that reach us, with who sent them |
//! | `course.rs` | what the child gets of a signal, and what follows |
//! | `child.rs` | starting the child, and waiting for it |
//! | `footprint.rs` | giving back what waiting does not need |
//! | `janitor/` | the process that cleans up when this one is killed |
//! | `privacy.rs` | keeping our memory from other processes |
//! | `renewal.rs` | when a lease or a token is renewed |

pub mod child;
pub mod course;
pub mod footprint;
pub mod inherited;
pub mod janitor;
pub mod privacy;
pub mod renewal;
pub mod signals;
