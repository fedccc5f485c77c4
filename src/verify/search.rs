//! Looks for our own secrets in the files that dbt wrote since the run began. Values are never shown: a finding is a file, an offset
//! and whose value it is.
//!
//! Small files first, since logs and artifacts are small and databases are not. Links are not followed, and what is no regular file is
//! not opened.
#![forbid(unsafe_code)]

use std::fs::{DirEntry, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use memchr::memmem::Finder;
use nix::libc;
use zeroize::Zeroizing;

use super::forms::Needle;

/// How much is looked through at a time; between two of these a signal is heard.
const CHUNK: usize = 256 * 1024;
/// Files' times come from a clock that ticks every few milliseconds, and on some file systems every second.
const COARSE: Duration = Duration::from_secs(2);

/// Where a search ends although there is more.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes that are read.
    pub bytes: u64,
    /// Files that are listed.
    pub files: usize,
    /// The time that it takes.
    pub time: Duration,
}

/// A dbt project's artifacts and logs are some ten megabytes.
pub const BOUNDS: Bounds = Bounds {
    bytes: 256 << 20,
    files: 50_000,
    time: Duration::from_secs(5),
};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// How many files were read to their end.
    pub files: usize,
    /// How many bytes were read.
    pub bytes: u64,
    /// The first place of each value in each file.
    pub found: Vec<Found>,
    /// Why there is something that was not looked at; none where all was.
    pub missed: Option<String>,
}

/// A secret in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// Where in it, bytes from its start.
    pub offset: u64,
    /// Whose value: `warehouse.password`.
    pub secret: String,
    /// In which form.
    pub form: &'static str,
}

/// Looks for the needles in every file below these directories that changed since then.
pub async fn search(
    directories: &[PathBuf],
    since: SystemTime,
    needles: &[Needle],
    bounds: Bounds,
) -> Searched {
    let end = Instant::now() + bounds.time;
    let mut searched = Searched::default();
    if needles.is_empty() {
        return searched;
    }
    let finders: Vec<(&Needle, Finder<'_>)> = needles
        .iter()
        .map(|needle| (needle, Finder::new(needle.bytes.as_slice())))
        .collect();
    let mut listing = Listing {
        since: since - COARSE,
        left: bounds.files,
        end,
        files: Vec::new(),
        missed: None,
    };
    for directory in directories {
        listing.below(directory).await;
    }
    let Listing {
        mut files, missed, ..
    } = listing;
    searched.missed = missed;
    files.sort();
    files.dedup();
    let mut buffer = Zeroizing::new(Vec::new());
    for (_, file) in files {
        let mut work = Reading {
            finders: &finders,
            searched: &mut searched,
            buffer: &mut buffer,
            bounds,
            end,
        };
        match work.file(&file).await {
            Ok(true) => searched.files += 1,
            Ok(false) => {}
            Err(Ended::Bounds(why)) => {
                searched.missed = Some(why);
                break;
            }
            // It went while we looked: dbt's are temporary files sometimes.
            Err(Ended::Failed(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(Ended::Failed(error)) => {
                searched.missed = Some(format!("`{}`: {error}", file.display()));
            }
        }
    }
    searched
}

/// Finds the files: size and path.
struct Listing {
    since: SystemTime,
    left: usize,
    end: Instant,
    files: Vec<(u64, PathBuf)>,
    missed: Option<String>,
}

impl Listing {
    /// What dbt writes to may itself be a link; what lies below is not followed.
    async fn below(&mut self, root: &Path) {
        let Ok(root) = root.canonicalize() else {
            return;
        };
        let mut open = vec![root];
        while let Some(directory) = open.pop() {
            tokio::task::yield_now().await;
            let entries = match std::fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    self.missed = Some(format!("`{}`: {error}", directory.display()));
                    continue;
                }
            };
            for entry in entries.flatten() {
                if self.left == 0 || Instant::now() >= self.end {
                    self.missed = Some("there are more files than are looked at".to_owned());
                    return;
                }
                self.left -= 1;
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => open.push(entry.path()),
                    Ok(kind) if kind.is_file() => self.files.extend(self.changed(&entry)),
                    _ => {}
                }
            }
        }
    }

    fn changed(&self, entry: &DirEntry) -> Option<(u64, PathBuf)> {
        let found = entry.metadata().ok()?;
        // A program may set the time of its last change back; the other one it cannot.
        let changed = [
            (found.mtime(), found.mtime_nsec()),
            (found.ctime(), found.ctime_nsec()),
        ]
        .into_iter()
        .max()?;
        let seconds = u64::try_from(changed.0).unwrap_or(0);
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds + 1);
        (at >= self.since).then(|| (found.len(), entry.path()))
    }
}

