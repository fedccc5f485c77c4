//! Environments with their targets: by flags, then by names and adapters; and what is not known, to be asked.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::InitError;
use super::lend::{Lend, lend};
use super::login::{self, AtHand};
use super::outputs::{Output, Profiles};
use super::words::{self, Class};

/// A dbt project with the profiles.yml files that dbt could read for it, the likeliest first.
#[derive(Debug)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// The profile that it names.
    pub profile: Option<String>,
    /// The files.
    pub files: Vec<Profiles>,
    /// The targets that its dbt-lease.yml lists already: profile and target.
    pub listed: Vec<(String, String)>,
    /// The environments that are there already: each has its login.
    pub environments: Vec<String>,
    /// Whether other projects share a part with it: the names of its roles say whose they are.
    pub is_one_of_several: bool,
    /// Whether Vault's address is said there already.
    pub has_address: bool,
}

/// What the user has said, by flags or on the terminal.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Vault's address.
    pub address: Option<String>,
    /// A login method, for an environment or for all.
    pub auth: Vec<(Option<String>, String)>,
    /// A login role, for an environment or for the only one.
    pub roles: Vec<(Option<String>, String)>,
    /// The environment of a target.
    pub environments: Vec<(String, String)>,
    /// The path of a target's secret, or `none`.
    pub paths: Vec<(String, String)>,
    /// Further profiles of the user's own file.
    pub profiles: Vec<String>,
}

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Vault's address; none where nothing is lent.
    pub address: Option<String>,
    /// The environments.
    pub environments: Vec<Environment>,
}

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Whether its targets must be named.
    pub protected: bool,
    /// `auth:` as it is written; none where it lends nothing.
    pub auth: Option<String>,
    /// Its targets.
    pub targets: Vec<Target>,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which project it belongs to.
    pub project: usize,
    /// Its key under `targets:`.
    pub key: String,
    /// The profile, where it is not the project's own.
    pub profile: Option<String>,
    /// Its name in profiles.yml.
    pub target: String,
    /// What it is lent.
    pub lend: Lend,
}

/// What only the user knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Where Vault is.
    Address,
    /// Whose these targets are: their names and where they lead say nothing.
    Environment(Vec<String>),
    /// How an environment logs in, or several of them.
    Login {
        /// The environments.
        environments: Vec<String>,
        /// Whether people log in there, not machines.
        people: bool,
    },
}

impl Unknown {
    /// What is asked.
    pub fn question(&self) -> String {
        match self {
            Self::Address => "Vault's address (https://…)".to_owned(),
            Self::Environment(targets) => format!(
                "which environment do these targets belong to, whose names do not tell: {}? (production, staging, ci, development, or a name)",
                targets.join(", ")
            ),
            Self::Login {
                environments,
                people,
            } => format!(
                "how {} log in to Vault for {}? ({})",
                if *people { "do people" } else { "do machines" },
                environments.join(", "),
                login::METHODS.join(", ")
            ),
        }
    }

    /// What is taken without an answer, where anything can be.
    pub fn default(&self) -> Option<&'static str> {
        match self {
            Self::Address => None,
            // Too guarded is told at the first run; too open is not told at all.
            Self::Environment(_) => Some("production"),
            Self::Login { people: true, .. } => Some("oidc"),
            Self::Login { people: false, .. } => Some("approle"),
        }
    }

    /// The flags that say it.
    pub fn flags(&self) -> Vec<String> {
        match self {
            Self::Address => vec!["--address URL (or VAULT_ADDR)".to_owned()],
            Self::Environment(targets) => targets
                .iter()
                .map(|target| format!("--environment {target}=ENVIRONMENT"))
                .collect(),
            Self::Login { environments, .. } => environments
                .iter()
                .map(|environment| format!("--auth {environment}=METHOD"))
                .collect(),
        }
    }

    /// Takes an answer.
    pub fn answer(&self, answer: &str, wishes: &mut Wishes) {
        match self {
            Self::Address => wishes.address = Some(answer.to_owned()),
            Self::Environment(targets) => wishes.environments.extend(
                targets
                    .iter()
                    .map(|target| (target.clone(), answer.to_owned())),
            ),
            Self::Login { environments, .. } => wishes.auth.extend(
                environments
                    .iter()
                    .map(|environment| (Some(environment.clone()), answer.to_owned())),
            ),
        }
    }
}

