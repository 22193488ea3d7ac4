//! Chance by seed: SplitMix64, so that the same seed gives the same history on every machine.

use std::sync::{Arc, Mutex};

/// A generator that clones share.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: Arc<Mutex<u64>>,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(seed)) }
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(*state)
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something with `percent` chance happens.
    pub(crate) fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A generator of its own, for somebody whose draws must not depend on others' order.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.next())
    }
}

/// A hash of numbers, for choices that depend on what is chosen about and not on when.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A hash of text under a seed.
pub(crate) fn hash(seed: u64, text: &str) -> u64 {
    text.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)))
}
