//! The session directory: `PLACE/dbt-lease-UID/SESSION`, locked while the session lives, and what lies in it.
//!
//! | path below `PLACE/dbt-lease-UID/` | holds |
//! | --- | --- |
//! | `SESSION/profiles/profiles.yml` | what dbt reads |
//! | `SESSION/profiles/.user.yml` | dbt's anonymous id, copied, since dbt would invent a new one each run |
//! | `SESSION/janitor` | the socket that `status` and `end` ask |
//! | `files-N/` | files that keys of the output name (TLS keys): the same path from run to run, or dbt would parse the whole project anew |
//!
//! A lock belongs to the open directory, which the janitor has too, so it is free exactly when every process of the session is gone.
//! The lock of `dbt-lease-UID` itself is held around each "make and lock" and "unlock and remove", so that nobody locks what is
//! about to go.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use zeroize::Zeroizing;

use super::gate::Gate;
use super::private::{Place, PrivateDir, Storage};
use super::{DeliveryError, shred, words};
use crate::failpoint;
use crate::render::RenderError;
use crate::secret::Secret;

/// The file that dbt reads.
pub(super) const PROFILES_YML: &str = "profiles.yml";

/// What is written.
pub struct Contents {
    /// The generated profiles.yml.
    pub profiles_yml: Zeroizing<String>,
    /// Files that the output's keys name: file name and text.
    pub files: Vec<(String, Secret)>,
    /// The user's `.user.yml`.
    pub user_yml: Option<Vec<u8>>,
}

/// What whoever cleans up for us is told on the way.
pub enum Step<'a> {
    /// A directory is about to be made, or to be taken over.
    Coming(&'a Path),
    /// The session's directory is there and locked by this descriptor; nothing is in it yet.
    Session(&'a Path, BorrowedFd<'a>),
    /// `files-N` is locked by this descriptor.
    Files(&'a Path, BorrowedFd<'a>),
}

/// The lock of a directory, held as long as this value lives.
pub(super) type DirectoryLock = Flock<OwnedFd>;

/// A session's directory with its contents. Dropping it shreds and removes it, on a panic too; [`SessionDir::remove`] also says
/// whether that went well.
pub struct SessionDir {
    base: PrivateDir,
    parts: Option<Parts>,
    storage: Storage,
    /// Descriptors that are held for the removal: it must not fail because the process has no more.
    reserve: [Option<OwnedFd>; 3],
}

struct Parts {
    session: Locked,
    profiles: PrivateDir,
    files: Option<Locked>,
}

/// A directory that is locked by us.
struct Locked {
    directory: PrivateDir,
    _lock: DirectoryLock,
}

