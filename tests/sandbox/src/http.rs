//! The smallest HTTP client that OpenBao needs: one request a connection, plain, on loopback.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// A server's answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The JSON body; null where there is none.
    pub body: Value,
}

/// Sends one request. HTTP/1.0, so the answer is neither chunked nor kept alive and ends with the connection.
pub(crate) fn send(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> std::io::Result<Answer> {
    send_as("HTTP/1.0", port, method, path, headers, body)
}

/// The same in another version, for a server that takes no 1.0: it must say how long its answer is.
pub(crate) fn send_as(
    version: &str,
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> std::io::Result<Answer> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut request = format!(
        "{method} {path} {version}\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    request.push_str(&body);
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !is_whole(&answer) {
        match stream.read(&mut part)? {
            0 => break,
            read => answer.extend_from_slice(&part[..read]),
        }
    }
    parse(&answer).ok_or_else(|| std::io::Error::other("not an HTTP answer"))
}

/// Whether an answer is as long as it says of itself; one that says nothing ends with its connection.
fn is_whole(answer: &[u8]) -> bool {
    let whole = || {
        let head = answer.windows(4).position(|end| end == b"\r\n\r\n")?;
        let lines = std::str::from_utf8(&answer[..head]).ok()?;
        let length = lines.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        })?;
        Some(answer.len() >= head + 4 + length)
    };
    whole().unwrap_or(false)
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    })
}
