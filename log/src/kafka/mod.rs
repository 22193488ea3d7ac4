//! The log on Apache Kafka: five topics, one idempotent producer, shared consumers, groups.
//!
//! Records of several processes lie in one partition, so those of a batch may have others between
//! them; the batches of one process never interleave. An append whose outcome is not known may be
//! there in part. Offsets may be missing where foreign transactions left their marks: readers pass
//! them, and a reader can always reach the end that [`KafkaLog::bounds`](crate::EventLog::bounds)
//! names, which is the last stable offset. Kafka's transactions are not used by this log.
//!
//! Every call is async; what blocks in the client runs on threads made for blocking, so a Tokio
//! runtime is needed.

mod batch;
mod book;
mod checks;
mod client;
mod consumer;
mod create;
mod fault;
mod gap;
mod identity;
mod inbox;
mod keeping;
mod kept;
mod member;
mod metrics;
mod off_thread;
mod options;
mod polled;
mod pool;
mod query;
mod reader;
mod record;
mod scan;
mod suspect;
mod writer;

pub use book::BookEntry;
pub use create::{CreateTopics, Creation, create};
pub use identity::Identity;
pub use member::KafkaMember;
pub use options::{Access, Membership, Options, Topics};
pub use reader::KafkaReader;

use crate::{
    Appended, Bounds, Error, EventLog, NewRecord, Result, TopicPartition, Urgency,
    limits::{self, BATCH_BYTES, BATCH_RECORDS, RECORD_BYTES},
};
use client::blocking;
use member::Stop;
use pool::Pool;
use query::Queries;
use spine_schemas::time::Micros;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread::JoinHandle,
    time::Duration,
};
use writer::{Writer, content_bytes};

/// A log on Kafka. Clones share it.
#[derive(Clone)]
pub struct KafkaLog {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    topics: Topics,
    identity: Identity,
    warnings: Vec<String>,
    queries: Arc<Queries>,
    pool: Arc<Pool>,
    writer: Option<Arc<Writer>>,
    members: Mutex<Vec<MemberThread>>,
    /// The ends that were seen last, for the lag of groups.
    ends: Mutex<BTreeMap<TopicPartition, u64>>,
}

/// A member's thread, and what stops it.
type MemberThread = (JoinHandle<()>, Weak<dyn Stop>);

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog")
            .field("brokers", &self.inner.options.brokers)
            .field("prefix", &self.inner.options.prefix)
            .field("identity", &self.inner.identity)
            .finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Opens a log that was created with [`create`].
    ///
    /// # Errors
    /// [`Error::Refused`] naming a topic or a setting that would break a promise, with its remedy.
    pub async fn open(options: &Options) -> Result<Self> {
        options.check()?;
        let topics = options.topics();
        let (asked, named) = (options.clone(), topics.clone());
        let (queries, identity) = blocking(move || {
            let queries = Queries::new(&asked)?;
            checks::check_existence(&queries, &named)?;
            let identity = identity::read(&asked)?.ok_or_else(|| not_complete(&named))?;
            Ok((Arc::new(queries), identity))
        })
        .await?;
        let warnings = checks::check(options, &topics, &identity, &queries).await?;
        let pool = Pool::new(options, &queries)?;
        let writer = match options.access {
            Access::ReadWrite => Some(Arc::new(Writer::new(options)?)),
            Access::ReadOnly => None,
        };
        let inner = Inner {
            options: options.clone(),
            topics,
            identity,
            warnings,
            queries,
            pool,
            writer,
            members: Mutex::default(),
            ends: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Who the log is.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// The names of its topics.
    pub fn topics(&self) -> &Topics {
        &self.inner.topics
    }

    /// Where this set-up promises less than a log should, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.inner.warnings
    }

    /// Refuses a log from which a store cannot be rebuilt, since events at its beginning are gone.
    pub async fn check_beginnings(&self) -> Result<()> {
        let (queries, topic) =
            (Arc::clone(&self.inner.queries), Arc::clone(&self.inner.topics.steps));
        blocking(move || {
            for partition in 0..queries.partitions(&topic)? {
                let of = TopicPartition::new(Arc::clone(&topic), partition);
                let first = queries.bounds(&of)?.first;
                if first > 0 {
                    return Err(Error::Refused(format!(
                        "partition {of} begins at offset {first}: events before it were deleted, \
                         so no store can be rebuilt from it"
                    )));
                }
            }
            Ok(())
        })
        .await
    }

    /// The schemas in the schema book.
    pub async fn schemas(&self) -> Result<Vec<BookEntry>> {
        let options = self.inner.options.clone();
        blocking(move || book::read(&options)).await
    }

    /// Publishes a schema, unless the book has it.
    ///
    /// # Errors
    /// [`Error::Refused`] if another schema has its fingerprint.
    pub async fn publish_schema(&self, entry: &BookEntry) -> Result<()> {
        let new = std::slice::from_ref(entry);
        book::publish(&self.inner.options, self.inner.writer()?, new).await
    }

    /// Takes no more appends, waits for those in flight, ends readers, and leaves groups, within
    /// [`limits::KAFKA_CLOSE`].
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        let closing = tokio::task::spawn_blocking(move || inner.close());
        if tokio::time::timeout(2 * limits::KAFKA_CLOSE, closing).await.is_err() {
            tracing::warn!("the log on Kafka did not close in time");
        }
    }
}

