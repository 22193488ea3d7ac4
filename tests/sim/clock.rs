//! The simulated clock: Tokio's paused time, a skew that each node has of its own, and some time that
//! passes at each look, as work takes time: two looks never agree, and nothing may rest on their
//! doing so.

use crate::random::mix;
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
    /// Time that passed between looks, in microseconds.
    worked_us: Arc<AtomicI64>,
    skew_us: i64,
}

/// When simulated time begins.
const EPOCH_US: i64 = 1_700_000_000_000_000;

/// Most time that passes at one look.
const WORK_US: u64 = 200;

impl SimClock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), worked_us: Arc::default(), skew_us: 0 }
    }

    /// The clock of a node whose time is off.
    pub(crate) fn skewed(&self, skew_us: i64) -> Self {
        Self { skew_us, ..self.clone() }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Micros {
        let elapsed = i64::try_from(self.origin.elapsed().as_micros()).unwrap();
        let worked = self.worked_us.load(Ordering::Relaxed);
        let more = 1 + i64::try_from(mix(worked.unsigned_abs()) % WORK_US).unwrap();
        self.worked_us.store(worked + more, Ordering::Relaxed);
        Micros(EPOCH_US + elapsed + worked + self.skew_us)
    }
}
