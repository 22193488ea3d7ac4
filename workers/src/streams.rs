//! What attempts say while they run, passed on to those who listen just then: words of a model, progress of a job.
//!
//! It goes past the log and the store. An attempt may say as much as it likes; without listeners nothing is kept, and
//! what waits for a listener has a bound. The owner of the run's partition tells which attempt may speak, so everybody
//! who listens to a run meets whoever speaks for it there. When the owner goes, listeners are sent away: they come back.

mod mailbox;
#[cfg(test)]
mod tests;

use crate::{limits, metrics};
use mailbox::Mailbox;
use spine_runs::{NotLive, Part, RunState, Said, Speakers};
use spine_schemas::{RunKey, StepKey};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use thiserror::Error;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::Instant,
};

/// Why somebody cannot listen here.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ListenError {
    /// There is no such run as far as the owner has read: wait for the answer to the request that starts it.
    #[error("there is no such run")]
    NoRun,
    /// Come back when others have gone.
    #[error("too many listen at this process")]
    Full,
    /// The partition has no owner here, or it goes: ask again.
    #[error("the owner of the partition is not here")]
    NoOwner,
}

/// The listeners of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct Streams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Runs that are listened to, so that owners need not look where there are none.
    heard: AtomicUsize,
    /// Told when somebody wants to listen to a run of a partition.
    partitions: Box<[Notify]>,
    /// Whether the process goes.
    closed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    runs: BTreeMap<RunKey, Heard>,
    /// Those whom the owner has not let in yet, by partition.
    asked: BTreeMap<u32, Vec<Asked>>,
    listeners: usize,
    made: u64,
    /// Until then the store is not asked for runs that somebody would listen to.
    deaf_until: Option<Instant>,
}

/// A run that somebody listens to.
#[derive(Debug)]
struct Heard {
    partition: u32,
    speakers: Speakers,
    mailboxes: BTreeMap<u64, Arc<Mailbox>>,
}

impl Heard {
    fn tell(&self, said: &Said) {
        self.mailboxes.values().for_each(|mailbox| mailbox.put(said.clone()));
    }

    fn close(&self) {
        self.mailboxes.values().for_each(|mailbox| mailbox.close());
    }
}

/// Somebody who wants to listen.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The run.
    pub(crate) run: RunKey,
    place: Place,
    answer: oneshot::Sender<Result<Listener, ListenError>>,
}

/// One of the places of a process, until it is dropped.
#[derive(Debug)]
struct Place {
    streams: Streams,
    id: u64,
    run: RunKey,
}

/// Somebody who listens to a run, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    mailbox: Arc<Mailbox>,
    _place: Place,
}

impl Listener {
    /// What it is told next. After `None` it may ask again, unless the run was said to have ended.
    pub async fn next(&mut self) -> Option<Said> {
        self.mailbox.take().await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.streams.state();
        state.listeners -= 1;
        metrics::observe_listeners(state.listeners);
        let Some(heard) = state.runs.get_mut(&self.run) else { return };
        heard.mailboxes.remove(&self.id);
        if heard.mailboxes.is_empty() {
            state.runs.remove(&self.run);
        }
        self.streams.count(&state);
    }
}

