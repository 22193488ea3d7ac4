//! How a tool behaves: by script, or by a seed and nothing else.

use std::time::Duration;

/// What the tool server does with one call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The effect happens, 200.
    Done,
    /// Nothing happens, this status.
    Refuses(u16),
    /// Nothing happens, this status with `Retry-After` in seconds.
    RefusesFor(u16, u64),
    /// The effect happens, then this status.
    DoneThen(u16),
    /// The effect happens, then the connection ends without a reply.
    DoneThenDrops,
    /// The effect happens after a while, then 200.
    DoneAfter(Duration),
    /// The effect happens, and the reply is this text.
    Says(String),
    /// Nothing happens and nothing is said while the caller holds the connection.
    Hangs,
}

/// A number that depends on its parts only, spread evenly.
pub fn spread(seed: u64, parts: &[&str]) -> u64 {
    let mut state = seed ^ 0x9E37_79B9_7F4A_7C15;
    for part in parts {
        for byte in part.bytes().chain([0xFF]) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        state ^= state >> 29;
    }
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

/// Whether the seeded fault of 15 % strikes this attempt.
pub fn strikes(seed: u64, run: &str, step: &str, attempt: u32) -> bool {
    spread(seed, &[run, step, &attempt.to_string()]) % 100 < 15
}
