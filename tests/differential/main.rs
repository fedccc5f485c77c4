//! What dbt-lease reads and writes, compared with the real PyYAML and dbt.

mod invocation;
mod jinja;
mod options;
mod oracle;
mod yaml;
