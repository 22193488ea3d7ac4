//! Runs that a replay has met, so that a store that began empty is not asked for runs that it cannot have.
//!
//! A Bloom filter: of bounded size, and wrong in one direction only. A run that was met is always known;
//! a few that were not are asked for in vain.

use spine_schemas::RunKey;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Bits of the filter. At 8 million runs one question in fifty is in vain, at 30 million every other.
const BITS: u64 = 1 << 26;
/// Bits of one run.
const MARKS: u64 = 4;

/// The runs that may be in the store.
pub(super) struct Known {
    /// `None` where the store held something before, so that anything may be there.
    bits: Option<Vec<u64>>,
}

impl Known {
    /// Nothing was met yet; `fresh` says that the store was empty.
    pub(super) fn new(fresh: bool) -> Self {
        Self { bits: fresh.then(|| vec![0; (BITS / 64) as usize]) }
    }

    /// Whether the store may have the run; from now on it may.
    pub(super) fn meet(&mut self, key: &RunKey) -> bool {
        let Some(bits) = &mut self.bits else { return true };
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let hash = hasher.finish();
        // Two halves of one hash give as many places as are needed.
        let (first, stride) = (hash, (hash >> 32) | 1);
        let mut met = true;
        for mark in 0..MARKS {
            let place = first.wrapping_add(mark.wrapping_mul(stride)) % BITS;
            let (word, bit) = ((place / 64) as usize, 1 << (place % 64));
            met &= bits[word] & bit != 0;
            bits[word] |= bit;
        }
        met
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(run: u32) -> RunKey {
        RunKey::new("default", &format!("run-{run}"))
    }

    #[test]
    fn a_run_that_was_met_is_always_known() {
        let mut known = Known::new(true);
        let in_vain = (0..100_000).filter(|run| known.meet(&key(*run))).count();
        assert!(in_vain < 10, "{in_vain} of 100,000 new runs are asked for");
        assert!((0..100_000).all(|run| known.meet(&key(run))));
    }

    #[test]
    fn in_a_store_that_held_something_every_run_may_be() {
        assert!(Known::new(false).meet(&key(1)));
    }
}