enum Ended {
    Bounds(String),
    Failed(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

struct Reading<'a> {
    finders: &'a [(&'a Needle, Finder<'a>)],
    searched: &'a mut Searched,
    buffer: &'a mut Zeroizing<Vec<u8>>,
    bounds: Bounds,
    end: Instant,
}

impl Reading<'_> {
    /// Looks through one file; false where it is no regular file any more.
    async fn file(&mut self, path: &Path) -> Result<bool, Ended> {
        // Should a pipe or a link have taken its place: neither waited for nor followed.
        let mut file = match OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open(path)
        {
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Ok(false),
            other => other?,
        };
        if !file.metadata()?.is_file() {
            return Ok(false);
        }
        let overlap = self
            .finders
            .iter()
            .map(|(needle, _)| needle.bytes.len())
            .max()
            .unwrap_or(1)
            - 1;
        let mut told = vec![false; self.finders.len()];
        // Where in the file the buffer begins, and how much of it is kept from the chunk before.
        let (mut start, mut kept) = (0_u64, 0);
        loop {
            if self.searched.bytes >= self.bounds.bytes {
                return Err(Ended::Bounds(format!(
                    "there is more than {} MiB",
                    self.bounds.bytes >> 20
                )));
            }
            if Instant::now() >= self.end {
                return Err(Ended::Bounds(format!(
                    "it takes longer than {} s",
                    self.bounds.time.as_secs()
                )));
            }
            self.buffer.resize(kept + CHUNK, 0);
            let length = read_full(&mut file, &mut self.buffer[kept..])?;
            self.buffer.truncate(kept + length);
            self.searched.bytes += length as u64;
            self.look(path, start, &mut told);
            if length < CHUNK {
                return Ok(true);
            }
            let gone = self.buffer.len() - overlap.min(self.buffer.len());
            self.buffer.drain(..gone);
            kept = self.buffer.len();
            start += gone as u64;
            tokio::task::yield_now().await;
        }
    }

    fn look(&mut self, path: &Path, start: u64, told: &mut [bool]) {
        for (number, (needle, finder)) in self.finders.iter().enumerate() {
            // One form of a value is enough.
            let is_told = self
                .finders
                .iter()
                .zip(told.iter())
                .any(|((other, _), told)| *told && other.of == needle.of);
            if is_told {
                continue;
            }
            if let Some(at) = finder.find(self.buffer.as_slice()) {
                told[number] = true;
                self.searched.found.push(Found {
                    file: path.to_owned(),
                    offset: start + at as u64,
                    secret: needle.of.clone(),
                    form: needle.form,
                });
            }
        }
    }
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SECRET: &str = "correct-horse-battery-1";

    fn needles() -> Vec<Needle> {
        vec![Needle {
            of: "warehouse.password".to_owned(),
            form: "as it is",
            bytes: Zeroizing::new(SECRET.as_bytes().to_vec()),
        }]
    }

    fn searched_since(directory: &Path, since: SystemTime, bounds: Bounds) -> Searched {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(search(&[directory.to_owned()], since, &needles(), bounds))
    }

    fn searched(directory: &Path) -> Searched {
        searched_since(directory, SystemTime::now(), BOUNDS)
    }

