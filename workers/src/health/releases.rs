//! How fast runs go on that were held back, once nothing holds them any more: so fast that those that were never held
//! back do not notice. In the order of their waiting; which ones is the owner's business.

use super::bucket::Bucket;
use spine_schemas::time::Micros;

/// The part of a second of which releases may be saved up.
const BURST: f64 = 0.05;

/// How many may go on.
#[derive(Debug)]
pub(super) struct Releases(Bucket);

impl Releases {
    /// So many a second.
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self(Bucket::new(per_second, (per_second * BURST).max(1.0)))
    }

    /// Takes as many as there are, of those that are wanted.
    pub(super) fn take(&mut self, wanted: usize, now: Micros) -> usize {
        let taken = wanted.min(self.0.left(now));
        self.0.add(-(taken as f64));
        taken
    }

    /// When there is one.
    pub(super) fn next_at(&mut self, now: Micros) -> Micros {
        self.0.next_at(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_go_on_at_once_and_many_at_a_pace() {
        let mut releases = Releases::new(100);
        let now = Micros(1_000_000_000);
        assert_eq!(releases.take(3, now), 3);
        assert_eq!(releases.take(10, now), 2);
        assert_eq!(releases.take(10, now), 0);
        assert_eq!(releases.next_at(now), now.plus_ms(10));
        assert_eq!(releases.take(10, now.plus_ms(10)), 1);
        assert_eq!(releases.take(100, now.plus_ms(60_000)), 5, "they are not saved for ever");
    }

    #[test]
    fn one_a_second_is_the_slowest() {
        let mut releases = Releases::new(0);
        let now = Micros(1_000_000_000);
        assert_eq!(releases.take(2, now), 1);
        assert_eq!(releases.next_at(now), now.plus_ms(1000));
        assert_eq!(releases.take(2, now.plus_ms(1000)), 1);
    }
}
