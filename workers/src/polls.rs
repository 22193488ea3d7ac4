//! Workers that ask for steps of queues: who asks for what, and what the owners of this process grant them.
//!
//! An owner first reserves room in a poll, then decides and appends the start, and tells the poll only when
//! that was read back. A poll that went away before its answer gives back what it was told. Nothing here is
//! durable: what is lost with the process ends by its lease.

#[cfg(test)]
mod tests;

use crate::limits;
use spine_runs::GrantedStep;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// What a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The queue.
    pub queue: String,
    /// Its name.
    pub worker: String,
    /// Most steps that it takes.
    pub max: usize,
    /// How long it has each without a heartbeat.
    pub lease_ms: u64,
    /// The tenants whose steps it takes; `None` for all.
    pub tenants: Option<BTreeSet<String>>,
}

/// The polls of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct Polls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Polls that have room, so that owners need not look for none.
    open: AtomicUsize,
    /// Told when the owner of a partition has something to look at.
    partitions: Box<[Notify]>,
}

#[derive(Debug, Default)]
struct State {
    polls: BTreeMap<u64, Poll>,
    made: u64,
    /// Where steps wait, by queue.
    waiting: BTreeMap<String, Waiting>,
    /// Told to somebody who went before it was answered, by partition.
    returned: BTreeMap<u32, Vec<GrantedStep>>,
    closed: bool,
}

/// The partitions with steps that wait in a queue. Each owner is fair to tenants by itself, and the one that is
/// called first mostly grants all that was asked for: so they are called from another one on each time.
#[derive(Debug, Default)]
struct Waiting {
    partitions: BTreeSet<u32>,
    turn: usize,
}

impl Waiting {
    /// The partitions in the order of the next call.
    fn in_turn(&mut self) -> Vec<u32> {
        let mut order: Vec<u32> = self.partitions.iter().copied().collect();
        let first = self.turn % order.len().max(1);
        order.rotate_left(first);
        self.turn = first + 1;
        order
    }
}

/// A worker's question that is open.
#[derive(Debug)]
struct Poll {
    ask: Ask,
    /// How many more steps it takes.
    room: usize,
    /// Steps whose starts are on their way.
    reserved: usize,
    leases: Vec<GrantedStep>,
    /// Set when its time is over: it takes no more.
    is_over: bool,
    done: Arc<Notify>,
}

impl Poll {
    /// It is answered with the first steps that come, once nothing more is on its way.
    fn tell_if_done(&self) {
        if self.reserved == 0 && (!self.leases.is_empty() || self.is_over) {
            self.done.notify_one();
        }
    }
}

/// What an owner sees of a poll that has room.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) id: u64,
    pub(crate) ask: Ask,
    pub(crate) room: usize,
}

/// Room for one step in a poll. Dropped before it is filled, it is given back.
#[derive(Debug)]
pub(crate) struct Place {
    polls: Polls,
    poll: u64,
    is_filled: bool,
}

impl Polls {
    /// No polls yet, for the owners of so many partitions.
    pub fn new(partitions: u32) -> Self {
        let partitions = (0..partitions).map(|_| Notify::new()).collect();
        Self(Arc::new(Inner { state: Mutex::default(), open: AtomicUsize::new(0), partitions }))
    }

    /// Steps that the owners of this process grant, as soon as there are any; none after `wait`. When the
    /// caller goes before the answer, what was granted is given back.
    pub async fn lease(&self, ask: Ask, wait: Duration) -> Vec<GrantedStep> {
        // Owners need a moment to look, however little time whoever asks has.
        let until = Instant::now() + wait.max(limits::POLL_LEAST);
        let Some(open) = self.open(ask) else { return Vec::new() };
        let _ = timeout_at(until, open.done.notified()).await;
        if self.stop_granting(open.id) {
            // What is on its way into the log is waited for, for a while.
            let _ = timeout_at(Instant::now() + limits::GRANT_PATIENCE, open.done.notified()).await;
        }
        let taken = self.remove(open.id);
        taken.map(|poll| poll.leases).unwrap_or_default()
    }

