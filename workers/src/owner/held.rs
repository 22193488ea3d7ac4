//! Runs that are held back at their tool or tenant: woken when that lets some through, those first that
//! came first.

use super::{Owner, starved::Starved};
use crate::{Clock, tools::Tools};
use spine_log::EventLog;
use spine_runs::HeldAt;
use spine_schemas::{RunKey, time::Micros};
use spine_store::RunStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Runs by what holds them back.
#[derive(Debug, Default)]
pub(super) struct HeldRuns(BTreeMap<HeldAt, Starved>);

impl HeldRuns {
    pub(super) fn push(&mut self, key: &RunKey, places: BTreeSet<HeldAt>) {
        for at in places {
            self.0.entry(at).or_default().push(key);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(feature = "mutants")]
    pub(super) fn contains(&self, key: &RunKey) -> bool {
        self.0.values().any(|runs| runs.contains(key))
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
        for (at, runs) in &mut self.held.0 {
            match self.node.health.lets_through(at, now) {
                Some(count) => self.ready.extend(runs.take(count)),
                // The slots are the only limit: they wake those who wait for them.
                None => runs.take(runs.len()).iter().for_each(|key| self.starved.push(key)),
            }
        }
        self.held.0.retain(|_, runs| runs.len() > 0);
    }

    /// How long it takes until more may go on although nothing is heard.
    pub(super) fn held_wake_in(&self) -> Option<Duration> {
        let (health, now) = (&self.node.health, self.node.clock.now());
        // Those that were woken before may have left some for others.
        if self.held.0.keys().any(|at| health.lets_through(at, now) != Some(0)) {
            return Some(Duration::ZERO);
        }
        let at = self.held.0.keys().filter_map(|at| health.changes_at(at, now)).min()?;
        Some(micros_until(at, now))
    }
}

fn micros_until(at: Micros, now: Micros) -> Duration {
    Duration::from_micros(u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0))
}
