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
