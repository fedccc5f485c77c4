//! The plan: target → environment → login and secrets, and the rules that keep environments apart.
//!
//! Pure: no file is read and no server is asked. What can be refused without a network is refused here.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use crate::config::{
    Auth, BridgeName, Config, Environment, Expect, FieldValue, Lending, Lent, LentSecret,
    Operation, Server, Target, Twice, bridge_name, is_this_machines, login_variables,
    own_addresses,
};
use crate::dbt::{Need, Other, Profile, Resolved};
use crate::variables::Variables;

pub mod client;
mod env_vars;
mod error;
pub mod expect;
pub mod policy;
#[cfg(test)]
mod tests;
mod view;

pub use client::ClientView;
pub use env_vars::{Read, read_by};
pub use error::{Compared, PlanError};
pub use policy::of_environment;
pub use view::{
    DeliveryView, LoginView, OtherView, ParseCacheView, ProjectView, Request, SecretView,
};

/// What would be used for a command, and why. Its JSON is `plan --json`, whose keys and order are an interface.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The project, where there is one.
    pub project: Option<ProjectView>,
    /// The profiles.yml that dbt would read, absolute.
    pub profiles_file: Option<PathBuf>,
    /// The profile's name.
    pub profile: Option<String>,
    /// The target's name.
    pub target: Option<String>,
    /// The environment; none without dbt-lease.yml, and for a command that reads no profile.
    pub environment: Option<String>,
    /// Whether it is protected.
    pub protected: Option<bool>,
    /// What the command needs.
    pub lease: Lease,
    /// The login; none where nothing is lent.
    pub login: Option<LoginView>,
    /// The target's secrets.
    pub secrets: Option<Vec<SecretView>>,
    /// How they reach dbt; none where nothing is lent.
    pub delivery: Option<DeliveryView>,
    /// What dbt would find in its parse cache; the key is absent where nothing is lent, and without a look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parse_cache: Option<ParseCacheView>,
    /// The further profiles of the session; the key is absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<OtherView>,
    /// PostgreSQL's own client, which gets the target in variables; the key is absent for any other command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientView>,
    /// The requests to Vault, in order; empty where nothing is lent.
    pub requests: Option<Vec<Request>>,
    /// The least policy, as HCL, that allows them; empty where nothing is lent.
    pub policy: Option<String>,
    /// Where each choice came from.
    pub sources: BTreeMap<&'static str, String>,
    /// What `exec` needs beyond what is shown; none without dbt-lease.yml or without a target.
    #[serde(skip)]
    pub loan: Option<Loan>,
    /// The variables that the child must not get (DESIGN, rule 4); empty without dbt-lease.yml.
    #[serde(skip)]
    pub login_variables: BTreeSet<String>,
}

/// What is lent for a target that lends.
#[derive(Clone, Debug)]
pub struct Loan {
    /// How to reach Vault and log in; none for a placeholder, which asks Vault nothing.
    pub session: Option<Session>,
    /// The target's secrets and where their fields go.
    pub lent: Lent,
    /// Where the output must lead, see [`expect::check`].
    pub expect: Expect,
    /// The same of the further profiles, in order; none for a target that is `none`.
    pub others: Vec<Option<Further>>,
}

/// What is lent for a further profile of the session.
#[derive(Clone, Debug)]
pub struct Further {
    /// The target's secrets and where their fields go.
    pub lent: Lent,
    /// Where the output must lead.
    pub expect: Expect,
}

