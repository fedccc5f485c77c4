//! Where a key path stands: serde_yaml's values have no places, so the events of the same grammar are walked once for them.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;

use libyaml_safer::{EventData, Mark, Parser};

use super::literal;
use crate::place::{Key, Place};

/// Key path → where the key (the value in a list) stands.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: HashMap<Vec<String>, At>,
    /// The first key that stands a second time in its mapping.
    pub(super) repeated: Option<At>,
}

/// Where a key or an item of a list stands, 1-based.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    line: usize,
    column: usize,
    /// None for an item.
    key: Option<String>,
}

impl At {
    fn of(mark: Mark) -> Self {
        let counted = |number: u64| {
            usize::try_from(number)
                .unwrap_or(usize::MAX)
                .saturating_add(1)
        };
        Self {
            line: counted(mark.line),
            column: counted(mark.column),
            key: None,
        }
    }

    /// As a place of a file. A key that may be a secret is not shown.
    pub(super) fn place(&self, file: &Path) -> Place {
        let key = self
            .key
            .as_deref()
            .filter(|key| literal::gives_away(key).is_none());
        let key = key.and_then(|key| Key::shown(self.column, key));
        Place::of_line(file, Some(self.line)).within(self.column, key)
    }
}

/// What is open while the events are walked.
enum Frame {
    /// A mapping; the key that waits for its value.
    Mapping {
        path: Vec<String>,
        key: Option<String>,
    },
    /// A list; the next item's number.
    List { path: Vec<String>, next: usize },
    /// Something inside a key that is no text: nobody asks for its place.
    Hidden,
}

impl Lines {
    /// Walks a document that serde_yaml has accepted (it bounds the nesting), or refused for a repeated key. Where the walk cannot go on, what was seen so far still serves.
    pub(super) fn of(text: &str) -> Self {
        let mut lines = Self::default();
        let Ok(mut parser) = Parser::new(text) else {
            return lines;
        };
        let mut open: Vec<Frame> = Vec::new();
        while let Ok(event) = parser.parse() {
            let at = At::of(event.start_mark);
            match event.data {
                EventData::StreamEnd => break,
                EventData::Scalar { value, .. } => lines.scalar(&mut open, value, at),
                EventData::Alias { .. } => {
                    lines.place(&mut open, at);
                }
                EventData::MappingStart { .. } => {
                    let frame = match lines.place(&mut open, at) {
                        Some(path) => Frame::Mapping { path, key: None },
                        None => Frame::Hidden,
                    };
                    open.push(frame);
                }
                EventData::SequenceStart { .. } => {
                    let frame = match lines.place(&mut open, at) {
                        Some(path) => Frame::List { path, next: 0 },
                        None => Frame::Hidden,
                    };
                    open.push(frame);
                }
                EventData::MappingEnd | EventData::SequenceEnd => {
                    open.pop();
                }
                _ => {}
            }
            // A document with a repeated key is refused for it, and what follows may nest without bounds.
            if lines.repeated.is_some() {
                break;
            }
        }
        lines
    }

    /// Where a key path stands, or the nearest mapping around it that has a place (merged keys and aliases have none).
    pub(super) fn nearest(&self, path: &[String]) -> Option<&At> {
        (0..=path.len())
            .rev()
            .find_map(|length| self.lines.get(&path[..length]))
    }

    /// A text: a key where the mapping waits for one, else a value.
    fn scalar(&mut self, open: &mut [Frame], value: String, at: At) {
        if let Some(Frame::Mapping {
            path,
            key: key @ None,
        }) = open.last_mut()
        {
            let mut full = path.clone();
            full.push(value.clone());
            let at = At {
                key: Some(value.clone()),
                ..at
            };
            if self.lines.insert(full, at.clone()).is_some() {
                self.repeated.get_or_insert(at);
            }
            *key = Some(value);
        } else {
            self.place(open, at);
        }
    }

    /// Takes the next value's place: its path, or none where it is (in) a key.
    fn place(&mut self, open: &mut [Frame], at: At) -> Option<Vec<String>> {
        match open.last_mut() {
            None => {
                self.lines.insert(Vec::new(), at);
                Some(Vec::new())
            }
            Some(Frame::Mapping { path, key }) => match key.take() {
                Some(key) => {
                    let mut full = path.clone();
                    full.push(key);
                    Some(full)
                }
                None => {
                    // A key that is no text: its value comes next and is not reachable by a key path either.
                    *key = Some(String::new());
                    None
                }
            },
            Some(Frame::List { path, next }) => {
                let mut full = path.clone();
                full.push(next.to_string());
                *next += 1;
                self.lines.insert(full.clone(), at);
                Some(full)
            }
            Some(Frame::Hidden) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    fn line(lines: &Lines, path: &str) -> Option<usize> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        lines.nearest(&path).map(|at| at.line)
    }

    #[test]
    fn every_key_and_item_has_its_line() {
        let lines =
            Lines::of("a:\n  b: 1\n  c:\n    - x\n    - {d: 2,\n       e: 3}\nf: *anchor\n");
        assert_eq!(line(&lines, "a.b"), Some(2));
        assert_eq!(line(&lines, "a.c"), Some(3));
        assert_eq!(line(&lines, "a.c.1"), Some(5));
        assert_eq!(line(&lines, "a.c.1.e"), Some(6));
        assert_eq!(line(&lines, "f"), Some(7));
    }

    #[test]
    fn a_path_without_a_line_has_that_of_what_is_around_it() {
        let lines = Lines::of("x: 1\na:\n  <<: {b: 1}\n? [k]\n: {z: 1}\nlast: 1\n");
        assert_eq!(line(&lines, "a.b"), Some(2));
        assert_eq!(line(&lines, "last"), Some(6));
    }
}
