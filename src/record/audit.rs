//! The record: JSON lines, one event a line, appended and never changed.
//!
//! `lent` is on file before the child starts, `ended` after it. Lease ids stand here and nowhere else: whoever has one can end the
//! lease. No secret and no argument of the command stands here.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

#[cfg(target_os = "linux")]
use nix::errno::Errno;
#[cfg(target_os = "linux")]
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::unistd::geteuid;
use serde::Serialize;

use crate::directories::make_private;
use crate::failpoint;
use crate::variables::{DBT_LEASE_AUDIT_FILE, Variables};
use crate::vault::lease::Revocation;

/// The format's version, in each line. It grows when a field changes its meaning or goes; new fields do not count.
pub const VERSION: u32 = 1;

/// One line of the record.
#[derive(Debug, Serialize)]
pub struct Event<'a> {
    /// [`VERSION`]
    pub version: u32,
    /// RFC 3339, UTC, milliseconds.
    pub time: String,
    /// The session's id; the same in both events, in dbt's artifacts and in Vault's audit log.
    pub session: &'a str,
    /// What happened.
    #[serde(flatten)]
    pub kind: Kind<'a>,
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Kind<'a> {
    /// Credentials were obtained; the child is about to start.
    Lent(Lent<'a>),
    /// The child has ended (or never started), and everything was taken back as far as it could be.
    Ended(Ended<'a>),
    /// What an ended session could not have revoked was tried again, by a later session or `sweep`.
    LookedAgain(LookedAgain<'a>),
}

/// Who borrowed what, where and for what.
#[derive(Debug, Serialize)]
pub struct Lent<'a> {
    /// The user's name, where it has one, and number.
    pub user: Option<String>,
    /// The effective user id.
    pub uid: u32,
    /// The host's name.
    pub host: Option<String>,
    /// This process.
    pub pid: u32,
    /// The dbt project's name.
    pub project: Option<&'a str>,
    /// The profile's name.
    pub profile: &'a str,
    /// The target's name.
    pub target: &'a str,
    /// The environment.
    pub environment: &'a str,
    /// Whether it is protected.
    pub protected: bool,
    /// Vault's address.
    pub address: &'a str,
    /// `vault` or `openbao`, where the token's form tells.
    pub product: Option<&'a str>,
    /// Vault's namespace.
    pub namespace: Option<&'a str>,
    /// The login.
    pub login: Login<'a>,
    /// The secrets, in order.
    pub secrets: Vec<LentSecret<'a>>,
}

/// A login.
#[derive(Debug, Serialize)]
pub struct Login<'a> {
    /// `approle`, `token`, …
    pub method: &'a str,
    /// The request's id, as in Vault's audit log.
    pub request_id: Option<&'a str>,
    /// The token's accessor.
    pub accessor: Option<&'a str>,
}

/// One secret of a session.
#[derive(Debug, Serialize)]
pub struct LentSecret<'a> {
    /// Its name in dbt-lease.yml.
    pub name: &'a str,
    /// Its path in Vault.
    pub path: &'a str,
    /// The request's id, as in Vault's audit log.
    pub request_id: Option<&'a str>,
    /// The lease, where the secret has one. A kill switch: whoever has it can end the lease.
    pub lease_id: Option<&'a str>,
    /// The lease's duration as Vault said it, seconds.
    pub lease_seconds: Option<u64>,
    /// What the lease's revocation does to the credential, where it is not sure to end it: `unsure`, `nothing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// When a credential without a lease ends; nothing ends it before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// The database user, where the secret has a `username`.
    pub database_user: Option<&'a str>,
}

/// How a session ended.
#[derive(Debug, Serialize)]
pub struct Ended<'a> {
    /// The environment.
    pub environment: &'a str,
    /// `exit 0`, `signal SIGTERM`, `not started`, `killed: …`, `swept`, …
    pub result: String,
    /// From `lent` to here, seconds.
    pub seconds: f64,
    /// `removed`, or why not.
    pub directory: String,
    /// What became of each lease, in the order of `lent`.
    pub leases: Vec<TakenBack<'a>>,
    /// The paths of what came without a lease: it cannot be revoked. A janitor does not know of them.
    pub without_lease: &'a [String],
    /// What became of the token: `revoked`, `kept` (the user's own), `expires`, or why it was not revoked.
    pub token: String,
    /// Whether nobody has seen the answer to a login: Vault may have made a token for it, which holds no lease and ends by its time.
    pub unseen_token: bool,
    /// The search for what was lent in the files that the command wrote; none where nothing was run, or the session was killed.
    pub search: Option<Search<'a>>,
}

/// What became of leases that were left open at their session's end.
#[derive(Debug, Serialize)]
pub struct LookedAgain<'a> {
    /// The environment.
    pub environment: &'a str,
    /// What became of each lease that was open.
    pub leases: Vec<TakenBack<'a>>,
}

