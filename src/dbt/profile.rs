//! profiles.yml: the profile, its target and its one output, by dbt's own rules (facts dbt B5, `dbt/config/profile.py`).
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::error::{DbtError, UnknownTarget, nearest};
use super::jinja::{self, JinjaError, Scope};
use super::project::{self, ProjectFile};
use super::spelling::read_otherwise;
use super::yaml::{Mapping, Merging, Node, Value};
use super::{Profile, Source};
use crate::place::Place;

/// A name that was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The name.
    pub(super) text: String,
    /// Where it came from.
    pub(super) source: Source,
}

/// profiles.yml, read.
pub(super) struct ProfilesFile {
    path: PathBuf,
    profiles: Mapping,
}

/// The profile's name: what overrides it, else the project's `profile:`, which is rendered in any case. Beside it the
/// project's own, where it is known.
///
/// # Errors
/// Neither names one, or the project's template fails or is not certain.
pub(super) fn name(
    project: &ProjectFile,
    given: Option<Choice>,
    scope: &Scope<'_>,
) -> Result<(Choice, Option<String>), DbtError> {
    let path = project.path.clone();
    let said = |node: &Node| {
        let template = node.text().is_some_and(jinja::is_template);
        let said = if template {
            "from the template in `profile:` of dbt_project.yml"
        } else {
            "from `profile:` of dbt_project.yml"
        };
        Source {
            said: said.to_owned(),
            named: false,
        }
    };
    let Some((key, node)) = &project.profile else {
        let given = given.ok_or(DbtError::NoProfileNamed { path })?;
        return Ok((given, None));
    };
    let at = place_of(&path, key);
    let rendered = match rendered("profile", node, &at, scope) {
        Err(DbtError::Uncertain { .. }) if given.is_some() => None,
        other => Some(other?),
    };
    match (rendered, given) {
        // dbt refuses a project whose profile is no text, also where another one is given.
        (Some(None), _) | (None, None) => Err(DbtError::Template {
            what: "profile",
            at,
            why: "a profile's name must be a text".to_owned(),
        }),
        (own, Some(given)) => Ok((given, own.flatten())),
        (Some(Some(text)), None) => {
            let own = Some(text.clone());
            let source = said(node);
            Ok((Choice { text, source }, own))
        }
    }
}

/// A value that names something, rendered; `None` where it is no text, which dbt refuses sooner or later.
fn rendered(
    what: &'static str,
    node: &Node,
    at: &Place,
    scope: &Scope<'_>,
) -> Result<Option<String>, DbtError> {
    let text = match &node.value {
        Value::Str(text) => text,
        // dbt takes a date for its isoformat.
        Value::Timestamp(text) => return Ok(Some(text.clone())),
        _ => return Ok(None),
    };
    let at = at.clone();
    match jinja::render(text, scope) {
        Ok(rendered) => Ok(match rendered.value {
            jinja::Value::Str(text, _) => Some(text.to_string()),
            _ => None,
        }),
        Err(JinjaError::Uncertain { construct }) => Err(DbtError::Uncertain {
            what,
            at,
            construct,
        }),
        Err(JinjaError::EnvVarMissing { name }) => Err(DbtError::EnvVarMissing { what, at, name }),
        Err(JinjaError::Failed { why }) => Err(DbtError::Template { what, at, why }),
    }
}

impl ProfilesFile {
    /// Reads profiles.yml in a directory.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is not what dbt accepts.
    pub(super) fn read(
        dir: &Path,
        source: &Source,
        wanted: &str,
        merging: Option<Merging>,
    ) -> Result<Self, DbtError> {
        let path = dir.join("profiles.yml");
        // dbt asks isfile(): a pipe is as good as none.
        if !path.is_file() {
            return Err(DbtError::NoProfilesFile {
                dir: dir.to_path_buf(),
                said: source.said.clone(),
                profile: wanted.to_owned(),
            });
        }
        let root = project::load(&path, merging)?;
        if is_falsy(&root) {
            return Err(DbtError::EmptyProfilesFile { path });
        }
        match root.map() {
            Some(profiles) => Ok(Self {
                path,
                profiles: profiles.clone(),
            }),
            None => Err(DbtError::BadProfile {
                at: Place::of_line(&path, Some(root.mark.line)),
                profile: wanted.to_owned(),
                why: "profiles.yml must be a mapping of profiles".to_owned(),
            }),
        }
    }

    /// The names of its profiles, `config` aside.
    pub(super) fn names(&self) -> Vec<String> {
        self.profiles
            .0
            .iter()
            .filter_map(|(key, _)| key.text())
            .filter(|name| *name != "config")
            .map(str::to_owned)
            .collect()
    }

