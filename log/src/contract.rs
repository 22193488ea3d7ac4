//! The contract suite: what every log promises, run on each adapter.
//!
//! An adapter's tests call [`all`] with a factory of fresh topics. A broken promise panics with its
//! name; an error of the log itself is returned.

mod appending;
mod groups;
mod reading;

use crate::{
    Appended, Bounds, EventLog, NewRecord, PartitionReader, ReadLimit, Record, Result,
    TopicPartition, Urgency,
};
use bytes::Bytes;
use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// A log with an empty topic.
#[derive(Clone, Debug)]
pub struct Fresh<L> {
    /// The log.
    pub log: L,
    /// The topic, which nobody else uses.
    pub topic: Arc<str>,
}

/// A read without bounds.
const EVERYTHING: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };

/// Runs the whole suite. `fresh` makes an empty topic with the given number of partitions.
pub async fn all<L: EventLog>(fresh: impl AsyncFn(u32) -> Result<Fresh<L>>) -> Result<()> {
    appending::offsets_are_contiguous_from_zero(fresh(1).await?).await?;
    appending::every_byte_comes_back(fresh(1).await?).await?;
    appending::concurrent_batches_never_interleave(fresh(1).await?).await?;
    appending::a_caller_reads_its_own_acknowledged_append(fresh(1).await?).await?;
    appending::partitions_are_apart(fresh(3).await?).await?;
    appending::missing_places_are_refused_by_name(fresh(2).await?).await?;
    appending::too_large_and_empty_batches_are_refused_whole(fresh(1).await?).await?;
    appending::a_dropped_append_is_whole_or_absent(fresh(1).await?).await?;
    reading::any_offset_can_be_read_from(fresh(1).await?).await?;
    reading::reads_keep_their_limits(fresh(1).await?).await?;
    reading::a_reader_at_the_end_waits_and_then_sees(fresh(1).await?).await?;
    reading::a_dropped_read_loses_nothing(fresh(1).await?).await?;
    reading::records_without_a_key_are_found_and_no_others(fresh(1).await?).await?;
    reading::offset_at_finds_the_first_record_not_older(fresh(1).await?).await?;
    groups::a_lone_member_gains_every_partition(fresh(3).await?).await?;
    groups::a_member_reads_what_it_was_assigned(fresh(2).await?).await?;
    groups::a_group_goes_on_from_what_it_kept(fresh(2).await?).await?;
    Ok(())
}

impl<L: EventLog> Fresh<L> {
    fn partition(&self, number: u32) -> TopicPartition {
        TopicPartition::new(Arc::clone(&self.topic), number)
    }

    async fn append(&self, partition: u32, batch: Vec<NewRecord>) -> Result<Appended> {
        self.log.append(&self.partition(partition), batch, Urgency::Normal).await
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds> {
        self.log.bounds(&self.partition(partition)).await
    }

    /// Appends batches of one record with the values `0..count`.
    async fn fill(&self, partition: u32, count: u64) -> Result<()> {
        for number in 0..count {
            self.append(partition, vec![numbered(number)]).await?;
        }
        Ok(())
    }

    /// Every record from an offset to the present end.
    async fn read_from(&self, partition: u32, from: u64) -> Result<Vec<Record>> {
        let end = self.bounds(partition).await?.end;
        let mut reader = self.log.reader(&self.partition(partition), from).await?;
        read_until(&mut reader, from, end).await
    }
}

/// Reads the records in `from..end`.
async fn read_until(reader: &mut impl PartitionReader, from: u64, end: u64) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    while from + (records.len() as u64) < end {
        records.extend(reader.next(EVERYTHING).await?);
    }
    assert_eq!(records.len() as u64, end - from, "more records than the bounds say");
    Ok(records)
}

/// A record whose value is a number.
fn numbered(number: u64) -> NewRecord {
    let value = Some(Bytes::copy_from_slice(&number.to_be_bytes()));
    NewRecord { key: Some(Bytes::from_static(b"key")), headers: Vec::new(), value }
}

/// The number in a record's value.
fn number(record: &Record) -> Option<u64> {
    record.value.as_deref().and_then(|value| value.try_into().ok()).map(u64::from_be_bytes)
}

/// Whether a call has nothing to return yet. The call is dropped.
fn is_waiting<T>(call: impl Future<Output = T>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(pin!(call).poll(&mut context), Poll::Pending)
}