impl Plan {
    /// The same with what `exec --verify lease` asks: each lease is looked up after its revocation.
    #[must_use]
    pub fn with_lookups(mut self) -> Self {
        let (Some(loan), Some(requests), Some(policy)) =
            (&self.loan, &mut self.requests, &mut self.policy)
        else {
            return self;
        };
        if loan.session.is_none() {
            return self;
        }
        let lent = loan.all().flatten();
        let secrets: Vec<LentSecret> = lent
            .flat_map(|(lent, _)| &lent.secrets)
            .filter(|secret| secret.may_lease())
            .cloned()
            .collect();
        let after = requests
            .iter()
            .rposition(|request| request.path == "sys/leases/revoke");
        if let Some(after) = after {
            let lookup = Request {
                method: "PUT",
                path: "sys/leases/lookup".to_owned(),
            };
            let lookups = std::iter::repeat_n(lookup, secrets.len());
            requests.splice(after + 1..=after, lookups);
            policy.push_str(&policy::lookups(&secrets));
        }
        self
    }
}

impl Loan {
    /// What is lent for each profile, the first one's first; none for a target that is `none`.
    pub fn all(&self) -> impl Iterator<Item = Option<(&Lent, &Expect)>> {
        let others = self.others.iter().map(Option::as_ref);
        std::iter::once(Some((&self.lent, &self.expect)))
            .chain(others.map(|further| further.map(|further| (&further.lent, &further.expect))))
    }
}

/// Where and how to log in.
#[derive(Clone, Debug)]
pub struct Session {
    /// The server.
    pub server: Server,
    /// The login.
    pub auth: Auth,
    /// Whether a crash of the command may leave a core file, which would hold the credential.
    pub child_core_dumps: bool,
}

/// What a command needs from Vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lease {
    /// Leased credentials.
    Needed,
    /// A valid profile with placeholders: the command does not connect.
    Placeholder,
    /// Nothing: the command reads no profile, or the target is `none`.
    None,
}

/// Plans a command: which environment its target belongs to, what is asked of Vault, and whether that may be.
///
/// Without `config` the plan says only what the command would need. Leases are listed as far as they can be known: each
/// secret that may come with one ([`LentSecret::may_lease`]) has its revocation, which is left out at run time if Vault gave
/// none.
pub fn plan(
    resolved: &Resolved,
    config: Option<&Config>,
    variables: &Variables,
) -> Result<Plan, PlanError> {
    let mut plan = Plan::of(resolved);
    let Some(config) = config else {
        return Ok(plan);
    };
    plan.sources
        .insert("config", config.file.display().to_string());
    plan.login_variables = login_variables(config, variables);
    // From here on the keys that speak of Vault are not null: with dbt-lease.yml it is known that nothing is asked.
    plan.secrets = Some(Vec::new());
    plan.requests = Some(Vec::new());
    plan.policy = Some(String::new());
    let (Need::Lease | Need::Placeholder, Some(profile)) = (resolved.need, &resolved.profile)
    else {
        return Ok(plan);
    };
    let own_profile = resolved
        .project
        .as_ref()
        .and_then(|project| project.profile.as_deref());
    let (environment, target) = entry(config, profile, own_profile)?;
    plan.environment = Some(environment.name.clone());
    plan.protected = Some(environment.protected);
    plan.sources
        .insert("environment", format!("from {}", target.at));
    let read = env_vars::read_by(&profile.output);
    refuse_kept_variables(profile, target, &read, &plan.login_variables)?;
    let client = client::of(&resolved.argv).filter(|_| !resolved.is_dbt);
    let Lending::Lent(lent) = &target.lending else {
        if let Some(program) = client {
            return Err(PlanError::NothingForClient {
                program,
                target: profile.target.clone(),
            });
        }
        if !resolved.others.is_empty() {
            return Err(PlanError::FirstLendsNothing {
                profile: profile.name.clone(),
                target: profile.target.clone(),
            });
        }
        plan.lease = Lease::None;
        return Ok(plan);
    };
    refuse_odd_bridges(profile, lent, &read)?;
    if let Some(program) = client {
        plan.client = Some(client::view(program, profile)?);
        plan.login_variables
            .extend(client::LEADS_ELSEWHERE.map(str::to_owned));
    }
    let others = others(
        resolved,
        config,
        environment,
        own_profile,
        &plan.login_variables,
    )?;
    refuse_clashes(lent, &others)?;
    plan.others = resolved
        .others
        .iter()
        .zip(&others)
        .map(|(other, further)| {
            let lent = further.as_ref().map(|further| &further.lent);
            OtherView::of(&other.profile, lent)
        })
        .collect();
    plan.secrets = Some(lent.secrets.iter().map(SecretView::of).collect());
    plan.delivery = Some(DeliveryView::of(lent.delivery));
    let session = match resolved.need {
        Need::Lease => Some(session(resolved, environment, variables)?),
        Need::Placeholder | Need::None => None,
    };
    if let Some(session) = &session {
        plan.login = Some(LoginView::of(&session.auth));
        let further = others
            .iter()
            .flatten()
            .flat_map(|further| &further.lent.secrets);
        let secrets: Vec<LentSecret> = lent.secrets.iter().chain(further).cloned().collect();
        let wrapped = session.server.wrap_ttl.is_some();
        plan.requests = Some(requests(&session.auth, &secrets, wrapped));
        plan.policy = Some(policy::least(&session.auth, &secrets));
        plan.sources.insert("login", session.auth.source());
        plan.sources.insert("address", reached(&session.server));
    }
    plan.loan = Some(Loan {
        session,
        lent: lent.clone(),
        expect: target.expect.clone(),
        others,
    });
    Ok(plan)
}

