//! A session's two lines in the record.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::failure::Failure;
use super::session::{Borrowed, Session};
use crate::record;
use crate::record::audit::{self, Kind, Record};
use crate::record::back::Back;
use crate::vault::lease::Revocation;
use crate::vault::product;
use crate::vault::secret;

impl Session<'_> {
    /// A protected environment lends nothing that is not on record.
    pub(super) fn open_record(&self) -> Result<Option<Record>, Failure> {
        match Record::open(self.variables) {
            Ok(record) => {
                // Where locks do not work nobody can take this session for dead, either.
                let _ = record.claim(&self.id);
                Ok(Some(record))
            }
            Err(error) if self.protected => Err(error.into()),
            Err(error) => {
                self.say.warning(
                    &format!("this session is not recorded: {error}"),
                    error.hint().as_deref(),
                );
                Ok(None)
            }
        }
    }

    pub(super) fn record_start(
        &self,
        record: Option<&mut Record>,
        borrowed: &Borrowed,
    ) -> Result<bool, Failure> {
        let (Some(record), Some(token)) = (record, &borrowed.token) else {
            return Ok(false);
        };
        let server = &self.wanted.session.server;
        let uid = nix::unistd::geteuid();
        let event = Kind::Lent(audit::Lent {
            user: nix::unistd::User::from_uid(uid)
                .ok()
                .flatten()
                .map(|user| user.name),
            uid: uid.as_raw(),
            host: record::host(),
            pid: std::process::id(),
            project: self
                .wanted
                .resolved
                .project
                .as_ref()
                .map(|project| project.name.as_str()),
            profile: &self.profile.name,
            target: &self.profile.target,
            environment: self.environment,
            protected: self.protected,
            address: &server.address,
            product: product::of(token),
            namespace: server.namespace.as_deref(),
            login: audit::Login {
                method: self
                    .wanted
                    .plan
                    .login
                    .as_ref()
                    .map_or("", |login| login.method),
                request_id: token.request_id.as_deref(),
                accessor: token.accessor.as_deref(),
            },
            secrets: borrowed.secrets.iter().map(recorded).collect(),
        });
        match record.append(&self.id, event) {
            Ok(()) => Ok(true),
            Err(error) => {
                let message = format!(
                    "the record `{}` could not be written: {error}",
                    record.path().display()
                );
                if self.protected {
                    let hint = "a protected environment lends nothing that is not on record; make room, or set DBT_LEASE_AUDIT_FILE to another file";
                    return Err(Failure::new("record", message, Some(hint)));
                }
                self.say.warning(&message, None);
                Ok(false)
            }
        }
    }

    /// Whether the session's leases are on record.
    pub(super) fn record_end(
        &self,
        record: Option<&mut Record>,
        back: &Back,
        result: &str,
        elapsed: Duration,
    ) -> bool {
        let Some(record) = record else { return false };
        // A session that lent nothing leaves no trace.
        if !back.recorded && back.is_nothing() {
            return false;
        }
        let event = Kind::Ended(back.event(self.environment, result, elapsed));
        match record.append(&self.id, event) {
            Ok(()) => true,
            Err(error) => {
                self.say.warning(
                    &format!(
                        "the record `{}` could not be written: {error}",
                        record.path().display()
                    ),
                    None,
                );
                back.recorded
            }
        }
    }
}

fn recorded(secret: &secret::Lent) -> audit::LentSecret<'_> {
    audit::LentSecret {
        name: &secret.name,
        path: &secret.path,
        request_id: secret.request_id.as_deref(),
        lease_id: secret.lease.as_ref().map(|lease| lease.id.expose()),
        lease_seconds: secret.lease.as_ref().map(|lease| lease.duration.as_secs()),
        revocation: secret
            .lease
            .as_ref()
            .map(|lease| lease.revocation)
            .filter(|revocation| *revocation != Revocation::Ends),
        ends: secret.ends.map(audit::stamp),
        database_user: secret
            .fields
            .get("username")
            .and_then(crate::vault::fields::Field::plain),
    }
}
