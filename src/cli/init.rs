//! `init`: a dbt-lease.yml for the project, from its profiles. No network, no trust needed: it asks no Vault and runs `git` alone.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::{Global, Init as Arguments};
use super::asking::Asking;
use super::exec::in_loop;
use super::failure::Failure;
use super::finding::{self, Found, Leases};
use super::output;
use super::replace::Place;
use super::say::Say;
use super::steps::{Surroundings, checkout};
use crate::bridge::diff::{diff, diff_of_new};
use crate::bridge::edit::{Edit, Replacement, applied};
use crate::bridge::seen::What;
use crate::config::{self, Config};
use crate::dbt::Selection;
use crate::init::history::{self, History};
use crate::init::login::AtHand;
use crate::init::merge;
use crate::init::propose::{Project, Proposal, Unknown, Wishes, propose};
use crate::init::written::{self, Part, SCHEMA};
use crate::plan::expect;

/// More names than these are not told one by one.
const MOST_NAMES: usize = 20;

/// The JSON of `init --json`, an interface.
#[derive(Serialize)]
struct Shown<'a> {
    files: Vec<ShownFile<'a>>,
    targets: Vec<ShownTarget<'a>>,
    secrets: &'a [Secret],
    git: &'a [InGit],
    refused: &'a [Refused],
    next: Vec<String>,
}

#[derive(Serialize)]
struct ShownFile<'a> {
    path: &'a Path,
    written: bool,
    text: &'a str,
}

#[derive(Serialize)]
struct ShownTarget<'a> {
    project: &'a str,
    profile: Option<&'a str>,
    target: &'a str,
    environment: &'a str,
    protected: bool,
    path: Option<&'a str>,
}

/// A credential that stands in a file: where, never what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Secret {
    file: PathBuf,
    key: Option<String>,
    line: usize,
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct InGit {
    file: PathBuf,
    history: &'static str,
    #[serde(skip)]
    found: History,
}

/// A target of the new file that `plan` refuses.
#[derive(Debug, Serialize)]
struct Refused {
    target: String,
    message: String,
    #[serde(skip)]
    hint: Option<String>,
}

/// A file that is to be written.
struct Change<'a> {
    leases: &'a Leases,
    new: String,
    diff: String,
}

/// `dbt-lease init`
pub(crate) fn run(say: &Say, global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    match propose_and_write(say, global, arguments) {
        Err(failure) if arguments.json => output::json::<()>(Err(failure)),
        other => other,
    }
}

fn propose_and_write(say: &Say, global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let surroundings = Surroundings::look()?;
    let found = finding::find(say, &surroundings, global, arguments)?;
    let mut asking = if arguments.yes || arguments.json {
        None
    } else {
        Asking::of(&surroundings.variables)
    };
    let proposal = decided(say, &surroundings, arguments, &found, asking.as_mut())?;
    let changes = changes(&found, &proposal, &surroundings, arguments)?;
    if !arguments.json {
        for change in &changes {
            output::text(&change.diff)?;
        }
    }
    let secrets = secrets(&found.projects);
    let git = in_git(&found.projects, &surroundings)?;
    tell_secrets(say, &secrets, &git);
    let written = !arguments.diff && !changes.is_empty() && {
        may_be_written(arguments, &changes, asking.as_mut())?;
        write(say, &changes, &surroundings)?;
        true
    };
    let refused = if written || changes.is_empty() {
        refused(&found, &surroundings, global)
    } else {
        Vec::new()
    };
    for Refused {
        target,
        message,
        hint,
    } in &refused
    {
        say.warning(
            &format!("`plan --target {target}` refuses: {message}"),
            hint.as_deref(),
        );
    }
    let next = next(&found, &proposal);
    if arguments.json {
        let shown = shown(&found, &proposal, &changes, written);
        return output::json(Ok(Shown {
            secrets: &secrets,
            git: &git,
            refused: &refused,
            next,
            ..shown
        }));
    }
    if changes.is_empty() {
        output::text("dbt-lease.yml has every target: nothing to add\n")?;
    }
    if written || changes.is_empty() {
        output::text(&format!("\nnext:\n  {}\n", next.join("\n  ")))?;
    }
    Ok(())
}

