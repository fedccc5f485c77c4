//! How edits are shown: as a unified diff, never with an old value.
#![forbid(unsafe_code)]

use std::ops::Range;

use super::edit::{Change, Edit, flat};

/// What stands for an old value.
const MASK: &str = "********";
/// Lines around a change.
const CONTEXT: usize = 3;

/// A unified diff of a file. `hidden` are bytes of the old text that are not shown: of a profiles.yml what is edited, and what stays though it
/// is a credential.
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
    // Where a line begins; behind the last line, the end.
    let start_of = |line: usize| lines.get(line).map_or(text.len(), |line| line.start);
    // Blocks of lines that change, with the changes in each.
    let mut blocks: Vec<(Range<usize>, Vec<&Change>)> = Vec::new();
    for change in &flat {
        let (span, new) = change;
        let at = lines.partition_point(|line| line.start < span.start);
        let whole = span.is_empty() && start_of(at) == span.start && new.ends_with('\n');
        let range = if whole {
            at..at
        } else if span.is_empty() {
            line_of(span.start)..line_of(span.start) + 1
        } else {
            line_of(span.start)..line_of(span.end - 1) + 1
        };
        match blocks.last_mut() {
            Some((block, changes)) if block.end >= range.start => {
                block.end = block.end.max(range.end);
                changes.push(change);
            }
            _ => blocks.push((range, vec![change])),
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
                push_lines(body, ' ', &masked(text, lines[number].clone(), hidden));
            }
            lines_of.len()
        };
        for (block, changes) in hunk {
            let same = context(&mut body, at..block.start);
            old += same + block.len();
            new += same;
            let bytes = start_of(block.start)..start_of(block.end);
            push_lines(&mut body, '-', &masked(text, bytes.clone(), hidden));
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

/// Old lines; what is in `hidden` is not shown, line by line.
fn masked(text: &str, bytes: Range<usize>, hidden: &[Range<usize>]) -> String {
    let mut all: Vec<&Range<usize>> = hidden
        .iter()
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
    changes: &[&Change],
    hidden: &[Range<usize>],
) -> String {
    let mut shown = String::new();
    let mut at = bytes.start;
    for (span, new) in changes.iter().copied() {
        shown.push_str(&masked(text, at..span.start, hidden));
        shown.push_str(new);
        at = span.end;
    }
    shown.push_str(&masked(text, at..bytes.end, hidden));
    shown
}

#[cfg(test)]
mod tests {
    use super::super::edit::{Edit, Replacement, of_scalar, replaced_bytes};
    use super::diff;
    use crate::dbt::yaml::Style;

    fn edit(text: &str, old: &str, style: Style) -> Edit {
        let start = text.find(old).expect("it is there");
        of_scalar(start..start + old.len(), style, "{{ env_var('X') }}")
    }

    #[test]
    fn a_diff_shows_what_changes_and_no_old_value() {
        let text = "a: 1\nb: 2\nc: 3\nd: 4\npass: s3cret # x\ne: 5\n# pass: 0ld-one\nf: 6\n";
        let comment = text.find("0ld-one").expect("it is there");
        let edits = [edit(text, "s3cret", Style::Plain)];
        let hidden = [edits[0].span.clone(), comment..comment + 7];
        let shown = diff("profiles.yml", text, &edits, &hidden);
        assert_eq!(
            shown,
            "--- profiles.yml\n+++ profiles.yml\n@@ -2,7 +2,7 @@\n b: 2\n c: 3\n d: 4\n-pass: ******** # x\n\
             +pass: \"{{ env_var('X') }}\" # x\n e: 5\n # pass: ********\n f: 6\n"
        );
    }

    #[test]
    fn a_diff_counts_the_lines_of_a_block_that_goes() {
        let text = "a: | # c\n  s3cret\n  more\nb: 1";
        let edits = [edit(text, "| # c\n  s3cret\n  more", Style::Block)];
        let shown = diff("p", text, &edits, &replaced_bytes(text, &edits));
        assert_eq!(
            shown,
            "--- p\n+++ p\n@@ -1,4 +1,2 @@\n-a: ******** # c\n-  ********\n-  ********\n+a: \"{{ env_var('X') }}\" # c\n b: 1\n\\ No newline at end of file\n"
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

    #[test]
    fn lines_that_come_between_others_are_only_added() {
        for (text, at, expected) in [
            ("a: 1\nb: 2\n", 5, "@@ -1,2 +1,3 @@\n a: 1\n+x: 1\n b: 2\n"),
            ("a: 1\n", 5, "@@ -1,1 +1,2 @@\n a: 1\n+x: 1\n"),
            ("", 0, "@@ -0,0 +1,1 @@\n+x: 1\n"),
        ] {
            let edits = [Edit {
                span: at..at,
                replacement: Replacement::Text("x: 1\n".to_owned()),
            }];
            assert_eq!(
                diff("p", text, &edits, &[]),
                format!("--- p\n+++ p\n{expected}")
            );
        }
    }
}
