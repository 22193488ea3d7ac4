//! Bounds of the owner loop.

use std::time::Duration;

/// Most records folded before other work gets its turn.
pub(crate) const READ_RECORDS: usize = 1024;
/// Most bytes of one read.
pub(crate) const READ_BYTES: usize = 4 * 1024 * 1024;
/// Folded events that may wait for the store before the partition holds.
pub(crate) const WINDOW_EVENTS: usize = 10_000;
/// Bytes of such events.
pub(crate) const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// Runs kept in memory beyond those that cannot be evicted.
pub(crate) const CACHED_RUNS: usize = 3_000;
/// Bytes of such runs, by the size of their events.
pub(crate) const CACHED_BYTES: usize = 24 * 1024 * 1024;
/// Timers kept in memory; later ones are read from the store when their time comes near.
pub(crate) const TIMERS: usize = 100_000;
/// Records in one append of the owner.
pub(crate) const APPEND_RECORDS: usize = 1024;
/// Open runs looked at in one turn of the sweep after a claim.
pub(crate) const SWEEP_RUNS: usize = 256;
/// How often the stored offset is committed, for lag tools.
pub(crate) const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// Verdicts remembered per partition for those who ask by position.
pub(crate) const VERDICTS: usize = 8192;
/// First pause before something that failed is tried again; doubles up to `RETRY_MOST`.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest such pause.
pub(crate) const RETRY_MOST: Duration = Duration::from_secs(5);
/// First pause before a superseded owner claims again; doubles up to `CLAIM_MOST`.
pub(crate) const CLAIM_FIRST: Duration = Duration::from_secs(1);
/// Longest such pause.
pub(crate) const CLAIM_MOST: Duration = Duration::from_secs(30);
