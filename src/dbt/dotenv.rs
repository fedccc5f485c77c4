//! The syntax of `.env` as python-dotenv 1.x reads it (`dotenv/parser.py`, `dotenv/variables.py`): its own, not a shell's.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use crate::variables::Variables;

/// The variables that a `.env` adds to the environment: those that are not set there, with `${…}` resolved.
pub fn added(text: &str, real: &Variables) -> BTreeMap<String, String> {
    let mut resolved: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (name, value) in bindings(text) {
        let value = value.map(|value| expand(&value, &resolved, real));
        resolved.insert(name, value);
    }
    resolved
        .into_iter()
        .filter(|(name, _)| real.os(name).is_none())
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// What Python calls white space: Rust's, and the four separators of ASCII.
pub(super) fn is_python_space(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\x1c'..='\x1f')
}

/// The bindings in order; `NAME` without `=` has no value.
fn bindings(text: &str) -> Vec<(String, Option<String>)> {
    // Python opens the file as text: every line end is a line feed.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(&text),
    };
    let mut found = Vec::new();
    while !reader.rest.is_empty() {
        let start = reader.rest;
        match reader.binding() {
            Ok(Some(binding)) => found.push(binding),
            Ok(None) => {}
            Err(Malformed) => reader.skip_line(),
        }
        // The parser always moves on; should it not, the file has ended for us.
        if reader.rest.len() == start.len() {
            break;
        }
    }
    found
}

/// A line that python-dotenv warns of and leaves out.
struct Malformed;

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn binding(&mut self) -> Result<Option<(String, Option<String>)>, Malformed> {
        self.take_while(is_python_space);
        if self.rest.is_empty() {
            return Ok(None);
        }
        if let Some(after) = self.rest.strip_prefix("export") {
            let name = after.trim_start_matches(is_blank);
            if name.len() < after.len() {
                self.rest = name;
            }
        }
        let key = self.key()?;
        self.take_while(is_blank);
        let value = if self.rest.starts_with('=') {
            self.rest = &self.rest[1..];
            let blanks = self.take_while(is_blank);
            Some(if !blanks.is_empty() && self.rest.starts_with('#') {
                String::new()
            } else {
                self.value()?
            })
        } else {
            None
        };
        let comment = self.rest.trim_start_matches(is_blank);
        if comment.starts_with('#') {
            self.rest = comment;
            self.take_while(|character| character != '\n');
        }
        self.take_while(is_blank);
        match self.rest.strip_prefix('\n') {
            Some(rest) => self.rest = rest,
            None if self.rest.is_empty() => {}
            None => return Err(Malformed),
        }
        Ok(key.map(|key| (key, value)))
    }

    fn key(&mut self) -> Result<Option<String>, Malformed> {
        if self.rest.starts_with('#') {
            return Ok(None);
        }
        if let Some(quoted) = self.rest.strip_prefix('\'') {
            let (key, rest) = quoted.split_once('\'').ok_or(Malformed)?;
            if key.is_empty() {
                return Err(Malformed);
            }
            self.rest = rest;
            return Ok(Some(key.to_owned()));
        }
        let key = self.take_while(|character| {
            character != '=' && character != '#' && !is_python_space(character)
        });
        if key.is_empty() {
            Err(Malformed)
        } else {
            Ok(Some(key.to_owned()))
        }
    }

    fn value(&mut self) -> Result<String, Malformed> {
        match self.rest.chars().next() {
            Some('\'') => self.quoted('\'', &[('\\', '\\'), ('\'', '\'')]),
            Some('"') => self.quoted(
                '"',
                &[
                    ('\\', '\\'),
                    ('\'', '\''),
                    ('"', '"'),
                    ('a', '\x07'),
                    ('b', '\x08'),
                    ('f', '\x0c'),
                    ('n', '\n'),
                    ('r', '\r'),
                    ('t', '\t'),
                    ('v', '\x0b'),
                ],
            ),
            None | Some('\n') => Ok(String::new()),
            Some(_) => {
                let line = self.take_while(|character| character != '\n');
                Ok(without_comment(line)
                    .trim_end_matches(is_python_space)
                    .to_owned())
            }
        }
    }

    /// A quoted value: a backslash keeps the next character from ending it, and is itself kept before unknown ones.
    fn quoted(&mut self, quote: char, escapes: &[(char, char)]) -> Result<String, Malformed> {
        let mut value = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            if character == quote {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
            if character != '\\' {
                value.push(character);
                continue;
            }
            let (_, escaped) = characters.next().ok_or(Malformed)?;
            match escapes.iter().find(|(written, _)| *written == escaped) {
                Some((_, meant)) => value.push(*meant),
                None => value.extend(['\\', escaped]),
            }
        }
        Err(Malformed)
    }

    fn skip_line(&mut self) {
        self.take_while(|character| character != '\n');
        self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|character| !wanted(character))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// White space within a line.
