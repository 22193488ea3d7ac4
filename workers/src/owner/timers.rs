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
    /// The earliest of those since the open runs were last looked through. The store does not know when
    /// a run stalls, so one of them may be that.
    unwatched: Option<Micros>,
    /// Whether any timer may be of that kind.
    watches: bool,
    /// Where the look for stalled runs goes on that have no timer; `None` while there is none.
    pub(super) watch: Option<Option<String>>,
    /// When it began.
    watched_at: Option<Instant>,
}

impl Timers {
    /// Sets the time at which a run is looked at, of which it may be the time when it stalls. That moves
    /// with every event: then an earlier one is left as it is, rings, and is set anew.
    pub(super) fn set(&mut self, key: &RunKey, at: Option<Micros>, stalls: Option<Micros>) {
        self.watches |= stalls.is_some();
        let before = self.by_run.get(key);
        if at.is_some() && at == stalls && before.copied().is_some_and(|before| Some(before) <= at)
        {
            return;
        }
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
            if self.watches {
                self.unwatched = Some(self.unwatched.map_or(at, |other| other.min(at)));
            }
        }
    }

    /// By when a run is looked at again: by its own timer, or when those left to the store are read.
    #[cfg(feature = "mutants")]
    pub(super) fn looks_at(&self, key: &RunKey) -> Option<Micros> {
        let own = self.by_run.get(key).copied();
        own.into_iter().chain(self.left).chain(self.unwatched).min()
    }

    /// The first of those whose time has come; the others ring in the turns that follow.
    fn take_due(&mut self, now: Micros) -> Vec<RunKey> {
        let mut due = Vec::new();
        while due.len() < limits::DUE_RUNS
            && let Some((at, key)) = self.by_time.first().cloned()
            && at <= now
        {
            self.by_time.pop_first();
            self.by_run.remove(&key);
            due.push(key);
        }
        due
    }

    /// Takes over the nearest timers of the store, of which there may be more if they are as many as were asked for.
    fn read(&mut self, near: Vec<(Micros, RunKey)>, now: Micros) {
        let furthest = near.last().map(|(at, _)| *at).filter(|_| near.len() >= limits::TIMERS_READ);
        // What is still due a second from now waits for slots, and is not read again at once.
        self.left = furthest.map(|at| at.max(now.plus_ms(1000)));
        if furthest.is_some_and(|at| at <= now) {
            // If all of them wait for something else, the times of others are not seen behind theirs.
            self.unwatched = Some(self.unwatched.map_or(now, |other| other.min(now)));
        }
        for (at, key) in near {
            if !self.by_run.contains_key(&key) {
                self.set(&key, Some(at), None);
            }
        }
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
        if self.deciding().is_none() || self.appends.is_paused() {
            return Ok(());
        }
        let now = self.node.clock.now();
        let due = self.timers.take_due(now);
        // Those in memory come first.
        if due.len() < limits::DUE_RUNS && self.timers.left.is_some_and(|left| left <= now) {
            self.read_timers(now).await?;
        }
        self.ready.extend(due);
        if self.timers.unwatched.is_some_and(|left| left <= now) && self.watch_in().is_zero() {
            self.timers.unwatched = None;
            self.timers.watch = Some(None);
            self.timers.watched_at = Some(Instant::now());
        }
        Ok(())
    }

    /// How long the open runs may not be looked through again for those that stalled.
    fn watch_in(&self) -> Duration {
        let next = self.timers.watched_at.map(|at| at + limits::WATCH_EVERY);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(Instant::now()))
    }

    /// Looks at some of the open runs, because there are more than there are timers. Costs what the sweep
    /// after a claim costs, and is done only where more runs are open at one time than timers are kept.
    pub(super) async fn watch_some(&mut self) -> Result<()> {
        let may_decide = self.deciding().is_some() && !self.appends.is_paused();
        let Some(after) = self.timers.watch.clone().filter(|_| may_decide && self.sweep.is_none())
        else {
            return Ok(());
        };
        let (partition, store) = (self.tp.partition, self.node.store.clone());
        let page = || store.open_runs(partition, after.as_deref(), limits::SWEEP_RUNS);
        let page = Self::patiently(&self.orders, page).await?;
        self.timers.watch = page.next.map(Some);
        self.ready.extend(page.rows);
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
        let (all, most) = (Micros(i64::MAX), limits::TIMERS_READ);
        let near = Self::patiently(&self.orders, || store.due_runs(partition, all, most)).await?;
        self.timers.read(near, now);
        Ok(())
    }

    /// How long the loop may sleep when nothing else wakes it.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        // While nothing can be decided there is no use in looking at runs.
        let decides = self.deciding().is_some() && !self.appends.is_paused();
        let timer = self.timers.next().filter(|_| decides);
        let timer = timer.map(|at| from_to(self.node.clock.now(), at));
        let until = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(Instant::now()));
        // Ready runs that wait for a slot are woken by the end of a call, not by time.
        let paused = until(self.appends.resumes_at());
        let watches = self.timers.watch.is_some() && self.sweep.is_none() && decides;
        let unwatched = self.timers.unwatched.filter(|_| decides);
        let watch = if watches {
            Some(Duration::ZERO)
        } else {
            unwatched.map(|at| from_to(self.node.clock.now(), at).max(self.watch_in()))
        };
        let sweep = self.sweep_is_due().then_some(Duration::ZERO);
        let claim = if self.drain_until.is_some() { None } else { until(self.claim.due_at()) };
        let hold = until(self.holding.wakes_at());
        let store = self.store_due_in();
        let retries = until(self.held.retries_at).filter(|_| decides);
        let held = decides.then(|| self.held_wake_in()).flatten();
        let drain = until(self.drain_until);
        let all = [timer, paused, sweep, watch, claim, hold, store, held, retries, drain];
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
            timers.set(&RunKey::new("default", &format!("r{at}")), Some(Micros(at)), None);
        }
        assert_eq!(timers.by_time.len(), limits::TIMERS);
        assert_eq!(timers.left, Some(Micros(most)));
        assert_eq!(timers.next(), Some(Micros(0)));
        assert_eq!(timers.take_due(Micros(1)).len(), 2);
        assert_eq!(timers.unwatched, None, "nobody watches");
    }

    #[test]
    fn many_that_are_due_at_once_ring_some_in_a_turn() {
        let mut timers = Timers::default();
        for n in 0..limits::DUE_RUNS + 1 {
            timers.set(&RunKey::new("default", &format!("r{n}")), Some(Micros(5)), None);
        }
        assert_eq!(timers.take_due(Micros(5)).len(), limits::DUE_RUNS);
        assert_eq!(timers.next(), Some(Micros(5)), "one is left and rings at once");
        assert_eq!(timers.take_due(Micros(5)).len(), 1);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn what_the_store_did_not_tell_yet_is_read_in_time() {
        let near = |count: usize, at: i64| -> Vec<(Micros, RunKey)> {
            let key = |n| RunKey::new("default", &format!("r{n}"));
            (0..count).map(|n| (Micros(at), key(n))).collect()
        };
        let second = 1_000_000;
        // There are no more.
        let mut timers = Timers::default();
        timers.read(near(limits::TIMERS_READ - 1, 5 * second), Micros(0));
        assert_eq!((timers.left, timers.next()), (None, Some(Micros(5 * second))));
        // There may be more, later ones.
        let mut timers = Timers::default();
        timers.read(near(limits::TIMERS_READ, 5 * second), Micros(0));
        assert_eq!((timers.left, timers.unwatched), (Some(Micros(5 * second)), None));
        // All that were read are due, and may go on waiting: others are not seen behind them.
        let mut timers = Timers::default();
        timers.read(near(limits::TIMERS_READ, 5 * second), Micros(6 * second));
        let again = Some(Micros(7 * second));
        assert_eq!((timers.left, timers.unwatched), (again, Some(Micros(6 * second))));
        assert_eq!(timers.take_due(Micros(6 * second)).len(), limits::DUE_RUNS);
    }

    #[test]
    fn what_stalls_and_found_no_place_is_remembered_and_what_moves_keeps_its_timer() {
        let mut timers = Timers::default();
        let most = i64::try_from(limits::TIMERS).unwrap();
        for at in 1..most + 3 {
            let at = Some(Micros(at));
            timers.set(&RunKey::new("default", &format!("r{at:?}")), at, at);
        }
        assert_eq!(timers.unwatched, Some(Micros(most + 1)));
        let (mut timers, key) = (Timers::default(), RunKey::new("default", "r"));
        let at = |at| Some(Micros(at));
        timers.set(&key, at(5), at(5));
        timers.set(&key, at(9), at(9));
        assert_eq!(timers.next(), at(5), "it rings, and is set anew then");
        timers.set(&key, at(4), at(9));
        assert_eq!(timers.next(), at(4), "something else is due before");
        timers.set(&key, at(7), at(9));
        assert_eq!(timers.next(), at(7), "what is due is not rung for too early");
        timers.set(&key, None, None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_timer_that_is_set_anew_replaces_the_one_before() {
        let (mut timers, key) = (Timers::default(), RunKey::new("default", "r"));
        timers.set(&key, Some(Micros(5)), None);
        timers.set(&key, Some(Micros(9)), None);
        assert!(timers.take_due(Micros(8)).is_empty());
        assert_eq!(timers.take_due(Micros(9)), vec![key.clone()]);
        timers.set(&key, Some(Micros(20)), None);
        timers.set(&key, None, None);
        assert_eq!(timers.next(), None);
    }
}
