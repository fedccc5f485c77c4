//! The arguments. Each doc comment is the help text.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::{
    FalseyValueParser, PossibleValue, PossibleValuesParser, Resettable, TypedValueParser,
};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::failure::Failure;
use super::say::Say;
use crate::config::System;
use crate::dbt::Selection;
use crate::generate::{KINDS, Kind};
use crate::{generate, init};

/// dbt-lease failed before the command ran: the code of env(1) and timeout(1).
pub(crate) const FAILED_BEFORE_THE_COMMAND: u8 = 125;
/// The command was found and could not be run.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// Lends a dbt run short-lived credentials from Vault or OpenBao, and takes them back
#[derive(Debug, Parser)]
#[command(
    name = "dbt-lease",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every subcommand.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The dbt-lease.yml, where it is not beside dbt_project.yml
    #[arg(long, global = true, value_name = "FILE", env = crate::variables::DBT_LEASE_CONFIG)]
    pub(crate) config: Option<PathBuf>,
    /// Say what is done
    #[arg(short, long, global = true, env = "DBT_LEASE_VERBOSE", value_parser = FalseyValueParser::new())]
    pub(crate) verbose: bool,
    /// Say errors alone
    #[arg(short, long, global = true, env = "DBT_LEASE_QUIET", value_parser = FalseyValueParser::new())]
    pub(crate) quiet: bool,
    /// Colour our messages
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        env = "DBT_LEASE_COLOR"
    )]
    pub(crate) color: Color,
    /// The form of our messages
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        env = "DBT_LEASE_LOG_FORMAT"
    )]
    pub(crate) log_format: LogFormat,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The form of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// A JSON object a line
    Json,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command on leased credentials
    Exec(Exec),
    /// Show what would be used, and why; no network
    Plan(Plan),
    /// Show the output as dbt will see it; no network
    Render(Render),
    /// Look at the server, policies, roles, isolation: each finding with its cure. Exit 1 on a failure; nothing is lent
    Check(Check),
    /// Print the credentials as variables for a shell that cannot be wrapped; they live until `end`, or their time
    Env(Env),
    /// Propose a dbt-lease.yml for the project, from its profiles, and write it; no network
    Init(Init),
    /// Turn the credentials in profiles.yml into variables: `{{ env_var('DBT_ENV_SECRET_…') }}`; no network
    Bridge(Bridge),
    /// Make files for others from dbt-lease.yml: policies and roles for Vault's owner, rules for make, jobs for CI; no network
    Generate(Generate),
    /// List this user's living sessions on this machine
    Status(Status),
    /// End sessions: their command gets INT, then TERM, then KILL, and all is taken back
    End(End),
    /// Remove and take back what killed sessions left behind
    Sweep,
    /// Say that this dbt-lease.yml may be obeyed
    Trust(Trust),
    /// Print the JSON Schema of dbt-lease.yml
    Schema,
    /// Print a shell's completions
    Completions(Completions),
    /// Print the manual page, of a subcommand where one is named
    Man(Man),
}

/// dbt's own options. After `--`, a dbt command's own options decide, and these are only compared.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "dbt's options")]
pub(crate) struct SelectionArguments {
    /// The directory of dbt_project.yml
    #[arg(long, value_name = "DIR")]
    project_dir: Option<PathBuf>,
    /// The directory of profiles.yml
    #[arg(long, value_name = "DIR")]
    profiles_dir: Option<PathBuf>,
    /// The profile; several for a tool that reads more than one
    #[arg(long, value_name = "NAME")]
    profile: Vec<String>,
    /// The target; one for all profiles, or one for each in their order
    #[arg(short, long, value_name = "NAME")]
    target: Vec<String>,
    /// Variables for `var()`, YAML
    #[arg(long, value_name = "YAML")]
    vars: Option<String>,
}

