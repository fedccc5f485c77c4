//! Finding dbt-lease.yml, and reading it from the top.
#![forbid(unsafe_code)]

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Twice};
use super::server::Settings;
use super::walk::{Cursor, Document, Keys, Object};
use super::{
    Auth, Config, Environment, Lending, LentSecret, Target, auth, extends, isolation, server,
    target,
};
use crate::place::Place;
use crate::variables::{DBT_LEASE_CONFIG, Variables};

/// The one name that is found.
const NAME: &str = "dbt-lease.yml";
/// Names that people give it instead; found alone, they are an error, since silence would run dbt unleased.
const MISNAMED: [&str; 5] = [
    "dbt-lease.yaml",
    "dbt_lease.yml",
    "dbt_lease.yaml",
    ".dbt-lease.yml",
    "dbtlease.yml",
];
/// More than any real file, and little enough to be read by mistake.
const LARGEST: u64 = 1024 * 1024;

pub(super) const TOP: Keys = Keys {
    known: &["version", "extends", "vault", "environments"],
    later: &["parse_cache"],
    elsewhere: &[
        (
            "targets",
            "targets stand under their environment: `environments: {NAME: {targets: …}}`",
        ),
        (
            "auth",
            "a login stands under its environment: `environments: {NAME: {auth: …}}`",
        ),
    ],
};
const VERSION_HINT: &str = "write `version: 1` as the first line";

impl Config {
    /// The file that counts: `flag` (`--config`), else DBT_LEASE_CONFIG, else dbt-lease.yml beside dbt_project.yml. None
    /// where nothing is named and there is none.
    ///
    /// The project's links are followed first, since Cosmos runs dbt in a directory of links to its files. The file itself may be a link:
    /// whose it is must be asked of the link too.
    pub fn find(
        project_dir: Option<&Path>,
        flag: Option<&Path>,
        variables: &Variables,
    ) -> Result<Option<PathBuf>, ConfigError> {
        if let Some(file) = flag {
            return named(file, "--config").map(Some);
        }
        if let Some(file) = variables
            .os(DBT_LEASE_CONFIG)
            .filter(|value| !value.is_empty())
        {
            return named(Path::new(file), DBT_LEASE_CONFIG).map(Some);
        }
        let Some(project_dir) = project_dir else {
            return Ok(None);
        };
        let linked_from = fs::canonicalize(project_dir.join("dbt_project.yml"))
            .ok()
            .and_then(|file| file.parent().map(Path::to_owned));
        let directory = fs::canonicalize(project_dir).unwrap_or_else(|_| project_dir.to_owned());
        for directory in [Some(directory), linked_from].into_iter().flatten() {
            let expected = directory.join(NAME);
            // Not `exists`: a link that leads nowhere is a mistake to be told, not a project without dbt-lease.yml.
            if fs::symlink_metadata(&expected).is_ok() {
                return Ok(Some(expected));
            }
            for name in MISNAMED {
                let found = directory.join(name);
                if fs::symlink_metadata(&found).is_ok() {
                    return Err(ConfigError::Misnamed { found, expected });
                }
            }
        }
        Ok(None)
    }

    /// Reads and checks dbt-lease.yml. `variables` fill in what it leaves open: Vault's own variables, and HOME for `~/`.
    pub fn load(path: &Path, variables: &Variables) -> Result<Self, ConfigError> {
        let file = absolute(path);
        let text = read(&file)?;
        Ok(Self {
            named: path.to_owned(),
            ..Self::parse(&file, &text, variables)?
        })
    }

