//! A place in a consumer group: assignment and commits only. Records are read by readers.
//!
//! The consumer of a group member sits on a thread of its own, which also runs the rebalances. Its
//! partitions are paused at once, so nothing is ever fetched by it. Rebalances are cooperative:
//! partitions that stay are not told of. The owner of a revoked partition is given time to let go
//! before the group goes on.

use super::{
    KafkaLog, KafkaReader,
    client::{self, Lines, Quiet},
    fault,
    keeping::Keeping,
    kept::Kept,
    lock, metrics, off_thread,
    options::{Membership, Options},
};
use crate::{Change, Error, EventLog, GroupMember, Release, Result, TopicPartition, limits};
use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::KafkaError,
    types::{RDKafkaErrorCode, RDKafkaRespErr},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// A member of a consumer group.
pub struct KafkaMember {
    log: KafkaLog,
    topic: Arc<str>,
    group: String,
    changes: Changes,
    shared: Arc<Shared>,
    kept: Kept,
}

enum Changes {
    /// Partitions that the only owner has not been told of yet.
    Alone(Range<u32>),
    /// What the group's thread tells.
    Group(mpsc::Receiver<Result<Change>>),
}

/// Between a member and its thread.
#[derive(Default)]
struct Shared {
    held: Mutex<BTreeSet<u32>>,
    /// Offsets to commit, by partition.
    noted: Mutex<BTreeMap<u32, u64>>,
    keeping: Keeping,
    stop: AtomicBool,
}

impl fmt::Debug for KafkaMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaMember")
            .field("topic", &self.topic)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

impl KafkaMember {
    /// Joins a group, or takes all partitions where there is none.
    pub(crate) fn join(log: KafkaLog, options: &Options, topic: &str, group: &str) -> Result<Self> {
        let partitions = log.inner.queries.partitions(topic)?;
        let shared = Arc::new(Shared::default());
        let topic: Arc<str> = topic.into();
        let changes = match options.membership {
            Membership::Alone => {
                lock(&shared.held).extend(0..partitions);
                Changes::Alone(0..partitions)
            }
            Membership::Group => {
                // A rebalance tells of each partition at most twice before the member looks.
                let (sender, receiver) = mpsc::channel(4 * partitions as usize + 16);
                let thread = enter(options, &topic, group, &shared, sender)?;
                log.inner.keep_thread(thread, &shared);
                Changes::Group(receiver)
            }
        };
        let kept = Kept::new(options, group);
        Ok(Self { log, topic, group: group.to_owned(), changes, shared, kept })
    }

    fn assigned(&self, partition: u32) -> Result<TopicPartition> {
        let of = TopicPartition::new(Arc::clone(&self.topic), partition);
        if lock(&self.shared.held).contains(&partition) {
            return Ok(of);
        }
        Err(Error::Missing(format!("partition {of} in the assignment of this member")))
    }
}

impl GroupMember for KafkaMember {
    type Reader = KafkaReader;

    async fn next(&mut self) -> Result<Change> {
        match &mut self.changes {
            Changes::Alone(not_told) => match not_told.next() {
                Some(partition) => Ok(Change::Gained(partition)),
                None => std::future::pending().await,
            },
            Changes::Group(changes) => changes.recv().await.unwrap_or_else(|| {
                // The thread has ended, so nothing more will ever be told.
                Err(Error::Refused("this process has left its group; start it again".into()))
            }),
        }
    }

    async fn reader(&self, partition: u32, from: u64) -> Result<KafkaReader> {
        self.log.reader(&self.assigned(partition)?, from).await
    }

    async fn commit(&self, partition: u32, next: u64) -> Result<()> {
        let of = self.assigned(partition)?;
        lock(&self.shared.noted).insert(partition, next);
        if let Some(end) = self.log.inner.last_end(&of) {
            metrics::observe_lag_records(&of, &self.group, end.saturating_sub(next));
        }
        Ok(())
    }

    async fn keep(&self, partition: u32, next: u64) -> Result<()> {
        let of = self.assigned(partition)?;
        match self.changes {
            Changes::Alone(_) => self.kept.put(&of, next).await?,
            Changes::Group(_) => {
                let told = self.shared.keeping.ask(partition, next);
                let late = || Error::Unavailable(format!("{of}: the group keeps no offset now"));
                let told = tokio::time::timeout(limits::KAFKA_KEEP, told).await;
                told.map_err(|_| late())?.map_err(|_| late())??;
            }
        }
        self.commit(partition, next).await
    }

