//! The database engine's connections and roles that the targets borrow from, and what must be known of each.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::database::{self, Family, Place};
use super::error::GenerateError;
use super::facts::Outputs;
use super::need::Need;
use super::setting::Setting;
use super::text::{self, Text};
use super::{Project, quote};
use crate::config::{Environment, LentSecret, Target, is_variable_name};

/// One connection of the database engine.
#[derive(Debug, Serialize)]
pub(super) struct Connection {
    pub(super) name: String,
    pub(super) variable: String,
    pub(super) slug: String,
    pub(super) mount: String,
    pub(super) mount_slug: String,
    /// Terraform's block.
    pub(super) block: &'static str,
    pub(super) family: &'static str,
    pub(super) plugin: &'static str,
    pub(super) url: text::Written,
    /// The user by which Vault makes the others.
    pub(super) admin: String,
    pub(super) username_template: String,
    pub(super) roles: Vec<Role>,
    #[serde(skip)]
    place: Place,
}

/// A role of the database engine.
#[derive(Debug, Serialize)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) slug: String,
    /// The role of the database that owns what dbt makes.
    pub(super) owner: String,
    /// Its user is always the same, and Vault rotates its password.
    pub(super) fixed: bool,
    /// That user.
    pub(super) user: String,
    /// As SQL has it, where it is known.
    pub(super) schema_known: Option<String>,
    /// The schema's variable at the top, and the old user's.
    pub(super) schema_variable: String,
    pub(super) old_variable: String,
    pub(super) creation: Vec<text::Written>,
    pub(super) renew: Vec<text::Written>,
    pub(super) revocation: Vec<text::Written>,
    pub(super) rollback: Vec<text::Written>,
}

/// The owners that were given, by database server: two of Vault's roles never share one.
#[derive(Default)]
pub(super) struct Owners(BTreeMap<String, String>);

impl Owners {
    fn of(&mut self, path: &str, role: &str, variable: &str) -> String {
        let mut owner = database::owner(role);
        if self.0.get(&owner).is_some_and(|other| other != path) {
            owner = database::owner(&format!("{role}_{variable}"));
        }
        let mut number = 2;
        while self.0.get(&owner).is_some_and(|other| other != path) {
            owner = database::owner(&format!("{role}_{variable}_{number}"));
            number += 1;
        }
        self.0.insert(owner.clone(), path.to_owned());
        owner
    }
}

/// Connections, paths that are not made here, what is asked for at the top.
pub(super) type Connected = (Vec<Connection>, Vec<String>, Vec<Need>);