    /// [`Config::load`] of a text; `file` is where it stands, absolute.
    pub fn parse(file: &Path, text: &str, variables: &Variables) -> Result<Self, ConfigError> {
        let document = extends::resolve(Document::parse(file, text)?)?;
        let top = document
            .root()
            .object(&TOP, "a mapping with `version`, `vault` and `environments`")?;
        check_version(&top.cursor)?;
        let home = variables
            .os("HOME")
            .filter(|home| !home.is_empty())
            .map(Path::new);
        let from_variables = Settings::of_variables(variables)?;
        let shared = match top.get("vault") {
            Some(cursor) => Settings::of(
                &cursor.object(
                    &server::VAULT,
                    "a mapping of Vault's settings, for example `address: https://…`",
                )?,
                home,
                variables,
            )?,
            None => Settings::default(),
        };
        let hint =
            "write `environments: {NAME: {auth: …, targets: {TARGET: database/creds/ROLE}}}`";
        let environments = top.need("environments", hint)?;
        let entries = environments.entries("a mapping of environments by name")?;
        if entries.is_empty() {
            return Err(environments.bad("no environment", hint));
        }
        let environments = entries
            .iter()
            .map(|(name, cursor)| {
                environment(name, cursor, (&shared, &from_variables), (home, variables))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let config = Self {
            named: file.to_owned(),
            file: file.to_owned(),
            extends: document.extended(),
            fingerprint: document.fingerprint(),
            environments,
        };
        each_target_once(&config)?;
        isolation::check(&config)?;
        Ok(config)
    }
}

fn environment(
    name: &str,
    cursor: &Cursor<'_>,
    (shared, from_variables): (&Settings, &Settings),
    (home, variables): (Option<&Path>, &Variables),
) -> Result<Environment, ConfigError> {
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    {
        return Err(cursor.bad("not a name for an environment", "letters, digits and `._-`"));
    }
    let object = cursor.object(&server::ENVIRONMENT, "a mapping with `auth` and `targets`")?;
    let protected = object
        .get("protected")
        .map(Cursor::flag)
        .transpose()?
        .unwrap_or(false);
    let child_core_dumps = object
        .get("child_core_dumps")
        .map(Cursor::flag)
        .transpose()?
        .unwrap_or(!protected);
    let said = Settings::of(&object, home, variables)?.over(shared.clone());
    let says = said.rows();
    let server = said.over(from_variables.clone()).server(variables);
    let context = auth::Context {
        home,
        variables,
        environment: name,
        address: server.as_ref().map(|server| server.address.as_str()),
        client: server
            .as_ref()
            .and_then(|server| auth::client_certificate(server, variables)),
    };
    let login = object
        .get("auth")
        .map(|cursor| auth::read(cursor, &context))
        .transpose()?;
    let targets = targets(&object)?;
    let lends = targets
        .iter()
        .find(|target| matches!(target.lending, Lending::Lent(_)));
    if let (None, Some(target)) = (&login, lends) {
        return Err(ConfigError::NoLogin {
            at: target.at.clone(),
            target: target.key.clone(),
            environment: name.to_owned(),
        });
    }
    refuse_empty_cubbyholes(name, login.as_ref(), &targets)?;
    let auth_at = object.get("auth").map_or_else(|| cursor.at(), Cursor::at);
    Ok(Environment {
        name: name.to_owned(),
        protected,
        child_core_dumps,
        says,
        server,
        auth: login,
        targets,
        at: cursor.at(),
        auth_at,
    })
}

/// A cubbyhole belongs to one token; only one that is there already can have anything in it.
fn refuse_empty_cubbyholes(
    environment: &str,
    login: Option<&Auth>,
    targets: &[Target],
) -> Result<(), ConfigError> {
    if login.is_some_and(Auth::is_ready_made) {
        return Ok(());
    }
    let secrets = targets.iter().flat_map(|target| match &target.lending {
        Lending::Lent(lent) => lent.secrets.as_slice(),
        Lending::None => &[],
    });
    let of_cubbyhole = |secret: &&LentSecret| {
        secret
            .request
            .known
            .is_some_and(|known| known.engine == "cubbyhole")
    };
    match secrets.into_iter().find(of_cubbyhole) {
        None => Ok(()),
        Some(secret) => Err(ConfigError::BadValue {
            at: secret.at.clone(),
            key: format!("environments.{environment}: {}", secret.request.path),
            problem: "a cubbyhole is one token's own, and this login makes a new token, whose is empty".to_owned(),
            hint: "`auth: {method: token}` reads that of the user's own token; a KV path is there for all".to_owned(),
        }),
    }
}

fn targets(environment: &Object<'_>) -> Result<Vec<Target>, ConfigError> {
    environment
        .need("targets", "write `targets: {TARGET: database/creds/ROLE}`, or `TARGET: none` for what needs nothing from Vault")?
        .entries("a mapping of targets by name")?
        .iter()
        .map(|(key, cursor)| target::read(key, cursor))
        .collect()
}

fn each_target_once(config: &Config) -> Result<(), ConfigError> {
    let all: Vec<_> = config.targets().collect();
    for (at, (environment, target)) in all.iter().enumerate() {
        let same = |(_, other): &&(&Environment, &Target)| {
            other.profile == target.profile && other.target == target.target
        };
        if let Some((earlier, first)) = all[..at].iter().find(same) {
            let name = match &target.profile {
                Some(profile) => format!("`{}` of profile `{profile}`", target.target),
                None => format!("`{}`", target.target),
            };
            return Err(ConfigError::TargetTwice {
                twice: Box::new(Twice {
                    earlier: earlier.name.clone(),
                    first: first.at.clone(),
                    later: environment.name.clone(),
                    second: target.at.clone(),
                }),
                target: name,
            });
        }
    }
    Ok(())
}

fn named(file: &Path, said: &'static str) -> Result<PathBuf, ConfigError> {
    match fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(ConfigError::NotFound {
            file: file.to_owned(),
            said,
        }),
        _ => Ok(std::path::absolute(file).unwrap_or_else(|_| file.to_owned())),
    }
}

/// Refuses another format than ours.
pub(super) fn check_version(top: &Cursor<'_>) -> Result<(), ConfigError> {
    let top = top.object(&TOP, "a mapping with `version`, `vault` and `environments`")?;
    let version = top.need("version", VERSION_HINT)?;
    if version.whole("the number 1")? != 1 {
        return Err(version.bad("a version that this dbt-lease does not know", VERSION_HINT));
    }
    Ok(())
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path)
        .or_else(|_| std::path::absolute(path))
        .unwrap_or_else(|_| path.to_owned())
}

/// The text of a file, within bounds.
pub(super) fn read(file: &Path) -> Result<String, ConfigError> {
    let unreadable = |problem: String| ConfigError::Unreadable {
        file: file.to_owned(),
        problem,
    };
    let metadata = fs::metadata(file).map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let opened = fs::File::open(file).map_err(|error| unreadable(error.to_string()))?;
    opened
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(unreadable("larger than 1 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        ConfigError::Syntax {
            at: Place::of_line(file, Some(line)),
            problem: "not UTF-8".to_owned(),
        }
    })
}
