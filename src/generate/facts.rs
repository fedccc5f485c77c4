//! What the templates are filled from: dbt-lease.yml with the outputs of its targets, and nothing of the machine that it is read on.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::connection::{Connection, Owners, connections};
use super::error::GenerateError;
use super::login::{self, Login};
use super::need::{self, Need};
use super::text::{self, Text};
use super::{Options, Project, quote};
use crate::config::is_variable_name;
use crate::config::{Environment, Lending, Lent, Target};
use crate::dbt::Profile;
use crate::plan;

/// What a token may ask about itself; `plan`'s policy is what a run asks for, and nothing else.
const FOR_CHECK: &str = "
# For `dbt-lease check`: what this very token may do.
path \"sys/capabilities-self\" {
  capabilities = [\"update\"]
}
";

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    pub(super) project: String,
    /// The hash that DBT_LEASE_TRUST takes.
    pub(super) fingerprint: String,
    /// The project's directory below the repository's; empty where they are one.
    pub(super) directory: String,
    /// What `pip install` gets.
    pub(super) packages: Vec<String>,
    pub(super) zones: Vec<Zone>,
    /// All targets, also of environments that lend nothing.
    pub(super) targets: Vec<Aim>,
    /// The variables at the top.
    pub(super) needs: Vec<need::Written>,
    /// Where logins and databases are mounted, each once.
    pub(super) logins: Vec<Mount>,
    pub(super) mounts: Vec<Mount>,
    pub(super) shell: &'static str,
}

/// A mount.
#[derive(Debug, Serialize)]
pub(super) struct Mount {
    pub(super) path: String,
    pub(super) slug: String,
    pub(super) r#type: &'static str,
    /// Of identity tokens.
    pub(super) issuer: text::Written,
}

/// An environment that lends.
#[derive(Debug, Serialize)]
pub(super) struct Zone {
    pub(super) name: String,
    /// Its name in variables: `PRODUCTION`.
    pub(super) variable: String,
    /// Its name in names of functions and resources.
    pub(super) slug: String,
    pub(super) protected: bool,
    /// The policy's name, and the login role's.
    pub(super) role: String,
    pub(super) policy: String,
    /// What dbt-lease.yml says; empty where it says nothing.
    pub(super) address: String,
    pub(super) namespace: String,
    pub(super) login: Login,
    pub(super) connections: Vec<Connection>,
    /// Paths that are not made here, with the reason.
    pub(super) left: Vec<String>,
    pub(super) targets: Vec<Aim>,
    /// Checks of what it needs.
    pub(super) checks: Vec<String>,
    /// The same for the part that is about logins, and databases.
    pub(super) login_checks: Vec<String>,
    pub(super) database_checks: Vec<String>,
    /// Variables of its jobs.
    pub(super) variables: Vec<Variable>,
}

/// A target.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Aim {
    /// What goes behind dbt-lease's `exec -- dbt build`: `--target prod`, words of a shell.
    pub(super) arguments: String,
    /// Its name in names of rules and jobs, with `-`.
    pub(super) slug: String,
    /// The target's own name.
    pub(super) name: String,
    /// Another profile's name.
    pub(super) profile: Option<String>,
    pub(super) environment: String,
    pub(super) protected: bool,
    pub(super) lends: bool,
}

/// A variable that a job must have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Variable {
    pub(super) name: String,
    /// Whether its value is a secret.
    pub(super) secret: bool,
}

