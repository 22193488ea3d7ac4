//! The workers of one process: a member of the consumer group and an owner for each partition it has.
//!
//! A partition that is taken away is let go only when its owner has really ended, and one that comes
//! back meanwhile starts only then: two owners of one partition never live in one process.

use crate::{
    Clock, Error, Node, Owner, Result, limits,
    order::{Order, Orders},
    owner::Inherited,
    tools::Tools,
    verdicts::Phase,
};
use spine_log::{Change, EventLog, GroupMember, Release};
use spine_store::RunStore;
use std::collections::BTreeMap;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval_at},
};

/// Runs the partitions that the group assigns, until told to stop. Then the owners drain, and the
/// member leaves the group when the last of them has ended.
///
/// # Errors
/// The first error of an owner that starting again cannot cure; the other owners have drained.
pub async fn run<L, S, T, C>(
    node: Node<L, S, T, C>,
    group: &str,
    mut stop: watch::Receiver<bool>,
) -> Result<()>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    let mut member = node.log.join(&node.config.topic, group).await?;
    let mut workers = Workers::new(node);
    // Not a sleep in the loop, which every other input would begin anew.
    let begin = Instant::now() + limits::COMMIT_EVERY;
    let mut commits = interval_at(begin, limits::COMMIT_EVERY);
    commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut spare = std::pin::pin!(tokio::time::sleep(limits::JOIN_WAIT));
    let mut is_joined = false;
    loop {
        tokio::select! {
            biased;
            () = told_to_stop(&mut stop), if !workers.stopping => workers.stop(),
            Some(ended) = workers.owners.join_next() => {
                workers.ended(ended.unwrap_or_else(broken));
            }
            Some(ended) = workers.late.join_next() => {
                workers.late_ended(ended.unwrap_or_else(broken));
            }
            () = tokio::time::sleep_until(workers.until), if workers.waits_for_late() => {
                workers.give_up_late();
            }
            _ = commits.tick(), if !workers.stopping => workers.commit(&mut member).await,
            () = &mut spare, if !is_joined => {
                is_joined = true;
                workers.node.hub.joined();
            }
            change = next_change(&mut member), if workers.failed.is_none() => {
                is_joined = true;
                // In this order: what was gained must not look for a moment as if it were another's.
                workers.change(change);
                workers.node.hub.joined();
            }
        }
        if workers.stopping && workers.owners.is_empty() && workers.late.is_empty() {
            workers.node.hub.close();
            return workers.failed.map_or(Ok(()), Err);
        }
    }
}

/// The owners of this process.
struct Workers<L, S, T, C> {
    node: Node<L, S, T, C>,
    owners: JoinSet<Owned>,
    places: BTreeMap<u32, Place>,
    /// What outlived owners, for a partition each.
    late: JoinSet<Result<()>>,
    inherited: Inherited,
    stopping: bool,
    /// Until when what is late is waited for, once stopping.
    until: Instant,
    failed: Option<Error>,
}

/// How the ownership of a partition ended.
struct Owned {
    partition: u32,
    ended: Result<()>,
    late: JoinSet<Result<()>>,
}

/// A partition with a living owner.
struct Place {
    orders: watch::Sender<Order>,
    /// Dropped when the owner has ended; there are some when it is winding down.
    releases: Vec<Release>,
    /// Whether the partition was given to us again while its owner winds down.
    again: bool,
}

