//! The embedded log: a directory of Avro object container files that one process owns.
//!
//! `DIR/<topic>/<partition>/<base offset, 20 digits>.avro` holds the records; `.durable` notes how
//! much of the active segment is durable, `.index` makes seeking in a sealed one fast. One commit
//! group is one block is one fdatasync. See `recover.rs` for what a crash may leave.

mod active;
mod block;
mod committer;
mod disk;
mod driver;
mod entry;
mod files;
mod header;
mod index;
mod kept;
mod member;
mod meta;
mod metrics;
mod note;
mod open;
mod os_disk;
mod partition;
mod queue;
mod random;
mod read_only;
mod read_only_disk;
mod reader;
mod recover;
mod reserve;
mod schema;
mod segment;
mod shape;
mod sim_disk;
mod tail;
mod varint;

pub use disk::{Access, Disk, DiskFile, Lock};
pub use driver::{CommitStage, Driver, Latency};
pub use member::EmbeddedMember;
pub use os_disk::OsDisk;
pub use random::{Random, seeded_random, system_random};
pub use reader::EmbeddedReader;
pub use sim_disk::SimDisk;

use crate::{
    Appended, Bounds, Error, EventLog, NewRecord, PartitionReader, ReadLimit, Result,
    TopicPartition, Urgency,
    limits::{BATCH_BYTES, BATCH_RECORDS, GROUP_BYTES, RECORD_BYTES, RESERVE_FROM_BYTES},
};
use driver::Seat;
use entry::Prepared;
use queue::Pending;
use spine_schemas::time::Micros;
use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Gives the time of records. Where it goes back, the log repeats the last time.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// What a log is opened with.
#[derive(Clone)]
pub struct Options {
    /// Its directory; made if it is not there.
    pub dir: PathBuf,
    /// The topics that are used. Ones that the directory does not have are added.
    pub topics: Vec<TopicOptions>,
    /// A segment is sealed before it grows past this many bytes.
    pub segment_bytes: u64,
    /// A segment of at least so many bytes has reserved space behind it.
    pub reserve_from_bytes: u64,
    /// While less space is free, new work is refused and outcomes are taken; 0 turns this off.
    pub headroom_bytes: u64,
    /// Records that may wait per partition before appends are refused as busy.
    pub queue_records: usize,
    /// Bytes that may wait per partition before appends are refused as busy.
    pub queue_bytes: usize,
    /// Bytes of the newest records that are kept in memory per partition.
    pub tail_bytes: usize,
    /// Written into the lock file, for whoever finds the log in use: process and address.
    pub owner: String,
    /// Gives the log's identity and the sync markers of its segments.
    pub random: Random,
}

/// A topic and how it is written.
#[derive(Clone, Debug)]
pub struct TopicOptions {
    /// Its name.
    pub name: String,
    /// Its number of partitions, fixed for its life.
    pub partitions: u32,
    /// The type of its values, which stand readable in the files; others stand as bytes.
    pub datum: Option<DatumSchema>,
}

/// An Avro record schema and the fingerprint that frames its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatumSchema {
    /// The schema as JSON text.
    pub json: String,
    /// Its CRC-64-AVRO fingerprint as it stands in the frame, little-endian.
    pub fingerprint: [u8; 8],
}

impl Options {
    /// The default settings for a directory and topics.
    pub fn new(dir: impl Into<PathBuf>, topics: Vec<TopicOptions>) -> Self {
        Self {
            dir: dir.into(),
            topics,
            segment_bytes: 64 * 1024 * 1024,
            reserve_from_bytes: RESERVE_FROM_BYTES,
            headroom_bytes: 64 * 1024 * 1024,
            queue_records: BATCH_RECORDS,
            queue_bytes: BATCH_BYTES,
            tail_bytes: 2 * GROUP_BYTES,
            owner: format!("process {}", std::process::id()),
            random: system_random(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("topics", &self.topics)
            .field("segment_bytes", &self.segment_bytes)
            .field("headroom_bytes", &self.headroom_bytes)
            .finish_non_exhaustive()
    }
}

/// The embedded log. Clones share it; the last one to go waits for its threads and frees the lock.
#[derive(Clone)]
pub struct EmbeddedLog {
    inner: Arc<Inner>,
}

struct Inner {
    log_id: String,
    topics: BTreeMap<Arc<str>, Vec<Seat>>,
    driver: Driver,
    /// Declared last, so that a dropped log has stopped writing when it frees the lock.
    lock: Mutex<Option<Box<dyn Any + Send + Sync>>>,
}

impl fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedLog").field("log_id", &self.inner.log_id).finish_non_exhaustive()
    }
}

impl EmbeddedLog {
    /// Opens the log in a directory, or makes it. Blocks on the disk until every partition is
    /// recovered: all that is then readable is durable.
    pub fn open(
        options: &Options,
        disk: Arc<dyn Disk>,
        clock: Clock,
        driver: Driver,
    ) -> Result<Self> {
        open::open(options, disk, clock, driver)
    }

