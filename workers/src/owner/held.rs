//! Runs that are held back at their tool or tenant: woken when that lets some through, those first that
//! came first.

use super::{Owner, starved::Starved, timers::from_to};
use crate::{Clock, limits, tools::Tools};
use spine_log::EventLog;
use spine_runs::HeldAt;
use spine_schemas::{RunKey, spec::queue_of};
use spine_store::RunStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// Whether runs are held back at a queue.
fn is_queue(at: &HeldAt) -> bool {
    match at {
        HeldAt::Tool(tool) => queue_of(tool).is_some(),
        HeldAt::Tenant(_) => false,
    }
}

/// Runs by what holds them back.
#[derive(Debug)]
pub(super) struct HeldRuns {
    at: BTreeMap<HeldAt, Starved>,
    /// Told when more of them may go on, or fewer.
    pub(super) healthier: watch::Receiver<u64>,
    /// When retries are looked at again that were too many. Their runs are starved, not held back.
    pub(super) retries_at: Option<Instant>,
}

impl HeldRuns {
    /// None, told of changes by the health of tools.
    pub(super) fn new(healthier: watch::Receiver<u64>) -> Self {
        Self { at: BTreeMap::new(), healthier, retries_at: None }
    }

    /// A run is held back at these places, and at no others.
    pub(super) fn set(&mut self, key: &RunKey, places: BTreeSet<HeldAt>) {
        self.at.iter_mut().for_each(|(at, runs)| {
            if !places.contains(at) {
                runs.remove(key);
            }
        });
        for at in places {
            self.at.entry(at).or_default().push(key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    #[cfg(feature = "mutants")]
    pub(super) fn contains(&self, key: &RunKey) -> bool {
        self.at.values().any(|runs| runs.contains(key))
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Lets runs go on, as many as their tools take now.
    pub(super) fn wake_held(&mut self) {
        if self.held.is_empty() || self.claim.held().is_none() || self.holding.is_held() {
            return;
        }
        let now = self.node.clock.now();
        let (mut free, slots) = (0, self.node.config.attempts.saturating_sub(self.open_starts()));
        for (at, runs) in &mut self.held.at {
            match self.node.health.lets_through(at, now) {
                Some(count) => self.ready.extend(runs.take(count)),
                // What workers ask for takes no slot.
                None if is_queue(at) => self.ready.extend(runs.take(limits::SWEEP_RUNS)),
                // The slots are the only limit: as many go on as are free, and then one for each that
                // becomes free.
                None => {
                    let woken = runs.take(runs.len());
                    free += woken.len();
                    woken.iter().for_each(|key| self.starved.push(key));
                }
            }
        }
        self.freed = self.freed.max(free.min(slots));
        self.held.at.retain(|_, runs| runs.len() > 0);
    }

    /// How long it takes until more may go on although nothing is heard.
    pub(super) fn held_wake_in(&self) -> Option<Duration> {
        if self.held.is_empty() {
            return None;
        }
        let (health, now) = (&self.node.health, self.node.clock.now());
        // Those that were woken before may have left some for others.
        if self.held.at.keys().any(|at| health.lets_through(at, now) != Some(0)) {
            return Some(Duration::ZERO);
        }
        let at = self.held.at.keys().filter_map(|at| health.changes_at(at, now)).min()?;
        Some(from_to(now, at))
    }
}
