//! What can be wrong before Vault is asked: in dbt's command line, its project, its profiles.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use crate::place::{Place, Spot};

/// Why it is not known what dbt would use, or why dbt would refuse it.
#[derive(Debug, thiserror::Error)]
pub enum DbtError {
    /// The command is dbt, and its words cannot be read for certain.
    #[error("cannot tell what dbt is told to do by `{words}`: {why}")]
    UnreadableCommand {
        /// The first words of the command, up to dbt.
        words: String,
        /// What stands in the way.
        why: String,
    },
    /// Words that its table does not know, of a dbt that may know them.
    #[error("dbt is {dbt}, which may not be its own: by them, {why}")]
    UnknownWords {
        /// Which dbt it is, and by which rules it is read.
        dbt: String,
        /// What dbt would say by these rules.
        why: String,
    },
    /// A path, name or variable that must be text is not UTF-8.
    #[error("{what} is not UTF-8, so it is not certain what dbt makes of it")]
    NotText {
        /// The variable or argument.
        what: String,
    },
    /// A directory that was named does not exist.
    #[error("no such directory: `{}` ({said})", path.display())]
    NoDirectory {
        /// As it was named.
        path: PathBuf,
        /// Where it came from.
        said: String,
    },
    /// There is no project.
    #[error("no dbt_project.yml in `{}` ({said})", dir.display())]
    NoProject {
        /// Where dbt looks.
        dir: PathBuf,
        /// Why there.
        said: String,
    },
    /// A file cannot be opened or read.
    #[error("cannot read `{}`: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: String,
    },
    /// A file is not YAML as dbt reads it.
    #[error("`{}` is not valid: {error}", at.file.display())]
    Yaml {
        /// Where, with the key of that line.
        at: Place,
        /// Where no key stands on that line: the last key before it.
        after: Option<Box<Place>>,
        /// The loader's error, with its place.
        error: super::yaml::YamlError,
    },
    /// dbt_project.yml holds something else than a mapping.
    #[error("`{}` is not a mapping of keys to values", path.display())]
    ProjectNotMapping {
        /// The file.
        path: PathBuf,
    },
    /// Neither the command line nor the project names a profile.
    #[error("no profile: `{}` has no `profile:`", path.display())]
    NoProfileNamed {
        /// dbt_project.yml.
        path: PathBuf,
    },
    /// There is no profiles.yml where dbt looks.
    #[error("no profiles.yml in `{}` ({said}), so there is no profile `{profile}`", dir.display())]
    NoProfilesFile {
        /// Where dbt looks.
        dir: PathBuf,
        /// Why there.
        said: String,
        /// The profile that is wanted.
        profile: String,
    },
    /// There is no profiles.yml where dbt looks, and no profile of it is wanted.
    #[error("no profiles.yml in `{}` ({said})", dir.display())]
    NoProfiles {
        /// Where dbt looks.
        dir: PathBuf,
        /// Why there.
        said: String,
    },
    /// Nothing says where profiles.yml is, and the directory where dbt then looks is not there.
    #[error("no profiles.yml in the working directory, and no directory `{}`", dir.display())]
    NoProfilesDir {
        /// `~/.dbt`.
        dir: PathBuf,
    },
    /// profiles.yml holds nothing.
    #[error("`{}` is empty", path.display())]
    EmptyProfilesFile {
        /// The file.
        path: PathBuf,
    },
    /// profiles.yml has no such profile.
    #[error("`{}` has no profile `{profile}` ({said}); it has {}", path.display(), listed(known))]
    UnknownProfile {
        /// The file.
        path: PathBuf,
        /// The profile that is wanted.
        profile: String,
        /// Where its name came from.
        said: String,
        /// The profiles that there are.
        known: Vec<String>,
    },
    /// The profile has no such target.
    #[error(transparent)]
    UnknownTarget(Box<UnknownTarget>),
    /// The profile or its output has a form that dbt refuses.
    #[error("profile `{profile}` in {}: {why}", at.in_words())]
    BadProfile {
        /// Where it stands.
        at: Place,
        /// The profile.
        profile: String,
        /// What dbt does not accept.
        why: String,
    },
    /// A template decides which profile or target it is, and we cannot evaluate it for certain.
    #[error("cannot tell which {what} {}, chooses: its template uses {construct}", at.in_words())]
    Uncertain {
        /// `profile` or `target`.
        what: &'static str,
        /// Where the template stands.
        at: Place,
        /// What we do not know.
        construct: String,
    },
    /// A template that decides needs a variable that is not set.
    #[error("{}: `{what}:` requires the environment variable {name}, which is not set", at.in_words())]
    EnvVarMissing {
        /// `profile` or `target`.
        what: &'static str,
        /// Where the template stands.
        at: Place,
        /// The variable.
        name: String,
    },
    /// A template that decides fails in dbt too.
    #[error("{}: dbt cannot render `{what}:`: {why}", at.in_words())]
    Template {
        /// `profile` or `target`.
        what: &'static str,
        /// Where the template stands.
        at: Place,
        /// dbt's reason.
        why: String,
    },
    /// Our own option before `--` says otherwise than dbt would choose.
    #[error("{option} before `--` says `{ours}`, but dbt would use `{dbts}` ({said})")]
    SelectionConflict {
        /// Our option.
        option: &'static str,
        /// Its value.
        ours: String,
        /// What dbt would use.
        dbts: String,
        /// Why dbt would.
        said: String,
    },
    /// Several profiles for a command that reads one, or one of them twice.
    #[error("--profile before `--` names several profiles, {why}")]
    SeveralProfiles {
        /// What stands against it.
        why: String,
    },
    /// Our own `--vars` is not a YAML mapping.
    #[error("{why}")]
    BadVars {
        /// What is wrong.
        why: String,
    },
    /// There is no home directory, where dbt looks for profiles.yml.
    #[error("no home directory: HOME is not set, so dbt has nowhere to look for profiles.yml")]
    NoHome,
    /// Both files set dbt's flags, which dbt refuses.
    #[error("`{}` has `config:` and dbt_project.yml has `flags:`; dbt takes only one of them", path.display())]
    ConfigAndFlags {
        /// profiles.yml.
        path: PathBuf,
    },
    /// `.env` or user_settings.yml cannot be read, or sets what we cannot follow.
    #[error("cannot follow `{}`: {why}", path.display())]
    SettingsFile {
        /// The file.
        path: PathBuf,
        /// What stands in the way.
        why: String,
    },
    /// `dbt retry` has no previous run, or one that cannot be read.
    #[error("cannot tell what `dbt retry` would run again by `{}`: {why}", path.display())]
    RetryUnreadable {
        /// run_results.json.
        path: PathBuf,
        /// What stands in the way.
        why: String,
    },
    /// `dbt retry` would read one target and run on another.
    #[error("`dbt retry` would read {first}, but run again on {second}, as `{}` says", path.display())]
    RetryDiffers {
        /// run_results.json.
        path: PathBuf,
        /// What retry's own words choose.
        first: String,
        /// What the previous run's choose.
        second: String,
    },
}

