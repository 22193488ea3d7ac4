//! Runs that are held back at their tool or tenant: woken when that lets some through, those first that
//! came first.

use super::{Owner, timers::from_to, turns::Turns};
use crate::{Clock, limits, tools::Tools};
use spine_log::EventLog;
use spine_runs::HeldAt;
use spine_schemas::{RunKey, spec::queue_of};
use spine_store::RunStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
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

/// How many attempts of each tenant run, and may.
struct Rooms {
    busy: BTreeMap<Arc<str>, usize>,
    per_tenant: usize,
}

impl Rooms {
    fn has(&self, tenant: &str) -> bool {
        self.busy.get(tenant).is_none_or(|busy| *busy < self.per_tenant)
    }

    /// Takes room for one more, if there is.
    fn take(&mut self, tenant: &str) -> bool {
        let has = self.has(tenant);
        if has {
            *self.busy.entry(tenant.into()).or_default() += 1;
        }
        has
    }
}

/// Runs by what holds them back.
#[derive(Debug)]
pub(super) struct HeldRuns {
    at: BTreeMap<HeldAt, Turns>,
    /// Told when more of them may go on, or fewer.
    pub(super) healthier: watch::Receiver<u64>,
    /// Runs that were held back and are under way now.
    released: BTreeSet<RunKey>,
    /// Whether as many of them are as may be; the end of an attempt changes that.
    is_full: bool,
    /// When retries are looked at again that were too many. Their runs are starved, not held back.
    pub(super) retries_at: Option<Instant>,
}

impl HeldRuns {
    /// None, told of changes by the health of tools.
    pub(super) fn new(healthier: watch::Receiver<u64>) -> Self {
        Self {
            at: BTreeMap::new(),
            healthier,
            released: BTreeSet::new(),
            is_full: false,
            retries_at: None,
        }
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
    /// Lets runs go on, as many as their tools take now. Where nothing holds them back any more they go on at a pace,
    /// and leave slots to those that were never held back.
    pub(super) fn wake_held(&mut self) {
        // While nothing can be appended none of them could begin, and all would be woken in the end.
        if self.held.is_empty() || self.deciding().is_none() || self.appends.is_paused() {
            return;
        }
        let (now, mut room) = (self.node.clock.now(), self.room_for_released());
        let (mut slots, mut rooms) = (self.free_slots(), self.rooms());
        let mut held = std::mem::take(&mut self.held.at);
        for (at, runs) in &mut held {
            match self.node.health.lets_through(at, now) {
                Some(0) => {}
                // What workers ask for takes no slot.
                Some(count) if is_queue(at) => self.ready.extend(runs.take(count)),
                None if is_queue(at) => self.ready.extend(runs.take(limits::SWEEP_RUNS)),
                // Whoever found no slot would begin later, however many may by then.
                Some(count) => {
                    let count = count.min(slots).min(self.free_slots_at(at));
                    let woken = runs.take_of(count, |tenant| rooms.take(tenant));
                    slots -= woken.len();
                    self.ready.extend(woken);
                }
                None => {
                    let has_room = runs.tenants().any(|tenant| rooms.has(tenant));
                    let count = if has_room { runs.len().min(room) } else { 0 };
                    let count = self.node.health.release(count, now);
                    let woken = runs.take_of(count, |tenant| rooms.take(tenant));
                    room -= woken.len();
                    self.held.is_full = room == 0;
                    self.held.released.extend(woken.iter().cloned());
                    self.ready.extend(woken);
                }
            }
        }
        held.retain(|_, runs| runs.len() > 0);
        self.held.at = held;
    }

    /// How many more attempts may run at once.
    fn free_slots(&self) -> usize {
        self.node.config.attempts.saturating_sub(self.open_starts())
    }

    fn rooms(&self) -> Rooms {
        Rooms { busy: self.busy().tenants, per_tenant: self.node.config.attempts_per_tenant }
    }

    /// How many runs that are held back at a place find a slot there.
    fn free_slots_at(&self, at: &HeldAt) -> usize {
        let HeldAt::Tool(tool) = at else { return usize::MAX };
        if is_queue(at) {
            return usize::MAX;
        }
        let of_tool = self.attempts.of_tool(tool) + self.appends.starts_at(tool);
        let of_tool = self.node.config.attempts_per_tool.saturating_sub(of_tool);
        self.free_slots().min(of_tool)
    }

    /// How many more runs may be under way that were held back: in all, half of what may run.
    fn room_for_released(&mut self) -> usize {
        let (attempts, appends, starved) = (&self.attempts, &self.appends, &self.starved);
        self.held
            .released
            .retain(|key| attempts.pins(key) || appends.is_latched(key) || starved.contains(key));
        let config = &self.node.config;
        let most = config.attempts.min(config.attempts_per_tool).min(config.attempts_per_tenant);
        let most = most.div_ceil(2);
        let room = most.saturating_sub(self.held.released.len());
        self.held.is_full = room == 0;
        room
    }

    /// How long it takes until more may go on although nothing is heard.
    pub(super) fn held_wake_in(&self) -> Option<Duration> {
        if self.held.is_empty() {
            return None;
        }
        let (health, now, rooms) = (&self.node.health, self.node.clock.now(), self.rooms());
        let lets_some = |runs: &Turns| runs.tenants().any(|tenant| rooms.has(tenant));
        let has_slot = |at: &HeldAt, runs: &Turns| {
            self.free_slots_at(at) > 0 && (is_queue(at) || lets_some(runs))
        };
        let wake_at = |(at, runs): (&HeldAt, &Turns)| match health.lets_through(at, now) {
            Some(0) => health.changes_at(at, now),
            // The end of an attempt is heard.
            Some(_) if !has_slot(at, runs) => None,
            // Those that were woken before may have left some for others.
            Some(_) => Some(now),
            None if is_queue(at) => Some(now),
            // So is that of one of a tenant who has no slot.
            None if self.held.is_full || !lets_some(runs) => None,
            None => Some(health.releases_at(now)),
        };
        let at = self.held.at.iter().filter_map(wake_at).min()?;
        Some(from_to(now, at))
    }
}