impl Command {
    fn selection(&self) -> Option<&SelectionArguments> {
        match self {
            Self::Exec(exec) => Some(&exec.selection),
            Self::Plan(plan) => Some(&plan.selection),
            Self::Render(render) => Some(&render.selection),
            Self::Check(check) => Some(&check.selection),
            Self::Env(env) => Some(&env.selection),
            Self::Init(_)
            | Self::Bridge(_)
            | Self::Generate(_)
            | Self::Status(_)
            | Self::End(_)
            | Self::Sweep
            | Self::Trust(_)
            | Self::Schema
            | Self::Completions(_)
            | Self::Man(_) => None,
        }
    }
}

impl SelectionArguments {
    /// The options as dbt's rules take them.
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            project_dir: self.project_dir.clone(),
            profiles_dir: self.profiles_dir.clone(),
            profile: self.profile.first().cloned(),
            target: self.target.first().cloned(),
            vars: self.vars.clone(),
            others: self
                .profile
                .iter()
                .enumerate()
                .skip(1)
                .map(|(place, name)| {
                    let target = self.target.get(place).or(self.target.first());
                    (name.clone(), target.cloned())
                })
                .collect(),
        }
    }
}

impl SelectionArguments {
    /// The same project at another target.
    pub(crate) fn at(&self, profile: Option<&str>, target: &str) -> Self {
        Self {
            profile: match profile {
                Some(profile) => vec![profile.to_owned()],
                None => self.profile.iter().take(1).cloned().collect(),
            },
            target: vec![target.to_owned()],
            ..self.clone()
        }
    }

    /// The options as arguments of dbt's.
    pub(crate) fn as_arguments(&self) -> Vec<OsString> {
        let directories = [
            ("--project-dir", &self.project_dir),
            ("--profiles-dir", &self.profiles_dir),
        ];
        let directories = directories.into_iter().filter_map(|(name, directory)| {
            Some((name, directory.as_ref()?.as_os_str().to_owned()))
        });
        let texts = [
            ("--profile", self.profile.first()),
            ("--target", self.target.first()),
            ("--vars", self.vars.as_ref()),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, OsString::from(text?))));
        directories
            .chain(texts)
            .flat_map(|(name, value)| [name.into(), value])
            .collect()
    }

    /// What a dbt that is started by another command must choose too: dbt's variables by their names without `DBT_`. That command may
    /// start it in another directory, so the project's path is made absolute.
    pub(crate) fn as_variables(&self, cwd: &Path) -> Vec<(&'static str, OsString)> {
        // Several profiles are each for another dbt, which knows its own.
        let profile = match &self.profile[..] {
            [only] => Some(("PROFILE", OsString::from(only))),
            _ => None,
        };
        let target = match &self.target[..] {
            [only] => Some(("TARGET", OsString::from(only))),
            _ => None,
        };
        let project = self
            .project_dir
            .as_ref()
            .map(|dir| ("PROJECT_DIR", cwd.join(dir).into_os_string()));
        profile.into_iter().chain(target).chain(project).collect()
    }
}

/// `completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// `man`
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The subcommand
    pub(crate) subcommand: Option<String>,
}

/// `exec`
#[derive(Debug, Default, Args)]
pub(crate) struct Exec {
    /// How the command gets the credentials; by default as dbt-lease.yml says
    #[arg(long, env = "DBT_LEASE_DELIVERY", value_parser = deliveries())]
    pub(crate) delivery: Option<Delivery>,
    /// Exit with 125 where a revocation failed or a secret was found in dbt's files, also if the command ended well
    #[arg(long, env = "DBT_LEASE_STRICT", value_parser = FalseyValueParser::new())]
    pub(crate) strict: bool,
    /// How long the leases are to live: 90, 45s, 30m, 2h, 1d
    #[arg(long, value_name = "DURATION", env = "DBT_LEASE_TTL", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
    /// When the private profiles.yml goes
    #[arg(long, value_enum, default_value = "auto", env = "DBT_LEASE_GATE")]
    pub(crate) gate: Gate,
    /// Look again whether what was revoked is gone
    #[arg(long, value_enum, env = "DBT_LEASE_VERIFY")]
    pub(crate) verify: Option<Verify>,
    /// Show the address of a login in the browser, and open none
    #[arg(long, env = crate::variables::DBT_LEASE_NO_BROWSER, value_parser = FalseyValueParser::new())]
    pub(crate) no_browser: bool,
    /// The command with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
}

