//! The log that a URL named: each call goes to the adapter behind it.

use spine_log::{
    Appended, Bounds, Change, EventLog, GroupMember, NewRecord, PartitionReader, ReadLimit, Record,
    Result, TopicPartition, Urgency,
    embedded::{EmbeddedLog, EmbeddedMember, EmbeddedReader},
    kafka::{KafkaLog, KafkaMember, KafkaReader},
};
use spine_schemas::time::Micros;

/// A log of one of the two kinds.
#[derive(Clone, Debug)]
pub(crate) enum AnyLog {
    /// A directory of this machine.
    Embedded(EmbeddedLog),
    /// Topics of a Kafka cluster.
    Kafka(KafkaLog),
}

/// Reads a partition of either.
#[derive(Debug)]
pub(crate) enum AnyReader {
    /// See [`AnyLog`].
    Embedded(EmbeddedReader),
    /// See [`AnyLog`].
    Kafka(KafkaReader),
}

/// A member of either's group.
#[derive(Debug)]
pub(crate) enum AnyMember {
    /// See [`AnyLog`].
    Embedded(EmbeddedMember),
    /// See [`AnyLog`].
    Kafka(KafkaMember),
}

/// Runs an expression on the adapter of an enum of adapters.
macro_rules! each {
    ($any:expr, $one:ident => $call:expr) => {
        match $any {
            Self::Embedded($one) => $call,
            Self::Kafka($one) => $call,
        }
    };
}

impl AnyLog {
    /// Ends the log: what was appended is acknowledged or has failed when this returns.
    pub(crate) async fn close(&self) {
        each!(self, log => log.close().await);
    }
}

impl EventLog for AnyLog {
    type Reader = AnyReader;
    type Member = AnyMember;

    fn log_id(&self) -> &str {
        each!(self, log => log.log_id())
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        each!(self, log => log.partitions(topic).await)
    }

    async fn append(
        &self,
        to: &TopicPartition,
        batch: Vec<NewRecord>,
        urgency: Urgency,
    ) -> Result<Appended> {
        each!(self, log => log.append(to, batch, urgency).await)
    }

    async fn reader(&self, of: &TopicPartition, from: u64) -> Result<AnyReader> {
        match self {
            Self::Embedded(log) => log.reader(of, from).await.map(AnyReader::Embedded),
            Self::Kafka(log) => log.reader(of, from).await.map(AnyReader::Kafka),
        }
    }

    async fn bounds(&self, of: &TopicPartition) -> Result<Bounds> {
        each!(self, log => log.bounds(of).await)
    }

    async fn offset_at(&self, of: &TopicPartition, time: Micros) -> Result<u64> {
        each!(self, log => log.offset_at(of, time).await)
    }

    async fn join(&self, topic: &str, group: &str) -> Result<AnyMember> {
        match self {
            Self::Embedded(log) => log.join(topic, group).await.map(AnyMember::Embedded),
            Self::Kafka(log) => log.join(topic, group).await.map(AnyMember::Kafka),
        }
    }
}

impl PartitionReader for AnyReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<Vec<Record>> {
        each!(self, reader => reader.next(limit).await)
    }

    async fn next_keyless(&mut self, limit: ReadLimit) -> Result<Vec<Record>> {
        each!(self, reader => reader.next_keyless(limit).await)
    }

    fn position(&self) -> u64 {
        each!(self, reader => reader.position())
    }
}

impl GroupMember for AnyMember {
    type Reader = AnyReader;

    async fn next(&mut self) -> Result<Change> {
        each!(self, member => member.next().await)
    }

    async fn reader(&self, partition: u32, from: u64) -> Result<AnyReader> {
        match self {
            Self::Embedded(member) => member.reader(partition, from).await.map(AnyReader::Embedded),
            Self::Kafka(member) => member.reader(partition, from).await.map(AnyReader::Kafka),
        }
    }

    async fn commit(&self, partition: u32, next: u64) -> Result<()> {
        each!(self, member => member.commit(partition, next).await)
    }

    async fn keep(&self, partition: u32, next: u64) -> Result<()> {
        each!(self, member => member.keep(partition, next).await)
    }

    async fn kept(&self, partition: u32) -> Result<Option<u64>> {
        each!(self, member => member.kept(partition).await)
    }
}
