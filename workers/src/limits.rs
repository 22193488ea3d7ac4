//! Bounds of the owner loop.

use spine_log::ReadLimit;
use std::time::Duration;

/// Most records folded before other work gets its turn.
pub(crate) const READ_RECORDS: usize = 1024;
/// Most bytes of one read.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// One read of a log.
pub(crate) const READ: ReadLimit = ReadLimit { records: READ_RECORDS, bytes: READ_BYTES };
/// What one partition may hold in memory. A process that owns many gives each a smaller share, so that
/// its own memory has a bound however many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Folded events that may wait for the store before the partition holds.
    pub(crate) window_events: usize,
    /// Bytes of such events.
    pub(crate) window_bytes: usize,
    /// Runs kept beyond those that cannot be evicted.
    pub(crate) runs: usize,
    /// Bytes of such runs, by the size of their events.
    pub(crate) run_bytes: usize,
}

/// The share of a partition that is alone, or one of a few.
pub(crate) const WHOLE: Share = Share {
    window_events: 10_000,
    window_bytes: 8 * 1024 * 1024,
    runs: 3_000,
    run_bytes: 24 * 1024 * 1024,
};
/// Partitions that a replay reads at once: while one waits for the log or for its store, others go on.
pub const REPLAY_PARTITIONS: usize = 4;
/// The share of each of them.
pub(crate) const REPLAY: Share = Share {
    window_events: 2 * WHOLE.window_events,
    window_bytes: 2 * WHOLE.window_bytes,
    runs: 2 * WHOLE.runs,
    run_bytes: WHOLE.run_bytes,
};
/// A replay hands no smaller batch to its store, but for the last one.
pub(crate) const REPLAY_BATCH_EVENTS: usize = 4096;
/// As many partitions have whole shares; more divide what these have.
const WHOLE_SHARES: usize = 4;
/// No share is smaller than this part of a whole one.
const LEAST_PART: usize = 16;

/// The share of each of so many partitions.
pub(crate) fn share(owned: usize) -> Share {
    let part =
        |whole: usize| (whole * WHOLE_SHARES / owned.max(WHOLE_SHARES)).max(whole / LEAST_PART);
    Share {
        window_events: part(WHOLE.window_events),
        window_bytes: part(WHOLE.window_bytes),
        runs: part(WHOLE.runs),
        run_bytes: part(WHOLE.run_bytes),
    }
}

/// The store is given a batch at most this often, unless somebody waits for it or half of the window is full: a
/// run that changes ten times meanwhile is written once.
pub(crate) const STORE_EVERY: Duration = Duration::from_millis(50);
/// So many times as long as a batch took lie between its begin and that of the next one: where writing costs
/// much, more changes of a run are written at once.
pub(crate) const STORE_PART: u32 = 4;
/// But no more than this.
pub(crate) const STORE_EVERY_MOST: Duration = Duration::from_millis(200);
/// Questions to tools, whether an attempt took effect, that a partition has open at one time.
pub(crate) const PROBES: usize = 32;
/// Attempts of which it is remembered since when their outcome is not known.
pub(crate) const PROBES_KNOWN: usize = 10_000;
/// Longest wait for an answer to such a question.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(30);
/// Shortest time in which owners look what they can grant to a poll.
pub(crate) const POLL_LEAST: Duration = Duration::from_millis(50);
/// Timers kept in memory; later ones are read from the store when their time comes near.
pub(crate) const TIMERS: usize = 100_000;
/// Timers read at once. Were it more than a store gives, there would always seem to be no others.
pub(crate) const TIMERS_READ: usize = spine_store::limits::SCAN_ROWS;
/// Runs that are looked at in one turn because their time has come.
pub(crate) const DUE_RUNS: usize = 1_000;
/// Records in one append of the owner.
pub(crate) const APPEND_RECORDS: usize = 1024;
/// Ready runs from which on the sweep waits. More than what one turn reads and what becomes due in it.
pub(crate) const READY_RUNS: usize = 4 * READ_RECORDS;
/// Runs without a slot that are asked in one turn although fewer slots became free: some ask in vain.
pub(crate) const STARVED_RUNS: usize = 16;
/// Open runs looked at in one turn of the sweep after a claim.
pub(crate) const SWEEP_RUNS: usize = 256;
/// How often open runs are looked through for stalled ones, where there are more than timers.
pub(crate) const WATCH_EVERY: Duration = Duration::from_secs(30);
/// One read of the lifecycle topic by a webhook.
pub(crate) const WEBHOOK_READ: ReadLimit = ReadLimit { records: 64, bytes: 256 * 1024 };
/// How often a webhook keeps what was taken.
pub(crate) const WEBHOOK_KEEP_EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
pub(crate) const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// First pause before a record is posted again; doubles up to `WEBHOOK_RETRY_MOST`.
pub(crate) const WEBHOOK_RETRY_FIRST: Duration = Duration::from_millis(200);
/// Longest such pause.
pub(crate) const WEBHOOK_RETRY_MOST: Duration = Duration::from_secs(10);
/// The longest pause that a receiver may ask for.
pub(crate) const WEBHOOK_RETRY_AFTER_MOST: Duration = Duration::from_secs(300);
/// How often the stored offset is committed, for lag tools.
pub(crate) const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// Verdicts remembered per partition for those who ask by position.
pub(crate) const VERDICTS: usize = 8192;
/// First pause before something that failed is tried again; doubles up to `RETRY_MOST`.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest such pause.
pub(crate) const RETRY_MOST: Duration = Duration::from_secs(5);