impl Inner {
    fn writer(&self) -> Result<&Writer> {
        let refused = || Error::Refused("the log was opened for reading only".into());
        self.writer.as_deref().ok_or_else(refused)
    }

    /// Remembers a member's thread, so that closing waits until it has left its group.
    fn keep_thread(&self, thread: JoinHandle<()>, stop: &Arc<impl Stop + 'static>) {
        let stop: Arc<dyn Stop> = Arc::clone(stop) as Arc<dyn Stop>;
        let mut members = lock(&self.members);
        members.retain(|(thread, _)| !thread.is_finished());
        members.push((thread, Arc::downgrade(&stop)));
    }

    /// The end of a partition when it was last asked for or appended to.
    fn last_end(&self, of: &TopicPartition) -> Option<u64> {
        lock(&self.ends).get(of).copied()
    }

    fn note_end(&self, of: &TopicPartition, end: u64) {
        let mut ends = lock(&self.ends);
        match ends.get_mut(of) {
            Some(known) => *known = end.max(*known),
            None => drop(ends.insert(of.clone(), end)),
        }
    }

    fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close();
        }
        let members = std::mem::take(&mut *lock(&self.members));
        for (_, stop) in &members {
            if let Some(stop) = stop.upgrade() {
                stop.stop();
            }
        }
        leave(members.into_iter().map(|(thread, _)| thread));
        self.pool.close();
    }
}

/// Waits until members have left their groups, within a bound: brokers that are away cannot be told.
fn leave(threads: impl Iterator<Item = JoinHandle<()>>) {
    let begun = tokio::time::Instant::now();
    for thread in threads {
        while !thread.is_finished() {
            if begun.elapsed() >= limits::KAFKA_CLOSE {
                tracing::warn!("a group could not be left in time; it finds out by itself");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        if thread.join().is_err() {
            tracing::error!("a Kafka group thread panicked");
        }
    }
}

fn not_complete(topics: &Topics) -> Error {
    let control = &topics.control;
    Error::Refused(format!(
        "topic {control} holds no identity: the log's creation was not finished; run `spine topics \
         create --log URL` again"
    ))
}

impl EventLog for KafkaLog {
    type Reader = KafkaReader;
    type Member = KafkaMember;

    fn log_id(&self) -> &str {
        &self.inner.identity.log_id
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        if let Some(known) = self.inner.queries.known_partitions(topic) {
            return Ok(known);
        }
        let (queries, topic) = (Arc::clone(&self.inner.queries), topic.to_owned());
        blocking(move || queries.partitions(&topic)).await
    }

    async fn append(
        &self,
        to: &TopicPartition,
        batch: Vec<NewRecord>,
        urgency: Urgency,
    ) -> Result<Appended> {
        let writer = self.inner.writer()?;
        check_batch(&batch)?;
        if to.partition >= self.partitions(&to.topic).await? {
            return Err(Error::Missing(format!("partition {to}")));
        }
        let appended = writer.append(to, batch, urgency).await?;
        self.inner.note_end(to, appended.last_offset + 1);
        Ok(appended)
    }

    async fn reader(&self, of: &TopicPartition, from: u64) -> Result<KafkaReader> {
        let (inner, of) = (Arc::clone(&self.inner), of.clone());
        blocking(move || KafkaReader::new(&inner.queries, &inner.pool, &of, from)).await
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        let (inner, of) = (Arc::clone(&self.inner), of.clone());
        blocking(move || {
            let bounds = inner.queries.bounds(&of)?;
            inner.note_end(&of, bounds.end);
            Ok(bounds)
        })
        .await
    }

    async fn offset_at(&self, of: &TopicPartition, time: Micros) -> Result<u64> {
        let (queries, of) = (Arc::clone(&self.inner.queries), of.clone());
        blocking(move || queries.offset_at(&of, time)).await
    }

    async fn join(&self, topic: &str, group: &str) -> Result<KafkaMember> {
        let (log, topic, group) = (self.clone(), topic.to_owned(), group.to_owned());
        blocking(move || {
            let options = log.inner.options.clone();
            KafkaMember::join(log, &options, &topic, &group)
        })
        .await
    }
}

/// Checks a batch against the limits.
fn check_batch(batch: &[NewRecord]) -> Result<()> {
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
        let bytes = content_bytes(record);
        if bytes > RECORD_BYTES {
            return over("a record", bytes, RECORD_BYTES);
        }
        total += bytes;
    }
    if total > BATCH_BYTES {
        return over("a batch", total, BATCH_BYTES);
    }
    Ok(())
}

/// Locks a mutex. Nothing here leaves shared state half changed, so a panic elsewhere is no reason
/// to spread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
