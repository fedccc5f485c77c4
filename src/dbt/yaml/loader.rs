//! From bytes to shared nodes.
#![forbid(unsafe_code)]

use std::rc::Rc;

use super::composer::{Document, Id, Kind, compose};
use super::constructor::{Built, construct};
use super::diagnosis::template_around;
use super::error::{Problem, YamlError};
use super::limits::{MAX_BYTES, MAX_DEPTH};
use super::merging::{Merging, agree};
use super::{Mapping, Mark, Node, Value};

/// Reads a file as dbt does: UTF-8, one document, PyYAML's `CSafeLoader`. No document at all gives [`Value::Null`].
///
/// Beyond dbt, a file is refused that is larger or nested deeper than any real one, or in which a node contains itself; and
/// one whose `<<` mean something else to another PyYAML.
pub fn load(bytes: &[u8]) -> Result<Rc<Node>, YamlError> {
    load_merging(bytes, None)
}

/// The same for a PyYAML whose way to merge is known.
pub fn load_merging(bytes: &[u8], merging: Option<Merging>) -> Result<Rc<Node>, YamlError> {
    if bytes.len() > MAX_BYTES {
        return Err(YamlError::new(
            Problem::TooLarge,
            Mark { line: 1, column: 1 },
        ));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        YamlError::new(Problem::NotUtf8, mark_after(&bytes[..error.valid_up_to()]))
    })?;
    // libyaml's reader takes one mark off before it counts, the scanner lets others begin a line.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut document = compose(text)?;
    if document.nodes.is_empty() {
        return Ok(Rc::new(Node::of(Value::Null)));
    }
    let told = |error: YamlError| match error.problem {
        Problem::UnhashableKey => match template_around(text, error.mark) {
            Some(mark) => YamlError::new(Problem::UnquotedTemplate, mark),
            None => error,
        },
        _ => error,
    };
    let first = merging.unwrap_or(Merging::FirstWins);
    let construction = construct(&mut document, first).map_err(told)?;
    if merging.is_none() && construction.merges {
        // Merging changes the document, so the other way begins with one of its own.
        let mut other = compose(text)?;
        let last = construct(&mut other, Merging::LastWins).map_err(told)?;
        agree(&document, &construction, &last)?;
    }
    let built = construction.built;
    let slots = std::iter::repeat_with(|| Slot::Untouched)
        .take(built.len())
        .collect();
    let (root, _) = Sharing {
        document,
        built,
        slots,
    }
    .node(0, 0)?;
    Ok(root)
}

/// The place right behind some valid bytes.
fn mark_after(bytes: &[u8]) -> Mark {
    let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    let last = bytes
        .rsplit(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    Mark {
        line,
        column: String::from_utf8_lossy(last).chars().count() + 1,
    }
}

/// Makes each node once, however many aliases name it.
struct Sharing {
    document: Document,
    built: Vec<Option<Built>>,
    slots: Vec<Slot>,
}

enum Slot {
    Untouched,
    /// Its children are being made.
    Open,
    /// With its height: the levels below it.
    Done(Rc<Node>, usize),
}

impl Sharing {
    fn node(&mut self, id: Id, depth: usize) -> Result<(Rc<Node>, usize), YamlError> {
        let index = id as usize;
        let mark = self.document.nodes[index].mark;
        match &self.slots[index] {
            Slot::Done(node, height) => {
                self.check_depth(depth + height, mark)?;
                return Ok((Rc::clone(node), *height));
            }
            Slot::Open => return Err(YamlError::new(Problem::RecursiveAlias, mark)),
            Slot::Untouched => self.check_depth(depth, mark)?,
        }
        self.slots[index] = Slot::Open;
        let mut height = 0;
        let value = match self.built[index].take() {
            None | Some(Built::Null) => Value::Null,
            Some(Built::Bool(value)) => Value::Bool(value),
            Some(Built::Int(digits)) => Value::Int(digits),
            Some(Built::Float(value)) => Value::Float(value),
            Some(Built::Text) => match &mut self.document.nodes[index].kind {
                Kind::Scalar(text) => Value::Str(std::mem::take(text)),
                _ => Value::Null,
            },
            Some(Built::OtherText(text)) => Value::Str(text),
            Some(Built::Timestamp(time)) => Value::Timestamp(time.text),
            Some(Built::Bytes(_)) => Value::Unusable("!!binary"),
            Some(Built::Unusable(tag)) => Value::Unusable(tag),
            Some(Built::List(items)) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    let (item, below) = self.node(item, depth + 1)?;
                    height = height.max(below + 1);
                    list.push(item);
                }
                Value::List(list)
            }
            Some(Built::Map(pairs)) => {
                let mut map = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let (key, _) = self.node(key, depth + 1)?;
                    let (value, below) = self.node(value, depth + 1)?;
                    height = height.max(below + 1);
                    map.push((key, value));
                }
                Value::Map(Mapping(map))
            }
        };
        let node = Rc::new(Node { value, mark });
        self.slots[index] = Slot::Done(Rc::clone(&node), height);
        Ok((node, height))
    }

    fn check_depth(&self, depth: usize, mark: Mark) -> Result<(), YamlError> {
        if depth > MAX_DEPTH {
            Err(YamlError::new(Problem::TooDeep, mark))
        } else {
            Ok(())
        }
    }
}
