//! PostgreSQL's messages, as far as a login has any.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

/// The longest message that is read; a login's are some hundred bytes.
const LONGEST: usize = 64 * 1024;
/// Protocol 3.0.
const VERSION: i32 = 196_608;

/// A connection, secured or not.
pub(super) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// What the server says.
pub(super) enum Answer {
    /// Prove yourself by one of these mechanisms.
    Sasl(Vec<String>),
    /// SCRAM's second message.
    SaslContinue(String),
    /// SCRAM's last message.
    SaslFinal(String),
    /// Prove yourself in a way that we do not.
    OtherAuthentication(&'static str),
    /// The proof is accepted.
    Accepted,
    /// Something else: a notice, a setting.
    Told,
    /// Logged in.
    Ready,
    /// An error, by its SQLSTATE.
    Refused(String),
}

/// The messages of one connection.
pub(super) struct Connection(Box<dyn Stream>);

impl Connection {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self(stream)
    }

    /// Who wants in, and where.
    pub(super) fn start_up(&mut self, user: &str, database: &str) -> io::Result<()> {
        let mut body = VERSION.to_be_bytes().to_vec();
        for text in [
            "user",
            user,
            "database",
            database,
            "application_name",
            "dbt-lease",
        ] {
            if text.contains('\0') {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            body.extend(text.bytes());
            body.push(0);
        }
        body.push(0);
        self.send(None, &body)
    }

    pub(super) fn sasl_first(&mut self, mechanism: &str, message: &str) -> io::Result<()> {
        let mut body = mechanism.as_bytes().to_vec();
        body.push(0);
        body.extend(length_of(message.len())?);
        body.extend(message.bytes());
        self.send(Some(b'p'), &body)
    }

    pub(super) fn sasl_final(&mut self, message: &str) -> io::Result<()> {
        self.send(Some(b'p'), message.as_bytes())
    }

    /// Says good-bye; whether it is heard does not matter.
    pub(super) fn leave(&mut self) {
        let _ = self.send(Some(b'X'), &[]);
    }

    pub(super) fn answer(&mut self) -> io::Result<Answer> {
        let mut head = [0; 5];
        self.0.read_exact(&mut head)?;
        let length = i32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let length = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_sub(4))
            .filter(|length| *length <= LONGEST)
            .ok_or_else(not_postgres)?;
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(match head[0] {
            b'R' => authentication(&body)?,
            b'E' => Answer::Refused(sqlstate(&body)?),
            b'Z' => Answer::Ready,
            b'N' | b'S' | b'K' | b'v' => Answer::Told,
            _ => return Err(not_postgres()),
        })
    }

    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> io::Result<()> {
        let mut message = Zeroizing::new(Vec::with_capacity(body.len() + 5));
        message.extend(kind);
        message.extend(length_of(body.len() + 4)?);
        message.extend(body);
        self.0.write_all(&message)?;
        self.0.flush()
    }
}

fn length_of(length: usize) -> io::Result<[u8; 4]> {
    i32::try_from(length)
        .map(i32::to_be_bytes)
        .map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn authentication(body: &[u8]) -> io::Result<Answer> {
    let (code, rest) = body.split_first_chunk::<4>().ok_or_else(not_postgres)?;
    let text = || {
        std::str::from_utf8(rest)
            .map(str::to_owned)
            .map_err(|_| not_postgres())
    };
    Ok(match i32::from_be_bytes(*code) {
        0 => Answer::Accepted,
        3 => Answer::OtherAuthentication("the password in clear"),
        5 => Answer::OtherAuthentication("an MD5 hash of the password"),
        7..=9 => Answer::OtherAuthentication("a Kerberos ticket"),
        10 => Answer::Sasl(
            text()?
                .split('\0')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        ),
        11 => Answer::SaslContinue(text()?),
        12 => Answer::SaslFinal(text()?),
        _ => Answer::OtherAuthentication("a proof of a kind that is not known here"),
    })
}

/// The field `C` of an error. The server's words are not shown: they need not be about us.
fn sqlstate(body: &[u8]) -> io::Result<String> {
    body.split(|byte| *byte == 0)
        .filter_map(|field| field.split_first())
        .find(|(kind, _)| **kind == b'C')
        .map(|(_, code)| code)
        .filter(|code| code.len() == 5 && code.iter().all(u8::is_ascii_alphanumeric))
        .map(|code| String::from_utf8_lossy(code).into_owned())
        .ok_or_else(not_postgres)
}

pub(super) fn not_postgres() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what answers there does not speak PostgreSQL's protocol",
    )
}
