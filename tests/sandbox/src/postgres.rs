//! One PostgreSQL cluster a process, started on first use and shared: `initdb` costs a second, a database 50 ms.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};

use crate::venv::venv;
use crate::watchdog::{Program, Running, scratch_directory};

/// The superuser of the cluster.
pub const SUPERUSER: &str = "postgres";

/// A running PostgreSQL cluster on 127.0.0.1; every login needs a password (scram-sha-256).
#[derive(Debug)]
pub struct Postgres {
    // Held for its end.
    running: Running,
    directory: PathBuf,
    port: u16,
    password: String,
}

impl Postgres {
    /// The cluster that all tests of this process share. It ends with the process.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// A cluster of one's own, which ends with its handle.
    ///
    /// # Panics
    /// Where it does not start within 60 s.
    pub fn start() -> Self {
        let directory = scratch_directory("postgres");
        let user = unprivileged_user();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(&directory, Some(uid), Some(gid)).unwrap_or_else(|error| {
                panic!("cannot give {} away: {error}", directory.display())
            });
        }
        let password = crate::random_hex(12);
        initialise(&directory, user, &password);
        for _ in 0..10 {
            let port = crate::free_port();
            let mut running = start_server(&directory, user, port);
            if is_ready(&running, port, &password) {
                return Self {
                    running,
                    directory,
                    port,
                    password,
                };
            }
            // The port was taken between our choice and its bind. The data stay for the next try.
            running.end();
            for left in ["server.log.exit", "server.log"] {
                let _ = fs::remove_file(directory.join(left));
            }
        }
        panic!("PostgreSQL found no free port in 10 tries")
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Its data and its log; removed with the server.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs SQL as the superuser; each row's columns as text, NULL as an empty one.
    ///
    /// # Panics
    /// Where PostgreSQL refuses it.
    pub fn query(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        self.query_as(SUPERUSER, &self.password, database, sql)
            .unwrap_or_else(|error| panic!("PostgreSQL refused {sql}: {error}"))
    }

    /// Runs SQL as another user.
    ///
    /// # Errors
    /// PostgreSQL's own words.
    pub fn query_as(
        &self,
        user: &str,
        password: &str,
        database: &str,
        sql: &str,
    ) -> Result<Vec<Vec<String>>, String> {
        psql(self.port, user, password, database, sql)
    }

    /// Makes a database.
    ///
    /// # Panics
    /// Where PostgreSQL refuses it.
    pub fn create_database(&self, name: &str) {
        self.query("postgres", &format!("CREATE DATABASE \"{name}\""));
    }

    /// Whether it was built with TLS; that it was not, and a test is skipped by it, is said loudly.
    pub fn speaks_tls(&self) -> bool {
        let speaks = !self.query("postgres", "SHOW ssl_library")[0][0].is_empty();
        if !speaks {
            crate::say(
                "SKIPPED: the tests with certificates need a PostgreSQL that was built with TLS",
            );
        }
        speaks
    }