impl Plan {
    /// What holds without dbt-lease.yml.
    fn of(resolved: &Resolved) -> Self {
        let profile = resolved.profile.as_ref();
        let mut sources = BTreeMap::new();
        if let Some(from) = &resolved.sources {
            sources.insert("project", from.project.said.clone());
            sources.insert("profiles_dir", from.profiles_dir.said.clone());
            sources.insert("profile", from.profile.said.clone());
            sources.insert("target", from.target.said.clone());
            sources.insert("dbt", resolved.engine.said());
        }
        Self {
            project: resolved.project.as_ref().map(|project| ProjectView {
                name: project.name.clone(),
                dir: project.dir.clone(),
            }),
            profiles_file: profile.map(|profile| profile.file.clone()),
            profile: profile.map(|profile| profile.name.clone()),
            target: profile.map(|profile| profile.target.clone()),
            environment: None,
            protected: None,
            lease: match resolved.need {
                Need::Lease => Lease::Needed,
                Need::Placeholder => Lease::Placeholder,
                Need::None => Lease::None,
            },
            login: None,
            secrets: None,
            delivery: None,
            parse_cache: None,
            others: Vec::new(),
            client: None,
            requests: None,
            policy: None,
            sources,
            loan: None,
            login_variables: BTreeSet::new(),
        }
    }
}

/// The entry that means the chosen target. Two can, since a free key may name the project's own profile.
fn entry<'c>(
    config: &'c Config,
    profile: &Profile,
    own: Option<&str>,
) -> Result<(&'c Environment, &'c Target), PlanError> {
    let mut entries = config
        .targets()
        .filter(|(_, target)| target.is(&profile.name, &profile.target, own));
    let Some(first) = entries.next() else {
        return Err(PlanError::not_listed(config, profile, own));
    };
    match entries.next() {
        None => Ok(first),
        Some((environment, target)) => Err(PlanError::Ambiguous {
            target: profile.target.clone(),
            profile: profile.name.clone(),
            twice: Box::new(Twice {
                earlier: first.0.name.clone(),
                first: first.1.at.clone(),
                later: environment.name.clone(),
                second: target.at.clone(),
            }),
        }),
    }
}