impl<L, S, T, C> Workers<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    fn new(node: Node<L, S, T, C>) -> Self {
        Self {
            node,
            owners: JoinSet::new(),
            places: BTreeMap::new(),
            late: JoinSet::new(),
            inherited: Inherited::default(),
            stopping: false,
            until: Instant::now(),
            failed: None,
        }
    }

    fn stop(&mut self) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.until = Instant::now() + self.node.config.drain;
        for place in self.places.values() {
            place.orders.send_if_modified(|order| {
                let goes_on = *order == Order::Own;
                if goes_on {
                    *order = Order::Stop;
                }
                goes_on
            });
        }
    }

    fn fail(&mut self, error: Error) {
        tracing::error!(%error, "stopping");
        self.failed.get_or_insert(error);
        self.stop();
    }

    fn change(&mut self, change: spine_log::Result<Change>) {
        match change {
            Ok(Change::Gained(_)) if self.stopping => {}
            Ok(Change::Gained(partition)) => match self.places.get_mut(&partition) {
                Some(place) => place.again = !place.releases.is_empty(),
                None => self.begin(partition),
            },
            Ok(Change::Lost { partition, release }) => {
                if let Some(place) = self.places.get_mut(&partition) {
                    place.again = false;
                    place.releases.push(release);
                    place.orders.send_replace(Order::HandOver);
                }
            }
            Err(error) => self.fail(error.into()),
        }
    }

    fn begin(&mut self, partition: u32) {
        self.node.hub.set_phase(partition, Phase::Waiting("starting".into()));
        let orders = watch::Sender::new(Order::Own);
        let inherited = self.inherited.clone();
        self.owners.spawn(keep_owning(
            self.node.clone(),
            partition,
            Orders::of(&orders),
            inherited,
        ));
        self.places.insert(partition, Place { orders, releases: Vec::new(), again: false });
    }

    fn ended(&mut self, Owned { partition, ended, mut late }: Owned) {
        if !late.is_empty() {
            self.late.spawn(async move {
                while let Some(ended) = late.join_next().await {
                    ended.unwrap_or_else(broken)?;
                }
                Ok(())
            });
        }
        // Dropping the place drops its releases: the next owner may begin.
        let place = self.places.remove(&partition);
        self.node.hub.set_phase(partition, Phase::NotAssigned);
        if let Err(error) = ended {
            self.fail(error);
        } else if place.is_some_and(|place| place.again) && !self.stopping {
            self.begin(partition);
        }
    }

    fn waits_for_late(&self) -> bool {
        self.stopping && !self.late.is_empty()
    }

    /// The process goes, as if it had died: the next owner finds these attempts without an outcome.
    fn give_up_late(&mut self) {
        tracing::warn!("went before all outcomes were appended");
        self.late = JoinSet::new();
    }

    fn late_ended(&mut self, ended: Result<()>) {
        if let Err(error) = ended {
            self.fail(error);
        }
    }

    /// Tells lag tools how far the store is.
    async fn commit(&self, member: &mut L::Member) {
        for partition in self.places.keys() {
            if let Some(stored) = self.node.hub.stored_offset(*partition)
                && let Err(error) = member.commit(*partition, stored + 1).await
            {
                tracing::warn!(partition, %error, "offset not committed");
            }
        }
    }
}

/// The next change of assignment. Trouble that passes is waited out.
async fn next_change<M: GroupMember>(member: &mut M) -> spine_log::Result<Change> {
    loop {
        match member.next().await {
            Err(error) if error.is_retryable() => {
                tracing::warn!(%error, "the group cannot be heard");
                tokio::time::sleep(limits::RETRY_MOST).await;
            }
            heard => return heard,
        }
    }
}

/// Returns when the process is told to stop, or when nobody can tell it any more.
async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Starts an owner again after trouble that passes.
async fn keep_owning<L, S, T, C>(
    node: Node<L, S, T, C>,
    partition: u32,
    mut orders: Orders,
    inherited: Inherited,
) -> Owned
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    let mut late = JoinSet::new();
    let mut pause = limits::RETRY_FIRST;
    while !orders.must_go() {
        let began = Instant::now();
        let (ended, left) =
            Owner::run(node.clone(), partition, orders.clone(), inherited.clone()).await;
        if let Some(left) = left {
            late.spawn(left.finish());
        }
        while let Some(done) = late.try_join_next() {
            if let Err(error) = done.unwrap_or_else(broken) {
                return Owned { partition, ended: Err(error), late };
            }
        }
        match ended {
            Err(error) if error.is_retryable() => {
                tracing::warn!(partition, %error, "owner stopped");
                if began.elapsed() >= limits::HEALTHY {
                    pause = limits::RETRY_FIRST;
                }
                // An order ends the pause.
                let ordered = orders.other_than(Order::Own);
                let _ = tokio::time::timeout(pause, ordered).await;
                pause = (pause * 2).min(limits::RETRY_MOST);
            }
            ended => return Owned { partition, ended, late },
        }
    }
    Owned { partition, ended: Ok(()), late }
}

/// A task of ours panicked: so does the process, since its state can no longer be trusted.
fn broken<R>(error: JoinError) -> R {
    std::panic::resume_unwind(error.into_panic())
}
