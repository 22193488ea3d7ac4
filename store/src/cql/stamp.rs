//! What follows from a position alone: write timestamps, buckets, days and shards.
//!
//! All of it is a fold of the log, so that a rebuilt keyspace has equal rows.

use sha2::{Digest as _, Sha256};
use spine_schemas::time::Micros;

/// A keyspace belongs to one log, so the generation in its timestamps never rises.
const BASE: i64 = 1 << 40;
/// The mirror from which closings count down: below any wall clock of our time, above [`BASE`].
const MIRROR: i64 = 1500 << 40;
/// Offsets that fit under one generation.
const OFFSETS: i64 = 1 << 39;

/// Offsets of one bucket of events, decisions and refusals: bounds a CQL partition although one
/// run may have all events of its time.
const EVENT_BUCKET: u64 = 16 * 1024;
/// Creating offsets of one bucket of open runs. Each ended run leaves a tombstone there.
const OPEN_BUCKET: u64 = 10_000;
/// Steps of one bucket.
pub(super) const STEP_BUCKET: usize = 128;
/// Partitions of one tenant's runs of one day, and of one day's letters.
pub(super) const SHARDS: i32 = 8;

fn column(offset: u64) -> i64 {
    let column = crate::form::offset_column(offset);
    assert!(column < OFFSETS, "no log has 2^39 records in a partition");
    column
}

/// The timestamp of a row whose version is this offset.
pub(super) fn put(offset: u64) -> i64 {
    BASE + 2 * column(offset) + 1
}

/// The timestamp of a deletion by the event at this offset: above every row of earlier versions,
/// below one of the same.
pub(super) fn delete(offset: u64) -> i64 {
    BASE + 2 * column(offset)
}

/// The timestamp of a closing: the earlier the event, the higher.
pub(super) fn first_wins(offset: u64) -> i64 {
    MIRROR - column(offset)
}

/// The timestamp of the hint where open runs begin: the highest wins.
pub(super) fn hint(bucket: i64) -> i64 {
    BASE + bucket
}

/// Whether a log can have this offset.
pub(super) fn is_offset(offset: u64) -> bool {
    offset < OFFSETS.unsigned_abs()
}

/// The bucket of an event, a decision or a refusal.
pub(super) fn event_bucket(offset: u64) -> i32 {
    i32::try_from(offset / EVENT_BUCKET).expect("2^39 offsets have fewer buckets")
}

/// The bucket of an open run by its creating offset.
pub(super) fn open_bucket(created_offset: u64) -> i64 {
    crate::form::offset_column(created_offset / OPEN_BUCKET)
}

/// The UTC day of a time.
pub(super) fn day(at: Micros) -> i32 {
    const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
    i32::try_from(at.0.div_euclid(DAY_MICROS)).expect("63 bits of microseconds have fewer days")
}

/// The shard of a name.
pub(super) fn shard(name: &[u8]) -> i32 {
    i32::from(Sha256::digest(name)[0]) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::{delete, event_bucket, first_wins, open_bucket, put};

    #[test]
    fn later_versions_win_and_an_end_stays_the_end() {
        assert!(put(7) > delete(7), "a row outlives the deletion that came before it");
        assert!(delete(8) > put(7), "no older version outlives a deletion");
        assert!(first_wins(7) > first_wins(8));
        assert!(first_wins(u64::MAX >> 26) > put(u64::MAX >> 26));
    }

    #[test]
    fn buckets_begin_where_the_last_one_ends() {
        assert_eq!((open_bucket(39_999), open_bucket(40_000)), (3, 4));
        assert_eq!((event_bucket(16_383), event_bucket(16_384)), (0, 1));
    }
}
