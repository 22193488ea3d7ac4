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

impl NewRecord {
    /// A record without headers.
    pub fn plain(key: Option<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key, headers: Vec::new(), value: Some(value.into()) }
    }
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

/// Where an acknowledged batch lies: ascending offsets in one partition.
///
/// A log of one writer puts them side by side. On a log that several processes write, records of
/// others may lie between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record of the batch.
    pub first_offset: u64,
    /// Offset of its last record.
    pub last_offset: u64,
    /// The time that the log gave to the last record of the batch.
    pub timestamp: Micros,
    /// The offset of each record, where they do not lie side by side.
    scattered: Option<Arc<[u64]>>,
}

impl Appended {
    /// Records that lie side by side.
    pub fn contiguous(first_offset: u64, last_offset: u64, timestamp: Micros) -> Self {
        assert!(first_offset <= last_offset, "a batch has records");
        Self { first_offset, last_offset, timestamp, scattered: None }
    }

    /// Records at the given offsets, in the order of the batch.
    pub fn at(offsets: &[u64], timestamp: Micros) -> Self {
        assert!(offsets.is_sorted_by(|a, b| a < b), "a log keeps the order of a batch");
        let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
            unreachable!("a batch has records")
        };
        let is_contiguous = last - first + 1 == offsets.len() as u64;
        let scattered = (!is_contiguous).then(|| offsets.into());
        Self { first_offset: *first, last_offset: *last, timestamp, scattered }
    }

    /// The offset of each record, in the order of the batch.
    pub fn offsets(&self) -> impl Iterator<Item = u64> + '_ {
        let (range, each) = match &self.scattered {
            None => (self.first_offset..=self.last_offset, &[][..]),
            #[expect(
                clippy::reversed_empty_ranges,
                reason = "an empty range, chained to the offsets"
            )]
            Some(each) => (1..=0, &each[..]),
        };
        range.chain(each.iter().copied())
    }

    /// The same offsets as ranges, both ends included.
    pub fn spans(&self) -> Vec<(u64, u64)> {
        let mut spans: Vec<(u64, u64)> = Vec::new();
        match &self.scattered {
            None => spans.push((self.first_offset, self.last_offset)),
            Some(each) => {
                for offset in each.iter().copied() {
                    match spans.last_mut() {
                        Some((_, last)) if *last + 1 == offset => *last = offset,
                        Some(_) | None => spans.push((offset, offset)),
                    }
                }
            }
        }
        spans
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_spans_say_the_same() {
        for (offsets, spans) in [
            (vec![7], vec![(7, 7)]),
            (vec![3, 4, 5], vec![(3, 5)]),
            (vec![3, 5, 6, 9], vec![(3, 3), (5, 6), (9, 9)]),
        ] {
            let appended = Appended::at(&offsets, Micros(1));
            assert_eq!(appended.offsets().collect::<Vec<_>>(), offsets);
            assert_eq!(appended.spans(), spans);
        }
        assert_eq!(Appended::at(&[3, 4], Micros(1)), Appended::contiguous(3, 4, Micros(1)));
    }
}
