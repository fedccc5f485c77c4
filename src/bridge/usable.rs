//! Whether dbt could use anything in a file: what it refuses in every one of its outputs, the bridge refuses too.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;

use super::error::BridgeError;
use super::form::Form;
use super::uses::{Found, Use, adapter};
use crate::dbt::yaml::{Content, Entry, Kind, Written};
use crate::place::Place;
use crate::render::adapters;

/// Checks a file.
///
/// # Errors
/// dbt could use none of its outputs: the first reason.
pub(super) fn check(file: &Path, written: &Written, found: &Found) -> Result<(), BridgeError> {
    let checker = Checker {
        file,
        written,
        templates: templates(written, found),
    };
    let root = written.root().node;
    let unusable = |at: Place, why: &str| BridgeError::Unusable {
        at,
        why: why.to_owned(),
    };
    if !checker.is_map(root) {
        let at = Place::of_line(file, Some(written.node(root).mark.line));
        return Err(unusable(at, "profiles.yml must be a mapping of profiles"));
    }
    let mut first = None;
    for profile in written.entries(root).filter(|entry| entry.name != "config") {
        match checker.profile(&profile) {
            Ok(()) => return Ok(()),
            Err(problem) => first = first.or(Some(problem)),
        }
    }
    Err(first.unwrap_or_else(|| unusable(Place::of_file(file), "there is no profile in it")))
}

/// Of each output, the first text that dbt cannot render for certain.
fn templates<'a>(
    written: &Written,
    found: &'a Found,
) -> HashMap<(&'a str, &'a str), (&'a Use, String)> {
    let mut templates = HashMap::new();
    for used in found.uses.iter().filter(|used| !used.is_below_password()) {
        let (Some(target), Some(scalar)) = (&used.target, written.scalar(used.node)) else {
            continue;
        };
        if scalar.kind == Kind::Text
            && let Some(why) = Form::of(&scalar.text).refusal(&scalar.text)
        {
            templates
                .entry((used.profile.as_str(), target.as_str()))
                .or_insert((used, why));
        }
    }
    templates
}

struct Checker<'a> {
    file: &'a Path,
    written: &'a Written,
    templates: HashMap<(&'a str, &'a str), (&'a Use, String)>,
}

impl Checker<'_> {
    /// Whether dbt could use one output of a profile; else why not.
    fn profile(&self, profile: &Entry<'_>) -> Result<(), BridgeError> {
        let name = profile.name;
        let Some(outputs) = self.written.entry(profile.value.node, "outputs") else {
            return Err(self.unusable(profile, format!("profile `{name}` has no `outputs:`")));
        };
        if !self.is_map(outputs.value.node) {
            return Err(self.unusable(
                &outputs,
                "`outputs:` must be a mapping of targets".to_owned(),
            ));
        }
        let mut first = None;
        for target in self.written.entries(outputs.value.node) {
            match self.output(name, &target) {
                Ok(()) => return Ok(()),
                Err(problem) => first = first.or(Some(problem)),
            }
        }
        Err(first.unwrap_or_else(|| {
            self.unusable(
                &outputs,
                format!("profile `{name}` has no target below `outputs:`"),
            )
        }))
    }

    fn output(&self, profile: &str, target: &Entry<'_>) -> Result<(), BridgeError> {
        let node = target.value.node;
        let refused = |why: &str| {
            let why = format!("the output `{}` of profile `{profile}` {why}", target.name);
            Err(self.unusable(target, why))
        };
        if !self.is_map(node) {
            return refused("must be a mapping");
        }
        if self.written.entry(node, "type").is_none() {
            return refused("has no `type:`");
        }
        let adapter = adapter(self.written, node);
        self.spellings(node, adapter)?;
        // dbt-postgres takes texts alone there; of other adapters it is not known for certain.
        let number = self.written.entries(node).find(|entry| {
            let scalar = self.written.scalar(entry.value.node);
            adapter == Some("postgres")
                && ["user", "password", "pass"].contains(&entry.name)
                && scalar.is_some_and(|scalar| matches!(scalar.kind, Kind::Number | Kind::Bool))
        });
        if let Some(entry) = number {
            let why = format!("`{}` must be a text: put it in quotes", entry.name);
            return Err(self.unusable(&entry, why));
        }
        match self.templates.get(&(profile, target.name)) {
            None => Ok(()),
            Some((used, why)) => Err(BridgeError::Template {
                at: used.place(self.file),
                path: used.dotted(),
                why: why.clone(),
            }),
        }
    }

    /// One key under two spellings, which dbt does not take.
    fn spellings(&self, output: usize, adapter: Option<&str>) -> Result<(), BridgeError> {
        for names in adapter.into_iter().flat_map(adapters::spellings) {
            let entries = self.written.entries(output);
            let mut spelt = entries.filter(|entry| names.contains(&entry.name));
            if let (Some(first), Some(second)) = (spelt.next(), spelt.next()) {
                return Err(BridgeError::TwoSpellings {
                    at: self.place(&second),
                    first: first.name.to_owned(),
                    second: second.name.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn is_map(&self, node: usize) -> bool {
        matches!(self.written.node(node).content, Content::Map(_))
    }

    fn place(&self, entry: &Entry<'_>) -> Place {
        let mark = self.written.node(entry.key.node).mark;
        Place::of_key(self.file, mark.line, mark.column, entry.name)
    }

    fn unusable(&self, entry: &Entry<'_>, why: String) -> BridgeError {
        BridgeError::Unusable {
            at: self.place(entry),
            why,
        }
    }
}
