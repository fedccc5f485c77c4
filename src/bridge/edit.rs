//! Edits in place, and how they are shown: never with an old value.
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

/// Edits as plain replacements.
fn flat(text: &str, edits: &[Edit]) -> Vec<(Range<usize>, String)> {
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

/// What stands for an old value.
const MASK: &str = "********";
/// Lines around a change.
const CONTEXT: usize = 3;

/// A unified diff of a file. What is edited and `hidden` (bytes of the old text) are not shown.
pub fn diff(name: &str, text: &str, edits: &[Edit], hidden: &[Range<usize>]) -> String {
    let flat = flat(text, edits);
    if flat.is_empty() {
        return String::new();
    }
    let lines = lines(text);
    let line_of = |at: usize| {
        lines
            .partition_point(|line| line.end <= at)
            .min(lines.len().saturating_sub(1))
    };
    // Blocks of lines that change, with the edits in each.
    let mut blocks: Vec<(Range<usize>, Vec<&(Range<usize>, String)>)> = Vec::new();
    for change in &flat {
        let first = line_of(change.0.start);
        let last = if change.0.is_empty() {
            first
        } else {
            line_of(change.0.end - 1)
        };
        match blocks.last_mut() {
            Some((block, changes)) if block.end >= first => {
                block.end = block.end.max(last + 1);
                changes.push(change);
            }
            _ => blocks.push((first..last + 1, vec![change])),
        }
    }
    let mut shown = format!("--- {name}\n+++ {name}\n");
    let mut shift: isize = 0;
    let mut rest = blocks.as_slice();
    while !rest.is_empty() {
        let together = 1 + rest
            .windows(2)
            .take_while(|pair| pair[1].0.start <= pair[0].0.end + 2 * CONTEXT)
            .count();
        let (hunk, others) = rest.split_at(together);
        rest = others;
        let start = hunk[0].0.start.saturating_sub(CONTEXT);
        let end = (hunk[together - 1].0.end + CONTEXT).min(lines.len());
        let mut body = String::new();
        let (mut old, mut new) = (0, 0);
        let mut at = start;
        let context = |body: &mut String, lines_of: Range<usize>| {
            for number in lines_of.clone() {
                push_lines(body, ' ', &masked(text, lines[number].clone(), &[], hidden));
            }
            lines_of.len()
        };
        for (block, changes) in hunk {
            let same = context(&mut body, at..block.start);
            old += same + block.len();
            new += same;
            let bytes = lines[block.start].start..lines[block.end - 1].end;
            let spans: Vec<Range<usize>> = changes.iter().map(|(span, _)| span.clone()).collect();
            push_lines(&mut body, '-', &masked(text, bytes.clone(), &spans, hidden));
            new += push_lines(&mut body, '+', &replaced(text, bytes, changes, hidden));
            at = block.end;
        }
        let same = context(&mut body, at..end);
        old += same;
        new += same;
        let from = |first: usize, count: usize| if count == 0 { first } else { first + 1 };
        shown.push_str(&format!(
            "@@ -{},{old} +{},{new} @@\n{body}",
            from(start, old),
            from(start.saturating_add_signed(shift), new),
        ));
        shift += new as isize - old as isize;
    }
    shown
}

/// A diff that makes a file.
pub fn diff_of_new(name: &str, text: &str) -> String {
    let mut body = String::new();
    let count = push_lines(&mut body, '+', text);
    format!("--- /dev/null\n+++ {name}\n@@ -0,0 +1,{count} @@\n{body}")
}

/// Lines with their breaks.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        lines.push(start..start + line.len());
        start += line.len();
    }
    lines
}

/// Writes lines behind a sign; how many.
fn push_lines(out: &mut String, sign: char, text: &str) -> usize {
    let mut count = 0;
    for line in text.split_inclusive('\n') {
        count += 1;
        out.push(sign);
        let ends = line.ends_with('\n');
        // A terminal must not obey a file.
        for ch in line.trim_end_matches(['\r', '\n']).chars() {
            if ch.is_control() && ch != '\t' {
                out.extend(ch.escape_unicode());
            } else {
                out.push(ch);
            }
        }
        out.push('\n');
        if !ends {
            out.push_str("\\ No newline at end of file\n");
        }
    }
    count
}

