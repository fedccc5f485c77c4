//! Chromium without a screen, told what to do by WebDriver (<https://www.w3.org/TR/webdriver2/>), where the machine has it
//! (`apt-get install chromium chromium-driver`).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::http;
use crate::watchdog::{Program, Running, scratch_directory};

/// A running browser with one window; it ends with this handle.
#[derive(Debug)]
pub struct Chromium {
    running: Running,
    directory: PathBuf,
    port: u16,
    session: String,
}

impl Chromium {
    /// Starts it.
    ///
    /// # Panics
    /// Where the machine has none, or it does not answer within 30 s.
    pub fn start() -> Self {
        let directory = scratch_directory("chromium");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("loopback has a free port")
            .port();
        let running = Running::start(&Program {
            arguments: vec!["/usr/bin/chromedriver".to_owned(), format!("--port={port}")],
            environment: BTreeMap::from([
                ("HOME", directory.display().to_string()),
                ("TMPDIR", directory.display().to_string()),
                ("PATH", "/usr/bin:/bin".to_owned()),
            ]),
            directory: &directory,
            log: directory.join("chromedriver.log"),
            user: None,
            end_signal: Signal::SIGTERM,
        })
        .unwrap_or_else(|words| {
            panic!("no chromedriver: `apt-get install chromium chromium-driver`: {words}")
        });
        let mut browser = Self {
            running,
            directory,
            port,
            session: String::new(),
        };
        browser.wait_until("chromedriver answers", |browser| {
            TcpStream::connect(("127.0.0.1", browser.port)).is_ok()
        });
        let profile = format!(
            "--user-data-dir={}",
            browser.directory.join("profile").display()
        );
        // Its own sandbox wants what neither root nor a container has.
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            &profile,
        ];
        let made = browser.ask(
            "POST",
            "/session",
            json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": flags}}}}),
        );
        browser.session = made["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("no session: {made}"))
            .to_owned();
        browser
    }

    /// Opens an address, types the answers where a field has that name, presses each form's button, until the page says `last`.
    /// What the page says then.
    ///
    /// # Panics
    /// Where it does not come to that within 30 s.
    pub fn log_in(&self, url: &str, answers: &[(&str, &str)], last: &str) -> String {
        self.of_the_session("POST", "url", json!({"url": url}));
        let mut said = String::new();
        self.wait_until(last, |browser| {
            said = browser.text();
            if said.contains(last) {
                return true;
            }
            for (name, value) in answers {
                if let Some(field) = browser.find(&format!("input[name={name}]")) {
                    browser.of_the_session(
                        "POST",
                        &format!("element/{field}/value"),
                        json!({"text": value}),
                    );
                }
            }
            if let Some(button) = browser.find("button[type=submit], form button") {
                browser.of_the_session("POST", &format!("element/{button}/click"), json!({}));
            }
            false
        });
        said
    }

    /// What the page shows; empty while it has nothing.
    fn text(&self) -> String {
        let Some(body) = self.find("body") else {
            return String::new();
        };
        let text = self.of_the_session("GET", &format!("element/{body}/text"), Value::Null);
        text.as_str().unwrap_or_default().to_owned()
    }

    fn find(&self, selector: &str) -> Option<String> {
        let found = self.of_the_session(
            "POST",
            "element",
            json!({"using": "css selector", "value": selector}),
        );
        // The one key of a web element is a constant of the specification.
        found
            .get("element-6066-11e4-a52e-4f735466cecf")?
            .as_str()
            .map(str::to_owned)
    }

    fn of_the_session(&self, method: &str, what: &str, body: Value) -> Value {
        self.ask(method, &format!("/session/{}/{what}", self.session), body)
    }

    /// The answer's value; of an error, what it says of itself.
    fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let headers = [
            ("Content-Type", "application/json"),
            ("Connection", "close"),
        ];
        let body = (method == "POST").then_some(&body);
        let answer = http::send_as("HTTP/1.1", self.port, method, path, &headers, body)
            .unwrap_or_else(|error| panic!("chromedriver does not answer: {error}"));
        answer.body["value"].clone()
    }

    fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(
                Instant::now() < end && self.running.exited().is_none(),
                "{what}: not within 30 s: {}",
                self.running.last_words()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &format!("/session/{}", self.session), Value::Null);
        }
        self.running.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
