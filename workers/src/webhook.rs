//! Webhooks: each transition of the lifecycle topic is posted to an address, once it is there and until
//! the address has taken it.
//!
//! A webhook is a consumer group of the topic and knows nothing of owners, so one that is dead slows
//! nobody. Records of a partition are posted in their order, one at a time. What was taken is kept some
//! moments later, so after a crash the newest are posted again: whoever listens tells them by their id.

mod delivery;

use crate::{
    Result, limits,
    tools::{Allowed, HttpTools},
};
use delivery::{Delivery, Receiver};
use futures::future::join_all;
use spine_log::{Change, EventLog, GroupMember, TopicPartition};
use spine_schemas::{Digest, Transition};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

/// What a webhook is told by its operator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where transitions are posted to.
    pub url: String,
    /// Which are; all where none is named.
    pub kinds: BTreeSet<Transition>,
    /// Where the process may post to.
    pub allowed: Allowed,
}

/// One webhook of a process.
pub struct Webhook<L> {
    log: L,
    topic: Arc<str>,
    group: String,
    receiver: Arc<Receiver>,
    /// Where the partitions ended when the process began: from there on a new webhook hears.
    ends: Vec<u64>,
}

impl<L: EventLog> Webhook<L> {
    /// Looks where the topic ends now. Whatever comes later is posted, also by a webhook that is new.
    /// `groups` is what the names of groups begin with; the rest follows from the address.
    ///
    /// # Errors
    /// When the log cannot be asked, or the address may not be posted to.
    pub async fn open(log: L, topic: &str, groups: &str, settings: Settings) -> Result<Self> {
        let mut ends = Vec::new();
        for partition in 0..log.partitions(topic).await? {
            ends.push(log.bounds(&TopicPartition::new(topic, partition)).await?.end);
        }
        let Settings { url, kinds, allowed } = settings;
        let id = Digest::of_bytes(url.as_bytes()).to_string();
        let group = format!("{groups}.{}", &id[..16]);
        let tools = HttpTools::new(allowed);
        let receiver = Arc::new(Receiver::new(url, kinds, tools));
        Ok(Self { log, topic: topic.into(), group, receiver, ends })
    }

    /// Posts until told to stop. Trouble with the log is waited out.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut pause = limits::RETRY_FIRST;
        while !*stop.borrow() {
            let began = Instant::now();
            let joined = tokio::select! {
                biased;
                () = told_to_stop(&mut stop) => return,
                joined = self.log.join(&self.topic, &self.group) => joined,
            };
            let ended = match joined {
                Ok(member) => self.serve(member, &mut stop).await,
                Err(error) => Err(error),
            };
            let Err(error) = ended else { return };
            tracing::warn!(webhook = self.receiver.name(), %error, "transitions cannot be posted now");
            if began.elapsed() >= limits::HEALTHY {
                pause = limits::RETRY_FIRST;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::RETRY_MOST);
        }
    }

    async fn serve(
        &self,
        mut member: L::Member,
        stop: &mut watch::Receiver<bool>,
    ) -> spine_log::Result<()> {
        let mut work = Work { tasks: JoinSet::new(), places: BTreeMap::new() };
        let mut ticks = interval(limits::WEBHOOK_KEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = told_to_stop(stop) => return work.keep(&member).await,
                _ = ticks.tick() => work.keep(&member).await?,
                Some(delivery) = work.tasks.join_next() => ended(delivery)?,
                change = member.next() => match change? {
                    Change::Gained(partition) => self.gained(&member, &mut work, partition).await?,
                    Change::Lost { partition, release } => {
                        if let Some(place) = work.places.remove(&partition) {
                            place.task.abort();
                        }
                        drop(release);
                    }
                },
            }
        }
    }

    async fn gained(
        &self,
        member: &L::Member,
        work: &mut Work,
        partition: u32,
    ) -> spine_log::Result<()> {
        let at = TopicPartition::new(Arc::clone(&self.topic), partition);
        let bounds = self.log.bounds(&at).await?;
        let next = match member.kept(partition).await? {
            Some(next) => next,
            None => {
                let end = self.ends.get(partition as usize).copied().unwrap_or(bounds.end);
                // From now on it is not new any more, whatever becomes of this process.
                match keep_first(member, partition, end).await {
                    Ok(()) => end,
                    Err(spine_log::Error::Missing(_)) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        let next = next.clamp(bounds.first, bounds.end);
        let reader = self.log.reader(&at, next).await?;
        let (taken, taken_up_to) = watch::channel(next);
        let delivery = Delivery {
            log: self.log.clone(),
            at,
            reader,
            receiver: Arc::clone(&self.receiver),
            taken,
        };
        let task = work.tasks.spawn(delivery.run());
        work.places.insert(partition, Place { task, next: taken_up_to, kept: next });
        Ok(())
    }
}

/// Keeps where a partition begins for a new webhook. A group that is being dealt out takes nothing for a moment.
async fn keep_first<M: GroupMember>(
    member: &M,
    partition: u32,
    next: u64,
) -> spine_log::Result<()> {
    let mut pause = limits::RETRY_FIRST;
    loop {
        match member.keep(partition, next).await {
            Err(error) if error.is_retryable() && pause < limits::RETRY_MOST => {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            kept => return kept,
        }
    }
}

/// A delivery ends when its partition is lost, which is no news. One that ended by a bug is begun anew with all others.
fn ended(delivery: std::result::Result<(), JoinError>) -> spine_log::Result<()> {
    match delivery {
        Err(error) if error.is_panic() => {
            let why = format!("a delivery of transitions ended by a bug: {error}");
            Err(spine_log::Error::Unavailable(why))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns when the process is told to stop, or when nobody can tell it any more.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The partitions of one member. Their tasks end with it.
struct Work {
    tasks: JoinSet<()>,
    places: BTreeMap<u32, Place>,
}

struct Place {
    task: AbortHandle,
    /// The next offset to be posted. Whoever posts never waits until it is kept.
    next: watch::Receiver<u64>,
    /// What was kept of that.
    kept: u64,
}

impl Work {
    async fn keep<M: GroupMember>(&mut self, member: &M) -> spine_log::Result<()> {
        let keeping = self.places.iter().map(|(partition, place)| async move {
            let next = *place.next.borrow();
            let kept = if next > place.kept {
                member.keep(*partition, next).await
            } else {
                // How far it lags behind changes also while nothing is taken.
                member.commit(*partition, next).await
            };
            (*partition, next, kept)
        });
        for (partition, next, kept) in join_all(keeping).await {
            match kept {
                Ok(()) => {
                    if let Some(place) = self.places.get_mut(&partition) {
                        place.kept = next;
                    }
                }
                // The partition has gone to another member, which will be told in a moment.
                Err(spine_log::Error::Missing(_)) => {}
                // It is kept with what comes next.
                Err(error) if error.is_retryable() => {
                    tracing::debug!(partition, %error, "what was taken is not kept yet");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
