//! What `init` looks at: the projects here, their profiles.yml files, the dbt-lease.yml files that are there.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::arguments::{Global, Init};
use super::failure::Failure;
use super::replace::{Place, Standing};
use super::say::Say;
use super::steps::{Surroundings, checkout};
use crate::config::Config;
use crate::dbt::{self, Context, DbtError, Selection, WholeProfiles};
use crate::init::outputs::Profiles;
use crate::init::propose::Project;
use crate::variables::DBT_LEASE_CONFIG;

const PROJECT: &str = "dbt_project.yml";
const NAME: &str = "dbt-lease.yml";
/// Projects are looked for so deep below the working directory, in so many directories.
const DEEPEST: usize = 5;
const MOST_DIRECTORIES: usize = 20_000;
/// Directories that hold other people's projects.
const NOT_OURS: [&str; 6] = [
    "dbt_packages",
    "dbt_modules",
    "target",
    "node_modules",
    "venv",
    "site-packages",
];

/// What was found.
pub(super) struct Found {
    /// The projects.
    pub(super) projects: Vec<Project>,
    /// The dbt-lease.yml of each.
    pub(super) own: Vec<Leases>,
    /// What they share: one that is to be made for several projects, or one that is above the only one.
    pub(super) shared: Option<Leases>,
}

/// A dbt-lease.yml, which need not be there.
pub(super) struct Leases {
    pub(super) path: PathBuf,
    pub(super) place: Place,
    pub(super) standing: Option<Standing>,
    /// What it says, where it is one.
    pub(super) config: Option<Config>,
}

