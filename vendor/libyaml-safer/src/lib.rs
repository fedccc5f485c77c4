#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
// The code stays as near to upstream as it can.
#![allow(clippy::manual_range_contains, clippy::collapsible_if)]

#[macro_use]
mod macros;

mod error;
mod event;
mod parser;
mod reader;
mod scanner;
mod token;

pub use crate::error::{Error, ErrorKind, Mark, Result};
pub use crate::event::{Event, EventData};
pub use crate::parser::Parser;
pub(crate) use crate::parser::SimpleKey;
pub(crate) use crate::token::{Token, TokenData};

/// How deep collections may be nested. libyaml has no limit; a profile needs ten.
pub const MAX_NESTING: usize = 1000;

/// How many %TAG directives a document may have; each tag looks at all of them.
pub const MAX_TAG_DIRECTIVES: usize = 64;

/// The tag directive data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TagDirective {
    /// The tag handle.
    pub(crate) handle: String,
    /// The tag prefix.
    pub(crate) prefix: String,
}

/// Scalar styles.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ScalarStyle {
    /// The plain scalar style.
    Plain,
    /// The single-quoted scalar style.
    SingleQuoted,
    /// The double-quoted scalar style.
    DoubleQuoted,
    /// The literal scalar style.
    Literal,
    /// The folded scalar style.
    Folded,
}

#[cfg(test)]
mod tests {
    use crate::{ErrorKind, EventData, Parser};

    /// The scalars of a document, or the kind of its error.
    fn scalars(input: &str) -> Result<Vec<String>, ErrorKind> {
        let mut parser = Parser::new(input).map_err(|error| error.kind())?;
        let mut found = Vec::new();
        loop {
            match parser.parse().map_err(|error| error.kind())?.data {
                EventData::StreamEnd => return Ok(found),
                EventData::Scalar { value, .. } => found.push(value),
                _ => (),
            }
        }
    }

    #[test]
    fn a_block_scalar_may_end_the_input_without_a_newline() {
        assert_eq!(scalars("a: |\n  x"), Ok(vec!["a".into(), "x".into()]));
        assert_eq!(scalars("a: >"), Ok(vec!["a".into(), String::new()]));
    }

    #[test]
    fn a_tag_may_stand_before_a_comma_of_a_flow_collection() {
        assert_eq!(scalars("[!x, y]"), Ok(vec![String::new(), "y".into()]));
    }

    #[test]
    fn a_backslash_at_the_end_of_the_input_is_an_error() {
        assert_eq!(scalars("\"a\\"), Err(ErrorKind::Scanner));
    }

    #[test]
    fn a_simple_key_is_counted_in_characters() {
        let key = "\u{e9}".repeat(1_000);
        assert_eq!(scalars(&format!("{key}: x")), Ok(vec![key, "x".into()]));
        assert_eq!(
            scalars(&format!("{}: x", "\u{e9}".repeat(1_100))),
            Err(ErrorKind::Scanner)
        );
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(scalars(&"[".repeat(100_000)), Err(ErrorKind::Nesting));
        assert_eq!(scalars(&"- ".repeat(100_000)), Err(ErrorKind::Nesting));
    }
}