/// Gathers them.
pub(super) fn gather(project: &Project<'_>, options: &Options) -> Result<Facts, GenerateError> {
    let config = project.config;
    let targets = aims(project)?;
    let names: Vec<&str> = config
        .environments
        .iter()
        .map(|each| each.name.as_str())
        .collect();
    let upper = |name: &&str| quote::slug(name, '_').to_ascii_uppercase();
    // A variable's name may not begin with a digit.
    let safe = |name: String| {
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            format!("E{name}")
        } else {
            name
        }
    };
    let variables = quote::distinct(names.iter().map(upper).map(safe));
    if let Some(unknown) = options
        .environments
        .iter()
        .find(|name| !names.contains(&name.as_str()))
    {
        return Err(GenerateError::Nothing {
            why: format!(
                "dbt-lease.yml has no environment `{unknown}`; it has {}",
                names.join(", ")
            ),
        });
    }
    let mut taken = Owners::default();
    let mut zones = Vec::new();
    let mut needs = Vec::new();
    for (environment, variable) in config.environments.iter().zip(&variables) {
        let wanted =
            options.environments.is_empty() || options.environments.contains(&environment.name);
        let Some(policy) = plan::of_environment(environment).filter(|_| wanted) else {
            continue;
        };
        let of_zone: Vec<Aim> = targets
            .iter()
            .filter(|aim| aim.environment == environment.name && aim.lends)
            .cloned()
            .collect();
        zones.push(zone(
            project,
            options,
            (environment, variable),
            policy,
            of_zone,
            &mut taken,
            &mut needs,
        )?);
    }
    if zones.is_empty() && targets.is_empty() {
        return Err(GenerateError::Nothing {
            why: "dbt-lease.yml has no target".to_owned(),
        });
    }
    let mut seen = BTreeSet::new();
    needs.retain(|need: &Need| seen.insert(need.name.clone()));
    let mut packages: BTreeSet<String> = BTreeSet::new();
    if project.requirements.is_none() {
        packages.insert("dbt-core".to_owned());
        for profile in project.outputs.iter().flatten() {
            if let Some(adapter) = &profile.adapter {
                packages.insert(format!("dbt-{}", quote::slug(adapter, '-')));
            }
        }
    }
    let mut list: Vec<String> = vec!["dbt-lease".to_owned()];
    list.extend(packages);
    if let Some(file) = project.requirements {
        list.push(format!("-r {file}"));
    }
    let mut logins: Vec<Mount> = Vec::new();
    let mut mounts: Vec<Mount> = Vec::new();
    for zone in &zones {
        let login = &zone.login;
        if logins.iter().all(|known| known.path != login.mount) {
            logins.push(Mount {
                path: login.mount.clone(),
                slug: login.slug.clone(),
                r#type: login.method,
                issuer: login.issuer.clone(),
            });
        }
        for connection in &zone.connections {
            if mounts.iter().all(|known| known.path != connection.mount) {
                mounts.push(Mount {
                    path: connection.mount.clone(),
                    slug: connection.mount_slug.clone(),
                    r#type: "database",
                    issuer: Text::default().written(),
                });
            }
        }
    }
    logins.retain(|mount| super::METHODS.contains(&mount.r#type));
    Ok(Facts {
        logins,
        mounts,
        project: project.name.to_owned(),
        fingerprint: config.fingerprint.clone(),
        directory: project.below.clone(),
        packages: list,
        zones,
        targets,
        needs: needs.iter().map(Need::written).collect(),
        shell: options.shell.name(),
    })
}

/// The targets, each with a name for rules.
fn aims(project: &Project<'_>) -> Result<Vec<Aim>, GenerateError> {
    let all: Vec<(&Environment, &Target)> = project.config.targets().collect();
    let slugs = quote::distinct(all.iter().map(|(_, target)| quote::slug(&target.key, '-')));
    let mut aims = Vec::new();
    for ((environment, target), slug) in all.into_iter().zip(slugs) {
        let mut arguments = format!("--target {}", quote::sh(&target.target));
        if let Some(profile) = &target.profile {
            arguments = format!("--profile {} {arguments}", quote::sh(profile));
        }
        aims.push(Aim {
            arguments,
            slug: slug.replace('_', "-"),
            name: target.target.clone(),
            profile: target.profile.clone(),
            environment: environment.name.clone(),
            protected: environment.protected,
            lends: matches!(target.lending, Lending::Lent(_)),
        });
    }
    Ok(aims)
}

fn zone(
    project: &Project<'_>,
    options: &Options,
    (environment, variable): (&Environment, &str),
    policy: String,
    targets: Vec<Aim>,
    taken: &mut Owners,
    needs: &mut Vec<Need>,
) -> Result<Zone, GenerateError> {
    let said = |key: &str| {
        let found = environment.says.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| value.split(',').next().unwrap_or(value).trim().to_owned())
    };
    let address = said("address").unwrap_or_default();
    let auth = environment.auth.as_ref();
    let named = auth.and_then(|auth| auth.said_role());
    let role = match named {
        Some(role) if auth.is_some_and(login::has_roles) => role.to_owned(),
        _ => format!("{}-{}", project.name, environment.name),
    };
    let (login, of_login) = Login::of(project, options, environment, variable, &role, &address);
    let outputs = outputs(project, environment);
    let (connections, left, of_database) =
        connections(project, (environment, variable), &outputs, taken)?;
    let checks = |needs: &[Need]| {
        let checks = needs.iter().map(|need| need.written_check());
        checks.filter(|check| !check.is_empty()).collect::<Vec<_>>()
    };
    let (login_checks, database_checks) = (checks(&of_login), checks(&of_database));
    needs.extend(of_login);
    needs.extend(of_database);
    Ok(Zone {
        name: environment.name.clone(),
        variable: variable.to_owned(),
        slug: variable.to_ascii_lowercase(),
        protected: environment.protected,
        role,
        policy: format!("{policy}{FOR_CHECK}"),
        address: address.clone(),
        namespace: said("namespace").unwrap_or_default(),
        variables: job_variables(environment, &outputs, &address),
        login,
        connections,
        left,
        targets,
        checks: login_checks
            .iter()
            .chain(&database_checks)
            .cloned()
            .collect(),
        login_checks,
        database_checks,
    })
}

