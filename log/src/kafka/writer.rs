//! Appending: one idempotent producer per log, with credits in bytes and one acknowledgement per
//! batch.
//!
//! A batch takes credits before its first record is given to the producer, so the producer's own
//! queue is never full in the middle of one. Records are given under the partition's lock, so those
//! of another batch of this process do not come between.

use super::{
    batch::Batch, client, fault, lock, metrics, off_thread, options::Options, polled::Polled, scan,
};
use crate::{
    Appended, Error, NewRecord, Result, TopicPartition, Urgency,
    limits::{self, KAFKA_CREDIT_BYTES, KAFKA_WAITING_BYTES, RECORD_OVERHEAD_BYTES},
};
use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    error::KafkaError,
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ProducerContext},
    types::RDKafkaErrorCode,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::Instant,
};

/// Counts delivery reports towards their batches.
struct Reports {
    lines: client::Lines,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.lines.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.lines.error(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Arc<Batch>;

    fn delivery(&self, report: &DeliveryResult<'_>, batch: Arc<Batch>) {
        batch.delivered(report);
    }
}

/// A producer until it fails for good.
struct Session {
    producer: Option<Polled<Reports>>,
}

impl Session {
    fn new(options: &Options) -> Result<Self> {
        let context = Reports { lines: client::Lines::default() };
        Ok(Self { producer: Some(Polled::new(&client::writing(options), context)?) })
    }

    fn producer(&self) -> Option<&Polled<Reports>> {
        let alive = |producer: &&Polled<_>| producer.client().fatal_error().is_none();
        self.producer.as_ref().filter(alive)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Dropping a producer throws away what it still holds, and waits.
        if let Some(producer) = self.producer.take() {
            off_thread::discard(Draining(producer));
        }
    }
}

/// Drains before it drops, on the thread that [`off_thread::discard`] makes.
struct Draining(Polled<Reports>);

impl Drop for Draining {
    fn drop(&mut self) {
        drain(&self.0);
    }
}

/// Waits until all that was given to the producer has been answered, or the bound passes. The
/// producer's own thread takes the reports; the wait only watches.
fn drain(producer: &Polled<Reports>) {
    let begun = Instant::now();
    while producer.client().fatal_error().is_none()
        && producer.in_flight_count() > 0
        && begun.elapsed() < limits::KAFKA_CLOSE
    {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The way in. Clones of a log share it.
pub(crate) struct Writer {
    options: Options,
    session: Arc<Mutex<Option<Arc<Session>>>>,
    lanes: Mutex<BTreeMap<TopicPartition, Arc<Mutex<()>>>>,
    credits: Arc<Semaphore>,
    waiting_bytes: AtomicUsize,
    /// Since when no append was answered, if the newest was not.
    unanswered: Mutex<Option<Instant>>,
    /// How long that may go on.
    patience: Duration,
    is_closed: Arc<AtomicBool>,
}

impl Writer {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            options: options.clone(),
            session: Arc::new(Mutex::new(Some(Arc::new(Session::new(options)?)))),
            lanes: Mutex::default(),
            credits: Arc::new(Semaphore::new(KAFKA_CREDIT_BYTES)),
            waiting_bytes: AtomicUsize::new(0),
            unanswered: Mutex::default(),
            patience: limits::KAFKA_DEAF,
            is_closed: Arc::default(),
        })
    }

    /// Appends a batch that is within the limits, to a partition that exists.
    pub(crate) async fn append(
        &self,
        to: &TopicPartition,
        batch: Vec<NewRecord>,
        urgency: Urgency,
    ) -> Result<Appended> {
        let content: usize = batch.iter().map(content_bytes).sum();
        let begun = Instant::now();
        let outcome = self.send(to, &batch, content, urgency).await;
        match &outcome {
            Ok(_) => metrics::observe_append(to, batch.len(), content, begun.elapsed()),
            Err(error) => metrics::observe_refused_total(to, error),
        }
        self.note_answer(begun, &outcome);
        outcome
    }

    fn note_answer(&self, begun: Instant, outcome: &Result<Appended>) {
        let mut unanswered = lock(&self.unanswered);
        match outcome {
            Err(Error::Unavailable(_)) => _ = unanswered.get_or_insert(begun),
            Err(Error::Busy) => {}
            Ok(_) | Err(_) => *unanswered = None,
        }
    }

    /// Why the present producer is of no more use, if that is so.
    fn fault_of(&self, producer: &Polled<Reports>) -> Option<String> {
        if let Some((code, reason)) = producer.client().fatal_error() {
            return Some(format!("it failed for good: {code}: {reason}"));
        }
        let since = (*lock(&self.unanswered))?;
        let deaf = since.elapsed() >= self.patience;
        deaf.then(|| format!("no append was answered for {:?}", since.elapsed()))
    }

