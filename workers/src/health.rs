//! What this process knows of the tools that it calls, and of what operators hold back. Shared by its owners.
//!
//! The rules are in `spine_runs::breaker`; here they are kept for every tool, together with what others say
//! (`control`), and told to the owners as [`Holds`]. Nothing here decides what happens to a step.

mod bucket;
mod releases;
mod retries;
mod sign;
#[cfg(test)]
mod tests;

use crate::{metrics, tools::CallEnd};
use releases::Releases;
use retries::Retries;
use sign::sign;
use spine_runs::{
    Controls, HeldAt, Hold, Holds, Rest,
    breaker::{Breaker, Rules, Sign, Starts, Turn},
    limits,
};
use spine_schemas::{
    HeldBy,
    control::{BreakerState, Change, ControlRecord},
    mutants::{Mutant, planted},
    time::Micros,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc, watch};

/// Records that may wait for the log. More are dropped: others then find out by themselves.
const UNSAID: usize = 1024;

/// The health of tools. Clones share it.
#[derive(Clone, Debug)]
pub struct Health {
    known: Arc<Mutex<Known>>,
    /// Counts changes after which more may begin, or less.
    changes: Arc<watch::Sender<u64>>,
    says: mpsc::Sender<ControlRecord>,
}

#[derive(Debug)]
struct Known {
    worker: String,
    rules: Rules,
    breakers: BTreeMap<String, Breaker>,
    /// Starts that an owner is about to give away.
    lent: BTreeMap<String, u32>,
    /// Whether somebody found nothing to begin while another had borrowed it.
    is_waited_for: bool,
    controls: Controls,
    retries: Retries,
    releases: Releases,
}

/// Starts that were lent to an owner while it decides.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    pub(crate) holds: Holds,
    pub(crate) retries: usize,
}

impl Health {
    /// The health of tools as a process knows it that has heard of nothing yet, and what it says to others. Of the
    /// runs that were held back, `releases` go on in a second.
    pub fn new(worker: &str, rules: Rules, releases: u32) -> (Self, mpsc::Receiver<ControlRecord>) {
        let (says, said) = mpsc::channel(UNSAID);
        let known = Known {
            worker: worker.to_owned(),
            rules,
            breakers: BTreeMap::new(),
            lent: BTreeMap::new(),
            is_waited_for: false,
            controls: Controls::default(),
            retries: Retries::default(),
            releases: Releases::new(releases),
        };
        let health = Self { known: Arc::new(Mutex::new(known)), changes: Arc::default(), says };
        (health, said)
    }

    /// What others and operators have said, as it stands now.
    pub fn controls(&self) -> Controls {
        self.known().controls.clone()
    }

    /// What pauses calls of a tool for a tenant.
    pub fn pause_of(&self, tenant: &str, tool: &str) -> Option<ControlRecord> {
        self.known().controls.pause_of(tenant, tool).cloned()
    }

    /// Takes what somebody said: also what this process said itself, which changes nothing more here.
    pub fn hear(&self, record: ControlRecord, now: Micros) {
        let mut known = self.known();
        if record.by != known.worker && !planted(Mutant::BreakerUnheard) {
            known.hear(&record.change, now);
        }
        known.controls.apply(record);
        drop(known);
        self.changed();
    }

    /// Takes what was said before this process began. What of it still stands is heard at the end, with
    /// [`Health::recalled`]: that a tool was in trouble once is no news.
    pub(crate) fn recall(&self, record: ControlRecord) {
        self.known().controls.apply(record);
    }

    /// Goes by all that was recalled.
    pub(crate) fn recalled(&self, now: Micros) {
        let mut known = self.known();
        let Controls { tools, forced_tools, .. } = known.controls.clone();
        let found = tools.into_values().flat_map(|tool| [tool.breaker, tool.limit]);
        for record in found.flatten().chain(forced_tools.into_values()) {
            known.hear(&record.change, now);
        }
        known.breakers.retain(|_, breaker| !breaker.is_new(now));
    }

