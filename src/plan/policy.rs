//! The least policy that allows a plan's requests, as HCL for `vault policy write`.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::config::{Auth, Environment, Lending, LentSecret, Operation};

/// The least policy for all targets of an environment together; none where it lends nothing.
pub fn of_environment(environment: &Environment) -> Option<String> {
    let auth = environment.auth.as_ref()?;
    let lent = environment
        .targets
        .iter()
        .filter_map(|target| match &target.lending {
            Lending::Lent(lent) => Some(&lent.secrets),
            Lending::None => None,
        });
    let secrets: Vec<LentSecret> = lent.flatten().cloned().collect();
    (!secrets.is_empty()).then(|| least(auth, &secrets))
}

/// The policy. Nothing else is allowed: the token's own renewal and end are named because generated roles go without Vault's default
/// policy, and `sys/leases/renew` and `sys/leases/revoke` are narrowed to the leases of these very paths (vault.md A2).
pub fn least(auth: &Auth, secrets: &[LentSecret]) -> String {
    let mut capabilities: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for secret in secrets {
        let capability = match secret.request.operation {
            Operation::Read => "read",
            // A write is an update wherever the engine keeps nothing under the path, as all that issue something do.
            Operation::Write(_) => "update",
        };
        let of_path = capabilities.entry(&secret.request.path).or_default();
        if !of_path.contains(&capability) {
            of_path.push(capability);
        }
    }
    let mut policy = String::new();
    for (path, capabilities) in &capabilities {
        block(&mut policy, path, capabilities);
    }
    let leases = |is_meant: fn(&LentSecret) -> bool| leases(secrets, is_meant);
    // A run that is longer than two thirds of its lease renews it.
    for (path, parameter, leases) in [
        (
            "sys/leases/renew",
            "increment",
            leases(LentSecret::may_renew),
        ),
        ("sys/leases/revoke", "sync", leases(LentSecret::may_lease)),
    ] {
        if leases.is_empty() {
            continue;
        }
        separate(&mut policy);
        narrowed(
            &mut policy,
            path,
            &leases,
            &format!("    \"{parameter}\" = []\n"),
        );
    }
    if auth.is_ready_made() {
        block(&mut policy, "auth/token/lookup-self", &["read"]);
    } else {
        block(&mut policy, "auth/token/renew-self", &["update"]);
        block(&mut policy, "auth/token/revoke-self", &["update"]);
    }
    policy
}

/// What looking these secrets' leases up needs beyond [`least`].
pub(super) fn lookups(secrets: &[LentSecret]) -> String {
    let mut policy = "\n".to_owned();
    let leases = leases(secrets, LentSecret::may_lease);
    narrowed(&mut policy, "sys/leases/lookup", &leases, "");
    policy
}

/// The leases of the secrets that are meant, as a policy's globs.
fn leases(secrets: &[LentSecret], is_meant: fn(&LentSecret) -> bool) -> Vec<String> {
    let meant = secrets.iter().filter(|secret| is_meant(secret));
    let mut leases: Vec<String> = meant
        .map(|secret| format!("\"{}/*\"", secret.request.path))
        .collect();
    leases.sort();
    leases.dedup();
    leases
}

/// An update of these leases alone.
fn narrowed(policy: &mut String, path: &str, leases: &[String], further: &str) {
    let leases = leases.join(", ");
    // Writing to a String cannot fail.
    let _ = write!(
        policy,
        "path \"{path}\" {{\n  capabilities = [\"update\"]\n  allowed_parameters = {{\n    \"lease_id\" = [{leases}]\n{further}  }}\n}}\n"
    );
}

fn block(policy: &mut String, path: &str, capabilities: &[&str]) {
    separate(policy);
    let listed = capabilities
        .iter()
        .map(|capability| format!("\"{capability}\""))
        .collect::<Vec<_>>()
        .join(", ");
    let _ = write!(
        policy,
        "path \"{path}\" {{\n  capabilities = [{listed}]\n}}\n"
    );
}

fn separate(policy: &mut String) {
    if !policy.is_empty() {
        policy.push('\n');
    }
}
