//! `check`: what stands in the way of a loan, or makes one of our promises untrue, with what puts it right.
//!
//! One file a family: [`machine`], [`outputs`]; and, where dbt-lease.yml is trusted, by environment `server`, `login`, `permissions`,
//! `roles`, `expiry`, `audit`; and `isolation` between them. Nothing is lent. What has a side effect are logins: their tokens are
//! revoked before [`environments`] is done, in [`Held::give_back`] at the latest.
#![forbid(unsafe_code)]

mod audit;
mod expiry;
mod finding;
mod isolation;
mod login;
pub mod machine;
pub mod outputs;
mod permissions;
mod roles;
mod server;
mod visit;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

pub use finding::{Cure, Finding, State, quoted};
use visit::Visit;

use crate::config::{Auth, Config, Environment, Server};
use crate::plan;
use crate::variables::Variables;
use crate::vault::auth::{self, Person, Surroundings, Token};
use crate::vault::client::Client;
use crate::vault::error::VaultError;
use crate::vault::look;
use crate::vault::take_back::{TokenEnd, take_back};

/// Nobody waits a minute for a server that does not answer, to be told that.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long the tokens' end may take.
const WITHIN: Duration = Duration::from_secs(10);

/// What a look is made in.
pub struct Looker<'a> {
    /// The whole configuration: isolation is between all environments.
    pub config: &'a Config,
    /// The process environment.
    pub variables: &'a Variables,
    /// Who can be asked.
    pub person: &'a dyn Person,
    /// The session's id, for the servers' logs.
    pub session: &'a str,
    /// Whether the user named the environment's target: then its identity should be here.
    pub is_named: bool,
    /// Environments whose outputs set a role for each connection themselves.
    pub with_role_key: &'a BTreeSet<String>,
}

impl Looker<'_> {
    /// A client that does not try again: that something does not answer at once is what is to be found.
    fn client(&self, server: &Server) -> Result<Client, VaultError> {
        let server = Server {
            max_retries: 0,
            timeout: server.timeout.min(PATIENCE),
            ..server.clone()
        };
        Client::new(&server, self.session)
    }
}

/// The tokens that are to be revoked, with the client of each.
#[derive(Default)]
pub struct Held {
    tokens: RefCell<Vec<(Rc<Client>, Token)>>,
    /// Whether a login is on its way: its token may be there already, and nobody has seen it yet.
    is_open: Cell<bool>,
}

impl Held {
    /// Logs in, and keeps the token where it is ours to revoke.
    async fn log_in(
        &self,
        client: &Rc<Client>,
        login: impl Future<Output = Result<Token, VaultError>>,
    ) -> Result<Token, VaultError> {
        self.is_open.set(true);
        let answer = login.await;
        if let Ok(token) = &answer
            && token.own
        {
            let kept = (Rc::clone(client), token.clone());
            self.tokens.borrow_mut().push(kept);
        }
        self.is_open.set(false);
        answer
    }

