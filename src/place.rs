//! A place in a file, and what a message may show of it: a key, never a value.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::{Path, PathBuf};

/// A place in a file: what an editor can jump to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// 1-based; none where the whole file is meant.
    pub line: Option<usize>,
    /// None where the whole line is meant. Boxed, since errors carry places.
    within: Option<Box<Within>>,
}

/// A place within a line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Within {
    column: usize,
    key: Option<Key>,
}

/// A key of a file, with where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// 1-based, in characters.
    pub column: usize,
    /// The key.
    pub text: String,
}

impl Key {
    /// A key that can be shown on one line; none for others.
    pub fn shown(column: usize, text: &str) -> Option<Self> {
        const LONGEST: usize = 60;
        let plain = !text.is_empty()
            && text.chars().count() <= LONGEST
            && !text.contains(|ch: char| ch.is_control() || "{}\u{2028}\u{2029}".contains(ch));
        plain.then(|| Self {
            column,
            text: text.to_owned(),
        })
    }
}

impl Place {
    /// A file as a whole.
    pub fn of_file(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            within: None,
        }
    }

    /// A line of a file, where it is known.
    pub fn of_line(file: &Path, line: Option<usize>) -> Self {
        Self {
            line,
            ..Self::of_file(file)
        }
    }

    /// A key, by its line and column.
    pub fn of_key(file: &Path, line: usize, column: usize, text: &str) -> Self {
        Self::of_line(file, Some(line)).within(column, Key::shown(column, text))
    }

    /// The same line from a column on (1-based, in characters), with the key that stands on it. The key's value may be a
    /// secret and is not kept.
    pub fn within(self, column: usize, key: Option<Key>) -> Self {
        Self {
            within: Some(Box::new(Within { column, key })),
            ..self
        }
    }

    /// 1-based, in characters.
    pub fn column(&self) -> Option<usize> {
        self.within.as_ref().map(|within| within.column)
    }

    /// The key on the line.
    pub fn key(&self) -> Option<&Key> {
        self.within.as_ref()?.key.as_ref()
    }
}

impl Place {
    /// `` `FILE`, line N ``
    pub fn in_words(&self) -> String {
        match self.line {
            Some(line) => format!("`{}`, line {line}", self.file.display()),
            None => format!("`{}`", self.file.display()),
        }
    }
}

/// `FILE:LINE`
impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        match self.line {
            Some(line) => write!(formatter, ":{line}"),
            None => Ok(()),
        }
    }
}

/// A place that a message points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Where.
    pub at: Place,
    /// What is to be said of it, beside the message; empty for nothing.
    pub label: &'static str,
    /// Whether it is what is wrong, not what it is compared with.
    pub is_main: bool,
}

impl Spot {
    /// What is wrong.
    pub fn main(at: Place) -> Self {
        Self {
            at,
            label: "",
            is_main: true,
        }
    }
}
