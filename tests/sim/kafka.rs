//! A simulated log in the manner of Kafka: several processes whose batches interleave, offsets that
//! hold no record, appends that fail and leave all, nothing or a part, acknowledgements that come late
//! or get lost. Who owns what is in `rebalance`.

use crate::{
    clock::SimClock, mark::Mark, random::Random, rebalance::Group, transitions::LIFECYCLE,
};
use bytes::Bytes;
use spine_log::{
    Appended, Bounds, Error, EventLog, NewRecord, PartitionReader, ReadLimit, Record, Result,
    TopicPartition, Urgency, limits,
};
use spine_schemas::time::Micros;
use spine_workers::Clock;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

#[derive(Debug, Default)]
struct Topics {
    partitions: BTreeMap<TopicPartition, Partition>,
    trouble_percent: u64,
    is_away: bool,
    is_busy: bool,
    failing_reads: usize,
    marker_percent: u64,
    split_percent: u64,
    /// How often the topic of transitions takes its time while there is trouble.
    slow_telling_percent: u64,
}

/// Records in the order of their offsets, which have gaps.
#[derive(Debug)]
struct Partition {
    records: Vec<Record>,
    end: Mark,
}

/// Clones share the cluster, and those of one process its producer.
#[derive(Clone, Debug)]
pub(crate) struct SimKafka {
    topics: Arc<Mutex<Topics>>,
    /// Held while a batch is written, since batches of one process never interleave.
    producer: Arc<tokio::sync::Mutex<()>>,
    /// What a process cannot read yet although it is there: everything from an offset on.
    horizon: watch::Sender<u64>,
    pub(crate) group: Group,
    partitions: u32,
    clock: SimClock,
    random: Random,
}

impl SimKafka {
    pub(crate) fn new(partitions: u32, clock: SimClock, random: Random) -> Self {
        let marker_percent = [0, 0, 5, 20][random.below(4) as usize];
        let topics = Topics {
            marker_percent,
            split_percent: [0, 5, 25][random.below(3) as usize],
            slow_telling_percent: if marker_percent > 0 { 30 } else { 0 },
            ..Topics::default()
        };
        Self {
            topics: Arc::new(Mutex::new(topics)),
            producer: Arc::default(),
            horizon: watch::Sender::new(u64::MAX),
            group: Group::new(partitions, random.fork()),
            partitions,
            clock,
            random,
        }
    }

    /// The log as another process sees it.
    pub(crate) fn of_process(&self) -> Self {
        let horizon = watch::Sender::new(u64::MAX);
        Self { producer: Arc::default(), horizon, ..self.clone() }
    }

    /// From now on this process reads only what is below an offset.
    pub(crate) fn set_horizon(&self, offset: u64) {
        self.horizon.send_replace(offset);
    }

    /// The same log with more partitions.
    pub(crate) fn grown_to(&self, partitions: u32) -> Self {
        Self { partitions, ..self.clone() }
    }

    /// How often appends fail, with or without an effect.
    pub(crate) fn set_trouble_percent(&self, percent: u64) {
        self.topics.lock().unwrap().trouble_percent = percent;
    }

    /// From now on nothing can be appended, or can again.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.topics.lock().unwrap().is_away = is_away;
    }

    /// From now on every append is refused with nothing left behind, or none is.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.topics.lock().unwrap().is_busy = is_busy;
    }

    /// The next reads fail.
    pub(crate) fn fail_reads(&self, count: usize) {
        self.topics.lock().unwrap().failing_reads = count;
    }

    /// Writes a batch, sometimes in parts between which others may write.
    async fn write(&self, to: &TopicPartition, batch: Vec<NewRecord>) -> Appended {
        let _producing = self.producer.lock().await;
        let split = self.topics.lock().unwrap().split_percent;
        let mut offsets = Vec::with_capacity(batch.len());
        let mut at = Micros(0);
        let parts = batch.len() > 1 && self.random.chance(split);
        for new in batch {
            if parts && !offsets.is_empty() && self.random.chance(50) {
                tokio::time::sleep(Duration::from_micros(self.random.below(1500))).await;
            }
            let (offset, timestamp) = self.write_one(to, new);
            offsets.push(offset);
            at = timestamp;
        }
        Appended::at(&offsets, at)
    }

    fn write_one(&self, to: &TopicPartition, new: NewRecord) -> (u64, Micros) {
        let mut topics = self.topics.lock().unwrap();
        let marks = topics.marker_percent;
        let partition = topics.partition(to);
        let offset = partition.end.get();
        let floor = partition.records.last().map_or(Micros(0), |record| record.timestamp);
        let timestamp = self.clock.now().max(floor);
        let NewRecord { key, headers, value } = new;
        partition.records.push(Record { offset, timestamp, key, headers, value });
        // A mark of the log's own may follow, which nobody ever reads.
        let mark = u64::from(self.random.chance(marks));
        partition.end.set(offset + 1 + mark);
        (offset, timestamp)
    }

    /// What may be left of a batch whose append fails.
    fn rest_of(&self, mut batch: Vec<NewRecord>) -> Vec<NewRecord> {
        if batch.len() > 1 && self.random.chance(30) {
            batch.truncate(1 + self.random.below(batch.len() as u64 - 1) as usize);
        }
        batch
    }

    fn check(&self, of: &TopicPartition) -> Result<()> {
        if of.partition < self.partitions { Ok(()) } else { Err(Error::Missing(of.to_string())) }
    }
}