/// The targets of an environment that lend, with their outputs.
pub(super) type Outputs<'a> = Vec<(&'a Target, &'a Lent, Option<&'a Profile>)>;

fn outputs<'a>(project: &'a Project<'_>, environment: &'a Environment) -> Outputs<'a> {
    project
        .config
        .targets()
        .zip(&project.outputs)
        .filter(|((zone, _), _)| zone.name == environment.name)
        .filter_map(|((_, target), profile)| match &target.lending {
            Lending::Lent(lent) => Some((target, lent, profile.as_ref())),
            Lending::None => None,
        })
        .collect()
}

/// What a job must have: what the login reads, the address where dbt-lease.yml says none, what the outputs read and nobody lends.
fn job_variables(environment: &Environment, outputs: &Outputs<'_>, address: &str) -> Vec<Variable> {
    // One that is a secret by any of these is one.
    let mut variables: BTreeMap<String, bool> = BTreeMap::new();
    let mut add = |name: String, secret: bool| *variables.entry(name).or_default() |= secret;
    if address.is_empty() {
        add("VAULT_ADDR".to_owned(), false);
    }
    for name in environment.auth.iter().flat_map(|auth| auth.variables()) {
        // Those of CI systems are there by themselves, or by the job's own `id_tokens`.
        if !login::is_of_a_system(name) {
            add(name.to_owned(), true);
        }
    }
    for (_, lent, profile) in outputs {
        let Some(profile) = profile else { continue };
        for read in plan::read_by(&profile.output) {
            let is_lent = lent.env.iter().any(|bridge| bridge.name == read.name);
            if !is_lent && !read.has_default {
                let secret = read.name.starts_with("DBT_ENV_SECRET");
                add(read.name, secret);
            }
        }
    }
    variables
        .into_iter()
        .filter(|(name, _)| is_variable_name(name))
        .map(|(name, secret)| Variable { name, secret })
        .collect()
}
