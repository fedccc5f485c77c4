//! What dbt-lease reads and writes, compared with the real PyYAML and dbt.

mod bridge;
mod dotenv;
mod expressions;
mod fusion;
mod invocation;
mod jinja;
mod options;
mod oracle;
mod profiles;
mod random;
mod yaml;
