//! A server: the way to it, its seal, its version, its clock.
#![forbid(unsafe_code)]

use super::finding::{Cure, Finding, State};
use crate::config::{Environment, Server, is_this_machines};
use crate::plan::PlanError;
use crate::vault::error::VaultError;
use crate::vault::look::Health;

/// A login's times are compared by two clocks; identity tokens and certificates are valid from a moment on.
const SKEW: i64 = 30;
/// From here on identity tokens are refused by most servers.
const MUCH_SKEW: i64 = 150;

/// What a refusal of the plan's means here: nothing is sent there.
pub(super) fn not_reached(environment: &Environment, error: &PlanError) -> Finding {
    let (id, why) = match error {
        PlanError::PlainHttp { .. } | PlanError::PlainThroughProxy { .. } => ("plain_http", PLAIN),
        PlanError::SkipVerify { .. } => ("skip_verify", UNVERIFIED),
        _ => ("address", "nothing can be lent there, and nothing was sent"),
    };
    let cure = match error {
        PlanError::PlainHttp { address, .. } => Some(https(address)),
        PlanError::SkipVerify { .. } => Some(Cure::Config(
            "skip_verify: false   # and the server's authority, where it is not one of the machine's: `ca_cert: FILE`".to_owned(),
        )),
        error => error.hint().map(Cure::Action),
    };
    Finding::new(State::Failure, id, error.to_string(), why)
        .with(cure)
        .of(&environment.name)
}

const PLAIN: &str =
    "whoever stands between reads the login, the token and the password, and can use them";
const UNVERIFIED: &str = "whoever stands between can be the server, and gets the login";

fn https(address: &str) -> Cure {
    Cure::Config(format!(
        "address: https://{}",
        address.strip_prefix("http://").unwrap_or(address)
    ))
}

/// The way to a server, as far as the settings tell.
pub(super) fn way(environment: &Environment, server: &Server) -> Vec<Finding> {
    let mut found = Vec::new();
    let plain = server
        .addresses()
        .find(|address| address.starts_with("http://") && !is_this_machines(address));
    found.push(match plain {
        Some(address) => Finding::new(
            State::Warning,
            "plain_http",
            format!("`{address}` is asked in plain http"),
            PLAIN,
        )
        .cured_by(https(address)),
        None => Finding::ok(
            "plain_http",
            "what is sent is encrypted, or stays on this machine",
        ),
    });
    found.push(if server.skip_verify {
        Finding::new(
            State::Warning,
            "skip_verify",
            format!("the certificate of `{}` is not verified", server.address),
            UNVERIFIED,
        )
        .cured_by(Cure::Config(
            "skip_verify: false   # and `ca_cert: FILE`, where the server's authority is not one of the machine's".to_owned(),
        ))
    } else {
        Finding::ok("skip_verify", "certificates are verified")
    });
    found
        .into_iter()
        .map(|finding| finding.of(&environment.name))
        .collect()
}

/// What the server says of itself.
pub(super) fn judged(
    environment: &Environment,
    address: &str,
    health: &Result<Health, VaultError>,
) -> Vec<Finding> {
    let found = match health {
        Err(error) => vec![
            Finding::new(
                State::Failure,
                "server_reachable",
                error.to_string(),
                "no run can borrow anything, and none can give back",
            )
            .with(error.hint().map(Cure::Action)),
        ],
        Ok(health) => vec![
            Finding::ok("server_reachable", format!("`{address}` answers")),
            sealed(health),
            seal(health),
            version(health),
            clock(health),
        ],
    };
    found
        .into_iter()
        .map(|finding| finding.of(&environment.name))
        .collect()
}

fn sealed(health: &Health) -> Finding {
    if health.sealed {
        return Finding::new(
            State::Failure,
            "sealed",
            "the server is sealed: it can read none of its own secrets",
            "no run can borrow anything, and leases are not revoked either",
        )
        .cured_by(Cure::Command("bao operator unseal".to_owned()));
    }
    Finding::ok("sealed", "the server is unsealed")
}

