//! A loop around the Kafka client alone, with the settings that Spine's own log uses, and what else the
//! benchmark asks of the servers.

use crate::error::{Error, Result};
use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier},
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

    /// Sends all records and waits until each is acknowledged. One goes ahead, before the clock runs.
    ///
    /// # Errors
    /// When one is not.
    pub fn send_all(&self, records: &[Outgoing]) -> Result<Duration> {
        self.find_brokers(records)?;
        let (begun, before) = (Instant::now(), self.delivered.load(Ordering::Acquire));
        for record in records {
            self.send(record)?;
        }
        self.wait(before + records.len() as u64, Duration::from_micros(500))?;
        Ok(begun.elapsed())
    }

    /// Sends records in turn for a time, one in flight, and one ahead. Gives how long each took.
    ///
    /// # Errors
    /// When one is not acknowledged.
    pub fn send_for(&self, records: &[Outgoing], measured: Duration) -> Result<Vec<Duration>> {
        self.find_brokers(records)?;
        let (begun, mut took) = (Instant::now(), Vec::new());
        for record in records.iter().cycle() {
            if begun.elapsed() >= measured {
                break;
            }
            took.push(self.send_one(record)?);
        }
        Ok(took)
    }

    /// A new producer asks for the leader of its topic first, which takes it half a second.
    fn find_brokers(&self, records: &[Outgoing]) -> Result<()> {
        records.first().map_or(Ok(()), |record| self.send_one(record).map(drop))
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

/// What an acknowledged record of a topic without replicas rests on, as the brokers say.
///
/// # Errors
/// When they do not answer.
pub async fn durability(url: &str) -> Result<String> {
    let admin = admin(url)?;
    let (brokers, first) = {
        let metadata = admin.inner().fetch_metadata(None, ANSWER).map_err(of_kafka)?;
        let first = metadata.brokers().first().map(rdkafka::metadata::MetadataBroker::id);
        (metadata.brokers().len(), first)
    };
    let first = first.ok_or_else(|| Error::Peer("Kafka names no broker".into()))?;
    let asked = [ResourceSpecifier::Broker(first)];
    let told = admin.describe_configs(&asked, &AdminOptions::new()).await.map_err(of_kafka)?;
    let broker = told.into_iter().flatten().next();
    let synced = broker.map_or_else(|| "when it syncs is not known".to_owned(), |it| syncs(&it));
    Ok(format!("acks=all, replication 1 on one of {brokers} brokers: {synced}"))
}

/// When a broker syncs what it was given, by its own settings.
fn syncs(broker: &ConfigResource) -> String {
    let number = |name| broker.get(name)?.value.as_deref()?.parse::<i64>().ok();
    let records = number("log.flush.interval.messages").filter(|records| *records != i64::MAX);
    let ms = number("log.flush.interval.ms").filter(|ms| *ms >= 0 && *ms != i64::MAX);
    match (records, ms) {
        (None, None) => "synced later, when its system does".to_owned(),
        (Some(records), None) => format!("synced every {records} records"),
        (None, Some(ms)) => format!("synced every {ms} ms"),
        (Some(records), Some(ms)) => format!("synced every {records} records or {ms} ms"),
    }
}

fn admin(url: &str) -> Result<AdminClient<DefaultClientContext>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", hosts(url)).set("log_level", "3");
    config.create().map_err(of_kafka)
}

/// Deletes the topics with this prefix.
///
/// # Errors
/// When the servers refuse.
pub async fn delete_topics(url: &str, prefix: &str) -> Result<()> {
    let admin = admin(url)?;
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
