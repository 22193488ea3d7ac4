//! Threads that own connections, fed by a bounded queue, so that no task ever waits inside SQLite.

use crate::{Error, Result};
use rusqlite::Connection;
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};
use tokio::sync::{mpsc, oneshot};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// One thread per connection; a job goes to the first thread that is free.
#[derive(Debug)]
pub(super) struct Lane {
    /// `None` only while dropped.
    jobs: Option<mpsc::Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Lane {
    pub(super) fn start(name: &str, connections: Vec<Connection>, queue: usize) -> Result<Self> {
        let (jobs, waiting) = mpsc::channel(queue);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut threads = Vec::with_capacity(connections.len());
        for connection in connections {
            let waiting = Arc::clone(&waiting);
            let thread = std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || serve(connection, &waiting))
                .map_err(|error| Error::Unavailable(format!("start thread {name}: {error}")))?;
            threads.push(thread);
        }
        Ok(Self { jobs: Some(jobs), threads })
    }

    /// Runs a job on one of the threads. Waits while the queue is full. A panic of the job goes on
    /// in the caller, since it is a bug that must not look like a slow store.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let gone = || Error::Unavailable("the store's thread has ended".into());
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = catch_unwind(AssertUnwindSafe(|| job(connection)));
            // Nobody waits any more when the caller was dropped; the job is done all the same.
            let _ = reply.send(outcome);
        });
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_| gone())?;
        let outcome: std::result::Result<Result<T>, Box<dyn Any + Send>> =
            answer.await.map_err(|_| gone())?;
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Lane {
    /// Ends the threads and waits for them, so that the file is closed when the store is gone.
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked outside a job");
            }
        }
    }
}

fn serve(mut connection: Connection, waiting: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        // Only one idle thread waits at the queue; the others wait for their turn at the lock.
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        match job {
            Some(job) => job(&mut connection),
            None => return,
        }
    }
}
