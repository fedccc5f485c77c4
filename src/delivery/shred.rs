//! Shredding: overwrite in place, then unlink.
//!
//! Order and calls are measured, not folklore: truncating first, or rewriting without a sync on a disk, leaves every copy behind; in
//! memory one overwrite does. On a copy-on-write file system or an SSD that remaps, nothing of this helps: there the short life of the
//! credential is the protection.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use nix::sys::uio::pwrite;
use nix::unistd::{UnlinkatFlags, fsync, ftruncate, unlinkat};

use super::private::{PrivateDir, in_memory};
use crate::failpoint;

/// How deep a directory that dbt wrote to is followed.
const DEPTH: usize = 16;

/// Shreds all that is in a directory; the directory itself stays, empty. The first error is returned, after everything was tried.
pub fn contents(directory: &PrivateDir) -> io::Result<()> {
    empty(directory, DEPTH)
}

fn empty(directory: impl AsFd, depth: usize) -> io::Result<()> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    // A descriptor of its own: reading entries moves the offset that duplicates share.
    let mut listing = match Dir::openat(directory.as_fd(), ".", flags, Mode::empty()) {
        Ok(listing) => listing,
        // The directory itself was removed, so nothing is in it.
        Err(Errno::ENOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut entries = Vec::new();
    for entry in listing.iter() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            entries.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    let mut outcome = Ok(());
    for (name, kind) in entries {
        let name = OsStr::from_bytes(name.to_bytes());
        let done = if kind == Some(Type::Directory) && depth > 0 {
            openat(directory.as_fd(), name, flags, Mode::empty())
                .map_err(io::Error::from)
                .and_then(|inner| {
                    // What could not be overwritten is unlinked all the same, and so is what it lay in.
                    let emptied = empty(inner, depth - 1);
                    unlinkat(directory.as_fd(), name, UnlinkatFlags::RemoveDir)?;
                    emptied
                })
        } else {
            file(directory.as_fd(), name)
        };
        outcome = outcome.and(done);
    }
    outcome
}

/// Shreds one file. Where it cannot be overwritten it is unlinked all the same. A link is unlinked, never followed.
pub(crate) fn file(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    let overwritten = overwrite(directory.as_fd(), name);
    unlinkat(directory.as_fd(), name, UnlinkatFlags::NoRemoveDir)?;
    overwritten
}

fn overwrite(directory: impl AsFd, name: &OsStr) -> io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let descriptor = match openat(directory.as_fd(), name, flags, Mode::empty()) {
        Ok(descriptor) => descriptor,
        // A link, a socket or a pipe without a reader holds no bytes of ours.
        Err(Errno::ELOOP | Errno::ENXIO) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    failpoint::passed("overwriting")?;
    let length = fstat(&descriptor)?.st_size;
    let mut at = 0;
    while at < length {
        let wanted = usize::try_from(length - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        let written = pwrite(&descriptor, &ZEROS[..wanted], at)?;
        at += i64::try_from(written).map_err(io::Error::other)?;
    }
    if !in_memory(directory) {
        fsync(&descriptor)?;
    }
    Ok(ftruncate(&descriptor, 0)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_bytes_of_an_open_file_are_gone_before_its_name_is() {
        let place = tempfile::tempdir().expect("a scratch directory");
        let directory = PrivateDir::in_shared(place.path(), "ours").expect("made");
        directory
            .write("profiles.yml", &vec![b'x'; 10_000])
            .expect("written");
        // A hard link keeps the file's bytes visible after the unlink.
        let kept = place.path().join("kept");
        std::fs::hard_link(place.path().join("ours/profiles.yml"), &kept).expect("linked");
        let mut reader = std::fs::File::open(&kept).expect("open");
        contents(&directory).expect("shredded");
        let mut left = Vec::new();
        reader.rewind().expect("rewound");
        reader.read_to_end(&mut left).expect("read");
        assert!(left.iter().all(|byte| *byte == 0), "bytes left");
        assert_eq!(
            std::fs::read_dir(place.path().join("ours"))
                .expect("listed")
                .count(),
            0
        );
    }

    #[test]
    fn directories_go_and_links_are_not_followed() {
        let place = tempfile::tempdir().expect("a scratch directory");
        let victim = place.path().join("victim");
        std::fs::write(&victim, "keep me").expect("written");
        let directory = PrivateDir::in_shared(place.path(), "ours").expect("made");
        std::fs::create_dir_all(place.path().join("ours/a/b")).expect("made");
        std::fs::write(place.path().join("ours/a/b/.user.yml"), "id: 1").expect("written");
        symlink(&victim, place.path().join("ours/link")).expect("linked");
        contents(&directory).expect("shredded");
        assert_eq!(std::fs::read_to_string(&victim).expect("read"), "keep me");
        assert_eq!(
            std::fs::read_dir(place.path().join("ours"))
                .expect("listed")
                .count(),
            0
        );
    }
}