impl SessionDir {
    /// Makes the directory in the first place that can take all of it.
    ///
    /// `make` is told the directory of `files-N`, where `wants_files`, and gives the contents; its refusal is final. `tell` hears of
    /// each directory before it is made, so that a death in between leaves nothing unknown.
    pub fn deliver(
        places: &[Place],
        session: &str,
        wants_files: bool,
        tell: &dyn Fn(Step<'_>),
        make: &dyn Fn(Option<&Path>) -> Result<Contents, RenderError>,
    ) -> Result<Self, DeliveryError> {
        let mut tried = Vec::new();
        for place in places {
            match Self::deliver_in(place, session, wants_files, tell, make) {
                Ok(delivered) => return Ok(delivered),
                Err(Refusal::Contents(error)) => return Err(error.into()),
                Err(Refusal::FileName(name)) => return Err(DeliveryError::FileName(name)),
                Err(Refusal::Place(error)) => tried.push((place.path.clone(), words(&error))),
            }
        }
        Err(DeliveryError::NoPlace(tried))
    }

    fn deliver_in(
        place: &Place,
        session: &str,
        wants_files: bool,
        tell: &dyn Fn(Step<'_>),
        make: &dyn Fn(Option<&Path>) -> Result<Contents, RenderError>,
    ) -> Result<Self, Refusal> {
        let delivered = Self::make(place, session, wants_files, tell)?;
        let parts = delivered.parts.as_ref().expect("just made");
        let contents = make(parts.files.as_ref().map(|files| files.directory.path()))
            .map_err(Refusal::Contents)?;
        for (name, text) in &contents.files {
            let files = parts
                .files
                .as_ref()
                .ok_or_else(|| Refusal::FileName(name.clone()))?;
            if name.is_empty() || name.starts_with('.') || name.contains('/') {
                return Err(Refusal::FileName(name.clone()));
            }
            files.directory.write(name, text.expose().as_bytes())?;
        }
        if let Some(user_yml) = &contents.user_yml {
            parts.profiles.write(".user.yml", user_yml)?;
        }
        parts
            .profiles
            .write(PROFILES_YML, contents.profiles_yml.as_bytes())?;
        Ok(delivered)
    }

    fn make(
        place: &Place,
        session: &str,
        wants_files: bool,
        tell: &dyn Fn(Step<'_>),
    ) -> io::Result<Self> {
        let mut outcome = Self::try_to_make(place, session, wants_files, tell);
        // Another session that ends may remove `dbt-lease-UID` between any two of our steps.
        for _ in 0..64 {
            match outcome {
                Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {
                    outcome = Self::try_to_make(place, session, wants_files, tell);
                }
                other => return other,
            }
        }
        outcome
    }

    fn try_to_make(
        place: &Place,
        session: &str,
        wants_files: bool,
        tell: &dyn Fn(Step<'_>),
    ) -> io::Result<Self> {
        let base = PrivateDir::in_shared(&place.path, &base_name())?;
        let made = || {
            let _guard = lock(&base, FlockArg::LockExclusive)?;
            let parts = Self::parts(&base, session, wants_files, tell)?;
            let reserve = std::array::from_fn(|_| base.as_fd().try_clone_to_owned().ok());
            if reserve.iter().any(Option::is_none) {
                return Err(Errno::EMFILE.into());
            }
            Ok((parts, reserve))
        };
        match made() {
            Ok((parts, reserve)) => Ok(Self {
                base,
                storage: place.storage,
                parts: Some(parts),
                reserve,
            }),
            Err(error) => {
                let _ = shred::file(&base, OsStr::new(&format!("{session}/janitor")));
                base.remove_empty(&format!("{session}/profiles"));
                base.remove_empty(session);
                remove_if_empty(&base);
                Err(error)
            }
        }
    }

    fn parts(
        base: &PrivateDir,
        session: &str,
        wants_files: bool,
        tell: &dyn Fn(Step<'_>),
    ) -> io::Result<Parts> {
        tell(Step::Coming(&base.path().join(session)));
        failpoint::passed("path_told")?;
        let session = base.create(session)?;
        failpoint::passed("directory_made")?;
        let session = Locked::new(session)?;
        tell(Step::Session(
            session.directory.path(),
            session.directory.as_fd(),
        ));
        let profiles = session.directory.create("profiles")?;
        let files = if wants_files {
            Some(first_free(base, tell)?)
        } else {
            None
        };
        Ok(Parts {
            session,
            profiles,
            files,
        })
    }

    /// The directory of the files that keys of the output name; none where there are none.
    pub fn files_dir(&self) -> Option<&Path> {
        let files = self.parts.as_ref()?.files.as_ref()?;
        Some(files.directory.path())
    }

    /// A gate for profiles.yml, for a command that opens it so often.
    ///
    /// # Errors
    /// The user's limit of inotify instances is reached, or the machine has none: then there is no gate.
    pub fn gate(&self, reads: u32) -> io::Result<Gate> {
        let parts = self.parts.as_ref().expect("there until it is removed");
        Gate::on(&parts.profiles, reads)
    }

    /// Where what is written ends up.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// The directory for DBT_PROFILES_DIR.
    pub fn profiles_dir(&self) -> &Path {
        self.parts
            .as_ref()
            .expect("there until it is removed")
            .profiles
            .path()
    }

    /// Leaves the directory to the janitor, whose descriptors hold its locks from now on.
    pub fn leave(mut self) {
        // Dropped, they would not only be closed: a lock that is given up is given up for all descriptors of its file.
        std::mem::forget(self.parts.take());
    }

    /// Shreds the contents and removes the directory.
    pub fn remove(mut self) -> io::Result<()> {
        self.take_away()
    }

    fn take_away(&mut self) -> io::Result<()> {
        let Some(Parts {
            session,
            profiles,
            files,
        }) = self.parts.take()
        else {
            return Ok(());
        };
        self.reserve = [const { None }; 3];
        failpoint::reached("shredding");
        let shredded = shred::contents(&profiles);
        let files_shredded = files
            .as_ref()
            .map_or(Ok(()), |files| shred::contents(&files.directory));
        let _guard = lock(&self.base, FlockArg::LockExclusive)?;
        let removed = profiles
            .remove_from(&session.directory)
            // The janitor's socket, and what the command put beside it.
            .and_then(|()| shred::contents(&session.directory))
            .and_then(|()| session.directory.remove_from(&self.base))
            .and_then(|()| files.map_or(Ok(()), |files| files.directory.remove_from(&self.base)));
        remove_if_empty(&self.base);
        failpoint::reached("unlinked");
        shredded.and(files_shredded).and(removed)
    }
}

impl Drop for SessionDir {
    fn drop(&mut self) {
        // Whoever wants to know the outcome calls `remove`; here a panic or an early return is on its way.
        let _ = self.take_away();
    }
}

impl Locked {
    fn new(directory: PrivateDir) -> io::Result<Self> {
        let lock = lock(&directory, FlockArg::LockExclusiveNonblock)?;
        Ok(Self {
            directory,
            _lock: lock,
        })
    }
}

/// The name of the directory that holds a user's sessions in one place.
pub fn base_name() -> String {
    format!("dbt-lease-{}", geteuid())
}

/// Removes `dbt-lease-UID` itself. Others may still have directories in it; then it stays.
pub(super) fn remove_if_empty(base: &PrivateDir) {
    let _ = std::fs::remove_dir(base.path());
}

pub(super) fn lock(directory: &PrivateDir, how: FlockArg) -> io::Result<DirectoryLock> {
    let descriptor = directory.as_fd().try_clone_to_owned()?;
    Flock::lock(descriptor, how).map_err(|(_, errno)| errno.into())
}

/// The first `files-N` that no living session holds. What a dead one left in it is shredded.
fn first_free(base: &PrivateDir, tell: &dyn Fn(Step<'_>)) -> io::Result<Locked> {
    for number in 0..10_000 {
        let name = format!("files-{number}");
        tell(Step::Coming(&base.path().join(&name)));
        match Locked::new(base.open_or_create(&name)?) {
            Ok(slot) => {
                tell(Step::Files(slot.directory.path(), slot.directory.as_fd()));
                shred::contents(&slot.directory)?;
                return Ok(slot);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("10,000 sessions hold files at once"))
}

enum Refusal {
    Place(io::Error),
    Contents(RenderError),
    FileName(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Place(error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place(scratch: &tempfile::TempDir) -> Place {
        Place {
            path: scratch.path().to_owned(),
            storage: Storage::Disk,
        }
    }

    fn quiet(_: Step<'_>) {}

    fn contents(files: Vec<(String, Secret)>) -> Contents {
        Contents {
            profiles_yml: Zeroizing::new("p: {}\n".to_owned()),
            files,
            user_yml: None,
        }
    }

    fn certificate() -> Vec<(String, Secret)> {
        vec![("sslkey".to_owned(), Secret::new("KEY".to_owned()))]
    }

    #[test]
    fn nothing_is_left_after_the_end() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let session = SessionDir::deliver(&[place(&scratch)], "s1", true, &quiet, &|_| {
            Ok(contents(certificate()))
        })
        .expect("delivered");
        assert!(session.profiles_dir().join("profiles.yml").is_file());
        session.remove().expect("removed");
        assert_eq!(
            std::fs::read_dir(scratch.path()).expect("listed").count(),
            0
        );
    }

    #[test]
    fn a_files_directory_has_the_same_path_again_and_another_one_beside_a_living_session() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let seen = std::cell::RefCell::new(Vec::new());
        let make = |files: Option<&Path>| {
            seen.borrow_mut().push(files.expect("asked for").to_owned());
            Ok(contents(certificate()))
        };
        let places = [place(&scratch)];
        SessionDir::deliver(&places, "s1", true, &quiet, &make)
            .expect("delivered")
            .remove()
            .expect("removed");
        let living = SessionDir::deliver(&places, "s2", true, &quiet, &make).expect("delivered");
        let beside = SessionDir::deliver(&places, "s3", true, &quiet, &make).expect("delivered");
        let seen = seen.borrow();
        assert_eq!(seen[0], seen[1]);
        assert_ne!(seen[1], seen[2]);
        drop((living, beside));
        assert_eq!(
            std::fs::read_dir(scratch.path()).expect("listed").count(),
            0
        );
    }

    #[test]
    fn a_place_that_cannot_take_it_is_passed_over_and_nothing_stays_in_it() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let missing = Place {
            path: scratch.path().join("missing"),
            storage: Storage::Memory,
        };
        let session = SessionDir::deliver(
            &[missing.clone(), place(&scratch)],
            "s1",
            false,
            &quiet,
            &|_| Ok(contents(Vec::new())),
        )
        .expect("delivered");
        assert!(
            session
                .profiles_dir()
                .starts_with(scratch.path().join(format!("dbt-lease-{}", geteuid())))
        );
        drop(session);

        let refusal = SessionDir::deliver(&[missing], "s1", false, &quiet, &|_| {
            Ok(contents(Vec::new()))
        })
        .err()
        .expect("refused")
        .to_string();
        assert!(
            refusal.contains("missing: no such file or directory"),
            "{refusal}"
        );
    }

    #[test]
    fn a_directory_of_our_name_that_others_may_enter_is_passed_over() {
        let (planted, scratch) = (
            tempfile::tempdir().expect("a scratch directory"),
            tempfile::tempdir().expect("a scratch directory"),
        );
        let foreign = planted.path().join(base_name());
        std::fs::create_dir(&foreign).expect("planted");
        std::fs::set_permissions(&foreign, PermissionsExt::from_mode(0o755)).expect("opened");
        let places = [place(&planted), place(&scratch)];
        let session =
            SessionDir::deliver(&places, "s1", false, &quiet, &|_| Ok(contents(Vec::new())))
                .expect("delivered");
        assert!(session.profiles_dir().starts_with(scratch.path()));
        assert_eq!(std::fs::read_dir(&foreign).expect("listed").count(), 0);
    }

    #[test]
    fn sessions_that_begin_and_end_at_once_find_their_place_each_time() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let places = [place(&scratch)];
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let places = &places;
                scope.spawn(move || {
                    for round in 0..300 {
                        SessionDir::deliver(
                            places,
                            &format!("s-{thread}-{round}"),
                            false,
                            &quiet,
                            &|_| Ok(contents(Vec::new())),
                        )
                        .expect("delivered")
                        .remove()
                        .expect("removed");
                    }
                });
            }
        });
        assert_eq!(
            std::fs::read_dir(scratch.path()).expect("listed").count(),
            0
        );
    }
}
