//! Directories that we make for this user alone, and keep.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Makes a directory for us alone, and those above it that are not there. A umask may take our own bits away (0777 leaves none), so they are
/// set again; what was there stays as it is.
///
/// # Errors
/// One of them cannot be made, or something else is in its place.
pub(crate) fn make_private(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(parent) = directory.parent() {
        make_private(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => fs::set_permissions(directory, Permissions::from_mode(0o700)),
        // Another session was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}
