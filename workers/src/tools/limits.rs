//! Limits of calling tools, in one place. Sizes of what is recorded are in `spine_schemas::limits`.

use spine_schemas::limits::PAYLOAD_BYTES;
use std::time::Duration;

/// Longest time for name look-up, connecting and TLS together.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection waits for its next request before it is closed.
pub(super) const IDLE: Duration = Duration::from_secs(30);
/// How long a connection may have waited that a careful call takes: shorter than any server waits before it
/// closes one.
pub(super) const CAREFUL_IDLE: Duration = Duration::from_millis(100);
/// A remote that leaves a connection open for so long after its answer keeps its connections.
pub(super) const KEPT_OPEN: Duration = Duration::from_millis(50);
/// Waiting connections to one scheme, host and port.
pub(super) const IDLE_PER_HOST: usize = 64;
/// Waiting connections in all.
pub(super) const IDLE_TOTAL: usize = 512;
/// Bytes of an answer's head, and of the buffer that its body passes through.
pub(super) const HEAD_BYTES: usize = 64 * 1024;
/// Bytes of a result that are read. What is above [`PAYLOAD_BYTES`] is only counted and hashed.
pub(super) const RESULT_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of a failing answer's body that are read.
pub(super) const EXCERPT_BYTES: usize = 4096;
/// How long the body of a failing answer is waited for: its status has decided already.
pub(super) const EXCERPT: Duration = Duration::from_secs(1);
/// Characters of a failing answer's body that go into the message.
pub(super) const EXCERPT_CHARS: usize = 200;

const _: () = assert!(RESULT_BYTES > PAYLOAD_BYTES as u64, "a result that is kept is read whole");
const _: () = assert!(KEPT_OPEN.as_nanos() < CAREFUL_IDLE.as_nanos(), "what is learnt can be used");
const _: () = assert!(IDLE_TOTAL >= IDLE_PER_HOST, "one host may fill its own share");