/// How long retries wait that were over the budget of the process.
pub(crate) const RETRY_BUDGET_PAUSE: Duration = Duration::from_millis(100);

/// Schemas that did not come within [`SCHEMA_VAIN_WINDOW`], after which none is waited for.
pub(crate) const SCHEMA_WAITS_IN_VAIN: usize = 5;

/// How long a wait in vain counts.
pub(crate) const SCHEMA_VAIN_WINDOW: Duration = Duration::from_secs(600);

/// Of an original, what a letter holds; the rest of it is for the attempts.
pub(crate) const ORIGINAL_BYTES: usize = spine_schemas::limits::LETTER_BYTES - 512 * 1024;

/// Of a larger original, what a letter holds of the key, and of the headers.
pub(crate) const ORIGINAL_KEY_BYTES: usize = 64 * 1024;

/// Bytes of letters in one append; one that is larger goes alone.
pub(crate) const LETTERS_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of events in one append of the owner, when it is sent without waiting for more. A run's
/// batch that is larger goes alone.
pub(crate) const APPEND_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of outcomes that a run's batch may begin with; one that is larger goes alone.
pub(crate) const OUTCOMES_BYTES: usize = 4 * 1024 * 1024;

/// How long a read of something that is surely in the log may bring nothing.
pub(crate) const READ_PATIENCE: Duration = Duration::from_secs(30);

/// Claims that a process remembers to have held, for a partition.
pub(crate) const OWN_CLAIMS: usize = 1000;

/// The longest pause before an outcome without an owner is appended again. Short, since the next
/// owner gives the attempt up when its lease ends.
pub(crate) const LATE_RETRY_MOST: Duration = Duration::from_millis(500);
/// How long a poll whose time is over waits for starts that are on their way into the log.
pub(crate) const GRANT_PATIENCE: Duration = Duration::from_secs(5);
/// Steps that are granted to one poll in one round of decisions.
pub(crate) const GRANTS: usize = 100;
/// Rounds of grants between two other inputs of an owner.
pub(crate) const GRANT_ROUNDS: usize = 16;
/// Leases that a partition is told of whose worker went before it was answered; more end by themselves.
pub(crate) const RETURNED_LEASES: usize = 10_000;
/// Runs of a partition that are remembered to wait in queues; others are found again in the store.
pub(crate) const QUEUED_RUNS: usize = 100_000;
/// First pause before a superseded owner claims again; doubles up to `CLAIM_MOST`.
pub(crate) const CLAIM_FIRST: Duration = Duration::from_secs(1);
/// Longest such pause.
pub(crate) const CLAIM_MOST: Duration = Duration::from_secs(30);
/// How long the owner of a partition that was taken away may wind down, if the configured time is
/// not shorter. The group waits for it, and so does the next owner.
pub(crate) const HAND_OVER: Duration = Duration::from_secs(5);
/// How long an owner that goes waits for its last rows to be stored.
pub(crate) const LAST_STORE: Duration = Duration::from_secs(5);
/// Bytes of results that a process keeps to be taken instead of calls.
pub(crate) const MEMO_BYTES: usize = 64 * 1024 * 1024;
/// An owner, or a webhook, that worked for so long was healthy: its next trouble is new trouble.
pub(crate) const HEALTHY: Duration = Duration::from_secs(60);
/// A member that got no partition for so long is a spare one, which owns nothing and is ready.
pub(crate) const JOIN_WAIT: Duration = Duration::from_secs(10);
/// How long a record waits for the schema that it names, once for each fingerprint.
pub(crate) const SCHEMA_WAIT: Duration = Duration::from_secs(30);
/// How often the schema book is refreshed meanwhile.
pub(crate) const SCHEMA_REFRESH: Duration = Duration::from_secs(1);
/// Unknown fingerprints remembered, so that each is waited for once.
pub(crate) const SCHEMAS_AWAITED: usize = 1000;
/// Bad records in a row that are set aside; one more stops the partition.
pub(crate) const BAD_RUN: usize = 1000;
/// The newest records of which a share may be bad.
pub(crate) const BAD_WINDOW: usize = 10_000;
/// That share.
pub(crate) const BAD_PERCENT: usize = 10;
/// Records that must have been seen before the share means anything.
pub(crate) const BAD_LEAST: usize = 1000;
/// Those who listen to runs at one process.
pub(crate) const LISTENERS: usize = 512;
/// How long the owner waits for the store to let one of them in.
pub(crate) const LISTENER_LOAD: Duration = Duration::from_secs(1);
/// How long afterwards nobody is let in for whom the store would have to be asked, if it did not answer.
pub(crate) const DEAF: Duration = Duration::from_secs(5);
/// Bytes of words that wait for one of them, and as much again of turns of the run.
pub(crate) const MAILBOX_BYTES: usize = 128 * 1024;
/// Bytes that the words of whoever resumed a partition may take in the log.
pub(crate) const RESUME_BYTES: usize = 1024;

const _: () = assert!(BAD_LEAST <= BAD_WINDOW && BAD_PERCENT < 100);
const _: () = assert!(SCHEMA_REFRESH.as_millis() < SCHEMA_WAIT.as_millis());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_divide_what_a_few_partitions_have() {
        assert_eq!((share(0), share(1), share(4)), (WHOLE, WHOLE, WHOLE));
        assert_eq!(share(8).window_events, WHOLE.window_events / 2);
        assert_eq!(share(64).window_bytes, WHOLE.window_bytes / 16);
        assert_eq!(share(1000), share(64), "a share is never too small to work with");
    }
}
