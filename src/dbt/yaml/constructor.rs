//! Nodes to values: PyYAML's `SafeConstructor`, in its order, so that the first error is the same one.
//!
//! Lists and maps are filled after all that stands on their level, breadth first. Merging (`<<`) changes the maps as they
//! were written, so an alias of a map sees it merged.
#![forbid(unsafe_code)]

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use zeroize::Zeroizing;

use super::composer::{Document, Id, Kind};
use super::error::{Problem, YamlError};
use super::limits::{MAX_DEPTH, MAX_MERGE_STEPS, MAX_NODES};
use super::merging::Merging;
use super::resolver::Tag;
use super::{Mark, binary, number, timestamp};

/// A node's value, its children still named by their ids.
pub(super) enum Built {
    Null,
    Bool(bool),
    Int(String),
    Float(f64),
    /// The node's own text.
    Text,
    /// A text found by way of a `=` key (`!!str {=: text}`).
    OtherText(Zeroizing<String>),
    Timestamp(timestamp::Timestamp),
    Bytes(Vec<u8>),
    List(Vec<Id>),
    Map(Vec<(Id, Id)>),
    /// `!!set`, `!!omap`, `!!pairs`
    Unusable(&'static str),
}

/// Values for all nodes that the root reaches.
pub(super) struct Construction {
    pub(super) built: Vec<Option<Built>>,
    /// Whether anything was merged.
    pub(super) merges: bool,
}

/// Makes them by one of the two ways to merge.
pub(super) fn construct(
    document: &mut Document,
    merging: Merging,
) -> Result<Construction, YamlError> {
    let built = std::iter::repeat_with(|| None)
        .take(document.nodes.len())
        .collect();
    let mut constructor = Constructor {
        document,
        merging,
        built,
        waiting: Vec::new(),
        merged: 0,
        steps: 0,
    };
    if !constructor.built.is_empty() {
        constructor.value(0)?;
    }
    while !constructor.waiting.is_empty() {
        for id in std::mem::take(&mut constructor.waiting) {
            constructor.fill(id)?;
        }
    }
    Ok(Construction {
        merges: constructor.merged > 0,
        built: constructor.built,
    })
}

struct Constructor<'a> {
    document: &'a mut Document,
    merging: Merging,
    built: Vec<Option<Built>>,
    /// Collections whose content comes later.
    waiting: Vec<Id>,
    /// Pairs that merges have copied.
    merged: usize,
    steps: usize,
}

