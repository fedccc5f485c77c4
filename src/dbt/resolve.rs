//! From a command and its surroundings to what dbt would use.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::choices::{Choices, Directory, Given, named};
use super::environment::canonical;
use super::error::DbtError;
use super::invocation::{Invocation, Reading, read};
use super::jinja::{self, LookupOwned, Scope, Secrets, Vars};
use super::options::{Command, Kind};
use super::parse_cache::ParseCache;
use super::profile::{self, Choice, ProfilesFile};
use super::program::{Program, name, recognise};
use super::project::{self, ProjectFile};
use super::reads::reads;
use super::rules::Engine;
use super::vars::vars;
use super::version::{self, Found};
use super::yaml::{Node, Value};
use super::{Context, Need, Other, Profile, Resolved, Selection, Source, Sources, retry};

/// Says what dbt would use for a command; without a command, what our own options choose.
///
/// # Errors
/// dbt would refuse it too (an unknown target, a broken profiles.yml), or it is not certain what dbt would use.
pub fn resolve(
    command: &[OsString],
    selection: &Selection,
    context: &Context<'_>,
) -> Result<Resolved, DbtError> {
    let cwd = canonical(context.cwd)?;
    let program = recognise(command, context.variables, selection.target.is_some())?;
    let engine = engine(program, command, context);
    let Program::Dbt { words, .. } = program else {
        return Choices::of(context, &cwd, engine)?.other(command, selection);
    };
    let mut texts = Vec::new();
    for (place, word) in command[words..].iter().enumerate() {
        let what = format!("argument {} of dbt", place + 1);
        texts.push(word.to_str().ok_or(DbtError::NotText { what })?.to_owned());
    }
    let reading = read(&texts, engine.rules.commands());
    if engine.fusion {
        refuse_where_fusion_differs(&command[words - 1], &texts, &reading)?;
    }
    let invocation = match reading {
        Reading::Command(invocation) => invocation,
        Reading::Nothing => return Ok(unleased(command, None, None, engine)),
        // A newer dbt may know the word, and whether it takes a value.
        Reading::Usage(why) if !engine.is_compared() => {
            let dbt = engine.said();
            return Err(DbtError::UnknownWords { dbt, why });
        }
        Reading::Usage(why) => return Ok(unleased(command, None, Some(why), engine)),
    };
    if !selection.others.is_empty() {
        return Err(DbtError::SeveralProfiles {
            why: "and dbt reads one".to_owned(),
        });
    }
    // `.env` is loaded before dbt reads anything: one that cannot be read ends every command.
    let resolver = Choices::of(context, &cwd, engine)?;
    resolver.dbt(command, words, &invocation, selection)
}

/// The project directory that dbt would use, as far as it can be told; asked where [`resolve`] refuses.
pub fn project_dir(
    command: &[OsString],
    selection: &Selection,
    context: &Context<'_>,
) -> Option<PathBuf> {
    let cwd = context.cwd.canonicalize().ok()?;
    let program = recognise(command, context.variables, selection.target.is_some()).ok()?;
    let resolver = Choices::of(context, &cwd, engine(program, command, context)).ok()?;
    let commands = resolver.engine.rules.commands();
    let run = resolver.run();
    let found = match program {
        Program::Dbt { words, .. } => {
            let texts: Option<Vec<String>> = command[words..]
                .iter()
                .map(|word| word.to_str().map(str::to_owned))
                .collect();
            match read(&texts?, commands) {
                Reading::Command(invocation) => {
                    resolver.project_dir(invocation.command, Given::Words(&invocation))
                }
                Reading::Nothing | Reading::Usage(_) => {
                    resolver.project_dir(run, Given::Selection(selection))
                }
            }
        }
        _ => resolver.project_dir(run, Given::Selection(selection)),
    };
    found.ok().map(|directory| directory.path)
}

/// Which dbt a command runs; of any other program, which dbt it would find.
pub(super) fn engine(program: Program, command: &[OsString], context: &Context<'_>) -> Engine {
    Engine::of(match program {
        Program::Dbt { fusion: true, .. } => Found::Fusion,
        Program::Dbt { words, .. } => version::of_command(command, words, context),
        Program::Other => version::on_path(context),
    })
}

