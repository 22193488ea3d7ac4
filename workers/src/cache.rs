//! The runs that an owner holds in memory. A run leaves only when the store has its last event.

use crate::limits::Share;
use spine_runs::RunState;
use spine_schemas::RunKey;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Runs by key, with the least recently used ones leaving first.
#[derive(Debug, Default)]
pub(crate) struct RunCache {
    /// Never walked, but for a look that changes nothing: its order is another one each time.
    entries: HashMap<RunKey, Entry>,
    uses: VecDeque<(u64, RunKey)>,
    clock: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    run: Option<Arc<RunState>>,
    touched: Option<u64>,
    used: u64,
    bytes: usize,
}

impl RunCache {
    /// Whether the state of a run is known (which may be that there is none).
    pub(crate) fn knows(&self, key: &RunKey) -> bool {
        self.entries.contains_key(key)
    }

    /// Puts in what the store has for a run.
    pub(crate) fn insert(&mut self, key: RunKey, run: Option<RunState>) {
        let bytes = run.as_ref().map_or(64, approximate_bytes);
        self.clock += 1;
        self.bytes += bytes;
        self.uses.push_back((self.clock, key.clone()));
        let run = run.map(Arc::new);
        let entry = Entry { run, touched: None, used: self.clock, bytes };
        if let Some(before) = self.entries.insert(key, entry) {
            self.bytes -= before.bytes;
        }
    }

    /// The state of a run that is known.
    pub(crate) fn get(&self, key: &RunKey) -> Option<&Arc<RunState>> {
        self.entries.get(key)?.run.as_ref()
    }

    /// Every run that is known and there, in the order of their keys.
    #[cfg(feature = "mutants")]
    pub(crate) fn runs(&self) -> Vec<&Arc<RunState>> {
        let mut runs: Vec<_> =
            self.entries.values().filter_map(|entry| entry.run.as_ref()).collect();
        runs.sort_unstable_by_key(|run| &run.key);
        runs
    }

    /// The state of a known run for folding an event of `bytes` at `offset`.
    pub(crate) fn slot(
        &mut self,
        key: &RunKey,
        offset: u64,
        bytes: usize,
    ) -> &mut Option<Arc<RunState>> {
        self.bytes += bytes;
        let entry = self.entries.get_mut(key).expect("runs are loaded before they are folded");
        entry.touched = Some(offset);
        entry.bytes += bytes;
        // Events of one run often come together.
        if self.uses.back().is_none_or(|(newest, _)| *newest != entry.used) {
            self.clock += 1;
            entry.used = self.clock;
            self.uses.push_back((self.clock, key.clone()));
        }
        &mut entry.run
    }

    /// Lets runs go until the bounds hold again; never one that the store does not have up to
    /// `stored`, nor one that is pinned.
    pub(crate) fn evict(
        &mut self,
        share: Share,
        stored: Option<u64>,
        pinned: impl Fn(&RunKey) -> bool,
    ) {
        let mut tries = self.uses.len();
        while tries > 0 && (self.entries.len() > share.runs || self.bytes > share.run_bytes) {
            tries -= 1;
            let Some((used, key)) = self.uses.pop_front() else {
                return;
            };
            let Some(entry) = self.entries.get(&key) else {
                continue;
            };
            if entry.used != used {
                continue;
            }
            if entry.touched > stored {
                // Whatever was used later is not stored either, but for runs that were only looked at.
                self.uses.push_front((used, key));
                break;
            }
            if pinned(&key) {
                self.uses.push_back((used, key));
                continue;
            }
            self.bytes -= entry.bytes;
            self.entries.remove(&key);
        }
        self.forget_old_uses();
    }

    /// The use list holds one entry per use; drop those that newer uses made void.
    fn forget_old_uses(&mut self) {
        if self.uses.len() > 4 * self.entries.len() + 1024 {
            let entries = &self.entries;
            self.uses.retain(|(used, key)| entries.get(key).is_some_and(|e| e.used == *used));
        }
    }
}

fn approximate_bytes(run: &RunState) -> usize {
    let steps = run.steps.values().map(|step| {
        let output = step.output.as_ref().map_or(0, |output| output.payload.data.len());
        512 + step.spec.input.data.len() + output
    });
    // What a plan was read from, and about twice as much for what was read.
    let plan = run.plan().map_or(0, |plan| {
        let answers = plan.answers.iter().map(|answer| 64 + 3 * answer.len());
        3 * plan.source.len() + answers.sum::<usize>()
    });
    let signals = run.signals.iter().map(|signal| 64 + signal.data.data.len()).sum::<usize>();
    1024 + run.created.input.data.len() + plan + signals + steps.sum::<usize>()
}