    /// Waits until no login is on its way. To be polled after the look itself, in the same task, which wakes both.
    pub async fn closed(&self) {
        std::future::poll_fn(|_| {
            if self.is_open.get() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
    }

    async fn give_back_last(&self) {
        let last = self.tokens.borrow().last().cloned();
        if let Some((client, token)) = last
            && revoked(&client, &token).await.is_none()
        {
            self.tokens.borrow_mut().pop();
        }
    }

    /// Revokes what is still there; what could not be.
    pub async fn give_back(&self) -> Vec<Finding> {
        let all = self.tokens.take();
        let mut left = Vec::new();
        for (client, token) in all {
            left.extend(revoked(&client, &token).await);
        }
        left
    }
}

/// Revokes a token of ours; none where it is gone.
async fn revoked(client: &Client, token: &Token) -> Option<Finding> {
    match take_back(client, token, Vec::new(), WITHIN).await.token {
        TokenEnd::Failed { why, hint } => Some(
            Finding::new(
                State::Failure,
                "token_revoked",
                format!("the token of this look was not revoked: {why}"),
                "whoever finds it can borrow more",
            )
            .with(hint.map(Cure::Action)),
        ),
        _ => None,
    }
}

/// What was found, and what was asked with.
#[derive(Default)]
pub struct Seen {
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
    /// The environments whose identity is here.
    pub at_hand: Vec<String>,
    /// The least policy of this look, by environment: what it asked beside what a run needs.
    pub policies: Vec<(String, String)>,
}

/// The ways to the servers, as far as the settings tell: nothing is sent.
pub fn ways(chosen: &[&Environment], variables: &Variables) -> Vec<Finding> {
    let of_one = |environment: &&Environment| {
        if environment.auth.is_none() {
            return Vec::new();
        }
        match plan::reach(environment, variables) {
            Ok((server, _)) => server::way(environment, server),
            Err(error) => vec![server::not_reached(environment, &error)],
        }
    };
    chosen.iter().flat_map(of_one).collect()
}

/// Looks at environments, each by itself and all against each other.
pub async fn environments(looker: &Looker<'_>, chosen: &[&Environment], held: &Held) -> Seen {
    let mut seen = Seen::default();
    let mut visits = Vec::new();
    for environment in chosen {
        seen.findings
            .extend(expiry::certificate(environment, SystemTime::now()));
        let (found, visit) = one(looker, environment, held).await;
        seen.findings.extend(found);
        visits.extend(visit);
    }
    seen.findings
        .extend(isolation::look(looker, &visits, chosen, held).await);
    for visit in &visits {
        let name = visit.environment.name.clone();
        seen.policies
            .push((name.clone(), permissions::of_check(visit).join("\n")));
        seen.at_hand.push(name);
    }
    seen
}

/// One environment: its server, its login, what its token may do, its roles.
async fn one<'a>(
    looker: &Looker<'_>,
    environment: &'a Environment,
    held: &Held,
) -> (Vec<Finding>, Option<Visit<'a>>) {
    let of = |finding: Finding| finding.of(&environment.name);
    if environment.auth.is_none() {
        let nothing = Finding::ok(
            "nothing_lent",
            "nothing is lent here, so there is nothing to look at",
        );
        return (vec![of(nothing)], None);
    }
    // Why there is none was told by `ways`.
    let Ok((server, auth)) = plan::reach(environment, looker.variables) else {
        return (Vec::new(), None);
    };
    let mut found = Vec::new();
    let client = match looker.client(server) {
        Ok(client) => Rc::new(client),
        Err(error) => {
            found.extend(server::judged(environment, &server.address, &Err(error)));
            return (found, None);
        }
    };
    let health = look::health(&client).await;
    found.extend(server::judged(environment, &server.address, &health));
    if !health.is_ok_and(|health| !health.sealed) {
        return (found, None);
    }
    if let Some(not_tried) = login::not_tried(auth) {
        found.push(of(not_tried));
        return (found, None);
    }
    let around = Surroundings {
        variables: looker.variables,
        person: looker.person,
    };
    let login = auth::login(&client, auth, around);
    let token = match held.log_in(&client, login).await {
        Ok(token) => token,
        Err(error) => {
            found.push(of(login::failed(
                environment,
                auth,
                &error,
                looker.is_named,
            )));
            return (found, None);
        }
    };
    let visit = Visit {
        environment,
        server,
        auth,
        client,
        token,
    };
    found.extend(of_token(looker, &visit, held).await.into_iter().map(of));
    (found, Some(visit))
}

async fn of_token(looker: &Looker<'_>, visit: &Visit<'_>, held: &Held) -> Vec<Finding> {
    let looked_up = auth::looked_up(&visit.client, &visit.token).await.ok();
    let mut found = login::token(visit, looked_up.as_ref());
    found.extend(isolation::without_secret_id(looker, visit, held).await);
    if visit.token.is_root {
        return found;
    }
    let asked = permissions::paths(visit);
    let known = look::capabilities(&visit.client, &visit.token, &asked).await;
    match &known {
        Ok(known) => found.extend(permissions::judged(visit, known)),
        Err(error) => found.push(permissions::not_known(visit, error)),
    }
    let has_role_key = looker.with_role_key.contains(&visit.environment.name);
    let mut longest = None;
    for secret in visit::secrets(visit.environment) {
        let may_read = known.as_ref().is_ok_and(|known| {
            let capabilities = known.get(&secret.request.path);
            capabilities.is_some_and(|capabilities| !capabilities.is_empty())
        });
        let (of_role, lives) = roles::look(visit, secret, (may_read, has_role_key)).await;
        found.extend(of_role);
        longest = longest.max(lives);
    }
    found.extend(login::life(visit, looked_up.as_ref(), longest));
    if matches!(visit.auth, Auth::AppRole(_)) {
        found.extend(expiry::secret_id(visit, looker.variables).await);
    }
    found.extend(expiry::token(visit));
    found.push(audit::look(visit).await);
    found
}
