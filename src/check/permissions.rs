//! What an environment's token may do: what a run needs, and what no run does.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::finding::{Cure, Finding, State, write, write_policy};
use super::visit::{CAPABILITIES, Visit, role_data, secrets};
use crate::config::Operation;
use crate::vault::error::{VaultError, Wanted};

/// Capabilities by path.
pub(super) type Capabilities = BTreeMap<String, Vec<String>>;

/// A name that nobody gives anything: a policy that allows it allows them all.
const ANY: &str = "dbt-lease-check";
const WRITES: [&str; 5] = ["create", "update", "delete", "patch", "sudo"];

/// A path that no run needs.
struct Danger {
    path: String,
    /// Whether to read it is dangerous too.
    read: bool,
    says: &'static str,
}

fn dangers(visit: &Visit<'_>) -> Vec<Danger> {
    let mut all = Vec::new();
    let mut add = |path: String, read: bool, says: &'static str| {
        if !all.iter().any(|known: &Danger| known.path == path) {
            all.push(Danger { path, read, says });
        }
    };
    add(format!("{ANY}/{ANY}"), true, "everything");
    for (path, says) in [
        ("sys/policies/acl/", "write policies"),
        ("sys/auth/", "make logins"),
        ("sys/mounts/", "make and remove secrets engines"),
        ("sys/audit/", "make and remove audit devices"),
        ("sys/leases/revoke-prefix/", "end everybody's leases"),
        (
            "sys/leases/revoke-force/",
            "forget leases without ending them",
        ),
        ("identity/entity/name/", "change who is who"),
        ("auth/token/create/", "make tokens"),
    ] {
        add(format!("{path}{ANY}"), false, says);
    }
    add("auth/token/create".to_owned(), false, "make tokens");
    add(
        "auth/token/create-orphan".to_owned(),
        false,
        "make tokens without end",
    );
    add("sys/seal".to_owned(), false, "seal the server");
    for path in ["secret/", "secret/data/", "kv/", "kv/data/"] {
        add(format!("{path}{ANY}"), true, "read every secret there");
    }
    if let Some(mount) = visit.auth.mount() {
        add(
            format!("auth/{mount}/role/{ANY}"),
            false,
            "make and change login roles",
        );
        add(
            format!("auth/{mount}/config"),
            false,
            "change how logins are verified",
        );
    }
    if let Some(path) = visit.role_path() {
        add(path.clone(), false, "change its own login role");
        if path.contains("/role/") {
            add(
                format!("{path}/secret-id"),
                false,
                "make secret ids for itself",
            );
        }
    }
    for secret in secrets(visit.environment) {
        let path = &secret.request.path;
        let Some((mount, rest)) = path.split_once('/') else {
            continue;
        };
        // A database engine below a longer mount has `creds` or `static-creds` in its path.
        let before = |word: &str| {
            path.split_once(&format!("/{word}/"))
                .map(|(mount, _)| mount)
        };
        if let Some(mount) = before("creds").or(before("static-creds")) {
            add(
                format!("{mount}/creds/{ANY}"),
                true,
                "get every role's credentials",
            );
            add(
                format!("{mount}/static-creds/{ANY}"),
                true,
                "get every static role's credentials",
            );
            add(
                format!("{mount}/config/{ANY}"),
                false,
                "change the engine's connections",
            );
            add(
                format!("{mount}/roles/{ANY}"),
                false,
                "change the engine's roles",
            );
            add(
                format!("{mount}/static-roles/{ANY}"),
                false,
                "change the engine's static roles",
            );
        } else if rest.starts_with("data/") {
            add(
                format!("{mount}/data/{ANY}"),
                true,
                "read every secret there",
            );
        } else if secret.engine.is_some() {
            add(format!("{mount}/{ANY}"), true, "read every secret there");
        }
    }
    all
}

/// What a run asks for.
fn needs(visit: &Visit<'_>) -> Vec<(&'static str, Wanted, String, &'static str)> {
    let mut all: Vec<(&'static str, Wanted, String, &'static str)> = Vec::new();
    for secret in secrets(visit.environment) {
        let path = secret.request.path.clone();
        let write = matches!(secret.request.operation, Operation::Write(_));
        let wanted = Wanted::Secret {
            name: secret.request.name.clone(),
            path: path.clone(),
            write,
        };
        all.push((
            "secret_allowed",
            wanted,
            path,
            if write { "update" } else { "read" },
        ));
    }
    let mut of_leases = |id,
                         path: &str,
                         wanted: fn(String) -> Wanted,
                         is_meant: fn(&crate::config::LentSecret) -> bool| {
        for secret in secrets(visit.environment).filter(|secret| is_meant(secret)) {
            all.push((
                id,
                wanted(secret.request.path.clone()),
                path.to_owned(),
                "update",
            ));
        }
    };
    of_leases(
        "revoke_allowed",
        "sys/leases/revoke",
        |path| Wanted::RevokeLease { path },
        crate::config::LentSecret::may_lease,
    );
    of_leases(
        "renew_allowed",
        "sys/leases/renew",
        |path| Wanted::RenewLease { path },
        crate::config::LentSecret::may_renew,
    );
    if !visit.auth.is_ready_made() && visit.token.kind == crate::vault::auth::TokenKind::Service {
        all.push((
            "revoke_self_allowed",
            Wanted::RevokeToken,
            "auth/token/revoke-self".to_owned(),
            "update",
        ));
        all.push((
            "renew_self_allowed",
            Wanted::RenewToken,
            "auth/token/renew-self".to_owned(),
            "update",
        ));
    }
    all
}

