//! Dead sessions: on record as `lent`, not as `ended`, and claimed by no living process.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::audit::Record;
use super::host;
use crate::vault::lease::{Lease, LeaseId, Revocation};

/// How much of a record a session looks through in passing, bytes from its end: some thousand sessions.
pub const IN_PASSING: u64 = 1 << 20;
/// Vault's own bound on a lease's life where nobody raised it. What is older is left to `dbt-lease sweep`.
pub const LONGEST_LEASE: Duration = Duration::from_secs(768 * 3600);

/// A dead session, as far as the record knows it.
#[derive(Clone, Debug)]
pub struct Dead {
    /// The session's id.
    pub session: String,
    /// When it borrowed.
    pub lent: SystemTime,
    /// The environment.
    pub environment: String,
    /// Vault's address.
    pub address: String,
    /// Vault's namespace.
    pub namespace: Option<String>,
    /// Its leases.
    pub leases: Vec<Lease>,
    /// Its token's accessor, where the token was its own.
    pub accessor: Option<String>,
}

/// The fields of an event that count here. Unknown ones are passed over: the format may grow.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) time: String,
    pub(super) session: String,
    pub(super) event: String,
    #[serde(default)]
    environment: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    login: Option<Login>,
    #[serde(default)]
    secrets: Vec<Secret>,
    /// Of `ended` and `looked_again`.
    #[serde(default)]
    pub(super) leases: Vec<TakenBack>,
}

#[derive(Deserialize)]
struct Login {
    method: String,
    accessor: Option<String>,
}

/// What became of a lease.
#[derive(Deserialize)]
pub(super) struct TakenBack {
    pub(super) lease_id: String,
    pub(super) result: String,
}

#[derive(Deserialize)]
struct Secret {
    path: String,
    lease_id: Option<String>,
    lease_seconds: Option<u64>,
    #[serde(default)]
    revocation: Revocation,
}

impl Record {
    /// Each line of the last `within` bytes that can be read, and whether it names this host.
    pub(super) fn each_line(
        &self,
        within: u64,
        mut take: impl FnMut(Line, bool),
    ) -> io::Result<()> {
        // Through the path, since a shared descriptor shares its offset; but only if it is still the same file.
        let mut file = File::open(self.path())?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(within)))?;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        if length > within {
            // The first line is a part of one.
            reader.read_until(b'\n', &mut line)?;
        }
        let here = host();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if let Ok(event) = serde_json::from_slice::<Line>(&line) {
                let is_here = event.host == here;
                take(event, is_here);
            }
        }
    }
}

pub(super) fn of(event: Line) -> Option<Dead> {
    let lent = humantime::parse_rfc3339(&event.time).ok()?;
    let leases = event.secrets.into_iter().filter_map(|secret| {
        Some(Lease {
            id: LeaseId::new(secret.lease_id?),
            path: secret.path,
            issued: lent,
            duration: Duration::from_secs(secret.lease_seconds.unwrap_or(0)),
            // Tried where revocation is forbidden; Vault says so where it cannot be.
            renewable: true,
            revocation: secret.revocation,
        })
    });
    // The user's own token is not ours to end.
    let login = event.login.filter(|login| login.method != "token");
    Some(Dead {
        accessor: login.and_then(|login| login.accessor),
        leases: leases.collect(),
        session: event.session,
        lent,
        environment: event.environment,
        address: event.address,
        namespace: event.namespace,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variables::Variables;

    const LENT: &str = r#"{"version":1,"time":"2026-11-24T10:15:30.000Z","session":"20261124T101530Z-9f86d081","event":"lent","host":"HOST","environment":"production","address":"http://127.0.0.1:1","namespace":null,"secrets":[{"name":"w","path":"database/creds/x","lease_id":"database/creds/x/1","lease_seconds":900}]}"#;
    const ENDED: &str = r#"{"version":1,"time":"2026-11-24T10:16:30.000Z","session":"20261124T101530Z-9f86d081","event":"ended","environment":"production"}"#;

    fn record(home: &tempfile::TempDir, lines: &[&str]) -> Record {
        let variables: Variables = [("HOME", home.path())].into_iter().collect();
        let record = Record::open(&variables).expect("opened");
        let here = nix::unistd::gethostname()
            .expect("a name")
            .into_string()
            .expect("text");
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(record.path(), text.replace("HOST", &here)).expect("written");
        record
    }

    fn found_dead(record: &Record) -> Vec<Dead> {
        let left = record.left(IN_PASSING, |_| true, |_| false);
        left.expect("read").dead
    }

    #[test]
    fn a_session_without_its_end_is_dead_unless_somebody_claims_it() {
        let home = tempfile::tempdir().expect("a scratch directory");
        let living = record(&home, &["not JSON", LENT]);
        assert!(living.claim("20261124T101530Z-9f86d081").expect("asked"));
        let looking = record(&home, &["not JSON", LENT]);
        assert!(found_dead(&looking).is_empty());
        drop(living);
        let dead = found_dead(&looking);
        assert_eq!(dead.len(), 1, "{dead:?}");
        assert_eq!(dead[0].environment, "production");
        assert_eq!(dead[0].leases[0].id.expose(), "database/creds/x/1");
        // Whoever found it keeps it from the next one.
        let other = record(&home, &["not JSON", LENT]);
        assert!(found_dead(&other).is_empty());
    }

    #[test]
    fn what_has_ended_or_was_lent_on_another_host_is_not_dead() {
        let home = tempfile::tempdir().expect("a scratch directory");
        let elsewhere = LENT.replace("HOST", "another-host-than-this");
        for lines in [&[LENT, ENDED][..], &[&elsewhere]] {
            let found = found_dead(&record(&home, lines));
            assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn a_look_in_passing_reads_the_end_alone_and_whole_lines_alone() {
        let home = tempfile::tempdir().expect("a scratch directory");
        let record = record(
            &home,
            &[LENT, ENDED, LENT.replace("9f86d081", "9f86d082").as_str()],
        );
        let length = std::fs::metadata(record.path()).expect("there").len();
        for (within, expected) in [(length, 1), (length - 1, 1), (40, 0)] {
            assert_eq!(record.look(within).expect("read").dead.len(), expected);
        }
    }
}
