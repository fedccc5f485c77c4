//! Where the user's word is kept: `$XDG_STATE_HOME/dbt-lease/trust/HASH`, one file a hash, which says what was trusted.
//!
//! The hash alone counts: a checkout elsewhere that says the same is trusted too, as it sends the same tokens to the same
//! place. The file is removed to take the word back.
#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::TrustError;
use super::owners::is_ours;
use crate::directories::make_private;
use crate::variables::Variables;

/// The longest path that is compared, in bytes.
const LONGEST: u64 = 8192;

/// The directory of kept hashes.
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// The user's; none without XDG_STATE_HOME and HOME.
    pub fn of(variables: &Variables) -> Option<Self> {
        Some(Self {
            directory: variables.state_home()?.join("dbt-lease/trust"),
        })
    }

    /// Whether this hash is kept.
    ///
    /// # Errors
    /// The directory or the file could have been made by another user.
    pub fn has(&self, fingerprint: &str) -> Result<bool, TrustError> {
        if !self.is_private(&self.directory)? {
            return Ok(false);
        }
        self.is_private(&self.directory.join(fingerprint))
    }

    /// Whether something that this file said is kept.
    pub fn knows(&self, file: &Path) -> bool {
        let said = |path: PathBuf| {
            let mut bytes = Vec::new();
            let read =
                fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
            read.is_ok() && bytes.strip_suffix(b"\n") == Some(file.as_os_str().as_bytes())
        };
        fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()) && said(entry.path()))
    }

    /// Keeps a hash; the file's path stands in it, for people. The path of what was written.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&self, fingerprint: &str, file: &Path) -> Result<PathBuf, TrustError> {
        let path = self.directory.join(fingerprint);
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |cause| TrustError::Unusable { path, cause }
        };
        make_private(&self.directory).map_err(unusable(&self.directory))?;
        if self.has(fingerprint)? {
            return Ok(path);
        }
        let mut text = file.as_os_str().as_bytes().to_vec();
        text.push(b'\n');
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut kept| {
                // A umask may have taken our own bits away, and we could not say what it was about.
                kept.set_permissions(Permissions::from_mode(0o600))?;
                kept.write_all(&text)
            })
            .map_err(unusable(&path))?;
        Ok(path)
    }

    /// Whether it is there, and nobody but this user and root could have made or changed it.
    fn is_private(&self, path: &Path) -> Result<bool, TrustError> {
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(cause) => {
                return Err(TrustError::Unusable {
                    path: path.to_owned(),
                    cause,
                });
            }
        };
        let is_directory = path == self.directory;
        let why = if !is_ours(&found) {
            format!("belongs to user {}", found.uid())
        } else if found.is_dir() != is_directory || !(found.is_dir() || found.is_file()) {
            "is something else than dbt-lease makes there".to_owned()
        } else if found.mode() & 0o022 != 0 {
            format!("others may write it (mode {:04o})", found.mode() & 0o7777)
        } else {
            return Ok(true);
        };
        Err(TrustError::NotPrivate {
            path: path.to_owned(),
            why,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn store(home: &Path) -> Store {
        Store::of(&[("HOME", home)].into_iter().collect()).expect("a place")
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").mode() & 0o7777
    }

    #[test]
    fn what_is_kept_is_found_again_in_a_private_place() {
        let home = tempfile::tempdir().expect("a directory");
        let store = store(home.path());
        let (hash, file) = ("a".repeat(64), Path::new("/p/dbt-lease.yml"));
        assert!(!store.has(&hash).expect("readable") && !store.knows(file));
        let kept = store.keep(&hash, file).expect("kept");
        assert_eq!(
            kept,
            home.path().join(".local/state/dbt-lease/trust").join(&hash)
        );
        assert_eq!((mode(&kept), mode(&store.directory)), (0o600, 0o700));
        assert!(store.has(&hash).expect("readable") && store.knows(file));
        assert!(!store.has(&"b".repeat(64)).expect("readable"));
        assert!(!store.knows(Path::new("/p/dbt-lease.ym")));
        assert_eq!(store.keep(&hash, file).expect("kept already"), kept);
    }

    #[test]
    fn a_place_that_others_can_write_is_not_relied_on() {
        let home = tempfile::tempdir().expect("a directory");
        let store = store(home.path());
        let hash = "a".repeat(64);
        let kept = store.keep(&hash, Path::new("/p")).expect("kept");
        for (path, good) in [(kept.as_path(), 0o600), (store.directory.as_path(), 0o700)] {
            for bad in [good | 0o020, good | 0o002] {
                fs::set_permissions(path, fs::Permissions::from_mode(bad)).expect("a mode");
                assert_eq!(store.has(&hash).expect_err("refused").kind(), "trust_store");
            }
            fs::set_permissions(path, fs::Permissions::from_mode(good)).expect("a mode");
        }
        assert!(store.has(&hash).expect("readable"));
        fs::rename(&kept, home.path().join("elsewhere")).expect("moved");
        symlink(home.path().join("elsewhere"), &kept).expect("a link");
        store.has(&hash).expect_err("a planted link");
    }

    #[test]
    fn without_a_home_there_is_no_place() {
        assert!(Store::of(&Variables::default()).is_none());
        assert!(Store::of(&[("XDG_STATE_HOME", "relative")].into_iter().collect()).is_none());
        assert!(Store::of(&[("XDG_STATE_HOME", "/s")].into_iter().collect()).is_some());
    }
}
