//! What `plan` and `render` print: to stdout, since it is what was asked for.
#![forbid(unsafe_code)]

use std::io::{self, Write};

use serde::Serialize;

use super::failure::Failure;

/// Prints text; a reader who has enough of it is no failure.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    match print(text) {
        // The reader has what it wanted: `dbt-lease plan | head -1`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(failed),
    }
}

/// Prints text that somebody must get.
pub(crate) fn whole(text: &str) -> Result<(), Failure> {
    print(text).map_err(failed)
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
}

fn failed(error: io::Error) -> Failure {
    Failure::new("output", format!("stdout cannot be written: {error}"), None)
}

/// Prints a value as JSON; a failure too, as `{"error": {"kind", "message"}}`, and hands it on.
pub(crate) fn json<T: Serialize>(outcome: Result<T, Failure>) -> Result<(), Failure> {
    match outcome {
        Ok(value) => text(&line(&value)?),
        Err(failure) => {
            let error =
                serde_json::json!({"error": {"kind": failure.kind, "message": failure.message}});
            text(&line(&error)?)?;
            Err(failure)
        }
    }
}

fn line<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|json| json + "\n")
        .map_err(|error| {
            Failure::new(
                "output",
                format!("the answer cannot be written as JSON: {error}"),
                None,
            )
        })
}
