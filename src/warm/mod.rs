//! Warm parse: a new user name must not cost dbt its parse cache (facts dbt B10).
//!
//! dbt drops `partial_parse.msgpack` when the SHA-256 of the output's connection keys is another one than when it was written, and a
//! dynamic user's name is among them. Before dbt starts that one hash is replaced, where all of this holds:
//!
//! 1. dbt, the adapter and their releases are among those that were compared (`adapters`).
//! 2. The hash in the cache is the one of the output as it is now, but with a last run's values in the keys that the lease fills
//!    (`remembered`): nothing else in the connection has changed, and we compute dbt's own hash.
//! 3. Nothing that dbt rendered when it wrote the cache could have read such a key (`uses`, `cache`).
//!
//! Whatever is unclear leaves the cache alone: dbt then parses everything, as it would without us. No secret is kept or written.
#![forbid(unsafe_code)]

mod adapters;
mod cache;
mod python;
mod remembered;
mod swap;
#[cfg(test)]
mod tests;
mod uses;
mod values;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::crypto::sha256;
use crate::dbt::{ParseCache, Profile, Rendering, Resolved};
use crate::failpoint;
use crate::render::Output;
use crate::secret::Secret;
use crate::variables::Variables;
use adapters::Adapter;
use cache::{Cache, Unread};
use remembered::{Memory, Values};
use swap::{Swapped, swap};
pub use values::Filled;

/// Why dbt will parse everything, or may.
#[derive(Debug, thiserror::Error)]
pub enum Cold {
    /// The command has no cache that we know of.
    #[error("{0}")]
    NoCache(&'static str),
    /// An adapter that is not in the table.
    #[error("the adapter `{0}` was not compared with dbt-lease")]
    Adapter(String),
    /// A release that is not in the table.
    #[error("{0} was not compared with dbt-lease")]
    Release(String),
    /// Neither XDG_STATE_HOME nor HOME.
    #[error(
        "there is no place to remember the last run's user in: neither XDG_STATE_HOME nor HOME is set"
    )]
    NoState,
    /// A key that dbt hashes holds a secret of the lease.
    #[error("dbt would hash a secret, the key `{0}`")]
    Secret(String),
    /// A key's value is not known for certain.
    #[error("it is not certain what dbt makes of the key `{0}`")]
    Value(String),
    /// There is no cache yet.
    #[error("there is no parse cache yet")]
    Missing,
    /// The cache cannot be used.
    #[error("the parse cache is not what dbt writes: {0}")]
    Form(&'static str),
    /// Another dbt wrote it.
    #[error("the parse cache is of dbt-core {0}")]
    Version(String),
    /// The hash is none that we could have left.
    #[error("the parse cache was not left by a last run of dbt-lease on the same connection")]
    Stranger,
    /// Something in the project reads what changes.
    #[error("`{0}` could read a key of `target` that the lease fills")]
    Used(String),
    /// Another program changed it while we looked.
    #[error("another program has changed the parse cache meanwhile")]
    Changed,
    /// A file or directory.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
}

/// What dbt finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warm {
    /// The lease changes nothing that dbt hashes.
    ByNature,
    /// The cache has the hash of this run's values.
    Kept,
}

/// One command with what it would find in its parse cache.
pub struct Case<'a> {
    adapter: &'static Adapter,
    version: &'a str,
    cache: &'a Path,
    state: PathBuf,
    project: &'a Path,
    output: &'a Output,
    rendering: &'a Rendering<'a>,
    filled: Vec<Filled>,
}

/// What a look at a cache found.
struct Look {
    cache: Cache,
    file: File,
    /// The place of the matching list among the adapter's.
    list: usize,
}