    /// Told whenever more may begin, or less.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What an owner may begin now. It gives back what it did not, with [`Health::give_back`].
    pub(crate) fn lend(&self, now: Micros) -> Lent {
        let mut known = self.known();
        let retries = known.retries.lend(now);
        let mut holds = Holds::default();
        let Known { breakers, lent, controls, .. } = &mut *known;
        let is_paused = |tool: &String| controls.paused_tools.contains_key(tool);
        for (tool, breaker) in breakers.iter().filter(|(tool, _)| !is_paused(tool)) {
            let Starts::Only(starts, by, until) = breaker.starts(now) else { continue };
            let out = lent.entry(tool.clone()).or_default();
            let starts = starts.saturating_sub(*out);
            *out += starts;
            holds.tools.insert(tool.clone(), Hold { by, until, starts: starts as usize });
        }
        let paused = |by| Hold { by, until: now, starts: 0 };
        for tool in controls.paused_tools.keys() {
            holds.tools.insert(tool.clone(), paused(HeldBy::ToolPaused));
        }
        for tenant in controls.paused_tenants.keys() {
            holds.tenants.insert(tenant.clone(), paused(HeldBy::TenantPaused));
        }
        Lent { holds, retries }
    }

    /// Takes back what was lent and not used; the rest begins.
    pub(crate) fn give_back(&self, lent: &Lent, rest: &Rest, now: Micros) {
        let mut known = self.known();
        let retries = lent.retries - rest.retries;
        known.retries.used(rest.granted - retries, retries);
        let mut said = Vec::new();
        for (tool, hold) in &lent.holds.tools {
            let left = rest.holds.tools.get(tool).map_or(0, |rest| rest.starts);
            let used = u32::try_from(hold.starts - left).unwrap_or(u32::MAX);
            let lent_out = u32::try_from(hold.starts).unwrap_or(u32::MAX);
            if let Some(out) = known.lent.get_mut(tool) {
                *out = out.saturating_sub(lent_out);
            }
            let rules = known.rules;
            let breaker = known.breakers.get_mut(tool);
            let begun = breaker.and_then(|breaker| breaker.begin(used, &rules, now));
            said.extend(begun.map(|turn| known.record(tool, turn, now)));
        }
        known.lent.retain(|_, out| *out > 0);
        let is_waited_for = std::mem::take(&mut known.is_waited_for);
        drop(known);
        self.say(said);
        if is_waited_for {
            self.changed();
        }
    }

    /// How many steps that wait at a place may be woken now; `None` where nothing holds them back any more, see
    /// [`Health::release`]. What another has borrowed is not among them; it is told when that is given back.
    pub(crate) fn lets_through(&self, at: &HeldAt, now: Micros) -> Option<usize> {
        let mut known = self.known();
        match at {
            HeldAt::Tenant(tenant) => known.controls.paused_tenants.get(tenant).map(|_| 0),
            HeldAt::Tool(tool) if known.is_paused(tool) => Some(0),
            HeldAt::Tool(tool) => match known.breakers.get(tool)?.starts(now) {
                Starts::Free => None,
                Starts::Only(starts, ..) => {
                    let out = known.lent.get(tool).copied().unwrap_or(0);
                    known.is_waited_for |= out > 0;
                    Some(starts.saturating_sub(out) as usize)
                }
            },
        }
    }

    /// How many of those go on now whom nothing holds back any more.
    pub(crate) fn release(&self, wanted: usize, now: Micros) -> usize {
        self.known().releases.take(wanted, now)
    }

    /// When one more of them goes on.
    pub(crate) fn releases_at(&self, now: Micros) -> Micros {
        self.known().releases.next_at(now)
    }

    /// When more may begin at a place although nothing was heard.
    pub(crate) fn changes_at(&self, at: &HeldAt, now: Micros) -> Option<Micros> {
        match at {
            HeldAt::Tenant(_) => None,
            HeldAt::Tool(tool) => self.known().breakers.get(tool)?.changes_at(now),
        }
    }

    /// Whether a start that was decided before must not be acted on now.
    pub(crate) fn forbids(&self, tenant: &str, tool: &str, now: Micros) -> bool {
        let known = self.known();
        if known.controls.paused_tenants.contains_key(tenant) || known.is_paused(tool) {
            return true;
        }
        let Some(breaker) = known.breakers.get(tool) else { return false };
        // Where calls are let through one by one, this start may be one of them.
        matches!(breaker.starts(now), Starts::Only(0, ..)) && !breaker.is_tried(now)
    }

