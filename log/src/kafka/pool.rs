//! The consumers of one log, shared by its readers.
//!
//! A consumer has a partition only once, so a second reader of it sits at another consumer. One
//! helper thread asks the brokers what consumers' threads must not wait for.

use super::{
    consumer::{Notice, Reading},
    gap::{self, Brokers},
    inbox::Inbox,
    lock, metrics,
    options::Options,
    query::Queries,
    suspect::{self, end_all},
};
use crate::{Error, Result, TopicPartition, limits};
use rdkafka::types::RDKafkaErrorCode;
use std::{
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

pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
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

fn help(options: &Options, queries: &Queries, tasks: &Receiver<Task>) {
    while let Ok(task) = tasks.recv() {
        match task {
            Task::Suspect(reading, code) => {
                if let Some(reading) = reading.upgrade() {
                    suspect::find_culprits(&reading, code, queries);
                }
            }
            Task::Quiet(of, inbox, from) => {
                let partition = Brokers { options, queries, of: &of };
                if let Err(error) = gap::look(&partition, &inbox, from) {
                    tracing::debug!(partition = %of, %error, "the end was not looked at");
                    inbox.reached_end();
                }
            }
        }
    }
}
