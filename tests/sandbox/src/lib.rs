//! The real neighbours of dbt-lease, for its tests and its demo: OpenBao, PostgreSQL, dbt.
//!
//! | module | gives |
//! | --- | --- |
//! | [`mod@venv`] | dbt, the `bao` server and, where the machine has none, PostgreSQL: a cached Python environment |
//! | [`watchdog`] | one helper process that ends servers and removes directories, however this process ends |
//! | [`openbao`] | one OpenBao server: http, https, unix socket, or a raft cluster; its API and its audit log |
//! | [`mod@line`] | a line to a server, or a proxy, that delays, resets and counts |
//! | [`postgres`] | one PostgreSQL cluster a process, one database a [`World`] |
//! | [`world`] | both, set up for dbt: roles, policies, identities; and what a test asks afterwards |
//! | [`program`] | the small programs of this crate that tests run as children |
//! | [`mod@web`], [`issuer`] | an HTTP server whose answers a test writes; an issuer of identity tokens on it |
//! | [`provider`] | a certified OpenID provider, and a person with a browser |
//! | [`chromium`] | a real browser, where the machine has one |
//! | [`directory`] | OpenLDAP, where the machine has it |
//! | [`aws`] | botocore's signer, moto's STS and IAM |
//! | [`home`] | a hermetic place to run a binary in: cleared environment, own HOME, a copy of the dbt project |
//!
//! A constructor that cannot do its work panics with a text that says what failed and what to do: a test has no better
//! answer, and the demo prints it.

pub mod aws;
mod certificates;
pub mod chromium;
pub mod directory;
mod dispositions;
pub mod home;
mod http;
pub mod issuer;
pub mod line;
pub mod openbao;
pub mod postgres;
pub mod program;
pub mod provider;
pub mod validators;
pub mod venv;
pub mod watchdog;
pub mod web;
pub mod world;

pub use certificates::certificates_at;
pub use home::Home;
pub use issuer::Issuer;
pub use line::Line;
pub use openbao::OpenBao;
pub use postgres::Postgres;
pub use validators::validators;
pub use venv::{Venv, venv};
pub use world::World;

use std::io::Write as _;
use std::path::PathBuf;

/// The directory `fixtures/` of this source tree.
pub fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures"))
}

/// Writes a line of progress to stderr, past libtest's capture: the first `cargo test` is not silent for half a minute.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "sandbox: {line}");
}

/// A port of 127.0.0.1 that was free a moment ago.
///
/// # Panics
/// Where there is none.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .unwrap_or_else(|error| panic!("no free port: {error}"))
        .port()
}

/// A random lower-case hexadecimal text of `2 * bytes` digits, for passwords and tokens of throw-away servers.
fn random_hex(bytes: usize) -> String {
    use std::fmt::Write as _;
    use std::io::Read as _;

    let mut random = vec![0; bytes];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .expect("/dev/urandom can be read");
    random.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