    async fn send(
        &self,
        to: &TopicPartition,
        batch: &[NewRecord],
        content: usize,
        urgency: Urgency,
    ) -> Result<Appended> {
        check_names(batch)?;
        let cost = content + batch.len() * RECORD_OVERHEAD_BYTES;
        let credit = self.credit(cost, urgency).await?;
        let (reply, outcome) = oneshot::channel();
        let ack = Arc::new(Batch::new(to, batch.len(), credit, reply));
        self.enqueue(to, batch, &ack)?;
        drop(ack);
        outcome.await.unwrap_or_else(|_| {
            Err(Error::Unavailable("the producer was closed before it answered".into()))
        })
    }

    /// Waits for room in the producer. New work is refused once too much waits already; outcomes of
    /// what has happened always wait.
    async fn credit(&self, cost: usize, urgency: Urgency) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(cost).map_err(|_| Error::Busy)?;
        if let Ok(permit) = Arc::clone(&self.credits).try_acquire_many_owned(permits) {
            return Ok(permit);
        }
        let waiting = Waiting::new(&self.waiting_bytes, cost);
        if urgency == Urgency::Normal && waiting.before + cost > KAFKA_WAITING_BYTES {
            return Err(Error::Busy);
        }
        let permit = Arc::clone(&self.credits).acquire_many_owned(permits).await;
        drop(waiting);
        permit.map_err(|_| closed())
    }

    fn enqueue(&self, to: &TopicPartition, batch: &[NewRecord], ack: &Arc<Batch>) -> Result<()> {
        let lane = Arc::clone(lock(&self.lanes).entry(to.clone()).or_default());
        let lane = lock(&lane);
        let session = self.session()?;
        let producer = session.producer().ok_or(Error::Busy)?;
        let number = scan::partition_number(to)?;
        for (at, record) in batch.iter().enumerate() {
            let record = kafka_record(to, number, record, Arc::clone(ack));
            let Err((error, record)) = producer.send(record) else { continue };
            drop(record);
            if at == 0 {
                return Err(refusal(to, &error));
            }
            ack.not_sent(batch.len() - at, &error);
            break;
        }
        drop(lane);
        Ok(())
    }

    /// The present producer. While one that is of no more use is being replaced, nothing is taken.
    fn session(&self) -> Result<Arc<Session>> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let mut slot = lock(&self.session);
        let present = slot.as_ref().ok_or(Error::Busy)?;
        let Some(producer) = &present.producer else { return Err(closed()) };
        let Some(fault) = self.fault_of(producer) else {
            return Ok(Arc::clone(present));
        };
        tracing::error!(fault, "the Kafka producer is replaced");
        *lock(&self.unanswered) = None;
        metrics::observe_producers_replaced_total();
        if let Some(failed) = slot.take() {
            self.replace(failed);
        }
        Err(Error::Busy)
    }

    /// Closes the failed producer's connections first, so that nothing of it can arrive behind what
    /// the new one appends; then makes the new one.
    fn replace(&self, failed: Arc<Session>) {
        let (options, slot) = (self.options.clone(), Arc::clone(&self.session));
        let is_closed = Arc::clone(&self.is_closed);
        let replacing = std::thread::Builder::new().name("kafka-replace".into());
        let spawned = replacing.spawn(move || {
            close_for_good(failed);
            while !is_closed.load(Ordering::Acquire) {
                match Session::new(&options) {
                    Ok(session) => {
                        *lock(&slot) = Some(Arc::new(session));
                        return;
                    }
                    Err(error) => tracing::warn!(%error, "no new Kafka producer yet"),
                }
                std::thread::sleep(limits::KAFKA_LOG_EVERY);
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to replace the Kafka producer on; restart");
        }
    }

    /// Takes no more appends and waits, within a bound, for those in flight. Blocks.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.credits.close();
        let session = lock(&self.session).clone();
        if let Some(producer) = session.as_ref().and_then(|session| session.producer()) {
            drain(producer);
        }
        *lock(&self.session) = None;
    }
}

/// Drops a producer on this thread, once the appends that are giving it records have let go.
fn close_for_good(mut session: Arc<Session>) {
    loop {
        match Arc::try_unwrap(session) {
            Ok(mut only) => return drop(only.producer.take()),
            Err(shared) => session = shared,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Bytes of appends that wait for credits, counted for as long as this lives.
struct Waiting<'a> {
    total: &'a AtomicUsize,
    cost: usize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn new(total: &'a AtomicUsize, cost: usize) -> Self {
        Self { total, cost, before: total.fetch_add(cost, Ordering::AcqRel) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.total.fetch_sub(self.cost, Ordering::AcqRel);
    }
}

fn closed() -> Error {
    Error::Unavailable("the log is closed".into())
}

/// The producer refused the first record of a batch: nothing was appended.
fn refusal(to: &TopicPartition, error: &KafkaError) -> Error {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::Fatal) => Error::Busy,
        _ => match fault::of_query(&format!("partition {to}"), error) {
            Error::Unavailable(reason) => Error::Refused(reason),
            error => error,
        },
    }
}

/// Bytes of key, headers and value of a record.
pub(crate) fn content_bytes(record: &NewRecord) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    let header = |(name, value): &(String, bytes::Bytes)| {
        name.len() + value.len() + limits::HEADER_OVERHEAD_BYTES
    };
    length(&record.key) + length(&record.value) + record.headers.iter().map(header).sum::<usize>()
}

