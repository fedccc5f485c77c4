//! Edits in place.
#![forbid(unsafe_code)]

use std::ops::Range;

use crate::dbt::yaml::Style;

/// Bytes that are replaced; every other byte stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The old bytes.
    pub span: Range<usize>,
    /// What stands there then.
    pub replacement: Replacement,
}

/// What replaces old bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// This text.
    Text(String),
    /// This text for a block scalar's `|` or `>` with what belongs to it; a comment behind it stays, its lines go.
    Block(String),
}

/// The edit that makes a template of a scalar, in the scalar's own quotes where it has any.
pub(super) fn of_scalar(span: Range<usize>, style: Style, template: &str) -> Edit {
    let replacement = match style {
        // In single quotes, `'` would have to stand twice.
        Style::Single => Replacement::Text(format!("'{}'", template.replace('\'', "\""))),
        // An empty one without quotes begins right behind its tag.
        Style::Plain if span.is_empty() => Replacement::Text(format!(" \"{template}\"")),
        Style::Plain | Style::Double => Replacement::Text(format!("\"{template}\"")),
        Style::Block => Replacement::Block(format!("\"{template}\"")),
    };
    Edit { span, replacement }
}

/// A text with its edits, which are in order and do not touch.
pub fn applied(text: &str, edits: &[Edit]) -> String {
    let mut new = String::with_capacity(text.len());
    let mut at = 0;
    for (span, replacement) in flat(text, edits) {
        new.push_str(&text[at..span.start]);
        new.push_str(&replacement);
        at = span.end;
    }
    new.push_str(&text[at..]);
    new
}

/// The bytes that edits replace.
pub fn replaced_bytes(text: &str, edits: &[Edit]) -> Vec<Range<usize>> {
    flat(text, edits)
        .into_iter()
        .map(|(span, _)| span)
        .collect()
}

/// Bytes with what replaces them.
pub(super) type Change = (Range<usize>, String);

/// Edits as plain replacements.
pub(super) fn flat(text: &str, edits: &[Edit]) -> Vec<Change> {
    let mut flat = Vec::new();
    for edit in edits {
        match &edit.replacement {
            Replacement::Text(new) => flat.push((edit.span.clone(), new.clone())),
            Replacement::Block(new) => {
                let block = &text[edit.span.clone()];
                let header = block
                    .find(|ch: char| !"|>+-0123456789".contains(ch))
                    .unwrap_or(block.len());
                let start = edit.span.start;
                flat.push((start..start + header, new.clone()));
                if let Some(first) = after_break(block, 0) {
                    let rest = &text[start..];
                    let end = after_break(rest, block.len()).unwrap_or(rest.len());
                    flat.push((start + first..start + end, String::new()));
                }
            }
        }
    }
    flat
}

/// The byte behind the first line break from a place on.
fn after_break(text: &str, from: usize) -> Option<usize> {
    let at = from + text[from..].find(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}'])?;
    let rest = &text[at..];
    let width = if rest.starts_with("\r\n") {
        2
    } else {
        rest.chars().next().map_or(0, char::len_utf8)
    };
    Some(at + width)
}

#[cfg(test)]
mod tests {
    use super::{Edit, applied, of_scalar};
    use crate::dbt::yaml::Style;

    fn edit(text: &str, old: &str, style: Style) -> Edit {
        let start = text.find(old).expect("it is there");
        of_scalar(start..start + old.len(), style, "{{ env_var('X') }}")
    }

    #[test]
    fn a_scalar_keeps_its_quotes() {
        for (text, old, style, new) in [
            (
                "a: b # c",
                "b",
                Style::Plain,
                "a: \"{{ env_var('X') }}\" # c",
            ),
            ("a: 'b'", "'b'", Style::Single, "a: '{{ env_var(\"X\") }}'"),
            (
                "a: \"b\"",
                "\"b\"",
                Style::Double,
                "a: \"{{ env_var('X') }}\"",
            ),
        ] {
            assert_eq!(applied(text, &[edit(text, old, style)]), new);
        }
    }

    #[test]
    fn a_block_scalar_loses_its_lines_and_nothing_else() {
        for (text, old, new) in [
            (
                "a: |- # c\n  x\n\n  y\n\n# d\nb: 1\n",
                "|- # c\n  x\n\n  y",
                "a: \"{{ env_var('X') }}\" # c\n\n# d\nb: 1\n",
            ),
            (
                "a: >2\r\n  x\r\nb: 1\r\n",
                ">2\r\n  x",
                "a: \"{{ env_var('X') }}\"\r\nb: 1\r\n",
            ),
            ("a: |\n  x", "|\n  x", "a: \"{{ env_var('X') }}\"\n"),
            ("a: |\n", "|", "a: \"{{ env_var('X') }}\"\n"),
        ] {
            assert_eq!(
                applied(text, &[edit(text, old, Style::Block)]),
                new,
                "{text:?}"
            );
        }
    }
}