impl Constructor<'_> {
    /// PyYAML's `construct_object`.
    fn value(&mut self, id: Id) -> Result<(), YamlError> {
        if self.built[id as usize].is_some() {
            return Ok(());
        }
        let value = match self.tag(id) {
            Tag::Null => {
                self.scalar(id)?;
                Built::Null
            }
            Tag::Bool => Built::Bool(self.converted(id, "a yes or no", number::boolean)?),
            Tag::Int => Built::Int(self.converted(id, "a whole number", number::int)?),
            Tag::Float => Built::Float(self.converted(id, "a number", number::float)?),
            Tag::Binary => Built::Bytes(self.converted(id, "base64", binary::decode)?),
            Tag::Timestamp => match self.kind(id) {
                Kind::Scalar(_) => {
                    Built::Timestamp(self.converted(id, "a date", timestamp::parse)?)
                }
                _ => return Err(self.error(id, Problem::WrongShape("a scalar"))),
            },
            Tag::Str => {
                let source = self.scalar(id)?;
                match self.kind(source) {
                    Kind::Scalar(text) if source != id => Built::OtherText(text.clone()),
                    _ => Built::Text,
                }
            }
            Tag::Seq => Built::List(Vec::new()),
            Tag::Map => Built::Map(Vec::new()),
            Tag::Omap => Built::Unusable("!!omap"),
            Tag::Pairs => Built::Unusable("!!pairs"),
            Tag::Set => Built::Unusable("!!set"),
            Tag::Merge | Tag::Equals => return Err(self.error(id, Problem::LoneSign)),
            Tag::Unknown => return Err(self.error(id, Problem::UnknownTag)),
        };
        if matches!(value, Built::List(_) | Built::Map(_) | Built::Unusable(_)) {
            self.waiting.push(id);
        }
        self.built[id as usize] = Some(value);
        Ok(())
    }

    /// The part of `construct_yaml_seq`, `…_map`, `…_set`, `…_omap`, `…_pairs` behind their `yield`.
    fn fill(&mut self, id: Id) -> Result<(), YamlError> {
        match self.tag(id) {
            Tag::Seq => {
                let Kind::Sequence(items) = self.kind(id) else {
                    return Err(self.error(id, Problem::WrongShape("a list")));
                };
                let items = items.clone();
                for item in &items {
                    self.value(*item)?;
                }
                self.built[id as usize] = Some(Built::List(items));
            }
            Tag::Map => {
                let pairs = self.mapping(id)?;
                self.built[id as usize] = Some(Built::Map(pairs));
            }
            Tag::Set => {
                self.mapping(id)?;
            }
            _ => {
                let Kind::Sequence(items) = self.kind(id) else {
                    return Err(self.error(id, Problem::WrongShape("a list")));
                };
                let items = items.clone();
                if items.is_empty() {
                    // Python makes a list of pairs of it; without a pair it is a list like any other.
                    self.built[id as usize] = Some(Built::List(Vec::new()));
                }
                for item in items {
                    match self.kind(item) {
                        Kind::Mapping(pairs) if pairs.len() == 1 => {
                            let (key, value) = pairs[0];
                            self.value(key)?;
                            self.value(value)?;
                        }
                        _ => return Err(self.error(item, Problem::WrongShape("maps of one key"))),
                    }
                }
            }
        }
        Ok(())
    }

    /// `construct_mapping`: the pairs of a map after merging; equal keys are one, the first, with the last value.
    fn mapping(&mut self, id: Id) -> Result<Vec<(Id, Id)>, YamlError> {
        self.flatten(id, 0)?;
        let Kind::Mapping(pairs) = self.kind(id) else {
            return Err(self.error(id, Problem::WrongShape("a map")));
        };
        let pairs = pairs.clone();
        for (key, value) in &pairs {
            self.value(*key)?;
            if matches!(
                self.built[*key as usize],
                Some(Built::List(_) | Built::Map(_) | Built::Unusable(_))
            ) {
                return Err(self.error(*key, Problem::UnhashableKey));
            }
            self.value(*value)?;
        }
        let mut places: HashMap<Identity<'_>, usize> = HashMap::with_capacity(pairs.len());
        let mut unique: Vec<(Id, Id)> = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            match places.entry(self.identity(key)) {
                Entry::Occupied(place) => unique[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    place.insert(unique.len());
                    unique.push((key, value));
                }
            }
        }
        Ok(unique)
    }

    /// `flatten_mapping`: puts the pairs that `<<` names in front of the map's own.
    fn flatten(&mut self, id: Id, depth: usize) -> Result<(), YamlError> {
        if depth > MAX_DEPTH {
            return Err(self.error(id, Problem::TooDeep));
        }
        let mut merge: Vec<(Id, Id)> = Vec::new();
        let mut seen = HashSet::new();
        let mut index = 0;
        while let Some((key, value)) = self.pair(id, index) {
            match self.tag(key) {
                Tag::Merge => {
                    self.remove_pair(id, index)?;
                    let sources = match self.kind(value) {
                        Kind::Mapping(_) => vec![value],
                        Kind::Sequence(items) => items.clone(),
                        Kind::Scalar(_) => return Err(self.error(value, Problem::BadMerge)),
                    };
                    let mut copies = Vec::with_capacity(sources.len());
                    for source in sources {
                        if !matches!(self.kind(source), Kind::Mapping(_)) {
                            return Err(self.error(source, Problem::BadMerge));
                        }
                        self.flatten(source, depth + 1)?;
                        copies.push(self.copied_pairs(source)?);
                    }
                    match self.merging {
                        // The first of a list wins, so it comes last.
                        Merging::FirstWins => merge.extend(copies.into_iter().rev().flatten()),
                        Merging::LastWins => merge.extend(
                            copies
                                .into_iter()
                                .flatten()
                                .filter(|(key, _)| seen.insert(self.object(*key))),
                        ),
                    }
                }
                Tag::Equals => {
                    self.document.nodes[key as usize].tag = Tag::Str;
                    index += 1;
                }
                _ => index += 1,
            }
        }
        if !merge.is_empty()
            && let Kind::Mapping(pairs) = &mut self.document.nodes[id as usize].kind
        {
            merge.append(pairs);
            *pairs = merge;
        }
        Ok(())
    }

    /// The Python object that holds a key's text: CPython has one for every text of at most one Latin-1 character.
    fn object(&self, id: Id) -> Object {
        let Kind::Scalar(text) = self.kind(id) else {
            return Object::Own(id);
        };
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (None, _) => Object::Shared(None),
            (Some(character @ ..='\u{ff}'), None) => Object::Shared(Some(character)),
            _ => Object::Own(id),
        }
    }

    fn pair(&self, id: Id, index: usize) -> Option<(Id, Id)> {
        match self.kind(id) {
            Kind::Mapping(pairs) => pairs.get(index).copied(),
            _ => None,
        }
    }

    fn remove_pair(&mut self, id: Id, index: usize) -> Result<(), YamlError> {
        if let Kind::Mapping(pairs) = &mut self.document.nodes[id as usize].kind {
            self.steps += pairs.len();
            pairs.remove(index);
        }
        self.within_limits(id)
    }

    fn copied_pairs(&mut self, id: Id) -> Result<Vec<(Id, Id)>, YamlError> {
        let Kind::Mapping(pairs) = self.kind(id) else {
            return Ok(Vec::new());
        };
        let pairs = pairs.clone();
        self.merged += pairs.len();
        self.within_limits(id)?;
        Ok(pairs)
    }

    fn within_limits(&self, id: Id) -> Result<(), YamlError> {
        if self.merged > MAX_NODES || self.steps > MAX_MERGE_STEPS {
            return Err(self.error(id, Problem::TooManyNodes));
        }
        Ok(())
    }

    /// `construct_scalar`: the node that has the text, which is another one where a `=` key says so.
    fn scalar(&self, mut id: Id) -> Result<Id, YamlError> {
        for _ in 0..MAX_DEPTH {
            match self.kind(id) {
                Kind::Scalar(_) => return Ok(id),
                Kind::Sequence(_) => break,
                Kind::Mapping(pairs) => {
                    match pairs.iter().find(|(key, _)| self.tag(*key) == Tag::Equals) {
                        Some((_, value)) => id = *value,
                        None => break,
                    }
                }
            }
        }
        Err(self.error(id, Problem::WrongShape("a scalar")))
    }

    fn converted<T>(
        &self,
        id: Id,
        wanted: &'static str,
        convert: impl Fn(&str) -> Option<T>,
    ) -> Result<T, YamlError> {
        let source = self.scalar(id)?;
        let value = match self.kind(source) {
            Kind::Scalar(text) => convert(text),
            _ => None,
        };
        value.ok_or_else(|| self.error(id, Problem::BadScalar(wanted)))
    }

    fn identity(&self, id: Id) -> Identity<'_> {
        Identity::of(self.document, &self.built, id)
    }

    fn tag(&self, id: Id) -> Tag {
        self.document.nodes[id as usize].tag
    }

    fn kind(&self, id: Id) -> &Kind {
        &self.document.nodes[id as usize].kind
    }

    fn error(&self, id: Id, problem: Problem) -> YamlError {
        let mark: Mark = self.document.nodes[id as usize].mark;
        YamlError::new(problem, mark)
    }
}

