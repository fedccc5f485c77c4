//! An OpenID provider: `oidc-provider` from npm, which is certified, run by node. Its forms are driven over HTTP ([`Browser`]).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::say;
use crate::venv::in_cache;
use crate::watchdog::{Program, Running, scratch_directory};

/// What is installed, by its exact version.
const PACKAGE: &str = "oidc-provider@9.13.3";
const SCRIPT: &str = include_str!("provider.js");

/// A running provider; it ends with this handle.
#[derive(Debug)]
pub struct Provider {
    running: Running,
    directory: PathBuf,
    port: u16,
    secret: String,
}

impl Provider {
    /// A provider with one client, `vault`, that may come back to these addresses. None, said loudly, where the machine has no node.
    ///
    /// # Panics
    /// Where the package cannot be installed, or the provider does not answer within 30 s.
    pub fn start(redirect_uris: &[String]) -> Option<Self> {
        let modules = modules()?;
        let directory = scratch_directory("oidc");
        // node finds packages beside the script or above it.
        std::os::unix::fs::symlink(modules.join("node_modules"), directory.join("node_modules"))
            .expect("linked");
        let script = directory.join("provider.mjs");
        fs::write(&script, SCRIPT).expect("written");
        let port = crate::free_port();
        let secret = crate::random_hex(16);
        let settings = json!({
            "issuer": format!("http://127.0.0.1:{port}"),
            "port": port,
            "secret": secret,
            "redirect_uris": redirect_uris,
        });
        let running = Running::start(&Program {
            arguments: vec![node()?, script.display().to_string(), settings.to_string()],
            environment: BTreeMap::from([
                ("HOME", directory.display().to_string()),
                ("PATH", "/usr/bin:/bin".to_owned()),
            ]),
            directory: &directory,
            log: directory.join("provider.log"),
            user: None,
            end_signal: Signal::SIGKILL,
        })
        .unwrap_or_else(|words| panic!("the OpenID provider does not start: {words}"));
        let provider = Self {
            running,
            directory,
            port,
            secret,
        };
        provider
            .running
            .wait_for_port(port, Duration::from_secs(30));
        Some(provider)
    }

    /// Its name, which is where it is found.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The secret of its client `vault`.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        self.running.last_words()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.running.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A person with a browser: follows redirects, keeps cookies, fills in forms.
#[derive(Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
}

/// What the browser shows.
#[derive(Debug)]
pub struct Page {
    /// The address, without its scheme.
    pub address: String,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Browser {
    /// Opens an address, as `alice`, and sends every form that comes, until a page has none. `answers` are the fields that are filled in;
    /// `refuse` presses `[ Cancel ]` on the first page instead.
    ///
    /// # Panics
    /// Where a server does not answer, or the forms have no end.
    pub fn log_in(&mut self, url: &str, answers: &[(&str, &str)], refuse: bool) -> Page {
        let mut page = self.get(url);
        for _ in 0..10 {
            if refuse && let Some(link) = attribute(&page.body, "<a href=\"") {
                let link = self.absolute(&page, &link);
                return self.get(&link);
            }
            // What the button's script does on OpenBao's own page.
            if page.body.contains("id=\"confirm-button\"") {
                let confirmed = format!("http://{}&confirmation=1", page.address);
                page = self.get(&confirmed);
                continue;
            }
            let Some(form) = page.body.split("<form").nth(1) else {
                return page;
            };
            let action = attribute(form, "action=\"").unwrap_or_default();
            let mut fields = Vec::new();
            for input in form.split("<input").skip(1) {
                let input = input.split('>').next().unwrap_or_default();
                let Some(name) = attribute(input, "name=\"") else {
                    continue;
                };
                let said = answers.iter().find(|(known, _)| *known == name);
                let value = match said {
                    Some((_, value)) => (*value).to_owned(),
                    None => attribute(input, "value=\"").unwrap_or_default(),
                };
                fields.push(format!("{}={}", encoded(&name), encoded(&value)));
            }
            let action = self.absolute(&page, &action);
            page = self.send("POST", &action, &fields.join("&"));
        }
        panic!("the forms have no end: {}", page.address);
    }

    fn absolute(&self, page: &Page, link: &str) -> String {
        if link.starts_with("http://") {
            link.to_owned()
        } else {
            let host = page.address.split('/').next().unwrap_or_default();
            format!("http://{host}{link}")
        }
    }

    /// Opens an address.
    ///
    /// # Panics
    /// Where the server does not answer.
    pub fn get(&mut self, url: &str) -> Page {
        self.send("GET", url, "")
    }

    fn send(&mut self, method: &str, url: &str, form: &str) -> Page {
        let (mut method, mut url, mut form) = (method.to_owned(), url.to_owned(), form.to_owned());
        for _ in 0..20 {
            let address = url.strip_prefix("http://").expect("http alone").to_owned();
            let (host, path) = address
                .find('/')
                .map_or((address.as_str(), "/"), |at| address.split_at(at));
            let cookies: Vec<String> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let request = format!(
                "{method} {path} HTTP/1.0\r\nHost: {host}\r\nCookie: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\n\r\n{form}",
                cookies.join("; "),
                form.len()
            );
            let mut stream = TcpStream::connect(host)
                .unwrap_or_else(|error| panic!("nobody answers at {host}: {error}"));
            stream
                .set_read_timeout(Some(Duration::from_secs(60)))
                .expect("set");
            stream.write_all(request.as_bytes()).expect("sent");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("answered");
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
            let mut location = None;
            for line in head.lines() {
                let Some((name, value)) = line.split_once(": ") else {
                    continue;
                };
                if name.eq_ignore_ascii_case("set-cookie")
                    && let Some((name, value)) = value
                        .split(';')
                        .next()
                        .and_then(|pair| pair.split_once('='))
                {
                    self.cookies.insert(name.to_owned(), value.to_owned());
                } else if name.eq_ignore_ascii_case("location") {
                    location = Some(value.to_owned());
                }
            }
            let page = Page {
                status: head
                    .split(' ')
                    .nth(1)
                    .and_then(|code| code.parse().ok())
                    .expect("a status"),
                body: body.to_owned(),
                address: address.clone(),
            };
            match location {
                Some(to) => {
                    url = self.absolute(&page, &to);
                    method = "GET".to_owned();
                    form.clear();
                }
                None => return page,
            }
        }
        panic!("the redirects have no end: {url}");
    }
}

/// The text between a mark and the next quote, with HTML's own escapes undone.
fn attribute(text: &str, mark: &str) -> Option<String> {
    let (_, rest) = text.split_once(mark)?;
    Some(rest.split('"').next()?.replace("&amp;", "&"))
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// The directory whose `node_modules` has the package: installed once, cached. None where there is no node or npm.
fn modules() -> Option<PathBuf> {
    static MODULES: OnceLock<Option<PathBuf>> = OnceLock::new();
    MODULES
        .get_or_init(|| {
            if node().is_none() || found("npm").is_none() {
                say("SKIPPED: the tests with an OpenID provider need node and npm");
                return None;
            }
            let install = [
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--no-save",
                "--prefix",
            ];
            let directory = in_cache(PACKAGE, |directory| {
                let mut words: Vec<PathBuf> = install.iter().map(PathBuf::from).collect();
                words.push(directory.to_owned());
                words.push(PathBuf::from(PACKAGE));
                words
            });
            Some(directory.unwrap_or_else(|message| panic!("{message}")))
        })
        .clone()
}

fn node() -> Option<String> {
    found("node").map(|path| path.display().to_string())
}

fn found(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}