/// A command that reads no profile.
fn unleased(
    command: &[OsString],
    project: Option<super::Project>,
    usage: Option<String>,
    engine: Engine,
) -> Resolved {
    Resolved {
        need: Need::None,
        is_dbt: true,
        argv: command.to_vec(),
        project,
        profile: None,
        others: Vec::new(),
        sources: None,
        usage,
        threads_count: false,
        profile_reads: None,
        vars: Vars::default(),
        deciding_files: Vec::new(),
        written: Vec::new(),
        parse_cache: ParseCache::default(),
        engine,
    }
}

/// Fusion's command line is clap's: where it may read the same words otherwise, we do not guess.
fn refuse_where_fusion_differs(
    program: &OsStr,
    words: &[String],
    reading: &Reading,
) -> Result<(), DbtError> {
    let refused = |why: String| {
        Err(DbtError::UnreadableCommand {
            words: name(program).to_owned(),
            why,
        })
    };
    match reading {
        Reading::Usage(why) => refused(format!("dbt-core would say: {why}")),
        Reading::Nothing => Ok(()),
        Reading::Command(invocation) => {
            let dashed = |value: &str| value.starts_with(['-', '=']);
            if invocation
                .given
                .iter()
                .any(|given| given.value.as_deref().is_some_and(dashed))
                || words.iter().any(|word| word == "--")
            {
                return refused("a value that begins with `-` or `=`".to_owned());
            }
            let repeated = invocation.given.iter().enumerate().find(|(at, one)| {
                one.option.kind == Kind::Value
                    && invocation.given[..*at]
                        .iter()
                        .any(|other| other.option.name == one.option.name)
            });
            if let Some((_, one)) = repeated {
                return refused(format!("`{}` is given twice", one.option.opts[0]));
            }
            Ok(())
        }
    }
}

/// What a command needs from us (facts dbt #7).
fn need(invocation: &Invocation) -> Need {
    match invocation.command.words {
        ["deps" | "clean" | "init"] => Need::None,
        ["debug"] if invocation.flag("config_dir") => Need::None,
        ["list" | "ls" | "parse"] | ["docs", "serve"] => Need::Placeholder,
        _ => Need::Lease,
    }
}

