//! The values that cross the log contract: topics, records, positions and bounds.

use bytes::Bytes;
use spine_schemas::time::Micros;
use std::{fmt, sync::Arc};

/// One partition of one topic, for example `spine.steps/0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's full name, prefix included.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Names a partition.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// A record to append. The log gives it its offset and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// Partitioning key; `None` for control events.
    pub key: Option<Bytes>,
    /// Header names and values, kept verbatim and in order.
    pub headers: Vec<(String, Bytes)>,
    /// The framed value (single-object encoding); `None` is a tombstone.
    pub value: Option<Bytes>,
}

/// A record that was read back: durable, with its place in the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Offset in the partition.
    pub offset: u64,
    /// When the log took it, by the log's clock. Never decreases inside an embedded partition.
    pub timestamp: Micros,
    /// Partitioning key.
    pub key: Option<Bytes>,
    /// Header names and values, as appended.
    pub headers: Vec<(String, Bytes)>,
    /// The framed value, byte for byte as appended.
    pub value: Option<Bytes>,
}

/// Where an acknowledged batch lies: contiguous offsets in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record of the batch.
    pub first_offset: u64,
    /// Offset of its last record.
    pub last_offset: u64,
    /// The time that the log gave to every record of the batch.
    pub timestamp: Micros,
}

/// The durable extent of a partition: offsets in `first..end` can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest offset that is still there.
    pub first: u64,
    /// One past the newest durable offset.
    pub end: u64,
}

/// How much one read may return. At least one record is returned however large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// Most records.
    pub records: usize,
    /// Most bytes of keys, headers and values together.
    pub bytes: usize,
}

/// Whether an append may use the head-room that is kept while the disk is nearly full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// New work: refused first when space runs out.
    Normal,
    /// Outcomes of attempts that already ran, and the owner's own records: may use the head-room.
    Outcome,
}
