//! The proposal of a dbt-lease.yml, from what a project and its profiles say. Pure, but for `history`.
//!
//! | file | gives |
//! | --- | --- |
//! | `outputs` | the outputs of a profiles.yml, without a value of a credential |
//! | `words` | whose a target is by its name; names for paths, variables, YAML |
//! | `lend` | what a target is lent, by its adapter |
//! | `login` | the login of an environment, by what is at hand |
//! | `propose` | environments with their targets; what is not known |
//! | `written` | the text |
//! | `merge` | what is missing in a dbt-lease.yml that is there, added to it |
//! | `history` | whether a file is or was in Git; runs `git` |
#![forbid(unsafe_code)]

mod error;
pub mod history;
pub mod lend;
pub mod login;
pub mod merge;
pub mod outputs;
pub mod propose;
#[cfg(test)]
mod tests;
pub mod words;
pub mod written;

pub use error::InitError;