/// The client ends a header's name at its first zero byte, so such a name would come back changed.
fn check_names(batch: &[NewRecord]) -> Result<()> {
    let mut names = batch.iter().flat_map(|record| &record.headers).map(|(name, _)| name);
    match names.find(|name| name.contains('\0')) {
        Some(name) => Err(Error::Refused(format!("the header name {name:?} has a zero byte"))),
        None => Ok(()),
    }
}

fn kafka_record<'a>(
    to: &'a TopicPartition,
    number: i32,
    record: &'a NewRecord,
    ack: Arc<Batch>,
) -> BaseRecord<'a, [u8], [u8], Arc<Batch>> {
    let mut out = BaseRecord::with_opaque_to(&to.topic, ack).partition(number);
    if let Some(key) = &record.key {
        out = out.key(&key[..]);
    }
    if let Some(value) = &record.value {
        out = out.payload(&value[..]);
    }
    if !record.headers.is_empty() {
        let none = OwnedHeaders::new_with_capacity(record.headers.len());
        out = out.headers(record.headers.iter().fold(none, |headers, (key, value)| {
            headers.insert(Header { key, value: Some(&value[..]) })
        }));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::{
        mocking::MockCluster,
        types::{RDKafkaApiKey, RDKafkaRespErr},
    };

    /// A producer that may not write any more says so with every later record. A log that kept it
    /// would refuse all work until the process is started again.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_producer_that_failed_for_good_is_replaced() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 1, 1).unwrap();
        let forbidden = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED];
        mock.request_errors(RDKafkaApiKey::InitProducerId, &forbidden);
        let writer = Writer::new(&Options::new(mock.bootstrap_servers())).unwrap();
        let record = NewRecord::plain(None, "x");
        let to = TopicPartition::new("t", 0);
        let mut failures = Vec::new();
        loop {
            match writer.append(&to, vec![record.clone()], Urgency::Normal).await {
                Ok(at) => break assert_eq!(at.first_offset, 0, "{failures:?}"),
                Err(error) => failures.push(error),
            }
            assert!(failures.len() < 1000, "{:?}", failures.last());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(failures.contains(&Error::Busy), "it failed: {failures:?}");
    }

    /// A client that has lost its broker for good does not say so: its appends time out, one after another.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_producer_that_is_never_answered_is_replaced() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 1, 1).unwrap();
        let mut writer = Writer::new(&Options::new(mock.bootstrap_servers())).unwrap();
        writer.patience = Duration::from_millis(300);
        let record = NewRecord::plain(None, "x");
        let to = TopicPartition::new("t", 0);
        // A weak reference keeps the address, which the next session could otherwise be given.
        let first = Arc::downgrade(&writer.session().unwrap());
        let unanswered = Err(Error::Unavailable("time is over".into()));
        writer.note_answer(Instant::now(), &unanswered);
        assert!(writer.session().is_ok(), "one may come late");
        tokio::time::sleep(Duration::from_millis(400)).await;
        writer.note_answer(Instant::now(), &unanswered);
        let refused = writer.append(&to, vec![record.clone()], Urgency::Normal).await;
        assert_eq!(refused, Err(Error::Busy), "nothing is taken meanwhile");
        let appended = loop {
            match writer.append(&to, vec![record.clone()], Urgency::Normal).await {
                Err(Error::Busy) => tokio::time::sleep(Duration::from_millis(10)).await,
                answered => break answered,
            }
        };
        assert!(appended.is_ok(), "{appended:?}");
        let second = Arc::downgrade(&writer.session().unwrap());
        assert!(!second.ptr_eq(&first), "it was not replaced");
        // An answer ends the counting.
        writer.note_answer(Instant::now(), &unanswered);
        writer.append(&to, vec![record], Urgency::Normal).await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(second.ptr_eq(&Arc::downgrade(&writer.session().unwrap())), "it was replaced");
    }

    /// The broker says no to a second try as well, of which the first was appended and not heard of.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_refusal_that_may_answer_a_second_try_leaves_the_outcome_open() {
        for (code, certain) in [
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, false),
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD, false),
            (RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, true),
        ] {
            let mock = MockCluster::new(1).unwrap();
            mock.create_topic("t", 1, 1).unwrap();
            let writer = Writer::new(&Options::new(mock.bootstrap_servers())).unwrap();
            let record = NewRecord::plain(None, "x");
            let to = TopicPartition::new("t", 0);
            mock.request_errors(RDKafkaApiKey::Produce, &[code; 4]);
            let error = writer.append(&to, vec![record], Urgency::Normal).await.unwrap_err();
            assert_eq!(!error.is_ambiguous(), certain, "{code:?}: {error:?}");
        }
    }
}