/// What `id()` tells apart.
#[derive(PartialEq, Eq, Hash)]
enum Object {
    Own(Id),
    Shared(Option<char>),
}

/// What makes a key the same as another one in a Python dict: 1, 1.0 and True are one.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Identity<'a> {
    Null,
    Number(String),
    Float(u64),
    Text(&'a str),
    Time(&'a str),
    Instant(i64),
    Bytes(&'a [u8]),
}

impl<'a> Identity<'a> {
    /// That of a scalar.
    pub(super) fn of(document: &'a Document, built: &'a [Option<Built>], id: Id) -> Self {
        match &built[id as usize] {
            Some(Built::Bool(value)) => Self::Number(u8::from(*value).to_string()),
            Some(Built::Int(digits)) => Self::Number(digits.clone()),
            Some(Built::Float(value)) => match number::as_int(*value) {
                Some(digits) => Self::Number(digits),
                None => Self::Float(value.to_bits()),
            },
            Some(Built::OtherText(text)) => Self::Text(text),
            Some(Built::Timestamp(time)) => match time.instant {
                Some(instant) => Self::Instant(instant),
                None => Self::Time(&time.text),
            },
            Some(Built::Bytes(bytes)) => Self::Bytes(bytes),
            Some(Built::Text) => match &document.nodes[id as usize].kind {
                Kind::Scalar(text) => Self::Text(text),
                _ => Self::Null,
            },
            _ => Self::Null,
        }
    }
}
