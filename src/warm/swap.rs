//! One hash in the place of another: a new file beside the cache, then a rename, so that nobody ever sees half of it.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use memchr::memmem;

use super::cache::{Cache, Stamp};
use crate::failpoint;

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Swapped {
    /// The new hash stands there.
    Done,
    /// Somebody else changed the cache meanwhile, and it is theirs.
    Changed,
    /// The old hash stands in it more than once.
    NotOnce,
}

/// Replaces the hash of a cache that was read from `file`.
pub(super) fn swap(path: &Path, cache: &Cache, mut file: File, hash: &str) -> io::Result<Swapped> {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    // A run that was killed here leaves it to the next, which holds the same lock.
    name.push(".dbt-lease");
    let beside = path.with_file_name(name);
    let _ = fs::remove_file(&beside);
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let mut new = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(mode)
        .open(&beside)?;
    let made = (|| {
        // The umask may have taken what dbt gave.
        new.set_permissions(fs::Permissions::from_mode(mode))?;
        file.rewind()?;
        let found = copy(&mut file, &mut new, cache.hash.as_bytes())?;
        failpoint::reached("parse_cache_copied");
        if found != [cache.at] {
            return Ok(Swapped::NotOnce);
        }
        new.write_all_at(hash.as_bytes(), cache.at)?;
        failpoint::reached("parse_cache_written");
        if Stamp::of(&fs::metadata(path)?) != cache.stamp {
            return Ok(Swapped::Changed);
        }
        fs::rename(&beside, path)?;
        failpoint::reached("parse_cache_renamed");
        Ok(Swapped::Done)
    })();
    if !matches!(made, Ok(Swapped::Done)) {
        let _ = fs::remove_file(&beside);
    }
    made
}

/// Copies a file; where in it the words stand.
fn copy(from: &mut File, to: &mut File, words: &[u8]) -> io::Result<Vec<u64>> {
    let finder = memmem::Finder::new(words);
    let mut found = Vec::new();
    let mut window = vec![0; 128 * 1024];
    // What the last window ends with could be the beginning of the words.
    let mut kept = 0;
    let mut at = 0u64;
    loop {
        let read = from.read(&mut window[kept..])?;
        if read == 0 {
            return Ok(found);
        }
        to.write_all(&window[kept..kept + read])?;
        let filled = kept + read;
        found.extend(
            finder
                .find_iter(&window[..filled])
                .map(|place| at + place as u64)
                .take(2),
        );
        let keep = filled.min(words.len() - 1);
        window.copy_within(filled - keep..filled, 0);
        at += (filled - keep) as u64;
        kept = keep;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_wherever_the_windows_end() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("from");
        let words = [b'a'; 64];
        for before in (128 * 1024 - 70)..(128 * 1024 + 5) {
            let mut text = vec![b'x'; before];
            text.extend(words);
            text.extend(vec![b'y'; 200_000]);
            fs::write(&path, &text).expect("written");
            let to = scratch.path().join("to");
            let found = copy(
                &mut File::open(&path).expect("opened"),
                &mut File::create(&to).expect("made"),
                &words,
            )
            .expect("copied");
            assert_eq!(found, [before as u64]);
            assert!(fs::read(&to).expect("read") == text);
        }
    }
}
