//! What a consumer's thread has for one reader: records in order, bounded, handed over in batches.

use super::{gap::Gap, lock};
use crate::{Error, ReadLimit, Record, limits};
use std::{collections::VecDeque, sync::Mutex};
use tokio::{sync::Notify, time::Instant};

/// Between a consumer's thread and one reader.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// Rung when there is something to take.
    pub(crate) bell: Notify,
}

#[derive(Debug)]
struct State {
    records: VecDeque<Record>,
    bytes: usize,
    /// The offset behind the last record that was put in, or from which the reader began.
    next: u64,
    /// How far it is proven that nothing more comes: offsets that hold no record.
    passed: u64,
    ended: Option<Error>,
    /// Whether the partition was put aside until records are taken.
    is_aside: bool,
    /// Whether the end of the partition was reached since the last record.
    is_at_end: bool,
    /// Offsets that may hold no record, and when that was seen first.
    gap: Option<(Gap, Instant)>,
}

/// What a consumer's thread should do about a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing.
    Stay,
    /// Stop fetching.
    PutAside,
    /// Fetch again, from an offset.
    FetchFrom(u64),
}

impl Inbox {
    pub(crate) fn new(from: u64) -> Self {
        let state = State {
            records: VecDeque::new(),
            bytes: 0,
            next: from,
            passed: from,
            ended: None,
            is_aside: false,
            is_at_end: false,
            gap: None,
        };
        Self { state: Mutex::new(state), bell: Notify::new() }
    }

    /// Puts records in. Those that are there already come again after a partition was put aside;
    /// they are dropped. Offsets may leap forwards, where others hold no record.
    pub(crate) fn put(&self, records: Vec<Record>) {
        let mut state = lock(&self.state);
        for record in records {
            if record.offset < state.next {
                continue;
            }
            state.next = record.offset + 1;
            state.bytes += weight(&record);
            state.records.push_back(record);
        }
        state.is_at_end = false;
        drop(state);
        self.bell.notify_one();
    }

    /// The client has fetched up to the partition's end.
    pub(crate) fn reached_end(&self) {
        lock(&self.state).is_at_end = true;
    }

    /// Where the next record is expected, if the end was reached and nothing lies here to be taken.
    /// Asking takes the mark away. A gap that was seen there is let rest for a while.
    pub(crate) fn quiet_from(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        if let Some((gap, seen)) = state.gap
            && gap.from == state.next
            && seen.elapsed() < limits::KAFKA_GAP_AGAIN
        {
            return None;
        }
        let is_quiet = state.records.is_empty() && state.ended.is_none() && !state.is_aside;
        (is_quiet && std::mem::take(&mut state.is_at_end)).then_some(state.next)
    }

    /// The gap that was seen at an offset before.
    pub(crate) fn gap(&self, from: u64) -> Option<Gap> {
        lock(&self.state).gap.map(|(gap, _)| gap).filter(|gap| gap.from == from)
    }

    /// Notes a gap, to be looked at again.
    pub(crate) fn note_gap(&self, gap: Gap) {
        lock(&self.state).gap = Some((gap, Instant::now()));
    }

    /// Nothing is known of a gap any more.
    pub(crate) fn forget_gap(&self) {
        lock(&self.state).gap = None;
    }

    /// Offsets in `from..to` hold no record.
    pub(crate) fn pass(&self, from: u64, to: u64) {
        let mut state = lock(&self.state);
        // A record that came in the meantime says more.
        if state.next == from && to > from {
            state.next = to;
            state.passed = to;
            drop(state);
            self.bell.notify_one();
        }
    }

    /// Nothing more comes. The reader gets the error once it has taken what is here.
    pub(crate) fn end(&self, error: Error) {
        lock(&self.state).ended.get_or_insert(error);
        self.bell.notify_one();
    }

    /// The offset from which the partition is to be fetched.
    pub(crate) fn next_offset(&self) -> u64 {
        lock(&self.state).next
    }

    /// Compares what is here with the bounds, with some distance between stopping and going on.
    pub(crate) fn wish(&self) -> Wish {
        let mut state = lock(&self.state);
        let is_over = |share: usize| {
            state.records.len() > limits::KAFKA_READER_RECORDS / share
                || state.bytes > limits::KAFKA_READER_BYTES / share
        };
        if !state.is_aside && is_over(1) {
            state.is_aside = true;
            return Wish::PutAside;
        }
        if state.is_aside && !is_over(limits::KAFKA_READER_RESUME_SHARE) {
            state.is_aside = false;
            return Wish::FetchFrom(state.next);
        }
        Wish::Stay
    }

