//! Replacing a file as a whole: its readers see the old text or the new one, its mode and owner stay, and no link is followed.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fsync, unlinkat};
use zeroize::Zeroizing;

use super::failure::Failure;
use crate::crypto;

/// A file of ours is a few kilobytes.
const LARGEST: u64 = 16 << 20;

/// A file in a directory that is held open.
pub(crate) struct Place {
    directory: OwnedFd,
    name: PathBuf,
    path: PathBuf,
}

/// What stands at a place.
pub(crate) struct Standing {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    mode: u32,
    owner: (u32, u32),
}

impl Place {
    /// The place of a file, which need not be there.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        let descriptor =
            open(directory, flags, Mode::empty()).map_err(|error| unwritable(path, error))?;
        Ok(Self {
            directory: descriptor,
            name: path.file_name().map(PathBuf::from).unwrap_or_default(),
            path: path.to_owned(),
        })
    }

    /// The file there; none where there is nothing.
    ///
    /// # Errors
    /// There is a link or something else than a file.
    pub(crate) fn read(&self) -> Result<Option<Standing>, Failure> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let descriptor = match openat(&self.directory, &self.name, flags, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Err(self.is_link()),
            Err(error) => return Err(unwritable(&self.path, error)),
        };
        let mut file = File::from(descriptor);
        let found = file.metadata().map_err(|error| self.failed(&error))?;
        if !found.is_file() {
            return Err(self.refused("it is no file", None));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        (&mut file)
            .take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed(&error))?;
        Ok(Some(Standing {
            bytes,
            mode: found.mode() & 0o7777,
            owner: (found.uid(), found.gid()),
        }))
    }

    /// Replaces what was read (or nothing) by a new text. `mode` is that of a file that was not there.
    ///
    /// # Errors
    /// It cannot be written, or is another by now.
    pub(crate) fn replace(
        &self,
        old: Option<&Standing>,
        new: &[u8],
        mode: u32,
    ) -> Result<(), Failure> {
        let temporary = self.temporary()?;
        let written = self.write(&temporary, old, new, mode).and_then(|()| {
            // Last, so that what somebody wrote meanwhile is not lost.
            let now = self.read()?;
            let same = match (old, &now) {
                (Some(old), Some(now)) => old.bytes == now.bytes,
                (None, None) => true,
                _ => false,
            };
            if !same {
                return Err(self.refused("it was changed meanwhile", Some("run it again")));
            }
            renameat(&self.directory, &temporary, &self.directory, &self.name)
                .map_err(|error| unwritable(&self.path, error))
        });
        match written {
            Ok(()) => {
                // The rename stands without it too; a file system without it is no failure of ours.
                let _ = fsync(&self.directory);
                Ok(())
            }
            Err(failure) => {
                let _ = unlinkat(&self.directory, &temporary, UnlinkatFlags::NoRemoveDir);
                Err(failure)
            }
        }
    }

    fn write(
        &self,
        temporary: &Path,
        old: Option<&Standing>,
        new: &[u8],
        mode: u32,
    ) -> Result<(), Failure> {
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let descriptor = openat(
            &self.directory,
            temporary,
            flags,
            Mode::from_bits_truncate(0o600),
        )
        .map_err(|error| unwritable(&self.path, error))?;
        let mut file = File::from(descriptor);
        let made = || -> io::Result<()> {
            file.write_all(new)?;
            if let Some(old) = old {
                let found = file.metadata()?;
                if (found.uid(), found.gid()) != old.owner {
                    fchown(&file, Some(old.owner.0), Some(old.owner.1))?;
                }
            }
            let mode = old.map_or(mode, |old| old.mode);
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            file.sync_all()
        };
        let mut made = made;
        made().map_err(|error| self.failed(&error))
    }

    fn temporary(&self) -> Result<PathBuf, Failure> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| self.failed(&io::Error::other(error)))?;
        Ok(PathBuf::from(format!(
            ".{}.{}",
            self.name.to_string_lossy(),
            crypto::hex(&random)
        )))
    }

    fn is_link(&self) -> Failure {
        let hint = match std::fs::read_link(&self.path) {
            Ok(target) => format!(
                "it leads to `{}`: name the directory of the file itself",
                target.display()
            ),
            Err(_) => "name the directory of the file itself".to_owned(),
        };
        self.refused("it is a link", Some(&hint))
    }

    fn refused(&self, why: &str, hint: Option<&str>) -> Failure {
        Failure::new(
            "not_written",
            format!("`{}` is not written: {why}", self.path.display()),
            hint,
        )
    }

    fn failed(&self, error: &io::Error) -> Failure {
        self.refused(&error.to_string(), None)
    }
}

fn unwritable(path: &Path, error: Errno) -> Failure {
    Failure::new(
        "not_written",
        format!("`{}` cannot be written: {}", path.display(), error.desc()),
        None,
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::Place;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        fs::write(&path, "old").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("set");
        let place = Place::of(&path).expect("a place");
        let old = place.read().expect("read").expect("it is there");
        place.replace(Some(&old), b"new", 0o644).expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o7777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
    }

    #[test]
    fn a_link_is_neither_read_nor_written_through() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, other) = (dir.path().join("f"), dir.path().join("other"));
        fs::write(&other, "other").expect("written");
        symlink(&other, &path).expect("linked");
        let place = Place::of(&path).expect("a place");
        let failure = place.read().err().expect("refused");
        assert!(
            failure.message.contains("it is a link"),
            "{}",
            failure.message
        );
        place.replace(None, b"new", 0o644).expect_err("refused");
        assert_eq!(fs::read(&other).expect("read"), b"other");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 2);
    }

    #[test]
    fn what_was_changed_meanwhile_is_not_lost() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        fs::write(&path, "old").expect("written");
        let place = Place::of(&path).expect("a place");
        let old = place.read().expect("read").expect("it is there");
        fs::write(&path, "by somebody").expect("written");
        place
            .replace(Some(&old), b"new", 0o644)
            .expect_err("refused");
        assert_eq!(fs::read(&path).expect("read"), b"by somebody");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
    }
}
