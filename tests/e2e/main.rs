//! What a user sees: the binary, on a real OpenBao, PostgreSQL and dbt.

mod scene;
mod support;

mod bridge;
mod check;
mod client;
mod dbt;
mod ends;
mod endurance;
mod engines;
mod env;
mod equality;
mod exec;
mod gate;
mod generate;
mod generated;
mod init;
mod janitor;
mod lines;
mod logins;
mod onlookers;
mod proof;
mod readme;
mod refusals;
mod renewal;
mod robust;
mod secrecy;
mod servers;
mod shim;
mod signals;
mod signals_dbt;
mod strangers;
mod take_back;
mod trust;
mod tutorial;
mod warm;
