//! Removing what dead sessions left behind: directories whose lock nobody holds any more.
//!
//! A directory's lock is free exactly when both processes of its session are dead (see [`super::session`]), so no pid is compared
//! and no age is guessed. The lock of `dbt-lease-UID` is held all the while, or a directory that was just made, and is not locked yet,
//! would look dead.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::FlockArg;
use nix::sys::stat::fstat;

use super::private::{Place, PrivateDir};
use super::session::{base_name, lock, remove_if_empty};
use super::shred;

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Swept {
    /// The dead directories that are gone now.
    pub removed: Vec<PathBuf>,
    /// The directories that somebody alive holds.
    pub living: Vec<PathBuf>,
    /// What could not be removed, and why.
    pub failed: Vec<(PathBuf, io::Error)>,
}

/// What became of one directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was shredded and removed.
    Removed,
    /// It was not there (any more).
    Absent,
    /// Somebody alive holds it.
    Held,
}

/// Sweeps all places. A place whose lock is held is passed over, unless `patient`: another session is making or removing something
/// there.
pub fn sweep(places: &[Place], patient: bool) -> Swept {
    let mut swept = Swept::default();
    for place in places {
        let path = place.path.join(base_name());
        match sweep_place(place, patient, &mut swept) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Somebody else's directory under our name is not ours to sweep, and is passed over when directories are made, too.
            Err(error) if patient => swept.failed.push((path, error)),
            Ok(()) | Err(_) => {}
        }
    }
    swept
}

fn sweep_place(place: &Place, patient: bool, swept: &mut Swept) -> io::Result<()> {
    let base = PrivateDir::open_in_shared(&place.path, &base_name())?;
    let how = if patient {
        FlockArg::LockExclusive
    } else {
        FlockArg::LockExclusiveNonblock
    };
    let _guard = lock(&base, how)?;
    for entry in std::fs::read_dir(base.path())? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        let path = entry.path();
        match remove_locked(&base, &entry.file_name(), None) {
            Ok(Fate::Removed) => swept.removed.push(path),
            Ok(Fate::Held) => swept.living.push(path),
            Ok(Fate::Absent) => {}
            Err(error) => swept.failed.push((path, error)),
        }
    }
    remove_if_empty(&base);
    Ok(())
}

/// Shreds and removes one directory, `PLACE/dbt-lease-UID/NAME`, unless somebody alive holds it. `ours` is a descriptor that already
/// has its lock.
pub fn remove(path: &Path, ours: Option<&OwnedFd>) -> io::Result<Fate> {
    match remove_from_its_place(path, ours) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Fate::Absent),
        other => other,
    }
}

fn remove_from_its_place(path: &Path, ours: Option<&OwnedFd>) -> io::Result<Fate> {
    let base = path.parent().unwrap_or(Path::new("/"));
    let place = base.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    let base = PrivateDir::open_in_shared(place, &base_name())?;
    let _guard = lock(&base, FlockArg::LockExclusive)?;
    let fate = remove_locked(&base, name, ours);
    // Also where the session had come no further than this.
    remove_if_empty(&base);
    fate
}

fn remove_locked(base: &PrivateDir, name: &OsStr, ours: Option<&OwnedFd>) -> io::Result<Fate> {
    let directory = base.open(name)?;
    let _lock = match ours {
        // The name may lead to another session's directory by now: `files-N` are taken again and again.
        Some(ours) if !is_same(ours, &directory)? => return Ok(Fate::Absent),
        Some(_) => None,
        None => match lock(&directory, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Some(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fate::Held),
            Err(error) => return Err(error),
        },
    };
    let shredded = shred::contents(&directory);
    directory.remove_from(base)?;
    shredded.map(|()| Fate::Removed)
}

fn is_same(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// The directories that living sessions hold; nothing is removed.
pub fn living(places: &[Place]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for place in places {
        let Ok(base) = PrivateDir::open_in_shared(&place.path, &base_name()) else {
            continue;
        };
        // A directory that is just being made must not find its lock taken by us.
        let Ok(_guard) = lock(&base, FlockArg::LockShared) else {
            continue;
        };
        for entry in std::fs::read_dir(base.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let held = base.open(&entry.file_name()).is_ok_and(|directory| {
                lock(&directory, FlockArg::LockSharedNonblock)
                    .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            });
            if held {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::super::private::Storage;
    use super::*;

    fn place(scratch: &tempfile::TempDir) -> [Place; 1] {
        [Place {
            path: scratch.path().to_owned(),
            storage: Storage::Disk,
        }]
    }

    #[test]
    fn dead_directories_go_and_living_ones_stay() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let base = PrivateDir::in_shared(scratch.path(), &base_name()).expect("made");
        let living = base.create("living").expect("made");
        let held = lock(&living, FlockArg::LockExclusiveNonblock).expect("locked");
        let dead = base.create("dead").expect("made");
        dead.write("profiles.yml", b"secret").expect("written");
        assert_eq!(super::living(&place(&scratch)), [living.path()]);
        let swept = sweep(&place(&scratch), true);
        assert_eq!(swept.removed, [dead.path()]);
        assert_eq!(swept.living, [living.path()]);
        assert!(swept.failed.is_empty(), "{swept:?}");
        drop(held);
        assert_eq!(sweep(&place(&scratch), true).removed, [living.path()]);
        assert_eq!(
            std::fs::read_dir(scratch.path()).expect("listed").count(),
            0
        );
    }

    #[test]
    fn a_place_in_use_is_passed_over_in_passing() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let base = PrivateDir::in_shared(scratch.path(), &base_name()).expect("made");
        base.create("dead").expect("made");
        let guard = lock(&base, FlockArg::LockExclusive).expect("locked");
        assert!(sweep(&place(&scratch), false).removed.is_empty());
        drop(guard);
        assert_eq!(sweep(&place(&scratch), false).removed.len(), 1);
    }

    #[test]
    fn one_directory_is_removed_by_its_holder_and_by_nobody_else() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let base = PrivateDir::in_shared(scratch.path(), &base_name()).expect("made");
        let directory = base.create("files-0").expect("made");
        let held = lock(&directory, FlockArg::LockExclusiveNonblock).expect("locked");
        let path = directory.path();
        assert_eq!(remove(path, None).expect("tried"), Fate::Held);
        let shared = held.as_fd().try_clone_to_owned().expect("a duplicate");
        assert_eq!(remove(path, Some(&shared)).expect("removed"), Fate::Removed);
        // Taken again by another session: what we hold is no longer what has that name.
        let base = PrivateDir::in_shared(scratch.path(), &base_name()).expect("made");
        base.create("files-0").expect("made");
        assert_eq!(remove(path, Some(&shared)).expect("tried"), Fate::Absent);
        assert!(path.is_dir());
    }
}
