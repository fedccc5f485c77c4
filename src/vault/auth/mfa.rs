//! A second factor, which any login may be asked for: `sys/mfa/validate`.
//!
//! Of each constraint one method must be satisfied. A passcode is typed by the person at the terminal; a push goes to their telephone while
//! Vault waits. Without a person neither is tried: a machine must not make somebody's telephone ring.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Serialize;

use super::Surroundings;
use crate::secret::Secret;
use crate::vault::answer::Answer;
use crate::vault::call::{Call, Repeat};
use crate::vault::client::Client;
use crate::vault::error::{VaultError, Wanted};
use crate::vault::fields::{Field, Fields};
use crate::vault::words;

/// One way to satisfy a constraint.
struct Factor<'a> {
    id: &'a str,
    /// `totp`, `duo`, `okta`, `pingid`.
    kind: &'a str,
    name: &'a str,
    is_typed: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    mfa_request_id: &'a str,
    mfa_payload: BTreeMap<&'a str, Vec<&'a str>>,
}

/// Gives what is required, and the answer that holds the token.
pub(super) async fn validate(
    client: &Client,
    around: &Surroundings<'_>,
    requirement: &Fields,
    (method, mount): (&'static str, &str),
) -> Result<Answer, VaultError> {
    let refused = || VaultError::SecondFactor {
        method,
        mount: mount.to_owned(),
    };
    let request = text(requirement, "mfa_request_id");
    let factors = factors(requirement).ok_or_else(refused)?;
    let mut typed: Vec<(&str, Option<Secret>)> = Vec::new();
    for factor in &factors {
        let name = words::tame(
            if factor.name.is_empty() {
                factor.kind
            } else {
                factor.name
            },
            &[],
        );
        if factor.is_typed {
            let question = format!("code of {name} for auth/{mount}");
            let code = around.person.ask(&question).await.ok_or_else(refused)?;
            typed.push((factor.id, Some(code)));
        } else if around
            .person
            .tell(&format!("approve the login by {name} on your other device"))
        {
            typed.push((factor.id, None));
        } else {
            return Err(refused());
        }
    }
    let payload = typed
        .iter()
        .map(|(id, code)| (*id, code.iter().map(Secret::expose).collect()))
        .collect();
    let wanted = Wanted::SecondFactor {
        mount: mount.to_owned(),
    };
    let mut call = Call::new(wanted, Method::POST, "sys/mfa/validate").with_body(&Body {
        mfa_request_id: request,
        mfa_payload: payload,
    });
    // A code is good once.
    call.repeat = Repeat::WhenNothingWasDone;
    call.hide = typed
        .iter()
        .filter_map(|(_, code)| code.as_ref().map(Secret::expose))
        .collect();
    client.ask(&call).await
}

/// One factor a constraint: one that is typed, where there is a choice.
fn factors(requirement: &Fields) -> Option<Vec<Factor<'_>>> {
    let Some(Field::Map(constraints)) = requirement.get("mfa_constraints") else {
        return None;
    };
    let mut chosen = Vec::new();
    for (_, constraint) in constraints.iter() {
        let Field::Map(constraint) = constraint else {
            return None;
        };
        let Some(Field::List(any)) = constraint.get("any") else {
            return None;
        };
        let mut factors: Vec<Factor<'_>> = any
            .iter()
            .filter_map(|factor| match factor {
                Field::Map(factor) => Some(Factor {
                    id: text(factor, "id"),
                    kind: text(factor, "type"),
                    name: text(factor, "name"),
                    is_typed: factor.get("uses_passcode") == Some(&Field::Bool(true)),
                }),
                _ => None,
            })
            .collect();
        factors.sort_by_key(|factor| !factor.is_typed);
        chosen.push(factors.into_iter().next()?);
    }
    (!chosen.is_empty()).then_some(chosen)
}

fn text<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.get(name).and_then(Field::plain).unwrap_or_default()
}
