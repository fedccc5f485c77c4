//! A login: whether it works, and what its token is.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::finding::{Cure, Finding, State, quoted, write, write_policy};
use super::visit::{self, Visit, role_data};
use crate::config::{Auth, Environment, How, SecretId};
use crate::vault::auth::{Note, Token, TokenKind};
use crate::vault::error::VaultError;
use crate::vault::fields::Fields;

const LOGIN: &str = "login";

/// Why a login is not even tried; none where it is.
pub(super) fn not_tried(auth: &Auth) -> Option<Finding> {
    match auth {
        Auth::AppRole(approle)
            if matches!(
                approle.secret_id,
                SecretId::WrappedFile(_) | SecretId::WrappedVariable(_)
            ) =>
        {
            Some(
                Finding::new(
                    State::NotProven,
                    LOGIN,
                    "the secret id is wrapped and can be unwrapped once: a look would use it up",
                    "whether it opens the role shows in the run that it is for",
                )
                .cured_by(Cure::Action(
                    "run `dbt-lease check` with a secret id of its own: `secret_id_file: FILE` in another dbt-lease.yml (`--config`)".to_owned(),
                )),
            )
        }
        _ => None,
    }
}

/// A login that gave nothing.
///
/// A CI system gives a token for any audience to any job: that a job which is not this environment's is refused is then as it should be.
pub(super) fn failed(
    environment: &Environment,
    auth: &Auth,
    error: &VaultError,
    is_named: bool,
) -> Finding {
    let is_asked = matches!(auth, Auth::Jwt(jwt) if jwt.token.how == How::Asked);
    if is_asked && !is_named && matches!(error.code(), Some(400 | 403)) {
        return Finding::new(
            State::NotProven,
            LOGIN,
            format!("this job is refused {}'s role: {error}", environment.name),
            "where the job is none of this environment's that is right; where it is one, no run can borrow anything",
        )
        .cured_by(Cure::Action(format!(
            "run `dbt-lease check --target TARGET` in a job that is {}'s",
            environment.name
        )));
    }
    let is_missing = matches!(
        error,
        VaultError::Source { .. }
            | VaultError::NoToken { .. }
            | VaultError::NoIdentity { .. }
            | VaultError::Identity { .. }
            | VaultError::Aws(_)
            | VaultError::NobodyToAsk { .. }
            | VaultError::SecondFactor { .. }
            | VaultError::Browser { .. }
    );
    if is_missing {
        return Finding::new(
            State::NotProven,
            LOGIN,
            format!("its identity is not here: {error}"),
            "what it may do, and what it may not, shows only where it is",
        )
        .with(Some(Cure::Action(format!(
            "run `dbt-lease check` where {} logs in{}",
            environment.name,
            error
                .hint()
                .map_or(String::new(), |hint| format!("; or: {hint}"))
        ))));
    }
    Finding::new(
        State::Failure,
        LOGIN,
        error.to_string(),
        "no run of this environment can borrow anything",
    )
    .with(new_secret_id(auth, error).or(error.hint().map(Cure::Action)))
}

/// A new secret id in the place of one that does not work.
fn new_secret_id(auth: &Auth, error: &VaultError) -> Option<Cure> {
    let Auth::AppRole(approle) = auth else {
        return None;
    };
    if error.code() != Some(400) {
        return None;
    }
    let role = approle.role.as_deref().unwrap_or("ROLE");
    let path = format!("auth/{}/role/{role}", approle.mount);
    Some(Cure::Command(visit::new_secret_id(
        &approle.secret_id,
        &path,
    )))
}