    /// Takes records within a limit, and the offset behind them. `None` if there is nothing.
    pub(crate) fn take(
        &self,
        limit: ReadLimit,
        position: u64,
    ) -> Option<crate::Result<(Vec<Record>, u64)>> {
        let mut state = lock(&self.state);
        let count = count_within(&state.records, limit);
        if count == 0 {
            if state.passed > position {
                return Some(Ok((Vec::new(), state.passed)));
            }
            return state.ended.clone().map(Err);
        }
        let records: Vec<_> = state.records.drain(..count).collect();
        state.bytes -= records.iter().map(weight).sum::<usize>();
        let behind = records.last().map_or(position, |last| last.offset + 1);
        Some(Ok((records, behind)))
    }
}

/// How many records a read returns: at least one, however large, and no more than the limit.
fn count_within(records: &VecDeque<Record>, limit: ReadLimit) -> usize {
    let mut bytes = 0_usize;
    let within = |(at, record): &(usize, &Record)| {
        bytes = bytes.saturating_add(content_bytes(record));
        *at == 0 || (*at < limit.records && bytes <= limit.bytes)
    };
    records.iter().enumerate().take_while(within).count()
}

fn content_bytes(record: &Record) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.len());
    length(&record.key) + length(&record.value) + headers.sum::<usize>()
}

/// What a record costs here.
pub(crate) fn weight(record: &Record) -> usize {
    content_bytes(record)
        + record.headers.len() * limits::HEADER_OVERHEAD_BYTES
        + limits::RECORD_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use spine_schemas::time::Micros;

    const ALL: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

    fn record(offset: u64, bytes: usize) -> Record {
        let value = Some(Bytes::from(vec![0; bytes]));
        Record { offset, timestamp: Micros(0), key: None, headers: Vec::new(), value }
    }

    fn offsets(inbox: &Inbox, limit: ReadLimit) -> Vec<u64> {
        let (records, _) = inbox.take(limit, 0).unwrap().unwrap();
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn records_that_come_again_are_dropped_and_leaps_are_kept() {
        let inbox = Inbox::new(3);
        inbox.put([2, 3, 4].map(|offset| record(offset, 1)).into());
        inbox.put([3, 4, 7].map(|offset| record(offset, 1)).into());
        assert_eq!(offsets(&inbox, ALL), [3, 4, 7]);
        assert!(inbox.take(ALL, 8).is_none());
    }

    #[test]
    fn a_full_inbox_puts_its_partition_aside_until_most_of_it_is_taken() {
        let inbox = Inbox::new(0);
        inbox.put((0..3).map(|offset| record(offset, limits::KAFKA_READER_BYTES / 2)).collect());
        assert_eq!(inbox.wish(), Wish::PutAside);
        assert_eq!(inbox.wish(), Wish::Stay);
        assert_eq!(offsets(&inbox, ReadLimit { records: 2, bytes: usize::MAX }), [0, 1]);
        assert_eq!(inbox.wish(), Wish::Stay, "not before a quarter is left");
        assert_eq!(offsets(&inbox, ALL), [2]);
        assert_eq!(inbox.wish(), Wish::FetchFrom(3));
    }

    #[test]
    fn offsets_without_records_move_the_reader_only_while_nothing_came() {
        let inbox = Inbox::new(5);
        inbox.reached_end();
        assert_eq!(inbox.quiet_from(), Some(5));
        assert_eq!(inbox.quiet_from(), None, "asked once per end");
        inbox.put(vec![record(5, 1)]);
        inbox.pass(5, 9);
        assert_eq!(inbox.next_offset(), 6, "the record says more");
        assert_eq!(offsets(&inbox, ALL), [5]);
        inbox.pass(6, 9);
        assert_eq!(inbox.take(ALL, 6), Some(Ok((Vec::new(), 9))));
        assert_eq!(inbox.take(ALL, 9), None);
    }

    #[test]
    fn an_end_shows_behind_the_last_record() {
        let inbox = Inbox::new(0);
        inbox.put(vec![record(0, 1)]);
        inbox.end(Error::Missing("topic t".into()));
        assert_eq!(offsets(&inbox, ALL), [0]);
        assert_eq!(inbox.take(ALL, 1), Some(Err(Error::Missing("topic t".into()))));
    }
}