/// The proposal, when everything is known: by flags, by answers, by what is usual.
fn decided(
    say: &Say,
    surroundings: &Surroundings,
    arguments: &Arguments,
    found: &Found,
    mut asking: Option<&mut Asking>,
) -> Result<Proposal, Failure> {
    let root = checkout(&surroundings.cwd)
        .unwrap_or(&surroundings.cwd)
        .to_owned();
    let at_hand = AtHand::look(&surroundings.variables, &root);
    let mut wishes = Wishes {
        address: arguments.address.clone(),
        auth: arguments.auth.clone(),
        roles: arguments.role.clone(),
        environments: arguments.environment.clone(),
        paths: arguments.path.clone(),
        profiles: arguments.profile.clone(),
    };
    loop {
        let (proposal, unknown) = propose(&found.projects, &wishes, &at_hand)?;
        if unknown.is_empty() {
            return Ok(proposal);
        }
        for one in &unknown {
            let answer = match (&mut asking, one.default()) {
                (Some(asking), default) => asking.ask(&one.question(), default)?,
                (None, Some(default)) if arguments.yes => {
                    tell_default(say, one, default);
                    default.to_owned()
                }
                (None, _) => return Err(not_known(&unknown, arguments.yes)),
            };
            one.answer(&answer, &mut wishes);
        }
    }
}

fn tell_default(say: &Say, unknown: &Unknown, default: &str) {
    let flags = unknown.flags().join(" ");
    match unknown {
        Unknown::Environment(targets) => say.warning(
            &format!(
                "no name tells whose these targets are, and they count as {default}: {}",
                some(targets)
            ),
            Some(&format!("say it otherwise by {flags}")),
        ),
        _ => say.note(|| format!("{default} is taken; say it otherwise by {flags}")),
    }
}

fn not_known(unknown: &[Unknown], yes: bool) -> Failure {
    let asked = unknown.iter().filter(|one| !yes || one.default().is_none());
    let flags: Vec<String> = asked.flat_map(Unknown::flags).collect();
    let what = match (yes, unknown.iter().any(|one| one.default().is_none())) {
        (true, _) => "",
        (false, false) => "; `--yes` takes what is usual",
        (false, true) => "; `--yes` takes what is usual for the rest",
    };
    Failure::new(
        "not_known",
        "not everything is known, and there is no terminal to ask on",
        Some(&format!("say it by {}{what}", some(&flags))),
    )
}

/// Names, as far as they can be read at once.
fn some(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
    let more = names.len() - shown.len();
    let shown = shown
        .join(", ")
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The files that change, the shared part first: the others do not load without it.
fn changes<'f>(
    found: &'f Found,
    proposal: &Proposal,
    surroundings: &Surroundings,
    arguments: &Arguments,
) -> Result<Vec<Change<'f>>, Failure> {
    let mut changes = Vec::new();
    let several = found.projects.len() > 1;
    if let Some(shared) = found.shared.as_ref().filter(|_| several) {
        changes.extend(change(
            shared,
            proposal,
            Part::Shared,
            surroundings,
            arguments,
        )?);
    }
    for (number, leases) in found.own.iter().enumerate() {
        let path = found
            .shared
            .as_ref()
            .and_then(|shared| relative(&leases.path, &shared.path));
        let part = match &path {
            Some(shared) => Part::Own {
                project: number,
                shared,
                logins: !several,
            },
            None => Part::Whole,
        };
        changes.extend(change(leases, proposal, part, surroundings, arguments)?);
    }
    Ok(changes)
}

/// The path of a shared part from the file that extends it.
fn relative(from: &Path, shared: &Path) -> Option<String> {
    let from = from.parent()?.canonicalize().ok()?;
    let root = shared.parent()?.canonicalize().ok()?;
    let below = from.strip_prefix(&root).ok()?;
    let up = "../".repeat(below.components().count());
    Some(format!("{up}{}", shared.file_name()?.to_str()?))
}

