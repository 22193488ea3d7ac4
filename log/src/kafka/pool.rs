//! The consumers of one log, shared by its readers.
//!
//! A consumer has a partition only once, so a second reader of it sits at another consumer. One
//! helper thread asks the brokers what consumers' threads must not wait for.

use super::{
    consumer::{Notice, Reading},
    inbox::Inbox,
    lock, metrics,
    options::Options,
    query::Queries,
    scan,
};
use crate::{Error, Result, TopicPartition, limits};
use rdkafka::{Message, Offset, types::RDKafkaErrorCode};
use std::{
    ops::ControlFlow,
    sync::{
        Arc, Mutex, Weak,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
};

/// The consumers of one log.
pub(crate) struct Pool {
    options: Options,
    state: Mutex<State>,
    tasks: SyncSender<Task>,
}

#[derive(Default)]
struct State {
    readings: Vec<Arc<Reading>>,
    threads: Vec<JoinHandle<()>>,
    is_closed: bool,
}

/// Something for the helper to look into.
enum Task {
    Suspect(Weak<Reading>, RDKafkaErrorCode),
    Quiet(TopicPartition, Arc<Inbox>, u64),
}

/// A reader's place at a consumer. Dropping it gives the partition up.
pub(crate) struct Place {
    reading: Weak<Reading>,
    of: TopicPartition,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(reading) = self.reading.upgrade() {
            reading.leave(&self.of);
        }
    }
}

impl Pool {
    pub(crate) fn new(options: &Options, queries: &Arc<Queries>) -> Result<Arc<Self>> {
        let (tasks, list) = sync_channel(limits::KAFKA_TASKS);
        let (asked, queries) = (options.clone(), Arc::clone(queries));
        // The helper ends when the pool and all consumers' threads have gone.
        spawn("kafka-helper", move || help(&asked, &queries, &list))?;
        Ok(Arc::new(Self { options: options.clone(), state: Mutex::default(), tasks }))
    }

    /// Finds a consumer for a reader of a partition. Blocks for a moment.
    pub(crate) fn seat(self: &Arc<Self>, of: &TopicPartition, inbox: &Arc<Inbox>) -> Result<Place> {
        loop {
            let readings = lock(&self.state).readings.clone();
            for reading in &readings {
                if reading.seat(of, inbox)? {
                    return Ok(Place { reading: Arc::downgrade(reading), of: of.clone() });
                }
            }
            self.add()?;
        }
    }

    /// Starts one more consumer.
    fn add(self: &Arc<Self>) -> Result<()> {
        let reading = Arc::new(Reading::new(&self.options)?);
        let mut state = lock(&self.state);
        if state.is_closed {
            return Err(Error::Unavailable("the log is closed".into()));
        }
        if state.readings.len() >= limits::KAFKA_CONSUMERS {
            let most = limits::KAFKA_CONSUMERS;
            return Err(Error::Unavailable(format!(
                "{most} readers of one partition are the most"
            )));
        }
        let (own, tasks, pool) = (Arc::clone(&reading), self.tasks.clone(), Arc::downgrade(self));
        let thread = spawn("kafka-read", move || {
            own.run(|notice| pass_on(&own, &tasks, notice));
            if let Some(pool) = pool.upgrade() {
                pool.forget(&own);
            }
        })?;
        state.readings.push(reading);
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
        metrics::observe_consumers(state.readings.len());
        Ok(())
    }

    fn forget(&self, gone: &Arc<Reading>) {
        let mut state = lock(&self.state);
        state.readings.retain(|reading| !Arc::ptr_eq(reading, gone));
        metrics::observe_consumers(state.readings.len());
    }

    /// Ends all readers and waits for the threads, which look up often. Blocks.
    pub(crate) fn close(&self) {
        let threads = {
            let mut state = lock(&self.state);
            state.is_closed = true;
            state.readings.iter().for_each(|reading| reading.stop());
            std::mem::take(&mut state.threads)
        };
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a Kafka reading thread panicked");
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.state).readings.iter().for_each(|reading| reading.stop());
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let spawned = Builder::new().name(name.into()).spawn(work);
    spawned.map_err(|error| Error::Unavailable(format!("no thread for {name}: {error}")))
}

fn pass_on(reading: &Arc<Reading>, tasks: &SyncSender<Task>, notice: Notice) {
    match notice {
        Notice::Suspect(code) => {
            let task = Task::Suspect(Arc::downgrade(reading), code);
            if tasks.try_send(task).is_err() {
                end_all(reading, "a partition is in trouble and nobody can look into it now");
            }
        }
        Notice::Quiet(of, inbox, from) => {
            if tasks.try_send(Task::Quiet(of, Arc::clone(&inbox), from)).is_err() {
                inbox.reached_end();
            }
        }
    }
}

fn end_all(reading: &Reading, why: &str) {
    for (of, inbox) in reading.inboxes() {
        inbox.end(Error::Unavailable(format!("partition {of}: {why}")));
    }
}

fn help(options: &Options, queries: &Queries, tasks: &Receiver<Task>) {
    while let Ok(task) = tasks.recv() {
        match task {
            Task::Suspect(reading, code) => {
                if let Some(reading) = reading.upgrade() {
                    find_culprits(&reading, code, queries);
                }
            }
            Task::Quiet(of, inbox, from) => {
                if let Err(error) = pass_gap(options, queries, &of, &inbox, from) {
                    tracing::debug!(partition = %of, %error, "the end was not looked at");
                    inbox.reached_end();
                }
            }
        }
    }
}

/// Ends the readers whose topic or offset is gone. The client's error does not say which they are.
fn find_culprits(reading: &Reading, code: RDKafkaErrorCode, queries: &Queries) {
    let mut found = false;
    for (of, inbox) in reading.inboxes() {
        let outcome = queries.check_topic(&of.topic).and_then(|()| {
            let (bounds, next) = (queries.bounds(&of)?, inbox.next_offset());
            if (bounds.first..=bounds.end).contains(&next) {
                return Ok(());
            }
            Err(Error::Missing(format!("offset {next} of {of}")))
        });
        if let Err(error) = outcome {
            found = true;
            inbox.end(error);
        }
    }
    // The client has stopped fetching some partition for good; its reader must not wait for ever.
    if !found
        && matches!(code, RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    {
        end_all(reading, "an offset was out of range for a moment; open the reader again");
    }
}

/// Moves a reader past offsets at the end of its partition that hold no record, such as the marks
/// of transactions. A fetch that began after the end was known and meets no record up to it proves
/// it.
fn pass_gap(
    options: &Options,
    queries: &Queries,
    of: &TopicPartition,
    inbox: &Inbox,
    from: u64,
) -> Result<()> {
    let end = queries.bounds(of)?.end;
    if end <= from {
        return Ok(());
    }
    let start = i64::try_from(from).map_err(|_| Error::Missing(format!("offset {from}")))?;
    let mut empty_to = end;
    scan::to_end(options, of, Offset::Offset(start), |message| {
        empty_to = u64::try_from(message.offset()).map_or(from, |found| found.min(end));
        Ok(ControlFlow::Break(()))
    })?;
    inbox.pass(from, empty_to);
    Ok(())
}
