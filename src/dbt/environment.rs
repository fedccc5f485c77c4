//! The variables that dbt would see: the process's own, and what dbt 1.12 adds from `.env` (facts dbt #15, #16).
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::dotenv;
use super::error::DbtError;
use super::rules::Engine;
use crate::variables::Variables;

/// The process's variables with those of the `.env` file.
#[derive(Debug)]
pub struct Environment<'a> {
    real: &'a Variables,
    file: Option<DotenvFile>,
    /// `(DBT_ENGINE_X, DBT_X)` of the dbt.
    twins: Twins,
}

type Twins = &'static [(&'static str, &'static str)];

/// The `.env` that dbt would load.
struct DotenvFile {
    path: PathBuf,
    content: Content,
}

/// What is known of a `.env`.
enum Content {
    /// What it adds, by python-dotenv's rules: no variable of the process's own is among them.
    Added(BTreeMap<String, String>),
    /// Its text: Fusion reads it by rules of its own, so that any name that stands in it is uncertain.
    Unread(String),
}

/// Names only: a value may be a secret.
impl std::fmt::Debug for DotenvFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("DotenvFile");
        shown.field("path", &self.path);
        if let Content::Added(added) = &self.content {
            shown.field("added", &added.keys());
        }
        shown.finish_non_exhaustive()
    }
}

