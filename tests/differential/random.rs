//! Numbers that look random and are the same in every run, unless DBT_LEASE_TEST_SEED says otherwise.

/// xorshift.
pub(crate) struct Random(u64);

impl Random {
    /// Starts from the seed of the environment, else from a fixed one.
    pub(crate) fn new() -> Self {
        let seed = std::env::var("DBT_LEASE_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        Self(seed.unwrap_or(0x5eed_u64).max(1))
    }

    /// A number below another.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).expect("it is small")).expect("it is small")
    }

    /// One of several.
    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}
