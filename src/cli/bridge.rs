//! `bridge`: profiles.yml with every credential in a variable, `env:` of dbt-lease.yml, an example of the variables. No network, no trust
//! needed: it asks no Vault and runs nothing.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::{Bridge as Arguments, Global};
use super::failure::Failure;
use super::output;
use super::replace::{self, Place};
use super::say::Say;
use super::steps::Surroundings;
use crate::bridge::{Bridged, Note, Options, Variable, bridge, diff, edit, example, lease};
use crate::config::Config;
use crate::dbt::{self, Selection, WholeProfiles};

/// The JSON of `bridge --json`, an interface.
#[derive(Serialize)]
struct Shown<'a> {
    profiles: &'a str,
    variables: Vec<ShownVariable<'a>>,
}

#[derive(Serialize)]
struct ShownVariable<'a> {
    name: &'a str,
    profile: &'a str,
    target: Option<&'a str>,
    key: &'a str,
}

/// All that a bridge is: three files, of which none was written yet.
struct Plan {
    profiles: WholeProfiles,
    text: String,
    bridged: Bridged,
    /// dbt-lease.yml with its text, and its edits.
    lease: Option<(PathBuf, String, lease::Leases)>,
    /// The project's own profile, where it is known.
    own_profile: Option<String>,
}

/// `dbt-lease bridge`
pub(crate) fn run(say: &Say, global: &Global, arguments: &Arguments) -> Result<(), Failure> {
    let surroundings = Surroundings::look()?;
    let plan = match planned(&surroundings, global, arguments) {
        Ok(plan) => plan,
        Err(failure) if arguments.json => return output::json::<()>(Err(failure)),
        Err(failure) => return Err(failure),
    };
    plan.tell(say);
    if arguments.write {
        plan.write(say)?;
    }
    if arguments.json {
        output::json(Ok(plan.shown()))?;
    } else if !arguments.write && !arguments.check {
        output::text(&plan.diffs(&surroundings.cwd)?)?;
        if !plan.bridged.edits.is_empty() {
            say.note(|| "`dbt-lease bridge --write` does this".to_owned());
        }
    }
    if arguments.check && !arguments.write {
        plan.check()?;
    }
    Ok(())
}

fn planned(
    surroundings: &Surroundings,
    global: &Global,
    arguments: &Arguments,
) -> Result<Plan, Failure> {
    let selection = Selection {
        project_dir: arguments.project_dir.clone(),
        profiles_dir: arguments.profiles_dir.clone(),
        ..Selection::default()
    };
    let context = surroundings.context();
    let profiles = dbt::whole_profiles(&selection, &context)?;
    let options = Options {
        rename: arguments.rename,
        keep_user: arguments.keep_user,
    };
    let bridged = bridge(&profiles.path, &profiles.bytes, profiles.merging, options)?;
    let text = String::from_utf8_lossy(&profiles.bytes).into_owned();
    // Half a project is none: its profile is then not known, which only matters for dbt-lease.yml.
    let own_profile = dbt::resolve(&[], &selection, &context)
        .ok()
        .and_then(|resolved| resolved.project)
        .and_then(|project| project.profile)
        .or_else(|| only_profile(&bridged.variables));
    let project = dbt::project_dir(&[], &selection, &context);
    let variables = &surroundings.variables;
    let lease = match Config::find(project.as_deref(), global.config.as_deref(), variables)? {
        None => None,
        Some(file) => {
            let config = Config::load(&file, variables)?;
            let text = std::fs::read_to_string(&file).map_err(|error| {
                Failure::new(
                    "unreadable",
                    format!("cannot read `{}`: {error}", file.display()),
                    None,
                )
            })?;
            let leases = lease::edits(&text, &config, own_profile.as_deref(), &bridged.variables);
            // What is to be written must be obeyed afterwards.
            Config::parse(&file, &edit::applied(&text, &leases.edits), variables)?;
            Some((file, text, leases))
        }
    };
    Ok(Plan {
        profiles,
        text,
        bridged,
        lease,
        own_profile,
    })
}

