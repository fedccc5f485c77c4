//! One OpenBao server: the dev server (in memory, unsealed), on free ports, with an audit log that tests read; or a node of a raft
//! cluster, which keeps what it knows when it is killed.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

pub use crate::certificates::Certificates;
use crate::http;
pub use crate::http::Answer;
use crate::venv::venv;
use crate::watchdog::{Program, Running, scratch_directory};

/// The audit log's file, in the server's directory.
const AUDIT: &str = "audit.jsonl";

/// What the https listener asks of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// A certificate is accepted, none is needed.
    Accepted,
    /// Without a certificate of the server's own authority there is no connection.
    Required,
}

/// Which listeners a server has, beside the plain one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    tls: Option<ClientCertificates>,
    unix: bool,
    raft: bool,
}

impl Options {
    /// An https listener, too.
    pub fn tls(mut self, clients: ClientCertificates) -> Self {
        self.tls = Some(clients);
        self
    }

    /// A unix socket, too.
    pub fn unix(mut self) -> Self {
        self.unix = true;
        self
    }

    /// A node that stores on disk, unseals itself, and may be killed, revived and joined.
    pub fn raft(mut self) -> Self {
        self.raft = true;
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    /// Where it does not answer within 30 s, or no free ports are found.
    pub fn start(self) -> OpenBao {
        let mut last = String::new();
        // The dev server listens on the next port too, and between our choice and its bind anybody may take either.
        for _ in 0..10 {
            match OpenBao::try_start(self, None) {
                Ok(server) => return server,
                Err(Failure::PortTaken(words)) => last = words,
                Err(Failure::Other(words)) => panic!("OpenBao did not start: {words}"),
            }
        }
        panic!("OpenBao found no free port in 10 tries: {last}")
    }
}

/// A running OpenBao server; it ends with this handle.
#[derive(Debug)]
pub struct OpenBao {
    /// None while it is killed.
    running: Mutex<Option<Running>>,
    arguments: Vec<String>,
    seal_key: Option<String>,
    directory: PathBuf,
    port: u16,
    tls_port: Option<u16>,
    certificates: Option<Certificates>,
    socket: Option<PathBuf>,
    root_token: String,
    root_accessor: String,
    start_entries: usize,
}

/// One request as the audit log has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `read`, `update`, `list`, …: OpenBao's own words; a login and a revocation are `update`.
    pub operation: String,
    /// The path without `/v1/`.
    pub path: String,
    /// The API's request id.
    pub id: String,
    /// The header X-Dbt-Lease-Session, where it was sent.
    pub session: Option<String>,
    /// The port that the client had: two requests on one connection have the same.
    pub client_port: Option<u64>,
}

enum Failure {
    PortTaken(String),
    Other(String),
}

impl OpenBao {
    /// A server with a plain listener on 127.0.0.1.
    ///
    /// # Panics
    /// Where it does not start; so do [`OpenBao::tls`] and [`Options::start`].
    pub fn start() -> Self {
        Options::default().start()
    }

    /// A server with an https listener too, which accepts client certificates without requiring one.
    pub fn tls() -> Self {
        Options::default().tls(ClientCertificates::Accepted).start()
    }

    /// A server with more listeners.
    pub fn options() -> Options {
        Options::default()
    }

    /// `http://127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `https://localhost:PORT`
    ///
    /// # Panics
    /// Where the server was started without one; so do [`OpenBao::certificates`] and [`OpenBao::unix_address`].
    pub fn tls_address(&self) -> String {
        format!(
            "https://localhost:{}",
            self.tls_port.expect("a server with `tls`")
        )
    }

