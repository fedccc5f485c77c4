//! That an edited text says what the old one said, but for the credentials: asked of every result before it leaves.
#![forbid(unsafe_code)]

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use super::error::BridgeError;
use crate::dbt::yaml::{self, Merging, Node, Value};

/// Compares the values of both texts: where they differ, the old is a text and the new is one of the templates that were inserted.
///
/// # Errors
/// Anything else differs.
pub(super) fn verify(
    before: &Rc<Node>,
    after: &[u8],
    merging: Merging,
    inserted: &BTreeSet<String>,
) -> Result<(), BridgeError> {
    let after = yaml::load_merging(after, Some(merging)).map_err(|_| BridgeError::Unverified)?;
    let mut comparing = Comparing {
        inserted,
        seen: HashSet::new(),
    };
    if comparing.same(before, &after) {
        Ok(())
    } else {
        Err(BridgeError::Unverified)
    }
}

struct Comparing<'a> {
    inserted: &'a BTreeSet<String>,
    /// Pairs of shared nodes that were compared: each once, however many aliases name it.
    seen: HashSet<(*const Node, *const Node)>,
}

impl Comparing<'_> {
    fn same(&mut self, old: &Rc<Node>, new: &Rc<Node>) -> bool {
        if !self.seen.insert((Rc::as_ptr(old), Rc::as_ptr(new))) {
            return true;
        }
        match (&old.value, &new.value) {
            (Value::Str(_) | Value::Timestamp(_), Value::Str(text))
                if self.inserted.contains(text.as_str()) =>
            {
                true
            }
            (Value::Null, Value::Null) => true,
            (Value::Bool(old), Value::Bool(new)) => old == new,
            (Value::Int(old), Value::Int(new)) => old == new,
            (Value::Float(old), Value::Float(new)) => old.to_bits() == new.to_bits(),
            (Value::Str(old), Value::Str(new)) => old.as_str() == new.as_str(),
            (Value::Timestamp(old), Value::Timestamp(new)) => old == new,
            (Value::Unusable(old), Value::Unusable(new)) => old == new,
            (Value::List(old), Value::List(new)) => {
                old.len() == new.len() && old.iter().zip(new).all(|(old, new)| self.same(old, new))
            }
            (Value::Map(old), Value::Map(new)) => {
                old.0.len() == new.0.len()
                    && old
                        .0
                        .iter()
                        .zip(&new.0)
                        .all(|((old_key, old), (new_key, new))| {
                            self.same(old_key, new_key) && self.same(old, new)
                        })
            }
            _ => false,
        }
    }
}