    /// Whether no poll is answered with anything any more.
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Answers every poll with what it has, and further ones with nothing: the process goes.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        for poll in state.polls.values_mut() {
            self.end(poll);
            poll.tell_if_done();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, ask: Ask) -> Option<Open<'_>> {
        let mut state = self.state();
        if state.closed || ask.max == 0 {
            return None;
        }
        state.made += 1;
        let (id, done) = (state.made, Arc::new(Notify::new()));
        let queue = ask.queue.clone();
        let (room, leases) = (ask.max, Vec::new());
        let poll = Poll { ask, room, reserved: 0, leases, is_over: false, done: done.clone() };
        state.polls.insert(id, poll);
        self.0.open.fetch_add(1, Ordering::Relaxed);
        // Who is called looks at once.
        self.call_waiting(&mut state, &queue);
        Some(Open { polls: self, id, done })
    }

    /// Wakes the owners that have steps in a queue.
    fn call_waiting(&self, state: &mut State, queue: &str) {
        let order = state.waiting.get_mut(queue).map(Waiting::in_turn);
        order.into_iter().flatten().for_each(|partition| self.call(partition));
    }

    fn call(&self, partition: u32) {
        if let Some(owner) = self.0.partitions.get(partition as usize) {
            owner.notify_one();
        }
    }

    /// Takes no more for a poll; says whether something is still on its way to it.
    fn stop_granting(&self, id: u64) -> bool {
        let mut state = self.state();
        let Some(poll) = state.polls.get_mut(&id) else { return false };
        self.end(poll);
        poll.reserved > 0
    }

    fn remove(&self, id: u64) -> Option<Poll> {
        let mut poll = self.state().polls.remove(&id)?;
        self.end(&mut poll);
        Some(poll)
    }

    fn end(&self, poll: &mut Poll) {
        poll.is_over = true;
        self.set_room(poll, 0);
    }

    fn set_room(&self, poll: &mut Poll, room: usize) {
        match (poll.room > 0, room > 0) {
            (false, true) => _ = self.0.open.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.0.open.fetch_sub(1, Ordering::Relaxed),
            (true, true) | (false, false) => {}
        }
        poll.room = room;
    }
}

/// What the owners ask and tell.
impl Polls {
    /// Waits until the owner of a partition has something to look at.
    pub(crate) async fn called(&self, partition: u32) {
        match self.0.partitions.get(partition as usize) {
            Some(owner) => owner.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Says whether a partition has steps that wait in a queue.
    pub(crate) fn set_waiting(&self, queue: &str, partition: u32, waits: bool) {
        let mut state = self.state();
        if waits {
            state.waiting.entry(queue.to_owned()).or_default().partitions.insert(partition);
        } else if let Some(waiting) = state.waiting.get_mut(queue) {
            waiting.partitions.remove(&partition);
            if waiting.partitions.is_empty() {
                state.waiting.remove(queue);
            }
        }
    }

    /// The owner of a partition goes.
    pub(crate) fn leave(&self, partition: u32) {
        self.state().waiting.retain(|_, waiting| {
            waiting.partitions.remove(&partition);
            !waiting.partitions.is_empty()
        });
    }

    /// The polls of some queues that have room, those first that asked first.
    pub(crate) fn asking(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Asking> {
        if self.0.open.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let state = self.state();
        let with_room =
            state.polls.iter().filter(|(_, poll)| poll.room > 0 && is_wanted(&poll.ask.queue));
        with_room
            .map(|(id, poll)| Asking { id: *id, ask: poll.ask.clone(), room: poll.room })
            .collect()
    }

    /// Room for a step in a poll, if it still has any.
    pub(crate) fn reserve(&self, id: u64) -> Option<Place> {
        let mut state = self.state();
        let poll = state.polls.get_mut(&id).filter(|poll| poll.room > 0)?;
        self.set_room(poll, poll.room - 1);
        poll.reserved += 1;
        Some(Place { polls: self.clone(), poll: id, is_filled: false })
    }

    /// What was granted to somebody who went before it was answered.
    pub(crate) fn take_returned(&self, partition: u32) -> Vec<GrantedStep> {
        self.state().returned.remove(&partition).unwrap_or_default()
    }
}

impl Place {
    /// Tells the worker; `false` if it is gone.
    pub(crate) fn deliver(mut self, lease: GrantedStep) -> bool {
        let mut state = self.polls.state();
        let Some(poll) = state.polls.get_mut(&self.poll) else { return false };
        poll.leases.push(lease);
        poll.reserved -= 1;
        poll.tell_if_done();
        drop(state);
        self.is_filled = true;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_filled {
            return;
        }
        let mut state = self.polls.state();
        let Some(poll) = state.polls.get_mut(&self.poll) else { return };
        poll.reserved -= 1;
        if poll.is_over {
            poll.tell_if_done();
            return;
        }
        self.polls.set_room(poll, poll.room + 1);
        poll.tell_if_done();
        let queue = poll.ask.queue.clone();
        self.polls.call_waiting(&mut state, &queue);
    }
}

/// A poll that is open, until it is dropped.
struct Open<'a> {
    polls: &'a Polls,
    id: u64,
    done: Arc<Notify>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let Some(poll) = self.polls.remove(self.id) else { return };
        let mut state = self.polls.state();
        for lease in poll.leases {
            let partition = lease.partition;
            let returned = state.returned.entry(partition).or_default();
            // Beyond that many they end by their lease.
            if returned.len() < limits::RETURNED_LEASES {
                returned.push(lease);
                self.polls.call(partition);
            }
        }
    }
}