/// What the login's token is.
pub(super) fn token(visit: &Visit<'_>, looked_up: Option<&Fields>) -> Vec<Finding> {
    let Visit { auth, token, .. } = visit;
    let mut found = vec![Finding::ok(
        LOGIN,
        match visit.role_name() {
            Some(role) => format!("logged in by {} as `{role}`", auth.method()),
            None => format!("logged in by {}", auth.method()),
        },
    )];
    for note in &token.notes {
        let message = note.to_string();
        let cure = match note {
            Note::ReadableByOthers { path, .. } => Some(Cure::Command(format!(
                "chmod 600 {}",
                quoted(&path.display().to_string())
            ))),
            Note::NotKept => None,
        };
        found.push(
            Finding::new(
                State::Warning,
                "login_source",
                message,
                "another user of this machine can log in with it",
            )
            .with(cure),
        );
    }
    if token.is_root {
        found.push(root(visit));
        return found;
    }
    found.push(Finding::ok("root_token", "the token is no root token"));
    found.push(default_policy(visit));
    if let Some(uses) = looked_up
        .and_then(|fields| fields.count("num_uses"))
        .filter(|uses| *uses > 0)
    {
        found.push(
            Finding::new(
                State::Failure,
                "token_uses",
                format!("the token is good for {uses} more requests"),
                "a run that renews, or reads several secrets, loses its token on the way, and with it its leases",
            )
            .with(role_cure(visit, "token_num_uses", serde_json::json!(0))),
        );
    }
    if token.kind == TokenKind::Batch && auth.is_ready_made() {
        return found;
    }
    if token.kind == TokenKind::Batch {
        found.push(
            Finding::new(
                State::Warning,
                "token_kind",
                "the login gives batch tokens, which can be neither renewed nor revoked",
                "leases end with the token at the latest, whatever the run still needs; a killed run's token lives on",
            )
            .with(role_cure(visit, "token_type", serde_json::json!("service"))),
        );
    } else {
        found.push(Finding::ok("token_kind", "the token is a service token"));
    }
    found
}

fn root(visit: &Visit<'_>) -> Finding {
    let name = visit.policy_name();
    let create = format!(
        "{}\nbao token create -orphan -policy={name} -no-default-policy -ttl=8h -field=token   # in the place of the root token",
        write_policy(&name, &visit.least_policy())
    );
    Finding::new(
        State::Failure,
        "root_token",
        "the login gives a root token, which may do everything in this Vault",
        "whoever gets it has every secret, of every environment; a protected environment refuses it",
    )
    .cured_by(Cure::Command(create))
}

fn default_policy(visit: &Visit<'_>) -> Finding {
    const ID: &str = "policy_default";
    if !visit
        .token
        .policies
        .iter()
        .any(|policy| policy == "default")
    {
        return Finding::ok(ID, "the token goes without the policy `default`");
    }
    Finding::new(
        State::Warning,
        ID,
        "the token has the policy `default`",
        "it lets the token renew any lease whose id it knows, also to one second, which ends it; and keep things in a cubbyhole",
    )
    .with(role_cure(visit, "token_no_default_policy", serde_json::json!(true)))
}

/// A key of the login's role, set to what it should be.
pub(super) fn role_cure(visit: &Visit<'_>, key: &str, value: serde_json::Value) -> Option<Cure> {
    match visit.role_path() {
        Some(path) => Some(write(&path, &role_data(visit.auth, key, value))),
        None if visit.auth.is_ready_made() => Some(Cure::Action(format!(
            "make the token without it: `bao token create -orphan -policy={} -no-default-policy -ttl=8h`",
            visit.policy_name()
        ))),
        None => Some(Cure::Action(format!(
            "set `{key}` to `{value}` on the role of this login"
        ))),
    }
}

/// How long the token lives beside what it is to lend.
pub(super) fn life(
    visit: &Visit<'_>,
    looked_up: Option<&Fields>,
    lease: Option<Duration>,
) -> Option<Finding> {
    const ID: &str = "token_life";
    let Token {
        lifetime,
        renewable,
        own,
        ..
    } = &visit.token;
    let lease = lease?;
    let lifetime = (*lifetime)?;
    let end = looked_up
        .and_then(|fields| fields.count("explicit_max_ttl"))
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs);
    let lives = match (renewable, end) {
        (false, _) => lifetime,
        (true, Some(end)) => end,
        (true, None) => return Some(Finding::ok(ID, "the token is renewed with its leases")),
    };
    // A moment has passed since it was made.
    if lives + Duration::from_secs(60) >= lease {
        return Some(Finding::ok(ID, "the token lives as long as its leases"));
    }
    let key = if *renewable {
        "token_explicit_max_ttl"
    } else {
        "token_ttl"
    };
    let wanted = if *renewable { 0 } else { lease.as_secs() };
    let cure = if *own {
        role_cure(visit, key, serde_json::json!(wanted))
    } else {
        Some(Cure::Action(
            "take one that lives longer, or that can be renewed".to_owned(),
        ))
    };
    Some(
        Finding::new(
            State::Failure,
            ID,
            format!(
                "the token lives {} s and its leases {} s: they end with it",
                lives.as_secs(),
                lease.as_secs()
            ),
            "a lease dies with its token, in the middle of a run, whatever its own TTL says",
        )
        .with(cure),
    )
}
