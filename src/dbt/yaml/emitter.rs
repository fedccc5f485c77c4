//! From nodes to a text that dbt reads back unchanged.
#![forbid(unsafe_code)]

use zeroize::Zeroizing;

use super::buffer::Buffer;
use super::error::EmitError;
use super::limits::{MAX_DEPTH, MAX_EMITTED_BYTES, MAX_EMITTED_NODES};
use super::loader::load_merging;
use super::merging::Merging;
use super::{Mapping, Node, Value, number, quoting};

/// dbt turns a rendered text that contains this into None: it takes it for a secret's placeholder.
const SECRET_PREFIX: &str = "DBT_ENV_SECRET";

/// A key longer than this is written as `? key`: as `key:` YAML reads it only up to 1024 characters.
const SIMPLE_KEY: usize = 120;

/// What may stand around an output that [`super::load`] gave.
const EXTRA_DEPTH: usize = 16;

/// Writes a tree in block style. The user's strings stay the templates that they are; ours ([`Value::Literal`]) reach dbt as
/// they are; aliases are written out.
pub fn emit(root: &Node) -> Result<Zeroizing<String>, EmitError> {
    emit_for(root, false)
}

/// The same for Fusion, which reads what Jinja made as YAML once more: our strings are plain wherever no Jinja is in them, and one
/// that would come out as no text is refused.
pub fn emit_for(root: &Node, fusion: bool) -> Result<Zeroizing<String>, EmitError> {
    let mut emitter = Emitter {
        out: Buffer::new(),
        path: Vec::new(),
        nodes: 0,
        fusion,
    };
    emitter.node(root, 0)?;
    emitter.out.push('\n');
    Ok(emitter.out.into_text())
}

/// Whether a text is a text to YAML too, or no YAML at all: Fusion then keeps it. A flow collection that we could not use (a map
/// as a key, words behind it) may be one to Fusion.
fn is_text(text: &str) -> bool {
    let is_flow = text.trim_start().starts_with(['{', '[']) && text.contains(['}', ']']);
    match load_merging(text.as_bytes(), Some(Merging::FirstWins)) {
        Ok(node) => matches!(node.value, Value::Str(_)),
        Err(_) => !is_flow,
    }
}

struct Emitter {
    out: Buffer,
    /// Keys from the top.
    path: Vec<String>,
    nodes: usize,
    fusion: bool,
}

impl Emitter {
    /// Writes a node whose first line begins where the text ends.
    fn node(&mut self, node: &Node, indent: usize) -> Result<(), EmitError> {
        self.count()?;
        match &node.value {
            Value::List(items) if !items.is_empty() => self.list(items, indent),
            Value::Map(mapping) if !mapping.0.is_empty() => self.map(mapping, indent),
            Value::List(_) => self.plain("[]"),
            Value::Map(_) => self.plain("{}"),
            Value::Literal(text) => {
                if text.contains(SECRET_PREFIX) {
                    return Err(EmitError::SecretVariableName { path: self.path() });
                }
                if text.contains('\0') {
                    return Err(EmitError::Nul { path: self.path() });
                }
                if !self.fusion {
                    quoting::literal(text, &mut self.out);
                } else if !quoting::is_template(text) {
                    quoting::yaml(text, &mut self.out);
                } else if is_text(text) {
                    quoting::literal(text, &mut self.out);
                } else {
                    return Err(EmitError::NotForFusion { path: self.path() });
                }
                Ok(())
            }
            _ => self.scalar(node),
        }
    }

    fn list(&mut self, items: &[std::rc::Rc<Node>], indent: usize) -> Result<(), EmitError> {
        for (index, item) in items.iter().enumerate() {
            self.begin_line(index, indent);
            self.out.push_str("- ");
            self.path.push(index.to_string());
            self.check_depth()?;
            self.node(item, indent + 2)?;
            self.path.pop();
        }
        Ok(())
    }

    fn map(&mut self, mapping: &Mapping, indent: usize) -> Result<(), EmitError> {
        for (index, (key, value)) in mapping.0.iter().enumerate() {
            self.begin_line(index, indent);
            self.path.push(key_name(key));
            self.check_depth()?;
            let text = self.key(key)?;
            if text.len() > SIMPLE_KEY {
                self.out.push_str("? ");
                self.out.push_str(&text);
                self.out.push('\n');
                self.spaces(indent);
            } else {
                self.out.push_str(&text);
            }
            self.out.push(':');
            if is_block(value) {
                self.out.push('\n');
                self.spaces(indent + 2);
            } else {
                self.out.push(' ');
            }
            self.node(value, indent + 2)?;
            self.path.pop();
        }
        Ok(())
    }

    fn key(&mut self, key: &Node) -> Result<Zeroizing<String>, EmitError> {
        let before = std::mem::replace(&mut self.out, Buffer::new());
        self.scalar(key)?;
        Ok(std::mem::replace(&mut self.out, before).into_text())
    }

    /// Writes a key, or a value that is neither a collection nor ours.
    fn scalar(&mut self, node: &Node) -> Result<(), EmitError> {
        match &node.value {
            Value::Null => self.plain("null"),
            Value::Bool(true) => self.plain("true"),
            Value::Bool(false) => self.plain("false"),
            Value::Int(digits) => self.plain(digits),
            Value::Float(value) => self.plain(&number::float_text(*value)),
            Value::Timestamp(text) => self.plain(text),
            Value::Str(text) | Value::Literal(text) => {
                quoting::yaml(text, &mut self.out);
                Ok(())
            }
            Value::Unusable(tag) => self.unusable(node, tag),
            Value::List(_) => self.unusable(node, "list as a key"),
            Value::Map(_) => self.unusable(node, "map as a key"),
        }
    }

    fn plain(&mut self, text: &str) -> Result<(), EmitError> {
        self.out.push_str(text);
        Ok(())
    }

    fn unusable(&self, node: &Node, tag: &'static str) -> Result<(), EmitError> {
        Err(EmitError::Unusable {
            path: self.path(),
            mark: node.mark,
            tag,
        })
    }

    fn begin_line(&mut self, index: usize, indent: usize) {
        if index > 0 {
            self.out.push('\n');
            self.spaces(indent);
        }
    }

    fn spaces(&mut self, count: usize) {
        for _ in 0..count {
            self.out.push(' ');
        }
    }

    fn count(&mut self) -> Result<(), EmitError> {
        self.nodes += 1;
        if self.nodes > MAX_EMITTED_NODES || self.out.len() > MAX_EMITTED_BYTES {
            return Err(EmitError::TooLarge);
        }
        Ok(())
    }

    fn check_depth(&self) -> Result<(), EmitError> {
        if self.path.len() > MAX_DEPTH + EXTRA_DEPTH {
            return Err(EmitError::TooDeep { path: self.path() });
        }
        Ok(())
    }

    fn path(&self) -> String {
        self.path.join(".")
    }
}

fn is_block(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => !items.is_empty(),
        Value::Map(mapping) => !mapping.0.is_empty(),
        _ => false,
    }
}

fn key_name(key: &Node) -> String {
    match &key.value {
        Value::Str(text) | Value::Literal(text) => text.to_string(),
        Value::Int(text) | Value::Timestamp(text) => text.clone(),
        Value::Float(value) => number::float_text(*value),
        Value::Bool(value) => value.to_string(),
        Value::Null => "null".to_owned(),
        Value::List(_) | Value::Map(_) | Value::Unusable(_) => "?".to_owned(),
    }
}
