//! Why a command is not given a lease, as far as that can be known without a server.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;

use crate::config::{Config, Place, Twice, nearest};
use crate::dbt::Profile;

/// A value of an output that is compared with `expect:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// profiles.yml.
    pub file: PathBuf,
    /// Its line.
    pub line: usize,
    /// The key of the output.
    pub key: &'static str,
    /// Where `expect:` stands.
    pub at: Place,
}

impl fmt::Display for Compared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}: `{}`",
            self.file.display(),
            self.line,
            self.key
        )
    }
}

/// A refusal of the plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// dbt-lease.yml does not know the target.
    #[error("{}: target `{target}` of profile `{profile}` is not listed in any environment", file.display())]
    NotListed {
        /// dbt-lease.yml.
        file: PathBuf,
        /// The target.
        target: String,
        /// Its profile.
        profile: String,
        /// The nearest name, and the lines to add.
        hint: String,
    },
    /// Two entries mean the same target.
    #[error(
        "{}: target `{target}` of profile `{profile}` stands in environment `{}`, and already in environment `{}` ({})",
        twice.second, twice.later, twice.earlier, twice.first
    )]
    Ambiguous {
        /// The target.
        target: String,
        /// Its profile.
        profile: String,
        /// The two entries.
        twice: Box<Twice>,
    },
    /// A protected target that the user did not name in this call.
    #[error(
        "environment `{environment}` is protected, and its target `{target}` was not named: it comes {said}"
    )]
    NotNamed {
        /// The environment.
        environment: String,
        /// The target.
        target: String,
        /// Where it comes from.
        said: String,
        /// Whether the command is dbt.
        is_dbt: bool,
    },
    /// A protected environment over plain http.
    #[error(
        "environment `{environment}` is protected, and {address} is plain http to another machine"
    )]
    PlainHttp {
        /// The environment.
        environment: String,
        /// The address.
        address: String,
        /// Where the environment stands.
        at: Place,
    },
    /// A protected environment behind plain http, through a proxy.
    #[error(
        "environment `{environment}` is protected, and plain http to {address} would go through the proxy {proxy} ({said})"
    )]
    PlainThroughProxy {
        /// The environment.
        environment: String,
        /// The address.
        address: String,
        /// The proxy.
        proxy: String,
        /// Who says so.
        said: String,
    },
    /// A protected environment whose server is not verified.
    #[error(
        "environment `{environment}` is protected, and the certificate of {address} would not be verified (skip_verify)"
    )]
    SkipVerify {
        /// The environment.
        environment: String,
        /// The address.
        address: String,
        /// Where the environment stands.
        at: Place,
    },
    /// The user's own token would go to a server that the user did not name.
    #[error(
        "environment `{environment}` takes the user's own token ({at}), and {address} is not {}",
        own_server(own.as_deref())
    )]
    ForeignAddress {
        /// The environment.
        environment: String,
        /// The address in dbt-lease.yml.
        address: String,
        /// The address of the user's own variables, where there is one.
        own: Option<String>,
        /// Where the login stands.
        at: Place,
    },
    /// A value of the output is not what `expect:` says.
    #[error("{compared} {}, and {} expects `{expected}`", other(found.as_deref()), compared.at)]
    Unexpected {
        /// Which value.
        compared: Box<Compared>,
        /// What `expect:` says.
        expected: String,
        /// What the output says, where that cannot be a secret.
        found: Option<String>,
    },
    /// A value that `expect:` names is not known for certain.
    #[error("{compared} cannot be compared with what {} expects: {why}", compared.at)]
    NotComparable {
        /// Which value.
        compared: Box<Compared>,
        /// Why not.
        why: String,
    },
    /// A variable leads the database's client past the host.
    #[error("{at} expects a host, and {name} is set, which leads PostgreSQL's client elsewhere")]
    LedElsewhere {
        /// The variable.
        name: &'static str,
        /// Where `expect:` stands.
        at: Place,
    },
    /// Nobody says where Vault is.
    #[error("no address of Vault for environment `{environment}` ({at})")]
    NoAddress {
        /// The environment.
        environment: String,
        /// Where it stands.
        at: Place,
    },
    /// A session has one environment.
    #[error(
        "target `{target}` of profile `{profile}` is in environment `{its_own}` ({at}), and the first profile's in `{first}`: one session is for one environment"
    )]
    SeveralEnvironments {
        /// The further profile.
        profile: String,
        /// Its target.
        target: String,
        /// Where it stands in dbt-lease.yml.
        at: Box<Place>,
        /// Its environment.
        its_own: String,
        /// The first profile's.
        first: String,
    },
    /// What the session is for needs nothing.
    #[error(
        "several profiles, of which the first, `{profile}`, has the target `{target}`, which is `none`"
    )]
    FirstLendsNothing {
        /// The profile.
        profile: String,
        /// Its target.
        target: String,
    },
    /// Two profiles of one session want the same thing for themselves.
    #[error("two profiles of this session set {what}")]
    Clash {
        /// What they share.
        what: String,
    },
    /// `env:` sets a variable that nothing reads and no adapter knows.
    #[error(
        "{at}: `env:` sets {name}, which target `{target}` of profile `{profile}` does not read by env_var()"
    )]
    NotRead {
        /// Where `env:` sets it.
        at: Place,
        /// The variable.
        name: String,
        /// The profile.
        profile: String,
        /// The target.
        target: String,
    },
    /// The output reads a variable that the child does not get.
    #[error("{}:{line}: `{key}` reads {name}, which dbt does not get: it can log in to Vault", file.display())]
    KeptVariable {
        /// The variable.
        name: String,
        /// The key path in the output.
        key: String,
        /// profiles.yml.
        file: PathBuf,
        /// Its line.
        line: usize,
    },
    /// A client of PostgreSQL's for another database.
    #[error(
        "`{program}` speaks PostgreSQL's protocol, and the target `{target}` has the type {adapter}"
    )]
    OtherDatabase {
        /// The program.
        program: &'static str,
        /// The target.
        target: String,
        /// Its adapter.
        adapter: String,
    },
    /// A client for a target that borrows nothing: it would connect to whatever its own variables say.
    #[error(
        "the target `{target}` borrows nothing from Vault, so there is nothing to give to `{program}`"
    )]
    NothingForClient {
        /// The program.
        program: &'static str,
        /// The target.
        target: String,
    },
}

