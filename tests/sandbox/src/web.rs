//! A small HTTP server whose answers a test writes: for what stands beside OpenBao and cannot be had here (a CI system's token endpoint, a
//! cloud's metadata server, a Kubernetes API). It keeps what it was asked.
#![forbid(unsafe_code)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// `GET`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Received {
    /// The value of a header; empty where it was not sent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// The value of a parameter of the query, percent-decoded; empty where there is none.
    pub fn parameter(&self, name: &str) -> String {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(known, _)| *known == name)
            .map(|(_, value)| decoded(value))
            .unwrap_or_default()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Lines of the head, each with its line break.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Reply {
    /// A body with a status.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            head: String::new(),
            body: body.into(),
        }
    }

    /// A 200 with JSON.
    pub fn json(value: &serde_json::Value) -> Self {
        Self {
            head: "Content-Type: application/json\r\n".to_owned(),
            ..Self::new(200, value.to_string())
        }
    }
}

type Handler = dyn Fn(&Received) -> Reply + Send + Sync;

/// A running server.
#[derive(Debug)]
pub struct Web {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Web {
    /// A server on 127.0.0.1 that answers so. It lives as long as the test's process.
    ///
    /// # Panics
    /// Where loopback has no free port.
    pub fn start(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        Self::on(listener, answer)
    }

    /// A server on a listener that is there already, so that the answers can name its port.
    ///
    /// # Panics
    /// Where the listener has no address.
    pub fn on(
        listener: TcpListener,
        answer: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let port = listener
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer): (_, Arc<Handler>) = (Arc::clone(&received), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                thread::spawn(move || serve(&stream, &kept, &*answer));
            }
        });
        Self { port, received }
    }

    /// `http://127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it was asked so far.
    ///
    /// # Panics
    /// Where another test panicked in it.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no test holds it").clone()
    }
}

fn serve(stream: &TcpStream, kept: &Mutex<Vec<Received>>, answer: &Handler) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        let reply = answer(&request);
        kept.lock().expect("no test holds it").push(request);
        let text = format!(
            "HTTP/1.1 {} Answer\r\nContent-Length: {}\r\n{}\r\n{}",
            reply.status,
            reply.body.len(),
            reply.head,
            reply.body
        );
        if writer.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Received> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let mut request = Received {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        ..Received::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        request
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'%'));
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