impl<'a> Case<'a> {
    /// The case of a command of dbt's. `output` is the one with the lease's values (or placeholders) in it, `bridge` the variables.
    ///
    /// # Errors
    /// Why dbt will find a cold cache, as far as that is known without looking at it.
    pub fn of(
        resolved: &'a Resolved,
        profile: &Profile,
        (output, bridge): (&'a Output, &[(String, Secret)]),
        rendering: &'a Rendering<'a>,
        variables: &Variables,
    ) -> Result<Self, Cold> {
        let cache = match &resolved.parse_cache {
            ParseCache::File(path) => path,
            ParseCache::None(why) => return Err(Cold::NoCache(why)),
        };
        let name = profile.adapter.clone().unwrap_or_default();
        let adapter = adapters::adapter(&name).ok_or(Cold::Adapter(name))?;
        let unknown = |what: &str, version: Option<&str>| {
            Cold::Release(format!(
                "{what} {}",
                version.unwrap_or("of an unknown version")
            ))
        };
        let version = resolved.engine.version.as_deref();
        let version = version
            .filter(|version| adapters::is_core_compared(version))
            .ok_or_else(|| unknown("dbt-core", version))?;
        let package = resolved.engine.package(adapter.package);
        if !package
            .as_deref()
            .is_some_and(|version| adapter.is_compared(version))
        {
            return Err(unknown(adapter.package, package.as_deref()));
        }
        let project = resolved
            .project
            .as_ref()
            .ok_or(Cold::NoCache("there is no project"))?;
        Ok(Self {
            adapter,
            version,
            cache,
            state: variables.state_home().ok_or(Cold::NoState)?,
            project: &project.dir,
            output,
            rendering,
            filled: values::filled(adapter, output, bridge)?,
        })
    }

    /// What dbt would find, without changing anything.
    ///
    /// # Errors
    /// Why it will parse everything.
    pub fn look(&self) -> Result<Warm, Cold> {
        if self.filled.is_empty() {
            return Ok(Warm::ByNature);
        }
        let known = Memory::look(&self.state, self.cache);
        self.find(&known.runs).map(|_| Warm::Kept)
    }

    /// Puts the hash of this run's values into the cache, and remembers them.
    ///
    /// # Errors
    /// Why dbt will parse everything; the values are remembered all the same, so that the next run finds what this one leaves.
    pub fn warm(&self) -> Result<Warm, Cold> {
        if self.filled.is_empty() {
            return Ok(Warm::ByNature);
        }
        let memory = self.memory()?;
        let values = self.values();
        let known = memory.read();
        // Before dbt could write them.
        self.remember(&memory, &values)?;
        failpoint::reached("parse_cache_remembered");
        let look = self.find(&known.runs)?;
        let hash = self.hash(look.list, &values)?;
        if hash == look.cache.hash {
            return Ok(Warm::Kept);
        }
        match swap(self.cache, &look.cache, look.file, &hash) {
            Ok(Swapped::Done) => Ok(Warm::Kept),
            Ok(Swapped::Changed) => Err(Cold::Changed),
            Ok(Swapped::NotOnce) => {
                Err(Cold::Form("the profile's hash stands in it more than once"))
            }
            Err(cause) => Err(Cold::Io {
                path: self.cache.to_owned(),
                cause,
            }),
        }
    }

    /// What a command that does not connect gets in the place of the lease's values, so that the cache stays as warm as it is: the last
    /// run's, key by key. Where nothing is known yet this run's own are remembered, and nothing is given.
    ///
    /// # Errors
    /// Our state directory cannot be used.
    pub fn last(&self) -> Result<Vec<(&Filled, String)>, Cold> {
        if self.filled.is_empty() {
            return Ok(Vec::new());
        }
        let memory = self.memory()?;
        let known = memory.read();
        let matching = self
            .find(&known.runs)
            .ok()
            .and_then(|look| self.matching(look.list, &look.cache.hash, &known.runs));
        let Some(values) = matching.or(known.runs.last()) else {
            self.remember(&memory, &self.values())?;
            return Ok(Vec::new());
        };
        self.remember(&memory, values)?;
        let of = |filled| Some((filled, values.get(Filled::key(filled))?.clone()));
        Ok(self.filled.iter().filter_map(of).collect())
    }

    fn memory(&self) -> Result<Memory, Cold> {
        Memory::of(&self.state, self.cache).map_err(|cause| Cold::Io {
            path: self.state.clone(),
            cause,
        })
    }

    fn remember(&self, memory: &Memory, values: &Values) -> Result<(), Cold> {
        memory.add(values).map_err(|cause| Cold::Io {
            path: self.state.clone(),
            cause,
        })
    }

    /// Looks at the cache: whose it is, and whether it may be kept.
    fn find(&self, runs: &[Values]) -> Result<Look, Cold> {
        let keys: Vec<&str> = self
            .filled
            .iter()
            .flat_map(|filled| self.adapter.spellings(filled.key()))
            .collect();
        let (cache, file) =
            cache::read(self.cache, &keys, self.adapter.macros).map_err(|unread| match unread {
                Unread::Missing => Cold::Missing,
                Unread::Form(why) => Cold::Form(why),
                Unread::Io(cause) => Cold::Io {
                    path: self.cache.to_owned(),
                    cause,
                },
            })?;
        if cache.version != self.version {
            return Err(Cold::Version(cache.version));
        }
        let lists = self.adapter.lists().count();
        let list = (0..lists).find(|list| self.matching(*list, &cache.hash, runs).is_some());
        let Some(list) = list else {
            // What is not certain is the better reason.
            self.hash(0, &self.values())?;
            return Err(Cold::Stranger);
        };
        if let Some(user) = cache.user {
            return Err(Cold::Used(user));
        }
        for root in &cache.roots {
            self.judge_project(root, &keys)?;
        }
        self.judge_project(self.project, &keys)?;
        Ok(Look { cache, file, list })
    }

    /// The run that left this hash.
    fn matching<'r>(&self, list: usize, hash: &str, runs: &'r [Values]) -> Option<&'r Values> {
        runs.iter()
            .rev()
            .find(|run| self.hash(list, run).is_ok_and(|own| own == hash))
    }

    /// dbt's hash with these values.
    fn hash(&self, list: usize, values: &Values) -> Result<String, Cold> {
        let pairs = values::connection(
            self.adapter,
            list,
            &self.output.node,
            values,
            self.rendering,
        )?;
        let mut sorted: Vec<_> = pairs.iter().map(|(key, value)| (*key, value)).collect();
        sorted.sort_by_key(|(key, _)| *key);
        let text = python::pformat(&sorted).ok_or(Cold::Value("of a long text".to_owned()))?;
        Ok(sha256(text.as_bytes()))
    }

    /// This run's values.
    fn values(&self) -> Values {
        let own = |filled: &Filled| (filled.key().to_owned(), filled.value().to_owned());
        self.filled.iter().map(own).collect()
    }

    /// The files of a project that dbt renders and the cache does not hold.
    fn judge_project(&self, root: &Path, keys: &[&str]) -> Result<(), Cold> {
        const LONGEST: u64 = 4 * 1024 * 1024;
        // A path in the cache counts from the project.
        let root = self.project.join(root);
        for (name, needed) in [("dbt_project.yml", true), ("vars.yml", false)] {
            let path = root.join(name);
            let mut text = Vec::new();
            match File::open(&path).and_then(|file| file.take(LONGEST).read_to_end(&mut text)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && !needed => continue,
                Err(cause) => return Err(Cold::Io { path, cause }),
                Ok(_) => {}
            }
            let used = std::str::from_utf8(&text).is_ok_and(|text| !uses::uses(text, keys));
            if !used || text.len() as u64 == LONGEST {
                return Err(Cold::Used(path.display().to_string()));
            }
        }
        Ok(())
    }
}
