//! Our messages: to stderr, since stdout is the child's.
#![forbid(unsafe_code)]

use std::io::Write;

use anstyle::{AnsiColor, Style};

use super::arguments::{Color, Global, LogFormat};
use super::failure::Failure;
use super::picture;

/// How much is said, and how.
pub(crate) struct Say {
    verbose: bool,
    quiet: bool,
    format: LogFormat,
}

impl Say {
    /// As the global options tell.
    pub(crate) fn new(global: &Global) -> Self {
        match global.color {
            // NO_COLOR, CLICOLOR_FORCE, TERM and whether stderr is a terminal decide.
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::Always,
            Color::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        Self {
            verbose: global.verbose,
            quiet: global.quiet,
            format: global.log_format,
        }
    }

    /// JSON, where the options could not be read.
    pub(crate) fn in_json() -> Self {
        Self {
            verbose: false,
            quiet: false,
            format: LogFormat::Json,
        }
    }

    /// A failure, with what to do about it.
    pub(crate) fn failure(&self, failure: &Failure) {
        let message = match self.format {
            LogFormat::Text => failure.headline(),
            LogFormat::Json => &failure.message,
        };
        self.line(
            "error",
            AnsiColor::Red,
            Some(failure.kind),
            message,
            &picture::drawn(&failure.spots),
            failure.hint.as_deref(),
        );
    }

    /// Something that the user must know although the work goes on.
    pub(crate) fn warning(&self, message: &str, hint: Option<&str>) {
        if !self.quiet {
            self.line("warning", AnsiColor::Yellow, None, message, "", hint);
        }
    }

    /// Something that is not as it should be at the end: a credential that may live on. Said at -q too.
    pub(crate) fn alarm(&self, message: &str, hint: Option<&str>) {
        self.line("warning", AnsiColor::Yellow, None, message, "", hint);
    }

    /// What is being done, at -v.
    pub(crate) fn note(&self, message: impl FnOnce() -> String) {
        if self.verbose {
            self.line("note", AnsiColor::Cyan, None, &message(), "", None);
        }
    }

    /// One write a message, so that it does not mix with the child's. A closed stderr is no failure of the work.
    fn line(
        &self,
        level: &str,
        color: AnsiColor,
        kind: Option<&str>,
        message: &str,
        picture: &str,
        hint: Option<&str>,
    ) {
        let text = match self.format {
            LogFormat::Json => {
                let mut object = serde_json::json!({"level": level, "message": message});
                if let Some(kind) = kind {
                    object["kind"] = kind.into();
                }
                if let Some(hint) = hint {
                    object["hint"] = hint.into();
                }
                format!("{object}\n")
            }
            LogFormat::Text => {
                let style = Style::new().bold().fg_color(Some(color.into()));
                let mut text = match level {
                    "note" => format!("dbt-lease: {message}\n"),
                    _ => format!("dbt-lease: {style}{level}:{style:#} {message}\n"),
                };
                text.push_str(picture);
                if let Some(hint) = hint {
                    text.push_str(&format!("\n  hint: {}\n", hint.replace('\n', "\n        ")));
                }
                text
            }
        };
        let mut stderr = anstream::stderr();
        let _ = stderr
            .write_all(text.as_bytes())
            .and_then(|()| stderr.flush());
    }
}
