//! `~/.dbt/user_settings.yml` of dbt 1.12: what it says counts where nothing else says anything (facts dbt #18).
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::error::DbtError;
use super::yaml::{self, Mapping, Merging, Node, Problem, Value};

/// The home directory as Python's `Path.home()` has it: HOME, also an empty one, else the user database.
pub(super) fn home(environment: &Environment<'_>, cwd: &Path) -> Option<PathBuf> {
    let home = match environment.home() {
        Some(home) if home.as_os_str().is_empty() => PathBuf::from("/"),
        Some(home) => home,
        None => {
            nix::unistd::User::from_uid(nix::unistd::getuid())
                .ok()
                .flatten()?
                .dir
        }
    };
    Some(cwd.join(home))
}

/// The user's settings; empty where there are none.
#[derive(Debug, Default)]
pub(super) struct Settings {
    path: PathBuf,
    flags: Mapping,
}

impl Settings {
    /// Reads them. What dbt ignores (a file that is no YAML, one without `flags:`) says nothing here either.
    ///
    /// # Errors
    /// A form of which it is not certain what dbt makes.
    pub(super) fn read(home: Option<&Path>, merging: Option<Merging>) -> Result<Self, DbtError> {
        let Some(path) = home.map(|home| home.join(".dbt/user_settings.yml")) else {
            return Ok(Self::default());
        };
        if !path.is_file() {
            return Ok(Self::default());
        }
        let refused = |why: &str| DbtError::SettingsFile {
            path: path.clone(),
            why: why.to_owned(),
        };
        let bytes = std::fs::read(&path).map_err(|error| refused(&error.to_string()))?;
        let root = match yaml::load_merging(&bytes, merging) {
            Ok(root) => root,
            // What PyYAML cannot read dbt passes over in silence; these are limits of ours, or crashes of dbt's.
            Err(error) => match error.problem {
                Problem::TooLarge
                | Problem::TooDeep
                | Problem::TooManyNodes
                | Problem::RecursiveAlias
                | Problem::MergeConflict
                | Problem::BadScalar(_)
                | Problem::WrongShape(_)
                | Problem::Bug => return Err(refused(&error.to_string())),
                _ => return Ok(Self::default()),
            },
        };
        let flags = match &root.value {
            Value::Null => return Ok(Self::default()),
            Value::Map(map) => match map.get("flags") {
                None => return Ok(Self::default()),
                Some(node) => node
                    .map()
                    .cloned()
                    .ok_or_else(|| refused("`flags:` is not a mapping"))?,
            },
            _ => return Err(refused("it is not a mapping")),
        };
        Ok(Self { path, flags })
    }

    /// Whether they say anything of an option.
    pub(super) fn has(&self, name: &str) -> bool {
        let found = self.flags.get(name);
        found.is_some_and(|node| !matches!(node.value, Value::Null))
    }

    /// What they say of an option, not rendered; null counts as nothing, an empty text as a value.
    ///
    /// # Errors
    /// A value that is no text.
    pub(super) fn option(&self, name: &str) -> Result<Option<&str>, DbtError> {
        match self.flags.get(name).map(AsRef::as_ref) {
            None
            | Some(Node {
                value: Value::Null, ..
            }) => Ok(None),
            Some(node) => node.text().map(Some).ok_or_else(|| DbtError::SettingsFile {
                path: self.path.clone(),
                why: format!("`{name}` is not a text"),
            }),
        }
    }

    /// Where they stand.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    fn option(text: &str) -> Result<Option<String>, &'static str> {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(home.path().join(".dbt")).expect("a directory");
        std::fs::write(home.path().join(".dbt/user_settings.yml"), text).expect("a file");
        let settings = Settings::read(Some(home.path()), None).map_err(|error| error.kind())?;
        settings
            .option("target")
            .map(|value| value.map(str::to_owned))
            .map_err(|error| error.kind())
    }

    #[test]
    fn only_a_text_is_a_value() {
        assert_eq!(option("flags: {target: prod}"), Ok(Some("prod".to_owned())));
        assert_eq!(option("flags: {target: ''}"), Ok(Some(String::new())));
        assert_eq!(option("flags: {target: null}"), Ok(None));
        assert_eq!(option("flags: {target: 1}"), Err("settings_file"));
        assert_eq!(option("flags: [x"), Ok(None));
        assert_eq!(option(""), Ok(None));
    }
}
