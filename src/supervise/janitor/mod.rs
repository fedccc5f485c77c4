//! The janitor: a small process beside each session that cleans up when the session process cannot, since it was killed.
//!
//! It is this program again, under another name, with an empty environment, in a session of its own, and does nothing but wait.
//! The session process tells it what it is about to do before it does it; when the session process dies without a last word, the
//! janitor shreds, stops the command, gives everything back to Vault and writes the record's last event. It also answers `status` and
//! `end` on a socket in the session directory.
//!
//! | file | holds |
//! | --- | --- |
//! | `protocol.rs` | what the session process tells |
//! | `handle.rs` | the session process's side: start, tell, start again |
//! | `process.rs` | the janitor's own loop |
//! | `known.rs` | what it was told so far |
//! | `detached.rs` | a session that lives on after its process ended in order |
//! | `cleaning.rs` | what it does when the session process died |
//! | `stopping.rs` | ending the command: INT, TERM, KILL |
//! | `serve.rs`, `ask.rs` | `status` and `end`: the janitor's side, and the asking one |
//! | `system.rs` | system calls that neither std nor nix wraps |

pub mod ask;
pub mod handle;
pub mod protocol;

mod cleaning;
mod detached;
mod known;
mod process;
mod serve;
mod stopping;
mod system;

pub use process::{is_called, run};