    /// A call of a tool begins. Gives what [`Health::ended`] asks for.
    pub(crate) fn began(&self, tool: &str) -> u64 {
        self.known().breakers.get(tool).map_or(0, Breaker::epoch)
    }

    /// A call has ended. A failure that the tool was known for is free of charge.
    pub(crate) fn ended(&self, tool: &str, epoch: u64, end: CallEnd, now: Micros) -> CallEnd {
        let sign = sign(&end);
        let mut known = self.known();
        let rules = known.rules;
        let is_known = known.breakers.contains_key(tool);
        if !is_known && matches!(sign, Sign::Works | Sign::None) {
            return end;
        }
        let (free, turn) = known.breaker(tool, now).ended(epoch, sign, &rules, now);
        if known.breakers.get(tool).is_some_and(|breaker| breaker.is_new(now)) {
            known.breakers.remove(tool);
        }
        let said = turn.map(|turn| known.record(tool, turn, now));
        drop(known);
        self.say(said);
        if is_known {
            self.changed();
        }
        match end {
            CallEnd::Failed(mut error) => {
                error.free |= free && !planted(Mutant::OpenBreakerSpends);
                CallEnd::Failed(error)
            }
            end @ (CallEnd::Completed { .. } | CallEnd::NeverSent(_)) => end,
        }
    }

    fn say(&self, records: impl IntoIterator<Item = ControlRecord>) {
        for record in records {
            tell(&record);
            if self.says.try_send(record).is_err() {
                tracing::warn!("the log takes no news of tools now; others find out by themselves");
            }
            self.changed();
        }
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn breaker(&mut self, tool: &str, now: Micros) -> &mut Breaker {
        if self.breakers.len() >= limits::TOOLS && !self.breakers.contains_key(tool) {
            self.breakers.retain(|_, breaker| !breaker.is_new(now));
            // As many that are all in trouble: what they know by themselves they find out again.
            if self.breakers.len() >= limits::TOOLS {
                self.breakers.retain(|_, breaker| breaker.is_forced());
            }
        }
        self.breakers.entry(tool.to_owned()).or_default()
    }

    /// What others and operators say to a breaker.
    fn hear(&mut self, change: &Change, now: Micros) {
        let Some(tool) = change.tool() else { return };
        let rules = self.rules;
        match change {
            Change::BreakerChanged { state, until, .. } => {
                self.breaker(tool, now).hear(*state, *until, &rules, now);
            }
            Change::BreakerForced { state, .. } => {
                self.breaker(tool, now).force(*state, &rules, now);
            }
            Change::LimitChanged { until, .. } => {
                self.breaker(tool, now).hear_limit(*until, &rules, now);
            }
            Change::ToolPaused { .. }
            | Change::ToolResumed { .. }
            | Change::TenantPaused { .. }
            | Change::TenantResumed { .. } => {}
        }
    }

    fn is_paused(&self, tool: &str) -> bool {
        self.controls.paused_tools.contains_key(tool)
    }

    fn record(&mut self, tool: &str, turn: Turn, now: Micros) -> ControlRecord {
        metrics::observe_turn(&turn);
        let tool = tool.to_owned();
        let (change, reason) = match turn {
            Turn::Breaker(state, until, why) => {
                (Change::BreakerChanged { tool, state, until }, why)
            }
            Turn::Limit(until) => {
                (Change::LimitChanged { tool, until }, "the tool asked for a pause".to_owned())
            }
        };
        let record = ControlRecord { at: now, by: self.worker.clone(), reason, change };
        self.controls.apply(record.clone());
        record
    }
}

/// Writes down what this process found out.
fn tell(record: &ControlRecord) {
    let reason = &record.reason;
    match &record.change {
        Change::BreakerChanged { tool, state: BreakerState::Open, until: Some(until) } => {
            tracing::warn!(tool, %until, reason, "circuit breaker opened");
        }
        Change::BreakerChanged { tool, state, .. } => {
            tracing::info!(tool, state = state.as_str(), reason, "circuit breaker changed");
        }
        Change::LimitChanged { tool, until } => {
            tracing::warn!(tool, %until, "a tool asked for a pause");
        }
        Change::BreakerForced { .. }
        | Change::ToolPaused { .. }
        | Change::ToolResumed { .. }
        | Change::TenantPaused { .. }
        | Change::TenantResumed { .. } => {}
    }
}
