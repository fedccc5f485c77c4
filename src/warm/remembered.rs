//! What earlier runs left in a parse cache, in our own state directory: the values of the keys that a lease fills, no secret among them.
//!
//! `$XDG_STATE_HOME/dbt-lease/parse-caches/HASH.json`, one file a cache, 0600; `HASH` is that of its path. Whoever reads and changes it, and
//! the cache itself, holds the lock of `HASH.lock`. dbt takes none.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::crypto::sha256;
use crate::directories::make_private;

/// The values of the keys of one run, by key.
pub(super) type Values = BTreeMap<String, String>;

/// Several runs at once, or runs that were killed, leave a cache of any of them.
const MOST: usize = 8;
/// How often a lock is tried for, 10 ms apart.
const PATIENCE: usize = 300;
/// A longer file is none of ours.
const LONGEST: u64 = 256 * 1024;

/// What is known of one cache, newest last.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Remembered {
    /// The cache's path, for people.
    cache: PathBuf,
    /// The values of the last runs.
    pub(super) runs: Vec<Values>,
}

/// Our file of one cache, locked.
pub(super) struct Memory {
    file: PathBuf,
    cache: PathBuf,
    _lock: Flock<File>,
}

impl Memory {
    /// Locks what is known of a cache, below our state directory.
    pub(super) fn of(state: &Path, cache: &Path) -> io::Result<Self> {
        let directory = state.join("dbt-lease/parse-caches");
        make_private(&directory)?;
        let name = sha256(cache.as_os_str().as_bytes());
        let lock = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join(format!("{name}.lock")))?;
        let lock = locked(lock)?;
        Ok(Self {
            file: directory.join(format!("{name}.json")),
            cache: cache.to_owned(),
            _lock: lock,
        })
    }

    /// What is known, without waiting for anybody; nothing where it cannot be read.
    pub(super) fn look(state: &Path, cache: &Path) -> Remembered {
        let name = sha256(cache.as_os_str().as_bytes());
        read(&state.join(format!("dbt-lease/parse-caches/{name}.json")))
    }

    /// What is known; nothing where it cannot be read.
    pub(super) fn read(&self) -> Remembered {
        read(&self.file)
    }

    /// Adds what a run may leave in the cache.
    pub(super) fn add(&self, values: &Values) -> io::Result<()> {
        let mut known = self.read();
        if known.runs.last() == Some(values) {
            return Ok(());
        }
        known.cache = self.cache.clone();
        known.runs.retain(|run| run != values);
        known.runs.push(values.clone());
        let surplus = known.runs.len().saturating_sub(MOST);
        known.runs.drain(..surplus);
        let text = serde_json::to_vec(&known)?;
        let new = self.file.with_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        fs::rename(&new, &self.file)
    }
}

/// Others hold it for as long as it takes to read and copy a file; who holds it longer stands still, and a run does not wait for that.
fn locked(mut file: File) -> io::Result<Flock<File>> {
    for _ in 0..PATIENCE {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EWOULDBLOCK)) => file = back,
            Err((_, errno)) => return Err(errno.into()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(Errno::EWOULDBLOCK.into())
}

fn read(path: &Path) -> Remembered {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
    if read.is_err() {
        return Remembered::default();
    }
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Values {
        Values::from([("user".to_owned(), name.to_owned())])
    }

    #[test]
    fn the_last_runs_are_known_and_older_ones_forgotten() {
        let state = tempfile::tempdir().expect("a directory");
        let cache = Path::new("/project/target/partial_parse.msgpack");
        for number in 0..20 {
            let memory = Memory::of(state.path(), cache).expect("locked");
            memory.add(&user(&format!("v-{number}"))).expect("kept");
        }
        let known = Memory::look(state.path(), cache);
        assert_eq!(known.runs.len(), MOST);
        assert_eq!(known.runs.last(), Some(&user("v-19")));
        let other = Memory::look(state.path(), Path::new("/other"));
        assert!(other.runs.is_empty());
    }

    #[test]
    fn a_file_that_is_none_of_ours_says_nothing() {
        let state = tempfile::tempdir().expect("a directory");
        let cache = Path::new("/project/target/partial_parse.msgpack");
        let memory = Memory::of(state.path(), cache).expect("locked");
        fs::write(&memory.file, "{\"runs\": [1]}").expect("written");
        assert!(memory.read().runs.is_empty());
        memory.add(&user("v-1")).expect("kept");
        assert_eq!(memory.read().runs, [user("v-1")]);
    }
}