/// `--gate`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Gate {
    /// Seconds after dbt's start, where it is known how often this dbt reads it; else with the rest
    #[default]
    Auto,
    /// When the command has ended
    Off,
}

/// `--verify`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verify {
    /// Ask Vault whether it still knows the lease; its policy must allow sys/leases/lookup
    Lease,
    /// Try to log in to the database, before and after; PostgreSQL alone
    Login,
}

/// `--delivery`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Delivery {
    /// A private profiles.yml that holds the credentials
    File,
    /// Variables for `env_var('DBT_ENV_SECRET_…')`, by `env:` of dbt-lease.yml
    Env,
}

/// `plan`
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Print JSON
    #[arg(long, env = "DBT_LEASE_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// As `exec` would get it: `lease` asks Vault more
    #[arg(long, value_enum, env = "DBT_LEASE_VERIFY")]
    pub(crate) verify: Option<Verify>,
    /// The command that would run
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
}

/// `render`
#[derive(Debug, Args)]
pub(crate) struct Render {
    /// Print JSON
    #[arg(long, env = "DBT_LEASE_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Show values that look like secrets
    #[arg(long)]
    pub(crate) reveal: bool,
    /// The command that would run
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
}

/// `check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// All environments; also those that are protected, with --rehearse
    #[arg(long, conflicts_with = "target")]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long, env = "DBT_LEASE_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Lend for each environment whose identity is here, connect by `dbt debug`, and give back; for a protected one its target must be
    /// named, or --all
    #[arg(long)]
    pub(crate) rehearse: bool,
    /// Show the address of a login in the browser, and open none
    #[arg(long, env = crate::variables::DBT_LEASE_NO_BROWSER, value_parser = FalseyValueParser::new())]
    pub(crate) no_browser: bool,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
}

/// `env`
#[derive(Debug, Args)]
pub(crate) struct Env {
    /// For whom
    #[arg(long, value_enum, default_value = "sh", env = "DBT_LEASE_FORMAT")]
    pub(crate) format: Format,
    /// Also of a protected environment, and on a terminal
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) selection: SelectionArguments,
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// eval "$(dbt-lease env)", for sh, bash, zsh
    Sh,
    /// dbt-lease env --format fish | source
    Fish,
    /// A file of NAME='value' lines, as python-dotenv reads them
    Dotenv,
    /// An object
    Json,
}

/// `init`
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Vault's address; by default BAO_ADDR, VAULT_ADDR
    #[arg(long, value_name = "URL", env = "DBT_LEASE_ADDRESS")]
    pub(crate) address: Option<String>,
    /// How an environment logs in, or all that are not named: approle, jwt, kubernetes, aws, oidc, token, userpass, ldap
    #[arg(long, value_name = "[ENVIRONMENT=]METHOD", value_parser = method)]
    pub(crate) auth: Vec<(Option<String>, String)>,
    /// The login role of an environment; by default dbt-ENVIRONMENT
    #[arg(long, value_name = "[ENVIRONMENT=]ROLE", value_parser = perhaps_of)]
    pub(crate) role: Vec<(Option<String>, String)>,
    /// The environment of a target, where its name does not tell
    #[arg(long, value_name = "TARGET=ENVIRONMENT", value_parser = pair)]
    pub(crate) environment: Vec<(String, String)>,
    /// What a target is lent, or `none`; by default a path by its adapter
    #[arg(long, value_name = "TARGET=PATH", value_parser = pair)]
    pub(crate) path: Vec<(String, String)>,
    /// A further profile of ~/.dbt/profiles.yml that belongs to the project
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Vec<String>,
    /// Do not ask: take what is usual, and write it
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Replace a dbt-lease.yml that is there, instead of adding to it
    #[arg(long)]
    pub(crate) force: bool,
    /// Only show what would be written
    #[arg(long, conflicts_with_all = ["force"])]
    pub(crate) diff: bool,
    /// Print JSON
    #[arg(long, env = "DBT_LEASE_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// The directory of dbt_project.yml
    #[arg(long, value_name = "DIR", help_heading = "dbt's options")]
    pub(crate) project_dir: Option<PathBuf>,
    /// The directory of profiles.yml
    #[arg(long, value_name = "DIR", help_heading = "dbt's options")]
    pub(crate) profiles_dir: Option<PathBuf>,
}