/// Old lines; what is in the spans is hidden, line by line.
fn masked(
    text: &str,
    bytes: Range<usize>,
    spans: &[Range<usize>],
    hidden: &[Range<usize>],
) -> String {
    let mut all: Vec<&Range<usize>> = spans
        .iter()
        .chain(hidden)
        .filter(|span| span.start < bytes.end && span.end > bytes.start)
        .collect();
    all.sort_by_key(|span| span.start);
    let mut shown = String::new();
    let mut at = bytes.start;
    for span in all {
        let (start, end) = (span.start.max(at), span.end.min(bytes.end));
        if start >= end {
            continue;
        }
        shown.push_str(&text[at..start]);
        for line in text[start..end].split_inclusive('\n') {
            let content = line.trim_end_matches(['\r', '\n']);
            let indent = content.len() - content.trim_start().len();
            shown.push_str(&content[..indent]);
            if indent < content.len() {
                shown.push_str(MASK);
            }
            shown.push_str(&line[content.len()..]);
        }
        at = end;
    }
    shown.push_str(&text[at..bytes.end]);
    shown
}

/// New lines.
fn replaced(
    text: &str,
    bytes: Range<usize>,
    changes: &[&(Range<usize>, String)],
    hidden: &[Range<usize>],
) -> String {
    let mut shown = String::new();
    let mut at = bytes.start;
    for (span, new) in changes.iter().copied() {
        shown.push_str(&masked(text, at..span.start, &[], hidden));
        shown.push_str(new);
        at = span.end;
    }
    shown.push_str(&masked(text, at..bytes.end, &[], hidden));
    shown
}

#[cfg(test)]
mod tests {
    use super::{Edit, Replacement, applied, diff, of_scalar};
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

    #[test]
    fn a_diff_shows_what_changes_and_no_old_value() {
        let text = "a: 1\nb: 2\nc: 3\nd: 4\npass: s3cret # x\ne: 5\n# pass: 0ther\nf: 6\n";
        let comment = text.find("0ther").expect("it is there");
        let edits = [edit(text, "s3cret", Style::Plain)];
        let shown = diff("profiles.yml", text, &edits, &[comment..comment + 5]);
        assert_eq!(
            shown,
            "--- profiles.yml\n+++ profiles.yml\n@@ -2,7 +2,7 @@\n b: 2\n c: 3\n d: 4\n-pass: ******** # x\n\
             +pass: \"{{ env_var('X') }}\" # x\n e: 5\n # pass: ********\n f: 6\n"
        );
    }

    #[test]
    fn a_diff_counts_the_lines_of_a_block_that_goes() {
        let text = "a: |\n  s3cret\n  more\nb: 1";
        let edits = [edit(text, "|\n  s3cret\n  more", Style::Block)];
        let shown = diff("p", text, &edits, &[]);
        assert_eq!(
            shown,
            "--- p\n+++ p\n@@ -1,4 +1,2 @@\n-a: ********\n-  ********\n-  ********\n+a: \"{{ env_var('X') }}\"\n b: 1\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn changes_far_apart_stand_in_hunks_of_their_own() {
        let text: String = (0..30)
            .map(|number| format!("k{number}: v{number}\n"))
            .collect();
        let edits = [
            edit(&text, "v3\n", Style::Plain),
            edit(&text, "v25\n", Style::Plain),
        ]
        .map(|edit| Edit {
            span: edit.span.start..edit.span.end - 1,
            replacement: Replacement::Text("x".to_owned()),
        });
        let shown = diff("p", &text, &edits, &[]);
        assert!(
            shown.contains("@@ -1,7 +1,7 @@") && shown.contains("@@ -23,7 +23,7 @@"),
            "{shown}"
        );
    }
}
