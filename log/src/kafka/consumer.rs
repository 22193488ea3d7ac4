//! A consumer that reads for several readers, on a thread of its own.
//!
//! Partitions are assigned by hand, each at its reader's offset; no group is involved. The thread
//! polls with a finite time-out, gathers what is there, and hands it over in one batch per reader.

use super::{
    client::{self, Plain, Quiet},
    fault,
    inbox::{Inbox, Wish},
    lock, metrics,
    off_thread::OffThread,
    options::Options,
    record, scan,
};
use crate::{Error, Record, Result, TopicPartition, limits};
use rdkafka::{
    Message, Offset,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::BorrowedMessage,
    types::RDKafkaErrorCode,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::time::Instant;

/// What was gathered in one turn, by partition.
type Gathered = BTreeMap<(String, i32), Vec<Record>>;

/// A consumer and the readers that it serves.
pub(crate) struct Reading {
    consumer: OffThread<BaseConsumer<Plain>>,
    seats: Mutex<Seats>,
    /// Rung with each turn of the thread.
    turned: Condvar,
    stop: AtomicBool,
    quiet: Quiet,
}

#[derive(Default)]
struct Seats {
    by_place: BTreeMap<TopicPartition, Seat>,
    idle_since: Option<Instant>,
    is_closed: bool,
}

struct Seat {
    inbox: Arc<Inbox>,
    /// The reader has gone. The thread gives the partition up between two polls, when it has no
    /// record of it in its hands; only then may the next reader have it.
    is_left: bool,
}

/// What the thread wants looked into elsewhere, since the answer takes a question to the brokers.
pub(crate) enum Notice {
    /// The client says that something is wrong with a partition, and not with which one.
    Suspect(RDKafkaErrorCode),
    /// A quiet partition may end in offsets that hold no record, from here on.
    Quiet(TopicPartition, Arc<Inbox>, u64),
}

impl Reading {
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let consumer: BaseConsumer<Plain> = client::fetching(options)
            .create_with_context(Plain::default())
            .map_err(|error| client::not_made(&error))?;
        Ok(Self {
            consumer: OffThread::new(consumer),
            seats: Mutex::default(),
            turned: Condvar::new(),
            stop: AtomicBool::new(false),
            quiet: Quiet::default(),
        })
    }

    /// Takes a reader, unless another one of the same partition is here or the thread has ended.
    /// Blocks for a moment.
    pub(crate) fn seat(&self, of: &TopicPartition, inbox: &Arc<Inbox>) -> Result<bool> {
        let mut seats = lock(&self.seats);
        while !seats.is_closed && seats.by_place.get(of).is_some_and(|seat| seat.is_left) {
            seats = self.turned.wait(seats).unwrap_or_else(PoisonError::into_inner);
        }
        if seats.is_closed || seats.by_place.contains_key(of) {
            return Ok(false);
        }
        let at = scan::one(of, offset(inbox.next_offset())?)?;
        self.consumer.incremental_assign(&at).map_err(|error| not_assigned(of, &error))?;
        let inbox = Arc::clone(inbox);
        seats.by_place.insert(of.clone(), Seat { inbox, is_left: false });
        Ok(true)
    }

    /// Gives a reader's partition up, with the thread's next turn.
    pub(crate) fn leave(&self, of: &TopicPartition) {
        if let Some(seat) = lock(&self.seats).by_place.get_mut(of) {
            seat.is_left = true;
        }
    }

    /// The readers here.
    pub(crate) fn inboxes(&self) -> Vec<(TopicPartition, Arc<Inbox>)> {
        let seats = lock(&self.seats);
        seats.by_place.iter().map(|(of, seat)| (of.clone(), Arc::clone(&seat.inbox))).collect()
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// The thread's work, until it is told to stop or has had no reader for a while.
    pub(crate) fn run(&self, notify: impl Fn(Notice)) {
        let _ended = Ended(self);
        let mut looked = Instant::now();
        loop {
            let (gathered, ends) = self.gather(&notify);
            let mut seats = lock(&self.seats);
            hand_over(&seats, gathered, &ends);
            self.clear_left(&mut seats);
            self.make_room(&seats);
            if looked.elapsed() >= limits::KAFKA_GAP_CHECK {
                looked = Instant::now();
                look_for_gaps(&seats, &notify);
            }
            let is_over = self.stop.load(Ordering::Acquire) || is_idle(&mut seats);
            if is_over {
                close(&mut seats);
            }
            drop(seats);
            self.turned.notify_all();
            if is_over {
                return;
            }
        }
    }

    /// Waits for a record, then takes what else is there already.
    fn gather(&self, notify: &impl Fn(Notice)) -> (Gathered, Vec<i32>) {
        let (mut gathered, mut ends) = (Gathered::new(), Vec::new());
        let (mut records, mut bytes) = (0, 0);
        let mut wait = limits::KAFKA_POLL;
        while records < limits::KAFKA_GATHER_RECORDS && bytes < limits::KAFKA_GATHER_BYTES {
            match self.consumer.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    records += 1;
                    bytes += keep(&mut gathered, &message);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => ends.push(partition),
                Some(Err(error)) => self.trouble(&error, notify),
            }
            wait = std::time::Duration::ZERO;
        }
        (gathered, ends)
    }

    fn trouble(&self, error: &KafkaError, notify: &impl Fn(Notice)) {
        let Some(code) = error.rdkafka_error_code() else { return };
        let is_about_a_place = fault::is_missing(code)
            || code == RDKafkaErrorCode::TopicAuthorizationFailed
            || code == RDKafkaErrorCode::AutoOffsetReset
            || code == RDKafkaErrorCode::OffsetOutOfRange;
        if is_about_a_place {
            notify(Notice::Suspect(code));
        } else if self.quiet.may_speak() {
            // The client connects again by itself, and readers wait meanwhile.
            tracing::warn!(%error, "reading from Kafka");
        }
    }

    fn clear_left(&self, seats: &mut Seats) {
        let left: Vec<_> = seats.by_place.extract_if(.., |_, seat| seat.is_left).collect();
        for (of, _) in left {
            let list = scan::one(&of, Offset::Invalid);
            if let Ok(Err(error)) = list.map(|list| self.consumer.incremental_unassign(&list)) {
                // It was put aside before, and is not assigned.
                tracing::debug!(partition = %of, %error, "not assigned");
            }
        }
    }

    /// Puts partitions of full readers aside, and fetches those of emptied ones again. Unlike
    /// pausing, assigning anew says exactly from which offset.
    fn make_room(&self, seats: &Seats) {
        for (of, Seat { inbox, .. }) in &seats.by_place {
            let outcome = match inbox.wish() {
                Wish::Stay => continue,
                Wish::PutAside => scan::one(of, Offset::Invalid)
                    .map(|list| self.consumer.incremental_unassign(&list)),
                Wish::FetchFrom(next) => offset(next)
                    .and_then(|at| scan::one(of, at))
                    .map(|list| self.consumer.incremental_assign(&list)),
            };
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(error)) => inbox.end(not_assigned(of, &error)),
                Err(error) => inbox.end(error),
            }
        }
    }
}

