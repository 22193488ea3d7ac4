//! Every limit of the door that is not already a limit of the events, in one place.

use spine_schemas::limits;
use std::time::Duration;

/// Bytes of a request body that holds one request: a plan becomes one event.
pub const REQUEST_BYTES: usize = 2 * limits::EVENT_BYTES;
/// Bytes of request bodies that are held at one time, unless the settings say otherwise.
pub const BODY_BYTES_IN_FLIGHT: usize = 4 * limits::BODY_BYTES;
/// Requests that are answered at one time, unless the settings say otherwise.
pub const REQUESTS_IN_FLIGHT: usize = 1024;
/// The part of these that may be polls of workers: one half.
pub const POLLS_PART: usize = 2;
/// Longest time that a poll waits, in milliseconds.
pub const POLL_WAIT_MS: u64 = 60_000;
/// Time that a poll waits unless it says otherwise, in milliseconds.
pub const POLL_USUAL_WAIT_MS: u64 = 30_000;
/// Most steps that one poll takes.
pub const POLL_STEPS: usize = 100;
/// Most tenants that one poll names.
pub const POLL_TENANTS: usize = 1000;
/// Requests that read single records of the log at one time; further ones wait. A reader of a log on
/// Kafka is a place at a consumer, of which there are few.
pub const LOG_READS: usize = 8;
/// Open runs that are loaded together to look for trouble.
pub const FAILING_LOADED: usize = 64;
/// Open runs that one answer looks at.
pub const FAILING_RUNS: usize = 100_000;
/// How long one answer looks at them.
pub const FAILING_TIME: Duration = Duration::from_secs(5);
/// Workflows that are named for each kind of trouble.
pub const FAILING_WORKFLOWS: usize = 100;
/// Examples that stand for each kind of trouble.
pub const FAILING_EXAMPLES: usize = 5;
/// Bytes of a request in which an attempt says something.
pub const PART_BYTES: usize = 64 * 1024;
/// How often a listener is sent a comment while nothing is said.
pub const STREAM_COMMENTS: Duration = Duration::from_secs(15);
/// Open connections.
pub const CONNECTIONS: usize = 4096;
/// Bytes of a request's head.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Headers of a request.
pub const HEADERS: usize = 64;
/// Bodies that are parsed at one time; each takes a core.
pub const PARSERS: usize = 2;
/// A body above this many bytes is parsed off the threads that answer requests.
pub const PARSE_INLINE_BYTES: usize = 64 * 1024;
/// Encoded events share buffers of this many bytes, so that one that is kept does not hold more.
pub const BUFFER_BYTES: usize = 1024 * 1024;
/// Bad lines that an answer lists; the rest are counted.
pub const BAD_LINES: usize = 10_000;
/// Events of one request whose verdicts are waited for.
pub const WAITED_EVENTS: usize = 1000;
/// Rows of a list where the caller names no limit.
pub const PAGE_ROWS: usize = 100;
/// Bytes of payloads in one answer; what is beyond comes with the next page.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Waits that a run's answer lists; the rest are counted.
pub const WAITS: usize = 100;
/// Entries of the header of an Avro file; every entry costs more here than in the file.
pub const HEADER_ENTRIES: usize = 1000;
/// Records that are read over to reach the next wanted one before the log is asked to seek.
pub const SKIP_RECORDS: u64 = 256;
/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Seconds after which a client that met a full queue should come back.
pub const RETRY_AFTER_S: u32 = 1;

/// How long a head may take to arrive, and a connection may stay idle.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a body may pause.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the partitions are looked at, between these two: so many times in the time after which one is unattended.
pub const WATCH_PARTS: u32 = 4;
/// See [`WATCH_PARTS`].
pub const WATCH_LEAST: Duration = Duration::from_secs(1);
/// See [`WATCH_PARTS`].
pub const WATCH_MOST: Duration = Duration::from_secs(15);
/// Partitions that are looked at together.
pub const WATCHED_AT_ONCE: usize = 4;
/// Runs of a quiet partition that are looked at, those first that were due first.
pub const WATCH_RUNS: usize = 8;
/// How long one read of the log may take.
pub const LOG_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a record is offered to a log that refuses it, after its letter was closed; and the pause
/// between two tries.
pub const PUT_BACK_PATIENCE: Duration = Duration::from_secs(30);
/// See [`PUT_BACK_PATIENCE`].
pub const PUT_BACK_PAUSE: Duration = Duration::from_millis(200);
/// How long after the closing of its letter a record is put back by whoever closed it: longer than
/// the verdict, the patience and one append take together.
pub const PUT_BACK_AFTER: Duration = Duration::from_secs(120);
/// How long the log is read for a record that may not have been put back.
pub const PUT_BACK_SCAN: Duration = Duration::from_secs(60);
/// Events of a fork that are appended together.
pub const FORK_EVENTS: usize = 64;
/// Steps that a comparison of two runs lists; the others are counted.
pub const DIFF_STEPS: usize = 1000;
/// Payloads up to this size stand in a comparison as they are.
pub const BRIEF_BYTES: usize = 4096;
/// How long a request may take in all. Verdicts have a shorter deadline of their own.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// How long open requests may go on after the server was told to stop.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(REQUEST_BYTES <= limits::BODY_BYTES, "one request is a body, too");
const _: () = assert!(
    PUT_BACK_PATIENCE.as_secs() < PUT_BACK_AFTER.as_secs() / 2,
    "a slow first server is done before a second one looks"
);
const _: () =
    assert!(POLL_WAIT_MS + 30_000 < REQUEST_TIMEOUT.as_millis() as u64, "polls are answered");
const _: () = assert!(PUT_BACK_SCAN.as_secs() < REQUEST_TIMEOUT.as_secs(), "it is told in time");
const _: () = assert!(BODY_BYTES_IN_FLIGHT >= limits::BODY_BYTES, "one full body must fit");
const _: () = assert!(BODY_BYTES_IN_FLIGHT < u32::MAX as usize, "permits are counted in 32 bits");
const _: () = assert!(PAGE_ROWS <= spine_store::limits::PAGE_ROWS, "a default is a legal page");
