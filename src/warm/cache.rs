//! dbt's `partial_parse.msgpack`, read from one end to the other without keeping it: where the hash stands, and what could have used what a
//! lease changes.
//!
//! All that dbt rendered when it parsed stands in there as it was written: the code of models, snapshots, tests, analyses and hooks, every
//! macro, and the mappings of the YAML files. What was edited since dbt parses anew by itself. Only the `dbt_project.yml` files are not in
//! it; their hashes are, so that those on disk are the ones that dbt read, or dbt parses all.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::uses::uses;

/// A larger cache is left alone: reading it would be felt.
const LARGEST: u64 = 512 * 1024 * 1024;
/// No code is longer.
const LONGEST: usize = 8 * 1024 * 1024;
/// Mappings in mappings; YAML files of a project bring theirs.
const DEEPEST: usize = 128;
/// How many of the keys that lead to a value are looked at.
const KEPT: usize = 4;
/// Projects with their packages.
const MOST_PROJECTS: usize = 1000;

/// Why a cache was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is none.
    Missing,
    /// It cannot be read.
    Io(io::Error),
    /// It is not what dbt writes.
    Form(&'static str),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Form("it ends too early"),
            _ => Self::Io(error),
        }
    }
}

/// What identifies a file's content, as far as a look at it tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([i64; 7]);

impl Stamp {
    pub(super) fn of(found: &Metadata) -> Self {
        Self([
            found.dev().cast_signed(),
            found.ino().cast_signed(),
            found.size().cast_signed(),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        ])
    }
}

/// What a cache says.
#[derive(Debug)]
pub(super) struct Cache {
    /// The version of dbt that wrote it.
    pub(super) version: String,
    /// `state_check.profile_hash`, 64 hexadecimal digits.
    pub(super) hash: String,
    /// Where they begin.
    pub(super) at: u64,
    /// What in it could have read one of the keys.
    pub(super) user: Option<String>,
    /// The directories of the projects in it.
    pub(super) roots: BTreeSet<PathBuf>,
    /// The file as it was.
    pub(super) stamp: Stamp,
}

/// Reads a cache. `keys` are those of `target` that change; the macros of the packages in `trusted` do not use them.
pub(super) fn read(path: &Path, keys: &[&str], trusted: &[&str]) -> Result<(Cache, File), Unread> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unread::Missing),
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if !found.is_file() || found.len() > LARGEST {
        return Err(Unread::Form("it is no file, or a very large one"));
    }
    let mut walk = Walk {
        input: BufReader::with_capacity(64 * 1024, &file),
        at: 0,
        keys,
        trusted,
        path: Vec::new(),
        text: Vec::new(),
        version: None,
        name: None,
        hash: None,
        user: None,
        roots: BTreeSet::new(),
    };
    walk.value(0)?;
    if walk.at != found.len() {
        return Err(Unread::Form("something stands behind its end"));
    }
    let (Some(version), Some((at, hash)), Some("sha256")) =
        (walk.version, walk.hash, walk.name.as_deref())
    else {
        return Err(Unread::Form(
            "the profile's hash is not where dbt writes it",
        ));
    };
    let cache = Cache {
        version,
        hash,
        at,
        user: walk.user,
        roots: walk.roots,
        stamp: Stamp::of(&found),
    };
    Ok((cache, file))
}

struct Walk<'a> {
    input: BufReader<&'a File>,
    at: u64,
    keys: &'a [&'a str],
    trusted: &'a [&'a str],
    /// The keys that lead here; what is no text is empty.
    path: Vec<String>,
    /// The last text that was read.
    text: Vec<u8>,
    version: Option<String>,
    name: Option<String>,
    hash: Option<(u64, String)>,
    user: Option<String>,
    roots: BTreeSet<PathBuf>,
}