/// `bridge`
#[derive(Debug, Args)]
pub(crate) struct Bridge {
    /// Show what would change, without any value; this is the default
    #[arg(long, conflicts_with_all = ["write", "check"])]
    pub(crate) diff: bool,
    /// Write it: profiles.yml, `env:` of dbt-lease.yml where there is one, and an example of the variables
    #[arg(long)]
    pub(crate) write: bool,
    /// Only say by the exit code whether anything is to be bridged: 1 (for pre-commit)
    #[arg(long, conflicts_with = "write")]
    pub(crate) check: bool,
    /// Print JSON: the new text and the variables, without their values
    #[arg(long, env = "DBT_LEASE_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Put DBT_ENV_SECRET_ before the names of variables that have it not
    #[arg(long, env = "DBT_LEASE_RENAME", value_parser = FalseyValueParser::new())]
    pub(crate) rename: bool,
    /// Leave user names as they are: for static roles, whose user stays
    #[arg(long, env = "DBT_LEASE_KEEP_USER", value_parser = FalseyValueParser::new())]
    pub(crate) keep_user: bool,
    /// The directory of dbt_project.yml
    #[arg(long, value_name = "DIR", help_heading = "dbt's options")]
    pub(crate) project_dir: Option<PathBuf>,
    /// The directory of profiles.yml
    #[arg(long, value_name = "DIR", help_heading = "dbt's options")]
    pub(crate) profiles_dir: Option<PathBuf>,
}

/// `generate`
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// What: `--list` says what each is for
    #[arg(value_name = "KIND", value_parser = kinds(), required_unless_present_any = ["list", "check"], conflicts_with_all = ["list", "check"])]
    pub(crate) kind: Option<Kind>,
    /// Say what each kind is for
    #[arg(long, conflicts_with = "check")]
    pub(crate) list: bool,
    /// Say which generated files would be made otherwise now, and by the exit code whether there is one: 1
    #[arg(long)]
    pub(crate) check: bool,
    /// Write it into this file; by default it is printed
    #[arg(short, long, value_name = "FILE", env = "DBT_LEASE_OUTPUT", conflicts_with_all = ["list", "check", "write"])]
    pub(crate) output: Option<PathBuf>,
    /// Write it where it belongs: CI files below the repository, others beside dbt-lease.yml
    #[arg(long, conflicts_with_all = ["list", "check"])]
    pub(crate) write: bool,
    /// Also over a file that somebody has changed, or that is not ours
    #[arg(long)]
    pub(crate) force: bool,
    /// Print JSON
    #[arg(long, env = "DBT_LEASE_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// The form of vault-setup
    #[arg(
        long,
        value_enum,
        default_value = "shell",
        env = "DBT_LEASE_SETUP_FORMAT"
    )]
    pub(crate) format: SetupFormat,
    /// Whose identity tokens a jwt login takes, where dbt-lease.yml and the repository's files do not say
    #[arg(long, value_name = "SYSTEM", env = "DBT_LEASE_CI", value_parser = systems())]
    pub(crate) ci: Option<System>,
    /// The login method, where it is to be another than dbt-lease.yml's
    #[arg(long, value_name = "METHOD", env = "DBT_LEASE_METHOD", value_parser = methods())]
    pub(crate) method: Option<&'static str>,
    /// Whose aliases
    #[arg(long, value_enum, default_value = "bash", env = "DBT_LEASE_SHELL")]
    pub(crate) shell: AliasShell,
    /// These environments alone
    #[arg(
        long,
        value_name = "NAME",
        env = "DBT_LEASE_ENVIRONMENT",
        value_delimiter = ','
    )]
    pub(crate) environment: Vec<String>,
    /// The directory of dbt_project.yml
    #[arg(long, value_name = "DIR", help_heading = "dbt's options")]
    pub(crate) project_dir: Option<PathBuf>,
    /// The directory of profiles.yml
    #[arg(long, value_name = "DIR", help_heading = "dbt's options")]
    pub(crate) profiles_dir: Option<PathBuf>,
}