fn seal(health: &Health) -> Finding {
    const ID: &str = "auto_unseal";
    match health.seal.as_str() {
        "shamir" => Finding::new(
            State::Warning,
            ID,
            "the seal is `shamir`: after each restart people with key shares have to unseal the server",
            "a restart at night stops every run until somebody comes, and leaves what was lent to its time",
        )
        .cured_by(Cure::Action(
            "give the server a seal that opens by itself (`seal \"awskms\" {…}`, `gcpckms`, `azurekeyvault`, `transit`, `pkcs11`; OpenBao also `static`) \
             and migrate: `bao operator unseal -migrate`; see docs/runbook.md"
                .to_owned(),
        )),
        "" => Finding::new(
            State::NotProven,
            ID,
            "the server does not say how it is unsealed",
            "one that people have to unseal stops every run when it restarts at night",
        ),
        kind => Finding::ok(ID, format!("the server unseals itself (`{kind}`)")),
    }
}

fn version(health: &Health) -> Finding {
    const ID: &str = "server_version";
    let number: Option<Vec<u32>> = health
        .version
        .split(['-', '+'])
        .next()
        .map(|version| version.split('.').map(str::parse).collect::<Result<_, _>>())
        .and_then(Result::ok);
    match number.as_deref() {
        Some([1, minor, ..]) if *minor < 10 => Finding::new(
            State::Warning,
            ID,
            format!(
                "the server is of version {}, which gets no fixes any more",
                health.version
            ),
            "its known holes stay open",
        )
        .cured_by(Cure::Action(
            "upgrade it, one minor version after the other".to_owned(),
        )),
        Some([_, _, ..]) => Finding::ok(ID, format!("the server is of version {}", health.version)),
        _ => Finding::new(
            State::NotProven,
            ID,
            "the server does not say its version",
            "one that gets no fixes any more keeps its known holes",
        ),
    }
}

fn clock(health: &Health) -> Finding {
    const ID: &str = "clock";
    const WHY: &str = "identity tokens and certificates are refused as too old or too young, and the ends that are told are wrong";
    let Some(ahead) = health.ahead else {
        return Finding::new(
            State::NotProven,
            ID,
            "the server's answers do not say its time",
            WHY,
        );
    };
    if ahead.abs() <= SKEW {
        return Finding::ok(
            ID,
            format!(
                "this machine's clock and the server's differ by {} s",
                ahead.abs()
            ),
        );
    }
    let state = if ahead.abs() > MUCH_SKEW {
        State::Failure
    } else {
        State::Warning
    };
    let what = format!(
        "the server's clock is {} s {} this machine's",
        ahead.abs(),
        if ahead > 0 { "ahead of" } else { "behind" }
    );
    Finding::new(state, ID, what, WHY).cured_by(Cure::Command(
        "timedatectl set-ntp true   # on whichever of the two is wrong: `timedatectl timesync-status`".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(seal: &str, version: &str, ahead: Option<i64>) -> Health {
        Health {
            sealed: false,
            seal: seal.to_owned(),
            version: version.to_owned(),
            ahead,
        }
    }

    #[test]
    fn a_seal_that_opens_by_itself_is_any_but_shamir() {
        assert_eq!(seal(&health("shamir", "", None)).state, State::Warning);
        assert_eq!(seal(&health("awskms", "", None)).state, State::Ok);
        assert_eq!(seal(&health("", "", None)).state, State::NotProven);
    }

    #[test]
    fn clocks_differ_in_both_directions() {
        for (ahead, state) in [
            (Some(0), State::Ok),
            (Some(-30), State::Ok),
            (Some(31), State::Warning),
            (Some(-151), State::Failure),
            (None, State::NotProven),
        ] {
            assert_eq!(clock(&health("", "", ahead)).state, state, "{ahead:?}");
        }
    }

    #[test]
    fn versions_of_both_products_are_read_and_others_are_not_guessed() {
        for (text, state) in [
            ("2.7.2", State::Ok),
            ("1.19.0+ent.hsm", State::Ok),
            ("1.9.4", State::Warning),
            ("", State::NotProven),
            ("\\u{1b}[2J", State::NotProven),
        ] {
            assert_eq!(version(&health("", text, None)).state, state, "{text}");
        }
    }
}