fn own_server(own: Option<&str>) -> String {
    match own {
        Some(own) => format!("the user's own server: that is {own} (BAO_ADDR, VAULT_ADDR)"),
        None => {
            "known to be the user's own server: neither BAO_ADDR nor VAULT_ADDR is set".to_owned()
        }
    }
}

fn other(found: Option<&str>) -> String {
    match found {
        Some(found) => format!("is `{found}`"),
        None => "is something else".to_owned(),
    }
}

impl PlanError {
    /// A stable word for JSON output.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotListed { .. } => "target_not_listed",
            Self::Ambiguous { .. } => "target_ambiguous",
            Self::NotNamed { .. } => "protected_target_not_named",
            Self::PlainHttp { .. } => "protected_plain_http",
            Self::PlainThroughProxy { .. } => "protected_plain_proxy",
            Self::SkipVerify { .. } => "protected_skip_verify",
            Self::ForeignAddress { .. } => "token_to_foreign_address",
            Self::Unexpected { .. } | Self::LedElsewhere { .. } => "unexpected_output",
            Self::NotComparable { .. } => "output_not_comparable",
            Self::NoAddress { .. } => "no_vault_address",
            Self::SeveralEnvironments { .. } => "several_environments",
            Self::FirstLendsNothing { .. } => "first_lends_nothing",
            Self::Clash { .. } => "profiles_clash",
            Self::NotRead { .. } => "variable_not_read",
            Self::KeptVariable { .. } => "variable_kept",
            Self::OtherDatabase { .. } => "other_database",
            Self::NothingForClient { .. } => "nothing_lent",
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotListed { hint, .. } => hint.clone(),
            Self::Ambiguous { .. } => "a target belongs to one environment: remove one of the two".to_owned(),
            Self::NotNamed { target, is_dbt, .. } => {
                let place = if *is_dbt { "to dbt's arguments" } else { "before `--`" };
                format!("add `--target {target}` {place}, or set DBT_TARGET={target} for this command")
            }
            Self::PlainThroughProxy { said, .. } => format!(
                "use https://, or unset {said}: what goes through a proxy in plain http, the proxy can read"
            ),
            Self::PlainHttp { at, .. } => format!("use https:// ({at}, `vault:` or VAULT_ADDR); plain http is for loopback alone"),
            Self::SkipVerify { at, .. } => {
                format!("remove skip_verify ({at}, `vault:` or VAULT_SKIP_VERIFY) and name the authority: `ca_cert: FILE`")
            }
            Self::ForeignAddress { address, .. } => format!(
                "if {address} is yours: export VAULT_ADDR={address}; else log in by a role of the project's (`method: approle`)"
            ),
            Self::Unexpected { compared, .. } => format!(
                "if {} is right, correct `expect` ({}); if not, nothing was lent to it",
                compared.file.display(),
                compared.at
            ),
            Self::NotComparable { compared, .. } => format!(
                "write `{}` into the output as a plain value, or as env_var() of a variable that dbt-lease does not set",
                compared.key
            ),
            Self::LedElsewhere { name, .. } => {
                format!("unset {name}, or take it out of `.env`; only `host` says where the credential goes")
            }
            Self::NoAddress { .. } => "set VAULT_ADDR, or write `vault: {address: https://HOST:8200}` into dbt-lease.yml".to_owned(),
            Self::SeveralEnvironments { .. } => {
                "run the command once for each environment, or choose targets of one: `--target` may be given once for each `--profile`".to_owned()
            }
            Self::FirstLendsNothing { .. } => "name the profile that borrows first".to_owned(),
            Self::Clash { .. } => "give each its own name in dbt-lease.yml, or run the command once for each profile".to_owned(),
            Self::NotRead { name, .. } => format!(
                "read it there (`\"{{{{ env_var('{name}') }}}}\"`), or use a name that begins with `DBT_ENV_SECRET_`, or one that the adapter's client reads by itself (PGPASSWORD, AWS_…)"
            ),
            Self::OtherDatabase { .. } => "name a target of PostgreSQL or Redshift: `--target NAME` before `--`".to_owned(),
            Self::NothingForClient { program, .. } => format!(
                "name a target that borrows: `--target NAME` before `--`; or run `{program}` by itself"
            ),
            Self::KeptVariable { .. } => {
                "give the output a variable of its own: a token that logs in must not reach dbt, whose packages could read it".to_owned()
            }
        })
    }

    /// [`PlanError::NotListed`], with what to do.
    pub(super) fn not_listed(config: &Config, profile: &Profile, own: Option<&str>) -> Self {
        let is_own = own == Some(profile.name.as_str());
        let mut listed = config
            .targets()
            .map(|(_, target)| target)
            .filter(|target| target.profile.as_deref().or(own) == Some(profile.name.as_str()))
            .map(|target| target.target.as_str());
        let target = &profile.target;
        let meant = match nearest(target, &mut listed) {
            Some(name) => format!("did you mean `--target {name}`? "),
            None => String::new(),
        };
        let line = if is_own {
            format!("{target}: database/creds/ROLE")
        } else {
            format!(
                "KEY: {{profile: {}, target: {target}, secrets: {{warehouse: database/creds/ROLE}}}}",
                profile.name
            )
        };
        let environments = config
            .environments
            .iter()
            .map(|environment| environment.name.as_str())
            .collect::<Vec<_>>();
        let hint = format!(
            "{meant}else add it under `targets` of the environment it belongs to ({}), with `none` for the path if it needs \
             nothing from Vault:\n    {line}",
            environments.join(", ")
        );
        Self::NotListed {
            file: config.file.clone(),
            target: target.clone(),
            profile: profile.name.clone(),
            hint,
        }
    }
}
