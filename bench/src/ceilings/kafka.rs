//! A loop around the Kafka client alone, with the settings that Spine's own log uses, and what else the
//! benchmark asks of the servers.

use crate::error::{Error, Result};
use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// How long a request to the servers may take.
const ANSWER: Duration = Duration::from_secs(20);
/// Records that wait in the client; more are held back by its answer "full".
const QUEUE_RECORDS: &str = "100000";
/// A full queue is looked at again after this.
const FULL_PAUSE: Duration = Duration::from_micros(200);

/// Counts what was delivered, since `send` and `flush` also succeed for records that are not.
struct Count {
    delivered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        let counter = if report.is_ok() { &self.delivered } else { &self.failed };
        counter.fetch_add(1, Ordering::Release);
    }
}

/// A record to be sent, its partition chosen.
pub struct Outgoing {
    /// The partition.
    pub partition: i32,
    /// The key.
    pub key: bytes::Bytes,
    /// The value.
    pub value: bytes::Bytes,
}

/// A producer and what it has delivered.
pub struct Raw {
    producer: ThreadedProducer<Count>,
    delivered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    topic: String,
}

impl Raw {
    /// A producer with `acks=all`, idempotence and lz4.
    ///
    /// # Errors
    /// When the client does not take its settings.
    pub fn new(url: &str, topic: &str, linger_ms: &str) -> Result<Self> {
        let (delivered, failed) = (Arc::default(), Arc::default());
        let count = Count { delivered: Arc::clone(&delivered), failed: Arc::clone(&failed) };
        let producer = ClientConfig::new()
            .set("bootstrap.servers", hosts(url))
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", linger_ms)
            .set("queue.buffering.max.messages", QUEUE_RECORDS)
            .set("log_level", "3")
            .create_with_context(count)
            .map_err(of_kafka)?;
        Ok(Self { producer, delivered, failed, topic: topic.to_owned() })
    }

    /// Sends all records and waits until each is acknowledged.
    ///
    /// # Errors
    /// When one is not.
    pub fn send_all(&self, records: &[Outgoing]) -> Result<Duration> {
        let (begun, before) = (Instant::now(), self.delivered.load(Ordering::Acquire));
        for record in records {
            self.send(record)?;
        }
        self.wait(before + records.len() as u64, Duration::from_micros(500))?;
        Ok(begun.elapsed())
    }

    /// Sends a record over and over for a time, one in flight. Gives how long each took.
    ///
    /// # Errors
    /// When one is not acknowledged.
    pub fn send_for(&self, record: &Outgoing, measured: Duration) -> Result<Vec<Duration>> {
        let (begun, mut took) = (Instant::now(), Vec::new());
        while begun.elapsed() < measured {
            took.push(self.send_one(record)?);
        }
        Ok(took)
    }

    fn send_one(&self, record: &Outgoing) -> Result<Duration> {
        let (begun, before) = (Instant::now(), self.delivered.load(Ordering::Acquire));
        self.send(record)?;
        self.wait(before + 1, Duration::ZERO)?;
        Ok(begun.elapsed())
    }

    fn send(&self, record: &Outgoing) -> Result<()> {
        let mut next = BaseRecord::to(&self.topic)
            .partition(record.partition)
            .key(&record.key[..])
            .payload(&record.value[..]);
        loop {
            match self.producer.send(next) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    std::thread::sleep(FULL_PAUSE);
                    next = same;
                }
                Err((error, _)) => return Err(of_kafka(error)),
            }
        }
    }

    /// Waits for acknowledgements; with no pause, it spins, since a wake-up costs more than it waits for.
    fn wait(&self, until: u64, pause: Duration) -> Result<()> {
        while self.delivered.load(Ordering::Acquire) < until {
            if self.failed.load(Ordering::Acquire) > 0 {
                return Err(Error::Peer("a record of the raw producer was not taken".into()));
            }
            match pause {
                Duration::ZERO => std::thread::yield_now(),
                pause => std::thread::sleep(pause),
            }
        }
        Ok(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // All is acknowledged already.
        let _ = self.producer.flush(Duration::from_secs(1));
    }
}

/// Deletes the topics with this prefix.
///
/// # Errors
/// When the servers refuse.
pub async fn delete_topics(url: &str, prefix: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", hosts(url))
        .set("log_level", "3")
        .create()
        .map_err(of_kafka)?;
    let listed = admin.inner().fetch_metadata(None, ANSWER).map_err(of_kafka)?;
    let ours: Vec<&str> = listed
        .topics()
        .iter()
        .map(rdkafka::metadata::MetadataTopic::name)
        .filter(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')))
        .collect();
    if !ours.is_empty() {
        admin.delete_topics(&ours, &AdminOptions::new()).await.map_err(of_kafka)?;
    }
    Ok(())
}

/// The addresses in a URL.
pub(crate) fn hosts(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

fn of_kafka(error: KafkaError) -> Error {
    Error::Peer(format!("Kafka: {error}"))
}
