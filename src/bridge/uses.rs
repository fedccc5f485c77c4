//! Each value that dbt reads from an output, with where it stands in the file; and what no output reads.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use super::error::BridgeError;
use super::form::Form;
use super::literal;
use super::names::PREFIX;
use crate::dbt::jinja;
use crate::dbt::yaml::{Content, Entry, Kind, Mark, Occurrence, Written};
use crate::place::Place;
use crate::render::secret_keys::{self, Role};

/// Values that are looked at, aliases written out. A real file has hundreds.
const MOST: usize = 1_000_000;

/// A value of an output.
#[derive(Clone, Debug)]
pub(super) struct Use {
    /// The scalar.
    pub(super) node: usize,
    /// The bytes of `*name`, where it stands there by an alias of its own.
    pub(super) alias: Option<Range<usize>>,
    /// The profile, or the outermost key.
    pub(super) profile: String,
    /// The target; none for what no output reads.
    pub(super) target: Option<String>,
    /// The keys below the output.
    pub(super) path: Vec<String>,
    /// `type:` of the output.
    pub(super) adapter: Option<String>,
    /// What the key says that it is.
    pub(super) role: Role,
    /// Where its key (or the item) begins.
    pub(super) mark: Mark,
}

impl Use {
    /// Profile, target, key: dotted.
    pub(super) fn dotted(&self) -> String {
        let mut parts = vec![self.profile.as_str()];
        parts.extend(self.target.as_deref());
        parts.extend(self.path.iter().map(String::as_str));
        parts.join(".")
    }

    /// Its parts, for a name.
    pub(super) fn parts(&self) -> Vec<String> {
        let mut parts = vec![self.profile.clone()];
        parts.extend(self.target.clone());
        parts.extend(self.path.iter().cloned());
        parts
    }

    /// Whether dbt takes the raw text where rendering fails.
    pub(super) fn is_below_password(&self) -> bool {
        self.path.iter().any(|part| part == "password")
    }

    /// Where it stands.
    pub(super) fn place(&self, file: &Path) -> Place {
        let key = self.path.last().map_or("", String::as_str);
        Place::of_key(file, self.mark.line, self.mark.column, key)
    }
}

/// `type:` of an output, where it is a plain text.
pub(super) fn adapter(written: &Written, output: usize) -> Option<&str> {
    let entry = written.entry(output, "type")?;
    let scalar = written.scalar(entry.value.node)?;
    let is_plain = scalar.kind == Kind::Text && !jinja::is_template(&scalar.text);
    is_plain.then_some(scalar.text.as_str())
}

/// What was found in a file.
pub(super) struct Found {
    /// What outputs read, in the file's order; a value under several targets has a use for each.
    pub(super) uses: Vec<Use>,
    /// What no output reads: a key that stands twice, an anchor's own place, a profile without outputs.
    pub(super) unread: Vec<Unread>,
    /// Nodes that stand where no variable can: what they are.
    pub(super) fixed: HashMap<usize, &'static str>,
    /// Where each scalar stands by itself: its keys from the outermost.
    pub(super) places: HashMap<usize, Vec<String>>,
}

/// A credential that no output reads.
pub(super) struct Unread {
    /// As if it were read.
    pub(super) used: Use,
    /// The node that dbt takes in its stead, where the same key stands twice.
    pub(super) living: Option<usize>,
}

/// Walks the file.
///
/// # Errors
/// Aliases unfold beyond all reason.
pub(super) fn find(file: &Path, written: &Written) -> Result<Found, BridgeError> {
    let mut finder = Finder {
        file,
        written,
        found: Found {
            uses: Vec::new(),
            unread: Vec::new(),
            fixed: HashMap::new(),
            places: HashMap::new(),
        },
        read: HashSet::new(),
        steps: 0,
    };
    finder.profiles()?;
    finder.aliased_keys();
    finder.unread(0, &mut Vec::new());
    Ok(finder.found)
}

struct Finder<'a> {
    file: &'a Path,
    written: &'a Written,
    found: Found,
    read: HashSet<usize>,
    steps: usize,
}

/// An output that is being walked.
struct Output<'a> {
    profile: &'a str,
    target: &'a str,
    adapter: Option<&'a str>,
}

impl<'a> Finder<'a> {
    fn profiles(&mut self) -> Result<(), BridgeError> {
        let written = self.written;
        for profile in written.entries(written.root().node) {
            if profile.name == "config" {
                continue;
            }
            if let Some(target) = written.entry(profile.value.node, "target") {
                self.found.fixed.insert(target.value.node, "`target:`");
            }
            let Some(outputs) = written.entry(profile.value.node, "outputs") else {
                continue;
            };
            for target in written.entries(outputs.value.node) {
                self.output(profile.name, &target)?;
            }
        }
        Ok(())
    }

    fn output(&mut self, profile: &str, target: &Entry<'a>) -> Result<(), BridgeError> {
        let node = target.value.node;
        for (key, what) in [("type", "`type:`"), ("threads", "`threads:`")] {
            if let Some(entry) = self.written.entry(node, key) {
                self.found.fixed.insert(entry.value.node, what);
            }
        }
        let output = Output {
            profile,
            target: target.name,
            adapter: adapter(self.written, node),
        };
        self.map(node, &output, &mut Vec::new())
    }

    fn map(
        &mut self,
        node: usize,
        output: &Output<'_>,
        path: &mut Vec<String>,
    ) -> Result<(), BridgeError> {
        self.step()?;
        let entries: Vec<Entry<'a>> = self.written.entries(node).collect();
        for entry in &entries {
            let role = self.role(entry, &entries, output.adapter, !path.is_empty());
            path.push(entry.name.to_owned());
            let mark = self.written.node(entry.key.node).mark;
            self.value(&entry.value, output, path, role, mark)?;
            path.pop();
        }
        Ok(())
    }