/// What is lent for the further profiles, all in the one environment.
fn others(
    resolved: &Resolved,
    config: &Config,
    environment: &Environment,
    own_profile: Option<&str>,
    login_variables: &BTreeSet<String>,
) -> Result<Vec<Option<Further>>, PlanError> {
    let mut others = Vec::new();
    for Other { profile, .. } in &resolved.others {
        let (its_own, target) = entry(config, profile, own_profile)?;
        if its_own.name != environment.name {
            return Err(PlanError::SeveralEnvironments {
                profile: profile.name.clone(),
                target: profile.target.clone(),
                at: Box::new(target.at.clone()),
                its_own: its_own.name.clone(),
                first: environment.name.clone(),
            });
        }
        let read = env_vars::read_by(&profile.output);
        refuse_kept_variables(profile, target, &read, login_variables)?;
        others.push(match &target.lending {
            Lending::Lent(lent) => {
                refuse_odd_bridges(profile, lent, &read)?;
                Some(Further {
                    lent: lent.clone(),
                    expect: target.expect.clone(),
                })
            }
            Lending::None => None,
        });
    }
    Ok(others)
}

/// All share one environment of variables and one directory of files.
fn refuse_clashes(first: &Lent, others: &[Option<Further>]) -> Result<(), PlanError> {
    let mut variables = BTreeSet::new();
    let mut files = BTreeSet::new();
    let further = others.iter().flatten().map(|further| &further.lent);
    for lent in std::iter::once(first).chain(further) {
        for bridge in &lent.env {
            if !variables.insert(&bridge.name) {
                return Err(PlanError::Clash {
                    what: format!("the variable {}", bridge.name),
                });
            }
        }
        for (key, value) in &lent.fields {
            if matches!(value, FieldValue::File(_)) && !files.insert(key) {
                return Err(PlanError::Clash {
                    what: format!("the file of `fields.{key}`"),
                });
            }
        }
    }
    Ok(())
}

/// What "protected" means (DESIGN) as far as it can be seen without a server, and what is needed to reach one.
fn session(
    resolved: &Resolved,
    environment: &Environment,
    variables: &Variables,
) -> Result<Session, PlanError> {
    let name = || environment.name.clone();
    if environment.protected {
        let first = resolved.sources.as_ref().map(|sources| &sources.target);
        let first = resolved.profile.iter().zip(first);
        let further = resolved.others.iter();
        let targets = first.chain(further.map(|other| (&other.profile, &other.target)));
        for (profile, source) in targets {
            if !source.named {
                return Err(PlanError::NotNamed {
                    environment: name(),
                    target: profile.target.clone(),
                    said: source.said.clone(),
                    is_dbt: resolved.is_dbt,
                });
            }
        }
    }
    let (server, auth) = reach(environment, variables)?;
    Ok(Session {
        child_core_dumps: environment.child_core_dumps,
        server: server.clone(),
        auth: auth.clone(),
    })
}

/// How an environment's Vault is reached, and the login to it, under the rules that hold for every login.
///
/// # Errors
/// It has no address; a protected one without TLS that is verified; the user's own token would go to somebody else's address.
pub fn reach<'e>(
    environment: &'e Environment,
    variables: &Variables,
) -> Result<(&'e Server, &'e Auth), PlanError> {
    let name = || environment.name.clone();
    let (Some(server), Some(auth)) = (&environment.server, &environment.auth) else {
        return Err(PlanError::NoAddress {
            environment: name(),
            at: environment.at.clone(),
        });
    };
    if environment.protected {
        for address in server
            .addresses()
            .filter(|address| address.starts_with("http://"))
        {
            if !is_this_machines(address) {
                return Err(PlanError::PlainHttp {
                    environment: name(),
                    address: address.to_owned(),
                    at: environment.at.clone(),
                });
            }
            // Plain http to this machine never leaves it, but by a proxy that was said for Vault.
            if let Some(proxy) = server.proxies.of(address) {
                return Err(PlanError::PlainThroughProxy {
                    environment: name(),
                    address: address.to_owned(),
                    proxy: proxy.shown(),
                    said: proxy.said.clone(),
                });
            }
        }
        if server.skip_verify {
            return Err(PlanError::SkipVerify {
                environment: name(),
                address: server.address.clone(),
                at: environment.at.clone(),
            });
        }
    }
    if auth.takes_users_token() {
        own_token_goes_home(environment, server, variables)?;
    }
    Ok((server, auth))
}