/// What a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// It is set to this text, which may be empty.
    Text(&'a str),
    /// It is set, or may be, and its value is not known for certain: it is not UTF-8, or stands in a `.env` that is
    /// read by other rules.
    Unknown,
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

/// The working directory as Python's getcwd() gives it, which knows no symbolic links.
///
/// # Errors
/// It is not there any more.
pub(super) fn canonical(cwd: &Path) -> Result<PathBuf, DbtError> {
    cwd.canonicalize().map_err(|error| DbtError::Unreadable {
        path: cwd.to_path_buf(),
        why: error.to_string(),
    })
}

impl<'a> Environment<'a> {
    /// As a dbt sees them.
    ///
    /// # Errors
    /// A `.env` that cannot be read, with which dbt would not start either.
    pub fn of(engine: &Engine, real: &'a Variables, cwd: &Path) -> Result<Self, DbtError> {
        let twins = engine.rules.twins();
        if engine.fusion {
            return Self::of_fusion(real, twins, cwd);
        }
        if engine.rules.dotenv {
            return Self::with_dotenv(real, twins, cwd);
        }
        Ok(Self {
            real,
            file: None,
            twins,
        })
    }

    /// Finds and reads `.env` as python-dotenv does: the nearest in the working directory and its parents.
    ///
    /// # Errors
    /// A `.env` that cannot be read, with which dbt would not start either.
    fn with_dotenv(real: &'a Variables, twins: Twins, cwd: &Path) -> Result<Self, DbtError> {
        let disabled = real.text("PYTHON_DOTENV_DISABLED").is_some_and(|value| {
            ["1", "true", "t", "yes", "y"].contains(&value.to_lowercase().as_str())
        });
        if disabled {
            return Ok(Self {
                real,
                file: None,
                twins,
            });
        }
        let cwd = canonical(cwd)?;
        let found = cwd
            .ancestors()
            .map(|dir| dir.join(".env"))
            .find(|path| is_found(path));
        let Some(path) = found else {
            return Ok(Self {
                real,
                file: None,
                twins,
            });
        };
        let added = dotenv::added(&text_of(&path)?, real);
        // Only a name in quotes can hold one; Python's os.environ refuses it, and dbt does not start.
        if added.keys().any(|name| name.contains('=')) {
            let why = "a name in it holds `=`".to_owned();
            return Err(DbtError::SettingsFile { path, why });
        }
        let content = Content::Added(added);
        Ok(Self {
            real,
            file: Some(DotenvFile { path, content }),
            twins,
        })
    }

    /// For Fusion, which reads the `.env` of the working directory alone, by rules that we do not know.
    ///
    /// # Errors
    /// A `.env` that cannot be read.
    fn of_fusion(real: &'a Variables, twins: Twins, cwd: &Path) -> Result<Self, DbtError> {
        let path = cwd.join(".env");
        if !is_found(&path) {
            return Ok(Self {
                real,
                file: None,
                twins,
            });
        }
        let content = Content::Unread(text_of(&path)?);
        Ok(Self {
            real,
            file: Some(DotenvFile { path, content }),
            twins,
        })
    }

    /// One variable as Python's `os.environ` has it after `.env` was loaded.
    pub fn get(&self, name: &str) -> Lookup<'_> {
        if let Some(value) = self.real.os(name) {
            return value.to_str().map_or(Lookup::Unknown, Lookup::Text);
        }
        match self.file.as_ref().map(|file| &file.content) {
            Some(Content::Added(added)) => added
                .get(name)
                .map_or(Lookup::Missing, |value| Lookup::Text(value)),
            Some(Content::Unread(text)) if text.contains(name) => Lookup::Unknown,
            _ => Lookup::Missing,
        }
    }

    /// One variable as `env_var()` has it: dbt lets each `DBT_ENGINE_X` stand for its `DBT_X` and the other way round.
    pub fn env_var(&self, name: &str) -> Lookup<'_> {
        for (new, old) in self.twins {
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
    /// A value that is not known for certain.
    pub fn option(
        &self,
        names: &'static [&'static str],
    ) -> Result<Option<FromVariable<'_>>, DbtError> {
        for name in names {
            match self.get(name) {
                Lookup::Unknown => return Err(self.unknown(name)),
                Lookup::Text(value) if !value.is_empty() => {
                    let file = self.file_of(name);
                    return Ok(Some(FromVariable { value, name, file }));
                }
                Lookup::Text(_) | Lookup::Missing => {}
            }
        }
        Ok(None)
    }

    /// Fusion takes an empty value for one, and `DBT_X` before `DBT_ENGINE_X`, which dbt-core takes first.
    ///
    /// # Errors
    /// One is empty, or two differ.
    pub(super) fn refuse_where_fusion_differs(
        &self,
        names: &'static [&'static str],
    ) -> Result<(), DbtError> {
        let mut said: Option<&str> = None;
        for name in names {
            let Lookup::Text(value) = self.get(name) else {
                continue;
            };
            if value.is_empty() || said.is_some_and(|other| other != value) {
                return Err(DbtError::UnreadableCommand {
                    words: (*name).to_owned(),
                    why: format!(
                        "of {}, one is empty or they differ, which Fusion reads otherwise than dbt-core",
                        names.join(" and ")
                    ),
                });
            }
            said = Some(value);
        }
        Ok(())
    }

    /// The home directory's variable, which need not be UTF-8.
    pub(super) fn home(&self) -> Option<PathBuf> {
        match (self.real.os("HOME"), self.get("HOME")) {
            (Some(home), _) => Some(PathBuf::from(home)),
            (None, Lookup::Text(home)) => Some(PathBuf::from(home)),
            (None, _) => None,
        }
    }

    /// The `.env` that is loaded, where there is one.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|file| file.path.as_path())
    }

    /// The `.env` that gives this variable, unless the process itself has it.
    pub fn file_of(&self, name: &str) -> Option<&Path> {
        let file = self.file.as_ref()?;
        let given = match &file.content {
            Content::Added(added) => added.contains_key(name),
            Content::Unread(text) => text.contains(name),
        };
        (self.real.os(name).is_none() && given).then_some(file.path.as_path())
    }

    fn unknown(&self, name: &str) -> DbtError {
        match self.file_of(name) {
            Some(path) => DbtError::SettingsFile {
                path: path.to_path_buf(),
                why: format!("{name} stands in it, and Fusion reads it by rules of its own"),
            },
            None => DbtError::NotText {
                what: name.to_owned(),
            },
        }
    }
}

/// python-dotenv takes files and named pipes.
fn is_found(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() || found.file_type().is_fifo())
}

fn text_of(path: &Path) -> Result<String, DbtError> {
    let unreadable = |why: String| DbtError::SettingsFile {
        path: path.to_path_buf(),
        why,
    };
    if !path.is_file() {
        return Err(unreadable(
            "it is a named pipe, which can be read only once".to_owned(),
        ));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    if text.contains('\0') {
        return Err(unreadable("it holds a NUL character".to_owned()));
    }
    Ok(text)
}
