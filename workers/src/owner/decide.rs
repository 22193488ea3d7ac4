//! Deciding: for each run that something happened to, the batch that follows from it.

use super::{Owner, append::Outbox, claim::Held, grants::Asked};
use crate::{Clock, Result, limits, tools::Tools, verdicts::Phase};
use spine_log::EventLog;
use spine_runs::{Bounds, Busy, Leased, RunState, Slots, ahead, messages_again, stall_at, wake_at};
use spine_schemas::{
    RunKey,
    mutants::{Mutant, planted},
    time::Micros,
};
use spine_store::RunStore;
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// What came of deciding for some runs.
pub(super) struct Decided {
    /// What workers get.
    pub(super) leased: Vec<Leased>,
    /// Starved runs that were asked.
    asked: usize,
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Decides for the runs that are ready. Those that found no slot are starved, or held back.
    pub(super) async fn decide_ready(&mut self) -> Result<()> {
        if self.appends.is_paused() {
            return Ok(());
        }
        let Some(held) = self.deciding() else {
            return self.outcomes_only();
        };
        let mut ready: Vec<RunKey> = std::mem::take(&mut self.ready).into_iter().collect();
        // Everybody who waits is asked at most once.
        let mut left = self.starved.len();
        loop {
            let starved = self.freed_slots().min(left);
            if ready.is_empty() && starved == 0 {
                break;
            }
            let ready = std::mem::take(&mut ready);
            let decided = self.decide_for(ready, starved, held, Asked::new()).await?;
            left = left.saturating_sub(decided.asked);
            // Where nothing runs, no end of an attempt will wake those who still wait.
            let is_idle = self.open_starts() == 0 && self.drain_until.is_none();
            if !is_idle || decided.asked == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Decides for runs, of which workers ask for something, and for starved ones, as many as slots became free.
    pub(super) async fn decide_for(
        &mut self,
        ready: Vec<RunKey>,
        starved: usize,
        held: Held,
        asked: Asked,
    ) -> Result<Decided> {
        self.load(ready.iter()).await?;
        let now = self.node.clock.now();
        let lent = self.node.health.lend(now);
        let mut slots = self.slots().with(lent.retries, lent.holds.clone()).asked(asked);
        let mut outbox = Outbox::default();
        let decided = self.decide_all(ready, starved, held, &mut slots, &mut outbox).await;
        if decided.is_ok() {
            self.send(&mut outbox);
        }
        let rest = slots.rest();
        self.node.health.give_back(&lent, &rest, now);
        if rest.short_of_retries {
            self.held.retries_at = Some(Instant::now() + limits::RETRY_BUDGET_PAUSE);
        }
        decided.map(|asked| Decided { asked, leased: rest.leased })
    }

    /// Gives how many starved runs were asked.
    async fn decide_all(
        &mut self,
        ready: Vec<RunKey>,
        starved: usize,
        held: Held,
        slots: &mut Slots,
        outbox: &mut Outbox,
    ) -> Result<usize> {
        if starved > 0 && self.starved.come_before(&ready) {
            let asked = self.decide_starved(starved, held, slots, outbox).await?;
            self.decide_each(ready, held, slots, outbox)?;
            return Ok(asked);
        }
        self.decide_each(ready, held, slots, outbox)?;
        self.decide_starved(starved, held, slots, outbox).await
    }

    /// Decides for starved runs, as long as there are slots: a run with many steps may take them all, and a look at
    /// a run that gets none costs as much. So each time twice as many are loaded. Gives how many were asked: about
    /// so many as `freed` slots, more where those who asked left some.
    async fn decide_starved(
        &mut self,
        freed: usize,
        held: Held,
        slots: &mut Slots,
        outbox: &mut Outbox,
    ) -> Result<usize> {
        let most = if freed > 0 { freed.max(limits::STARVED_RUNS) } else { 0 };
        let (mut asked, mut at_once) = (0, 1);
        while asked < most {
            let count = at_once.min(most - asked).min(slots.free());
            let taken = self.starved.take(count, slots);
            if taken.is_empty() {
                break;
            }
            self.load(taken.iter().map(|(key, _)| key)).await?;
            let mut back = Vec::new();
            for (key, listing) in taken {
                if listing.may_begin(&key, slots) {
                    asked += 1;
                    self.decide_each([key], held, slots, outbox)?;
                } else {
                    back.push((key, listing));
                }
            }
            back.into_iter().rev().for_each(|(key, listing)| self.starved.put_back(key, listing));
            at_once *= 2;
        }
        Ok(asked)
    }

    fn decide_each(
        &mut self,
        ready: impl IntoIterator<Item = RunKey>,
        held: Held,
        slots: &mut Slots,
        outbox: &mut Outbox,
    ) -> Result<()> {
        for key in ready {
            if self.appends.is_latched(&key) {
                // Its batch is under way; it becomes ready again when that is read back.
                continue;
            }
            self.decide_run(&key, held, slots, outbox)?;
            if outbox.is_full() {
                self.send(outbox);
            }
        }
        Ok(())
    }

    fn decide_run(
        &mut self,
        key: &RunKey,
        held: Held,
        slots: &mut Slots,
        outbox: &mut Outbox,
    ) -> Result<()> {
        let Some(run) = self.cache.get(key).cloned() else {
            return Ok(());
        };
        let mut outcomes = self.attempts.take_outcomes(key);
        let stamp = self.stamp();
        outcomes.extend(self.probes.take_findings(&run, stamp.now));
        let mut batch = {
            let memo = self.node.memos.read();
            let owner = spine_runs::Owner { memo: Some(&memo), ..self.owner_view(held, stamp.now) };
            ahead(self.fold.state(), &run, outcomes, &owner, slots, &stamp)
        };
        self.starved.set(key, std::mem::take(&mut batch.starved));
        self.held.set(key, std::mem::take(&mut batch.held));
        // What changes now is looked at again when it has been read back.
        let queued = std::mem::take(&mut batch.queued);
        self.set_queued(key, if batch.events.is_empty() { queued } else { BTreeMap::new() });
        if batch.events.is_empty() {
            self.probe(&run, stamp.now);
            self.arm(&run, held, stamp.now);
            return Ok(());
        }
        self.post(outbox, key, batch)
    }

    /// For how many starved runs there may be something: as many as slots became free; as many as may run,
    /// once retries may be made again that were too many.
    fn freed_slots(&mut self) -> usize {
        let has_retries = self.held.retries_at.is_some_and(|at| at <= Instant::now());
        if has_retries {
            self.held.retries_at = None;
        }
        let idle = self.open_starts() == 0 && self.held.retries_at.is_none();
        let idle = if idle || has_retries { self.node.config.attempts } else { 0 };
        std::mem::take(&mut self.freed).max(idle)
    }

    /// Attempts that run, or whose start is on its way.
    pub(super) fn open_starts(&self) -> usize {
        self.attempts.len() + self.appends.starts()
    }

    pub(super) fn owner_view(&self, held: Held, now: Micros) -> spine_runs::Owner<'_> {
        spine_runs::Owner {
            now,
            claim: held.offset,
            claim_at: held.at,
            restored_at: self.fold.state().restored_at,
            held: self.attempts.held(),
            own_claims: &self.claim.own,
            exclusive: self.node.config.exclusive,
            stall_after_ms: self.node.config.stall_after.as_millis() as u64,
            memo: None,
        }
    }

    /// Sets the timer of a run for which nothing was to be done at `now`. It must be the time of that
    /// decision: by a later clock, what became due in between would neither be done nor waited for.
    fn arm(&mut self, run: &Arc<RunState>, held: Held, now: Micros) {
        let now = if planted(Mutant::LostWakeUp) { self.node.clock.now() } else { now };
        let view = self.owner_view(held, now);
        let (wake, stall) = (wake_at(run, &view), stall_at(run, &view));
        self.timers.set(&run.key, wake, stall);
    }

    pub(super) fn slots(&self) -> Slots {
        let config = &self.node.config;
        let free = match self.drain_until {
            Some(_) => 0,
            None => config.attempts.saturating_sub(self.open_starts()),
        };
        let bounds = Bounds {
            per_run: config.attempts_per_run,
            per_tenant: config.attempts_per_tenant,
            per_tool: config.attempts_per_tool,
        };
        Slots::new(free, bounds, self.busy())
    }

    /// Attempts that run, or whose start is on its way, by tool and by tenant.
    pub(super) fn busy(&self) -> Busy {
        let mut busy = self.attempts.busy().clone();
        self.appends.count(&mut busy);
        busy
    }

    /// After a claim: looks at every open run once, some at a time.
    pub(super) async fn sweep_some(&mut self) -> Result<()> {
        let Some(after) = self.sweep.clone().filter(|_| self.sweep_is_due()) else {
            return Ok(());
        };
        if after.is_none() {
            self.wake_nearest().await?;
        }
        let partition = self.tp.partition;
        let store = self.node.store.clone();
        let page = || store.open_runs(partition, after.as_deref(), limits::SWEEP_RUNS);
        let page = Self::patiently(&self.orders, page).await?;
        self.sweep = page.next.map(Some);
        if !self.has_swept {
            self.begin_again(&page.rows).await?;
        }
        self.ready.extend(page.rows);
        if self.sweep.is_none() {
            self.has_swept = true;
            tracing::info!(partition, "caught up");
            self.tell_phase();
        }
        Ok(())
    }

    /// What the runs of others were told may have been lost with a store. Who owns them now says it again, once.
    async fn begin_again(&mut self, rows: &[RunKey]) -> Result<()> {
        self.load(rows.iter()).await?;
        let known = rows.iter().filter_map(|key| self.cache.get(key));
        let again = known.flat_map(|run| messages_again(run)).collect();
        self.tell_runs(again).await
    }

    /// Tells whether the partition is ready, unless something else is the matter with it.
    pub(super) fn tell_phase(&self) {
        if self.drain_until.is_none() && !self.holding.is_flooded() {
            let caught_up = self.claim.held().is_some() && self.sweep.is_none();
            let behind = || Phase::Waiting("catching up".into());
            let phase = if caught_up { Phase::Ready } else { behind() };
            self.node.hub.set_phase(self.tp.partition, phase);
        }
    }

    /// Whether the sweep has more to do and can go on. It waits while many runs wait already, as they do while
    /// appends are refused: all of them are loaded at once when that ends.
    pub(super) fn sweep_is_due(&self) -> bool {
        let is_stored = self.claim.held().is_some_and(|held| self.stored >= Some(held.offset));
        self.sweep.is_some() && is_stored && self.ready.len() < limits::READY_RUNS
    }

    /// Loads the states of runs that are not in memory. A state from beyond what this owner has
    /// folded says that another one stores, too: then it begins anew from where that one is.
    pub(super) async fn load(&mut self, keys: impl Iterator<Item = &RunKey>) -> Result<()> {
        let mut missing: Vec<RunKey> = keys.filter(|key| !self.cache.knows(key)).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort_unstable();
        missing.dedup();
        let partition = self.tp.partition;
        let store = self.node.store.clone();
        let states = Self::patiently(&self.orders, || store.load_runs(partition, &missing)).await?;
        let next = self.fold.next_offset();
        for (key, state) in missing.into_iter().zip(states) {
            if let Some(ahead) = state.as_ref().filter(|run| run.last_offset >= next) {
                // Nothing of it may be folded again, nor decided upon.
                let (expected, found) = (self.stored, Some(ahead.last_offset));
                return Err(spine_store::Error::Lost { partition, expected, found }.into());
            }
            self.cache.insert(key, state);
        }
        Ok(())
    }
}
