//! A line to a server, for tests of what lies between: it delays, resets, counts, and asks the test before it carries a message.
//!
//! Either it leads to one port of this machine, or it is a proxy (`CONNECT`, and plain http by absolute addresses), for which every
//! name is this machine.
#![forbid(unsafe_code)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

/// A message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which connection, from 1.
    pub connection: usize,
    /// Which round trip of the whole line, from 1.
    pub turn: usize,
    /// Whether it is the client's; else the server's answer.
    pub asks: bool,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried on.
    Carried,
    /// Both ends see the connection reset.
    Reset,
}

type Judge = Box<dyn Fn(Message) -> Fate + Send + Sync>;

/// A line that is not up yet.
pub struct Plan {
    target: Option<u16>,
    delay: Duration,
    judge: Judge,
}

impl Plan {
    /// Each message takes so long.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Asks this before each message's first part is carried; it may take its time.
    pub fn judge(mut self, judge: impl Fn(Message) -> Fate + Send + Sync + 'static) -> Self {
        self.judge = Box::new(judge);
        self
    }

    /// The line is up.
    ///
    /// # Panics
    /// Where there is no free port.
    pub fn start(self) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket").port();
        let shared = Arc::new(Shared {
            plan: self,
            closed: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            turns: AtomicUsize::new(0),
            asked_for: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.closed.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(&stream));
            }
        });
        Line { port, shared }
    }
}

/// A line; it takes no more connections when this handle is dropped.
pub struct Line {
    port: u16,
    shared: Arc<Shared>,
}

impl Line {
    /// A line to that port.
    pub fn to(port: u16) -> Plan {
        Plan {
            target: Some(port),
            delay: Duration::ZERO,
            judge: Box::new(|_| Fate::Carried),
        }
    }

    /// A proxy.
    pub fn proxy() -> Plan {
        Plan {
            target: None,
            ..Self::to(0)
        }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections it took.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many round trips it saw: a client's message after a server's, or the first.
    pub fn turns(&self) -> usize {
        self.shared.turns.load(Ordering::SeqCst)
    }

    /// What a proxy was asked for, `HOST:PORT`.
    pub fn asked_for(&self) -> Vec<String> {
        let asked_for = self.shared.asked_for.lock();
        asked_for.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // So that the thread that accepts looks.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

struct Shared {
    plan: Plan,
    closed: AtomicBool,
    connections: AtomicUsize,
    turns: AtomicUsize,
    asked_for: Mutex<Vec<String>>,
}

/// One connection's two ends, and whose message was last.
struct Pair {
    number: usize,
    client: TcpStream,
    server: TcpStream,
    client_spoke: Mutex<bool>,
    turn: AtomicUsize,
}

impl Shared {
    fn serve(&self, client: &TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let _ = client.set_nodelay(true);
        let Some((port, first)) = self.destination(client) else {
            return;
        };
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
            return;
        };
        let _ = server.set_nodelay(true);
        let pair = Pair {
            number,
            client: client.try_clone().expect("a descriptor"),
            server,
            client_spoke: Mutex::new(false),
            turn: AtomicUsize::new(0),
        };
        thread::scope(|scope| {
            scope.spawn(|| self.carry(&pair, false, &[]));
            self.carry(&pair, true, &first);
        });
    }

    /// Where a connection leads, and what the client sent already.
    fn destination(&self, mut client: &TcpStream) -> Option<(u16, Vec<u8>)> {
        if let Some(port) = self.plan.target {
            return Some((port, Vec::new()));
        }
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            client.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let text = String::from_utf8(head).ok()?;
        let mut words = text.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let asked_for = target
            .strip_prefix("http://")
            .map_or(target, |rest| rest.split('/').next().unwrap_or(rest))
            .to_owned();
        let port = asked_for.rsplit(':').next()?.parse().ok()?;
        self.asked_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(asked_for);
        if method == "CONNECT" {
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
            return Some((port, Vec::new()));
        }
        Some((port, text.into_bytes()))
    }

    fn carry(&self, pair: &Pair, from_client: bool, first: &[u8]) {
        let (mut from, mut to) = if from_client {
            (&pair.client, &pair.server)
        } else {
            (&pair.server, &pair.client)
        };
        let mut chunk = first.to_vec();
        let mut buffer = [0; 65536];
        loop {
            if !chunk.is_empty() {
                if self.judged(pair, from_client) == Fate::Reset {
                    for stream in [&pair.client, &pair.server] {
                        // Closing a lingering socket with no time to linger sends RST.
                        let at_once = linger {
                            l_onoff: 1,
                            l_linger: 0,
                        };
                        let _ = setsockopt(stream, sockopt::Linger, &at_once);
                        let _ = stream.shutdown(Shutdown::Read);
                    }
                    return;
                }
                thread::sleep(self.plan.delay);
                if to.write_all(&chunk).is_err() {
                    break;
                }
            }
            match from.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => chunk = buffer[..count].to_vec(),
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }

    fn judged(&self, pair: &Pair, from_client: bool) -> Fate {
        let begins = {
            let mut client_spoke = pair
                .client_spoke
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let begins = *client_spoke != from_client;
            *client_spoke = from_client;
            begins
        };
        if !begins {
            return Fate::Carried;
        }
        if from_client {
            let turn = self.turns.fetch_add(1, Ordering::SeqCst) + 1;
            pair.turn.store(turn, Ordering::SeqCst);
        }
        (self.plan.judge)(Message {
            connection: pair.number,
            turn: pair.turn.load(Ordering::SeqCst),
            asks: from_client,
        })
    }
}
