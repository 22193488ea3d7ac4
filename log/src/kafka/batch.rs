//! One acknowledgement for a batch: its records' delivery reports are counted, and the caller is
//! woken once.

use super::{fault, lock};
use crate::{Appended, Error, Result, TopicPartition};
use rdkafka::{Message, error::KafkaError, message::BorrowedMessage, types::RDKafkaErrorCode};
use spine_schemas::{fault_points, time::Micros};
use std::sync::Mutex;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A batch on its way to the brokers. Every record of it carries a reference.
pub(crate) struct Batch {
    to: TopicPartition,
    records: usize,
    state: Mutex<State>,
}

struct State {
    /// Records whose delivery report is still to come.
    remaining: usize,
    /// Offsets of those that were acknowledged.
    offsets: Vec<u64>,
    /// The time of the one with the highest offset.
    latest: (u64, Micros),
    /// The first error among the others.
    failure: Option<Failure>,
    /// Whether all the errors so far say that nothing was appended.
    is_certain: bool,
    reply: Option<oneshot::Sender<Result<Appended>>>,
    /// Given back with the last report.
    credit: Option<OwnedSemaphorePermit>,
}

#[derive(Clone)]
enum Failure {
    Code(RDKafkaErrorCode),
    Other(String),
}

impl Batch {
    pub(crate) fn new(
        to: &TopicPartition,
        records: usize,
        credit: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<Appended>>,
    ) -> Self {
        let state = State {
            remaining: records,
            offsets: Vec::with_capacity(records),
            latest: (0, Micros(0)),
            failure: None,
            is_certain: true,
            reply: Some(reply),
            credit: Some(credit),
        };
        Self { to: to.clone(), records, state: Mutex::new(state) }
    }

    /// A delivery report came.
    pub(crate) fn delivered(
        &self,
        report: &std::result::Result<BorrowedMessage<'_>, (KafkaError, BorrowedMessage<'_>)>,
    ) {
        let mut state = lock(&self.state);
        match report {
            Ok(message) => match u64::try_from(message.offset()) {
                Ok(offset) => state.acknowledged(offset, time_of(message)),
                // A repeated request that the broker had forgotten: it is there, who knows where.
                Err(_) => {
                    state.failed(Failure::Other("the broker did not say where it lies".into()));
                }
            },
            Err((error, _)) => state.failed(failure(error)),
        }
        self.settle(state, 1);
    }

    /// The last `count` records were never given to the producer.
    pub(crate) fn not_sent(&self, count: usize, error: &KafkaError) {
        let mut state = lock(&self.state);
        state.failure.get_or_insert_with(|| failure(error));
        self.settle(state, count);
    }

    fn settle(&self, mut state: std::sync::MutexGuard<'_, State>, count: usize) {
        state.remaining -= count;
        if state.remaining > 0 {
            return;
        }
        state.credit = None;
        let reply = state.reply.take();
        let outcome = self.outcome(&mut state);
        drop(state);
        let is_durable = outcome.is_ok();
        if is_durable {
            fault_points::reach("durable");
        }
        if let Some(reply) = reply {
            // Nobody waits any more if the append was dropped.
            let _ = reply.send(outcome);
        }
        if is_durable {
            fault_points::reach("appended");
        }
    }

    fn outcome(&self, state: &mut State) -> Result<Appended> {
        let Some(failure) = &state.failure else {
            state.offsets.sort_unstable();
            return Ok(Appended::at(&state.offsets, state.latest.1));
        };
        let acknowledged = state.offsets.len();
        let what = format!("partition {}", self.to);
        let error = match failure {
            Failure::Code(code) => fault::of_code(&what, *code),
            Failure::Other(reason) => Error::Unavailable(format!("{what}: {reason}")),
        };
        let nothing_there = acknowledged == 0 && state.is_certain;
        if nothing_there && !error.is_ambiguous() {
            return Err(error);
        }
        let records = self.records;
        Err(Error::Unavailable(format!(
            "{error}: {acknowledged} of {records} records were acknowledged, of the others it is \
             not known"
        )))
    }
}

impl State {
    fn acknowledged(&mut self, offset: u64, time: Micros) {
        self.offsets.push(offset);
        self.latest = self.latest.max((offset, time));
    }

    fn failed(&mut self, failure: Failure) {
        self.is_certain &= match &failure {
            Failure::Code(code) => fault::is_certain(*code),
            Failure::Other(_) => false,
        };
        self.failure.get_or_insert(failure);
    }
}

fn failure(error: &KafkaError) -> Failure {
    match error.rdkafka_error_code() {
        Some(code) => Failure::Code(code),
        None => Failure::Other(error.to_string()),
    }
}

/// The time that the log gave to a record.
pub(crate) fn time_of(message: &BorrowedMessage<'_>) -> Micros {
    Micros(message.timestamp().to_millis().unwrap_or(0).saturating_mul(1000))
}
