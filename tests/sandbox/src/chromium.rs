//! Chromium without a screen, told what to do by WebDriver (<https://www.w3.org/TR/webdriver2/>), where the machine has it
//! (`apt-get install chromium chromium-driver`).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::http;
use crate::watchdog::{Program, Running, scratch_directory};

/// What it may take to start, and a person's log-in.
const MOST: Duration = Duration::from_secs(30);

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
        let port = crate::free_port();
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
        browser.running.wait_for_port(port, MOST);
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
        self.running.wait_until(last, MOST, || {
            said = self.text();
            if said.contains(last) {
                return true;
            }
            for (name, value) in answers {
                if let Some(field) = self.find(&format!("input[name={name}]")) {
                    self.of_the_session(
                        "POST",
                        &format!("element/{field}/value"),
                        json!({"text": value}),
                    );
                }
            }
            if let Some(button) = self.find("button[type=submit], form button") {
                self.of_the_session("POST", &format!("element/{button}/click"), json!({}));
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
