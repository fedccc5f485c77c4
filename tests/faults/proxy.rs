//! A way to the server that can be cut, that can hold one answer back, and that learns what was lent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// What the answers held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learned {
    pub(crate) accessor: Option<String>,
    pub(crate) lease: Option<String>,
    pub(crate) user: Option<String>,
}

pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    listener: Mutex<Option<TcpListener>>,
}

struct Shared {
    server: u16,
    is_gone: AtomicBool,
    /// The end of a path, and the pipes at which its answer waits.
    hold: Mutex<Option<(&'static str, PathBuf)>>,
    learned: Mutex<Learned>,
    clients: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// To the server at this address, `http://127.0.0.1:PORT`.
    pub(crate) fn to(address: &str) -> Self {
        let server = address
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let shared = Arc::new(Shared {
            server: server.expect("a port"),
            is_gone: AtomicBool::new(false),
            hold: Mutex::new(None),
            learned: Mutex::default(),
            clients: Mutex::default(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let proxy = Self {
            port,
            shared,
            listener: Mutex::new(None),
        };
        proxy.listen(listener);
        proxy
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Holds the answer to the first request whose path ends so, at these pipes.
    pub(crate) fn hold(&self, path: &'static str, pipes: PathBuf) {
        *locked(&self.shared.hold) = Some((path, pipes));
    }

    /// The server is gone: nobody listens, and no connection is left.
    pub(crate) fn cut(&self) {
        self.shared.is_gone.store(true, Ordering::SeqCst);
        if let Some(listener) = locked(&self.listener).take() {
            // Wakes the thread that accepts.
            let _ =
                nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        }
        for client in locked(&self.shared.clients).drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// The server is there again.
    pub(crate) fn mend(&self) {
        self.shared.is_gone.store(false, Ordering::SeqCst);
        if locked(&self.listener).is_none() {
            self.listen(TcpListener::bind(("127.0.0.1", self.port)).expect("the port of before"));
        }
    }

    pub(crate) fn learned(&self) -> Learned {
        locked(&self.shared.learned).clone()
    }

    /// Puts back what was learned before.
    pub(crate) fn relearn(&self, learned: Learned) {
        *locked(&self.shared.learned) = learned;
    }

    fn listen(&self, listener: TcpListener) {
        let accepting = listener.try_clone().expect("a duplicate");
        *locked(&self.listener) = Some(listener);
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            while let Ok((client, _)) = accepting.accept() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.serve(client));
            }
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Shared {
    /// One client's requests, one after the other. Whatever goes wrong ends the connection, as a server's end would.
    fn serve(&self, client: TcpStream) -> Option<()> {
        let mut server = TcpStream::connect(("127.0.0.1", self.server)).ok()?;
        locked(&self.clients).push(client.try_clone().ok()?);
        let mut answers = BufReader::new(server.try_clone().ok()?);
        let mut requests = BufReader::new(client.try_clone().ok()?);
        let mut client = client;
        loop {
            let request = Message::read(&mut requests)?;
            if self.is_gone.load(Ordering::SeqCst) {
                return None;
            }
            let path = request.raw.split(|byte| *byte == b' ').nth(1)?;
            let path = String::from_utf8_lossy(path).into_owned();
            server.write_all(&request.raw).ok()?;
            let answer = Message::read(&mut answers)?;
            self.learn(&answer.body);
            let held = locked(&self.hold).take_if(|(end, _)| path.ends_with(*end));
            if let Some((_, pipes)) = held {
                std::fs::write(pipes.join("reached"), b".").ok()?;
                let mut go = std::fs::File::open(pipes.join("go")).ok()?;
                go.read_exact(&mut [0]).ok()?;
            }
            if self.is_gone.load(Ordering::SeqCst) {
                let _ = client.shutdown(Shutdown::Both);
                return None;
            }
            client.write_all(&answer.raw).ok()?;
        }
    }

    fn learn(&self, body: &[u8]) {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return;
        };
        let text = |value: &Value| {
            value
                .as_str()
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let mut learned = locked(&self.learned);
        learned.accessor = text(&body["auth"]["accessor"]).or(learned.accessor.take());
        learned.lease = text(&body["lease_id"]).or(learned.lease.take());
        learned.user = text(&body["data"]["username"]).or(learned.user.take());
    }
}

/// A request or an answer.
struct Message {
    raw: Vec<u8>,
    body: Vec<u8>,
}

impl Message {
    fn read(from: &mut impl BufRead) -> Option<Self> {
        let mut raw = Vec::new();
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = line(from, &mut raw)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
            chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        let mut body = Vec::new();
        loop {
            if chunked {
                length = usize::from_str_radix(&line(from, &mut raw)?, 16).ok()?;
            }
            let mut part = vec![0; length];
            from.read_exact(&mut part).ok()?;
            raw.extend(&part);
            body.extend(part);
            if !chunked {
                return Some(Self { raw, body });
            }
            line(from, &mut raw)?;
            if length == 0 {
                return Some(Self { raw, body });
            }
        }
    }
}

/// The next line without its end; `None` where there is none.
fn line(from: &mut impl BufRead, raw: &mut Vec<u8>) -> Option<String> {
    let start = raw.len();
    if from.read_until(b'\n', raw).ok()? == 0 {
        return None;
    }
    Some(String::from_utf8_lossy(&raw[start..]).trim_end().to_owned())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
