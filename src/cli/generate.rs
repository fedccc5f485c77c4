//! `generate`: files for others, made from dbt-lease.yml and the outputs of its targets. No network, no trust needed: it asks no Vault and runs nothing.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::arguments::{AliasShell, Generate as Arguments, Global, SetupFormat};
use super::failure::Failure;
use super::output;
use super::replace::Place;
use super::say::Say;
use super::steps::{Surroundings, checkout, no_config};
use crate::config::{Config, System};
use crate::dbt::{self, Profile, Selection};
use crate::generate::head::Head;
use crate::generate::{Format, KINDS, Kind, Made, Options, Project, Shell, generate, head};
use crate::variables::Variables;

/// Directories where nothing of ours lies, or too much.
const PASSED_OVER: [&str; 9] = [
    ".git",
    "target",
    "logs",
    "dbt_packages",
    "node_modules",
    ".venv",
    "venv",
    ".tox",
    "__pycache__",
];
/// A repository is searched so far.
const MOST_FILES: usize = 20_000;

/// A project with all that is generated from.
struct Found {
    name: String,
    /// Its directory.
    directory: PathBuf,
    /// The repository's.
    root: PathBuf,
    config: Config,
    outputs: Vec<Option<Profile>>,
    requirements: Option<&'static str>,
    ci: Option<System>,
}

/// A generated file, as `--check` lists it.
#[derive(Serialize)]
struct Checked {
    path: PathBuf,
    kind: &'static str,
    /// `fresh`, `stale`
    state: &'static str,
    /// Whether somebody has changed it since.
    changed_by_hand: bool,
    #[serde(skip)]
    made_by: String,
}

/// `dbt-lease generate`
pub(crate) fn run(say: &Say, global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.list {
        return list(arguments.json);
    }
    let done = if arguments.check {
        check(say, global, arguments)
    } else {
        make(say, global, arguments)
    };
    match done {
        // What was found stale was printed.
        Err(failure) if arguments.json && failure.kind != "stale" => {
            output::json::<()>(Err(failure))
        }
        other => other,
    }
}

fn list(as_json: bool) -> Result<(), Failure> {
    if as_json {
        let kinds = KINDS.map(|kind| json!({"kind": kind.name(), "purpose": kind.purpose()}));
        return output::json(Ok(kinds));
    }
    let rows = KINDS.map(|kind| format!("{:<14}  {}\n", kind.name(), kind.purpose()));
    output::text(&rows.concat())
}

fn make(say: &Say, global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let found = Found::look(global, arguments)?;
    // clap asks for it.
    let Some(kind) = arguments.kind else {
        return list(arguments.json);
    };
    let made = generate(kind, &arguments.options(), &found.project())?;
    if let Some(file) = &arguments.output {
        let [made] = &made[..] else {
            let kind = kind.name();
            return Err(crate::generate::GenerateError::Several {
                kind,
                count: made.len(),
            }
            .into());
        };
        write(say, file, made, arguments.force)?;
    } else if arguments.write {
        for made in &made {
            write(say, &found.place(made), made, arguments.force)?;
        }
    }
    if arguments.json {
        let files = made.iter().map(|made| {
            json!({"path": found.place(made), "executable": made.executable, "text": made.text})
        });
        return output::json(Ok(
            json!({"kind": kind.name(), "files": files.collect::<Vec<_>>()}),
        ));
    }
    if arguments.output.is_some() || arguments.write {
        return Ok(());
    }
    let texts: Vec<&str> = made.iter().map(|made| made.text.as_str()).collect();
    output::text(&texts.join("\n"))
}

fn write(say: &Say, file: &Path, made: &Made, force: bool) -> Result<(), Failure> {
    if let Some(directory) = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        std::fs::create_dir_all(directory).map_err(|error| {
            let message = format!("`{}` cannot be made: {error}", directory.display());
            Failure::new("not_written", message, None)
        })?;
    }
    let place = Place::of(file)?;
    let old = place.read()?;
    if let Some(old) = &old {
        let text = String::from_utf8_lossy(&old.bytes);
        if text == made.text.as_str() {
            say.note(|| format!("`{}` is fresh", file.display()));
            return Ok(());
        }
        let why = match head::read(&text) {
            None => Some("it was not made by `dbt-lease generate`"),
            Some(head) if !head.is_untouched => Some("somebody has changed it since it was made"),
            Some(_) => None,
        };
        if let Some(why) = why.filter(|_| !force) {
            return Err(Failure::new(
                "not_written",
                format!("`{}` is not written: {why}", file.display()),
                Some("`--force` writes over it; `--output FILE` writes another, to be compared"),
            ));
        }
    }
    let mode = if made.executable { 0o755 } else { 0o644 };
    place.replace(old.as_ref(), made.text.as_bytes(), mode)?;
    say.note(|| format!("wrote `{}`", file.display()));
    Ok(())
}

