//! From a template's text to minijinja's syntax tree, where it is certain that Jinja2 reads the same.
#![forbid(unsafe_code)]

use minijinja::machinery::ast::Stmt;
use minijinja::machinery::{Token, parse, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::{JinjaError, filters};

/// A chain of operators becomes a tree as deep as it is long: longer ones could overflow the stack.
const MOST_TOKENS: usize = 400;

/// Jinja2's own preparation: every line end is a line feed, and one at the end goes.
pub(super) fn prepared(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// Parses a prepared text.
///
/// # Errors
/// Whatever the two parsers may read differently: minijinja is the stricter one, but not everywhere.
pub(super) fn parsed(text: &str) -> Result<Stmt<'_>, JinjaError> {
    // Python's white space has these four, Rust's has not; line separators end lines for neither.
    if text.contains(|character| matches!(character, '\x1c'..='\x1f')) {
        return Err(JinjaError::uncertain(
            "control characters beside a template",
        ));
    }
    let syntax = SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .build()
        .map_err(|_| JinjaError::uncertain("Jinja's syntax"))?;
    // Nothing that Jinja2 knows lets a lone `{{` pass.
    let is_open = text.contains("{{") && !["}}", "{%", "{#"].iter().any(|sign| text.contains(sign));
    if is_open {
        return Err(JinjaError::failed("`{{` without `}}`"));
    }
    let broken = || JinjaError::uncertain("syntax that cannot be parsed here");
    let mut in_block = false;
    let mut operator = None;
    let mut tokens = 0;
    for token in tokenize(text, false, syntax.clone()) {
        let (token, span) = token.map_err(|_| broken())?;
        tokens += 1;
        if tokens > MOST_TOKENS {
            return Err(JinjaError::uncertain("a very long expression"));
        }
        let written = text
            .get(span.start_offset as usize..span.end_offset as usize)
            .unwrap_or_default();
        match (&token, operator) {
            (Token::Ident(name), Some("|")) if !filters::FILTERS.contains(name) => {
                return Err(JinjaError::uncertain(format!("the filter `{name}`")));
            }
            (Token::Ident("not"), Some("is")) => continue,
            (Token::Ident(name), Some("is")) if !filters::TESTS.contains(name) => {
                return Err(JinjaError::uncertain(format!("the test `{name}`")));
            }
            (Token::Ident(_), Some("|")) => operator = Some("filter"),
            (Token::Ident(_), Some("is")) => operator = Some("test"),
            (Token::Dot, Some("filter" | "test")) => {
                return Err(JinjaError::uncertain(
                    "a filter or test with a dot in its name",
                ));
            }
            (Token::Ident("is"), Some("test")) => {
                return Err(JinjaError::uncertain("one `is` after another"));
            }
            (Token::Pipe, _) => operator = Some("|"),
            (Token::Ident("is"), _) => operator = Some("is"),
            _ => operator = None,
        }
        match token {
            Token::BlockStart => in_block = true,
            Token::Ident(word) if in_block => {
                in_block = false;
                if !["if", "elif", "else", "endif", "set"].contains(&word) {
                    return Err(JinjaError::uncertain(format!("the statement `{word}`")));
                }
            }
            Token::Str(_) | Token::String(_) => check_escapes(written)?,
            Token::Int(_) | Token::Int128(_) => {
                let plain = written.bytes().all(|byte| byte.is_ascii_digit());
                if !plain || (written.len() > 1 && written.starts_with('0')) {
                    return Err(JinjaError::uncertain("a number that is not plain decimal"));
                }
            }
            Token::Float(_) => {
                let plain = written.split_once('.').is_some_and(|(whole, fraction)| {
                    let digits = |part: &str| {
                        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
                    };
                    digits(whole)
                        && digits(fraction)
                        && (whole.len() == 1 || !whole.starts_with('0'))
                });
                if !plain {
                    return Err(JinjaError::uncertain("a number with an exponent"));
                }
            }
            _ => {}
        }
    }
    // `raw` blocks are text for the tokenizer, and their white space has rules of its own.
    if text.contains("endraw") {
        return Err(JinjaError::uncertain("the statement `raw`"));
    }
    parse(text, "", syntax).map_err(|_| broken())
}

/// Escapes that mean the same in Python and here; Python keeps the backslash of an unknown one, and knows more.
fn check_escapes(written: &str) -> Result<(), JinjaError> {
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            continue;
        }
        let same = match characters.next() {
            Some('\\' | '"' | '\'' | 'n' | 't' | 'r') => true,
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                digits.len() == 4
                    && u32::from_str_radix(&digits, 16)
                        .is_ok_and(|code| char::from_u32(code).is_some())
                    && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            }
            _ => false,
        };
        if !same {
            return Err(JinjaError::uncertain("an unusual escape in a string"));
        }
    }
    Ok(())
}