/// An output that gets an entry.
struct Wanted<'a> {
    project: usize,
    output: &'a Output,
    is_own: bool,
    /// Whether dbt-lease.yml has it already.
    is_listed: bool,
    /// How flags name it.
    name: String,
}

/// Proposes, as far as it is known; and what is not.
///
/// # Errors
/// There is nothing to propose for, or a flag names what is not there.
pub fn propose(
    projects: &[Project],
    wishes: &Wishes,
    at_hand: &AtHand,
) -> Result<(Proposal, Vec<Unknown>), InitError> {
    let wanted = wanted(projects, wishes)?;
    check_names(&wanted, wishes)?;
    let mut unknown = Vec::new();
    let mut nameless = Vec::new();
    let mut environments: Vec<Environment> = Vec::new();
    let mut paths = BTreeSet::new();
    let mut keys: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for one in wanted.iter().filter(|one| one.is_own) {
        let names = keys.entry(one.project).or_default();
        names.insert(one.output.target.clone());
    }
    for one in wanted.iter().filter(|one| !one.is_listed) {
        let Wanted {
            project,
            output,
            is_own,
            name,
            ..
        } = one;
        let lend = lent(one, projects, wishes, &mut paths);
        let environment = match (wished(&wishes.environments, one), class(one)) {
            (Some(said), _) => said.to_owned(),
            // What needs nothing from Vault and is no one's zone stands apart: its session is in no environment.
            (None, None | Some(Class::Development)) if lend.path.is_none() => "local".to_owned(),
            (None, Some(class)) => class.environment().to_owned(),
            (None, None) => {
                nameless.push(name.clone());
                continue;
            }
        };
        let environment = there_already(environment, &projects[*project]);
        let target = Target {
            project: *project,
            key: if *is_own {
                output.target.clone()
            } else {
                free_key(output, keys.entry(*project).or_default())
            },
            profile: (!is_own).then(|| output.profile.clone()),
            target: output.target.clone(),
            lend,
        };
        match environments
            .iter_mut()
            .find(|other| other.name == environment)
        {
            Some(other) => other.targets.push(target),
            None => environments.push(Environment {
                protected: words::class(&environment) == Some(Class::Production),
                name: environment,
                auth: None,
                targets: vec![target],
            }),
        }
    }
    if !nameless.is_empty() {
        unknown.push(Unknown::Environment(nameless));
    }
    let lends = |environment: &Environment| {
        environment
            .targets
            .iter()
            .any(|target| target.lend.path.is_some())
    };
    let needs_address =
        environments.iter().any(lends) && !projects.iter().all(|project| project.has_address);
    let address = needs_address
        .then(|| wishes.address.clone().or_else(|| at_hand.address.clone()))
        .flatten();
    if address.is_none() && needs_address {
        unknown.push(Unknown::Address);
    }
    let there: BTreeSet<&str> = projects
        .iter()
        .flat_map(|project| project.environments.iter().map(String::as_str))
        .collect();
    let logging_in: Vec<&mut Environment> = environments
        .iter_mut()
        .filter(|environment| lends(environment) && !there.contains(environment.name.as_str()))
        .collect();
    log_in(
        logging_in,
        wishes,
        at_hand,
        address.as_deref(),
        &mut unknown,
    )?;
    environments.sort_by_key(order);
    Ok((
        Proposal {
            address,
            environments,
        },
        unknown,
    ))
}

