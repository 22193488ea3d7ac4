//! The retry budget: how many retries a process may make in all, so that many steps that fail at one time
//! do not become a storm. What is over it waits; it spends nothing and fails nothing.

use spine_schemas::time::Micros;

/// Retries for each other start.
const PER_START: f64 = 0.2;
/// Retries that come back in a second, whatever else happens.
const PER_SECOND: f64 = 10.0;
/// Retries that may be saved up.
const MOST: f64 = 200.0;

/// A bucket of retries.
#[derive(Debug)]
pub(super) struct Retries {
    left: f64,
    at: Micros,
}

impl Default for Retries {
    fn default() -> Self {
        Self { left: MOST, at: Micros(0) }
    }
}

impl Retries {
    /// How many retries may begin now.
    pub(super) fn lend(&mut self, now: Micros) -> usize {
        let seconds = now.ms_since(self.at) as f64 / 1000.0;
        self.at = self.at.max(now);
        self.left = (self.left + seconds * PER_SECOND).min(MOST);
        self.left.max(0.0) as usize
    }

    /// So many retries begin, and other starts.
    pub(super) fn used(&mut self, others: usize, retries: usize) {
        self.left = (self.left + others as f64 * PER_START - retries as f64).min(MOST);
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