    /// The authority of the https listener, its certificate, and a client's.
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("a server with `tls`")
    }

    /// `unix:///path`
    pub fn unix_address(&self) -> String {
        format!(
            "unix://{}",
            self.socket
                .as_ref()
                .expect("a server with `unix`")
                .display()
        )
    }

    /// A token that may do everything.
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.running().as_ref().expect("the server runs").pid()
    }

    /// Kills the server's process (SIGKILL). What it kept in memory is lost; a raft node's store is not.
    pub fn kill(&self) {
        if let Some(mut running) = self.running().take() {
            running.end();
        }
    }

    /// Starts a killed raft node again, at the same address, and waits until it answers as the active node.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn revive(&self) {
        self.revive_unready();
        self.wait_until_active();
    }

    /// [`OpenBao::revive`] without waiting.
    ///
    /// # Panics
    /// Where its process cannot be started.
    pub fn revive_unready(&self) {
        let running = start(&self.arguments, &self.directory).expect("it started before");
        *self.running() = Some(running);
    }

    /// A further node of a raft node's cluster; it is a standby then.
    ///
    /// # Panics
    /// Where it does not start or join.
    pub fn join(&self) -> Self {
        let options = Options {
            raft: true,
            ..Options::default()
        };
        for _ in 0..10 {
            match Self::try_start(options, Some(self)) {
                Ok(server) => return server,
                Err(Failure::PortTaken(_)) => {}
                Err(Failure::Other(words)) => panic!("the node did not join: {words}"),
            }
        }
        panic!("no free port in 10 tries")
    }

    /// Whether this node is the cluster's active one; none while it does not answer.
    pub fn is_active(&self) -> Option<bool> {
        let answer = http::send(self.port, "GET", "/v1/sys/health", &[], None).ok()?;
        Some(answer.status == 200)
    }

    /// Waits until this node is the active one.
    ///
    /// # Panics
    /// Where it is not within 60 s.
    pub fn wait_until_active(&self) {
        let started = Instant::now();
        while self.is_active() != Some(true) {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "not active:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where its configuration, log and audit log lie; removed with this handle.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// One request with the root token; `path` stands without `/v1/`. Its answer's body, null where there is none.
    ///
    /// # Panics
    /// Where the server refuses it.
    pub fn api(&self, method: &str, path: &str, body: impl Into<Option<Value>>) -> Value {
        let answer = self.api_as(&self.root_token, method, path, body);
        assert!(
            answer.status < 400,
            "OpenBao refused {method} {path}: {} {}",
            answer.status,
            answer.body
        );
        answer.body
    }

    /// One request with another token (none where it is empty).
    ///
    /// # Panics
    /// Where the server does not answer.
    pub fn api_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: impl Into<Option<Value>>,
    ) -> Answer {
        self.request(method, path, &[("X-Vault-Token", token)], body)
    }

    /// One request with these headers.
    ///
    /// # Panics
    /// Where the server does not answer.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Option<Value>>,
    ) -> Answer {
        http::send(
            self.port,
            method,
            &format!("/v1/{path}"),
            headers,
            body.into().as_ref(),
        )
        .unwrap_or_else(|error| {
            panic!(
                "OpenBao does not answer {method} {path}: {error}\n{}",
                self.log()
            )
        })
    }

    /// The requests since the start, in order, but for those with the root token (the tests' own).
    pub fn requests(&self) -> Vec<Request> {
        self.audit()
            .iter()
            // What the server does to itself at its start.
            .skip(self.start_entries)
            .filter(|entry| entry["type"] == "request")
            .filter(|entry| entry["auth"]["accessor"] != self.root_accessor.as_str())
            .map(|entry| {
                let request = &entry["request"];
                let text = |key: &str| request[key].as_str().unwrap_or_default().to_owned();
                Request {
                    operation: text("operation"),
                    path: text("path"),
                    id: text("id"),
                    session: request["headers"]["x-dbt-lease-session"][0]
                        .as_str()
                        .map(str::to_owned),
                    client_port: request["remote_port"].as_u64(),
                }
            })
            .collect()
    }

    /// Every entry of the audit log, requests and responses.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.audit_file()).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The audit log itself, JSON lines.
    pub fn audit_file(&self) -> PathBuf {
        self.directory.join(AUDIT)
    }

    /// The end of the server's own log.
    pub fn log(&self) -> String {
        let running = self.running();
        running
            .as_ref()
            .map_or_else(|| "it was killed".to_owned(), Running::last_words)
    }

    /// Response-wraps what a request with the root token gives; the wrapping token.
    ///
    /// # Panics
    /// Where the server refuses it.
    pub fn wrap(
        &self,
        method: &str,
        path: &str,
        ttl: &str,
        body: impl Into<Option<Value>>,
    ) -> String {
        let headers = [
            ("X-Vault-Token", self.root_token.as_str()),
            ("X-Vault-Wrap-TTL", ttl),
        ];
        let answer = self.request(method, path, &headers, body);
        let token = answer.body["wrap_info"]["token"].as_str();
        token
            .unwrap_or_else(|| panic!("{method} {path} was not wrapped: {}", answer.body))
            .to_owned()
    }

    /// Ends the server now.
    pub fn stop(self) {}

    /// Stops the server's process where it stands (SIGSTOP): it keeps its connections and does not answer.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process id");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("the server runs");
    }

    /// Starts a server; a further node of that one's cluster, where one is given.
    fn try_start(options: Options, leader: Option<&Self>) -> Result<Self, Failure> {
        let directory = scratch_directory("bao");
        let other = |what: &str, error: std::io::Error| Failure::Other(format!("{what}: {error}"));
        let (port, tls_port) = free_ports().map_err(|error| other("no free port", error))?;
        let certificates = options.tls.map(|_| Certificates::make(&directory));
        let tls_port = options.tls.map(|_| tls_port);
        let socket = options.unix.then(|| directory.join("bao.sock"));

        let mut config = format!(
            "audit \"file\" \"requests\" {{\n  options {{\n    file_path = \"{}\"\n    hmac_accessor = \"false\"\n  }}\n}}\n",
            // All nodes of a cluster must say the same; each runs in its own directory.
            if options.raft {
                PathBuf::from(AUDIT)
            } else {
                directory.join(AUDIT)
            }
            .display()
        );
        if let (Some(certificates), Some(tls_port)) = (&certificates, tls_port) {
            config.push_str(&format!(
                "listener \"tcp\" {{\n  address = \"127.0.0.1:{tls_port}\"\n  tls_cert_file = \"{}\"\n  tls_key_file = \"{}\"\n  \
                 tls_client_ca_file = \"{}\"\n  tls_require_and_verify_client_cert = {}\n}}\n",
                certificates.server.display(),
                certificates.server_key.display(),
                certificates.ca.display(),
                options.tls == Some(ClientCertificates::Required),
            ));
        }
        if let Some(socket) = &socket {
            config.push_str(&format!(
                "listener \"unix\" {{ address = \"{}\" }}\n",
                socket.display()
            ));
        }
        let seal_key = options.raft.then(|| {
            leader
                .and_then(|leader| leader.seal_key.clone())
                .unwrap_or_else(|| crate::random_hex(16))
        });
        if let Some(key) = &seal_key {
            config.push_str(&raft(&directory, port, key, leader.map(Self::address)));
        }
        let config_file = directory.join("config.hcl");
        fs::write(&config_file, config).map_err(|error| other("its configuration", error))?;

        let root_token = leader.map_or_else(
            || format!("root-{}", crate::random_hex(12)),
            |leader| leader.root_token.clone(),
        );
        let mut arguments = vec![
            venv().bao().display().to_string(),
            "server".to_owned(),
            format!("-config={}", config_file.display()),
        ];
        if !options.raft {
            arguments.extend([
                "-dev".to_owned(),
                "-dev-no-store-token".to_owned(),
                format!("-dev-root-token-id={root_token}"),
                format!("-dev-listen-address=127.0.0.1:{port}"),
            ]);
        }
        let running = start(&arguments, &directory).map_err(Failure::Other)?;
        let mut server = Self {
            running: Mutex::new(Some(running)),
            arguments,
            seal_key,
            directory,
            port,
            tls_port,
            certificates,
            socket,
            root_token,
            root_accessor: String::new(),
            start_entries: 0,
        };
        if let Some(leader) = leader {
            server.root_accessor.clone_from(&leader.root_accessor);
            server.wait_until_answered(|server| server.is_active().map(|_| ()))?;
            // A node that has not joined yet says 501 or 503.
            server.wait_until_answered(|server| {
                let health = http::send(server.port, "GET", "/v1/sys/health", &[], None).ok()?;
                (health.status == 429).then_some(())
            })?;
            // Until it is a voter it cannot take over.
            let node = format!("node-{port}");
            server.wait_until_answered(|_| {
                let answer = leader.api("GET", "sys/storage/raft/configuration", None);
                let servers = answer["data"]["config"]["servers"].as_array()?;
                let is_voter =
                    |server: &Value| server["node_id"] == node.as_str() && server["voter"] == true;
                servers.iter().any(is_voter).then_some(())
            })?;
            return Ok(server);
        }
        if options.raft {
            let init = json!({"recovery_shares": 1, "recovery_threshold": 1});
            server.root_token = server.wait_until_answered(|server| {
                let answer =
                    http::send(server.port, "PUT", "/v1/sys/init", &[], Some(&init)).ok()?;
                answer.body["root_token"].as_str().map(str::to_owned)
            })?;
            server.wait_until_active();
        }
        server.root_accessor = server.wait_until_ready()?;
        if options.raft {
            // Nodes that join soon vote soon; and what a dev server has from the start.
            let autopilot = json!({"server_stabilization_time": "1s"});
            server.api(
                "POST",
                "sys/storage/raft/autopilot/configuration",
                autopilot,
            );
            let versioned = json!({"type": "kv", "options": {"version": "2"}});
            server.api("POST", "sys/mounts/secret", versioned);
            server.wait_until_answered(|server| {
                let answer = server.api_as(&server.root_token, "GET", "secret/config", None);
                (answer.status == 200).then_some(())
            })?;
        }
        server.start_entries = server.audit().len();
        server.api(
            "PUT",
            "sys/config/auditing/request-headers/X-Dbt-Lease-Session",
            json!({"hmac": false}),
        );
        Ok(server)
    }

    fn wait_until_ready(&self) -> Result<String, Failure> {
        self.wait_until_answered(|server| {
            // Only our own server knows the token: another one may have taken the port.
            let headers = [("X-Vault-Token", server.root_token.as_str())];
            let path = "/v1/auth/token/lookup-self";
            let answer = http::send(server.port, "GET", path, &headers, None).ok()?;
            answer.body["data"]["accessor"].as_str().map(str::to_owned)
        })
    }

    fn wait_until_answered<T>(&self, ask: impl Fn(&Self) -> Option<T>) -> Result<T, Failure> {
        let started = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return Ok(answer);
            }
            let words = self.log();
            let has_ended = self
                .running()
                .as_ref()
                .is_none_or(|running| running.exited().is_some());
            if has_ended {
                return Err(if words.contains("address already in use") {
                    Failure::PortTaken(words)
                } else {
                    Failure::Other(words)
                });
            }
            if started.elapsed() > Duration::from_secs(30) {
                return Err(Failure::Other(format!("no answer within 30 s:\n  {words}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for OpenBao {
    fn drop(&mut self) {
        // The server itself ends with `running`; a file that it writes meanwhile is the watchdog's to remove.
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn start(arguments: &[String], directory: &Path) -> Result<Running, String> {
    Running::start(&Program {
        arguments: arguments.to_vec(),
        environment: BTreeMap::from([
            ("HOME", directory.display().to_string()),
            ("PATH", "/usr/bin:/bin".to_owned()),
            // The server's Go runtime would otherwise take every core for its garbage collector.
            ("GOMAXPROCS", "2".to_owned()),
        ]),
        directory,
        log: directory.join("server.log"),
        user: None,
        end_signal: Signal::SIGKILL,
    })
}

/// What a raft node's configuration has beyond a dev server's: a plain listener, a store, a seal that opens itself.
fn raft(directory: &Path, port: u16, key: &str, leader: Option<String>) -> String {
    let store = directory.join("raft");
    // Only in a directory of the test's own, which is there already.
    let _ = fs::create_dir(&store);
    let join = leader.map_or(String::new(), |leader| {
        format!("  retry_join {{ leader_api_addr = \"{leader}\" }}\n")
    });
    format!(
        "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\napi_addr = \"http://127.0.0.1:{port}\"\n\
         cluster_addr = \"http://127.0.0.1:{next}\"\nseal \"static\" {{\n  current_key_id = \"sandbox\"\n  current_key = \"{key}\"\n}}\n\
         storage \"raft\" {{\n  path = \"{store}\"\n  node_id = \"node-{port}\"\n  performance_multiplier = 1\n{join}}}\n",
        next = port + 1,
        store = store.display(),
    )
}

/// Two ports that were free a moment ago; the one after each, too, which OpenBao takes for its cluster.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let mut held = Vec::new();
    let mut found = Vec::new();
    for _ in 0..200 {
        let first = TcpListener::bind(("127.0.0.1", 0))?;
        let port = first.local_addr()?.port();
        held.push(first);
        if let Some(next) = port.checked_add(1)
            && let Ok(second) = TcpListener::bind(("127.0.0.1", next))
        {
            held.push(second);
            found.push(port);
            if let [plain, tls] = found[..] {
                return Ok((plain, tls));
            }
        }
    }
    Err(std::io::Error::other("no two neighbouring ports are free"))
}