/// The profile of all variables, where there is one.
fn only_profile(variables: &[Variable]) -> Option<String> {
    let names: BTreeSet<&str> = variables
        .iter()
        .filter(|variable| variable.target.is_some())
        .map(|variable| variable.profile.as_str())
        .collect();
    match names.len() {
        1 => names.first().map(|name| (*name).to_owned()),
        _ => None,
    }
}

impl Plan {
    fn shown(&self) -> Shown<'_> {
        Shown {
            profiles: &self.bridged.text,
            variables: self
                .bridged
                .variables
                .iter()
                .map(|variable| ShownVariable {
                    name: &variable.name,
                    profile: &variable.profile,
                    target: variable.target.as_deref(),
                    key: &variable.key,
                })
                .collect(),
        }
    }

    /// What the user should know, on stderr: names, keys and lines.
    fn tell(&self, say: &Say) {
        for left in &self.bridged.left {
            say.warning(
                &format!(
                    "{}:{}: `{}` stays as it is: {}",
                    self.profiles.path.display(),
                    left.line,
                    left.path.escape_debug(),
                    left.why
                ),
                None,
            );
        }
        let list = |names: Vec<String>| names.join(", ");
        let mut open = Vec::new();
        let mut dropped = Vec::new();
        let mut lines = Vec::new();
        let mut words = Vec::new();
        for note in &self.bridged.notes {
            match note {
                Note::NotSecret { name, path, .. } => {
                    open.push(format!("{name} ({})", path.escape_debug()));
                }
                Note::DefaultDropped { name, path } => {
                    dropped.push(format!("{name} ({})", path.escape_debug()));
                }
                Note::Word { path } => words.push(path.escape_debug().to_string()),
                Note::Comment { line, .. } => lines.push(line.to_string()),
                Note::Shared { path, name } => say.warning(
                    &format!(
                        "`{}` shares an anchor with a credential, and reads {name} from now on",
                        path.escape_debug()
                    ),
                    Some("write its value out if it is to stay when the credential changes"),
                ),
            }
        }
        if !open.is_empty() {
            say.warning(
                &format!(
                    "dbt takes these variables for no secrets, and may show them: {}",
                    list(open)
                ),
                Some("`dbt-lease bridge --rename` puts DBT_ENV_SECRET_ before their names"),
            );
        }
        if !dropped.is_empty() {
            say.warning(
                &format!("these variables had a default in profiles.yml, and must be set from now on: {}", list(dropped)),
                None,
            );
        }
        if !words.is_empty() {
            say.warning(
                &format!(
                    "dbt hides a secret variable's value wherever it logs that text, and these users are words that it logs elsewhere: {}",
                    list(words)
                ),
                Some("`--keep-user` leaves them in profiles.yml; a user that Vault makes is no such word"),
            );
        }
        if !lines.is_empty() {
            say.warning(
                &format!(
                    "{}: comments that look like credentials, and stay: line {}",
                    self.profiles.path.display(),
                    list(lines)
                ),
                Some("remove them by hand"),
            );
        }
        for (target, why) in self.lease.iter().flat_map(|(_, _, leases)| &leases.notes) {
            say.warning(
                &format!("dbt-lease.yml: `{}`: {why}", target.escape_debug()),
                Some("`env: {NAME: \"{{ vault.SECRET.FIELD }}\"}` feeds a variable"),
            );
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let mut names: Vec<&str> = Vec::new();
        names.extend(self.bridged.left.iter().map(|left| left.path.as_str()));
        let count = self.bridged.edits.len();
        if count == 0 && names.is_empty() {
            return Ok(());
        }
        let what = match count {
            0 => "credentials that no variable can give".to_owned(),
            1 => "1 value to be bridged".to_owned(),
            _ => format!("{count} values to be bridged"),
        };
        let hint = "`dbt-lease bridge` shows them, `dbt-lease bridge --write` bridges them";
        let path = self.profiles.path.display();
        Err(Failure::new(
            "to_be_bridged",
            format!("`{path}` has {what}"),
            Some(hint),
        ))
    }

    /// What would be written, as diffs, without an old value.
    fn diffs(&self, cwd: &Path) -> Result<String, Failure> {
        let name = |path: &Path| path.strip_prefix(cwd).unwrap_or(path).display().to_string();
        let edited = edit::replaced_bytes(&self.text, &self.bridged.edits);
        let lefts = self.bridged.left.iter().map(|left| left.span.clone());
        let comments = self.bridged.notes.iter().filter_map(|note| match note {
            Note::Comment { span, .. } => Some(span.clone()),
            _ => None,
        });
        let hidden: Vec<Range<usize>> = edited.into_iter().chain(lefts).chain(comments).collect();
        let mut shown = diff::diff(
            &name(&self.profiles.path),
            &self.text,
            &self.bridged.edits,
            &hidden,
        );
        if let Some((file, text, leases)) = &self.lease {
            shown.push_str(&diff::diff(&name(file), text, &leases.edits, &[]));
        }
        if self.bridged.variables.is_empty() {
            return Ok(shown);
        }
        let (path, new) = self.example();
        match Place::of(&path)?.read()? {
            Some(standing) if standing.bytes.as_slice() == new.as_bytes() => {}
            _ => shown.push_str(&diff::diff_of_new(&name(&path), &new)),
        }
        if self.lease.is_none() {
            shown.push('\n');
            shown.push_str(&lease::snippet(
                &self.bridged.variables,
                self.own_profile.as_deref(),
            ));
        }
        Ok(shown)
    }

    fn example(&self) -> (PathBuf, String) {
        let text = example::example(&self.bridged.variables);
        (self.profiles.path.with_file_name(example::FILE), text)
    }

    /// profiles.yml first: a dbt-lease.yml whose `env:` nothing reads would lend nothing.
    fn write(&self, say: &Say) -> Result<(), Failure> {
        // What stands in the way is told before anything is written.
        let profiles = Standing::of(&self.profiles.path, &self.profiles.bytes)?;
        let lease = match &self.lease {
            Some((file, text, leases)) if !leases.edits.is_empty() => Some((
                Standing::of(file, text.as_bytes())?,
                edit::applied(text, &leases.edits),
            )),
            _ => None,
        };
        let (path, new) = self.example();
        let place = Place::of(&path)?;
        let old = place.read()?;
        if !self.bridged.edits.is_empty() {
            profiles.write(&self.bridged.text)?;
            say.warning(
                &format!(
                    "the old values of `{}` stand in it no more: {}",
                    self.profiles.path.display(),
                    match self.bridged.edits.len() {
                        1 => "1 was replaced".to_owned(),
                        count => format!("{count} were replaced"),
                    }
                ),
                Some("give them to the variables, or let Vault make new ones; what was ever in Git must be rotated"),
            );
        }
        if let Some((standing, new)) = lease {
            standing.write(&new)?;
            say.warning(
                &format!(
                    "`{}` has changed, and must be trusted again",
                    standing.path.display()
                ),
                Some("dbt-lease trust"),
            );
        }
        match &old {
            _ if self.bridged.variables.is_empty() => {}
            Some(old) if old.bytes.as_slice() == new.as_bytes() => {}
            Some(old) if !old.bytes.starts_with(example::HEAD.as_bytes()) => {
                say.warning(
                    &format!("`{}` is not ours, and stays as it is", path.display()),
                    None,
                );
            }
            old => {
                place.replace(old.as_ref(), new.as_bytes(), 0o644)?;
                say.note(|| format!("wrote `{}`", path.display()));
            }
        }
        Ok(())
    }
}

/// A file that was read before, and is still the same.
struct Standing<'a> {
    path: &'a Path,
    place: Place,
    found: replace::Standing,
}

impl<'a> Standing<'a> {
    fn of(path: &'a Path, read: &[u8]) -> Result<Self, Failure> {
        let place = Place::of(path)?;
        match place.read()? {
            Some(found) if found.bytes.as_slice() == read => Ok(Self { path, place, found }),
            _ => Err(Failure::new(
                "not_written",
                format!(
                    "`{}` is not written: it was changed meanwhile",
                    path.display()
                ),
                Some("run it again"),
            )),
        }
    }

    fn write(&self, new: &str) -> Result<(), Failure> {
        self.place.replace(Some(&self.found), new.as_bytes(), 0o600)
    }
}
