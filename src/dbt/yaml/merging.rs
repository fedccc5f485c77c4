//! `<<`: PyYAML changed in 6.0.4 which value wins, so that the same profiles.yml may mean something else with each.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::composer::{Document, Id, Kind};
use super::constructor::{Built, Construction, Identity};
use super::error::{Problem, YamlError};

/// How the pairs that `<<` names are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merging {
    /// PyYAML up to 6.0.3: of several maps the first wins.
    FirstWins,
    /// PyYAML 6.0.4: of several maps the last wins. But it leaves out a key whose text is the same Python object as one that
    /// it has: one node that comes by two ways, and any text of one character.
    LastWins,
}

impl Merging {
    /// That of a version of PyYAML; none of a version that is not known.
    pub fn of_version(version: &str) -> Option<Self> {
        let numbers: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
        match numbers?.as_slice() {
            [6, 0, 4] => Some(Self::LastWins),
            [6, 0] | [6, 0, 0..4] | [3..6, ..] => Some(Self::FirstWins),
            _ => None,
        }
    }
}

/// Refuses a document that the two ways read otherwise.
pub(super) fn agree(
    document: &Document,
    first: &Construction,
    last: &Construction,
) -> Result<(), YamlError> {
    for (id, (one, other)) in first.built.iter().zip(&last.built).enumerate() {
        let (Some(Built::Map(one)), Some(Built::Map(other))) = (one, other) else {
            continue;
        };
        let same =
            |one: Id, other: Id| one == other || same_scalar(document, &first.built, one, other);
        let mut pairs: HashMap<_, (Id, Id)> = HashMap::with_capacity(one.len());
        for (key, value) in one {
            pairs.insert(Identity::of(document, &first.built, *key), (*key, *value));
        }
        for (key, value) in other {
            // Keys that are equal may still be `1` and `true`.
            let same = pairs
                .get(&Identity::of(document, &last.built, *key))
                .is_some_and(|(first, found)| same(*first, *key) && same(*found, *value));
            if !same {
                let mark = document.nodes[id].mark;
                return Err(YamlError::new(Problem::MergeConflict, mark));
            }
        }
    }
    Ok(())
}

/// Whether two nodes are the same scalar of the same type; lists and maps count as different.
fn same_scalar(document: &Document, built: &[Option<Built>], one: Id, other: Id) -> bool {
    let text = |id: Id| match &document.nodes[id as usize].kind {
        Kind::Scalar(text) => Some(text.as_str()),
        _ => None,
    };
    let tag = |id: Id| document.nodes[id as usize].tag;
    built[one as usize].is_some()
        && tag(one) == tag(other)
        && text(one).is_some()
        && text(one) == text(other)
}