fn is_blank(character: char) -> bool {
    is_python_space(character) && character != '\n' && character != '\r'
}

/// The line up to the first `#` that follows white space.
fn without_comment(line: &str) -> &str {
    let mut before = None;
    for (at, character) in line.char_indices() {
        if is_python_space(character) {
            before.get_or_insert(at);
        } else {
            if let (Some(start), '#') = (before, character) {
                return &line[..start];
            }
            before = None;
        }
    }
    line
}

/// `${NAME}` and `${NAME:-default}`: what stands in the environment counts before what stands above in the file.
fn expand(value: &str, above: &BTreeMap<String, Option<String>>, real: &Variables) -> String {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("${") {
        let inner = &rest[at + 2..];
        let end = inner.find(['}', ':']).unwrap_or(inner.len());
        let (name, tail) = inner.split_at(end);
        let (default, after) = if let Some(after) = tail.strip_prefix('}') {
            ("", after)
        } else if let Some((default, after)) = tail
            .strip_prefix(":-")
            .and_then(|tail| tail.split_once('}'))
        {
            (default, after)
        } else {
            expanded.push_str(&rest[..at + 2]);
            rest = inner;
            continue;
        };
        expanded.push_str(&rest[..at]);
        match (real.os(name), above.get(name)) {
            (Some(found), _) => expanded.push_str(&found.to_string_lossy()),
            (None, Some(found)) => expanded.push_str(found.as_deref().unwrap_or_default()),
            (None, None) => expanded.push_str(default),
        }
        rest = after;
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{added, bindings};
    use crate::variables::Variables;

    fn value(text: &str) -> Option<String> {
        bindings(text)
            .into_iter()
            .rev()
            .find(|(name, _)| name == "A")
            .and_then(|(_, value)| value)
    }

    #[test]
    fn values_are_read_as_python_dotenv_reads_them() {
        for (text, expected) in [
            ("A=x", "x"),
            ("export A = \"x\" # c\n", "x"),
            ("A='x\\'y'", "x'y"),
            ("A='x\\n'", "x\\n"),
            ("A=\"x\\n\"", "x\n"),
            ("A=x # c", "x"),
            ("A=x#c", "x#c"),
            ("A= # c", ""),
            ("A=#c", "#c"),
            ("A=\"two\nlines\"", "two\nlines"),
            ("'A'=x", "x"),
            ("\u{feff}A=x\r\n", "x"),
            ("B='x' y\nA=1", "1"),
            ("A=1\nA=2", "2"),
        ] {
            assert_eq!(value(text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(value("A"), None);
    }

    #[test]
    fn variables_expand_and_the_environment_wins() {
        let real = Variables::from_iter([("R", "real"), ("A", "kept")]);
        let added = added("R=file\nX=${R}-${N:-d}-${Y}\nY=1\nZ=${Y}${A:b}\nA=9", &real);
        assert_eq!(added["X"], "real-d-");
        assert_eq!(added["Z"], "1${A:b}");
        assert!(!added.contains_key("R") && !added.contains_key("A"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_hang(text in "[A#='\"\\\\$\\{\\}:\\- \n\r\x1cé]{0,40}") {
            let _ = added(&text, &Variables::default());
        }
    }
}
