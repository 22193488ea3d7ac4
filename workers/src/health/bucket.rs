//! A bucket that fills by the clock: how much may happen now of what may happen so often in a second.

use spine_schemas::time::Micros;

const MICROS: f64 = 1_000_000.0;

/// A bucket, full when it is made.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    most: f64,
    left: f64,
    at: Micros,
}

impl Bucket {
    /// One that gets so much in a second and holds at most so much.
    pub(super) fn new(per_second: f64, most: f64) -> Self {
        Self { per_second, most, left: most, at: Micros(0) }
    }

    /// What is in it now, in whole pieces.
    pub(super) fn left(&mut self, now: Micros) -> usize {
        let seconds = (now.0 - self.at.0).max(0) as f64 / MICROS;
        self.at = self.at.max(now);
        self.add(seconds * self.per_second);
        self.left.max(0.0) as usize
    }

    /// Adds something, or takes something out; what is missing then is filled up first.
    pub(super) fn add(&mut self, pieces: f64) {
        self.left = (self.left + pieces).min(self.most);
    }

    /// When there is a whole piece in it, if nothing is taken out.
    pub(super) fn next_at(&mut self, now: Micros) -> Micros {
        if self.left(now) > 0 {
            return now;
        }
        let wait = (1.0 - self.left) / self.per_second * MICROS;
        Micros(now.0.saturating_add(wait.ceil() as i64))
    }
}
