//! The simulated clock: Tokio's paused time plus a skew that each node has of its own.

use spine_schemas::time::Micros;
use spine_workers::Clock;
use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(crate) struct SimClock {
    origin: Instant,
    skew_us: i64,
}

/// When simulated time begins.
const EPOCH_US: i64 = 1_700_000_000_000_000;

impl SimClock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), skew_us: 0 }
    }

    /// The clock of a node whose time is off.
    pub(crate) fn skewed(self, skew_us: i64) -> Self {
        Self { skew_us, ..self }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Micros {
        let elapsed = self.origin.elapsed().as_micros();
        Micros(EPOCH_US + i64::try_from(elapsed).unwrap() + self.skew_us)
    }
}
