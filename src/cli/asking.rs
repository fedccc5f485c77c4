//! Questions whose answers are no secrets: asked on stderr, read from the terminal. Nobody is asked where there is none, and never in CI.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};

use super::failure::Failure;
use super::terminal::is_ci;
use crate::variables::Variables;

/// The longest answer.
const LONGEST: u64 = 4096;

/// A terminal that answers are read from.
pub(crate) struct Asking(Box<dyn BufRead>);

impl Asking {
    /// The terminal of this process: stdin, else /dev/tty; none where nobody looks at stderr.
    pub(crate) fn of(variables: &Variables) -> Option<Self> {
        if is_ci(variables) || !io::stderr().is_terminal() {
            return None;
        }
        if io::stdin().is_terminal() {
            return Some(Self(Box::new(io::stdin().lock())));
        }
        let terminal = File::open("/dev/tty").ok()?;
        Some(Self(Box::new(BufReader::new(terminal))))
    }

    /// Asks until there is an answer: what is typed, or the default for an empty line.
    ///
    /// # Errors
    /// The terminal goes away.
    pub(crate) fn ask(&mut self, question: &str, default: Option<&str>) -> Result<String, Failure> {
        let shown = default
            .map(|default| format!(" [{default}]"))
            .unwrap_or_default();
        loop {
            let line = self.line(&format!("dbt-lease: {question}{shown} "))?;
            match (line.trim(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => {}
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
    }

    /// Asks whether something may be done.
    ///
    /// # Errors
    /// The terminal goes away.
    pub(crate) fn may(&mut self, question: &str) -> Result<bool, Failure> {
        let answer = self.line(&format!("dbt-lease: {question} [y/N] "))?;
        Ok(matches!(
            answer.trim().to_ascii_lowercase().as_str(),
            "y" | "yes"
        ))
    }

    fn line(&mut self, question: &str) -> Result<String, Failure> {
        let failed = |why: &str| Failure::new("terminal", format!("cannot ask: {why}"), None);
        let mut stderr = anstream::stderr();
        stderr
            .write_all(question.as_bytes())
            .and_then(|()| stderr.flush())
            .map_err(|error| failed(&error.to_string()))?;
        let mut answer = String::new();
        let read = self
            .0
            .by_ref()
            .take(LONGEST)
            .read_line(&mut answer)
            .map_err(|error| failed(&error.to_string()))?;
        if read == 0 {
            return Err(failed("the terminal gives no answer"));
        }
        Ok(answer)
    }
}