/// The connections of an environment, the paths that are not made here, and what is asked for at the top.
pub(super) fn connections(
    project: &Project<'_>,
    (environment, variable): (&Environment, &str),
    outputs: &Outputs<'_>,
    taken: &mut Owners,
) -> Result<Connected, GenerateError> {
    let mut connections: Vec<Connection> = Vec::new();
    let mut left = Vec::new();
    let mut needs = Vec::new();
    let mut made = BTreeSet::new();
    for (target, lent, profile) in outputs {
        for secret in &lent.secrets {
            let path = &secret.request.path;
            if !made.insert(path.clone()) {
                continue;
            }
            let Some((mount, fixed, role)) = role_of(secret) else {
                left.push(format!("{path}: not of the database engine"));
                continue;
            };
            let adapter = profile.and_then(|profile| profile.adapter.as_deref());
            let Some(family) = adapter.and_then(Family::of) else {
                left.push(format!(
                    "{path}: no statements are known for the adapter {}",
                    adapter.unwrap_or("of a template")
                ));
                continue;
            };
            let output = profile.map(|profile| &*profile.output);
            let setting =
                |keys: &[&str]| output.map_or(Setting::Unknown, |output| Setting::of(output, keys));
            let database = match family {
                Family::MySql => setting(&["schema", "database"]),
                _ => setting(&["dbname", "database"]),
            };
            let place = Place {
                family,
                host: setting(&["host", "server", "account"]),
                port: setting(&["port"]),
                database,
                sslmode: setting(&["sslmode"]),
                warehouse: setting(&["warehouse"]),
            };
            let at = match connections
                .iter()
                .position(|known| known.mount == mount && known.place == place)
            {
                Some(at) => at,
                None => {
                    let number = connections.len() + 1;
                    let (name, own) = match number {
                        1 => (
                            format!("{}-{}", project.name, environment.name),
                            variable.to_owned(),
                        ),
                        _ => (
                            format!("{}-{}-{number}", project.name, environment.name),
                            format!("{variable}_{number}"),
                        ),
                    };
                    needs.extend(family.needs(&own, &environment.name, &place));
                    if let Family::Postgres | Family::MySql | Family::Redshift = family {
                        needs.push(
                            Need::open(
                                &format!("{own}_ADMIN"),
                                &admin_why(family, &environment.name),
                            )
                            .optional(),
                        );
                    }
                    connections.push(Connection {
                        admin: database::owner(&format!("vault_{name}")),
                        slug: own.to_ascii_lowercase(),
                        url: family.url(&own).written(),
                        username_template: family.username_template(&environment.name),
                        family: family.name(),
                        plugin: family.plugin(),
                        mount: mount.to_owned(),
                        mount_slug: quote::slug(mount, '_'),
                        block: family.block(),
                        roles: Vec::new(),
                        name,
                        variable: own,
                        place,
                    });
                    connections.len() - 1
                }
            };
            let connection = &mut connections[at];
            let owner = match (family, setting(&["role"]).known()) {
                // Snowflake's objects belong to the role that the output acts as.
                (Family::Snowflake, Some(role)) if is_variable_name(role) => role.to_owned(),
                _ => taken.of(path, role, variable),
            };
            let number = connection.roles.len() + 1;
            let own = |suffix: &str| match number {
                1 => format!("{}_{suffix}", connection.variable),
                _ => format!("{}_{suffix}_{number}", connection.variable),
            };
            let (schema_variable, old_variable) = (own("SCHEMA"), own("OLD_USER"));
            let schema = setting(&["schema"]);
            let known = schema
                .known()
                .map(|known| in_statement(known, target))
                .transpose()?;
            let within = |text: &str| match family {
                Family::MySql => text.replace('`', "``").replace('_', "\\_"),
                Family::SqlServer => text.replace(']', "]]"),
                _ => text.to_owned(),
            };
            let as_text = |known: Option<&str>, variable: &str| match known {
                Some(known) => Text::known(within(known)),
                None => Text::variable(variable),
            };
            let schema_text = as_text(known, &schema_variable);
            let database = connection
                .place
                .database
                .known()
                .map(|known| in_statement(known, target))
                .transpose()?;
            let database_text = as_text(database, &format!("{}_DATABASE", connection.variable));
            let statements = family.statements(&owner, &schema_text, &database_text);
            if known.is_none() {
                needs.push(Need {
                    name: schema_variable.clone(),
                    why: format!("{}: dbt's schema", environment.name),
                    setting: schema.clone(),
                    optional: family == Family::Postgres,
                });
            }
            if family == Family::Postgres {
                let old = match setting(&["user"]) {
                    Setting::Known(user) => Setting::Known(in_statement(&user, target)?.to_owned()),
                    _ => Setting::Unknown,
                };
                needs.push(Need {
                    name: old_variable.clone(),
                    why: format!(
                        "{}: the old static user, whose tables become {owner}'s",
                        environment.name
                    ),
                    setting: old,
                    optional: true,
                });
            }
            let user = match setting(&["user"]).known() {
                Some(user) if fixed => in_statement(user, target)?.to_owned(),
                _ => format!("{owner}_login"),
            };
            let written = |texts: Vec<Text>| texts.iter().map(Text::written).collect::<Vec<_>>();
            connection.roles.push(Role {
                slug: format!("{}_{number}", connection.slug),
                name: role.to_owned(),
                owner,
                fixed,
                user,
                schema_known: known.map(str::to_owned),
                schema_variable,
                old_variable,
                creation: written(statements.creation),
                renew: written(statements.renew),
                revocation: written(statements.revocation),
                rollback: written(statements.rollback),
            });
        }
    }
    Ok((connections, left, needs))
}

fn admin_why(family: Family, environment: &str) -> String {
    let client = match family {
        Family::MySql => "the arguments of mysql, without a password (MYSQL_PWD, ~/.my.cnf)",
        _ => "a conninfo or URL for psql, without a password (PGPASSWORD, ~/.pgpass)",
    };
    format!(
        "{environment}: who may make roles in the database: {client}; empty: the SQL was applied by hand"
    )
}

/// Mount, whether its user is always the same, and role of a path of the database engine.
fn role_of(secret: &LentSecret) -> Option<(&str, bool, &str)> {
    secret
        .request
        .known
        .filter(|known| known.engine == "database")?;
    let path = &secret.request.path;
    [("/creds/", false), ("/static-creds/", true)]
        .into_iter()
        .find_map(|(infix, fixed)| {
            let (mount, role) = path.rsplit_once(infix)?;
            Some((mount, fixed, role))
        })
}

/// A name that Vault puts into statements, which it takes apart at each `;` and fills at each `{{`.
fn in_statement<'a>(name: &'a str, target: &Target) -> Result<&'a str, GenerateError> {
    let why = if name.contains(';') {
        "Vault takes statements apart at `;`"
    } else if name.contains("{{") {
        "Vault fills `{{…}}` itself"
    } else if name.chars().any(char::is_control) || name.contains('\u{2028}') {
        "it has a control character"
    } else {
        return Ok(name);
    };
    Err(GenerateError::Unquotable {
        what: format!(
            "the schema, database or user of the target `{}`",
            target.key
        ),
        language: "SQL for Vault",
        why,
    })
}
