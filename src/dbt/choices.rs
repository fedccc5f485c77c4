//! Where a choice comes from: words, variables, the user's settings, defaults (facts dbt B2 to B5).
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::error::DbtError;
use super::invocation::Invocation;
use super::options::{Accepts, Command};
use super::profile::Choice;
use super::rules::Engine;
use super::settings::{self, Settings};
use super::{Context, Selection, Source, project};

/// What surrounds a command, read once.
pub(super) struct Choices<'a> {
    pub(super) environment: Environment<'a>,
    pub(super) settings: Settings,
    pub(super) home: Option<PathBuf>,
    pub(super) cwd: &'a Path,
    pub(super) engine: Engine,
}

/// Where an option's value came from.
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// dbt's own words.
    Words(&'a Invocation),
    /// Our options before `--`.
    Selection(&'a Selection),
    /// The words that `dbt retry` makes of the previous run, and the run_results.json that they come from.
    Repeated(&'a Invocation, &'a Path),
}

impl Given<'_> {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        match self {
            Self::Words(invocation) | Self::Repeated(invocation, _) => invocation.value(name),
            Self::Selection(selection) => match name {
                "target" => selection.target.as_deref(),
                "profile" => selection.profile.as_deref(),
                _ => None,
            },
        }
    }
}

/// The user named an option in this call.
pub(super) fn named(option: &str) -> Source {
    Source {
        said: format!("from --{}", option.replace('_', "-")),
        named: true,
    }
}

/// Whether click wants the directory to be there.
fn must_exist(command: &Command, name: &str) -> bool {
    command
        .named(name)
        .is_some_and(|option| matches!(option.accepts, Accepts::Path(wanted) if wanted.exists))
}

/// A directory that was chosen.
pub(super) struct Directory {
    pub(super) path: PathBuf,
    pub(super) source: Source,
}

impl<'a> Choices<'a> {
    /// Reads `.env` and the user's settings.
    pub(super) fn of(
        context: &Context<'a>,
        cwd: &'a Path,
        engine: Engine,
    ) -> Result<Self, DbtError> {
        let environment = Environment::of(&engine, context.variables, cwd)?;
        let home = settings::home(&environment, cwd);
        // Fusion does not know the user's settings.
        let settings = if engine.fusion || !engine.rules.settings {
            Settings::default()
        } else {
            Settings::read(home.as_deref(), engine.merging)?
        };
        Ok(Self {
            environment,
            settings,
            home,
            cwd,
            engine,
        })
    }

    /// The files beside profiles.yml that decide: `.env` and the user's settings, where they are.
    pub(super) fn deciding_files(&self) -> Vec<PathBuf> {
        let of_user = Some(self.settings.path()).filter(|path| !path.as_os_str().is_empty());
        let files = self.environment.file().into_iter().chain(of_user);
        files.map(Path::to_path_buf).collect()
    }

    /// An option's value: words, then variables, then the user's settings.
    pub(super) fn choice(
        &self,
        command: &Command,
        given: Given<'_>,
        name: &str,
    ) -> Result<Option<Choice>, DbtError> {
        match self.checked(command, given, name)? {
            Some(choice) => Ok(Some(choice)),
            None => self.setting(name),
        }
    }

    /// What click itself finds, and checks: words, then variables.
    fn checked(
        &self,
        command: &Command,
        given: Given<'_>,
        name: &str,
    ) -> Result<Option<Choice>, DbtError> {
        if let Some(value) = given.value(name) {
            let source = match given {
                Given::Repeated(_, path) => Source {
                    said: format!("from the previous run in `{}`", path.display()),
                    named: false,
                },
                Given::Words(_) | Given::Selection(_) => named(name),
            };
            return Ok(Some(Choice {
                text: value.to_owned(),
                source,
            }));
        }
        let variables = command
            .named(name)
            .map(|option| option.variables)
            .unwrap_or_default();
        if self.engine.fusion {
            self.environment.refuse_where_fusion_differs(variables)?;
        }
        Ok(self.environment.option(variables)?.map(|found| {
            let said = match found.file {
                None => format!("from {}", found.name),
                Some(file) => format!("from {} in `{}`", found.name, file.display()),
            };
            Choice {
                text: found.value.to_owned(),
                source: Source {
                    said,
                    named: found.file.is_none(),
                },
            }
        }))
    }

    /// What the user's settings say, which nothing checks.
    fn setting(&self, name: &str) -> Result<Option<Choice>, DbtError> {
        Ok(self.settings.option(name)?.map(|value| Choice {
            text: value.to_owned(),
            source: Source {
                said: format!("from `{name}:` of `{}`", self.settings.path().display()),
                named: false,
            },
        }))
    }

    fn directory(
        &self,
        command: &Command,
        given: Given<'_>,
        name: &str,
    ) -> Result<Option<Directory>, DbtError> {
        let selected = match (given, name) {
            (Given::Selection(selection), "project_dir") => selection.project_dir.as_ref(),
            (Given::Selection(selection), "profiles_dir") => selection.profiles_dir.as_ref(),
            _ => None,
        };
        let (written, source) = match selected {
            Some(path) => (path.clone(), named(name)),
            None => match self.checked(command, given, name)? {
                Some(choice) => (PathBuf::from(choice.text), choice.source),
                None => {
                    return Ok(self.setting(name)?.map(|choice| Directory {
                        path: self.cwd.join(choice.text),
                        source: choice.source,
                    }));
                }
            },
        };
        let path = self.cwd.join(&written);
        if must_exist(command, name) && (written.as_os_str().is_empty() || !path.exists()) {
            return Err(DbtError::NoDirectory {
                path: written,
                said: source.said,
            });
        }
        Ok(Some(Directory { path, source }))
    }

    pub(super) fn project_dir(
        &self,
        command: &Command,
        given: Given<'_>,
    ) -> Result<Directory, DbtError> {
        if let Some(found) = self.directory(command, given, "project_dir")? {
            return Ok(found);
        }
        let path = project::nearest(self.cwd);
        let said = if path == self.cwd {
            "the working directory"
        } else {
            "the nearest project above the working directory"
        };
        Ok(Directory {
            path,
            source: Source {
                said: said.to_owned(),
                named: false,
            },
        })
    }

    pub(super) fn profiles_dir(
        &self,
        command: &Command,
        given: Given<'_>,
    ) -> Result<Directory, DbtError> {
        if let Some(found) = self.directory(command, given, "profiles_dir")? {
            return Ok(found);
        }
        let said = |said: &str| Source {
            said: said.to_owned(),
            named: false,
        };
        if self.cwd.join("profiles.yml").exists() {
            return Ok(Directory {
                path: self.cwd.to_path_buf(),
                source: said("the working directory"),
            });
        }
        let home = self.home.as_ref().ok_or(DbtError::NoHome)?;
        let path = home.join(".dbt");
        if must_exist(command, "profiles_dir") && !path.exists() {
            return Err(DbtError::NoProfilesDir { dir: path });
        }
        Ok(Directory {
            path,
            source: said("by default"),
        })
    }
}