/// Lets nobody wait for a thread that has ended, even by a panic.
struct Ended<'a>(&'a Reading);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        close(&mut lock(&self.0.seats));
        self.0.turned.notify_all();
    }
}

fn keep(gathered: &mut Gathered, message: &BorrowedMessage<'_>) -> usize {
    let Some(record) = record::of_message(message) else { return 0 };
    let bytes = super::inbox::weight(&record);
    let place = (message.topic().to_owned(), message.partition());
    gathered.entry(place).or_default().push(record);
    bytes
}

fn hand_over(seats: &Seats, gathered: Gathered, ends: &[i32]) {
    for ((topic, partition), records) in gathered {
        let Ok(partition) = u32::try_from(partition) else { continue };
        let of = TopicPartition::new(topic, partition);
        if let Some(seat) = seats.by_place.get(&of) {
            metrics::observe_read_records_total(&of, records.len());
            seat.inbox.put(records);
        }
    }
    // An end names no topic. Looking at a partition too often does no harm.
    for (of, Seat { inbox, .. }) in &seats.by_place {
        if ends.iter().any(|end| u32::try_from(*end) == Ok(of.partition)) {
            inbox.reached_end();
        }
    }
}

fn look_for_gaps(seats: &Seats, notify: &impl Fn(Notice)) {
    for (of, Seat { inbox, .. }) in &seats.by_place {
        if let Some(from) = inbox.quiet_from() {
            notify(Notice::Quiet(of.clone(), Arc::clone(inbox), from));
        }
    }
}

fn is_idle(seats: &mut Seats) -> bool {
    if !seats.by_place.is_empty() {
        seats.idle_since = None;
        return false;
    }
    seats.idle_since.get_or_insert_with(Instant::now).elapsed() >= limits::KAFKA_CONSUMER_IDLE
}

fn close(seats: &mut Seats) {
    seats.is_closed = true;
    for seat in seats.by_place.values() {
        seat.inbox.end(Error::Unavailable("the reader was closed with its log".into()));
    }
}

fn offset(at: u64) -> Result<Offset> {
    let at = i64::try_from(at).map_err(|_| Error::Missing(format!("offset {at}")))?;
    Ok(Offset::Offset(at))
}

fn not_assigned(of: &TopicPartition, error: &KafkaError) -> Error {
    Error::Unavailable(format!("partition {of} cannot be read now: {error}"))
}
