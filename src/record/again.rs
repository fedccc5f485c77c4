//! Leases that their session could not revoke: on record as `queued`, `failed` or `unknown` in its `ended`, and in no later
//! `looked_again` as revoked. Vault's queue gives up after some minutes, so somebody has to look again. And the one look at the record that
//! finds these and the dead.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

use super::audit::Record;
use super::dead::{Dead, Line, of};

/// An ended session of which leases are open.
#[derive(Clone, Debug)]
pub struct Again {
    /// The session as it was lent, with the open leases alone.
    pub session: Dead,
    ended: SystemTime,
    looked: SystemTime,
}

impl Again {
    /// Whether it is to be looked at in passing: at once after the end, and then each time after as long again as it is since then. What
    /// stays open for good costs a few requests a month.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let waited = now.duration_since(self.looked).unwrap_or_default();
        let before = self.looked.duration_since(self.ended).unwrap_or_default();
        waited >= before
    }
}

/// What sessions have left, as far as the record knows; oldest first.
#[derive(Debug, Default)]
pub struct Left {
    /// Sessions without an end.
    pub dead: Vec<Dead>,
    /// Ended sessions of which leases are open.
    pub open: Vec<Again>,
}

impl Record {
    /// What sessions of this host have left in the last `within` bytes, as far as it is wanted. Each is claimed by this record now, so that two
    /// sessions do not deal with the same one at once; the caller says of each dead one how it [ended](super::audit::Kind::Ended), and of
    /// each open one what it saw, where it could be dealt with.
    ///
    /// A line that cannot be read is passed over: what another version wrote is its own to deal with.
    pub fn left(
        &self,
        within: u64,
        is_wanted_dead: impl Fn(&Dead) -> bool,
        is_wanted_open: impl Fn(&Again) -> bool,
    ) -> io::Result<Left> {
        let mut found = self.look(within)?;
        let claim = |session: &str| self.claim(session).unwrap_or(false);
        found
            .dead
            .retain(|dead| is_wanted_dead(dead) && claim(&dead.session));
        found
            .open
            .retain(|again| is_wanted_open(again) && claim(&again.session.session));
        if found.dead.is_empty() && found.open.is_empty() {
            return Ok(found);
        }
        // Another one may have dealt with it between our look and our claim.
        let still = self.look(within)?;
        found
            .dead
            .retain(|dead| still.dead.iter().any(|still| still.session == dead.session));
        found.open.retain(|again| {
            still.open.iter().any(|still| {
                still.session.session == again.session.session && still.looked == again.looked
            })
        });
        Ok(found)
    }

    /// What is left, claimed by nobody.
    pub(super) fn look(&self, within: u64) -> io::Result<Left> {
        let mut lent: BTreeMap<String, Dead> = BTreeMap::new();
        let mut open: BTreeMap<String, Again> = BTreeMap::new();
        self.each_line(within, |event, is_here| match event.event.as_str() {
            "lent" if is_here => {
                if let Some(dead) = of(event) {
                    lent.insert(dead.session.clone(), dead);
                }
            }
            "ended" => {
                if let (Some(session), Some(at)) = (lent.remove(&event.session), time(&event)) {
                    let again = Again {
                        session,
                        ended: at,
                        looked: at,
                    };
                    keep(&mut open, again, &event);
                }
            }
            "looked_again" => {
                if let (Some(again), Some(at)) = (open.remove(&event.session), time(&event)) {
                    let again = Again {
                        looked: at,
                        ..again
                    };
                    keep(&mut open, again, &event);
                }
            }
            _ => {}
        })?;
        let mut left = Left {
            dead: lent.into_values().collect(),
            open: open.into_values().collect(),
        };
        left.dead.sort_by_key(|dead| dead.lent);
        left.open.sort_by_key(|again| again.ended);
        Ok(left)
    }
}

fn time(event: &Line) -> Option<SystemTime> {
    humantime::parse_rfc3339(&event.time).ok()
}

