//! Where dbt keeps what it parsed, `partial_parse.msgpack` (facts dbt B10; `ManifestLoader.read_manifest_for_partial_parse`).
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use super::accepted::is_on;
use super::choices::Choices;
use super::invocation::Invocation;

/// The name of the file in the target directory.
const FILE: &str = "partial_parse.msgpack";

/// The parse cache of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseCache {
    /// It reads and writes this file, absolute, whether it is there or not.
    File(PathBuf),
    /// It has none that we know of: why, for people.
    None(&'static str),
}

impl Default for ParseCache {
    fn default() -> Self {
        Self::None("the command is not dbt itself, or parses nothing")
    }
}

impl Choices<'_> {
    /// The parse cache of a dbt command with this target directory. Settings in files that switch it off are not looked at: dbt then does not look at the cache either.
    pub(super) fn parse_cache(&self, invocation: &Invocation, target: Option<&Path>) -> ParseCache {
        let command = invocation.command;
        if self.engine.fusion {
            return ParseCache::None("Fusion keeps none");
        }
        if command.words == ["retry"] {
            return ParseCache::None("`retry` parses by the arguments of the run before");
        }
        let by_word = |name: &str| invocation.places(name).next().is_some();
        let by_variable = |name: &str| {
            let found = self.environment.option(command.named(name)?.variables);
            found.ok().flatten().map(|found| found.value)
        };
        let off = match by_word("partial_parse") {
            true => !invocation.flag("partial_parse"),
            false => by_variable("partial_parse").is_some_and(|text| !is_on(text)),
        };
        if off {
            return ParseCache::None("partial parsing is switched off");
        }
        for (name, why) in [
            ("use_v2_parser", "the parser of dbt 2 keeps none"),
            ("partial_parse_file_path", "dbt is told to read another one"),
        ] {
            if by_word(name) || by_variable(name).is_some() {
                return ParseCache::None(why);
            }
        }
        match target {
            Some(dir) => ParseCache::File(dir.join(FILE)),
            None => ParseCache::None("it is not certain where `target-path` leads"),
        }
    }
}
