//! The outputs of a profiles.yml as init looks at them: names, adapter, plain texts, credentials without their values.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use super::words::{self, Class};
use crate::bridge::BridgeError;
use crate::bridge::seen::{self, Look, Seen};
use crate::dbt::yaml::{self, Merging, Node, Value};
use crate::dbt::{WholeProfiles, jinja};

/// A profiles.yml.
#[derive(Debug)]
pub struct Profiles {
    /// Where it is, and why it is read.
    pub file: std::path::PathBuf,
    /// Whether it is the user's own, `~/.dbt/profiles.yml`: its other profiles belong to other projects.
    pub is_users: bool,
    /// Its outputs, in the file's order.
    pub outputs: Vec<Output>,
    /// What of it is a credential.
    pub look: Look,
}

/// An output.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// The profile.
    pub profile: String,
    /// The target.
    pub target: String,
    /// `type:`, where it is a plain text.
    pub adapter: Option<String>,
    /// Its outermost keys.
    pub keys: BTreeSet<String>,
    /// Of these, what is a plain text and no credential.
    pub says: BTreeMap<String, String>,
    /// Its credentials.
    pub credentials: Vec<Seen>,
}

impl Profiles {
    /// Looks at a file.
    ///
    /// # Errors
    /// It is empty, or no mapping of profiles.
    pub fn of(whole: &WholeProfiles, is_users: bool) -> Result<Self, BridgeError> {
        let look = seen::look(&whole.path, &whole.bytes, whole.merging)?;
        let merging = whole.merging.unwrap_or(Merging::FirstWins);
        let root =
            yaml::load_merging(&whole.bytes, Some(merging)).map_err(|error| BridgeError::Yaml {
                file: whole.path.clone(),
                error,
            })?;
        Ok(Self {
            file: whole.path.clone(),
            is_users,
            outputs: outputs(&root, &look),
            look,
        })
    }
}

fn outputs(root: &Node, look: &Look) -> Vec<Output> {
    let mut outputs = Vec::new();
    for (profile, value) in texts(root).filter(|(name, _)| *name != "config") {
        let Some(targets) = value.map().and_then(|map| map.get("outputs")) else {
            continue;
        };
        for (target, output) in texts(targets) {
            if output.map().is_some() {
                outputs.push(Output::of(profile, target, output, look));
            }
        }
    }
    outputs
}

/// The entries of a mapping by the keys that are texts: dbt finds no other.
fn texts(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = node.map().into_iter().flat_map(|map| &map.0);
    entries.filter_map(|(key, value)| Some((key.text()?, &**value)))
}

impl Output {
    fn of(profile: &str, target: &str, output: &Node, look: &Look) -> Self {
        let credentials: Vec<Seen> = look
            .credentials
            .iter()
            .filter(|seen| seen.profile == profile && seen.target.as_deref() == Some(target))
            .cloned()
            .collect();
        let mut says = BTreeMap::new();
        for (key, value) in texts(output) {
            if let Value::Str(text) = &value.value
                && !jinja::is_template(text)
                && credentials.iter().all(|seen| seen.key != key)
            {
                says.insert(key.to_owned(), text.to_string());
            }
        }
        Self {
            profile: profile.to_owned(),
            target: target.to_owned(),
            adapter: says.get("type").cloned(),
            keys: texts(output).map(|(key, _)| key.to_owned()).collect(),
            says,
            credentials,
        }
    }

    /// What a key says, in small letters; empty where it says nothing for certain.
    pub(super) fn said(&self, key: &str) -> String {
        self.says
            .get(key)
            .map(|text| text.to_lowercase())
            .unwrap_or_default()
    }

    /// Whether a credential stands under a key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.credentials.iter().any(|seen| seen.key == key)
    }

    /// Whose the target is by where it leads, for a name that says nothing.
    pub(super) fn class_by_place(&self) -> Option<Class> {
        const PLACES: [&str; 9] = [
            "host", "server", "account", "dbname", "database", "project", "catalog", "schema",
            "dataset",
        ];
        let said = || PLACES.iter().filter_map(|key| self.says.get(*key));
        if let Some(class) = said().filter_map(|text| words::class(text)).max() {
            return Some(class);
        }
        let here = ["localhost", "127.0.0.1", "::1"];
        said()
            .any(|text| here.contains(&text.as_str()))
            .then_some(Class::Development)
    }
}
