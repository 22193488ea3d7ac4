//! The steps of a run, and what is asked of all of them again and again: which have not ended, how many
//! are in each state, how many bytes they keep. A run of ten thousand steps must not be looked through
//! with every event.
//!
//! Nothing of this is stored; it follows from the steps.

use crate::{StepState, StepStatus};
use spine_schemas::StepKey;
use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    sync::Arc,
};

/// So few of all steps, as one part of this, are sought by their keys.
const FEW: usize = 8;

/// Steps by key. Read it as a map.
#[derive(Clone, Debug, Default)]
pub struct Steps {
    all: BTreeMap<StepKey, Arc<StepState>>,
    index: Index,
}

/// What follows from the steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Index {
    /// Sorted. Nearly always a few, which a list holds without asking for memory again and again.
    unsettled: Vec<StepKey>,
    counts: [u32; StepStatus::COUNT],
    payload_bytes: usize,
}

/// What the index holds of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    status: StepStatus,
    payload_bytes: usize,
}

impl Steps {
    /// Adds a step, or replaces it.
    pub fn insert(&mut self, step: Arc<StepState>) {
        let (key, entry) = (step.key.clone(), Entry::of(&step));
        let before = self.all.insert(key.clone(), step);
        self.index.replace(&key, before.map(|before| Entry::of(&before)), Some(entry));
    }

    /// A step, to be changed.
    pub fn get_mut(&mut self, key: &StepKey) -> Option<StepMut<'_>> {
        let step = self.all.get_mut(key)?;
        Some(StepMut { before: Entry::of(step), step, index: &mut self.index })
    }

    /// Steps that may still move, in the order of their keys: neither completed, skipped nor cancelled. A few
    /// are sought one by one; where they are many of all, going through all takes a tenth of that.
    pub fn unsettled(&self) -> impl Iterator<Item = &Arc<StepState>> {
        let keys = &self.index.unsettled;
        let are_few = keys.len() * FEW < self.all.len();
        let sought = are_few.then(|| keys.iter().map(|key| &self.all[key]));
        let all = (!are_few).then(|| self.all.values().filter(|step| !step.status.is_terminal()));
        sought.into_iter().flatten().chain(all.into_iter().flatten())
    }

    /// How many steps are in a state.
    pub fn count(&self, status: StepStatus) -> u32 {
        self.index.counts[status as usize]
    }

    /// Bytes of inputs and outputs that are kept.
    pub fn payload_bytes(&self) -> usize {
        self.index.payload_bytes
    }
}

impl Index {
    fn replace(&mut self, key: &StepKey, before: Option<Entry>, after: Option<Entry>) {
        if let Some(before) = before {
            self.counts[before.status as usize] -= 1;
            self.payload_bytes -= before.payload_bytes;
        }
        if let Some(after) = after {
            self.counts[after.status as usize] += 1;
            self.payload_bytes += after.payload_bytes;
        }
        let is_unsettled = |entry: Option<Entry>| entry.is_some_and(|it| !it.status.is_terminal());
        if is_unsettled(before) != is_unsettled(after) {
            match self.unsettled.binary_search(key) {
                Ok(at) => _ = self.unsettled.remove(at),
                Err(at) => self.unsettled.insert(at, key.clone()),
            }
        }
    }
}

impl Entry {
    fn of(step: &StepState) -> Self {
        let output = step.output.as_ref().map_or(0, |output| output.payload.data.len());
        Self { status: step.status, payload_bytes: step.spec.input.data.len() + output }
    }
}

/// A step that is being changed. What follows from it is brought up to date when this is dropped.
#[derive(Debug)]
pub struct StepMut<'a> {
    step: &'a mut Arc<StepState>,
    before: Entry,
    index: &'a mut Index,
}

impl Deref for StepMut<'_> {
    type Target = StepState;

    fn deref(&self) -> &StepState {
        self.step
    }
}

impl DerefMut for StepMut<'_> {
    /// The state may be shared with readers: only now is a copy made.
    fn deref_mut(&mut self) -> &mut StepState {
        Arc::make_mut(self.step)
    }
}

impl Drop for StepMut<'_> {
    fn drop(&mut self) {
        let after = Entry::of(self.step);
        if after != self.before {
            self.index.replace(&self.step.key, Some(self.before), Some(after));
        }
    }
}

impl Deref for Steps {
    type Target = BTreeMap<StepKey, Arc<StepState>>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl PartialEq for Steps {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl FromIterator<Arc<StepState>> for Steps {
    fn from_iter<I: IntoIterator<Item = Arc<StepState>>>(steps: I) -> Self {
        let mut all = Self::default();
        steps.into_iter().for_each(|step| all.insert(step));
        all
    }
}

impl<'a> IntoIterator for &'a Steps {
    type Item = (&'a StepKey, &'a Arc<StepState>);
    type IntoIter = std::collections::btree_map::Iter<'a, StepKey, Arc<StepState>>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

#[cfg(test)]
impl Steps {
    /// Whether the index is what follows from the steps.
    pub(crate) fn is_indexed(&self) -> bool {
        self.all.values().cloned().collect::<Self>().index == self.index
    }
}
