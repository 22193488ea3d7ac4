//! The newest records of a partition in memory, so that a reader at the tail never waits for the
//! disk. Only durable records are put here.

use crate::{ReadLimit, Record, limits::RECORD_OVERHEAD_BYTES};
use bytes::Bytes;
use std::collections::VecDeque;

/// A bounded run of the newest records, without gaps.
#[derive(Debug)]
pub(crate) struct Tail {
    records: VecDeque<Record>,
    cost_bytes: usize,
    limit_bytes: usize,
}

impl Tail {
    /// An empty tail that holds up to `limit_bytes`. The buffers that callers gave are shared.
    pub(crate) fn new(limit_bytes: usize) -> Self {
        Self { records: VecDeque::new(), cost_bytes: 0, limit_bytes }
    }

    /// Adds the next durable record and lets go of the oldest ones over the limit.
    pub(crate) fn push(&mut self, record: Record) {
        debug_assert!(self.records.back().is_none_or(|last| last.offset + 1 == record.offset));
        self.cost_bytes += cost_bytes(&record);
        self.records.push_back(record);
        while self.cost_bytes > self.limit_bytes
            && let Some(oldest) = self.records.pop_front()
        {
            self.cost_bytes -= cost_bytes(&oldest);
        }
    }

    /// Whether the record at an offset is here.
    pub(crate) fn holds(&self, offset: u64) -> bool {
        self.records.front().is_some_and(|first| first.offset <= offset)
            && self.records.back().is_some_and(|last| offset <= last.offset)
    }

    /// Records from an offset on, within the limit; empty if the tail does not reach that far back.
    pub(crate) fn read(&self, from: u64, limit: ReadLimit) -> Vec<Record> {
        let Some(first) = self.records.front().map(|record| record.offset) else {
            return Vec::new();
        };
        let Some(skip) = from.checked_sub(first).and_then(|skip| usize::try_from(skip).ok()) else {
            return Vec::new();
        };
        let fitting = self.records.iter().skip(skip);
        let count = count_within(fitting.clone(), limit);
        fitting.take(count).cloned().collect()
    }
}

/// How many of these records one read may return: at least one if there is one.
pub(crate) fn count_within<'a>(
    records: impl Iterator<Item = &'a Record>,
    limit: ReadLimit,
) -> usize {
    let mut bytes = 0_usize;
    records
        .take(limit.records.max(1))
        .enumerate()
        .take_while(|(place, record)| {
            bytes = bytes.saturating_add(content_bytes(record));
            *place == 0 || bytes <= limit.bytes
        })
        .count()
}

fn content_bytes(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    headers
        + record.key.as_ref().map_or(0, Bytes::len)
        + record.value.as_ref().map_or(0, Bytes::len)
}

fn cost_bytes(record: &Record) -> usize {
    content_bytes(record) + RECORD_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_schemas::time::Micros;

    const ALL: ReadLimit = ReadLimit { records: 100, bytes: usize::MAX };

    fn record(offset: u64) -> Record {
        let value = Some(Bytes::from(vec![0; 100]));
        Record { offset, timestamp: Micros(0), key: None, headers: Vec::new(), value }
    }

    fn offsets(records: &[Record]) -> Vec<u64> {
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn the_oldest_records_leave_when_the_limit_is_reached() {
        let mut tail = Tail::new(3 * (100 + RECORD_OVERHEAD_BYTES));
        (5..10).for_each(|offset| tail.push(record(offset)));
        assert_eq!(offsets(&tail.read(7, ALL)), [7, 8, 9]);
        assert_eq!(offsets(&tail.read(6, ALL)), [] as [u64; 0]);
        assert_eq!(offsets(&tail.read(10, ALL)), [] as [u64; 0]);
    }

    #[test]
    fn a_read_returns_one_record_however_large_and_then_keeps_its_limits() {
        let records: Vec<_> = (0..5).map(record).collect();
        assert_eq!(count_within(records.iter(), ReadLimit { records: 9, bytes: 1 }), 1);
        assert_eq!(count_within(records.iter(), ReadLimit { records: 9, bytes: 250 }), 2);
        assert_eq!(count_within(records.iter(), ReadLimit { records: 3, bytes: 9999 }), 3);
        assert_eq!(count_within([].iter(), ALL), 0);
    }
}
