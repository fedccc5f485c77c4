//! What dbt-lease reads and writes, compared with the real PyYAML and dbt.

mod oracle;
mod yaml;
