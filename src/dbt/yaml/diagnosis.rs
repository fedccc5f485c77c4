//! From libyaml's words to ours: the usual mistakes get a name of their own.
#![forbid(unsafe_code)]

use libyaml_safer::{Error, ErrorKind};

use super::Mark;
use super::error::{Problem, YamlError};

/// A mark of libyaml counts from 0.
pub(super) fn mark_of_parser(mark: libyaml_safer::Mark) -> Mark {
    Mark {
        line: mark.line as usize + 1,
        column: mark.column as usize + 1,
    }
}

/// What libyaml could not read, in our words where we know better. The text is looked at, never quoted.
pub(super) fn yaml_error(text: &str, error: &Error) -> YamlError {
    let mark = mark_of_parser(error.problem_mark());
    let problem = match error.kind() {
        ErrorKind::Reader => Problem::ControlCharacter,
        ErrorKind::Nesting => Problem::TooDeep,
        ErrorKind::Bug => Problem::Bug,
        ErrorKind::Scanner | ErrorKind::Parser => {
            let begin = error.context_mark().map(mark_of_parser);
            let template = begin
                .into_iter()
                .chain([mark])
                .find_map(|mark| template_on(text, mark));
            if let Some(mark) = template {
                return YamlError::new(Problem::UnquotedTemplate, mark);
            }
            if has_tab(text, mark) {
                Problem::Tab
            } else if error.problem() == "found character that cannot start any token" {
                Problem::ReservedCharacter
            } else {
                Problem::Syntax {
                    what: error.problem(),
                    during: error.context(),
                }
            }
        }
    };
    YamlError::new(problem, mark)
}

/// Where the template begins, if the `{` of a map that was found as a key is the second one of `{{`.
pub(super) fn template_around(text: &str, mark: Mark) -> Option<Mark> {
    let mut line = line_of(text, mark.line).chars();
    let before: String = line.by_ref().take(mark.column.saturating_sub(1)).collect();
    let before = before.trim_end();
    let twice = line.next() == Some('{') && before.ends_with('{');
    twice.then(|| Mark {
        line: mark.line,
        column: before.chars().count(),
    })
}

/// Where on this line a value begins with `{{` or `{%`.
fn template_on(text: &str, mark: Mark) -> Option<Mark> {
    let line = line_of(text, mark.line);
    let at = ["{{", "{%"]
        .iter()
        .filter_map(|brackets| line.find(brackets))
        .min()?;
    let before = line[..at].trim_end();
    let begins = before.is_empty() || before.ends_with([':', '-', ',', '[', '{', '?']);
    begins.then(|| Mark {
        line: mark.line,
        column: line[..at].chars().count() + 1,
    })
}

fn has_tab(text: &str, mark: Mark) -> bool {
    let line = line_of(text, mark.line);
    let indentation = line.chars().take_while(|ch| ch.is_whitespace());
    line.chars().nth(mark.column.saturating_sub(1)) == Some('\t')
        || indentation.into_iter().any(|ch| ch == '\t')
}

/// A line by its number, 1-based, with libyaml's line breaks.
fn line_of(text: &str, number: usize) -> &str {
    let mut rest = text;
    for _ in 1..number {
        let Some(at) = rest.find(is_break) else {
            return "";
        };
        let after = &rest[at..];
        let width = if after.starts_with("\r\n") {
            2
        } else {
            after.chars().next().map_or(0, char::len_utf8)
        };
        rest = &after[width..];
    }
    rest.find(is_break).map_or(rest, |end| &rest[..end])
}

fn is_break(ch: char) -> bool {
    matches!(ch, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}