fn check(say: &Say, global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let found = Found::look(global, arguments)?;
    let project = found.project();
    let mut checked = Vec::new();
    let of_project = |(_, head): &(PathBuf, Head)| head.project == found.name;
    for (path, head) in candidates(&found.root).into_iter().filter(of_project) {
        // What cannot be made any more is stale, too; the reason comes with making it.
        let fresh = generate(head.kind, &head.options, &project)
            .unwrap_or_default()
            .iter()
            .filter_map(|made| head::read(&made.text))
            .any(|made| made.hash == head.hash);
        checked.push(Checked {
            path: path.strip_prefix(&found.root).unwrap_or(&path).to_owned(),
            kind: head.kind.name(),
            state: if fresh { "fresh" } else { "stale" },
            changed_by_hand: !head.is_untouched,
            made_by: head::said(head.kind, &head.options),
        });
    }
    if arguments.json {
        output::json(Ok(json!({"files": checked})))?;
    }
    if checked.is_empty() {
        say.note(|| format!("no file below `{}` was generated", found.root.display()));
    }
    let stale: Vec<&Checked> = checked
        .iter()
        .filter(|each| each.state == "stale")
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = stale
        .iter()
        .map(|each| {
            format!(
                "`{}` (dbt-lease generate {})",
                each.path.display(),
                each.made_by
            )
        })
        .collect();
    let what = if names.len() == 1 {
        "1 generated file is"
    } else {
        "generated files are"
    };
    Err(Failure::new(
        "stale",
        format!("{what} stale: {}", names.join(", ")),
        Some("make them again, with `--write` or `--output FILE`"),
    ))
}

/// The generated files, with their heads: in the order of their paths.
fn candidates(root: &Path) -> Vec<(PathBuf, Head)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    let mut seen = 0;
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let (name, path) = (entry.file_name(), entry.path());
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() && !PASSED_OVER.iter().any(|over| name == *over) {
                open.push(path);
                continue;
            }
            seen += 1;
            let small = entry.metadata().is_ok_and(|found| found.len() < 1 << 20);
            if !kind.is_file() || !small || seen > MOST_FILES {
                continue;
            }
            if let Ok(text) = std::fs::read_to_string(&path)
                && let Some(head) = head::read(&text)
            {
                found.push((path, head));
            }
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    found
}

impl Found {
    fn look(global: &Global, arguments: &Arguments) -> Result<Self, Failure> {
        let surroundings = Surroundings::look()?;
        let selection = Selection {
            project_dir: arguments.project_dir.clone(),
            profiles_dir: arguments.profiles_dir.clone(),
            ..Selection::default()
        };
        let context = surroundings.context();
        let directory = dbt::project_dir(&[], &selection, &context);
        let place = directory
            .clone()
            .unwrap_or_else(|| surroundings.cwd.clone());
        let asked = global.config.as_deref();
        let Some(file) = Config::find(directory.as_deref(), asked, &surroundings.variables)? else {
            return Err(no_config(&place, "there is nothing to generate from"));
        };
        let config = Config::load(&file, &without_vaults(&surroundings.variables))?;
        let mut name = None;
        let mut outputs = Vec::new();
        for (_, target) in config.targets() {
            let selection = Selection {
                profile: target.profile.clone(),
                target: Some(target.target.clone()),
                ..selection.clone()
            };
            let resolved = dbt::resolve(&[], &selection, &context)?;
            name = name.or(resolved.project.map(|project| project.name));
            outputs.push(resolved.profile);
        }
        let root = checkout(&place).unwrap_or(&place).to_owned();
        let requirements = ["requirements.txt"]
            .into_iter()
            .find(|name| place.join(name).is_file());
        Ok(Self {
            name: name.unwrap_or_else(|| "dbt".to_owned()),
            ci: ci_of(&root),
            directory: place,
            root,
            config,
            outputs,
            requirements,
        })
    }

    fn project(&self) -> Project<'_> {
        let below = self
            .directory
            .strip_prefix(&self.root)
            .unwrap_or(Path::new(""));
        Project {
            name: &self.name,
            below: below.to_string_lossy().into_owned(),
            config: &self.config,
            outputs: self.outputs.clone(),
            requirements: self.requirements,
            ci: self.ci,
        }
    }

    fn place(&self, made: &Made) -> PathBuf {
        let directory = if made.at_root {
            &self.root
        } else {
            &self.directory
        };
        directory.join(&made.path)
    }
}

impl Arguments {
    fn options(&self) -> Options {
        Options {
            environments: self.environment.clone(),
            format: match self.format {
                SetupFormat::Terraform if self.kind == Some(Kind::VaultSetup) => Format::Terraform,
                _ => Format::Shell,
            },
            ci: self.ci,
            method: self.method,
            shell: match self.shell {
                _ if self.kind != Some(Kind::ShellAlias) => Shell::Bash,
                AliasShell::Bash => Shell::Bash,
                AliasShell::Zsh => Shell::Zsh,
                AliasShell::Fish => Shell::Fish,
            },
        }
    }
}

/// The process environment without what says where this person's Vault is: a generated file is the same on every machine.
fn without_vaults(variables: &Variables) -> Variables {
    variables
        .iter()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            !name.starts_with("VAULT_") && !name.starts_with("BAO_")
        })
        .collect()
}

/// The CI system whose files a repository has.
fn ci_of(root: &Path) -> Option<System> {
    [
        (".github/workflows", System::GitHub),
        (".gitlab-ci.yml", System::GitLab),
        (".buildkite", System::Buildkite),
        (".circleci", System::CircleCi),
        ("azure-pipelines.yml", System::AzureDevOps),
        ("bitbucket-pipelines.yml", System::Bitbucket),
    ]
    .into_iter()
    .find_map(|(name, system)| root.join(name).exists().then_some(system))
}
