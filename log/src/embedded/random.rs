//! Where sync markers and log ids come from: the system, or a seed.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A source of random numbers. They tell things apart and protect nothing.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Numbers that differ from process to process and from call to call.
pub fn system_random() -> Random {
    // The standard library keys its hash maps from the system's randomness.
    let keyed = RandomState::new();
    let calls = AtomicU64::new(0);
    Arc::new(move || keyed.hash_one(calls.fetch_add(1, Ordering::Relaxed)))
}

/// The same numbers for the same seed.
pub fn seeded_random(seed: u64) -> Random {
    let calls = AtomicU64::new(0);
    Arc::new(move || mix(seed, calls.fetch_add(1, Ordering::Relaxed)))
}

/// One number of a seeded sequence (SplitMix64).
pub(crate) fn mix(seed: u64, place: u64) -> u64 {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut z = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(STEP));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
