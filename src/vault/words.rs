//! A server's words, made fit for a terminal and a CI's log.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

/// The longest text that is shown of one error of the server, in characters.
const LONGEST: usize = 400;
/// The most errors that are shown of one answer.
const MOST: usize = 5;

/// One line: white space folded, control and direction characters escaped, each of `hidden` replaced, bounded.
///
/// CI systems take lines that begin with `::`, and `##[` or `##vso[` anywhere, for commands: both are broken up.
pub(crate) fn tame(text: &str, hidden: &[&str]) -> String {
    let mut masked = text.to_owned();
    for secret in hidden.iter().filter(|secret| secret.len() >= 4) {
        masked = masked.replace(secret, "…");
    }
    let mut line = String::new();
    for (count, character) in masked
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .enumerate()
    {
        if count == LONGEST {
            line.push('…');
            break;
        }
        if is_odd(character) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", character.escape_unicode());
        } else {
            if character == '#' && line.ends_with('#') {
                line.push(' ');
            }
            line.push(character);
        }
    }
    if line.starts_with("::") {
        line.insert(0, ' ');
        line.insert(0, '\\');
    }
    line
}

/// The errors of an answer, each as one line: Go's `N errors occurred:\n\t* a\n\t* b` is taken apart, repeats dropped.
pub(crate) fn errors(list: &[String], hidden: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for text in list {
        let multiple = text
            .split_once(" occurred:\n")
            .is_some_and(|(head, _)| head.ends_with("error") || head.ends_with("errors"));
        let parts: Vec<&str> = if multiple {
            text.split("\n\t* ").skip(1).collect()
        } else {
            vec![text.as_str()]
        };
        for part in parts {
            let line = tame(part, hidden);
            if !line.is_empty() && !lines.contains(&line) && lines.len() < MOST {
                lines.push(line);
            }
        }
    }
    lines
}

/// Control characters, and those that reorder or hide what follows them.
fn is_odd(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{errors, tame};

    #[test]
    fn terminal_escapes_and_line_breaks_are_shown_not_obeyed() {
        assert_eq!(
            tame("a\x1b[2Jb\r\nc\u{202e}d", &[]),
            "a\\u{1b}[2Jb c\\u{202e}d"
        );
    }

    #[test]
    fn commands_of_ci_systems_are_broken_up() {
        assert_eq!(
            tame("\n  ::set-env name=A::b", &[]),
            "\\ ::set-env name=A::b"
        );
        assert_eq!(
            tame("x ##vso[task.setvariable]", &[]),
            "x # #vso[task.setvariable]"
        );
        assert!(!tame("####[error]", &[]).contains("##"));
    }

    #[test]
    fn secrets_that_we_know_are_hidden() {
        assert_eq!(
            tame(
                "lease database/creds/a/XyZ9 not found",
                &["database/creds/a/XyZ9"]
            ),
            "lease … not found"
        );
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(tame(&"x".repeat(5000), &[]).chars().count(), 401);
    }

    #[test]
    fn goes_list_of_errors_is_taken_apart() {
        let list = [
            "1 error occurred:\n\t* permission denied\n\n".to_owned(),
            "permission denied".to_owned(),
        ];
        assert_eq!(errors(&list, &[]), ["permission denied"]);
        let list = ["2 errors occurred:\n\t* a\n\t* b\n\n".to_owned()];
        assert_eq!(errors(&list, &[]), ["a", "b"]);
    }
}