impl Choices<'_> {
    /// `dbt run`, whose rules hold where no command of dbt's is named.
    pub(super) fn run(&self) -> &'static Command {
        let commands = self.engine.rules.commands();
        commands
            .iter()
            .find(|command| command.words == ["run"])
            .unwrap_or(&commands[0])
    }

    /// dbt itself.
    fn dbt(
        &self,
        command: &[OsString],
        words: usize,
        invocation: &Invocation,
        selection: &Selection,
    ) -> Result<Resolved, DbtError> {
        let need = need(invocation);
        let merging = self.engine.merging;
        let given = Given::Words(invocation);
        if need == Need::None {
            let project = self
                .project_dir(invocation.command, given)
                .and_then(|dir| project::read(&dir.path, &dir.source, merging));
            return Ok(unleased(
                command,
                project.ok().map(|file| file.project),
                None,
                self.engine.clone(),
            ));
        }
        if let Some(why) = self.usage(invocation)? {
            if self.engine.fusion {
                return Err(DbtError::UnreadableCommand {
                    words: name(&command[words - 1]).to_owned(),
                    why: format!("dbt-core would say: {why}"),
                });
            }
            return Ok(unleased(command, None, Some(why), self.engine.clone()));
        }
        let vars = match vars(invocation.value("vars"), merging) {
            Ok(vars) => vars,
            Err(why) => return Ok(unleased(command, None, Some(why), self.engine.clone())),
        };
        let project_dir = self.project_dir(invocation.command, given)?;
        let profiles_dir = self.profiles_dir(invocation.command, given)?;
        let debug = invocation.command.words == ["debug"];
        let project = match project::read(&project_dir.path, &project_dir.source, merging) {
            Err(DbtError::NoProject { .. }) if debug => None,
            other => Some(other?),
        };
        let chosen = self.chosen(
            invocation.command,
            given,
            project.as_ref(),
            &profiles_dir,
            &vars,
        )?;
        let vars = match &project {
            Some(project) if invocation.command.words == ["retry"] => {
                self.check_retry(invocation, project, &profiles_dir, &chosen, vars)?
            }
            _ => vars,
        };
        self.compare(selection, invocation, &project_dir, &profiles_dir, &chosen)?;
        let removed: Vec<usize> = invocation
            .places("profiles_dir")
            .map(|place| place + words)
            .collect();
        let argv = command
            .iter()
            .enumerate()
            .filter(|(place, _)| !removed.contains(place))
            .map(|(_, word)| word.clone())
            .collect();
        let (written, parse_cache) = match &project {
            Some(project) => {
                let target = self.target_dir(invocation.command, given, project, &vars);
                let parse_cache = self.parse_cache(invocation, target.as_deref());
                let written = self.written(invocation.command, given, project, target);
                (written, parse_cache)
            }
            None => (Vec::new(), ParseCache::default()),
        };
        let program = command.get(words - 1).map_or("", |word| name(word));
        let profile_reads = reads(program, invocation, &self.engine, &self.environment)?;
        let resolved = self.resolved(
            need,
            true,
            argv,
            project,
            [project_dir, profiles_dir],
            chosen,
        );
        Ok(Resolved {
            profile_reads,
            written,
            parse_cache,
            vars,
            ..resolved
        })
    }

    /// Any other program, or none: our own options decide.
    fn other(&self, command: &[OsString], selection: &Selection) -> Result<Resolved, DbtError> {
        let run = self.run();
        let merging = self.engine.merging;
        let given = Given::Selection(selection);
        let vars =
            vars(selection.vars.as_deref(), merging).map_err(|why| DbtError::BadVars { why })?;
        let project_dir = self.project_dir(run, given)?;
        let profiles_dir = self.profiles_dir(run, given)?;
        let project = project::read(&project_dir.path, &project_dir.source, merging)?;
        let chosen = self.chosen(run, given, Some(&project), &profiles_dir, &vars)?;
        let target = self.target_dir(run, given, &project, &vars);
        let written = self.written(run, given, &project, target);
        let mut others: Vec<Other> = Vec::new();
        for (name, target) in &selection.others {
            let taken = others.iter().map(|other| &other.profile.name);
            if taken
                .chain([&chosen.profile.name])
                .any(|taken| taken == name)
            {
                return Err(DbtError::SeveralProfiles {
                    why: format!("`{name}` more than once, and a session has one target of each"),
                });
            }
            let selection = Selection {
                profile: Some(name.clone()),
                target: target.clone(),
                ..selection.clone()
            };
            let given = Given::Selection(&selection);
            let chosen = self.chosen(run, given, Some(&project), &profiles_dir, &vars)?;
            others.push(Other {
                profile: chosen.profile,
                target: chosen.target_source,
            });
        }
        let resolved = self.resolved(
            Need::Lease,
            false,
            command.to_vec(),
            Some(project),
            [project_dir, profiles_dir],
            chosen,
        );
        Ok(Resolved {
            written,
            others,
            vars,
            ..resolved
        })
    }

    /// The profile and target, with where they came from.
    fn chosen(
        &self,
        command: &Command,
        given: Given<'_>,
        project: Option<&ProjectFile>,
        profiles_dir: &Directory,
        vars: &Vars,
    ) -> Result<Chosen, DbtError> {
        let lookup = |name: &str| LookupOwned::from(self.environment.env_var(name));
        let scope = |secrets| Scope {
            env_var: &lookup,
            secrets,
            vars,
            vault: None,
        };
        let over = self.choice(command, given, "profile")?;
        let target = self.choice(command, given, "target")?;
        let (name, own_profile) = match (project, over) {
            (Some(project), over) => match profile::name(project, over, &scope(Secrets::Refused)) {
                // `dbt debug` takes the only profile that there is.
                Err(DbtError::NoProfileNamed { path }) if command.words == ["debug"] => {
                    (self.only_profile(profiles_dir, path)?, None)
                }
                other => other?,
            },
            (None, Some(over)) => (over, None),
            (None, None) => {
                let path = self.cwd.join(project::FILE);
                (self.only_profile(profiles_dir, path)?, None)
            }
        };
        let file = self.profiles_file(profiles_dir, &name.text)?;
        if project.is_some_and(|project| project.flags) && file.has_config() {
            return Err(DbtError::ConfigAndFlags {
                path: file.path().to_path_buf(),
            });
        }
        let (profile, target) = file.choose(&name, target, &scope(Secrets::Placeholder))?;
        if self.engine.fusion {
            file.refuse_where_fusion_differs(&profile)?;
        }
        Ok(Chosen {
            profile,
            own_profile,
            profile_source: name.source,
            target_source: target,
            threads_count: command.words != ["retry"]
                && self.choice(command, given, "threads")?.is_none(),
        })
    }

    fn profiles_file(&self, dir: &Directory, wanted: &str) -> Result<ProfilesFile, DbtError> {
        ProfilesFile::read(&dir.path, &dir.source, wanted, self.engine.merging)
    }

    /// The profile that `dbt debug` takes where nothing names one.
    fn only_profile(&self, profiles_dir: &Directory, path: PathBuf) -> Result<Choice, DbtError> {
        let file = self.profiles_file(profiles_dir, "")?;
        let mut names = file.names();
        match names.pop() {
            Some(text) if names.is_empty() && file.all_named() => {
                let said = "by default, as the only profile of profiles.yml".to_owned();
                Ok(Choice {
                    text,
                    source: Source { said, named: false },
                })
            }
            _ => Err(DbtError::NoProfileNamed { path }),
        }
    }

    /// `dbt retry` loads the profile again, by the words that it makes of the previous run's arguments: both must choose the same.
    /// Gives what `var()` knows by both.
    fn check_retry(
        &self,
        invocation: &Invocation,
        project: &ProjectFile,
        profiles_dir: &Directory,
        first: &Chosen,
        first_vars: Vars,
    ) -> Result<Vars, DbtError> {
        let path = project
            .project
            .dir
            .join(self.state_dir(invocation, project)?);
        let previous = retry::previous(&path)?;
        let commands = self.engine.rules.commands();
        let repeated = previous.repeated(
            commands,
            &retry::Own {
                vars: invocation.value("vars").map(|_| &first_vars),
                threads: invocation.value("threads"),
                warn_error: self.warn_error(invocation)?,
            },
        )?;
        let again = match read(&repeated.words, commands) {
            Reading::Command(again) => again,
            Reading::Usage(why) => return Err(previous.refused(&why)),
            Reading::Nothing => return Err(previous.refused("it asks for help")),
        };
        if let Some(why) = self.usage(&again)? {
            return Err(previous.refused(&why));
        }
        let second_vars = if repeated.vars_are_known {
            vars(again.value("vars"), self.engine.merging).map_err(|why| previous.refused(&why))?
        } else {
            Vars::Unknown
        };
        let second = self.chosen(
            again.command,
            Given::Repeated(&again, &previous.path),
            Some(project),
            profiles_dir,
            &second_vars,
        )?;
        let shown = |chosen: &Chosen| {
            format!(
                "target `{}` of profile `{}`",
                chosen.profile.target, chosen.profile.name
            )
        };
        if (&first.profile.name, &first.profile.target)
            == (&second.profile.name, &second.profile.target)
        {
            return Ok(if first_vars == second_vars {
                first_vars
            } else {
                Vars::Unknown
            });
        }
        Err(DbtError::RetryDiffers {
            path: previous.path,
            first: shown(first),
            second: shown(&second),
        })
    }

    /// Where `dbt retry` looks for run_results.json, relative to the project.
    fn state_dir(
        &self,
        invocation: &Invocation,
        project: &ProjectFile,
    ) -> Result<PathBuf, DbtError> {
        let refused = |why: &str| DbtError::RetryUnreadable {
            path: project.path.clone(),
            why: why.to_owned(),
        };
        let deprecated = invocation
            .command
            .named("deprecated_state")
            .map(|option| option.variables)
            .unwrap_or_default();
        if self.environment.option(deprecated)?.is_some() {
            return Err(refused(
                "the state directory is set by a variable that dbt has given up",
            ));
        }
        // `--state ''` is a Path to click, hence the directory itself; an empty setting is none.
        if invocation.value("state") == Some("") {
            return Ok(PathBuf::from("."));
        }
        if let Some(state) = self.choice(invocation.command, Given::Words(invocation), "state")?
            && !state.text.is_empty()
        {
            return Ok(PathBuf::from(state.text));
        }
        if let Some(target) =
            self.choice(invocation.command, Given::Words(invocation), "target_path")?
            && !target.text.is_empty()
        {
            return Ok(PathBuf::from(target.text));
        }
        match project
            .target_path
            .as_deref()
            .map(|node| (node, node.text()))
        {
            None
            | Some((
                Node {
                    value: Value::Null, ..
                },
                _,
            )) => Ok(PathBuf::from("target")),
            Some((_, Some(text))) if !jinja::is_template(text) => Ok(PathBuf::from(text)),
            Some(_) => Err(refused("`target-path:` is a template")),
        }
    }

    /// Our own options before `--` must say what dbt itself would choose.
    fn compare(
        &self,
        selection: &Selection,
        invocation: &Invocation,
        project_dir: &Directory,
        profiles_dir: &Directory,
        chosen: &Chosen,
    ) -> Result<(), DbtError> {
        let conflict = |option, ours: &str, dbts: &str, source: &Source| {
            Err(DbtError::SelectionConflict {
                option,
                ours: ours.to_owned(),
                dbts: dbts.to_owned(),
                said: source.said.clone(),
            })
        };
        for (option, ours, dbts) in [
            ("--project-dir", &selection.project_dir, project_dir),
            ("--profiles-dir", &selection.profiles_dir, profiles_dir),
        ] {
            let Some(ours) = ours else { continue };
            let same = self.cwd.join(ours).canonicalize().ok() == dbts.path.canonicalize().ok();
            if !same {
                return conflict(
                    option,
                    &ours.to_string_lossy(),
                    &dbts.path.to_string_lossy(),
                    &dbts.source,
                );
            }
        }
        let profile = &chosen.profile;
        for (option, ours, dbts, source) in [
            (
                "--profile",
                &selection.profile,
                &profile.name,
                &chosen.profile_source,
            ),
            (
                "--target",
                &selection.target,
                &profile.target,
                &chosen.target_source,
            ),
        ] {
            if let Some(ours) = ours.as_ref().filter(|ours| *ours != dbts) {
                return conflict(option, ours, dbts, source);
            }
        }
        match &selection.vars {
            // Their text may hold a secret.
            Some(ours) if invocation.value("vars") != Some(ours) => {
                conflict("--vars", "…", "others", &named("vars"))
            }
            _ => Ok(()),
        }
    }

    /// What was chosen, as one answer.
    fn resolved(
        &self,
        need: Need,
        is_dbt: bool,
        argv: Vec<OsString>,
        project: Option<ProjectFile>,
        [project_dir, profiles_dir]: [Directory; 2],
        chosen: Chosen,
    ) -> Resolved {
        Resolved {
            need,
            is_dbt,
            argv,
            project: project.map(|file| super::Project {
                profile: chosen.own_profile,
                ..file.project
            }),
            profile: Some(chosen.profile),
            others: Vec::new(),
            sources: Some(Sources {
                project: project_dir.source,
                profiles_dir: profiles_dir.source,
                profile: chosen.profile_source,
                target: chosen.target_source,
            }),
            usage: None,
            threads_count: chosen.threads_count,
            profile_reads: None,
            vars: Vars::default(),
            deciding_files: self.deciding_files(),
            written: Vec::new(),
            parse_cache: ParseCache::default(),
            engine: self.engine.clone(),
        }
    }
}

/// A profile with where its name and its target came from.
struct Chosen {
    profile: Profile,
    /// The one that dbt_project.yml names, where it is known.
    own_profile: Option<String>,
    profile_source: Source,
    target_source: Source,
    threads_count: bool,
}
