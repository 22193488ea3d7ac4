//! Every limit of the log, in one place, with the relations between them.

use spine_schemas::limits;
use std::time::Duration;

/// Bytes of key, headers and value of one record: a dead letter, its key and its facts as headers.
pub const RECORD_BYTES: usize = limits::LETTER_BYTES + 64 * 1024;
/// Bytes of one batch: what the largest request body can become once defaults are filled in.
pub const BATCH_BYTES: usize = 2 * limits::BODY_BYTES;
/// Records of one batch.
pub const BATCH_RECORDS: usize = 2 * limits::BATCH_EVENTS;
/// Bytes of a commit group, so that one sync stays short; a larger batch is one of its own.
pub const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of one block that is read. The factor leaves room for the framing of many tiny records.
pub const BLOCK_BYTES: usize = GROUP_BYTES + BATCH_BYTES + 64 * BATCH_RECORDS;
/// Bytes that a reader fetches from the disk at a time.
pub const READ_BYTES: usize = 256 * 1024;
/// Bytes of memory that records which were read share, so that one that is kept keeps few others.
pub const ARENA_BYTES: usize = 64 * 1024;
/// Bytes between two entries of a segment's sparse index.
pub const INDEX_STRIDE_BYTES: u64 = 64 * 1024;
/// Most bytes of a segment's header, most of which is the datum's schema.
pub const HEADER_BYTES: usize = 1024 * 1024;
/// A segment gets reserved space once it has this many bytes, so that small logs stay small.
pub const RESERVE_FROM_BYTES: u64 = 256 * 1024;
/// Which part of a segment is reserved behind it: one over this.
pub const RESERVE_PART: u64 = 8;
/// Most bytes that are reserved at a time. One sync writes them beside its block.
pub const RESERVE_MOST_BYTES: u64 = 256 * 1024;
/// Largest block that is worth a reserve: the sync of a larger one takes long for its own bytes.
pub const RESERVE_BLOCK_BYTES: u64 = 32 * 1024;
/// Nesting of a datum that is spliced; deeper ones are kept as plain bytes.
pub const DATUM_DEPTH: usize = 64;
/// Bytes of a topic's name, as on Kafka.
pub const TOPIC_BYTES: usize = 249;
/// What one header costs beyond its own bytes; it counts towards the size of a record, so that
/// empty headers have a limit too.
pub const HEADER_OVERHEAD_BYTES: usize = 8;
/// What one record costs in a queue or cache beyond its own bytes.
pub const RECORD_OVERHEAD_BYTES: usize = 128;

/// Partitions that a log on Kafka is created with, unless told otherwise.
pub const KAFKA_PARTITIONS: u32 = 48;
/// Room for a record's key, headers and framing beside its value, in the topic's largest message.
pub const KAFKA_MESSAGE_MARGIN_BYTES: usize = 128 * 1024;
/// Largest message of the topic of steps: an event and its framing.
pub const KAFKA_STEPS_MESSAGE_BYTES: usize = limits::EVENT_BYTES + KAFKA_MESSAGE_MARGIN_BYTES;
/// Largest message of the topic of letters: an original and its history beside it.
pub const KAFKA_LETTERS_MESSAGE_BYTES: usize = limits::LETTER_BYTES + KAFKA_MESSAGE_MARGIN_BYTES;
/// Bytes that appends of one process may hold in the producer. The largest batch fits twice.
pub const KAFKA_CREDIT_BYTES: usize = 256 * 1024 * 1024;
/// Bytes of appends that may wait for those; beyond them appends are refused as busy.
pub const KAFKA_WAITING_BYTES: usize = KAFKA_CREDIT_BYTES;
/// How long a record may wait for the brokers' acknowledgement before its outcome is not known.
/// Long enough for a partition to get a new leader, short enough that callers hear of an outage.
pub const KAFKA_DELIVERY: Duration = Duration::from_secs(30);
/// How long a client still looks for a topic that the brokers no longer know.
pub const KAFKA_TOPIC_GONE: Duration = Duration::from_secs(10);
/// How long one question to the brokers may take: bounds, metadata, settings.
pub const KAFKA_QUERY: Duration = Duration::from_secs(10);
/// How long making a topic may take.
pub const KAFKA_CREATE: Duration = Duration::from_secs(60);

