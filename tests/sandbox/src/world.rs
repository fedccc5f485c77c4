//! OpenBao and a database, set up for dbt.
/// Placeholder until the next commit.
#[derive(Debug)]
pub struct World;
