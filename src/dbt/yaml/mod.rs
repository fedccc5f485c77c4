//! YAML as dbt reads it: libyaml's grammar, PyYAML's CSafeLoader values, and an emitter that dbt reads back unchanged.
#![forbid(unsafe_code)]

use std::rc::Rc;

use zeroize::Zeroizing;

mod binary;
mod buffer;
mod composer;
mod constructor;
mod diagnosis;
mod emitter;
mod error;
mod keys;
mod limits;
mod loader;
mod merging;
mod number;
mod quoting;
mod resolver;
mod timestamp;
mod written;

#[cfg(test)]
mod tests;

pub use emitter::{emit, emit_for};
pub use error::{EmitError, Problem, YamlError};
pub use keys::last_key;
pub use loader::{load, load_merging};
pub use merging::Merging;
pub use timestamp::is_date;
pub use written::{Content, Entry, Kind, Occurrence, Scalar, Style, Written, WrittenNode};

/// Where a node begins: 1-based line and column (columns count characters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
}

/// A value with its place in the file. Nodes are shared (`Rc`), so an alias costs nothing.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value as PyYAML constructs it.
    pub value: Value,
    /// Where it begins.
    pub mark: Mark,
}

/// What PyYAML's CSafeLoader can make of a node.
#[derive(Clone)]
pub enum Value {
    /// `null`, `~`, nothing.
    Null,
    /// `true`, `yes`, `on`, … in YAML 1.1.
    Bool(bool),
    /// Decimal digits with an optional `-`: Python's ints have no bounds.
    Int(String),
    /// A double.
    Float(f64),
    /// A string of the user's: dbt renders it as Jinja.
    Str(Zeroizing<String>),
    /// A string of ours, which dbt must see exactly as it is: emitted so that Jinja and YAML leave it alone.
    Literal(Zeroizing<String>),
    /// A date or datetime, in Python's isoformat.
    Timestamp(String),
    /// A sequence.
    List(Vec<Rc<Node>>),
    /// A mapping, in order.
    Map(Mapping),
    /// What dbt refuses in a value, kept by its short tag (`!!set`, `!!binary`, …) since it does no harm where it is not selected.
    Unusable(&'static str),
}

/// A mapping in the file's order, with PyYAML's rule for duplicates (the last value, at the first one's place).
#[derive(Clone, Debug, Default)]
pub struct Mapping(pub Vec<(Rc<Node>, Rc<Node>)>);

impl Mapping {
    /// The value under a string key.
    pub fn get(&self, key: &str) -> Option<&Rc<Node>> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Key and value under a string key.
    pub fn entry(&self, key: &str) -> Option<(&Rc<Node>, &Rc<Node>)> {
        self.0
            .iter()
            .find(|(candidate, _)| candidate.text() == Some(key))
            .map(|(key, value)| (key, value))
    }

    /// Replaces the value under a string key, or adds it at the end.
    pub fn set(&mut self, key: &str, value: Rc<Node>) {
        match self
            .0
            .iter_mut()
            .find(|(candidate, _)| candidate.text() == Some(key))
        {
            Some((_, old)) => *old = value,
            None => self.0.push((
                Rc::new(Node::of(Value::Str(Zeroizing::new(key.to_owned())))),
                value,
            )),
        }
    }
}

impl Node {
    /// A node that stands in no file.
    pub fn of(value: Value) -> Self {
        Self {
            value,
            mark: Mark::default(),
        }
    }

    /// The text of a string node.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Str(text) | Value::Literal(text) => Some(text),
            _ => None,
        }
    }

    /// The mapping of a mapping node.
    pub fn map(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Map(mapping) => Some(mapping),
            _ => None,
        }
    }
}

/// Shows shapes alone: a text may be a secret, and so may a number that stands without quotes.
impl std::fmt::Debug for Value {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => formatter.write_str("Null"),
            Self::Bool(value) => write!(formatter, "Bool({value})"),
            Self::Int(_) => formatter.write_str("Int(…)"),
            Self::Float(_) => formatter.write_str("Float(…)"),
            Self::Str(text) => write!(formatter, "Str({} bytes)", text.len()),
            Self::Literal(text) => write!(formatter, "Literal({} bytes)", text.len()),
            Self::Timestamp(_) => formatter.write_str("Timestamp(…)"),
            Self::List(items) => formatter.debug_list().entries(items).finish(),
            Self::Map(mapping) => formatter
                .debug_map()
                .entries(mapping.0.iter().map(|(key, value)| (key, value)))
                .finish(),
            Self::Unusable(tag) => write!(formatter, "Unusable({tag})"),
        }
    }
}
