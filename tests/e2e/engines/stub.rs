//! A stub of Vault, for the engines that OpenBao does not have: it answers each path as the engine's own source says, and keeps what it
//! was asked. Logins and revocations are answered as Vault's core does.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

/// Path → what it answers.
type Answers = BTreeMap<String, Value>;

/// The running stub.
pub(crate) struct VaultStub {
    address: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl VaultStub {
    /// A stub whose engines answer so.
    pub(crate) fn start(answers: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers: Arc<Answers> = Arc::new(
            answers
                .into_iter()
                .map(|(path, answer)| (path.to_owned(), answer))
                .collect(),
        );
        let told = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answers, told) = (Arc::clone(&answers), Arc::clone(&told));
                std::thread::spawn(move || serve(&stream, &answers, &told));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The requests since the last call: `METHOD path?query` and body.
    pub(crate) fn requests(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(stream: &TcpStream, answers: &Answers, seen: &Mutex<Vec<(String, Value)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let target = target.strip_prefix("/v1/").unwrap_or(target).to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            let header = header.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let (status, answer) = answer(&method, &target, answers);
        seen.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((format!("{method} {target}"), body));
        let text = if answer.is_null() {
            String::new()
        } else {
            answer.to_string()
        };
        let reply = format!(
            "HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        if (&mut &*stream).write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(method: &str, target: &str, answers: &Answers) -> (u16, Value) {
    let path = target.split('?').next().unwrap_or(target);
    match (method, path) {
        ("POST", "auth/approle/login") => (
            200,
            json!({"request_id": "login", "auth": {
                "client_token": "hvs.stub", "accessor": "accessor", "policies": ["dbt"], "lease_duration": 3600,
                "renewable": true, "token_type": "service", "mfa_requirement": null, "metadata": {}
            }}),
        ),
        ("PUT", "sys/leases/revoke") | ("POST", "auth/token/revoke-self") => (204, Value::Null),
        _ => match answers.get(path) {
            Some(answer) => (200, answer.clone()),
            None => (404, json!({"errors": []})),
        },
    }
}

/// An answer with a lease.
pub(crate) fn leased(path: &str, seconds: u32, renewable: bool, data: Value) -> Value {
    json!({"request_id": "read", "lease_id": format!("{path}/LeaseOfTheStub"), "lease_duration": seconds, "renewable": renewable,
           "data": data, "warnings": null})
}

/// An answer without one.
pub(crate) fn plain(data: Value) -> Value {
    json!({"request_id": "read", "lease_id": "", "lease_duration": 0, "renewable": false, "data": data, "warnings": null})
}
