//! What a user sees: the binary, on a real OpenBao, PostgreSQL and dbt.

mod support;

mod dbt;
mod ends;
mod engines;
mod exec;
mod gate;
mod generated;
mod janitor;
mod logins;
mod readme;
mod refusals;
mod renewal;
mod robust;
mod secrecy;
mod servers;
mod shim;
mod take_back;
mod trust;
