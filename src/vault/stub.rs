//! A stub of a server, for faults that a real OpenBao cannot be made to show: rate limits, stale connections, endless
//! answers, escapes in its words, redirects. Everything else is tested against the real one (tests/vault).
#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use super::auth::{Token, TokenKind};
use super::client::Client;
use crate::config::{Operation, SecretRequest, Server, Shape};
use crate::secret::Secret;

/// What the stub does with a request.
pub(crate) enum Step {
    /// Answers, and keeps the connection.
    Answer(String),
    /// Answers, and closes the connection without a word, as a load balancer does with an idle one.
    AnswerThenClose(String),
    /// Closes the connection instead of an answer.
    Close,
    /// Begins an answer, and never ends it.
    Hang,
    /// Sends a body without an end.
    Endless,
}

/// A running stub.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// A stub that takes these steps, one a request, whatever connection it comes on.
    pub(crate) fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let steps = Arc::new(Mutex::new(steps.into_iter().collect::<VecDeque<_>>()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, steps) = (Arc::clone(&seen), Arc::clone(&steps));
                thread::spawn(move || serve(&stream, &seen, &steps));
            }
        });
        Self { address, requests }
    }

    /// The requests so far: head and body of each.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no test holds it").clone()
    }

    /// The settings of a client for it: 5 s, no retries.
    pub(crate) fn server(&self) -> Server {
        Server {
            timeout: Duration::from_secs(5),
            max_retries: 0,
            ..Server::at(format!("http://{}", self.address))
        }
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Vec<String>>, steps: &Mutex<VecDeque<Step>>) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        seen.lock().expect("no test holds it").push(request);
        // A request beyond the script is a fault of the code under test: its client sees a closed connection.
        let step = steps
            .lock()
            .expect("no step panics")
            .pop_front()
            .unwrap_or(Step::Close);
        let sent = match step {
            Step::Answer(text) => writer.write_all(text.as_bytes()),
            Step::AnswerThenClose(text) => {
                let _ = writer.write_all(text.as_bytes());
                return;
            }
            Step::Close => return,
            Step::Hang => {
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
                // Until the client has enough of it.
                let _ = reader.read(&mut [0]);
                return;
            }
            Step::Endless => {
                let _ = writer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                while writer
                    .write_all(format!("400\r\n{}\r\n", "x".repeat(0x400)).as_bytes())
                    .is_ok()
                {}
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn read(reader: &mut impl BufRead) -> Option<String> {
    let mut text = String::new();
    let mut length = 0;
    loop {
        let start = text.len();
        if reader.read_line(&mut text).ok()? == 0 {
            return None;
        }
        let line = text[start..].trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    text.push_str(&String::from_utf8(body).ok()?);
    Some(text)
}

/// An answer with a JSON body, and headers that stand before it.
pub(crate) fn json(code: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {code} Stub\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// A refusal in Vault's form.
pub(crate) fn refusal(code: u16, words: &str) -> String {
    json(
        code,
        "",
        &serde_json::json!({"errors": [words]}).to_string(),
    )
}

/// A 204.
pub(crate) fn no_content() -> String {
    "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
}

/// The answer to a read of credentials.
pub(crate) fn credentials() -> String {
    json(
        200,
        "",
        r#"{"request_id":"q-1","lease_id":"database/creds/dbt-prod/LeaseId123","renewable":true,"lease_duration":900,"data":{"username":"v-dbt","password":"hunter2"},"warnings":null}"#,
    )
}

/// A client that notes its pauses, and makes none.
pub(crate) fn client(server: &Server) -> (Client, Rc<RefCell<Vec<Duration>>>) {
    let pauses = Rc::new(RefCell::new(Vec::new()));
    let noted = Rc::clone(&pauses);
    let client = Client::new(server, "session-1")
        .expect("the settings are right")
        .pausing_with(Box::new(move |time| {
            noted.borrow_mut().push(time);
            Box::pin(std::future::ready(()))
        }));
    (client, pauses)
}

/// A service token.
pub(crate) fn token(own: bool) -> Token {
    Token {
        value: Secret::new("s.token-of-the-session".to_owned()),
        accessor: None,
        policies: Vec::new(),
        issued: SystemTime::now(),
        lifetime: None,
        renewable: true,
        own,
        is_root: false,
        kind: TokenKind::Service,
        identity: Vec::new(),
        made_by: None,
        request_id: None,
        notes: Vec::new(),
    }
}

/// The request for a dynamic secret.
pub(crate) fn warehouse() -> SecretRequest {
    SecretRequest {
        name: "warehouse".to_owned(),
        path: "database/creds/dbt-prod".to_owned(),
        operation: Operation::Read,
        shape: Shape::Plain,
        query: Vec::new(),
        known: None,
    }
}
