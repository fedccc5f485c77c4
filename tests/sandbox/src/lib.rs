//! The real neighbours of dbt-lease, for its tests: OpenBao, PostgreSQL, dbt.