/// The paths to ask for.
pub(super) fn paths(visit: &Visit<'_>) -> Vec<String> {
    let mut paths: Vec<String> = needs(visit)
        .into_iter()
        .map(|(_, _, path, _)| path)
        .collect();
    paths.extend(dangers(visit).into_iter().map(|danger| danger.path));
    paths.sort();
    paths.dedup();
    paths
}

/// The token's capabilities could not be asked.
pub(super) fn not_known(visit: &Visit<'_>, error: &VaultError) -> Finding {
    Finding::new(
        State::NotProven,
        "capabilities",
        format!("what the token may do is not known: {error}"),
        "neither what a run needs nor what it must not do is proven",
    )
    .with(visit.cure(error, CAPABILITIES))
}

/// What the token's capabilities mean.
pub(super) fn judged(visit: &Visit<'_>, known: &Capabilities) -> Vec<Finding> {
    let may = |path: &str, capability: &str| {
        known
            .get(path)
            .is_some_and(|list| list.iter().any(|each| each == capability || each == "root"))
    };
    let mut found = Vec::new();
    for (id, wanted, path, capability) in needs(visit) {
        let allowed = may(&path, capability)
            // A write is a create where the engine keeps something under the path.
            || capability == "update" && matches!(wanted, Wanted::Secret { .. }) && may(&path, "create");
        found.push(if allowed {
            Finding::ok(id, format!("its policy lets it {wanted}"))
        } else {
            lacking(visit, id, &wanted)
        });
    }
    found.push(broad(visit, known));
    found
}

fn lacking(visit: &Visit<'_>, id: &'static str, wanted: &Wanted) -> Finding {
    let (state, why) = match id {
        "secret_allowed" => (State::Failure, "every run ends before it begins"),
        "revoke_allowed" => (
            State::Failure,
            "what was lent ends with the token, somewhat later, and nobody says whether the database followed",
        ),
        "revoke_self_allowed" => (
            State::Failure,
            "the token lives on after the run, and whoever finds it can borrow more",
        ),
        _ => (
            State::Warning,
            "a run that is longer than two thirds of the lease or token fails when that ends",
        ),
    };
    Finding::new(
        state,
        id,
        format!("its policy does not let it {wanted}"),
        why,
    )
    .with(wanted.policy().map(|lines| Cure::Policy {
        name: visit.policy_name(),
        lines,
    }))
}

fn broad(visit: &Visit<'_>, known: &Capabilities) -> Finding {
    const ID: &str = "policy_broad";
    let mut may: Vec<String> = Vec::new();
    for danger in dangers(visit) {
        let list = known.get(&danger.path).map_or(&[][..], Vec::as_slice);
        let is_dangerous = list.iter().any(|capability| {
            WRITES.contains(&capability.as_str()) || danger.read && capability != "list"
        });
        if is_dangerous {
            may.push(format!(
                "{} (`{}`: {})",
                danger.says,
                danger.path.replace(ANY, "*"),
                list.join(", ")
            ));
        }
    }
    if may.is_empty() {
        return Finding::ok(
            ID,
            "the token may do nothing that no run needs, of what was asked",
        );
    }
    Finding::new(
        State::Failure,
        ID,
        format!("the token may more than any run needs: {}", may.join("; ")),
        "every macro and package of a run has its token's reach for as long as it can be stolen; what can be dropped is no loss",
    )
    .cured_by(narrowed(visit))
}

/// The least policy in the place of what the token has.
pub(super) fn narrowed(visit: &Visit<'_>) -> Cure {
    let name = visit.policy_name();
    let mut text = write_policy(&name, &visit.least_policy());
    let has_others = visit
        .token
        .policies
        .iter()
        .any(|policy| *policy != name && policy != "default");
    if has_others && let Some(path) = visit.role_path() {
        text.push('\n');
        let policies = role_data(visit.auth, "token_policies", serde_json::json!([name]));
        text.push_str(write(&path, &policies).text());
    }
    Cure::Command(text)
}

/// The least that `check` itself asks with, where it is more than a run's.
pub(super) fn of_check(visit: &Visit<'_>) -> Vec<String> {
    let mut lines = vec![
        CAPABILITIES.to_owned(),
        "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }".to_owned(),
    ];
    for secret in secrets(visit.environment) {
        if let Some(path) = super::roles::path(&secret.request.path) {
            lines.push(reads(&path));
        }
    }
    if let (crate::config::Auth::AppRole(_), Some(path)) = (visit.auth, visit.role_path()) {
        lines.push(super::expiry::lookup_policy(&path));
    }
    lines.push(super::audit::POLICY.to_owned());
    lines
}

/// The line that lets a path be read.
pub(super) fn reads(path: &str) -> String {
    format!("path \"{path}\" {{ capabilities = [\"read\"] }}")
}
