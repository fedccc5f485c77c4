//! What a user sees: the binary, on a real OpenBao, PostgreSQL and dbt.

mod support;

mod ends;
mod exec;
mod readme;
mod robust;
