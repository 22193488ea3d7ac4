//! Questions to the brokers: partitions, bounds, offsets by time. All of it blocks.

use super::{
    client::{self, Plain, patiently},
    fault, lock,
    off_thread::OffThread,
    options::Options,
    scan,
};
use crate::{Bounds, Error, Result, TopicPartition};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    metadata::MetadataTopic,
};
use spine_schemas::time::Micros;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// A client for questions, and what never changes in their answers.
pub(crate) struct Queries {
    client: OffThread<BaseConsumer<Plain>>,
    partitions: Mutex<BTreeMap<Arc<str>, u32>>,
}

impl Queries {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let client = OffThread::new(client::asking(options)?);
        Ok(Self { client, partitions: Mutex::default() })
    }

    /// The number of partitions, if it is known already. It is fixed for the life of a topic.
    pub(crate) fn known_partitions(&self, topic: &str) -> Option<u32> {
        lock(&self.partitions).get(topic).copied()
    }

    /// The number of partitions of a topic.
    pub(crate) fn partitions(&self, topic: &str) -> Result<u32> {
        if let Some(known) = self.known_partitions(topic) {
            return Ok(known);
        }
        let count = self.topic(topic, |found| found.partitions().len() as u32)?;
        lock(&self.partitions).insert(topic.into(), count);
        Ok(count)
    }

    /// The number of partitions once each has a leader. Not remembered.
    pub(crate) fn settled_partitions(&self, topic: &str) -> Result<u32> {
        let (count, leaderless) = self.topic(topic, |found| {
            let partitions = found.partitions();
            (partitions.len(), partitions.iter().filter(|one| one.leader() < 0).count())
        })?;
        if leaderless > 0 {
            let message = format!("topic {topic}: {leaderless} partitions have no leader yet");
            return Err(Error::Unavailable(message));
        }
        Ok(count as u32)
    }

    /// Whether the brokers still know the topic, whatever was seen before.
    pub(crate) fn check_topic(&self, topic: &str) -> Result<()> {
        self.topic(topic, |_| ())
    }

    /// Something about a topic, from its metadata.
    pub(crate) fn topic<T>(&self, topic: &str, pick: impl Fn(&MetadataTopic) -> T) -> Result<T> {
        let client = &*self.client;
        let what = format!("topic {topic}");
        let metadata = patiently(&what, |within| client.fetch_metadata(Some(topic), within))?;
        let missing = || Error::Missing(what.clone());
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found = found.ok_or_else(missing)?;
        if let Some(code) = found.error() {
            return Err(fault::of_code(&what, RDKafkaErrorCode::from(code)));
        }
        if found.partitions().is_empty() {
            return Err(missing());
        }
        Ok(pick(found))
    }

    /// The number of the broker that leads a partition.
    pub(crate) fn leader(&self, of: &TopicPartition) -> Result<i32> {
        let number = scan::partition_number(of)?;
        let leader = self.topic(&of.topic, |found| {
            let partition = found.partitions().iter().find(|partition| partition.id() == number);
            partition.map(rdkafka::metadata::MetadataPartition::leader)
        })?;
        fault::known_leader(&format!("the leader of {of}"), leader)
    }

    /// The fewest replicas that a partition of the topic has.
    pub(crate) fn replicas(&self, topic: &str) -> Result<usize> {
        self.topic(topic, |found| {
            found.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0)
        })
    }

    /// The number of some broker.
    pub(crate) fn broker(&self) -> Result<i32> {
        let client = &*self.client;
        let metadata = patiently("the brokers", |within| client.fetch_metadata(None, within))?;
        let broker = metadata.brokers().first().map(rdkafka::metadata::MetadataBroker::id);
        broker.ok_or_else(|| Error::Unavailable("no broker is known yet".into()))
    }

    /// Refuses a partition that the topic does not have.
    pub(crate) fn check_place(&self, of: &TopicPartition) -> Result<()> {
        if of.partition < self.partitions(&of.topic)? {
            return Ok(());
        }
        Err(Error::Missing(format!("partition {of}")))
    }

    /// The extent of a partition. Its end is the last stable offset: an open transaction of a
    /// foreign producer holds it back, and readers with it.
    pub(crate) fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        self.check_place(of)?;
        let client = &*self.client;
        let number = scan::partition_number(of)?;
        let what = format!("bounds of {of}");
        let (first, end) =
            patiently(&what, |within| client.fetch_watermarks(&of.topic, number, within))?;
        let known = |offset: i64| {
            u64::try_from(offset).map_err(|_| Error::Unavailable(format!("{what}: not known yet")))
        };
        Ok(Bounds { first: known(first)?, end: known(end)? })
    }

    /// The first offset whose record time is at or after a time; the end if there is none.
    pub(crate) fn offset_at(&self, of: &TopicPartition, time: Micros) -> Result<u64> {
        self.check_place(of)?;
        let client = &*self.client;
        let number = scan::partition_number(of)?;
        let what = format!("offsets by time of {of}");
        // Kafka's times are milliseconds. Rounded up, so that no earlier record is found.
        let at_ms = time.0.div_euclid(1000) + i64::from(time.0.rem_euclid(1000) > 0);
        let answer = patiently(&what, |within| {
            let mut asked = TopicPartitionList::with_capacity(1);
            asked.add_partition_offset(&of.topic, number, Offset::Offset(at_ms.max(0)))?;
            let answer = client.offsets_for_times(asked, within)?;
            for element in answer.elements() {
                element.error()?;
            }
            Ok(answer)
        })?;
        match answer.elements().first().map(|element| element.offset()) {
            Some(Offset::Offset(offset)) => u64::try_from(offset)
                .map_err(|_| Error::Unavailable(format!("{what}: offset {offset}"))),
            Some(Offset::End) => Ok(self.bounds(of)?.end),
            other => Err(Error::Unavailable(format!("{what}: the brokers said {other:?}"))),
        }
    }
}
