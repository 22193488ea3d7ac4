//! The retry budget: how many retries a process may make in all, so that many steps that fail at one time
//! do not become a storm. What is over it waits; it spends nothing and fails nothing.

use super::bucket::Bucket;
use spine_schemas::time::Micros;

/// Retries for each other start.
const PER_START: f64 = 0.2;
/// Retries that come back in a second, whatever else happens.
const PER_SECOND: f64 = 10.0;
/// Retries that may be saved up.
const MOST: f64 = 200.0;

/// How many retries may be made.
#[derive(Debug)]
pub(super) struct Retries(Bucket);

impl Default for Retries {
    fn default() -> Self {
        Self(Bucket::new(PER_SECOND, MOST))
    }
}

impl Retries {
    /// How many retries may begin now.
    pub(super) fn lend(&mut self, now: Micros) -> usize {
        self.0.left(now)
    }

    /// So many retries begin, and other starts.
    pub(super) fn used(&mut self, others: usize, retries: usize) {
        self.0.add(others as f64 * PER_START - retries as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_slowed_to_a_share_of_what_begins_anew() {
        let mut retries = Retries::default();
        let now = Micros(1_000_000_000);
        assert_eq!(retries.lend(now), 200);
        retries.used(0, 200);
        assert_eq!(retries.lend(now), 0);
        retries.used(10, 0);
        assert_eq!(retries.lend(now), 2);
        retries.used(0, 2);
        assert_eq!(retries.lend(now.plus_ms(500)), 5);
        assert_eq!(retries.lend(now.plus_ms(100_000)), 200, "it is not saved for ever");
    }
}