/// `--format` of `generate`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SetupFormat {
    /// A script for bao or vault
    Shell,
    /// HCL for Terraform or OpenTofu
    Terraform,
}

/// `--shell` of `generate`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AliasShell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

fn kinds() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(
        KINDS.map(|kind| PossibleValue::new(kind.name()).help(kind.purpose())),
    )
    .try_map(|name| Kind::of(&name).ok_or("not a kind"))
}

fn systems() -> impl TypedValueParser<Value = System> {
    PossibleValuesParser::new(System::names())
        .try_map(|name| System::of(&name).ok_or("no CI system"))
}

fn methods() -> impl TypedValueParser<Value = &'static str> {
    PossibleValuesParser::new(generate::METHODS).try_map(|name| {
        generate::METHODS
            .into_iter()
            .find(|method| *method == name)
            .ok_or("no method")
    })
}

/// `status`
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print JSON
    #[arg(long, env = "DBT_LEASE_JSON", value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// `end`
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(crate) struct End {
    /// The session, as `dbt-lease status` lists it
    #[arg(group = "which")]
    pub(crate) session: Option<String>,
    /// All sessions of this environment
    #[arg(long, group = "which", value_name = "NAME")]
    pub(crate) environment: Option<String>,
    /// All sessions
    #[arg(long, group = "which")]
    pub(crate) all: bool,
}

/// `proxy` is known, so that it is refused for what it is.
fn deliveries() -> impl TypedValueParser<Value = Delivery> {
    let known = Delivery::value_variants()
        .iter()
        .filter_map(ValueEnum::to_possible_value);
    PossibleValuesParser::new(known.chain([PossibleValue::new("proxy").hide(true)])).try_map(
        |value| {
            Delivery::from_str(&value, false).map_err(|_| {
                format!(
                    "`proxy` is not there yet in dbt-lease {}",
                    env!("CARGO_PKG_VERSION")
                )
            })
        },
    )
}

/// `trust`
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Only show what the file would do, and its hash (for DBT_LEASE_TRUST)
    #[arg(long, env = "DBT_LEASE_SHOW", value_parser = FalseyValueParser::new())]
    pub(crate) show: bool,
    /// Do not ask
    #[arg(short, long, conflicts_with = "show")]
    pub(crate) yes: bool,
}

/// `NAME=VALUE`; a target's name may hold `=`, a path and an environment cannot.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// `VALUE`, or `NAME=VALUE`.
fn perhaps_of(text: &str) -> Result<(Option<String>, String), String> {
    match text.split_once('=') {
        None if !text.is_empty() => Ok((None, text.to_owned())),
        _ => pair(text).map(|(name, value)| (Some(name), value)),
    }
}

fn method(text: &str) -> Result<(Option<String>, String), String> {
    let said = perhaps_of(text)?;
    if init::login::METHODS.contains(&said.1.as_str()) {
        return Ok(said);
    }
    Err(format!(
        "methods that can be proposed: {}; any other is written by hand (docs/logins.md)",
        init::login::METHODS.join(", ")
    ))
}

fn duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text)
        .ok_or_else(|| "a duration is 90, 45s, 30m, 2h or 1d".to_owned())
}

