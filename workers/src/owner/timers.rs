//! Timers: when to look at a run again although no event came. A bounded number is kept in memory.

use super::Owner;
use crate::{Clock, Result, limits, tools::Tools};
use spine_log::EventLog;
use spine_schemas::{RunKey, time::Micros};
use spine_store::RunStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// The nearest timers. Later ones that found no place are read from the store in time.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Micros, RunKey)>,
    by_run: BTreeMap<RunKey, Micros>,
    /// The earliest timer that was left to the store.
    left: Option<Micros>,
}

impl Timers {
    pub(super) fn set(&mut self, key: &RunKey, at: Option<Micros>) {
        if let Some(before) = self.by_run.remove(key) {
            self.by_time.remove(&(before, key.clone()));
        }
        let Some(at) = at else { return };
        self.by_run.insert(key.clone(), at);
        self.by_time.insert((at, key.clone()));
        if self.by_time.len() > limits::TIMERS
            && let Some((at, key)) = self.by_time.pop_last()
        {
            self.by_run.remove(&key);
            self.left = Some(self.left.map_or(at, |left| left.min(at)));
        }
    }

    /// By when a run is looked at again: by its own timer, or when those left to the store are read.
    #[cfg(feature = "mutants")]
    pub(super) fn looks_at(&self, key: &RunKey) -> Option<Micros> {
        let own = self.by_run.get(key).copied();
        own.into_iter().chain(self.left).min()
    }

    fn take_due(&mut self, now: Micros) -> Vec<RunKey> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.by_time.first().cloned() {
            if at > now {
                break;
            }
            self.by_time.pop_first();
            self.by_run.remove(&key);
            due.push(key);
        }
        due
    }

    fn next(&self) -> Option<Micros> {
        let first = self.by_time.first().map(|(at, _)| *at);
        match (first, self.left) {
            (Some(first), Some(left)) => Some(first.min(left)),
            (one, other) => one.or(other),
        }
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Makes runs ready whose time has come.
    pub(super) async fn fire_timers(&mut self) -> Result<()> {
        if self.claim.held().is_none() || self.holding.is_held() {
            return Ok(());
        }
        let now = self.node.clock.now();
        self.ready.extend(self.timers.take_due(now));
        if self.timers.left.is_some_and(|left| left <= now) {
            self.read_timers(now).await?;
        }
        Ok(())
    }

    /// Makes the runs with the nearest timers ready. After a claim that is what ran when the owner before
    /// went, and what is due; the sweep over all open runs comes to them in the order of their names.
    pub(super) async fn wake_nearest(&mut self) -> Result<()> {
        let (store, partition) = (self.node.store.clone(), self.tp.partition);
        let (all, most) = (Micros(i64::MAX), limits::SWEEP_RUNS);
        let near = Self::patiently(&self.orders, || store.due_runs(partition, all, most)).await?;
        self.ready.extend(near.into_iter().map(|(_, key)| key));
        Ok(())
    }

    /// Reads the nearest timers from the store, because the time of one that was left there has come.
    async fn read_timers(&mut self, now: Micros) -> Result<()> {
        let (store, partition) = (self.node.store.clone(), self.tp.partition);
        let (all, most) = (Micros(i64::MAX), limits::TIMERS / 2);
        let near = Self::patiently(&self.orders, || store.due_runs(partition, all, most)).await?;
        // What is still due a second from now waits for slots, and is not read again at once.
        let furthest = near.last().filter(|_| near.len() == most);
        self.timers.left = furthest.map(|(at, _)| (*at).max(now.plus_ms(1000)));
        for (at, key) in near {
            if at <= now {
                self.ready.insert(key);
            } else if !self.timers.by_run.contains_key(&key) {
                self.timers.set(&key, Some(at));
            }
        }
        Ok(())
    }

    /// How long the loop may sleep when nothing else wakes it.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        let may_decide = self.claim.held().is_some() && !self.holding.is_held();
        let timer = self.timers.next().filter(|_| may_decide);
        let timer = timer.map(|at| from_to(self.node.clock.now(), at));
        let until = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(Instant::now()));
        // Ready runs that wait for a slot are woken by the end of a call, not by time.
        let paused = self.appends.is_paused().then(|| until(self.appends.resumes_at())).flatten();
        let sweep = self.sweep_is_due().then_some(Duration::ZERO);
        let claim = if self.drain_until.is_some() { None } else { until(self.claim.due_at()) };
        let hold = until(self.holding.wakes_at());
        let store = self.store_due_in();
        // While nothing can be decided there is no use in looking at them.
        let decides = may_decide && !self.appends.is_paused();
        let retries = until(self.held.retries_at).filter(|_| decides);
        let held = self.held_wake_in().filter(|_| may_decide);
        let drain = until(self.drain_until);
        let all = [timer, paused, sweep, claim, hold, store, held, retries, drain];
        all.into_iter().flatten().min()
    }
}

/// The time from one moment to another; none if that is not later.
pub(super) fn from_to(from: Micros, to: Micros) -> Duration {
    Duration::from_micros(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_beyond_the_bound_are_left_to_the_store_and_remembered_by_the_earliest() {
        let mut timers = Timers::default();
        let most = i64::try_from(limits::TIMERS).unwrap();
        for at in 0..most + 3 {
            timers.set(&RunKey::new("default", &format!("r{at}")), Some(Micros(at)));
        }
        assert_eq!(timers.by_time.len(), limits::TIMERS);
        assert_eq!(timers.left, Some(Micros(most)));
        assert_eq!(timers.next(), Some(Micros(0)));
        assert_eq!(timers.take_due(Micros(1)).len(), 2);
    }

    #[test]
    fn a_timer_that_is_set_anew_replaces_the_one_before() {
        let (mut timers, key) = (Timers::default(), RunKey::new("default", "r"));
        timers.set(&key, Some(Micros(5)));
        timers.set(&key, Some(Micros(9)));
        assert!(timers.take_due(Micros(8)).is_empty());
        assert_eq!(timers.take_due(Micros(9)), vec![key.clone()]);
        timers.set(&key, Some(Micros(20)));
        timers.set(&key, None);
        assert_eq!(timers.next(), None);
    }
}