    /// The server's log: each line has the time, the process, `user@database`.
    pub fn log_file(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// The end of the server's log.
    pub fn log(&self) -> String {
        self.running.last_words()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.running.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// One psql: no library speaks scram-sha-256 without a dozen crates, and 15 ms are little beside a test.
fn psql(
    port: u16,
    user: &str,
    password: &str,
    database: &str,
    sql: &str,
) -> Result<Vec<Vec<String>>, String> {
    let mut command = Command::new(venv().postgres().join("psql"));
    command
        .args([
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--quiet",
            "--no-password",
        ])
        .args([
            "--field-separator=\x1f",
            "--record-separator=\x1e",
            "--set=ON_ERROR_STOP=1",
        ])
        .args(["--host=127.0.0.1", &format!("--port={}", port)])
        .arg(format!("--username={user}"))
        .arg(format!("--dbname={database}"))
        .arg(format!("--command={sql}"))
        .env_clear()
        .env("PGPASSWORD", password)
        .env("PGCONNECT_TIMEOUT", "10")
        .env("LC_ALL", "C.UTF-8")
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        // Ctrl-C is for the caller to answer, not for psql.
        .process_group(0);
    let mut run = || {
        command
            .output()
            .map_err(|error| format!("cannot run psql: {error}"))
    };
    let mut output = run()?;
    // A child joins its own group a moment after it was born; a Ctrl-C in that moment kills it before it is psql, so the
    // SQL has not run.
    for _ in 0..20 {
        if output.status.signal() != Some(Signal::SIGINT as i32) {
            break;
        }
        output = run()?;
    }
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.trim_end_matches(['\n', '\x1e']);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    Ok(text
        .split('\x1e')
        .map(|row| row.split('\x1f').map(str::to_owned).collect())
        .collect())
}

/// Waits until the server answers; false where its port was taken.
fn is_ready(running: &Running, port: u16, password: &str) -> bool {
    let started = Instant::now();
    loop {
        // Only our own server knows the password: another one may have taken the port.
        match psql(port, SUPERUSER, password, "postgres", "SELECT 1") {
            Ok(_) => return true,
            Err(_) if running.exited().is_some() => {
                let words = running.last_words();
                assert!(
                    words.contains("Address already in use"),
                    "PostgreSQL did not start:\n  {words}"
                );
                return false;
            }
            Err(error) => assert!(
                started.elapsed() < Duration::from_secs(60),
                "PostgreSQL does not answer: {error}\n  {}",
                running.last_words()
            ),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn initialise(directory: &Path, user: Option<(u32, u32)>, password: &str) {
    let password_file = directory.join("password");
    fs::write(&password_file, password)
        .and_then(|()| fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)))
        .and_then(|()| match user {
            Some((uid, gid)) => std::os::unix::fs::chown(&password_file, Some(uid), Some(gid)),
            None => Ok(()),
        })
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", password_file.display()));
    let mut arguments = vec![
        venv().postgres().join("initdb").display().to_string(),
        format!("--pgdata={}", directory.join("data").display()),
        format!("--username={SUPERUSER}"),
        format!("--pwfile={}", password_file.display()),
    ];
    arguments.extend(
        [
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]
        .map(str::to_owned),
    );
    let running = run(arguments, directory, user, "initdb.log");
    let started = Instant::now();
    loop {
        match running.exited() {
            Some(0) => break,
            Some(code) => panic!("initdb failed ({code}):\n  {}", running.last_words()),
            None => assert!(
                started.elapsed() < Duration::from_secs(120),
                "initdb has not ended within 120 s"
            ),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = fs::remove_file(password_file);
}

fn start_server(directory: &Path, user: Option<(u32, u32)>, port: u16) -> Running {
    let mut arguments = vec![
        venv().postgres().join("postgres").display().to_string(),
        "-D".to_owned(),
        directory.join("data").display().to_string(),
    ];
    let settings = [
        "listen_addresses=127.0.0.1",
        &format!("port={port}"),
        "unix_socket_directories=",
        "max_connections=200",
        // A throw-away server: speed before durability.
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "wal_level=minimal",
        "max_wal_senders=0",
        "autovacuum=off",
        "jit=off",
        // Who came, and when, for the tests that join the logs.
        "log_connections=on",
        "log_line_prefix=%m [%p] %u@%d ",
    ];
    arguments.extend(
        settings
            .iter()
            .flat_map(|setting| ["-c".to_owned(), (*setting).to_owned()]),
    );
    run(arguments, directory, user, "server.log")
}

fn run(arguments: Vec<String>, directory: &Path, user: Option<(u32, u32)>, log: &str) -> Running {
    Running::start(&Program {
        arguments,
        environment: BTreeMap::from([
            ("HOME", directory.display().to_string()),
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("LC_ALL", "C".to_owned()),
            ("TZ", "UTC".to_owned()),
        ]),
        directory,
        log: directory.join(log),
        user,
        // Immediate shutdown: the postmaster ends its children, which are in sessions of their own.
        end_signal: Signal::SIGQUIT,
    })
    .unwrap_or_else(|message| panic!("PostgreSQL: {message}"))
}

/// The account to run as: PostgreSQL refuses to run as root.
fn unprivileged_user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let account = ["postgres", "nobody"]
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten());
    let account = account
        .expect("the machine has an account `postgres` or `nobody`, since PostgreSQL refuses root");
    Some((account.uid.as_raw(), account.gid.as_raw()))
}
