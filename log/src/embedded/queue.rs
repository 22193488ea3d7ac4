//! Batches that wait for the committer: a bounded queue from many callers to one.

use super::{entry::Prepared, lock};
use crate::{Appended, Error, Result, Urgency, limits::GROUP_BYTES};
use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
};
use tokio::sync::{Notify, oneshot};

/// A batch and the caller who waits for it.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The encoded batch.
    pub(crate) batch: Prepared,
    /// Whether it may use the head-room.
    pub(crate) urgency: Urgency,
    /// Where the outcome goes; the caller may have left.
    pub(crate) reply: oneshot::Sender<Result<Appended>>,
}

/// The queue of one partition.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Wakes a committer that is a thread.
    arrived: Condvar,
    /// Wakes a committer that is a task.
    notify: Notify,
    limit_records: usize,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Pending>,
    records: usize,
    cost_bytes: usize,
    /// Why nothing more is taken, once that is so.
    ended: Option<Error>,
}

impl Queue {
    /// An empty queue. A batch larger than the limits still passes when nothing else waits.
    pub(crate) fn new(limit_records: usize, limit_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            notify: Notify::new(),
            limit_records,
            limit_bytes,
        }
    }

    /// Adds a batch, or says why not.
    pub(crate) fn push(&self, pending: Pending) -> Result<()> {
        let mut state = lock(&self.state);
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        let records = state.records + pending.batch.records.len();
        let cost_bytes = state.cost_bytes + pending.batch.cost_bytes;
        let over = records > self.limit_records || cost_bytes > self.limit_bytes;
        if over && !state.waiting.is_empty() {
            return Err(Error::Busy);
        }
        state.records = records;
        state.cost_bytes = cost_bytes;
        state.waiting.push_back(pending);
        drop(state);
        self.arrived.notify_one();
        self.notify.notify_one();
        Ok(())
    }

    /// Waits for a group on this thread; `None` when the queue has ended and is empty.
    pub(crate) fn wait_blocking(&self) -> Option<Vec<Pending>> {
        let mut state = lock(&self.state);
        loop {
            if !state.waiting.is_empty() {
                return Some(state.take_group());
            }
            if state.ended.is_some() {
                return None;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for a group in a task; `None` when the queue has ended and is empty.
    pub(crate) async fn wait(&self) -> Option<Vec<Pending>> {
        loop {
            {
                let mut state = lock(&self.state);
                if !state.waiting.is_empty() {
                    return Some(state.take_group());
                }
                if state.ended.is_some() {
                    return None;
                }
            }
            self.notify.notified().await;
        }
    }

    /// Takes nothing more; what waits is still committed.
    pub(crate) fn close(&self, why: Error) {
        lock(&self.state).ended.get_or_insert(why);
        self.arrived.notify_all();
        self.notify.notify_one();
    }

    /// Takes nothing more and refuses what waits.
    pub(crate) fn abandon(&self, why: &Error) {
        let mut state = lock(&self.state);
        state.ended.get_or_insert_with(|| why.clone());
        let waiting = std::mem::take(&mut state.waiting);
        (state.records, state.cost_bytes) = (0, 0);
        drop(state);
        for pending in waiting {
            // A caller that left does not want the answer.
            let _ = pending.reply.send(Err(why.clone()));
        }
        self.arrived.notify_all();
        self.notify.notify_one();
    }
}

impl State {
    /// The oldest batches, up to the bytes of one group; a larger batch alone, and never a part of one.
    fn take_group(&mut self) -> Vec<Pending> {
        let mut bytes = 0;
        let fitting = |pending: &&Pending| {
            let is_first = bytes == 0;
            bytes += pending.batch.cost_bytes;
            is_first || bytes <= GROUP_BYTES
        };
        let count = self.waiting.iter().take_while(fitting).count();
        let group: Vec<_> = self.waiting.drain(..count).collect();
        for pending in &group {
            self.records -= pending.batch.records.len();
            self.cost_bytes -= pending.batch.cost_bytes;
        }
        group
    }
}