impl Leases {
    fn at(path: PathBuf, surroundings: &Surroundings, force: bool) -> Result<Self, Failure> {
        let place = Place::of(&path)?;
        let standing = place.read()?;
        let config = match &standing {
            None => None,
            Some(_) => match Config::load(&path, &surroundings.variables) {
                Ok(config) => Some(config),
                Err(_) if force => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Self {
            path,
            place,
            standing,
            config,
        })
    }

    /// The text that is there.
    pub(super) fn text(&self) -> Option<String> {
        let standing = self.standing.as_ref()?;
        Some(String::from_utf8_lossy(&standing.bytes).into_owned())
    }
}

/// Finds all of it.
pub(super) fn find(
    say: &Say,
    surroundings: &Surroundings,
    global: &Global,
    arguments: &Init,
) -> Result<Found, Failure> {
    let directories = project_directories(surroundings, arguments)?;
    let mut projects = Vec::new();
    for directory in &directories {
        projects.push(project(say, surroundings, arguments, directory)?);
    }
    let named = global.config.clone().or_else(|| {
        surroundings
            .variables
            .text(DBT_LEASE_CONFIG)
            .map(PathBuf::from)
    });
    let leases = |path: PathBuf| Leases::at(path, surroundings, arguments.force);
    let mut own = Vec::new();
    for directory in &directories {
        own.push(leases(match (&named, &directories[..]) {
            (Some(named), [_]) => surroundings.cwd.join(named),
            _ => {
                // A file under another name is a mistake to be told, not one to be written beside.
                Config::find(Some(directory), None, &no_variables())?;
                directory.join(NAME)
            }
        })?);
    }
    let shared = match &directories[..] {
        [only] if named.is_none() && own[0].config.is_none() => {
            above(only).map(leases).transpose()?
        }
        [_] => None,
        _ => Some(leases(surroundings.cwd.join(NAME))?),
    };
    for (project, leases) in projects.iter_mut().zip(&own) {
        project.is_one_of_several = shared.is_some();
        let config = leases.config.as_ref().filter(|_| !arguments.force);
        let all = config
            .into_iter()
            .chain(shared.iter().filter_map(|shared| shared.config.as_ref()));
        for config in all {
            know(project, config);
        }
    }
    Ok(Found {
        projects,
        own,
        shared,
    })
}

fn no_variables() -> crate::variables::Variables {
    crate::variables::Variables::default()
}

/// What a dbt-lease.yml has of a project already.
fn know(project: &mut Project, config: &Config) {
    let own = project.profile.as_deref();
    for output in project.files.iter().flat_map(|file| &file.outputs) {
        let is_listed = config
            .targets()
            .any(|(_, target)| target.is(&output.profile, &output.target, own));
        if is_listed {
            project
                .listed
                .push((output.profile.clone(), output.target.clone()));
        }
    }
    project
        .environments
        .extend(config.environments.iter().filter_map(|environment| {
            // One without a login can lend nothing.
            environment.auth.as_ref().map(|_| environment.name.clone())
        }));
    project.has_address |= config
        .environments
        .iter()
        .any(|environment| environment.server.is_some());
}

/// The project that dbt would take here, else those below.
fn project_directories(
    surroundings: &Surroundings,
    arguments: &Init,
) -> Result<Vec<PathBuf>, Failure> {
    let selection = Selection {
        project_dir: arguments.project_dir.clone(),
        ..Selection::default()
    };
    let found = dbt::project_dir(&[], &selection, &surroundings.context());
    if let Some(found) = &found
        && found.join(PROJECT).is_file()
    {
        return Ok(vec![found.clone()]);
    }
    let root = arguments.project_dir.as_ref().map_or_else(
        || surroundings.cwd.clone(),
        |dir| surroundings.cwd.join(dir),
    );
    let below = below(&root);
    if below.is_empty() {
        return Err(Failure::new(
            "no_project",
            format!(
                "there is no {PROJECT} in `{}`, nor above or below it",
                root.display()
            ),
            Some("`cd` to the project, or name it: `dbt-lease init --project-dir DIR`"),
        ));
    }
    Ok(below)
}

/// The projects below a directory, in order; what lies in a project is its own.
fn below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![(root.to_owned(), 0)];
    let mut looked_at = 0;
    while let Some((directory, depth)) = open.pop() {
        looked_at += 1;
        if looked_at > MOST_DIRECTORIES {
            break;
        }
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            // A link could lead anywhere, also back.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir())
                || name.starts_with('.')
                || NOT_OURS.contains(&name.as_ref())
            {
                continue;
            }
            if entry.path().join(PROJECT).is_file() {
                found.push(entry.path());
            } else if depth + 1 < DEEPEST {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    found.sort();
    found
}

/// A dbt-lease.yml above a project in the same Git checkout: what projects share.
fn above(project: &Path) -> Option<PathBuf> {
    let project = project.canonicalize().ok()?;
    let root = checkout(&project)?;
    project
        .ancestors()
        .skip(1)
        .take_while(|directory| directory.starts_with(root))
        .map(|directory| directory.join(NAME))
        .find(|file| file.is_file())
}

/// A project with the profiles.yml files that dbt could read for it.
fn project(
    say: &Say,
    surroundings: &Surroundings,
    arguments: &Init,
    directory: &Path,
) -> Result<Project, Failure> {
    let here = surroundings.context();
    let there = Context {
        cwd: directory,
        ..here
    };
    let project = dbt::project_in(directory, &here)?;
    let selection = Selection {
        project_dir: Some(directory.to_owned()),
        profiles_dir: arguments.profiles_dir.clone(),
        ..Selection::default()
    };
    let mut files: Vec<Profiles> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut refused = None;
    let users = match dbt::users_profiles(&here) {
        Ok(users) => users,
        Err(error) => {
            say.warning(
                &format!("the user's own profiles.yml is left out: {error}"),
                None,
            );
            None
        }
    };
    let users_path = users
        .as_ref()
        .and_then(|users| users.path.canonicalize().ok());
    let mut take = |whole: WholeProfiles| -> Result<(), Failure> {
        let real = whole
            .path
            .canonicalize()
            .unwrap_or_else(|_| whole.path.clone());
        if seen.insert(real.clone()) {
            files.push(Profiles::of(&whole, Some(&real) == users_path.as_ref())?);
        }
        Ok(())
    };
    // From here as `dbt --project-dir` would, and from the project's own directory.
    for context in [here, there] {
        match dbt::whole_profiles(&selection, &context) {
            Ok(whole) => take(whole)?,
            Err(
                error @ (DbtError::NoProfiles { .. }
                | DbtError::NoProfilesDir { .. }
                | DbtError::NoHome),
            ) => {
                refused = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
        if arguments.profiles_dir.is_some() {
            break;
        }
    }
    if let Some(users) = users {
        match take(users) {
            Ok(()) => {}
            Err(failure) => say.warning(
                &format!(
                    "the user's own profiles.yml is left out: {}",
                    failure.message
                ),
                None,
            ),
        }
    }
    if let Some(error) = refused
        && (files.is_empty() || arguments.profiles_dir.is_some())
    {
        return Err(error.into());
    }
    Ok(Project {
        name: if project.name.is_empty() {
            directory
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default()
        } else {
            project.name
        },
        dir: project.dir,
        profile: project.profile,
        files,
        listed: Vec::new(),
        environments: Vec::new(),
        is_one_of_several: false,
        has_address: false,
    })
}
