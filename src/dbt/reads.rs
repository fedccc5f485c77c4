//! How often dbt opens profiles.yml before it has done with it (facts dbt #41, #42; measured on 1.9, 1.11 and 1.12).
#![forbid(unsafe_code)]

use super::environment::Environment;
use super::error::DbtError;
use super::invocation::Invocation;
use super::rules::Engine;

/// The opens of a command, after the last of which the file may go; none where that is not known: then it stays to the end.
///
/// # Errors
/// A variable that is not UTF-8.
pub(super) fn reads(
    program: &str,
    invocation: &Invocation,
    engine: &Engine,
    environment: &Environment<'_>,
) -> Result<Option<u32>, DbtError> {
    // dbt-ol reads the file itself, before dbt; others start dbt as often as they like.
    let is_dbt_itself = ["dbt", "dbt.cli.main"].contains(&program);
    let is_measured = engine.is_known() && ["1.9", "1.11", "1.12"].contains(&engine.rules.line);
    if !is_dbt_itself || !is_measured || engine.fusion {
        return Ok(None);
    }
    // A child process of dbt reads it once more, later.
    let by_variable = match invocation.command.named("use_v2_parser") {
        Some(option) => environment.option(option.variables)?.is_some(),
        None => false,
    };
    if by_variable || invocation.flag("use_v2_parser") {
        return Ok(None);
    }
    Ok(Some(match invocation.command.words {
        // It loads the profile again, by the previous run's arguments.
        ["retry"] => 4,
        ["debug"] => 3,
        // Once for the flags, once for the profile.
        _ => 2,
    }))
}
