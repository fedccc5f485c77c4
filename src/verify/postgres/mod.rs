//! One attempt to log in to PostgreSQL, over its own protocol (version 3; the manual's chapters "Frontend/Backend Protocol" and "SASL
//! Authentication").
//!
//! Written here, since a driver is twenty crates for four messages: PBKDF2, HMAC and SHA-256 are ring's, TLS is rustls's, both in the
//! tree anyway; `dbt debug` takes seconds and does not tell a refused login from an unreachable host, and psql is seldom there. The
//! password itself never crosses the wire: SCRAM-SHA-256 proves it, and a server that wants it in another way is not answered.
#![forbid(unsafe_code)]

mod scram;
mod tls;
mod wire;

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::secret::Secret;
use scram::Scram;
use wire::{Answer, Connection, Stream};

pub(super) use tls::Sslmode;

/// Where to log in, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// A name, an address, or the directory of a socket.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: Secret,
    pub(super) sslmode: Sslmode,
    pub(super) sslrootcert: Option<PathBuf>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The server let it in.
    In,
    /// The server refused the credential: its SQLSTATE, of class 28.
    Refused(String),
    /// Neither is known.
    Unknown(String),
}

/// Tries once, and leaves at once where it is let in.
pub(super) fn attempt(login: &Login, within: Duration) -> Outcome {
    let end = Instant::now() + within;
    tried(login, end).unwrap_or_else(|error| {
        let text = error.to_string();
        let words = text.split(" (os error").next().unwrap_or_default();
        Outcome::Unknown(format!("{}:{}: {words}", login.host, login.port))
    })
}

fn tried(login: &Login, end: Instant) -> io::Result<Outcome> {
    let mut connection = Connection::new(connected(login, end)?);
    connection.start_up(&login.user, &login.database)?;
    let mut scram = None;
    loop {
        if Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match connection.answer()? {
            Answer::Sasl(mechanisms) => {
                if !mechanisms.iter().any(|name| name == scram::MECHANISM) {
                    return Ok(unknown(
                        "the server asks for a SASL mechanism other than SCRAM-SHA-256",
                    ));
                }
                let begun = Scram::begin()?;
                connection.sasl_first(scram::MECHANISM, &begun.client_first())?;
                scram = Some(begun);
            }
            Answer::SaslContinue(server_first) => {
                let scram = scram.as_mut().ok_or(io::ErrorKind::InvalidData)?;
                let last = scram.client_final(&login.password, &server_first)?;
                connection.sasl_final(&last)?;
            }
            Answer::SaslFinal(server_final) => {
                let scram = scram.as_ref().ok_or(io::ErrorKind::InvalidData)?;
                if !scram.is_the_server(&server_final) {
                    return Ok(unknown(
                        "what answers there does not know the password itself: it is not the database",
                    ));
                }
            }
            Answer::OtherAuthentication(what) => {
                return Ok(unknown(&format!(
                    "the server asks for {what}, which is not answered, since the password would cross the wire"
                )));
            }
            // The server may still refuse after it has accepted the password: a role that is not permitted to log in.
            Answer::Accepted | Answer::Told => {}
            Answer::Ready => {
                connection.leave();
                return Ok(Outcome::In);
            }
            Answer::Refused(code) if code.starts_with("28") => return Ok(Outcome::Refused(code)),
            Answer::Refused(code) => {
                return Ok(unknown(&format!(
                    "the server answered with SQLSTATE {code}"
                )));
            }
        }
    }
}

fn unknown(why: &str) -> Outcome {
    Outcome::Unknown(why.to_owned())
}

fn connected(login: &Login, end: Instant) -> io::Result<Box<dyn Stream>> {
    let left = || {
        let left = end.saturating_duration_since(Instant::now());
        // Zero would mean no bound.
        left.max(Duration::from_millis(1))
    };
    if login.host.starts_with('/') {
        let socket = UnixStream::connect(format!("{}/.s.PGSQL.{}", login.host, login.port))?;
        socket.set_read_timeout(Some(left()))?;
        socket.set_write_timeout(Some(left()))?;
        return Ok(Box::new(socket));
    }
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (login.host.as_str(), login.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left()) {
            Ok(stream) => {
                stream.set_read_timeout(Some(left()))?;
                stream.set_write_timeout(Some(left()))?;
                return tls::secured(stream, login);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
