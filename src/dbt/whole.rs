//! profiles.yml as a whole: for those who look at all its profiles, whatever project there is.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::choices::{Choices, Given};
use super::environment::canonical;
use super::error::DbtError;
use super::jinja::{LookupOwned, Scope, Secrets, Vars};
use super::program::Program;
use super::yaml::Merging;
use super::{Context, Project, Selection, Source, profile, project, resolve};

/// A profiles.yml.
pub struct WholeProfiles {
    /// The file, absolute.
    pub path: PathBuf,
    /// Its bytes, which dbt reads as YAML.
    pub bytes: Zeroizing<Vec<u8>>,
    /// How dbt merges its maps (`<<`), where that is known.
    pub merging: Option<Merging>,
    /// Why it is this one.
    pub source: Source,
}

/// The profiles.yml that dbt would read here, by our own options alone; no project is needed.
///
/// # Errors
/// There is none, or it is no YAML to dbt.
pub fn whole_profiles(
    selection: &Selection,
    context: &Context<'_>,
) -> Result<WholeProfiles, DbtError> {
    let cwd = canonical(context.cwd)?;
    let engine = resolve::engine(Program::Other, &[], context);
    let choices = Choices::of(context, &cwd, engine)?;
    let directory = choices.profiles_dir(choices.run(), Given::Selection(selection))?;
    in_directory(&directory.path, directory.source, choices.engine.merging)
}

/// The profiles.yml of the user, `~/.dbt/profiles.yml`, whether dbt would read it here or not; none where there is none.
///
/// # Errors
/// It cannot be read, or is no YAML to dbt.
pub fn users_profiles(context: &Context<'_>) -> Result<Option<WholeProfiles>, DbtError> {
    let cwd = canonical(context.cwd)?;
    let engine = resolve::engine(Program::Other, &[], context);
    let choices = Choices::of(context, &cwd, engine)?;
    let Some(home) = &choices.home else {
        return Ok(None);
    };
    let source = Source {
        said: "the user's own".to_owned(),
        named: false,
    };
    match in_directory(&home.join(".dbt"), source, choices.engine.merging) {
        Err(DbtError::NoProfiles { .. }) => Ok(None),
        other => other.map(Some),
    }
}

/// The project in a directory, with the profile that it names itself; none where it names none.
///
/// # Errors
/// There is no project, or dbt would refuse it, or it is not certain what it names.
pub fn project_in(directory: &Path, context: &Context<'_>) -> Result<Project, DbtError> {
    let cwd = canonical(context.cwd)?;
    let engine = resolve::engine(Program::Other, &[], context);
    let choices = Choices::of(context, &cwd, engine)?;
    let source = Source {
        said: "named".to_owned(),
        named: true,
    };
    let file = project::read(directory, &source, choices.engine.merging)?;
    let lookup = |name: &str| LookupOwned::from(choices.environment.env_var(name));
    let scope = Scope {
        env_var: &lookup,
        secrets: Secrets::Refused,
        vars: &Vars::default(),
        vault: None,
    };
    let profile = match profile::name(&file, None, &scope) {
        Ok((choice, _)) => Some(choice.text),
        Err(DbtError::NoProfileNamed { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Project {
        profile,
        ..file.project
    })
}

fn in_directory(
    directory: &Path,
    source: Source,
    merging: Option<Merging>,
) -> Result<WholeProfiles, DbtError> {
    let path = directory.join("profiles.yml");
    // dbt asks isfile(): a pipe is as good as none.
    if !path.is_file() {
        return Err(DbtError::NoProfiles {
            dir: directory.to_owned(),
            said: source.said,
        });
    }
    let bytes = Zeroizing::new(project::bytes_of(&path)?);
    // Where it is not known which map wins, the file is one all the same.
    project::parsed(&path, &bytes, merging.or(Some(Merging::FirstWins)))?;
    Ok(WholeProfiles {
        path,
        bytes,
        merging,
        source,
    })
}
