//! The log contract. Every adapter passes the suite in `contract.rs`.

use crate::{Appended, Bounds, NewRecord, ReadLimit, Record, Result, TopicPartition, Urgency};
use spine_schemas::time::Micros;
use std::future::Future;
use tokio::sync::oneshot;

/// A partitioned, append-only, durable log.
///
/// After an append returns `Ok`, the whole batch survives the loss of the process and of power, and
/// every reader will see it in that order. After `Err`, see [`crate::Error::is_ambiguous`]: either
/// nothing was appended, or it is not known. Where several processes write a log, records of others
/// may lie between those of a batch, and a batch whose append failed may be there in part.
pub trait EventLog: Clone + Send + Sync + 'static {
    /// Reads one partition from a chosen offset.
    type Reader: PartitionReader;
    /// A member of a consumer group.
    type Member: GroupMember<Reader = Self::Reader>;

    /// The identity of this log, made once with it. A recreated log has another one.
    fn log_id(&self) -> &str;

    /// How many partitions the topic has.
    fn partitions(&self, topic: &str) -> impl Future<Output = Result<u32>> + Send;

    /// Appends a batch to one partition and returns its offsets once it is durable. Batches of
    /// concurrent callers may share one sync. Those of one process never interleave.
    ///
    /// Dropping the future does not undo the append: the outcome is then unknown to the caller.
    fn append(
        &self,
        to: &TopicPartition,
        batch: Vec<NewRecord>,
        urgency: Urgency,
    ) -> impl Future<Output = Result<Appended>> + Send;

    /// A reader that begins at `from` (which may be the end) and tails the partition.
    fn reader(
        &self,
        of: &TopicPartition,
        from: u64,
    ) -> impl Future<Output = Result<Self::Reader>> + Send;

    /// The durable extent of a partition.
    fn bounds(&self, of: &TopicPartition) -> impl Future<Output = Result<Bounds>> + Send;

    /// The earliest offset whose record time is at or after `time`; the end if there is none.
    fn offset_at(
        &self,
        of: &TopicPartition,
        time: Micros,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Joins the consumer group of a topic.
    fn join(&self, topic: &str, group: &str) -> impl Future<Output = Result<Self::Member>> + Send;
}

/// Reads one partition in order, every record once, never ahead of durability.
pub trait PartitionReader: Send + 'static {
    /// Waits until something is durable at the reader's position and returns what is there, within
    /// the limit. Nothing is returned where the position passed offsets that hold no record of
    /// anybody. Cancel safe: a dropped call loses nothing.
    fn next(&mut self, limit: ReadLimit) -> impl Future<Output = Result<Vec<Record>>> + Send;

    /// As `next`, but gives only the records without a key, and may pass over any number of others. For
    /// looking ahead: those others may not have been checked for damage.
    fn next_keyless(
        &mut self,
        limit: ReadLimit,
    ) -> impl Future<Output = Result<Vec<Record>>> + Send {
        async move {
            let mut records = self.next(limit).await?;
            records.retain(|record| record.key.is_none());
            Ok(records)
        }
    }

    /// The offset from which `next` goes on. Every record below it, from where the reader began, has
    /// been returned. Loops up to a known end watch this, since the last offset below the end may
    /// hold no record: Kafka keeps marks of its own at some.
    fn position(&self) -> u64;
}

/// A place in a consumer group: which partitions are ours now, and how far we are for lag tools.
pub trait GroupMember: Send + 'static {
    /// The reader type of the log.
    type Reader: PartitionReader;

    /// Waits for the next change of assignment. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Result<Change>> + Send;

    /// A reader of an assigned partition. The owner starts from the store's progress, so the
    /// committed offset is never used.
    fn reader(
        &self,
        partition: u32,
        from: u64,
    ) -> impl Future<Output = Result<Self::Reader>> + Send;

    /// Notes the next offset to be processed, for lag tools only.
    fn commit(&self, partition: u32, next: u64) -> impl Future<Output = Result<()>> + Send;

    /// Keeps the next offset to be processed, for members of the same group that go on from there. Once it
    /// returns, that outlives the process.
    fn keep(&self, partition: u32, next: u64) -> impl Future<Output = Result<()>> + Send;

    /// The offset that was kept last and outlived its process; `None` in a group that is new to the
    /// partition.
    fn kept(&self, partition: u32) -> impl Future<Output = Result<Option<u64>>> + Send;
}

/// A change of assignment.
#[derive(Debug)]
pub enum Change {
    /// The partition is ours from now on.
    Gained(u32),
    /// The partition is being taken away; the group waits until `release` is dropped or its own
    /// deadline passes.
    Lost {
        /// The partition.
        partition: u32,
        /// Dropped by the owner when it has stopped.
        release: Release,
    },
}

/// Held by an owner while it winds down; the group goes on when it is dropped.
#[derive(Debug)]
pub struct Release {
    _released: Option<oneshot::Sender<()>>,
}

impl Release {
    /// A release and the signal that it has been dropped.
    pub fn new() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self { _released: Some(sender) }, receiver)
    }
}
