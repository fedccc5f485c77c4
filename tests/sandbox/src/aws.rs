//! AWS, as far as it can be had here: botocore's own signer, and moto's STS and IAM, which verify signatures. Both from PyPI, in an environment
//! of their own (140 MB), which is built when a test first needs it.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::venv::in_cache;
use crate::watchdog::{Program, Running, scratch_directory};

const PACKAGES: [&str; 4] = [
    "botocore==1.44.8",
    "moto==5.2.5",
    "flask==3.1.3",
    "flask-cors==6.0.2",
];

/// A running moto; it ends with this handle.
#[derive(Debug)]
pub struct Moto {
    running: Running,
    directory: PathBuf,
    port: u16,
}

impl Moto {
    /// A new one, which knows nobody.
    ///
    /// # Panics
    /// Where it cannot be installed, or does not answer within 60 s.
    pub fn start() -> Self {
        let directory = scratch_directory("moto");
        let port = crate::free_port();
        let running = Running::start(&Program {
            arguments: vec![
                environment().join("bin/python").display().to_string(),
                environment().join("bin/moto_server").display().to_string(),
                "-H".to_owned(),
                "127.0.0.1".to_owned(),
                "-p".to_owned(),
                port.to_string(),
            ],
            environment: BTreeMap::from([
                ("HOME", directory.display().to_string()),
                ("PATH", "/usr/bin:/bin".to_owned()),
            ]),
            directory: &directory,
            log: directory.join("moto.log"),
            user: None,
            end_signal: Signal::SIGKILL,
        })
        .unwrap_or_else(|words| panic!("moto does not start: {words}"));
        let moto = Self {
            running,
            directory,
            port,
        };
        moto.running.wait_for_port(port, Duration::from_secs(60));
        moto
    }

    /// `http://127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.running.last_words()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.running.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Runs a Python script with botocore; what it prints.
///
/// # Panics
/// Where it fails.
pub fn botocore(script: &str, argument: &str) -> String {
    let output = Command::new(environment().join("bin/python"))
        .args(["-c", script, argument])
        .env_clear()
        .output()
        .expect("python starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn environment() -> &'static Path {
    static ENVIRONMENT: OnceLock<PathBuf> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let script = format!(
            "python3 -m venv \"$1\" && \"$1/bin/python\" -m pip install --disable-pip-version-check --only-binary :all: {}",
            PACKAGES.join(" ")
        );
        in_cache(&PACKAGES.join(" "), |directory| {
            ["sh", "-c", &script, "sh"]
                .iter()
                .map(PathBuf::from)
                .chain([directory.to_owned()])
                .collect()
        })
        .unwrap_or_else(|message| panic!("{message}"))
    })
}
