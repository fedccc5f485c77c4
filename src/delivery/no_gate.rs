//! Where there is no inotify there is no gate: profiles.yml stays until dbt has ended. Untried.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::io;

use super::private::PrivateDir;

/// There is no value of it.
pub struct Gate(Infallible);

impl Gate {
    /// # Errors
    /// Always.
    pub(super) fn on(_profiles: &PrivateDir, _reads: u32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Not to be called.
    pub async fn keep(self, _tell: impl FnOnce(io::Result<()>)) -> Infallible {
        self.0
    }
}
