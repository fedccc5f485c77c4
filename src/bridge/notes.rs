//! What the user should know of a file beside its credentials: its comments, the words that stand in it more than once.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ops::Range;

use super::{Note, literal};
use crate::dbt::yaml::{Content, Written};

/// How often each word stands in the file's scalars.
pub(super) fn words(written: &Written) -> HashMap<&str, usize> {
    let mut words = HashMap::new();
    for node in written.nodes() {
        if let Content::Scalar(scalar) = &node.content {
            let between = |ch: char| !(ch.is_alphanumeric() || ch == '_');
            for word in scalar.text.split(between) {
                *words.entry(word).or_default() += 1;
            }
        }
    }
    words
}

/// Comments that look like credentials.
pub(super) fn suspect_comments(text: &str, written: &Written) -> Vec<Note> {
    let mut scalars: Vec<Range<usize>> = written
        .nodes()
        .iter()
        .filter(|node| matches!(node.content, Content::Scalar(_)))
        .map(|node| node.span.clone())
        .collect();
    scalars.sort_by_key(|span| span.start);
    let mut notes = Vec::new();
    let mut next = 0;
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = start + line.len();
        let mut from = start;
        while let Some(at) = text[from..end].find('#').map(|at| from + at) {
            while scalars.get(next).is_some_and(|span| span.end <= at) {
                next += 1;
            }
            if let Some(span) = scalars.get(next).filter(|span| span.contains(&at)) {
                from = span.end.clamp(at + 1, end);
                continue;
            }
            let begins = text[start..at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace);
            let comment = text[at..end].trim_end();
            if begins && literal::is_suspect(comment) {
                notes.push(Note::Comment {
                    line: number + 1,
                    span: at..at + comment.len(),
                });
            }
            if begins {
                break;
            }
            from = at + 1;
        }
        start = end;
    }
    notes
}
