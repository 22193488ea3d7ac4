//! Who runs a committer: a thread of its own in production, a task in a simulation.

use super::{committer::Committer, lock, partition::Partition};
use crate::{Error, Result};
use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex},
    thread,
};
use tokio::{sync::watch, task};

/// How the log does its blocking work.
#[derive(Clone)]
pub enum Driver {
    /// One thread per partition that is appended to, begun at its first append; reads of files run
    /// on Tokio's blocking threads.
    Thread,
    /// Everything runs in tasks of the current runtime, which blocks meanwhile: for simulations.
    Task {
        /// Awaited at each stage of each commit, so that commits take simulated time.
        latency: Option<Latency>,
    },
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread => "Thread",
            Self::Task { .. } => "Task",
        })
    }
}

/// Simulated time for a stage of a commit.
pub type Latency =
    Arc<dyn Fn(CommitStage) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// Where a commit group stands when it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitStage {
    /// In the file, not yet durable.
    Written,
    /// Durable, not yet seen by any reader or caller.
    Synced,
}

/// Where blocking reads run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// On Tokio's blocking threads.
    OffThread,
    /// Where they are called.
    Inline,
}

impl Runs {
    /// The place that belongs to a driver.
    pub(crate) fn of(driver: &Driver) -> Self {
        match driver {
            Driver::Thread => Self::OffThread,
            Driver::Task { .. } => Self::Inline,
        }
    }

    /// Begins a job that may wait for the disk, if such jobs go on beside the caller.
    pub(crate) fn begin<T: Send + 'static, J: FnOnce() -> T + Send + 'static>(
        self,
        job: impl FnOnce() -> J,
    ) -> Option<task::JoinHandle<T>> {
        match self {
            Self::Inline => None,
            Self::OffThread => Some(task::spawn_blocking(job())),
        }
    }

    /// Runs a job that may wait for the disk.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::Inline => job(),
            Self::OffThread => match task::spawn_blocking(job).await {
                Ok(outcome) => outcome,
                Err(error) => Err(Error::Unavailable(format!("a read did not finish: {error}"))),
            },
        }
    }
}

/// A partition's committer: at rest until the first append, then running until the log closes.
pub(crate) struct Seat {
    /// The partition.
    pub(crate) partition: Arc<Partition>,
    state: Mutex<State>,
    finished: watch::Sender<bool>,
}

enum State {
    AtRest(Box<Committer>),
    Thread(thread::JoinHandle<()>),
    Task(task::JoinHandle<()>),
    Gone,
}

impl Seat {
    /// A committer at rest.
    pub(crate) fn new(committer: Committer) -> Self {
        Self {
            partition: Arc::clone(&committer.partition),
            state: Mutex::new(State::AtRest(Box::new(committer))),
            finished: watch::Sender::new(false),
        }
    }

    /// A partition that nobody here writes.
    pub(crate) fn for_reading(partition: Arc<Partition>) -> Self {
        partition.queue.close(Error::Refused("the log was opened for reading only".into()));
        Self { partition, state: Mutex::new(State::Gone), finished: watch::Sender::new(true) }
    }

    /// Sets the committer to work, if it is at rest.
    pub(crate) fn start(&self, driver: &Driver) -> Result<()> {
        let mut state = lock(&self.state);
        if !matches!(*state, State::AtRest(_)) {
            return Ok(());
        }
        let State::AtRest(committer) = std::mem::replace(&mut *state, State::Gone) else {
            return Ok(());
        };
        let guard =
            Guard { partition: Arc::clone(&self.partition), finished: self.finished.clone() };
        *state = match driver {
            Driver::Thread => State::Thread(spawn(*committer, guard).map_err(|error| {
                self.partition.shared.poison(format!("could not start a committer: {error}"))
            })?),
            Driver::Task { latency } => {
                State::Task(task::spawn(run_task(*committer, latency.clone(), guard)))
            }
        };
        Ok(())
    }

    /// Takes no more batches, and waits until those that wait are committed.
    pub(crate) async fn close(&self) {
        self.partition.queue.close(closed());
        if self.is_running_or_leaves() {
            // The sender is ours, so this ends only when the committer has.
            let _ = self.finished.subscribe().wait_for(|finished| *finished).await;
        }
        self.partition.end_readers(&closed());
    }

    /// Whether a committer is running; one at rest leaves. All in one look, since the log may be closed twice at
    /// once, and a first append may have queued its batch and not started the committer yet.
    fn is_running_or_leaves(&self) -> bool {
        let mut state = lock(&self.state);
        match std::mem::replace(&mut *state, State::Gone) {
            State::AtRest(committer) => {
                committer.leave();
                self.partition.queue.abandon(&closed());
                false
            }
            State::Gone => false,
            running @ (State::Thread(_) | State::Task(_)) => {
                *state = running;
                true
            }
        }
    }
}

impl Drop for Seat {
    /// A dropped log finishes what waits for its threads, and abandons its tasks: a simulation that
    /// drops a log means a killed process.
    fn drop(&mut self) {
        self.partition.queue.close(closed());
        match std::mem::replace(&mut *lock(&self.state), State::Gone) {
            State::Thread(thread) => {
                // A panic of the committer has poisoned the log and been reported already.
                let _ = thread.join();
            }
            State::Task(task) => task.abort(),
            State::AtRest(committer) if self.partition.shared.runs == Runs::OffThread => {
                committer.leave();
            }
            State::AtRest(_) | State::Gone => {}
        }
        self.partition.queue.abandon(&closed());
        self.partition.end_readers(&closed());
    }
}

fn closed() -> Error {
    Error::Unavailable("the log is closed".into())
}

/// Tells that a committer ended, answers whoever still waits for it, and poisons the log if it
/// ended by a panic.
struct Guard {
    partition: Arc<Partition>,
    finished: watch::Sender<bool>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.partition.shared.poison("the committer panicked".into());
        }
        self.partition.queue.abandon(&closed());
        self.finished.send_replace(true);
    }
}

fn spawn(mut committer: Committer, guard: Guard) -> io::Result<thread::JoinHandle<()>> {
    let name = format!("log-{}", committer.partition.name);
    thread::Builder::new().name(name).spawn(move || {
        let _guard = guard;
        while let Some(waiting) = committer.partition.queue.wait_blocking() {
            if let Some(group) = committer.write(waiting)
                && let Some(group) = committer.sync(group)
            {
                committer.publish(group);
            }
        }
        committer.leave();
    })
}

async fn run_task(mut committer: Committer, latency: Option<Latency>, guard: Guard) {
    let _guard = guard;
    let wait = async |stage| {
        if let Some(latency) = &latency {
            latency(stage).await;
        }
    };
    let partition = Arc::clone(&committer.partition);
    while let Some(waiting) = partition.queue.wait().await {
        let Some(group) = committer.write(waiting) else {
            continue;
        };
        wait(CommitStage::Written).await;
        let Some(group) = committer.sync(group) else {
            continue;
        };
        wait(CommitStage::Synced).await;
        committer.publish(group);
    }
    committer.leave();
}
