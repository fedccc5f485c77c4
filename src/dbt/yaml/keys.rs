//! The key on a line of a text that may be no YAML: for messages, which show keys and no values.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

use libyaml_safer::{EventData, Parser};

use super::diagnosis::mark_of_parser;
use crate::place::Key;

/// What is open while the events are walked.
enum Frame {
    /// A mapping in block style, and whether its next node is a key.
    Block { key_next: bool },
    /// A list in block style.
    List,
    /// Brackets or braces, or a key that is no text: nothing in it is shown.
    Hidden,
}

/// The first key on a line (1-based), else the last key before it, with its line, as far as the parser takes it for one.
/// Only keys of mappings in block style: between braces a secret without quotes may pass for a key.
pub fn last_key(text: &str, line: usize) -> Option<(usize, Key)> {
    let mut last = None;
    let on_line = walked(text, line, &mut last);
    on_line.map(|key| (line, key)).or(last)
}

fn walked(text: &str, line: usize, last: &mut Option<(usize, Key)>) -> Option<Key> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new(text).ok()?;
    let mut open: Vec<Frame> = Vec::new();
    // Marks only grow: the text is walked once beside the events.
    let mut characters = text.chars();
    let mut passed = 0;
    loop {
        let event = parser.parse().ok()?;
        let mark = mark_of_parser(event.start_mark);
        let mut ends_with = |bracket| {
            let last = event.end_mark.index.checked_sub(passed + 1)?;
            passed = event.end_mark.index;
            let last = usize::try_from(last).ok()?;
            (characters.nth(last)? == bracket).then_some(())
        };
        match event.data {
            EventData::StreamEnd => return None,
            EventData::StreamStart | EventData::DocumentStart | EventData::DocumentEnd => {}
            EventData::MappingEnd | EventData::SequenceEnd => {
                open.pop();
            }
            EventData::Scalar { value, .. } => {
                if is_key(&mut open) {
                    match mark.line.cmp(&line) {
                        Ordering::Equal => return Key::shown(mark.column, &value),
                        Ordering::Greater => return None,
                        Ordering::Less => {
                            *last = Key::shown(mark.column, &value).map(|key| (mark.line, key));
                        }
                    }
                }
            }
            EventData::Alias { .. } => {
                is_key(&mut open);
            }
            EventData::MappingStart { .. } => {
                let flow = ends_with('{').is_some();
                let frame = Frame::Block { key_next: true };
                opened(&mut open, flow, frame);
            }
            EventData::SequenceStart { .. } => {
                let flow = ends_with('[').is_some();
                opened(&mut open, flow, Frame::List);
            }
        }
    }
}

fn opened(open: &mut Vec<Frame>, flow: bool, frame: Frame) {
    let hidden = is_key(open) || flow || matches!(open.last(), Some(Frame::Hidden));
    open.push(if hidden { Frame::Hidden } else { frame });
}

/// Counts a node of the innermost mapping; whether it is a key.
fn is_key(open: &mut [Frame]) -> bool {
    match open.last_mut() {
        Some(Frame::Block { key_next }) => {
            *key_next = !*key_next;
            !*key_next
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::last_key;

    fn key(text: &str, line: usize) -> Option<(usize, String)> {
        let (at, key) = last_key(text, line)?;
        (at == line).then_some((key.column, key.text))
    }

    #[test]
    fn the_key_of_a_line_is_found_up_to_the_error() {
        let text = "p:\n  port: {{ x }}\n  host: @y\n  rest: 1\n";
        assert_eq!(key(text, 2), Some((3, "port".to_owned())));
        assert_eq!(key(text, 3), Some((3, "host".to_owned())));
        assert_eq!(key(text, 4), None);
        assert_eq!(
            key("é: {a: 1}\na:\n  - b: @x\n", 3),
            Some((5, "b".to_owned()))
        );
        assert_eq!(
            key("password: \"abc\n", 1),
            Some((1, "password".to_owned()))
        );
    }

    #[test]
    fn before_a_line_without_a_key_the_last_key_is_found() {
        let found = last_key("a:\n  password: \"abc\n  x\n", 4);
        let (line, key) = found.expect("there is one");
        assert_eq!((line, key.text.as_str()), (2, "password"));
        assert_eq!(last_key("@", 1), None);
    }

    #[test]
    fn what_may_be_a_value_is_no_key() {
        for text in [
            "a: {s3cret: 1, @",
            "a: s3cret\n  b: c: @",
            "a: [s3cret, {s3cret: 1}, @",
            "a: [s3cret: 1, @",
            "a: &x {s3cret: 1, @",
            "é: &x !!map {s3cret: 1, @",
            "s3cret\n",
            "- s3cret\n",
            "{{ s3cret }}: 1\n",
            "a: |\n  s3cret: x\n b: @",
        ] {
            for line in 1..=3 {
                let found = last_key(text, line).map(|(_, key)| key.text);
                assert_ne!(found.as_deref(), Some("s3cret"), "{text:?}, line {line}");
            }
        }
    }
}
