//! The person at the terminal: what a login asks for is asked on stderr and read from the terminal itself, since stdin is the child's.
//!
//! Nobody is asked where stderr is no terminal, where we have none or stand in its background, and never in CI.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};
use tokio::net::unix::pipe::Receiver;
use zeroize::Zeroizing;

use crate::process;
use crate::secret::Secret;
use crate::variables::{DBT_LEASE_NO_BROWSER, Variables};
use crate::vault::auth::{Person, PersonsAnswer};

/// The longest line that a terminal gives at once, and longer than any password.
const LONGEST: usize = 4096;

/// What CI systems set; `CI` by most, the others by those that do not.
const CI: [&str; 6] = [
    "CI",
    "TF_BUILD",
    "JENKINS_URL",
    "BUILDKITE",
    "TFC_RUN_ID",
    "GITHUB_ACTIONS",
];

/// Whether a CI system runs us: nobody sits there, though it may have a terminal.
pub(super) fn is_ci(variables: &Variables) -> bool {
    CI.iter().any(|name| is_set(variables, name))
}

fn is_set(variables: &Variables, name: &str) -> bool {
    variables
        .text(name)
        .is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
}

/// Who is at the terminal of this process, if anybody.
pub(crate) struct Terminal<'a> {
    variables: &'a Variables,
    is_ci: bool,
    opens_browser: bool,
}

impl<'a> Terminal<'a> {
    /// As the process environment tells. Without a display there is no browser to open.
    pub(crate) fn new(variables: &'a Variables, no_browser: bool) -> Self {
        let is_set = |name: &&str| is_set(variables, name);
        let has_display = ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY"].iter().any(is_set);
        Self {
            variables,
            is_ci: is_ci(variables),
            opens_browser: has_display && !no_browser && !is_set(&DBT_LEASE_NO_BROWSER),
        }
    }

    /// The terminal, where somebody sits at it and looks at us.
    fn terminal(&self) -> Option<File> {
        if self.is_ci || !io::stderr().is_terminal() {
            return None;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            // A file of its own: the child's stdin does not become non-blocking by it.
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open("/dev/tty")
            .ok()?;
        // From the background a read would stop us.
        (tcgetpgrp(&file) == Ok(getpgrp())).then_some(file)
    }
}

impl Person for Terminal<'_> {
    fn ask<'a>(&'a self, question: &'a str) -> PersonsAnswer<'a> {
        Box::pin(async move {
            let quiet = Quiet::new(self.terminal()?)?;
            let _ = write!(io::stderr(), "dbt-lease: {question}: ");
            let line = quiet.line().await;
            // The line break that was typed was not shown either.
            let _ = writeln!(io::stderr());
            line.filter(|line| !line.is_empty())
        })
    }

    fn is_there(&self) -> bool {
        self.terminal().is_some()
    }

    fn open(&self, url: &str) {
        self.tell(&format!("log in in the browser: {url}"));
        if self.opens_browser {
            // BROWSER is what xdg-open obeys too; where neither works, the address stands on the terminal.
            let named = self.variables.text("BROWSER").unwrap_or("xdg-open");
            let _ = process::start(&[named, url], self.variables);
        }
    }

    fn tell(&self, text: &str) -> bool {
        self.terminal().is_some() && writeln!(io::stderr(), "dbt-lease: {text}").is_ok()
    }
}

/// A terminal that does not show what is typed, until it is dropped.
struct Quiet {
    terminal: Receiver,
    before: Termios,
}

impl Quiet {
    fn new(file: File) -> Option<Self> {
        let before = tcgetattr(&file).ok()?;
        let mut quiet = before.clone();
        quiet
            .local_flags
            .remove(LocalFlags::ECHO | LocalFlags::ECHONL);
        // What was typed before the question is no answer to it.
        tcsetattr(&file, SetArg::TCSAFLUSH, &quiet).ok()?;
        // Not checked to be a pipe, which it is not: what a pipe's end is waited for and read by does for a terminal too.
        let terminal = Receiver::from_file_unchecked(file).ok()?;
        Some(Self { terminal, before })
    }

    /// One line, less its break; none where the terminal goes away.
    async fn line(&self) -> Option<Secret> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
        let mut buffer = Zeroizing::new([0; LONGEST]);
        loop {
            self.terminal.readable().await.ok()?;
            match self.terminal.try_read(&mut *buffer) {
                Ok(0) => return None,
                Ok(count) => {
                    if bytes.len() + count > LONGEST {
                        return None;
                    }
                    bytes.extend_from_slice(&buffer[..count]);
                    if bytes.last() == Some(&b'\n') {
                        bytes.pop();
                        let text = std::str::from_utf8(&bytes).ok()?;
                        return Some(Secret::new(text.to_owned()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}
