//! What dbt would use, by dbt's own rules: project, profiles file, profile, target, output.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::variables::Variables;

mod accepted;
mod choices;
pub mod dotenv;
mod environment;
mod error;
pub mod invocation;
pub mod jinja;
pub mod options;
#[rustfmt::skip]
pub mod options_1_10;
#[rustfmt::skip]
pub mod options_1_11;
#[rustfmt::skip]
pub mod options_1_12;
#[rustfmt::skip]
pub mod options_1_12_0;
#[rustfmt::skip]
pub mod options_1_9;
mod parse_cache;
mod profile;
mod program;
mod project;
mod reads;
mod rendering;
mod resolve;
mod retry;
pub mod rules;
mod settings;
mod spelling;
#[cfg(test)]
mod tests;
mod usage;
mod vars;
mod version;
mod whole;
mod written;
pub mod yaml;

pub use environment::{Environment, Lookup};
pub use error::{DbtError, UnknownTarget};
pub use parse_cache::ParseCache;
pub use rendering::{Rendering, Vault};
pub use resolve::{project_dir, resolve};
pub use rules::Engine;
pub use whole::{WholeProfiles, project_in, users_profiles, whole_profiles};

/// dbt's own options as they were given to us, before `--` (or without a command).
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `--project-dir`
    pub project_dir: Option<PathBuf>,
    /// `--profiles-dir`
    pub profiles_dir: Option<PathBuf>,
    /// `--profile`
    pub profile: Option<String>,
    /// `--target`, `-t`
    pub target: Option<String>,
    /// `--vars`: YAML, unparsed.
    pub vars: Option<String>,
    /// Further profiles, for a tool that reads more than one (elementary's `edr`), each with its own `--target` where one is given.
    pub others: Vec<(String, Option<String>)>,
}

/// What surrounds a command: the facts that dbt's rules ask for.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The environment of the process.
    pub variables: &'a Variables,
    /// The working directory, absolute.
    pub cwd: &'a Path,
}

/// What a command needs from us (DESIGN, decision 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It connects to the database.
    Lease,
    /// It needs a profile that validates, and does not connect: `ls`, `parse`, …
    Placeholder,
    /// It reads no profile: `deps`, `clean`, `init`, `--version`, `--help`, usage errors.
    None,
}

impl Need {
    /// The same command's need if it did not connect.
    pub fn without_connecting(self) -> Self {
        match self {
            Self::Lease | Self::Placeholder => Self::Placeholder,
            Self::None => Self::None,
        }
    }
}

/// A dbt project.
#[derive(Clone, Debug)]
pub struct Project {
    /// `name:` of dbt_project.yml.
    pub name: String,
    /// The directory of dbt_project.yml, absolute.
    pub dir: PathBuf,
    /// `profile:` of dbt_project.yml, rendered: the project's own profile, also where another one is chosen. None where it
    /// names none.
    pub profile: Option<String>,
}

/// The chosen profile with its one output, unrendered.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The profiles.yml that dbt would read, absolute.
    pub file: PathBuf,
    /// The profile's name.
    pub name: String,
    /// The target's name: the key under `outputs`.
    pub target: String,
    /// The output, a mapping.
    pub output: Rc<yaml::Node>,
    /// The top-level `config:` block of profiles.yml, if there is one; dbt still reads it.
    pub config: Option<Rc<yaml::Node>>,
    /// `type:` of the output, where it is a plain text.
    pub adapter: Option<String>,
}

/// Where a choice came from, for people: "from --target", "from DBT_TARGET", "by default".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The phrase.
    pub said: String,
    /// Whether the user named it in this call: an option or a variable of the real environment. Only that counts for a
    /// protected environment (not `.env`, user_settings.yml, profiles.yml or run_results.json).
    pub named: bool,
}

/// Where each choice came from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The project directory.
    pub project: Source,
    /// The profiles directory.
    pub profiles_dir: Source,
    /// The profile.
    pub profile: Source,
    /// The target.
    pub target: Source,
}

/// A further profile of the same session.
#[derive(Clone, Debug)]
pub struct Other {
    /// The profile with its output.
    pub profile: Profile,
    /// Where its target came from.
    pub target: Source,
}

/// What dbt would use for one command.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What the command needs.
    pub need: Need,
    /// Whether the command is dbt itself (or a form of it whose arguments we read).
    pub is_dbt: bool,
    /// The command for the child: dbt's own argv less `--profiles-dir`; any other command as it is.
    pub argv: Vec<OsString>,
    /// The project, where there is one.
    pub project: Option<Project>,
    /// The profile; always there when `need` is not `None`.
    pub profile: Option<Profile>,
    /// The further profiles that were named before `--`, in order; never for dbt itself, which reads one.
    pub others: Vec<Other>,
    /// Where the choices came from; there when `profile` is.
    pub sources: Option<Sources>,
    /// Why dbt will refuse its own command line, where it will; `need` is then `None`, and dbt says it itself.
    pub usage: Option<String>,
    /// Whether the output's `threads:` counts: no option, variable or setting says how many.
    pub threads_count: bool,
    /// How often the command opens profiles.yml before it has done with it; none where that is not known.
    pub profile_reads: Option<u32>,
    /// `--vars`.
    pub vars: jinja::Vars,
    /// The files beside profiles.yml that decided: `.env` and the user's settings, where they are; none where `profile` is
    /// none.
    pub deciding_files: Vec<PathBuf>,
    /// The directories that dbt writes to: target and logs, absolute, whether they are there or not.
    pub written: Vec<PathBuf>,
    /// The parse cache of the command.
    pub parse_cache: ParseCache,
    /// Which dbt it is, as far as that is known without running it; of any other program, the dbt that it would find.
    pub engine: Engine,
}

impl Resolved {
    /// The profiles of the session, the command's own first.
    pub fn profiles(&self) -> impl Iterator<Item = &Profile> {
        let others = self.others.iter().map(|other| &other.profile);
        self.profile.iter().chain(others)
    }
}