    fn value(
        &mut self,
        value: &Occurrence,
        output: &Output<'_>,
        path: &mut Vec<String>,
        role: Role,
        mark: Mark,
    ) -> Result<(), BridgeError> {
        match &self.written.node(value.node).content {
            Content::Scalar(_) => {
                self.step()?;
                self.read.insert(value.node);
                self.found.uses.push(Use {
                    node: value.node,
                    alias: value.alias.clone(),
                    profile: output.profile.to_owned(),
                    target: Some(output.target.to_owned()),
                    path: path.clone(),
                    adapter: output.adapter.map(str::to_owned),
                    role: self.by_value(value.node, role),
                    mark,
                });
                Ok(())
            }
            Content::Map(_) => self.map(value.node, output, path),
            Content::List(items) => {
                self.step()?;
                for (number, item) in items.iter().enumerate() {
                    path.push(number.to_string());
                    let mark = self.written.node(item.node).mark;
                    self.value(item, output, path, role, mark)?;
                    path.pop();
                }
                Ok(())
            }
        }
    }

    /// What an entry is by its key; an identity is one only beside its secret.
    fn role(
        &self,
        entry: &Entry<'_>,
        beside: &[Entry<'_>],
        adapter: Option<&str>,
        nested: bool,
    ) -> Role {
        let role = secret_keys::role(adapter, entry.name, nested);
        if role != Role::Identity {
            return role;
        }
        let has_secret = beside.iter().any(|other| {
            secret_keys::role(adapter, other.name, nested) == Role::Secret
                && secret_keys::belongs_to(entry.name, other.name)
                && self
                    .written
                    .scalar(other.value.node)
                    .is_some_and(|scalar| scalar.kind == Kind::Text)
        });
        if has_secret { role } else { Role::Other }
    }

    /// A value may say by itself what it is.
    fn by_value(&self, node: usize, role: Role) -> Role {
        match self.written.scalar(node) {
            Some(scalar) if role == Role::Other && scalar.kind == Kind::Text => {
                // Bridged before: the key alone would not tell.
                let is_bridged = matches!(
                    Form::of(&scalar.text),
                    Form::Lone(lone) if lone.name.starts_with(PREFIX)
                );
                if is_bridged || literal::holds_credential(&scalar.text) {
                    Role::Secret
                } else {
                    Role::Other
                }
            }
            _ => role,
        }
    }

    fn step(&mut self) -> Result<(), BridgeError> {
        self.steps += 1;
        if self.steps > MOST {
            return Err(BridgeError::TooLarge {
                file: self.file.to_owned(),
                most: MOST,
            });
        }
        Ok(())
    }

    /// Keys are not rendered.
    fn aliased_keys(&mut self) {
        for node in self.written.nodes() {
            if let Content::Map(pairs) = &node.content {
                for (key, _) in pairs.iter().filter(|(key, _)| key.alias.is_some()) {
                    self.found.fixed.insert(key.node, "a key");
                }
            }
        }
    }

    /// The file as it was written: where each scalar stands, and the credentials that no output reads.
    fn unread(&mut self, node: usize, path: &mut Vec<String>) {
        let written = self.written;
        match &written.node(node).content {
            Content::Scalar(_) => {}
            Content::List(items) => {
                for (number, item) in items.iter().enumerate() {
                    if item.alias.is_none() {
                        path.push(number.to_string());
                        let role = match path
                            .iter()
                            .rev()
                            .find(|part| part.parse::<usize>().is_err())
                        {
                            Some(name) => secret_keys::role(None, name, true),
                            None => Role::Other,
                        };
                        self.unread_value(
                            item.node,
                            path,
                            role,
                            None,
                            written.node(item.node).mark,
                        );
                        path.pop();
                    }
                }
            }
            Content::Map(pairs) => {
                let entries: Vec<Entry<'a>> = written.entries(node).collect();
                let adapter = entries
                    .iter()
                    .find(|entry| entry.name == "type")
                    .and_then(|entry| written.scalar(entry.value.node))
                    .map(|scalar| scalar.text.as_str());
                for (key, value) in pairs.iter().filter(|(_, value)| value.alias.is_none()) {
                    let Some(name) = written.scalar(key.node) else {
                        continue;
                    };
                    if path.is_empty() && name.text.as_str() == "config" {
                        continue;
                    }
                    let entry = Entry {
                        name: &name.text,
                        key: key.clone(),
                        value: value.clone(),
                    };
                    let role = self.role(&entry, &entries, adapter, adapter.is_none());
                    let living = entries
                        .iter()
                        .find(|living| living.name == entry.name)
                        .map(|living| living.value.node)
                        .filter(|living| *living != value.node);
                    path.push(entry.name.to_owned());
                    self.unread_value(value.node, path, role, living, written.node(key.node).mark);
                    path.pop();
                }
            }
        }
    }

    fn unread_value(
        &mut self,
        node: usize,
        path: &mut Vec<String>,
        role: Role,
        living: Option<usize>,
        mark: Mark,
    ) {
        if self.written.scalar(node).is_none() {
            return self.unread(node, path);
        }
        self.found.places.insert(node, path.clone());
        let role = self.by_value(node, role);
        if self.read.contains(&node) || role == Role::Other {
            return;
        }
        let (target, rest) = match &path[1..] {
            [outputs, target, rest @ ..] if outputs == "outputs" => (Some(target.clone()), rest),
            rest => (None, rest),
        };
        let used = Use {
            node,
            alias: None,
            profile: path[0].clone(),
            target,
            path: rest.to_vec(),
            adapter: None,
            role,
            mark,
        };
        self.found.unread.push(Unread { used, living });
    }
}
