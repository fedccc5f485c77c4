//! Private directories and files: nobody else can have put them there, and nobody else can read them.
//!
//! Every step after the first works from the directory's own descriptor, so that no path is looked up twice.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmod, fchmodat, fstat, mkdirat};
use nix::sys::statfs::{Statfs, fstatfs, statfs};
use nix::unistd::{Uid, UnlinkatFlags, geteuid, unlinkat};

use crate::failpoint;
use crate::variables::Variables;

/// What a file system does with what is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Storage {
    /// tmpfs, ramfs: never on a disk but by swap.
    Memory,
    /// Anything else that is local.
    Disk,
}

/// A place where private directories may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub path: PathBuf,
    /// Where its files end up.
    pub storage: Storage,
}

/// The candidates in the order in which they are tried: memory first; among equals $XDG_RUNTIME_DIR, /dev/shm, /run/user/UID, $TMPDIR,
/// /tmp. A network file system is none: locks and unlinks do not hold there.
pub fn places(variables: &Variables) -> Vec<Place> {
    let own_runtime = format!("/run/user/{}", geteuid());
    let named = |name| {
        variables
            .text(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let candidates = [
        named("XDG_RUNTIME_DIR"),
        Some(PathBuf::from("/dev/shm")),
        Some(PathBuf::from(own_runtime)),
        named("TMPDIR"),
        Some(PathBuf::from("/tmp")),
    ];
    let mut places: Vec<Place> = Vec::new();
    for path in candidates.into_iter().flatten() {
        if let Some(storage) = storage(&path)
            && places.iter().all(|place| place.path != path)
        {
            places.push(Place { path, storage });
        }
    }
    // Stable: the order above stands among equals.
    places.sort_by_key(|place| place.storage);
    places
}

fn storage(path: &Path) -> Option<Storage> {
    storage_of(&statfs(path).ok()?)
}

/// Whether a file system keeps what is written in memory alone.
pub(crate) fn in_memory(directory: impl AsFd) -> bool {
    fstatfs(directory).is_ok_and(|found| storage_of(&found) == Some(Storage::Memory))
}

/// tmpfs and ramfs (nix has no name for the second) are memory; NFS is no place.
#[cfg(target_os = "linux")]
fn storage_of(found: &Statfs) -> Option<Storage> {
    storage_of_kind(found.filesystem_type())
}

#[cfg(target_os = "linux")]
fn storage_of_kind(kind: nix::sys::statfs::FsType) -> Option<Storage> {
    use nix::sys::statfs::{NFS_SUPER_MAGIC, TMPFS_MAGIC};
    const RAMFS_MAGIC: i64 = 0x8584_58f6;
    #[allow(
        clippy::useless_conversion,
        reason = "the type of f_type differs by platform"
    )]
    let number = i64::from(kind.0);
    match kind {
        NFS_SUPER_MAGIC => None,
        TMPFS_MAGIC => Some(Storage::Memory),
        _ if number == RAMFS_MAGIC => Some(Storage::Memory),
        _ => Some(Storage::Disk),
    }
}

/// By the names that the system gives.
#[cfg(not(target_os = "linux"))]
fn storage_of(found: &Statfs) -> Option<Storage> {
    match found.filesystem_type_name() {
        "nfs" | "smbfs" | "afpfs" | "webdav" => None,
        "tmpfs" => Some(Storage::Memory),
        _ => Some(Storage::Disk),
    }
}

/// An open directory that only we can write to and read.
#[derive(Debug)]
pub struct PrivateDir {
    descriptor: OwnedFd,
    path: PathBuf,
}

impl PrivateDir {
    /// Opens or makes `name` in a place that others may share (`/dev/shm`, `/tmp`).
    ///
    /// Refused where somebody else could exchange it under us: a place that neither root nor we own, or that others may write to without
    /// the sticky bit; a link, another's directory, or one that others may enter, under our name.
    pub fn in_shared(place: &Path, name: &str) -> io::Result<Self> {
        let parent = shared(place)?;
        Self::make(parent.as_fd(), place.join(name), name, true)
    }

    /// Opens `name` in such a place, under the same conditions; an error of kind `NotFound` where it is not there.
    pub fn open_in_shared(place: &Path, name: &str) -> io::Result<Self> {
        let parent = shared(place)?;
        Self::checked(open_directory(parent, OsStr::new(name))?, place.join(name))
    }

    /// Opens `name` in this directory; an error of kind `NotFound` where it is not there.
    pub fn open(&self, name: &OsStr) -> io::Result<Self> {
        Self::checked(
            open_directory(&self.descriptor, name)?,
            self.path.join(name),
        )
    }

    /// Makes `name` in this directory; it must not be there yet.
    pub fn create(&self, name: &str) -> io::Result<Self> {
        Self::make(self.descriptor.as_fd(), self.path.join(name), name, false)
    }

    /// Opens or makes `name` in this directory.
    pub fn open_or_create(&self, name: &str) -> io::Result<Self> {
        Self::make(self.descriptor.as_fd(), self.path.join(name), name, true)
    }

    fn make(
        parent: impl AsFd + Copy,
        path: PathBuf,
        name: &str,
        may_exist: bool,
    ) -> io::Result<Self> {
        let made = match mkdirat(parent, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) if may_exist => false,
            Err(error) => return Err(error.into()),
        };
        let open = || {
            if made {
                // The umask may have taken our own bits away. The entry is the one that we have just made: in a shared place the
                // sticky bit keeps others from exchanging it.
                fchmodat(parent, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
            }
            open_directory(parent, OsStr::new(name))
        };
        let descriptor = open().inspect_err(|_| {
            // Without a descriptor left, nobody would know of it.
            if made {
                let _ = unlinkat(parent, name, UnlinkatFlags::RemoveDir);
            }
        })?;
        Self::checked(descriptor, path)
    }

