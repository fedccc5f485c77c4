//! `status` and `end`: asking the janitors of this machine's living sessions.
#![forbid(unsafe_code)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::protocol::{About, Proof};
use super::system;

/// The socket's name in a session directory.
pub(super) const SOCKET: &str = "janitor";
/// A janitor answers in microseconds; one that is stopped never does.
const PATIENCE: Duration = Duration::from_secs(2);
/// INT, TERM and KILL take 10 s at most, giving back 30 s.
const END_PATIENCE: Duration = Duration::from_secs(45);
/// The longest answer.
const ANSWER: u64 = 1 << 16;

/// What is asked.
#[derive(Serialize, Deserialize)]
pub(super) enum Question {
    /// Who are you?
    Status,
    /// End, and say how it went.
    End,
}

/// What is answered. No secret and no lease id.
#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    /// To `Status`.
    Living {
        about: About,
        lease_ends: Option<SystemTime>,
    },
    /// To `End`, once all is given back.
    Ended(Proof),
}

/// A living session.
#[derive(Debug)]
pub struct Living {
    /// Who it is.
    pub about: About,
    /// When the first of its leases ends, unless it is renewed; none where nothing is lent under a lease.
    pub lease_ends: Option<SystemTime>,
    directory: PathBuf,
}

impl Living {
    /// Ends the session and waits until all is given back.
    pub fn end(&self) -> io::Result<Proof> {
        match ask(&self.directory, &Question::End, END_PATIENCE)? {
            Answer::Ended(proof) => Ok(proof),
            Answer::Living { .. } => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Asks the session whose directory this is.
///
/// # Errors
/// `NotFound` where it has no socket: it has just begun, or it is none that lends.
pub fn living(directory: &Path) -> io::Result<Living> {
    match ask(directory, &Question::Status, PATIENCE)? {
        Answer::Living { about, lease_ends } => Ok(Living {
            about,
            lease_ends,
            directory: directory.to_owned(),
        }),
        Answer::Ended(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn ask(directory: &Path, question: &Question, patience: Duration) -> io::Result<Answer> {
    let open = std::fs::File::open(directory)?;
    let mut connection = UnixStream::connect(system::short_path(open.as_fd(), directory, SOCKET))?;
    if !system::is_ours(&connection) {
        return Err(io::Error::other("its socket belongs to another user"));
    }
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    connection.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(connection.take(ANSWER)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&answer)?)
}