/// Small ones first, what counts last, what is not Vault's at the end.
fn order(environment: &Environment) -> usize {
    match environment.name.as_str() {
        "development" => 0,
        "ci" => 1,
        "staging" => 2,
        "local" => 5,
        _ if environment.protected => 4,
        _ => 3,
    }
}

/// The outputs that get an entry: of the project's own profile those of all files, the likeliest file first; of other profiles those that lie
/// beside the project.
fn wanted<'a>(projects: &'a [Project], wishes: &Wishes) -> Result<Vec<Wanted<'a>>, InitError> {
    let own: BTreeSet<&str> = projects
        .iter()
        .filter_map(|project| project.profile.as_deref())
        .collect();
    let mut wanted: Vec<Wanted<'a>> = Vec::new();
    for (number, project) in projects.iter().enumerate() {
        for file in &project.files {
            for output in &file.outputs {
                let is_own = project.profile.as_deref() == Some(&output.profile);
                let is_asked = wishes.profiles.contains(&output.profile);
                let is_others = own.contains(output.profile.as_str());
                let belongs = is_own || is_asked || (!file.is_users && !is_others);
                let is_there = wanted.iter().any(|other| {
                    other.project == number
                        && other.output.profile == output.profile
                        && other.output.target == output.target
                });
                if belongs && !is_there {
                    let name = if is_own {
                        output.target.clone()
                    } else {
                        format!("{}.{}", output.profile, output.target)
                    };
                    let name = if projects.len() > 1 {
                        format!("{}:{name}", project.name)
                    } else {
                        name
                    };
                    let listed = (output.profile.clone(), output.target.clone());
                    wanted.push(Wanted {
                        project: number,
                        output,
                        is_own,
                        is_listed: project.listed.contains(&listed),
                        name,
                    });
                }
            }
        }
    }
    if wanted.is_empty() {
        let files = projects.iter().flat_map(|project| &project.files);
        return Err(InitError::NoOutputs {
            files: files.map(|file| file.file.clone()).collect(),
            profiles: own
                .iter()
                .map(|name| format!("`{}`", name.escape_debug()))
                .collect(),
        });
    }
    Ok(wanted)
}

impl Wanted<'_> {
    /// Whether a flag means it: by its whole name, or by the target's alone where it is the project's own.
    fn is_meant(&self, said: &str) -> bool {
        said == self.name || (self.is_own && said == self.output.target)
    }
}

fn wished<'w>(wishes: &'w [(String, String)], one: &Wanted<'_>) -> Option<&'w str> {
    let meant = wishes.iter().rev().find(|(said, _)| one.is_meant(said));
    meant.map(|(_, value)| value.as_str())
}