    /// Opens the log in a directory for reading what is durable now, also while another process
    /// writes it. Appends are refused, and a reader that reaches the end gets an error.
    pub fn open_read_only(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self> {
        read_only::open(dir, disk)
    }

    /// Takes no more appends, finishes those that wait, ends waiting readers, and frees the lock.
    pub async fn close(&self) {
        for seat in self.inner.topics.values().flatten() {
            seat.close().await;
        }
        lock(&self.inner.lock).take();
    }

    fn topic(&self, topic: &str) -> Result<&[Seat]> {
        let seats = self.inner.topics.get(topic);
        seats.map(Vec::as_slice).ok_or_else(|| Error::Missing(format!("topic {topic}")))
    }

    /// The offset that a group keeps of a partition.
    pub(crate) async fn kept(&self, of: &TopicPartition, group: &str) -> Result<Option<u64>> {
        let (partition, group) = (Arc::clone(&self.seat(of)?.partition), group.to_owned());
        let shared = Arc::clone(&partition.shared);
        shared.runs.run(move || kept::get(&*partition.shared.disk, &partition.dir, &group)).await
    }

    /// Keeps an offset of a partition for a group.
    pub(crate) async fn keep(&self, of: &TopicPartition, group: &str, next: u64) -> Result<()> {
        let (partition, group) = (Arc::clone(&self.seat(of)?.partition), group.to_owned());
        let shared = Arc::clone(&partition.shared);
        let job = move || kept::put(&*partition.shared.disk, &partition.dir, &group, next);
        shared.runs.run(job).await
    }

    fn seat(&self, of: &TopicPartition) -> Result<&Seat> {
        let seat = self.topic(&of.topic)?.get(of.partition as usize);
        seat.ok_or_else(|| Error::Missing(format!("partition {of}")))
    }
}

impl EventLog for EmbeddedLog {
    type Reader = EmbeddedReader;
    type Member = EmbeddedMember;

    fn log_id(&self) -> &str {
        &self.inner.log_id
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        Ok(self.topic(topic)?.len() as u32)
    }

    async fn append(
        &self,
        to: &TopicPartition,
        batch: Vec<NewRecord>,
        urgency: Urgency,
    ) -> Result<Appended> {
        let seat = self.seat(to)?;
        let content = check_batch(&batch)?;
        let batch = Prepared::new(batch, content, seat.partition.schema.splice.as_ref());
        let (reply, outcome) = oneshot::channel();
        let pushed = seat.partition.queue.push(Pending { batch, urgency, reply });
        if let Err(error) = pushed {
            metrics::observe_refused_total(to, &error, 1);
            return Err(error);
        }
        seat.start(&self.inner.driver)?;
        outcome.await.unwrap_or_else(|_| {
            Err(Error::Unavailable("the log was closed before the append was answered".into()))
        })
    }

    async fn reader(&self, of: &TopicPartition, from: u64) -> Result<EmbeddedReader> {
        EmbeddedReader::new(Arc::clone(&self.seat(of)?.partition), from)
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        Ok(self.seat(of)?.partition.bounds())
    }

    async fn offset_at(&self, of: &TopicPartition, time: Micros) -> Result<u64> {
        let partition = Arc::clone(&self.seat(of)?.partition);
        let end = partition.bounds().end;
        let job = {
            let partition = Arc::clone(&partition);
            move || reader::seek_time(&partition, time)
        };
        let mut offset = partition.shared.runs.run(job).await?;
        let mut reader = EmbeddedReader::new(partition, offset)?;
        while offset < end {
            let records = reader.next(ReadLimit { records: 1024, bytes: usize::MAX }).await?;
            if let Some(found) = records.iter().find(|record| record.timestamp >= time) {
                return Ok(found.offset);
            }
            offset += records.len() as u64;
        }
        Ok(end)
    }

    async fn join(&self, topic: &str, group: &str) -> Result<EmbeddedMember> {
        let partitions = self.partitions(topic).await?;
        Ok(EmbeddedMember::new(self.clone(), topic.into(), group, partitions))
    }
}

/// Checks a batch against the limits and returns its bytes of keys, headers and values.
fn check_batch(batch: &[NewRecord]) -> Result<usize> {
    let over =
        |what, actual_bytes, limit_bytes| Err(Error::TooLarge { what, actual_bytes, limit_bytes });
    if batch.is_empty() {
        return Err(Error::Refused("a batch without records".into()));
    }
    if batch.len() > BATCH_RECORDS {
        return over("the number of records", batch.len(), BATCH_RECORDS);
    }
    let mut total = 0;
    for record in batch {
        let bytes = entry::content_bytes(record);
        if bytes > RECORD_BYTES {
            return over("a record", bytes, RECORD_BYTES);
        }
        total += bytes;
    }
    if total > BATCH_BYTES {
        return over("a batch", total, BATCH_BYTES);
    }
    Ok(total)
}

/// Locks a mutex. Nothing here leaves shared state half changed, so a panic elsewhere is no reason
/// to spread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