/// Keeps of a session the leases that an event leaves open.
fn keep(open: &mut BTreeMap<String, Again>, mut again: Again, event: &Line) {
    let is_open = |id: &str| {
        event.leases.iter().any(|taken| {
            taken.lease_id == id && matches!(&*taken.result, "queued" | "failed" | "unknown")
        })
    };
    again
        .session
        .leases
        .retain(|lease| is_open(lease.id.expose()));
    if !again.session.leases.is_empty() {
        open.insert(again.session.session.clone(), again);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::dead::IN_PASSING;
    use super::*;
    use crate::variables::Variables;

    fn record(home: &tempfile::TempDir, lines: &[String]) -> Record {
        let variables: Variables = [("HOME", home.path())].into_iter().collect();
        let record = Record::open(&variables).expect("opened");
        std::fs::write(record.path(), lines.join("\n") + "\n").expect("written");
        record
    }

    fn lent() -> String {
        let host = nix::unistd::gethostname()
            .expect("a name")
            .into_string()
            .expect("text");
        format!(
            r#"{{"time":"2026-11-24T10:00:00Z","session":"s-1","event":"lent","host":"{host}","environment":"production","address":"http://127.0.0.1:1","login":{{"method":"approle","accessor":"a"}},"secrets":[{{"path":"database/creds/x","lease_id":"x/1","lease_seconds":900}},{{"path":"database/creds/x","lease_id":"x/2","lease_seconds":900}}]}}"#
        )
    }

    fn event(event: &str, minute: u32, results: [&str; 2]) -> String {
        format!(
            r#"{{"time":"2026-11-24T10:{minute:02}:00Z","session":"s-1","event":"{event}","leases":[{{"lease_id":"x/1","result":"{}"}},{{"lease_id":"x/2","result":"{}"}}]}}"#,
            results[0], results[1]
        )
    }

    #[test]
    fn what_its_session_left_open_stays_open_until_somebody_has_seen_it_gone() {
        let home = tempfile::tempdir().expect("a scratch directory");
        for (events, expected) in [
            (vec![], vec![]),
            (
                vec![event("ended", 1, ["revoked", "ended_with_token"])],
                vec![],
            ),
            (vec![event("ended", 1, ["revoked", "queued"])], vec!["x/2"]),
            (
                vec![event("ended", 1, ["failed", "unknown"])],
                vec!["x/1", "x/2"],
            ),
            (
                vec![
                    event("ended", 1, ["queued", "queued"]),
                    event("looked_again", 2, ["revoked", "queued"]),
                ],
                vec!["x/2"],
            ),
            (
                vec![
                    event("ended", 1, ["queued", "revoked"]),
                    event("looked_again", 2, ["revoked", "revoked"]),
                ],
                vec![],
            ),
        ] {
            let lines: Vec<String> = std::iter::once(lent()).chain(events).collect();
            let found = record(&home, &lines)
                .left(IN_PASSING, |_| false, |_| true)
                .expect("read")
                .open;
            let leases: Vec<&str> = found
                .iter()
                .flat_map(|again| &again.session.leases)
                .map(|lease| lease.id.expose())
                .collect();
            assert_eq!(leases, expected);
        }
    }

    #[test]
    fn looks_in_passing_become_rarer() {
        let home = tempfile::tempdir().expect("a scratch directory");
        let at = |minute: u64| {
            humantime::parse_rfc3339("2026-11-24T10:00:00Z").expect("a time")
                + Duration::from_secs(minute * 60)
        };
        let due = |events: &[String], minute| {
            let lines: Vec<String> = std::iter::once(lent()).chain(events.to_vec()).collect();
            let found = record(&home, &lines)
                .left(IN_PASSING, |_| false, |_| true)
                .expect("read")
                .open;
            found[0].is_due(at(minute))
        };
        let ended = event("ended", 1, ["queued", "revoked"]);
        assert!(due(std::slice::from_ref(&ended), 1));
        let looked = [ended, event("looked_again", 11, ["queued", "revoked"])];
        assert!(!due(&looked, 20));
        assert!(due(&looked, 21));
    }
}
