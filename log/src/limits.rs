//! Every limit of the log, in one place, with the relations between them.

use spine_schemas::limits;

/// Bytes of key, headers and value of one record: a dead letter, its key and its facts as headers.
pub const RECORD_BYTES: usize = limits::LETTER_BYTES + 64 * 1024;
/// Bytes of one batch: what the largest request body can become once defaults are filled in.
pub const BATCH_BYTES: usize = 2 * limits::BODY_BYTES;
/// Records of one batch.
pub const BATCH_RECORDS: usize = 2 * limits::BATCH_EVENTS;
/// A commit group takes no further batch once it has this many bytes, so that one sync stays short.
pub const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of one block: a group one byte short of full, then the largest batch. The factor
/// leaves room for the framing of many tiny records.
pub const BLOCK_BYTES: usize = GROUP_BYTES + BATCH_BYTES + 64 * BATCH_RECORDS;
/// Bytes that a reader fetches from the disk at a time.
pub const READ_BYTES: usize = 256 * 1024;
/// Bytes between two entries of a segment's sparse index.
pub const INDEX_STRIDE_BYTES: u64 = 64 * 1024;
/// Most bytes of a segment's header, most of which is the datum's schema.
pub const HEADER_BYTES: usize = 1024 * 1024;
/// Nesting of a datum that is spliced; deeper ones are kept as plain bytes.
pub const DATUM_DEPTH: usize = 64;
/// Bytes of a topic's name, as on Kafka.
pub const TOPIC_BYTES: usize = 249;
/// What one header costs beyond its own bytes; it counts towards the size of a record, so that
/// empty headers have a limit too.
pub const HEADER_OVERHEAD_BYTES: usize = 8;
/// What one record costs in a queue or cache beyond its own bytes.
pub const RECORD_OVERHEAD_BYTES: usize = 128;

const _: () = assert!(RECORD_BYTES <= BATCH_BYTES, "one record must fit into a batch");
const _: () = assert!(BLOCK_BYTES < i32::MAX as usize, "other readers hold a block in 31 bits");