fn change<'f>(
    leases: &'f Leases,
    proposal: &Proposal,
    part: Part<'_>,
    surroundings: &Surroundings,
    arguments: &Arguments,
) -> Result<Option<Change<'f>>, Failure> {
    let name = leases
        .path
        .strip_prefix(&surroundings.cwd)
        .unwrap_or(&leases.path)
        .display()
        .to_string();
    let whole = written::text(proposal, part);
    let (new, diff) = match leases.text() {
        None => (whole.clone(), diff_of_new(&name, &whole)),
        Some(old) if arguments.force => {
            let edits = between(&old, &whole);
            // One that does not load may hold anything.
            let hidden: Vec<_> = match leases.config {
                Some(_) => Vec::new(),
                None => std::iter::once(0..old.len()).collect(),
            };
            (whole, diff(&name, &old, &edits, &hidden))
        }
        Some(old) => {
            let edits = merge::edits(&leases.path, &old, proposal, part)?;
            (applied(&old, &edits), diff(&name, &old, &edits, &[]))
        }
    };
    if leases.text().is_some_and(|old| old == new) {
        return Ok(None);
    }
    Ok(Some(Change { leases, new, diff }))
}

/// The lines in which two texts differ, as one edit.
fn between(old: &str, new: &str) -> Vec<Edit> {
    let same = |lines: &mut dyn Iterator<Item = (&str, &str)>| -> usize {
        lines
            .take_while(|(one, other)| one == other)
            .map(|(line, _)| line.len())
            .sum()
    };
    let (olds, news): (Vec<&str>, Vec<&str>) = (
        old.split_inclusive('\n').collect(),
        new.split_inclusive('\n').collect(),
    );
    let begin = same(&mut olds.iter().copied().zip(news.iter().copied()));
    let left = (old.len() - begin).min(new.len() - begin);
    let end = same(&mut olds.iter().rev().copied().zip(news.iter().rev().copied())).min(left);
    let (from, to) = (old.len() - end, new.len() - end);
    if begin == from && begin == to {
        return Vec::new();
    }
    vec![Edit {
        span: begin..from,
        replacement: Replacement::Text(new[begin..to].to_owned()),
    }]
}

