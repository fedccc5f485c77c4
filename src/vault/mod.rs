//! The only module that talks to Vault (or OpenBao; what is said of one holds for both).
//!
//! A plain run makes these requests, on one kept-alive connection, and no other: no health check, no lookup before the
//! work, no question about mounts.
//!
//! | step | request | made by |
//! | --- | --- | --- |
//! | log in | `POST auth/MOUNT/login` (method `token`: `GET auth/token/lookup-self`) | [`auth::login`] |
//! | read | `GET PATH`, or `POST PATH` with data; one a secret | [`secret::read`] |
//! | take back | `PUT sys/leases/revoke`, sync; one a lease | [`take_back::take_back`] |
//! | log out | `POST auth/token/revoke-self`; not for batch tokens, never for the user's own token | [`take_back::take_back`] |
//!
//! What comes on top: a wrapped secret id costs two before the login (`sys/wrapping/lookup`, `sys/wrapping/unwrap`); a
//! revocation in doubt is asked again, then looked up; what Vault asks to retry is retried, `max_retries` times at most.
//!
//! A server's words are somebody else's text: they are shown on one line, escaped and bounded (`words.rs`), less any
//! secret and lease id that we know. Its answers are bounded in size and time ([`client`]).
#![forbid(unsafe_code)]

pub mod auth;
pub mod client;
pub mod error;
pub mod fields;
pub mod lease;
pub mod look;
pub mod product;
pub mod renew;
pub mod secret;
pub mod take_back;

mod answer;
mod call;
mod hint;
mod pace;
mod reason;
mod route;
mod srv;
mod tls;
mod transport;
mod ways;
mod words;
mod wrapping;

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod stub;
