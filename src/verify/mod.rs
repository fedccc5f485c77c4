//! What a run left behind, looked at after it: our own secrets in the files that dbt wrote, and whether a revoked credential still
//! logs in.
//!
//! | file | holds |
//! | --- | --- |
//! | `forms.rs` | the values that are looked for, in every form in which they are written |
//! | `search.rs` | the search through what was written since the run began |
//! | `login.rs` | which login is tried: the credential, and where the output leads |
//! | `postgres/` | one attempt to log in to PostgreSQL, and no query |
#![forbid(unsafe_code)]

pub mod forms;
pub mod login;
pub mod search;

mod postgres;
