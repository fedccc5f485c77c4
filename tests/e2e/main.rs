//! What a user sees: the binary, on a real OpenBao, PostgreSQL and dbt.

mod support;

mod dbt;
mod exec;
mod ends;
mod refusals;
mod secrecy;
mod shim;
mod servers;
mod take_back;