/// Parses the command line and its variables. An empty variable is an unset one, and the command line wins over a variable.
pub(crate) fn parse<W: Into<OsString> + Clone>(
    raw: impl IntoIterator<Item = W>,
) -> Result<Arguments, clap::Error> {
    let mut command = without_empty_variables(Arguments::command());
    let matches = command.try_get_matches_from_mut(raw)?;
    let mut arguments = Arguments::from_arg_matches(&matches)?;
    let Global { verbose, quiet, .. } = &mut arguments.global;
    if *verbose && *quiet {
        let typed = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
        match (typed("verbose"), typed("quiet")) {
            (true, false) => *quiet = false,
            (false, true) => *verbose = false,
            _ => {
                let words =
                    "--verbose and --quiet (DBT_LEASE_VERBOSE, DBT_LEASE_QUIET) exclude each other";
                return Err(command.error(ErrorKind::ArgumentConflict, words));
            }
        }
    }
    if let Some(SelectionArguments {
        profile, target, ..
    }) = arguments.command.selection()
        && target.len() > 1
        && target.len() != profile.len()
    {
        let words = "--target is given once for all profiles, or once for each --profile";
        return Err(command.error(ErrorKind::WrongNumberOfValues, words));
    }
    Ok(arguments)
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|argument| match argument.get_env() {
            Some(name) if is_empty(name) => argument.env(Resettable::Reset),
            _ => argument,
        })
        .mut_subcommands(without_empty_variables)
}

/// Prints clap's refusal or help, and gives the code: `exec`'s own usage errors are 125, so that a caller can tell them from the child's 2.
pub(crate) fn refused(error: &clap::Error, raw: &[OsString]) -> ExitCode {
    if error.exit_code() != 0 && wants_json(raw) {
        Say::in_json().failure(&in_words(error));
    } else {
        // A closed stderr is no reason for another code.
        let _ = error.print();
    }
    let commands = Arguments::command();
    let for_exec = raw
        .iter()
        .skip(1)
        .take_while(|word| *word != "--")
        .filter_map(|word| word.to_str())
        .find(|word| commands.find_subcommand(word).is_some())
        .is_some_and(|word| word == "exec");
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if for_exec => ExitCode::from(FAILED_BEFORE_THE_COMMAND),
        _ => ExitCode::from(2),
    }
}

/// Whether messages are to be JSON, asked of arguments that could not be parsed: the last word counts, then the variable.
fn wants_json(raw: &[OsString]) -> bool {
    let ours: Vec<&OsStr> = raw
        .iter()
        .skip(1)
        .map(OsString::as_os_str)
        .take_while(|word| *word != "--")
        .collect();
    let glued = |word: &OsStr| {
        word.to_str()?
            .strip_prefix("--log-format=")
            .map(str::to_owned)
    };
    let apart = |pair: &[&OsStr]| match pair {
        [name, value] if *name == "--log-format" => Some(value.to_string_lossy().into_owned()),
        _ => None,
    };
    let said = ours
        .iter()
        .enumerate()
        .filter_map(|(at, word)| glued(word).or_else(|| apart(ours.get(at..at + 2)?)))
        .next_back();
    let said = said.or_else(|| std::env::var("DBT_LEASE_LOG_FORMAT").ok());
    said.as_deref() == Some("json")
}

/// clap's refusal as one of ours: what is wrong, and its tips and usage as the hint.
fn in_words(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let (message, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let hint: Vec<&str> = rest
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let hint = (!hint.is_empty()).then(|| hint.join("\n"));
    Failure::new("usage", message, hint.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_usage_error_is_known_though_nothing_could_be_parsed() {
        let wants = |words: &[&str]| {
            let raw: Vec<OsString> = std::iter::once("dbt-lease")
                .chain(words.iter().copied())
                .map(OsString::from)
                .collect();
            wants_json(&raw)
        };
        assert!(wants(&["--log-format", "json", "exce"]));
        assert!(wants(&[
            "exec",
            "--log-format=text",
            "--log-format=json",
            "--nonsense"
        ]));
        assert!(!wants(&["--log-format=json", "--log-format=text", "exce"]));
        assert!(!wants(&["exec", "--", "x", "--log-format", "json"]));
    }

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }
}