/// The search for what was lent in the files that the command wrote.
#[derive(Debug, Default, Serialize)]
pub struct Search<'a> {
    /// `nothing` (was found), `found`, `incomplete`, `skipped`
    pub result: &'static str,
    /// How many files were read.
    pub files: usize,
    /// How many bytes.
    pub bytes: u64,
    /// Why not everything was looked at.
    pub why: Option<&'a str>,
    /// Where it was found.
    pub found: Vec<Found<'a>>,
}

/// A secret in a file; never its value.
#[derive(Debug, Serialize)]
pub struct Found<'a> {
    /// The file.
    pub file: &'a Path,
    /// Where in it, bytes.
    pub offset: u64,
    /// Whose value: `warehouse.password`.
    pub secret: &'a str,
    /// In which form.
    pub form: &'static str,
}

/// What became of one lease.
#[derive(Debug, Serialize)]
pub struct TakenBack<'a> {
    /// The lease.
    pub lease_id: &'a str,
    /// `revoked`, `ended_with_token`, `shortened`, `queued`, `failed`, `unknown`
    pub result: &'static str,
    /// By what that is known: `sync revocation`, … or the server's words where it failed.
    pub proof: String,
    /// When it ends at the latest, where it is not known to be gone.
    pub lives_until: Option<String>,
    /// What `--verify` saw; none without it.
    pub verified: Option<Verified>,
}

/// What a second look saw.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// `lookup`, `login`
    pub by: &'static str,
    /// `gone`, `still_there`, `not_known`
    pub result: &'static str,
    /// By what that is known, or why it is not.
    pub why: String,
}

/// Why there can be no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Neither DBT_LEASE_AUDIT_FILE nor XDG_STATE_HOME nor HOME says where.
    #[error(
        "no place for the record: neither DBT_LEASE_AUDIT_FILE nor XDG_STATE_HOME nor HOME is set"
    )]
    NoPlace,
    /// The file cannot be opened or made.
    #[error("cannot write the record `{}`: {cause}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        cause: io::Error,
    },
    /// The file is not ours alone.
    #[error("the record `{}` {why}", .path.display())]
    NotPrivate {
        /// The file.
        path: PathBuf,
        /// In what way.
        why: String,
        /// Whether its mode is all that is wrong.
        chmod_helps: bool,
    },
}

impl RecordError {
    /// A stable word for JSON.
    pub fn kind(&self) -> &'static str {
        "record"
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotPrivate {
                path,
                chmod_helps: true,
                ..
            } => format!(
                "make it yours alone, `chmod 600 {}`, or set {DBT_LEASE_AUDIT_FILE} to another file",
                path.display()
            ),
            Self::NotPrivate { .. } => {
                format!("set {DBT_LEASE_AUDIT_FILE} to a file of this user's own")
            }
            Self::NoPlace | Self::Open { .. } => {
                format!("set {DBT_LEASE_AUDIT_FILE} to a file that this user can write")
            }
        })
    }
}

/// The open record.
#[derive(Debug)]
pub struct Record {
    file: File,
    path: PathBuf,
}

impl Record {
    /// Opens or makes the record: DBT_LEASE_AUDIT_FILE, else `$XDG_STATE_HOME/dbt-lease/audit.jsonl`, else below `~/.local/state`.
    pub fn open(variables: &Variables) -> Result<Self, RecordError> {
        let path = path(variables).ok_or(RecordError::NoPlace)?;
        let failed = |cause| RecordError::Open {
            path: path.clone(),
            cause,
        };
        if variables.text(DBT_LEASE_AUDIT_FILE).is_none()
            && let Some(parent) = path.parent()
        {
            make_private(parent).map_err(failed)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .read(true)
            .create(true)
            .mode(0o600)
            // O_NONBLOCK: opening a pipe that nobody reads would wait for ever. It changes nothing for a regular file.
            .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
            .open(&path)
            .map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        let not_private = |why: String, chmod_helps| {
            Err(RecordError::NotPrivate {
                path: path.clone(),
                why,
                chmod_helps,
            })
        };
        if !found.is_file() {
            return not_private("is not a regular file".to_owned(), false);
        }
        if found.uid() != geteuid().as_raw() {
            return not_private(format!("belongs to user {}", found.uid()), false);
        }
        if found.mode() & 0o077 != 0 {
            let mode = found.mode() & 0o777;
            return not_private(format!("can be read by others (mode {mode:o})"), true);
        }
        // A umask may have taken our own bits away when it was made, and the next session could not open it.
        if found.mode() & 0o600 != 0o600 {
            file.set_permissions(Permissions::from_mode(0o600))
                .map_err(failed)?;
        }
        Ok(Self { file, path })
    }

    /// The record on a descriptor that [`Record::share`] gave.
    pub fn shared(descriptor: OwnedFd) -> Self {
        Self {
            file: File::from(descriptor),
            path: PathBuf::new(),
        }
    }

    /// A second descriptor of the same open file, with its [`Record::claim`], for the process that cleans up after this one.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.file.as_fd().try_clone_to_owned()
    }

