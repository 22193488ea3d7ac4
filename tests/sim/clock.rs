//! The simulated clock: Tokio's paused time, a skew that each node has of its own, and a microsecond
//! for each look, so that two looks never agree and nothing may rest on their doing so.

use spine_schemas::time::Micros;
use spine_workers::Clock;
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};
use tokio::time::Instant;

#[derive(Clone, Debug)]
pub(crate) struct SimClock {
    origin: Instant,
    looks: Arc<AtomicI64>,
    skew_us: i64,
}

/// When simulated time begins.
const EPOCH_US: i64 = 1_700_000_000_000_000;

impl SimClock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), looks: Arc::default(), skew_us: 0 }
    }

    /// The clock of a node whose time is off.
    pub(crate) fn skewed(&self, skew_us: i64) -> Self {
        Self { skew_us, ..self.clone() }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Micros {
        let elapsed = i64::try_from(self.origin.elapsed().as_micros()).unwrap();
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        Micros(EPOCH_US + elapsed + looks + self.skew_us)
    }
}
