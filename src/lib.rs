//! `dbt-lease` lends a dbt run the credentials it needs, for as long as it runs, and no longer.
//!
//! This library is the tool's own; it promises no API. What it promises is the command line, the exit codes, the JSON of
//! `plan` and `render`, dbt-lease.yml and the record (see the README).
//!
//! The data goes one way, and a module imports only what stands above it here (a test holds the code to that):
//!
//! | module | gives | invariant |
//! | --- | --- | --- |
//! | [`variables`], [`secret`], [`place`], [`config`], [`process`] | the process environment, secret values, places in files, dbt-lease.yml, helper commands | may be imported by all; import none of the others |
//! | [`dbt`] | what dbt would use, by dbt's own rules | never renders what it is not sure of |
//! | [`plan`] | target → environment → login + secrets | pure; every refusal that needs no network |
//! | [`trust`] | the user's word that dbt-lease.yml may be obeyed | nothing is lent without it |
//! | [`vault`] | a session token, secrets with their leases | the only module that talks to Vault |
//! | [`render`] | the output for dbt, the bridge's variables | pure |
//! | [`bridge`] | profiles.yml with its credentials in variables, and `env:` for dbt-lease.yml | pure; never gives a value |
//! | [`init`] | the proposal of a dbt-lease.yml, from the project and its profiles | writes nothing, never gives a value |
//! | [`generate`] | files for others, from the plan: policies, roles, CI jobs | pure; hangs on `plan` alone |
//! | [`warm`] | dbt's parse cache, kept for a new user name | keeps no secret; what is unclear is left to dbt |
//! | [`delivery`] | the profiles directory, the child's environment | the only module that writes secrets |
//! | [`verify`] | what a run left: our secrets in dbt's files, a login that still works | changes nothing, shows no value |
//! | [`check`] | what stands in a loan's way, with its cure | lends nothing; ends its own tokens |
//! | [`record`] | the audit trail | sees no secret value |
//! | [`supervise`] | the child, signals, the janitor | the only module that starts the child and the janitor |
//! | [`cli`] | arguments, order, messages, exit codes | the only module that prints |
//!
//! [`allocator`] stands beside them: it wipes what is freed. `crypto` is the library that the features choose. `directories` are those that we keep for the user alone. `failpoint` lets tests kill a debug build at a named step.

#[cfg(not(any(feature = "ring", feature = "fips")))]
compile_error!("choose the cryptography: the feature `ring` (the default) or `fips`");

pub mod allocator;
pub mod bridge;
pub mod check;
pub mod cli;
pub mod config;
mod crypto;
pub mod dbt;
pub mod delivery;
mod directories;
mod failpoint;
pub mod generate;
pub mod init;
pub mod place;
pub mod plan;
pub mod process;
pub mod record;
pub mod render;
pub mod secret;
pub mod supervise;
pub mod trust;
pub mod variables;
pub mod vault;
pub mod verify;
pub mod warm;
