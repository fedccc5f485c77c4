//! Whether the server keeps an audit log.
#![forbid(unsafe_code)]

use super::finding::{Cure, Finding, State};
use super::visit::Visit;
use crate::vault::error::VaultError;
use crate::vault::fields::Fields;
use crate::vault::look;

/// What lets it be known.
pub(super) const POLICY: &str = "path \"sys/audit\" { capabilities = [\"read\", \"sudo\"] }";
const ID: &str = "audit_device";
const WHY: &str = "without one nobody can say afterwards who borrowed what, and a leaked credential cannot be traced to its run";

/// Asks for the audit devices.
pub(super) async fn look(visit: &Visit<'_>) -> Finding {
    let found = look::at(
        &visit.client,
        &visit.token,
        "the audit devices",
        "sys/audit",
    )
    .await;
    judged(visit, &found)
}

fn judged(visit: &Visit<'_>, found: &Result<Option<Fields>, VaultError>) -> Finding {
    match found {
        Ok(Some(devices)) if !devices.is_empty() => {
            let names: Vec<String> = devices
                .names()
                .map(crate::trust::account::shown)
                .take(5)
                .collect();
            Finding::ok(ID, format!("the server writes an audit log: {}", names.join(", ")))
        }
        Ok(_) => Finding::new(State::Warning, ID, "the server writes no audit log", WHY).cured_by(
            Cure::Command(
                "bao audit enable file file_path=/var/log/openbao/audit.jsonl   # OpenBao 2.4 and later: `audit \"file\" \"f\" {…}` in the server's configuration"
                    .to_owned(),
            ),
        ),
        Err(error) if error.code() == Some(403) => Finding::new(
            State::NotProven,
            ID,
            "whether the server writes an audit log is for those alone to see who may list its devices",
            WHY,
        )
        .cured_by(Cure::Policy {
            name: visit.policy_name(),
            lines: POLICY.to_owned(),
        }),
        Err(error) => Finding::new(
            State::NotProven,
            ID,
            format!("whether the server writes an audit log is not known: {error}"),
            WHY,
        )
        .with(error.hint().map(Cure::Action)),
    }
}