    /// Whether there is a top-level `config:` that says anything.
    pub(super) fn has_config(&self) -> bool {
        self.profiles
            .get("config")
            .and_then(|node| node.map())
            .is_some_and(|config| !config.0.is_empty())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether every key is a text, so that [`Self::names`] leaves none out.
    pub(super) fn all_named(&self) -> bool {
        self.profiles.0.iter().all(|(key, _)| key.text().is_some())
    }

    /// The profile with its target.
    ///
    /// # Errors
    /// There is no such profile or target, it has a form that dbt refuses, or the target is not certain.
    pub(super) fn choose(
        &self,
        profile: &Choice,
        target: Option<Choice>,
        scope: &Scope<'_>,
    ) -> Result<(Profile, Source), DbtError> {
        let name = &profile.text;
        let bad = |key: &Node, why: &str| DbtError::BadProfile {
            at: place_of(&self.path, key),
            profile: name.clone(),
            why: why.to_owned(),
        };
        let Some((key, node)) = self.profiles.entry(name) else {
            return Err(DbtError::UnknownProfile {
                path: self.path.clone(),
                profile: name.clone(),
                said: profile.source.said.clone(),
                known: self.names(),
            });
        };
        if is_falsy(node) {
            return Err(bad(key, "the profile is empty"));
        }
        let Some(map) = node.map() else {
            return Err(bad(key, "it must be a mapping with `outputs:`"));
        };
        let target = match target {
            Some(target) => target,
            None => self.own_target(name, map, scope)?,
        };
        let Some((outputs_key, outputs)) = map.entry("outputs") else {
            return Err(bad(key, "it has no `outputs:`"));
        };
        let Some(outputs) = outputs.map() else {
            return Err(bad(outputs_key, "`outputs:` must be a mapping of targets"));
        };
        let Some((output_key, output)) = outputs.entry(&target.text) else {
            let known: Vec<String> = outputs
                .0
                .iter()
                .filter_map(|(key, _)| key.text())
                .map(str::to_owned)
                .collect();
            let near = nearest(&target.text, &known).and_then(|near| outputs.entry(near));
            return Err(DbtError::UnknownTarget(Box::new(UnknownTarget {
                at: place_of(&self.path, near.map_or(outputs_key, |(key, _)| key)),
                profile: name.clone(),
                target: target.text,
                said: target.source.said,
                known,
            })));
        };
        let Some(keys) = output.map() else {
            return Err(bad(
                output_key,
                &format!("the output `{}` must be a mapping", target.text),
            ));
        };
        let Some(adapter) = keys.get("type") else {
            return Err(bad(
                output_key,
                &format!("the output `{}` has no `type:`", target.text),
            ));
        };
        let profile = Profile {
            file: self.path.clone(),
            name: name.clone(),
            target: target.text,
            output: Rc::clone(output),
            config: self.profiles.get("config").cloned(),
            adapter: adapter
                .text()
                .filter(|text| !jinja::is_template(text))
                .map(str::to_owned),
        };
        Ok((profile, target.source))
    }

    /// Fusion reads the file by another YAML, in which some values are others.
    ///
    /// # Errors
    /// The output has one.
    pub(super) fn refuse_where_fusion_differs(&self, profile: &Profile) -> Result<(), DbtError> {
        let bytes = zeroize::Zeroizing::new(project::bytes_of(&self.path)?);
        let top = Node::of(Value::Null);
        match read_otherwise(&bytes, &top, &profile.output) {
            None => Ok(()),
            Some(key) => Err(DbtError::BadProfile {
                at: place_of(&self.path, key),
                profile: profile.name.clone(),
                why: "without quotes this is one value to Fusion and another to dbt-core; put it in quotes, or write a truth value as true or false".to_owned(),
            }),
        }
    }

    /// `target:` of the profile, rendered; without it the target is `default`.
    fn own_target(
        &self,
        profile: &str,
        map: &Mapping,
        scope: &Scope<'_>,
    ) -> Result<Choice, DbtError> {
        let Some((key, node)) = map.entry("target") else {
            let said = "by default, since the profile has no `target:`".to_owned();
            return Ok(Choice {
                text: "default".to_owned(),
                source: Source { said, named: false },
            });
        };
        let said = if node.text().is_some_and(jinja::is_template) {
            "from the template in `target:` of profiles.yml"
        } else {
            "from `target:` of profiles.yml"
        };
        let at = place_of(&self.path, key);
        match rendered("target", node, &at, scope)? {
            Some(text) => Ok(Choice {
                text,
                source: Source {
                    said: said.to_owned(),
                    named: false,
                },
            }),
            None => Err(DbtError::BadProfile {
                at,
                profile: profile.to_owned(),
                why: "`target:` must be a text".to_owned(),
            }),
        }
    }
}

/// Where a key stands.
pub(super) fn place_of(path: &Path, key: &Node) -> Place {
    let text = key.text().unwrap_or_default();
    Place::of_key(path, key.mark.line, key.mark.column, text)
}

/// Python's `not value`.
fn is_falsy(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Int(digits) => digits
            .trim_start_matches('-')
            .bytes()
            .all(|byte| byte == b'0'),
        Value::Float(value) => *value == 0.0,
        Value::Str(text) | Value::Literal(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.0.is_empty(),
        Value::Timestamp(_) | Value::Unusable(_) => false,
    }
}