impl Streams {
    /// No listeners yet, for the owners of so many partitions.
    pub fn new(partitions: u32) -> Self {
        let partitions = (0..partitions).map(|_| Notify::new()).collect();
        let (state, heard) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Inner { state, heard, partitions, closed: watch::Sender::new(false) }))
    }

    /// Listens to a run from now on.
    ///
    /// # Errors
    /// [`ListenError`]. Where no owner answers, whoever asks must give up by itself.
    pub async fn listen(&self, partition: u32, run: RunKey) -> Result<Listener, ListenError> {
        let owner = self.0.partitions.get(partition as usize).ok_or(ListenError::NoOwner)?;
        let (answer, answered) = oneshot::channel();
        self.ask(partition, run, answer)?;
        owner.notify_one();
        answered.await.unwrap_or(Err(ListenError::NoOwner))
    }

    /// Passes on what an attempt says; tells how many listen. Whether it may speak is known only where somebody does.
    ///
    /// # Errors
    /// [`NotLive`] for an attempt that is not the one that runs.
    pub fn say(&self, run: &RunKey, part: Part) -> Result<usize, NotLive> {
        let state = self.state();
        let Some(heard) = state.runs.get(run) else {
            metrics::observe_parts("unheard");
            return Ok(0);
        };
        match heard.speakers.check(&part.step, part.attempt) {
            Err(not_live) => {
                metrics::observe_parts("refused");
                Err(not_live)
            }
            Ok(false) => {
                metrics::observe_parts("unheard");
                Ok(0)
            }
            Ok(true) => {
                metrics::observe_parts("passed_on");
                heard.tell(&Said::Part(part));
                Ok(heard.mailboxes.len())
            }
        }
    }

    /// Sends every listener away, and further ones: the process goes.
    pub fn close(&self) {
        self.0.closed.send_replace(true);
        (0..self.0.partitions.len() as u32).for_each(|partition| self.leave(partition));
    }

    /// Waits until the process goes.
    pub async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.closed.subscribe().wait_for(|closed| *closed).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(
        &self,
        partition: u32,
        run: RunKey,
        answer: oneshot::Sender<Result<Listener, ListenError>>,
    ) -> Result<(), ListenError> {
        self.forget_gone();
        let mut state = self.state();
        if *self.0.closed.borrow() {
            return Err(ListenError::NoOwner);
        }
        if state.listeners >= limits::LISTENERS {
            return Err(ListenError::Full);
        }
        state.listeners += 1;
        state.made += 1;
        metrics::observe_listeners(state.listeners);
        let place = Place { streams: self.clone(), id: state.made, run: run.clone() };
        state.asked.entry(partition).or_default().push(Asked { run, place, answer });
        Ok(())
    }

    /// Those who went before an owner came have places no more.
    fn forget_gone(&self) {
        let mut gone = Vec::new();
        for asked in self.state().asked.values_mut() {
            gone.extend(asked.extract_if(.., |asked| asked.answer.is_closed()));
        }
    }

    fn count(&self, state: &State) {
        self.0.heard.store(state.runs.len(), Ordering::Relaxed);
    }
}

/// What the owners ask and tell.
impl Streams {
    /// Waits until somebody wants to listen to a run of a partition.
    pub(crate) async fn asked(&self, partition: u32) {
        match self.0.partitions.get(partition as usize) {
            Some(owner) => owner.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Those who want to.
    pub(crate) fn take_asked(&self, partition: u32) -> Vec<Asked> {
        self.state().asked.remove(&partition).unwrap_or_default()
    }

    /// Lets somebody listen to a run as it stands now.
    pub(crate) fn admit(&self, partition: u32, asked: Asked, run: Option<&RunState>) {
        let Asked { run: key, place, answer } = asked;
        let Some(run) = run else {
            // Whoever asked may be gone already.
            let _ = answer.send(Err(ListenError::NoRun));
            return;
        };
        let mailbox = Arc::new(Mailbox::default());
        let speakers = Speakers::of(run);
        mailbox.put(speakers.greeting(run.status));
        if run.is_open() {
            let mut state = self.state();
            if *self.0.closed.borrow() {
                // Dropped without an answer, once the lock is free.
                drop(state);
                return;
            }
            let mailboxes = BTreeMap::new();
            let heard = state.runs.entry(key).or_insert(Heard { partition, speakers, mailboxes });
            heard.mailboxes.insert(place.id, mailbox.clone());
            self.count(&state);
        } else {
            mailbox.put(Said::RunEnded(run.status));
            mailbox.close();
        }
        let _ = answer.send(Ok(Listener { mailbox, _place: place }));
    }

    /// The store did not answer when it was asked for somebody who would listen.
    pub(crate) fn be_deaf(&self) {
        self.state().deaf_until = Some(Instant::now() + limits::DEAF);
    }

    /// Whether that was a moment ago.
    pub(crate) fn is_deaf(&self) -> bool {
        self.state().deaf_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether nobody listens at all.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.heard.load(Ordering::Relaxed) == 0
    }

    /// Tells those who listen what an event did to a run; `changed` is the step that it is about.
    pub(crate) fn follow(&self, run: &RunState, changed: Option<&StepKey>) {
        let mut state = self.state();
        let Some(heard) = state.runs.get_mut(&run.key) else { return };
        for said in heard.speakers.follow(run, changed) {
            heard.tell(&said);
        }
        if !run.is_open() {
            heard.close();
            state.runs.remove(&run.key);
            self.count(&state);
        }
    }

    /// The owner of a partition goes, and with it everybody who listened there.
    pub(crate) fn leave(&self, partition: u32) {
        let mut state = self.state();
        let asked = state.asked.remove(&partition);
        state.runs.retain(|_, heard| {
            let stays = heard.partition != partition;
            if !stays {
                heard.close();
            }
            stays
        });
        self.count(&state);
        drop(state);
        // Their places are given back without the lock.
        drop(asked);
    }
}
