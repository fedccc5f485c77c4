//! What is made from the code, for others: the schema of dbt-lease.yml, completions, manual pages.
#![forbid(unsafe_code)]

use clap::CommandFactory;

use super::arguments::{Arguments, Completions, Man};
use super::failure::Failure;
use super::output;
use crate::config;

/// `dbt-lease schema`
pub(super) fn schema() -> Result<(), Failure> {
    output::json(Ok(config::schema()))
}

/// `dbt-lease completions`
pub(super) fn completions(arguments: &Completions) -> Result<(), Failure> {
    let mut made = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Arguments::command(),
        "dbt-lease",
        &mut made,
    );
    output::text(&String::from_utf8_lossy(&made))
}

/// `dbt-lease man`
pub(super) fn man(arguments: &Man) -> Result<(), Failure> {
    let mut command = Arguments::command();
    // So that a subcommand's page shows the options of all, too.
    command.build();
    let page = match &arguments.subcommand {
        None => command,
        Some(name) => command
            .find_subcommand(name)
            .filter(|found| !found.is_hide_set())
            .cloned()
            .ok_or_else(|| {
                Failure::new(
                    "no_subcommand",
                    format!("there is no subcommand `{name}`"),
                    Some("`dbt-lease --help` lists them"),
                )
            })?,
    };
    let mut made = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut made)
        .map_err(|error| Failure::new("bug", format!("the page cannot be made: {error}"), None))?;
    output::text(&String::from_utf8_lossy(&made))
}