    async fn kept(&self, partition: u32) -> Result<Option<u64>> {
        self.kept.get(&self.assigned(partition)?).await
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        // The thread leaves the group; nobody waits for it here.
        self.shared.stop();
    }
}

/// What stops a member's thread.
pub(crate) trait Stop: Send + Sync {
    fn stop(&self);
}

impl Stop for Shared {
    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// The consumer's callbacks: they run inside its poll, on its thread.
struct Callbacks {
    topic: Arc<str>,
    shared: Arc<Shared>,
    changes: mpsc::Sender<Result<Change>>,
    lines: Lines,
}

impl ClientContext for Callbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.lines.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.lines.error(&error, reason);
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let outcome = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assigned(consumer, list),
            _ => self.revoked(consumer, list),
        };
        if let Err(error) = outcome {
            // The group goes by another assignment than the owners here: they must all end.
            self.tell(Err(for_good(&format!("a rebalance failed: {error}"))));
        }
    }

    fn commit_callback(
        &self,
        outcome: rdkafka::error::KafkaResult<()>,
        _offsets: &TopicPartitionList,
    ) {
        if let Err(error) = outcome
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
        {
            tracing::debug!(%error, "offsets for lag tools were not committed");
        }
    }
}

impl Callbacks {
    fn tell(&self, change: Result<Change>) {
        // The member has gone; its thread is about to leave.
        let _ = self.changes.blocking_send(change);
    }

    fn assigned(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> std::result::Result<(), KafkaError> {
        // Nothing is read here, so no position is asked of the group.
        list.set_all_offsets(Offset::End)?;
        consumer.incremental_assign(list)?;
        consumer.pause(list)?;
        for partition in numbers(list) {
            lock(&self.shared.held).insert(partition);
            self.tell(Ok(Change::Gained(partition)));
        }
        Ok(())
    }

    fn revoked(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &TopicPartitionList,
    ) -> std::result::Result<(), KafkaError> {
        let mut waiting = Vec::new();
        for partition in numbers(list) {
            lock(&self.shared.held).remove(&partition);
            let (release, released) = Release::new();
            waiting.push((partition, released));
            self.tell(Ok(Change::Lost { partition, release }));
        }
        wait_for_releases(waiting);
        // Once the group has taken them away, others may have committed already.
        if !consumer.assignment_lost() {
            self.commit(consumer, &numbers(list), CommitMode::Sync);
        }
        for partition in numbers(list) {
            lock(&self.shared.noted).remove(&partition);
        }
        consumer.incremental_unassign(list)
    }

    /// Commits what was noted about some partitions. It is for lag tools only.
    fn commit(&self, consumer: &BaseConsumer<Self>, of: &[u32], mode: CommitMode) {
        let mut noted = lock(&self.shared.noted);
        let taken = of.iter().filter_map(|of| Some((*of, noted.remove(of)?))).collect();
        drop(noted);
        if let Err(error) = self.send(consumer, &taken, mode) {
            tracing::debug!(%error, "offsets for lag tools were not committed");
        }
    }

    /// Commits what somebody waits for. The client never tells what became of a commit that is not waited for here.
    fn keep(&self, consumer: &BaseConsumer<Self>) {
        let held = lock(&self.shared.held).clone();
        self.shared.keeping.settle(&held, |offsets| {
            let sent = self.send(consumer, offsets, CommitMode::Sync);
            sent.map_err(|error| fault::of_query("the group", &error))
        });
    }

    fn send(
        &self,
        consumer: &BaseConsumer<Self>,
        offsets: &BTreeMap<u32, u64>,
        mode: CommitMode,
    ) -> std::result::Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for (partition, next) in offsets {
            if let (Ok(number), Ok(next)) = (i32::try_from(*partition), i64::try_from(*next)) {
                list.add_partition_offset(&self.topic, number, Offset::Offset(next))?;
            }
        }
        if list.count() > 0 { consumer.commit(&list, mode) } else { Ok(()) }
    }
}

/// The group serves this member no more. A member that went on would own nothing and say nothing,
/// so its process must end: another one joins anew.
fn for_good(why: &str) -> Error {
    Error::Refused(format!("this member of the group failed for good: {why}; start it again"))
}

fn numbers(list: &TopicPartitionList) -> Vec<u32> {
    let elements = list.elements();
    elements.iter().filter_map(|element| u32::try_from(element.partition()).ok()).collect()
}