    #[test]
    fn a_value_is_found_wherever_it_stands_in_a_file() {
        let target = tempfile::tempdir().expect("a scratch directory");
        std::fs::create_dir(target.path().join("run")).expect("made");
        let file = target.path().join("run/model.sql");
        // At the start, across two chunks, across the overlap, at the end.
        for at in [0, CHUNK - 10, CHUNK - 1, CHUNK, 2 * CHUNK - 5, 3 * CHUNK] {
            let text = format!("{}{SECRET}{}", "x".repeat(at), "y".repeat(at % 7));
            std::fs::write(&file, text).expect("written");
            let found = searched(target.path()).found;
            assert_eq!(found.len(), 1, "{at}");
            assert_eq!(found[0].offset, at as u64);
            assert_eq!(found[0].file, file.canonicalize().expect("there"));
        }
    }

    #[test]
    fn links_are_not_followed_and_a_pipe_is_not_opened() {
        let target = tempfile::tempdir().expect("a scratch directory");
        let elsewhere = tempfile::tempdir().expect("a scratch directory");
        std::fs::write(elsewhere.path().join("profiles.yml"), SECRET).expect("written");
        symlink(elsewhere.path(), target.path().join("directory")).expect("linked");
        symlink(
            elsewhere.path().join("profiles.yml"),
            target.path().join("file"),
        )
        .expect("linked");
        nix::unistd::mkfifo(&target.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU)
            .expect("a pipe");
        let searched = searched(target.path());
        assert_eq!(
            (searched.files, searched.found.len()),
            (0, 0),
            "{searched:?}"
        );
        assert_eq!(searched.missed, None);
    }

    #[test]
    fn a_target_directory_that_is_itself_a_link_is_looked_through() {
        let place = tempfile::tempdir().expect("a scratch directory");
        std::fs::create_dir(place.path().join("scratch")).expect("made");
        std::fs::write(place.path().join("scratch/x.json"), SECRET).expect("written");
        symlink(place.path().join("scratch"), place.path().join("target")).expect("linked");
        assert_eq!(searched(&place.path().join("target")).found.len(), 1);
    }

    #[test]
    fn what_did_not_change_since_the_run_began_is_left_out_whatever_time_it_pretends() {
        let target = tempfile::tempdir().expect("a scratch directory");
        let file = target.path().join("old.json");
        std::fs::write(&file, SECRET).expect("written");
        let later = SystemTime::now() + Duration::from_secs(10);
        assert!(
            searched_since(target.path(), later, BOUNDS)
                .found
                .is_empty()
        );
        let handle = File::options().write(true).open(&file).expect("opened");
        handle
            .set_modified(SystemTime::UNIX_EPOCH)
            .expect("set back");
        assert_eq!(searched(target.path()).found.len(), 1);
    }

    #[test]
    fn a_search_that_meets_its_bounds_says_what_it_missed() {
        let target = tempfile::tempdir().expect("a scratch directory");
        std::fs::write(target.path().join("a.json"), "x".repeat(CHUNK)).expect("written");
        std::fs::write(
            target.path().join("b.json"),
            "x".repeat(CHUNK) + "x" + SECRET,
        )
        .expect("written");
        let few = |bounds| searched_since(target.path(), SystemTime::now(), bounds);
        let bytes = few(Bounds {
            bytes: 1 << 18,
            ..BOUNDS
        });
        assert_eq!(bytes.missed.as_deref(), Some("there is more than 0 MiB"));
        assert!(bytes.found.is_empty());
        let files = few(Bounds { files: 1, ..BOUNDS });
        assert!(files.missed.is_some());
        let time = few(Bounds {
            time: Duration::ZERO,
            ..BOUNDS
        });
        assert!(time.missed.is_some());
        assert_eq!(few(BOUNDS).missed, None);
        assert_eq!(few(BOUNDS).found.len(), 1);
    }

    #[test]
    fn without_a_directory_nothing_is_found_and_nothing_missed() {
        assert_eq!(
            searched(Path::new("/no/such/directory")),
            Searched::default()
        );
    }
}