/// What a value's first byte says.
enum Kind {
    Text(usize),
    Other(usize),
    List(usize),
    Map(usize),
}

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Result<(), Unread> {
        if depth > DEEPEST {
            return Err(Unread::Form("it is nested too deeply"));
        }
        match self.kind()? {
            Kind::Other(length) => self.skip(length),
            Kind::Text(length) => {
                self.read_text(length)?;
                self.look(length)
            }
            Kind::List(length) => {
                for _ in 0..length {
                    self.value(depth + 1)?;
                }
                Ok(())
            }
            Kind::Map(length) => {
                for _ in 0..length {
                    match self.kind()? {
                        Kind::Text(length) => {
                            self.read_text(length)?;
                            // A key of a YAML mapping may hold a template, too.
                            self.judge();
                        }
                        Kind::Other(length) => {
                            self.skip(length)?;
                            self.text.clear();
                        }
                        Kind::List(_) | Kind::Map(_) => {
                            return Err(Unread::Form("a key of it is neither text nor number"));
                        }
                    }
                    // Deeper down no key is asked for.
                    let is_kept = depth < KEPT;
                    if is_kept {
                        self.path
                            .push(String::from_utf8_lossy(&self.text).into_owned());
                    }
                    self.value(depth + 1)?;
                    if is_kept {
                        self.path.pop();
                    }
                }
                Ok(())
            }
        }
    }

    fn kind(&mut self) -> Result<Kind, Unread> {
        let [first] = self.bytes::<1>()?;
        Ok(match first {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Kind::Other(0),
            0x80..=0x8f => Kind::Map((first & 0x0f).into()),
            0x90..=0x9f => Kind::List((first & 0x0f).into()),
            0xa0..=0xbf => Kind::Text((first & 0x1f).into()),
            0xc1 => return Err(Unread::Form("it is not MessagePack")),
            0xc4 => Kind::Other(self.length(1)?),
            0xc5 => Kind::Other(self.length(2)?),
            0xc6 => Kind::Other(self.length(4)?),
            0xc7 => Kind::Other(self.length(1)? + 1),
            0xc8 => Kind::Other(self.length(2)? + 1),
            0xc9 => Kind::Other(self.length(4)? + 1),
            0xcc | 0xd0 => Kind::Other(1),
            0xcd | 0xd1 => Kind::Other(2),
            0xca | 0xce | 0xd2 => Kind::Other(4),
            0xcb | 0xcf | 0xd3 => Kind::Other(8),
            0xd4 => Kind::Other(2),
            0xd5 => Kind::Other(3),
            0xd6 => Kind::Other(5),
            0xd7 => Kind::Other(9),
            0xd8 => Kind::Other(17),
            0xd9 => Kind::Text(self.length(1)?),
            0xda => Kind::Text(self.length(2)?),
            0xdb => Kind::Text(self.length(4)?),
            0xdc => Kind::List(self.length(2)?),
            0xdd => Kind::List(self.length(4)?),
            0xde => Kind::Map(self.length(2)?),
            0xdf => Kind::Map(self.length(4)?),
        })
    }

    /// A number of so many bytes, high byte first.
    fn length(&mut self, bytes: usize) -> Result<usize, Unread> {
        let mut number = 0;
        for _ in 0..bytes {
            let [byte] = self.bytes::<1>()?;
            number = number << 8 | usize::from(byte);
        }
        Ok(number)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Unread> {
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn skip(&mut self, length: usize) -> Result<(), Unread> {
        let length = length as u64;
        let skipped = io::copy(&mut (&mut self.input).take(length), &mut io::sink())?;
        if skipped != length {
            return Err(Unread::Form("it ends too early"));
        }
        self.at += length;
        Ok(())
    }

    fn read_text(&mut self, length: usize) -> Result<(), Unread> {
        if length > LONGEST {
            return Err(Unread::Form("a text in it is very long"));
        }
        self.text.resize(length, 0);
        self.input.read_exact(&mut self.text)?;
        self.at += length as u64;
        Ok(())
    }

    /// Takes what is wanted of a text.
    fn look(&mut self, length: usize) -> Result<(), Unread> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let text = || String::from_utf8_lossy(&self.text).into_owned();
        match path.as_slice() {
            ["metadata", "dbt_version"] => self.version = Some(text()),
            ["state_check", "profile_hash", "name"] => self.name = Some(text()),
            ["state_check", "profile_hash", "checksum"] => {
                let is_hash = length == 64
                    && self
                        .text
                        .iter()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if !is_hash || self.hash.is_some() {
                    return Err(Unread::Form("the profile's hash is not one"));
                }
                self.hash = Some((self.at - length as u64, text()));
            }
            ["files", _, "path", "project_root"] => {
                self.roots.insert(PathBuf::from(text()));
                if self.roots.len() > MOST_PROJECTS {
                    return Err(Unread::Form("it has very many projects"));
                }
            }
            _ => self.judge(),
        }
        Ok(())
    }

    /// Remembers the first text that could have used a changed key.
    fn judge(&mut self) {
        if self.user.is_some() || self.is_trusted() {
            return;
        }
        let used = match std::str::from_utf8(&self.text) {
            Ok(text) => uses(text, self.keys),
            // dbt could not have read it either.
            Err(_) => true,
        };
        if used {
            // `nodes`, `model.shop.customers`, `raw_code`: the second says what it is.
            let named = self.path.get(1).or(self.path.first());
            self.user = Some(named.cloned().unwrap_or_default());
        }
    }

    fn is_trusted(&self) -> bool {
        let ["macros", id, ..] = self.path.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            return false;
        };
        let package = id
            .strip_prefix("macro.")
            .and_then(|rest| rest.split('.').next());
        package.is_some_and(|package| self.trusted.contains(&package))
    }
}
