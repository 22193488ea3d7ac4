//! A simulated log in the manner of Kafka: several nodes, group assignment, acknowledgements that come
//! late or get lost although the records are there, and owners that learn late of what they lost.

use crate::{clock::SimClock, random::Random};
use spine_log::{
    Appended, Bounds, Change, Error, EventLog, GroupMember, NewRecord, PartitionReader, ReadLimit,
    Record, Release, Result, TopicPartition, Urgency,
};
use spine_schemas::time::Micros;
use spine_workers::Clock;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

#[derive(Debug, Default)]
struct Topics {
    records: BTreeMap<TopicPartition, Vec<Record>>,
    ends: BTreeMap<TopicPartition, watch::Sender<u64>>,
    members: BTreeMap<u64, mpsc::Sender<Change>>,
    assigned: BTreeMap<u32, u64>,
    next_member: u64,
    trouble_percent: u64,
}

/// Clones share the cluster.
#[derive(Clone, Debug)]
pub(crate) struct SimKafka {
    topics: Arc<Mutex<Topics>>,
    partitions: u32,
    clock: SimClock,
    random: Random,
}

impl SimKafka {
    pub(crate) fn new(partitions: u32, clock: SimClock, random: Random) -> Self {
        Self { topics: Arc::default(), partitions, clock, random }
    }

    /// How often appends fail, with or without an effect.
    pub(crate) fn set_trouble_percent(&self, percent: u64) {
        self.topics.lock().unwrap().trouble_percent = percent;
    }

    /// Deals the partitions anew over the members. The new owner may learn of it long before the
    /// old one does.
    pub(crate) async fn rebalance(&self) {
        let mut lost = Vec::new();
        let mut gained = Vec::new();
        {
            let mut topics = self.topics.lock().unwrap();
            let members: Vec<u64> = topics.members.keys().copied().collect();
            for partition in 0..self.partitions {
                if members.is_empty() {
                    topics.assigned.remove(&partition);
                    continue;
                }
                let member = members[self.random.below(members.len() as u64) as usize];
                let before = topics.assigned.insert(partition, member);
                if before == Some(member) {
                    continue;
                }
                gained.push((topics.members[&member].clone(), partition));
                if let Some(old) = before.and_then(|old| topics.members.get(&old).cloned()) {
                    lost.push((old, partition));
                }
            }
        }
        for (member, partition) in gained {
            let _ = member.send(Change::Gained(partition)).await;
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(1500))).await;
        for (member, partition) in lost {
            let _ = member.send(Change::Lost { partition, release: Release::new().0 }).await;
        }
    }

    /// A node died: its place in the group is gone.
    pub(crate) fn forget(&self, member: u64) {
        self.topics.lock().unwrap().members.remove(&member);
    }

    pub(crate) fn newest_member(&self) -> Option<u64> {
        self.topics.lock().unwrap().members.keys().next_back().copied()
    }

    fn write(&self, to: &TopicPartition, batch: Vec<NewRecord>) -> Appended {
        let mut topics = self.topics.lock().unwrap();
        let records = topics.records.entry(to.clone()).or_default();
        let first_offset = records.len() as u64;
        let floor = records.last().map_or(Micros(0), |record| record.timestamp);
        let timestamp = self.clock.now().max(floor);
        for new in batch {
            records.push(Record {
                offset: records.len() as u64,
                timestamp,
                key: new.key,
                headers: new.headers,
                value: new.value,
            });
        }
        let end = records.len() as u64;
        topics.end_of(to).send_replace(end);
        Appended::contiguous(first_offset, end - 1, timestamp)
    }

    fn check(&self, of: &TopicPartition) -> Result<()> {
        if of.partition < self.partitions { Ok(()) } else { Err(Error::Missing(of.to_string())) }
    }
}

impl Topics {
    fn end_of(&mut self, of: &TopicPartition) -> &watch::Sender<u64> {
        self.ends.entry(of.clone()).or_insert_with(|| watch::Sender::new(0))
    }
}

impl EventLog for SimKafka {
    type Reader = SimReader;
    type Member = SimMember;

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
        let trouble = self.topics.lock().unwrap().trouble_percent;
        tokio::time::sleep(Duration::from_micros(200 + self.random.below(3000))).await;
        let unavailable = || Err(Error::Unavailable("simulated: no acknowledgement".into()));
        if self.random.chance(trouble) {
            if self.random.chance(40) {
                return Err(Error::Busy);
            }
            if self.random.chance(50) {
                return unavailable();
            }
            // The broker takes it later than the producer waits.
            let (log, to) = (self.clone(), to.clone());
            let late = Duration::from_millis(self.random.below(400));
            tokio::spawn(async move {
                tokio::time::sleep(late).await;
                log.write(&to, batch);
            });
            tokio::time::sleep(Duration::from_millis(50)).await;
            return unavailable();
        }
        let appended = self.write(to, batch);
        tokio::time::sleep(Duration::from_micros(self.random.below(3000))).await;
        if self.random.chance(trouble) {
            return unavailable();
        }
        Ok(appended)
    }

    async fn reader(&self, of: &TopicPartition, from: u64) -> Result<SimReader> {
        self.check(of)?;
        let end = self.topics.lock().unwrap().end_of(of).subscribe();
        Ok(SimReader { log: self.clone(), of: of.clone(), next: from, end })
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        self.check(of)?;
        let end = self.topics.lock().unwrap().records.get(of).map_or(0, Vec::len) as u64;
        Ok(Bounds { first: 0, end })
    }

    async fn offset_at(&self, of: &TopicPartition, time: Micros) -> Result<u64> {
        let topics = self.topics.lock().unwrap();
        let records = topics.records.get(of).map(Vec::as_slice).unwrap_or_default();
        Ok(records.iter().filter(|record| record.timestamp < time).count() as u64)
    }

    async fn join(&self, _topic: &str, _group: &str) -> Result<SimMember> {
        let (sender, changes) = mpsc::channel(64);
        let mut topics = self.topics.lock().unwrap();
        topics.next_member += 1;
        let id = topics.next_member;
        topics.members.insert(id, sender);
        Ok(SimMember { log: self.clone(), changes })
    }
}

#[derive(Debug)]
pub(crate) struct SimReader {
    log: SimKafka,
    of: TopicPartition,
    next: u64,
    end: watch::Receiver<u64>,
}

impl PartitionReader for SimReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<Vec<Record>> {
        let next = self.next;
        let _ = self.end.wait_for(|end| *end > next).await;
        tokio::time::sleep(Duration::from_micros(100)).await;
        let topics = self.log.topics.lock().unwrap();
        let records = &topics.records[&self.of][next as usize..];
        let some = 1 + self.log.random.below(limit.records as u64) as usize;
        let read: Vec<Record> = records.iter().take(some).cloned().collect();
        self.next += read.len() as u64;
        Ok(read)
    }

    fn position(&self) -> u64 {
        self.next
    }
}

#[derive(Debug)]
pub(crate) struct SimMember {
    log: SimKafka,
    changes: mpsc::Receiver<Change>,
}

impl GroupMember for SimMember {
    type Reader = SimReader;

    async fn next(&mut self) -> Result<Change> {
        match self.changes.recv().await {
            Some(change) => Ok(change),
            None => std::future::pending().await,
        }
    }

    async fn reader(&self, partition: u32, from: u64) -> Result<SimReader> {
        self.log.reader(&TopicPartition::new("spine.steps", partition), from).await
    }

    async fn commit(&self, _partition: u32, _next: u64) -> Result<()> {
        Ok(())
    }
}
