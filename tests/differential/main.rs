//! What dbt-lease reads and writes, compared with the real PyYAML and dbt.

mod jinja;
mod options;
mod oracle;
mod yaml;
