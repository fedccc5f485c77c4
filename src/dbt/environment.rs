//! The variables that dbt would see: the process's own, and what dbt 1.12 adds from `.env` (facts dbt #15, #16).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::dotenv;
use super::error::DbtError;
use super::options_1_12::TWINS;
use crate::variables::Variables;

/// The process's variables with those of the `.env` file.
#[derive(Debug)]
pub struct Environment<'a> {
    real: &'a Variables,
    file: Option<DotenvFile>,
}

/// The `.env` that dbt would load.
struct DotenvFile {
    path: PathBuf,
    /// What it adds: no variable of the process's own is among them.
    added: BTreeMap<String, String>,
}

/// Names only: a value may be a secret.
impl std::fmt::Debug for DotenvFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("DotenvFile")
            .field("path", &self.path)
            .field("added", &self.added.keys())
            .finish()
    }
}

/// What a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// It is set to this text, which may be empty.
    Text(&'a str),
    /// It is set, and not UTF-8.
    NotText,
    /// It is not set.
    Missing,
}

/// An option's value from a variable, and which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FromVariable<'a> {
    /// Never empty.
    pub value: &'a str,
    /// The variable's name.
    pub name: &'static str,
    /// The `.env` that it stands in, unless it is the process's own.
    pub file: Option<&'a Path>,
}

impl<'a> Environment<'a> {
    /// Finds and reads `.env` as python-dotenv does: the nearest in `cwd` (which must be canonical) and its parents.
    ///
    /// # Errors
    /// A `.env` that cannot be read, with which dbt would not start either.
    pub fn of(real: &'a Variables, cwd: &Path) -> Result<Self, DbtError> {
        let disabled = real.text("PYTHON_DOTENV_DISABLED").is_some_and(|value| {
            ["1", "true", "t", "yes", "y"].contains(&value.to_lowercase().as_str())
        });
        if disabled {
            return Ok(Self { real, file: None });
        }
        let found = cwd.ancestors().map(|dir| dir.join(".env")).find(|path| {
            use std::os::unix::fs::FileTypeExt;
            std::fs::metadata(path)
                .is_ok_and(|found| found.is_file() || found.file_type().is_fifo())
        });
        let Some(path) = found else {
            return Ok(Self { real, file: None });
        };
        let unreadable = |why: String| DbtError::SettingsFile {
            path: path.clone(),
            why,
        };
        if !path.is_file() {
            return Err(unreadable(
                "it is a named pipe, which can be read only once".to_owned(),
            ));
        }
        let bytes = std::fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
        let text =
            String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
        if text.contains('\0') {
            return Err(unreadable("it holds a NUL character".to_owned()));
        }
        let added = dotenv::added(&text, real);
        Ok(Self {
            real,
            file: Some(DotenvFile { path, added }),
        })
    }

    /// The process's variables alone, where no `.env` counts.
    pub fn without_file(real: &'a Variables) -> Self {
        Self { real, file: None }
    }

    /// One variable as Python's `os.environ` has it after `.env` was loaded.
    pub fn get(&self, name: &str) -> Lookup<'_> {
        match (self.real.os(name), &self.file) {
            (Some(value), _) => value.to_str().map_or(Lookup::NotText, Lookup::Text),
            (None, Some(file)) => file
                .added
                .get(name)
                .map_or(Lookup::Missing, |value| Lookup::Text(value)),
            (None, None) => Lookup::Missing,
        }
    }

    /// One variable as `env_var()` has it: dbt lets each `DBT_ENGINE_X` stand for its `DBT_X` and the other way round.
    pub fn env_var(&self, name: &str) -> Lookup<'_> {
        for (new, old) in TWINS {
            if name != *new && name != *old {
                continue;
            }
            return match self.get(new) {
                Lookup::Missing => self.get(old),
                found => found,
            };
        }
        self.get(name)
    }

    /// What click takes for an option: the first of its variables that is not empty.
    ///
    /// # Errors
    /// A value that is not UTF-8.
    pub fn option(
        &self,
        names: &'static [&'static str],
    ) -> Result<Option<FromVariable<'_>>, DbtError> {
        for name in names {
            match self.get(name) {
                Lookup::NotText => {
                    return Err(DbtError::NotText {
                        what: (*name).to_owned(),
                    });
                }
                Lookup::Text(value) if !value.is_empty() => {
                    let file = if self.real.os(name).is_some() {
                        None
                    } else {
                        self.file.as_ref()
                    };
                    return Ok(Some(FromVariable {
                        value,
                        name,
                        file: file.map(|file| file.path.as_path()),
                    }));
                }
                Lookup::Text(_) | Lookup::Missing => {}
            }
        }
        Ok(None)
    }

    /// The `.env` that gives this variable, unless the process itself has it.
    pub fn file_of(&self, name: &str) -> Option<&Path> {
        let file = self.file.as_ref()?;
        (self.real.os(name).is_none() && file.added.contains_key(name))
            .then_some(file.path.as_path())
    }
}
