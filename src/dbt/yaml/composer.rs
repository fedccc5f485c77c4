//! Events to nodes: what PyYAML's `CParser` does on top of libyaml.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use libyaml_safer::{Event, EventData, Parser};
use zeroize::Zeroizing;

use super::Mark;
use super::diagnosis::{mark_of_parser, yaml_error};
use super::error::{Problem, YamlError};
use super::limits::{MAX_DEPTH, MAX_NODES};
use super::resolver::Tag;

/// A node's place in [`Document::nodes`].
pub(super) type Id = u32;

/// One node as it was written, its type resolved.
pub(super) struct RawNode {
    pub(super) tag: Tag,
    pub(super) kind: Kind,
    pub(super) mark: Mark,
}

/// The shape of a node. An alias is its anchor's own id.
pub(super) enum Kind {
    Scalar(Zeroizing<String>),
    Sequence(Vec<Id>),
    Mapping(Vec<(Id, Id)>),
}

/// The nodes of one document; the root is the first, if there is one.
#[derive(Default)]
pub(super) struct Document {
    pub(super) nodes: Vec<RawNode>,
}

/// Reads the one document of a text.
pub(super) fn compose(text: &str) -> Result<Document, YamlError> {
    let mut parser = Parser::new(text).map_err(|error| yaml_error(text, &error))?;
    let mut composer = Composer::default();
    let mut documents = 0;
    loop {
        let event = parser.parse().map_err(|error| yaml_error(text, &error))?;
        match event.data {
            EventData::StreamEnd => return Ok(composer.document),
            EventData::DocumentStart => {
                documents += 1;
                if documents == 2 {
                    let mark = mark_of_parser(event.start_mark);
                    return Err(YamlError::new(Problem::SecondDocument, mark));
                }
            }
            _ => composer.take(event)?,
        }
    }
}

#[derive(Default)]
struct Composer {
    document: Document,
    anchors: HashMap<String, Id>,
    open: Vec<Open>,
}

/// A collection whose end has not come yet.
struct Open {
    id: Id,
    /// The key that waits for its value, in a mapping.
    key: Option<Id>,
}

impl Composer {
    fn take(&mut self, event: Event) -> Result<(), YamlError> {
        let mark = mark_of_parser(event.start_mark);
        match event.data {
            EventData::Scalar {
                anchor,
                tag,
                value,
                plain_implicit,
                ..
            } => {
                let tag = match explicit(tag) {
                    Some(tag) => tag,
                    None if plain_implicit => Tag::of_plain(&value),
                    None => Tag::Str,
                };
                self.add(
                    anchor,
                    RawNode {
                        tag,
                        kind: Kind::Scalar(Zeroizing::new(value)),
                        mark,
                    },
                )?;
            }
            EventData::SequenceStart { anchor, tag, .. } => {
                let tag = explicit(tag).unwrap_or(Tag::Seq);
                let node = RawNode {
                    tag,
                    kind: Kind::Sequence(Vec::new()),
                    mark,
                };
                let id = self.add(anchor, node)?;
                self.enter(id, mark)?;
            }
            EventData::MappingStart { anchor, tag, .. } => {
                let tag = explicit(tag).unwrap_or(Tag::Map);
                let id = self.add(
                    anchor,
                    RawNode {
                        tag,
                        kind: Kind::Mapping(Vec::new()),
                        mark,
                    },
                )?;
                self.enter(id, mark)?;
            }
            EventData::SequenceEnd | EventData::MappingEnd => {
                self.open.pop();
            }
            EventData::Alias { anchor } => match self.anchors.get(&anchor) {
                Some(id) => self.attach(*id),
                None => return Err(YamlError::new(Problem::UndefinedAlias, mark)),
            },
            EventData::StreamStart
            | EventData::StreamEnd
            | EventData::DocumentStart
            | EventData::DocumentEnd => (),
        }
        Ok(())
    }

    fn add(&mut self, anchor: Option<String>, node: RawNode) -> Result<Id, YamlError> {
        let mark = node.mark;
        let id = self.document.nodes.len();
        if id >= MAX_NODES {
            return Err(YamlError::new(Problem::TooManyNodes, mark));
        }
        let id = id as Id;
        if let Some(anchor) = anchor
            && self.anchors.insert(anchor, id).is_some()
        {
            return Err(YamlError::new(Problem::DuplicateAnchor, mark));
        }
        self.document.nodes.push(node);
        self.attach(id);
        Ok(id)
    }

    fn enter(&mut self, id: Id, mark: Mark) -> Result<(), YamlError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(YamlError::new(Problem::TooDeep, mark));
        }
        self.open.push(Open { id, key: None });
        Ok(())
    }

    /// Hangs a node into the collection that is open.
    fn attach(&mut self, id: Id) {
        let Some(open) = self.open.last_mut() else {
            return;
        };
        match &mut self.document.nodes[open.id as usize].kind {
            Kind::Scalar(_) => (),
            Kind::Sequence(items) => items.push(id),
            Kind::Mapping(pairs) => match open.key.take() {
                None => open.key = Some(id),
                Some(key) => pairs.push((key, id)),
            },
        }
    }
}

/// `!` alone says nothing.
fn explicit(tag: Option<String>) -> Option<Tag> {
    tag.filter(|name| name != "!")
        .map(|name| Tag::of_name(&name))
}