/// Waits until every release was dropped, within the bound.
fn wait_for_releases(mut waiting: Vec<(u32, oneshot::Receiver<()>)>) {
    let begun = Instant::now();
    loop {
        let is_held = |released: &mut oneshot::Receiver<()>| {
            matches!(released.try_recv(), Err(oneshot::error::TryRecvError::Empty))
        };
        waiting.retain_mut(|(_, released)| is_held(released));
        if waiting.is_empty() {
            return;
        }
        if begun.elapsed() >= limits::KAFKA_RELEASE {
            let late: Vec<u32> = waiting.iter().map(|(partition, _)| *partition).collect();
            tracing::warn!(partitions = ?late, "owners did not stop in time; the group goes on");
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts the thread of a member.
fn enter(
    options: &Options,
    topic: &Arc<str>,
    group: &str,
    shared: &Arc<Shared>,
    changes: mpsc::Sender<Result<Change>>,
) -> Result<std::thread::JoinHandle<()>> {
    let session_ms = options.session_timeout.as_millis();
    let context = Callbacks {
        topic: Arc::clone(topic),
        shared: Arc::clone(shared),
        changes,
        lines: Lines::default(),
    };
    let consumer: BaseConsumer<Callbacks> = client::reading(options)
        .set("group.id", group)
        .set("group.protocol", "classic")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", session_ms.to_string())
        .set("heartbeat.interval.ms", (session_ms / 10).clamp(100, 3000).to_string())
        .set("auto.offset.reset", "latest")
        .create_with_context(context)
        .map_err(|error| client::not_made(&error))?;
    if let Err(error) = consumer.subscribe(&[topic]) {
        off_thread::discard(consumer);
        return Err(fault::of_query(topic, &error));
    }
    let thread = std::thread::Builder::new().name("kafka-group".into());
    let work = move || {
        run(&consumer);
        if consumer.client().fatal_error().is_some() {
            // The group counts it no more, and the client never ends closing such a consumer.
            off_thread::discard(consumer);
        } else {
            // Here, so that who waits for this thread waits until the group has been left.
            drop(consumer);
        }
    };
    let spawned = thread.spawn(work);
    spawned.map_err(|error| Error::Unavailable(format!("no thread for the group: {error}")))
}

/// A member's thread: polls, commits now and then, and leaves when it is told to.
fn run(consumer: &BaseConsumer<Callbacks>) {
    let callbacks = Arc::clone(consumer.context());
    let quiet = Quiet::default();
    let mut committed = Instant::now();
    while !callbacks.shared.stop.load(Ordering::Acquire) {
        if let Some(Err(error)) = consumer.poll(Duration::from_millis(100)) {
            match trouble(consumer, &error) {
                Some(error) => return callbacks.tell(Err(error)),
                None if quiet.may_speak() => tracing::warn!(%error, "consumer group"),
                None => {}
            }
        }
        callbacks.keep(consumer);
        if committed.elapsed() >= limits::KAFKA_COMMIT_EVERY {
            committed = Instant::now();
            let noted: Vec<u32> = lock(&callbacks.shared.noted).keys().copied().collect();
            callbacks.commit(consumer, &noted, CommitMode::Async);
        }
    }
    let noted: Vec<u32> = lock(&callbacks.shared.noted).keys().copied().collect();
    callbacks.commit(consumer, &noted, CommitMode::Sync);
}

/// What an error of the group's consumer ends with, if it does not pass by itself.
fn trouble(consumer: &BaseConsumer<Callbacks>, error: &KafkaError) -> Option<Error> {
    if let Some((code, reason)) = consumer.client().fatal_error() {
        return Some(for_good(&format!("{code}: {reason}")));
    }
    if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        return Some(for_good(&error.to_string()));
    }
    match fault::of_query("the group", error) {
        Error::Unavailable(_) => None,
        lasting => Some(lasting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::{mocking::MockCluster, types::RDKafkaApiKey};

    /// A member whose consumer is dead must not look alive: its process would be ready, and own
    /// nothing for ever.
    #[test]
    fn a_member_that_failed_for_good_ends_its_process() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 1, 1).unwrap();
        let fenced = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID; 8];
        mock.request_errors(RDKafkaApiKey::JoinGroup, &fenced);
        let options = Options::new(mock.bootstrap_servers());
        let (sender, mut told) = mpsc::channel(16);
        let shared = Arc::new(Shared::default());
        let thread = enter(&options, &Arc::from("t"), "g", &shared, sender).unwrap();
        let change = told.blocking_recv().expect("it is told");
        let error = change.expect_err("nothing was gained");
        assert!(!error.is_retryable() && error.to_string().contains("for good"), "{error}");
        thread.join().unwrap();
    }
}