/// What is there is not changed unless somebody has said so.
fn may_be_written(
    arguments: &Arguments,
    changes: &[Change<'_>],
    asking: Option<&mut Asking>,
) -> Result<(), Failure> {
    if arguments.yes {
        return Ok(());
    }
    let there: Vec<String> = changes
        .iter()
        .filter(|change| change.leases.standing.is_some())
        .map(|change| format!("`{}`", change.leases.path.display()))
        .collect();
    match asking {
        Some(asking) => match asking.may("write this?")? {
            true => Ok(()),
            false => Err(Failure::new("not_written", "nothing is written", None)),
        },
        None if there.is_empty() || arguments.force => Ok(()),
        None => Err(Failure::new(
            "exists",
            format!("{} is there, and nothing is written", there.join(", ")),
            Some("`--yes` adds what is missing, `--force` replaces it"),
        )),
    }
}

/// Each file is read once more by its own rules before it is written.
fn write(say: &Say, changes: &[Change<'_>], surroundings: &Surroundings) -> Result<(), Failure> {
    for change in changes {
        let Leases {
            path,
            place,
            standing,
            ..
        } = change.leases;
        Config::parse(&config_path(path), &change.new, &surroundings.variables)?;
        place.replace(standing.as_ref(), change.new.as_bytes(), 0o644)?;
        say.note(|| format!("wrote `{}`", path.display()));
    }
    // Where the first line of a new file leads.
    let first = changes
        .iter()
        .find(|change| change.leases.standing.is_none());
    if let Some(first) = first
        && !first.new.contains("\nextends:")
    {
        // dbt-lease.yml stands without it.
        if let Err(failure) = write_schema(say, &first.leases.path.with_file_name(SCHEMA)) {
            say.warning(&failure.message, failure.hint.as_deref());
        }
    }
    Ok(())
}

/// Where relative paths of a file that is not there yet start.
fn config_path(path: &Path) -> PathBuf {
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

/// The schema, for editors. One that somebody else has put there stays.
fn write_schema(say: &Say, path: &Path) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(&config::schema()).map_err(|error| {
        Failure::new(
            "bug",
            format!("the schema cannot be written: {error}"),
            None,
        )
    })? + "\n";
    let place = Place::of(path)?;
    let standing = place.read()?;
    let is_ours = standing.as_ref().is_none_or(|standing| {
        serde_json::from_slice::<serde_json::Value>(&standing.bytes)
            .is_ok_and(|schema| schema["title"] == "dbt-lease.yml")
    });
    if !is_ours {
        say.warning(
            &format!("`{}` is not ours, and stays as it is", path.display()),
            Some("dbt-lease schema > FILE, and name that file in the first line of dbt-lease.yml"),
        );
        return Ok(());
    }
    if standing
        .as_ref()
        .is_some_and(|standing| standing.bytes.as_slice() == text.as_bytes())
    {
        return Ok(());
    }
    place.replace(standing.as_ref(), text.as_bytes(), 0o644)?;
    say.note(|| format!("wrote `{}`", path.display()));
    Ok(())
}

/// The credentials that stand in the files themselves.
fn secrets(projects: &[Project]) -> Vec<Secret> {
    let mut secrets: Vec<Secret> = Vec::new();
    let files = projects.iter().flat_map(|project| &project.files);
    for file in files {
        for seen in file.look.credentials.iter().filter(|seen| seen.is_secret) {
            let kind = match seen.what {
                What::Literal => "literal",
                What::Default(_) => "default",
                _ => continue,
            };
            let parts = [
                Some(seen.profile.as_str()),
                seen.target.as_deref(),
                Some(&seen.key),
            ];
            let key: Vec<&str> = parts
                .into_iter()
                .flatten()
                .filter(|part| !part.is_empty())
                .collect();
            secrets.push(Secret {
                file: file.file.clone(),
                key: Some(key.join(".")),
                line: seen.line,
                kind,
            });
        }
        secrets.extend(file.look.comments.iter().map(|line| Secret {
            file: file.file.clone(),
            key: None,
            line: *line,
            kind: "comment",
        }));
    }
    let mut seen = Vec::new();
    secrets.retain(|secret| {
        let is_new = !seen.contains(secret);
        seen.push(secret.clone());
        is_new
    });
    secrets
}

fn in_git(projects: &[Project], surroundings: &Surroundings) -> Result<Vec<InGit>, Failure> {
    let mut files: Vec<PathBuf> = projects
        .iter()
        .flat_map(|project| &project.files)
        .map(|file| file.file.clone())
        .collect();
    files.sort();
    files.dedup();
    in_loop(async {
        let mut git = Vec::new();
        for file in files {
            let found = history::of(&file, &surroundings.variables).await;
            let history = found.word();
            git.push(InGit {
                file,
                history,
                found,
            });
        }
        Ok(git)
    })
}

/// What must be rotated, by file.
fn tell_secrets(say: &Say, secrets: &[Secret], git: &[InGit]) {
    let mut by_file: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
    for secret in secrets {
        let name = match &secret.key {
            Some(key) => format!("{} (line {})", key.escape_debug(), secret.line),
            None => format!("a comment (line {})", secret.line),
        };
        by_file.entry(&secret.file).or_default().push(name);
    }
    for InGit { file, found, .. } in git {
        let names = by_file.get(file.as_path());
        let path = file.display();
        let asked = "git log --all -- profiles.yml";
        let said = match found {
            History::Tracked => "and the file is in Git".to_owned(),
            History::Was => "and the file was in Git, whose history still has it".to_owned(),
            History::Never { shallow: false } => "and the file was never in Git".to_owned(),
            History::Never { shallow: true } => {
                "and the file is not in what this shallow clone has of Git's history".to_owned()
            }
            History::NoRepository => "and the file is in no Git repository".to_owned(),
            History::Unknown(why) => {
                format!(
                    "and whether the file is or was in Git is not known: {why} (ask by `{asked}`)"
                )
            }
        };
        match names {
            Some(names) => say.warning(
                &format!("`{path}` holds credentials: {}; {said}", some(names)),
                Some(match found {
                    History::Tracked | History::Was => {
                        "rotate them: whoever has a clone has them. `dbt-lease bridge --write` takes them out of the file, not out of Git"
                    }
                    _ => "`dbt-lease bridge --write` takes them out; rotate what others may have seen",
                }),
            ),
            None if *found == History::Was => say.warning(
                &format!("`{path}` was in Git once, and what it held then is in every clone"),
                Some("rotate what it held: git log --all --patch -- profiles.yml"),
            ),
            None => say.note(|| format!("`{path}` holds no credential, {said}")),
        }
    }
}

/// What `plan` says of each target, now that the file is there.
fn refused(found: &Found, surroundings: &Surroundings, global: &Global) -> Vec<Refused> {
    let mut refused = Vec::new();
    for project in &found.projects {
        for file in &project.files {
            for output in &file.outputs {
                let is_own = project.profile.as_deref() == Some(&output.profile);
                let is_first = project
                    .files
                    .iter()
                    .flat_map(|file| &file.outputs)
                    .find(|other| other.profile == output.profile && other.target == output.target)
                    .is_some_and(|first| std::ptr::eq(first, output));
                if !is_own || !is_first {
                    continue;
                }
                let selection = Selection {
                    project_dir: Some(project.dir.clone()),
                    profiles_dir: file.file.parent().map(Path::to_owned),
                    target: Some(output.target.clone()),
                    ..Selection::default()
                };
                if let Err(failure) = planned(surroundings, global, &selection) {
                    // What a variable of this machine would cure is no matter of the file.
                    if !failure.kind.contains("env_var") {
                        refused.push(Refused {
                            target: output.target.clone(),
                            message: failure.headline().to_owned(),
                            hint: failure.hint,
                        });
                    }
                }
            }
        }
    }
    refused
}

fn planned(
    surroundings: &Surroundings,
    global: &Global,
    selection: &Selection,
) -> Result<(), Failure> {
    let resolved = surroundings.resolve_by(&[], selection)?;
    let config = surroundings.config(global, &resolved)?;
    let plan = surroundings.plan(&resolved, config.as_ref())?;
    let rendering = surroundings.rendering(&resolved)?;
    expect::check(&resolved, &plan, &rendering)?;
    let lent = plan.loan.as_ref().map(|loan| &loan.lent);
    surroundings.check(&[], &resolved, lent, &rendering)
}

/// The next three commands.
fn next(found: &Found, proposal: &Proposal) -> Vec<String> {
    let lends = proposal
        .environments
        .iter()
        .flat_map(|environment| &environment.targets)
        .any(|target| target.lend.path.is_some());
    let place = match &found.projects[..] {
        [_] => "",
        _ => "  # in each project's directory",
    };
    let commands = if lends || proposal.environments.is_empty() {
        ["generate vault-setup", "trust", "check --rehearse"]
    } else {
        ["trust", "plan", "exec -- dbt build"]
    };
    commands
        .map(|command| format!("dbt-lease {command}{place}"))
        .to_vec()
}

fn shown<'a>(
    found: &'a Found,
    proposal: &'a Proposal,
    changes: &'a [Change<'_>],
    written: bool,
) -> Shown<'a> {
    let files = changes
        .iter()
        .map(|change| ShownFile {
            path: &change.leases.path,
            written,
            text: &change.new,
        })
        .collect();
    let targets = proposal
        .environments
        .iter()
        .flat_map(|environment| {
            environment.targets.iter().map(|target| ShownTarget {
                project: &found.projects[target.project].name,
                profile: target.profile.as_deref(),
                target: &target.target,
                environment: &environment.name,
                protected: environment.protected,
                path: target.lend.path.as_deref(),
            })
        })
        .collect();
    Shown {
        files,
        targets,
        secrets: &[],
        git: &[],
        refused: &[],
        next: Vec::new(),
    }
}