    /// Marks a session as living (or, where it is dead, as being dealt with by us) until every descriptor of this open file is
    /// closed; false where somebody else has marked it.
    ///
    /// The mark is a lock on the record itself, at a byte of the session's own: it is seen wherever its lease ids are seen, also from
    /// another container or with another $XDG_RUNTIME_DIR.
    #[cfg(target_os = "linux")]
    pub fn claim(&self, session: &str) -> io::Result<bool> {
        match fcntl(&self.file, FcntlArg::F_OFD_SETLK(&mark(session))) {
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Not there: nothing that is on record is taken for dead.
    #[cfg(not(target_os = "linux"))]
    pub fn claim(&self, _session: &str) -> io::Result<bool> {
        Ok(false)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one event. One write a line: with O_APPEND, lines of sessions that run at once do not mix.
    pub fn append(&mut self, session: &str, kind: Kind<'_>) -> io::Result<()> {
        failpoint::passed(match kind {
            Kind::Lent(_) => "recording_lent",
            Kind::Ended(_) => "recording_ended",
            Kind::LookedAgain(_) => "recording_look",
        })?;
        let event = Event {
            version: VERSION,
            time: stamp(SystemTime::now()),
            session,
            kind,
        };
        let mut line = Vec::new();
        if self.ends_in_half_a_line() {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, &event)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// Whether a full disk once cut a line short: what comes next must not become a part of it.
    fn ends_in_half_a_line(&self) -> bool {
        let mut last = [b'\n'];
        let length = self.file.metadata().map_or(0, |found| found.len());
        length > 0 && self.file.read_at(&mut last, length - 1).is_ok() && last != [b'\n']
    }
}

/// The lock of a session: one byte, far behind the text, at its id's own random number.
#[cfg(target_os = "linux")]
fn mark(session: &str) -> libc::flock {
    let number = session
        .rsplit('-')
        .next()
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .unwrap_or(0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::unnecessary_cast,
        reason = "the constants' types differ by platform; the values are 1 and 0"
    )]
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: (1 << 40) + libc::off_t::from(number),
        l_len: 1,
        l_pid: 0,
    }
}

/// RFC 3339, UTC, milliseconds.
pub fn stamp(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

fn path(variables: &Variables) -> Option<PathBuf> {
    if let Some(file) = variables.text(DBT_LEASE_AUDIT_FILE) {
        return Some(PathBuf::from(file));
    }
    Some(variables.state_home()?.join("dbt-lease/audit.jsonl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> Kind<'static> {
        Kind::Ended(Ended {
            environment: "production",
            result: "exit 0".to_owned(),
            seconds: 1.5,
            directory: "removed".to_owned(),
            leases: vec![TakenBack {
                lease_id: "database/creds/x/1",
                result: "revoked",
                proof: "sync revocation".to_owned(),
                lives_until: None,
                verified: None,
            }],
            without_lease: &[],
            token: "revoked".to_owned(),
            unseen_token: false,
            search: None,
        })
    }

    #[test]
    fn events_are_json_lines_in_a_private_file() {
        let home = tempfile::tempdir().expect("a scratch directory");
        let variables: Variables = [("HOME", home.path())].into_iter().collect();
        let mut record = Record::open(&variables).expect("opened");
        record.append("s1", ended()).expect("appended");
        record.append("s2", ended()).expect("appended");
        let file = home.path().join(".local/state/dbt-lease/audit.jsonl");
        assert_eq!(record.path(), file);
        assert_eq!(file.metadata().expect("there").mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&file).expect("read");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines[1]["session"], "s2");
        assert_eq!(lines[0]["version"], 1);
        assert_eq!(lines[0]["event"], "ended");
        assert_eq!(lines[0]["leases"][0]["result"], "revoked");
    }

    #[test]
    fn a_record_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().expect("a scratch directory");
        let file = home.path().join("audit");
        std::fs::write(&file, "").expect("made");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("opened");
        let variables: Variables = [(DBT_LEASE_AUDIT_FILE, &file)].into_iter().collect();
        let refusal = Record::open(&variables).expect_err("refused");
        assert!(
            refusal
                .to_string()
                .contains("can be read by others (mode 644)"),
            "{refusal}"
        );
        assert!(refusal.hint().expect("a hint").contains("chmod 600"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_session_is_claimed_until_every_descriptor_of_its_record_is_closed() {
        let home = tempfile::tempdir().expect("a scratch directory");
        let variables: Variables = [("HOME", home.path())].into_iter().collect();
        let session = "20261124T101530Z-9f86d081";
        let ours = Record::open(&variables).expect("opened");
        let others = Record::open(&variables).expect("opened");
        assert!(ours.claim(session).expect("asked"));
        let shared = ours.share().expect("a second descriptor");
        drop(ours);
        assert!(!others.claim(session).expect("asked"));
        assert!(others.claim("20261124T101530Z-9f86d082").expect("asked"));
        drop(Record::shared(shared));
        assert!(others.claim(session).expect("asked"));
    }

    #[test]
    fn without_a_place_the_refusal_names_the_variable() {
        let refusal = Record::open(&Variables::default()).expect_err("refused");
        assert!(
            refusal
                .hint()
                .expect("a hint")
                .contains(DBT_LEASE_AUDIT_FILE)
        );
    }
}