    fn checked(descriptor: OwnedFd, path: PathBuf) -> io::Result<Self> {
        let found = fstat(&descriptor)?;
        if !owned(&found, false) {
            return Err(io::Error::other(format!(
                "`{}` belongs to another user",
                path.display()
            )));
        }
        if found.st_mode & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "`{}` is open to others (mode {:o})",
                path.display(),
                found.st_mode & 0o7777
            )));
        }
        Ok(Self { descriptor, path })
    }

    /// The directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a new file, mode 0600. Never follows or replaces what is there. After an error no part of the file is left.
    ///
    /// Nothing is synced: bytes that never reach a disk need not be wiped from one.
    pub fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let flags =
            OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let descriptor = openat(&self.descriptor, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let written = fchmod(&descriptor, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(io::Error::from)
            .and_then(|()| fill(descriptor.into(), contents));
        if written.is_err() {
            // A full file system leaves an empty file behind, which dbt would take for a profiles.yml.
            let _ = super::shred::file(&self.descriptor, OsStr::new(name));
        }
        written
    }

    /// Removes this directory's entry from `parent`, if it is empty. That it is gone already is as good.
    pub fn remove_from(self, parent: &Self) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default();
        failpoint::passed("unlinking")?;
        match unlinkat(&parent.descriptor, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes an empty directory below this one, where it is there.
    pub fn remove_empty(&self, below: &str) {
        let _ = unlinkat(&self.descriptor, below, UnlinkatFlags::RemoveDir);
    }
}

impl AsFd for PrivateDir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn fill(mut file: std::fs::File, contents: &[u8]) -> io::Result<()> {
    failpoint::passed("file_created")?;
    let (first, rest) = failpoint::halves(contents);
    file.write_all(first)?;
    failpoint::passed("half_written")?;
    file.write_all(rest)?;
    failpoint::passed("written")
}

/// A place where others cannot exchange what we make.
fn shared(place: &Path) -> io::Result<OwnedFd> {
    let directory = open_directory(AT_FDCWD, place.as_os_str())?;
    let found = fstat(&directory)?;
    let writable_by_others = found.st_mode & 0o022 != 0;
    let sticky = found.st_mode & 0o1000 != 0;
    if !owned(&found, true) || (writable_by_others && !sticky) {
        return Err(io::Error::other("others could exchange what lies in it"));
    }
    Ok(directory)
}

fn open_directory(parent: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

fn owned(found: &FileStat, or_root: bool) -> bool {
    let owner = Uid::from_raw(found.st_uid);
    owner == geteuid() || (or_root && owner.is_root())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().expect("a scratch directory")
    }

    #[test]
    fn directories_are_0700_and_files_0600() {
        let place = scratch();
        let directory = PrivateDir::in_shared(place.path(), "ours").expect("made");
        directory.write("profiles.yml", b"x: 1\n").expect("written");
        assert_eq!(
            place.path().join("ours").metadata().expect("there").mode() & 0o7777,
            0o700
        );
        assert_eq!(
            place
                .path()
                .join("ours/profiles.yml")
                .metadata()
                .expect("there")
                .mode()
                & 0o7777,
            0o600
        );
    }

    #[test]
    fn a_planted_link_is_not_followed() {
        let place = scratch();
        let victim = scratch();
        symlink(victim.path(), place.path().join("ours")).expect("planted");
        assert!(PrivateDir::in_shared(place.path(), "ours").is_err());

        let directory = PrivateDir::in_shared(place.path(), "real").expect("made");
        symlink(
            victim.path().join("created"),
            place.path().join("real/profiles.yml"),
        )
        .expect("planted");
        assert!(directory.write("profiles.yml", b"x").is_err());
        assert!(!victim.path().join("created").exists());
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused() {
        let place = scratch();
        std::fs::create_dir(place.path().join("ours")).expect("planted");
        std::fs::set_permissions(place.path().join("ours"), PermissionsExt::from_mode(0o755))
            .expect("opened");
        let refusal = PrivateDir::in_shared(place.path(), "ours")
            .expect_err("refused")
            .to_string();
        assert!(refusal.contains("open to others (mode 755)"), "{refusal}");
    }

    #[test]
    fn a_place_where_others_could_exchange_it_is_refused() {
        let place = scratch();
        std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).expect("opened");
        assert!(PrivateDir::in_shared(place.path(), "ours").is_err());
        std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o1777)).expect("sticky");
        assert!(PrivateDir::in_shared(place.path(), "ours").is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_network_file_system_is_no_place() {
        use nix::sys::statfs::{EXT4_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC, TMPFS_MAGIC};
        assert_eq!(storage_of_kind(NFS_SUPER_MAGIC), None);
        assert_eq!(storage_of_kind(TMPFS_MAGIC), Some(Storage::Memory));
        assert_eq!(storage_of_kind(FsType(0x8584_58f6)), Some(Storage::Memory));
        assert_eq!(storage_of_kind(EXT4_SUPER_MAGIC), Some(Storage::Disk));
    }

    #[test]
    fn memory_comes_before_disk_and_the_order_stands_otherwise() {
        let disk = scratch();
        let variables: Variables = [("TMPDIR", disk.path())].into_iter().collect();
        let places = places(&variables);
        let storages: Vec<_> = places.iter().map(|place| place.storage).collect();
        assert!(storages.is_sorted(), "{places:?}");
        assert!(places.iter().any(|place| place.path == disk.path()));
    }
}