/// A target that the profile does not have.
#[derive(Debug, thiserror::Error)]
#[error("profile `{profile}` in {}, has no target `{target}` ({said}); it has {}", at.in_words(), listed(known))]
pub struct UnknownTarget {
    /// The output of the nearest name, else `outputs:`.
    pub at: Place,
    /// The profile.
    pub profile: String,
    /// The target that is wanted.
    pub target: String,
    /// Where its name came from.
    pub said: String,
    /// The targets that there are.
    pub known: Vec<String>,
}

impl DbtError {
    /// A stable word for machines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnreadableCommand { .. } => "unreadable_command",
            Self::UnknownWords { .. } => "unknown_words",
            Self::NotText { .. } => "not_text",
            Self::NoDirectory { .. } => "no_directory",
            Self::NoProject { .. } => "no_project",
            Self::Unreadable { .. } => "unreadable",
            Self::Yaml { .. } => "yaml",
            Self::ProjectNotMapping { .. } => "project_not_mapping",
            Self::NoProfileNamed { .. } => "no_profile_named",
            Self::NoProfilesFile { .. } | Self::NoProfiles { .. } => "no_profiles_file",
            Self::NoProfilesDir { .. } => "no_profiles_dir",
            Self::EmptyProfilesFile { .. } => "empty_profiles_file",
            Self::UnknownProfile { .. } => "unknown_profile",
            Self::UnknownTarget(_) => "unknown_target",
            Self::BadProfile { .. } => "bad_profile",
            Self::Uncertain {
                what: "profile", ..
            } => "profile_uncertain",
            Self::Uncertain { .. } => "target_uncertain",
            Self::EnvVarMissing { .. } => "env_var_missing",
            Self::Template { .. } => "template",
            Self::SelectionConflict { .. } => "selection_conflict",
            Self::SeveralProfiles { .. } => "several_profiles",
            Self::BadVars { .. } => "bad_vars",
            Self::NoHome => "no_home",
            Self::ConfigAndFlags { .. } => "config_and_flags",
            Self::SettingsFile { .. } => "settings_file",
            Self::RetryUnreadable { .. } => "retry_unreadable",
            Self::RetryDiffers { .. } => "retry_differs",
        }
    }

    /// Where it points to.
    pub fn spots(&self) -> Vec<Spot> {
        match self {
            Self::Yaml { at, after, .. } => {
                let after = after.iter().map(|after| Spot {
                    at: Place::clone(after),
                    label: "the last key that could be read",
                    is_main: false,
                });
                after.chain([Spot::main(at.clone())]).collect()
            }
            Self::BadProfile { at, .. }
            | Self::Uncertain { at, .. }
            | Self::EnvVarMissing { at, .. }
            | Self::Template { at, .. } => vec![Spot::main(at.clone())],
            Self::UnknownTarget(unknown) => vec![Spot::main(unknown.at.clone())],
            _ => Vec::new(),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnreadableCommand { .. } => {
                "put dbt-lease right before dbt, or name `--target` before `--`".to_owned()
            }
            Self::UnknownWords { .. } => {
                "an option can be given by its variable (`DBT_ENGINE_NAME=…` for `--name`); or let dbt-lease choose and not read \
                 dbt's words: `dbt-lease exec --target TARGET -- sh -c 'dbt …'`"
                    .to_owned()
            }
            Self::NoProject { .. } => "go to the project's directory, or pass `--project-dir`".to_owned(),
            Self::ConfigAndFlags { .. } => {
                "move what stands in `config:` to `flags:` of dbt_project.yml".to_owned()
            }
            Self::NoProfileNamed { .. } => "add `profile: NAME` to it, or pass `--profile`".to_owned(),
            Self::NoProfilesFile { .. }
            | Self::NoProfiles { .. }
            | Self::NoProfilesDir { .. } => {
                "dbt looks in `--profiles-dir`, DBT_PROFILES_DIR, the working directory and ~/.dbt, \
                 not in the project's directory"
                    .to_owned()
            }
            Self::Yaml { error, .. } => error.hint()?,
            Self::UnknownProfile { profile, known, .. } => {
                format!("did you mean `{}`?", nearest(profile, known)?)
            }
            Self::UnknownTarget(unknown) => match nearest(&unknown.target, &unknown.known) {
                Some(near) => format!("did you mean `--target {near}`?"),
                None => format!("pass one of them: `--target {}`", unknown.known.first()?),
            },
            Self::Uncertain { what, .. } => format!("say it: pass `--{what}`"),
            Self::EnvVarMissing { what, name, .. } => format!("set {name}, or pass `--{what}`"),
            Self::SelectionConflict { option, .. } => {
                format!("pass {option} to dbt itself, after `--`; before `--` it is only compared")
            }
            Self::RetryUnreadable { .. } => "run the command again instead of `dbt retry`".to_owned(),
            Self::RetryDiffers { .. } => {
                "pass `dbt retry` the target and profile of the run that it repeats, and set the variables of that run"
                    .to_owned()
            }
            _ => return None,
        })
    }
}

/// `` `a`, `b` `` or a word for none.
fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The name that was probably meant.
pub(super) fn nearest<'a>(wanted: &str, known: &'a [String]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name.as_str()))
        .filter(|(distance, name)| {
            *distance <= name.chars().count().max(3) / 3 || name.starts_with(wanted)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
