//! profiles.yml as a whole: for those who look at all its profiles, whatever project there is.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::choices::{Choices, Given};
use super::environment::canonical;
use super::error::DbtError;
use super::program::Program;
use super::yaml::Merging;
use super::{Context, Selection, Source, project, resolve};

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
    let path = directory.path.join("profiles.yml");
    // dbt asks isfile(): a pipe is as good as none.
    if !path.is_file() {
        return Err(DbtError::NoProfiles {
            dir: directory.path,
            said: directory.source.said,
        });
    }
    let bytes = Zeroizing::new(project::bytes_of(&path)?);
    // Where it is not known which map wins, the file is one all the same.
    let merging = choices.engine.merging;
    project::parsed(&path, &bytes, merging.or(Some(Merging::FirstWins)))?;
    Ok(WholeProfiles {
        path,
        bytes,
        merging,
        source: directory.source,
    })
}
