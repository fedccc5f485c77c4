//! Where dbt keeps what it parsed, `partial_parse.msgpack` (facts dbt B10; `ManifestLoader.read_manifest_for_partial_parse`).
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::choices::{Choices, Given};
use super::invocation::Invocation;
use super::jinja::Vars;
use super::project::ProjectFile;

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
    /// The parse cache of a dbt command. Settings in files that switch it off are not looked at: dbt then does not look at the cache either.
    pub(super) fn parse_cache(
        &self,
        invocation: &Invocation,
        project: &ProjectFile,
        vars: &Vars,
    ) -> ParseCache {
        let command = invocation.command;
        if self.engine.fusion {
            return ParseCache::None("Fusion keeps none");
        }
        if command.words == ["retry"] {
            return ParseCache::None("`retry` parses by the arguments of the run before");
        }
        let by_word = |name: &str| invocation.places(name).next().is_some();
        let by_variable = |name: &str| {
            let variables = command.named(name)?.variables;
            // What is no UTF-8 is none of ours to read; it is said all the same.
            Some(self.environment.option(variables).map_or_else(
                |_| String::new(),
                |found| found.map_or_else(String::new, |found| found.value.to_owned()),
            ))
            .filter(|text| !text.is_empty())
        };
        let off = match by_word("partial_parse") {
            true => !invocation.flag("partial_parse"),
            // click's words for yes.
            false => by_variable("partial_parse").is_some_and(|text| {
                !["1", "true", "t", "yes", "y", "on"].contains(&text.to_lowercase().as_str())
            }),
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
        match self.target_dir(command, Given::Words(invocation), project, vars) {
            Some(dir) => ParseCache::File(dir.join(FILE)),
            None => ParseCache::None("it is not certain where `target-path` leads"),
        }
    }
}