impl Topics {
    fn partition(&mut self, of: &TopicPartition) -> &mut Partition {
        self.partitions
            .entry(of.clone())
            .or_insert_with(|| Partition { records: Vec::new(), end: Mark::default() })
    }
}

impl Partition {
    fn from(&self, offset: u64) -> &[Record] {
        &self.records[self.records.partition_point(|record| record.offset < offset)..]
    }
}

/// As every log does.
fn check_size(batch: &[NewRecord]) -> Result<()> {
    let values = batch.iter().filter_map(|record| record.value.as_ref());
    let (actual_bytes, limit_bytes) = (values.map(Bytes::len).sum(), limits::BATCH_BYTES);
    if actual_bytes > limit_bytes {
        return Err(Error::TooLarge { what: "batch", actual_bytes, limit_bytes });
    }
    Ok(())
}

impl EventLog for SimKafka {
    type Reader = SimReader;
    type Member = crate::rebalance::SimMember;

    fn log_id(&self) -> &str {
        "simulated-kafka"
    }

    async fn partitions(&self, _topic: &str) -> Result<u32> {
        Ok(self.partitions)
    }

    async fn append(
        &self,
        to: &TopicPartition,
        batch: Vec<NewRecord>,
        _urgency: Urgency,
    ) -> Result<Appended> {
        self.check(to)?;
        check_size(&batch)?;
        let trouble = self.topics.lock().unwrap().trouble_percent;
        tokio::time::sleep(Duration::from_micros(200 + self.random.below(3000))).await;
        let slow = self.topics.lock().unwrap().slow_telling_percent;
        if *to.topic == *LIFECYCLE && trouble > 0 && self.random.chance(slow) {
            tokio::time::sleep(Duration::from_millis(self.random.below(2000))).await;
        }
        if self.topics.lock().unwrap().is_busy {
            return Err(Error::Busy);
        }
        let unavailable = || Err(Error::Unavailable("simulated: no acknowledgement".into()));
        if self.topics.lock().unwrap().is_away {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return unavailable();
        }
        if self.random.chance(trouble) {
            if self.random.chance(40) {
                return Err(Error::Busy);
            }
            if self.random.chance(50) {
                return unavailable();
            }
            // The broker takes it, or a part of it, later than the producer waits.
            let (log, to, rest) = (self.clone(), to.clone(), self.rest_of(batch));
            let late = Duration::from_millis(self.random.below(400));
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                log.write(&to, rest).await;
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            return unavailable();
        }
        let fails = self.random.chance(trouble);
        let batch = if fails { self.rest_of(batch) } else { batch };
        let appended = self.write(to, batch).await;
        tokio::time::sleep(Duration::from_micros(self.random.below(3000))).await;
        if fails { unavailable() } else { Ok(appended) }
    }

    async fn reader(&self, of: &TopicPartition, from: u64) -> Result<SimReader> {
        self.check(of)?;
        let end = self.topics.lock().unwrap().partition(of).end.clone();
        Ok(SimReader { log: self.clone(), of: of.clone(), next: from, end, arrives: None })
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        self.check(of)?;
        let end = self.topics.lock().unwrap().partition(of).end.get();
        Ok(Bounds { first: 0, end })
    }

    async fn offset_at(&self, of: &TopicPartition, time: Micros) -> Result<u64> {
        let mut topics = self.topics.lock().unwrap();
        let partition = topics.partition(of);
        let end = partition.end.get();
        let found = partition.records.iter().find(|record| record.timestamp >= time);
        Ok(found.map_or(end, |record| record.offset))
    }

    async fn join(&self, _topic: &str, _group: &str) -> Result<Self::Member> {
        Ok(self.group.join(self.clone()))
    }
}

#[derive(Debug)]
pub(crate) struct SimReader {
    log: SimKafka,
    of: TopicPartition,
    next: u64,
    end: Mark,
    /// When what is there next has been fetched, whether or not somebody waits for it.
    arrives: Option<Instant>,
}

impl PartitionReader for SimReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<Vec<Record>> {
        let next = self.next;
        self.end.above(next).await;
        let mut horizon = self.log.horizon.subscribe();
        let horizon = *horizon.wait_for(|horizon| *horizon > next).await.unwrap();
        let fetched = || Instant::now() + Duration::from_micros(100);
        sleep_until(*self.arrives.get_or_insert_with(fetched)).await;
        self.arrives = None;
        let mut topics = self.log.topics.lock().unwrap();
        if topics.failing_reads > 0 {
            topics.failing_reads -= 1;
            return Err(Error::Unavailable("simulated: nothing can be read".into()));
        }
        let partition = topics.partition(&self.of);
        let there = partition.from(next);
        let there = &there[..there.partition_point(|record| record.offset < horizon)];
        let some = 1 + self.log.random.below(limit.records as u64) as usize;
        let read: Vec<Record> = there.iter().take(some).cloned().collect();
        // Where all was read, the position passes what holds no record, too.
        self.next = match there.get(read.len()) {
            Some(_) => read.last().map_or(next, |record| record.offset + 1),
            None => horizon.min(partition.end.get()),
        };
        Ok(read)
    }

    fn position(&self) -> u64 {
        self.next
    }
}
