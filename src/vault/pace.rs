//! How fast requests may follow each other (`rate_limit`, VAULT_RATE_LIMIT): a token bucket, as Vault's own client has it.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::RateLimit;

/// A bucket of places; each request takes one.
pub(crate) struct Pace {
    limit: RateLimit,
    /// When the bucket is full again, if nobody takes from it.
    full: Cell<Instant>,
}

impl Pace {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            full: Cell::new(Instant::now()),
        }
    }

    /// Takes a place; how long to wait before it may be used.
    pub(crate) fn take(&self, now: Instant) -> Duration {
        let full = self.full.get().max(now) + self.limit.interval;
        self.full.set(full);
        full.saturating_duration_since(now)
            .saturating_sub(self.limit.interval * self.limit.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let second = Duration::from_secs(1);
        let pace = Pace::new(RateLimit {
            interval: second,
            burst: 2,
        });
        let now = Instant::now();
        let waits: Vec<u64> = (0..4).map(|_| pace.take(now).as_secs()).collect();
        assert_eq!(waits, [0, 0, 1, 2]);
        assert_eq!(
            pace.take(now + second * 10),
            Duration::ZERO,
            "it fills up again"
        );
    }
}
