//! How fast runs go on that were held back, once nothing holds them any more: so fast that those that were never held
//! back do not notice. In the order of their waiting; which ones is the owner's business.

use spine_schemas::time::Micros;

/// The part of a second of which releases may be saved up.
const BURST: f64 = 0.05;
const MICROS: f64 = 1_000_000.0;

/// A bucket of releases.
#[derive(Debug)]
pub(super) struct Releases {
    per_second: f64,
    left: f64,
    at: Micros,
}

impl Releases {
    /// So many a second.
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        let mut releases = Self { per_second, left: 0.0, at: Micros(0) };
        releases.left = releases.most();
        releases
    }

    /// Takes as many as there are, of those that are wanted.
    pub(super) fn take(&mut self, wanted: usize, now: Micros) -> usize {
        self.fill(now);
        let taken = wanted.min(self.left as usize);
        self.left -= taken as f64;
        taken
    }

    /// When there is one.
    pub(super) fn next_at(&mut self, now: Micros) -> Micros {
        self.fill(now);
        let missing = (1.0 - self.left).max(0.0);
        Micros(now.0.saturating_add((missing / self.per_second * MICROS).ceil() as i64))
    }

    fn fill(&mut self, now: Micros) {
        let since = (now.0 - self.at.0).max(0) as f64 / MICROS;
        self.at = self.at.max(now);
        self.left = (self.left + since * self.per_second).min(self.most());
    }

    fn most(&self) -> f64 {
        (self.per_second * BURST).max(1.0)
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