/// The addresses, and the proxy before each, for people.
fn reached(server: &Server) -> String {
    let one = |address: &str| match server.proxies.of(address) {
        Some(proxy) => format!(
            "{address} through the proxy {} ({})",
            proxy.shown(),
            proxy.said
        ),
        None => address.to_owned(),
    };
    server.addresses().map(one).collect::<Vec<_>>().join(", ")
}

/// A token of the user's own opens more than this project: it goes where the user's own variables say, and nowhere that a
/// file says.
fn own_token_goes_home(
    environment: &Environment,
    server: &Server,
    variables: &Variables,
) -> Result<(), PlanError> {
    // A variable that is no address was refused when dbt-lease.yml was read.
    let own = own_addresses(variables).unwrap_or_default();
    let Some(foreign) = server
        .addresses()
        .find(|address| own.iter().all(|own| own != address))
    else {
        return Ok(());
    };
    Err(PlanError::ForeignAddress {
        environment: environment.name.clone(),
        address: foreign.to_owned(),
        own: own.into_iter().next(),
        at: environment.auth_at.clone(),
    })
}

/// The child has no login sources, so an output that reads one would fail in dbt, or be something else than it was.
fn refuse_kept_variables(
    profile: &Profile,
    target: &Target,
    read: &[env_vars::Read],
    kept: &BTreeSet<String>,
) -> Result<(), PlanError> {
    let set_by_us: BTreeSet<&str> = match &target.lending {
        Lending::Lent(lent) => lent.env.iter().map(|bridge| bridge.name.as_str()).collect(),
        Lending::None => BTreeSet::new(),
    };
    match read
        .iter()
        .find(|read| kept.contains(&read.name) && !set_by_us.contains(read.name.as_str()))
    {
        None => Ok(()),
        Some(read) => Err(PlanError::KeptVariable {
            name: read.name.clone(),
            key: read.key.clone(),
            file: profile.file.clone(),
            line: read.line,
        }),
    }
}

fn refuse_odd_bridges(
    profile: &Profile,
    lent: &Lent,
    read: &[env_vars::Read],
) -> Result<(), PlanError> {
    let odd = |name: &str| {
        bridge_name(name) == BridgeName::IfRead && !read.iter().any(|read| read.name == name)
    };
    match lent.env.iter().find(|bridge| odd(&bridge.name)) {
        None => Ok(()),
        Some(bridge) => Err(PlanError::NotRead {
            at: bridge.at.clone(),
            name: bridge.name.clone(),
            profile: profile.name.clone(),
            target: profile.target.clone(),
        }),
    }
}

/// The requests in order. A token that is there already is looked up, which takes the login's place, and is not revoked.
fn requests(auth: &Auth, secrets: &[LentSecret], wrapped: bool) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut ask = |method, path: &str| {
        requests.push(Request {
            method,
            path: path.to_owned(),
        })
    };
    for (method, path) in auth.requests() {
        ask(method, &path);
    }
    for secret in secrets {
        let method = match secret.request.operation {
            Operation::Read => "GET",
            Operation::Write(_) => "POST",
        };
        ask(method, &secret.request.path);
        if wrapped {
            ask("PUT", "sys/wrapping/lookup");
            ask("PUT", "sys/wrapping/unwrap");
        }
        // Where the request takes no TTL and the engine's own differs, one renewal gives what is wanted.
        if secret.ttl.is_some() && !secret.asks_for_ttl() {
            ask("PUT", "sys/leases/renew");
        }
    }
    for _ in secrets.iter().filter(|secret| secret.may_lease()) {
        ask("PUT", "sys/leases/revoke");
    }
    if !auth.is_ready_made() {
        ask("POST", "auth/token/revoke-self");
    }
    requests
}