/// A flag that means nothing is a mistake.
fn check_names(wanted: &[Wanted<'_>], wishes: &Wishes) -> Result<(), InitError> {
    for (flag, said) in [
        ("--environment", &wishes.environments),
        ("--path", &wishes.paths),
    ] {
        for (name, value) in said {
            if !wanted.iter().any(|one| one.is_meant(name)) {
                let known: Vec<String> = wanted
                    .iter()
                    .map(|one| format!("`{}`", one.name.escape_debug()))
                    .collect();
                return Err(InitError::Unknown {
                    flag,
                    value: format!("{}={}", name.escape_debug(), value.escape_debug()),
                    what: "target",
                    known: known.join(", "),
                });
            }
        }
    }
    Ok(())
}

/// Whose a target is, by its name, by where it leads, by its profile's name.
fn class(one: &Wanted<'_>) -> Option<Class> {
    let Wanted { output, is_own, .. } = one;
    words::class(&output.target)
        .or_else(|| output.class_by_place())
        // dbt's own name where a profile has but one; of a tool's profile it tells nothing.
        .or_else(|| (*is_own && output.target == "default").then_some(Class::Development))
        .or_else(|| words::class(&output.profile))
}

fn lent(
    one: &Wanted<'_>,
    projects: &[Project],
    wishes: &Wishes,
    paths: &mut BTreeSet<String>,
) -> Lend {
    let Wanted {
        project,
        output,
        is_own,
        ..
    } = one;
    if let Some(path) = wished(&wishes.paths, one) {
        return Lend::said(path, output);
    }
    let mut parts = Vec::new();
    if projects[*project].is_one_of_several {
        parts.push(projects[*project].name.as_str());
    }
    if !is_own {
        parts.push(&output.profile);
    }
    parts.push(&output.target);
    let mut name = words::segment(&parts.join("-"));
    // `a.b-c` and `a-b.c`: joined they are one.
    if !paths.insert(name.clone()) {
        name = words::segment(&format!("{}/", parts.join("/")));
        paths.insert(name.clone());
    }
    lend(output, &name)
}

/// The environment of that name, or else the only one of its class that is there already.
fn there_already(name: String, project: &Project) -> String {
    if project.environments.contains(&name) {
        return name;
    }
    let class = words::class(&name);
    let mut same = project
        .environments
        .iter()
        .filter(|other| class.is_some() && words::class(other) == class);
    match (same.next(), same.next()) {
        (Some(other), None) => other.clone(),
        _ => name,
    }
}

/// The key under `targets:` for another profile's target: a free one.
fn free_key(output: &Output, taken: &mut BTreeSet<String>) -> String {
    let mut key = format!("{}_{}", output.profile, output.target);
    while !taken.insert(key.clone()) {
        key.push('_');
    }
    key
}

/// The login of each environment that lends and has none yet.
fn log_in(
    mut logging_in: Vec<&mut Environment>,
    wishes: &Wishes,
    at_hand: &AtHand,
    address: Option<&str>,
    unknown: &mut Vec<Unknown>,
) -> Result<(), InitError> {
    let names: Vec<String> = logging_in
        .iter()
        .map(|environment| environment.name.clone())
        .collect();
    for (flag, said) in [("--auth", &wishes.auth), ("--role", &wishes.roles)] {
        for (name, value) in said {
            if let Some(name) = name
                && !names.contains(name)
                && unknown
                    .iter()
                    .all(|one| !matches!(one, Unknown::Environment(_)))
            {
                return Err(InitError::Unknown {
                    flag,
                    value: format!("{}={}", name.escape_debug(), value.escape_debug()),
                    what: "environment that logs in",
                    known: names.join(", "),
                });
            }
        }
    }
    if let Some((None, role)) = wishes.roles.iter().find(|(name, _)| name.is_none())
        && names.len() > 1
    {
        return Err(InitError::SharedRole {
            role: role.clone(),
            environments: names.join(", "),
        });
    }
    let said = |list: &'_ [(Option<String>, String)], environment: &str| {
        let its = list
            .iter()
            .rev()
            .find(|(name, _)| name.as_deref() == Some(environment));
        its.or_else(|| list.iter().rev().find(|(name, _)| name.is_none()))
            .map(|(_, value)| value.clone())
    };
    let mut machines = Vec::new();
    let mut people = Vec::new();
    for environment in &mut logging_in {
        let name = environment.name.clone();
        let is_peoples = words::class(&name) == Some(Class::Development);
        let known = if is_peoples {
            at_hand.for_people(address)
        } else {
            at_hand.for_machines()
        };
        let Some(method) = said(&wishes.auth, &name).or_else(|| known.map(str::to_owned)) else {
            if is_peoples {
                people.push(name)
            } else {
                machines.push(name)
            }
            continue;
        };
        let role = said(&wishes.roles, &name).unwrap_or_else(|| format!("dbt-{name}"));
        environment.auth = Some(login::written(&method, &role, &name, at_hand));
    }
    for (environments, people) in [(machines, false), (people, true)] {
        if !environments.is_empty() {
            unknown.push(Unknown::Login {
                environments,
                people,
            });
        }
    }
    Ok(())
}