/// How long brokers may still serve an older topic of the same name when a new one was made.
pub const KAFKA_OUTLIVE: Duration = Duration::from_secs(3);
/// How long another process's identity record is waited for.
pub const KAFKA_IDENTITY_WAIT: Duration = Duration::from_secs(10);
/// How long a producer's thread waits for reports before it looks whether the producer is still wanted.
pub const KAFKA_REPORTS_WAIT: Duration = Duration::from_millis(400);
/// How long closing waits for appends in flight and for leaving the group.
pub const KAFKA_CLOSE: Duration = Duration::from_secs(35);
/// A producer from which every append came back unanswered for so long is replaced: a client can lose its
/// broker for good, and only says that time is over.
pub const KAFKA_DEAF: Duration = Duration::from_secs(60);
/// Records that one reader holds before its partition is put aside until they are taken.
pub const KAFKA_READER_RECORDS: usize = 16 * 1024;
/// Bytes that one reader holds before its partition is put aside until they are taken.
pub const KAFKA_READER_BYTES: usize = 4 * 1024 * 1024;
/// A partition that was put aside is fetched again once its reader holds this share of its bound.
pub const KAFKA_READER_RESUME_SHARE: usize = 4;
/// Records that a consumer's thread gathers before it hands them over.
pub const KAFKA_GATHER_RECORDS: usize = 4096;
/// Bytes that a consumer's thread gathers before it hands them over.
pub const KAFKA_GATHER_BYTES: usize = 4 * 1024 * 1024;
/// How long a consumer's thread waits for records before it looks after its readers.
pub const KAFKA_POLL: Duration = Duration::from_millis(20);
/// Consumers of one process that read partitions; as many readers of one partition are possible.
pub const KAFKA_CONSUMERS: usize = 16;
/// A consumer without readers is closed after this time.
pub const KAFKA_CONSUMER_IDLE: Duration = Duration::from_secs(30);
/// How often the end of a quiet partition is looked at for offsets that hold no record.
pub const KAFKA_GAP_CHECK: Duration = Duration::from_millis(500);
/// How long after a gap was seen it is looked at again, before it is believed. Longer than a new
/// leader usually needs to show what the old one had acknowledged.
pub const KAFKA_GAP_AGAIN: Duration = Duration::from_secs(2);
/// How long after the brokers said that a topic or an offset is gone they are asked again.
pub const KAFKA_SECOND_LOOK: Duration = Duration::from_secs(1);
/// Things to look into that may wait for a log's helper thread.
pub const KAFKA_TASKS: usize = 256;
/// How long a rebalance waits for owners to let their partitions go. Below `max.poll.interval.ms`.
pub const KAFKA_RELEASE: Duration = Duration::from_secs(15);
/// How long a member waits until its group has kept an offset.
pub const KAFKA_KEEP: Duration = Duration::from_secs(5);
/// How often a member commits what was noted.
pub const KAFKA_COMMIT_EVERY: Duration = Duration::from_secs(5);
/// How often the same trouble of a client is logged.
pub const KAFKA_LOG_EVERY: Duration = Duration::from_secs(5);

const _: () =
    assert!(2 * (BATCH_BYTES + BATCH_RECORDS * RECORD_OVERHEAD_BYTES) <= KAFKA_CREDIT_BYTES);
const _: () = assert!(RECORD_BYTES <= BATCH_BYTES, "one record must fit into a batch");
const _: () = assert!(BLOCK_BYTES < i32::MAX as usize, "other readers hold a block in 31 bits");
