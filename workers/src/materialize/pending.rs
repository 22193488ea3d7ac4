//! Rows that wait for the store, with what changed in each run since the last batch.

use crate::cache::RunCache;
use spine_runs::{RunState, Verdict};
use spine_schemas::{Body, Event, RunKey, StepKey};
use spine_store::{DecisionRow, EventRow, LetterClosing, LetterRow, RefusalRow, RunChange};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) events: Vec<EventRow>,
    pub(super) decisions: Vec<DecisionRow>,
    pub(super) letters: Vec<LetterRow>,
    pub(super) closings: Vec<LetterClosing>,
    pub(super) refusals: Vec<RefusalRow>,
    pub(super) values: Vec<bytes::Bytes>,
    pub(super) bytes: usize,
    /// In the order of their first event here, in which their rows lie close together.
    runs: Vec<Changed>,
    /// Where each is in `runs`.
    places: HashMap<RunKey, usize>,
}

#[derive(Debug)]
struct Changed {
    key: RunKey,
    steps: BTreeSet<StepKey>,
    created: bool,
    offset: u64,
}

impl Pending {
    /// Notes what an event changed in its run. Even an event that was not applied may have left a
    /// trace: the answer to an operation, or the progress of a batch.
    pub(super) fn note_run(
        &mut self,
        run: &Arc<RunState>,
        event: &Event,
        offset: u64,
        verdict: &Verdict,
    ) {
        let trace = event.op.is_some() || event.batch.is_some();
        let applied = matches!(verdict, Verdict::Applied(_));
        if !applied && !trace {
            return;
        }
        let changed = self.changed(&run.key);
        changed.offset = offset;
        changed.created |= applied && run.created_offset == offset;
        let replaces = event.op.as_ref().is_some_and(|op| op.replaces.is_some());
        match &event.body {
            Body::Step(_, key, _) if !replaces => {
                if run.steps.contains_key(key) {
                    changed.steps.insert(key.clone());
                }
            }
            Body::Step(..) | Body::Run(..) => {
                let touched = run.steps.values().filter(|step| step.last_offset == offset);
                changed.steps.extend(touched.map(|step| step.key.clone()));
            }
            Body::Partition(_) => {}
        }
    }

    /// What gathers next. It is likely to become as large.
    pub(super) fn begun_anew(&self) -> Self {
        Self {
            events: Vec::with_capacity(self.events.len()),
            values: Vec::with_capacity(self.values.len()),
            runs: Vec::with_capacity(self.runs.len()),
            places: HashMap::with_capacity(self.places.len()),
            ..Self::default()
        }
    }

    fn changed(&mut self, key: &RunKey) -> &mut Changed {
        // Events of one run often come together.
        let newest = self.runs.len().wrapping_sub(1);
        let is_newest = self.runs.last().is_some_and(|changed| changed.key == *key);
        let place = if is_newest { newest } else { self.place(key) };
        &mut self.runs[place]
    }

    fn place(&mut self, key: &RunKey) -> usize {
        if let Some(place) = self.places.get(key) {
            return *place;
        }
        let place = self.runs.len();
        self.places.insert(key.clone(), place);
        let (key, steps) = (key.clone(), BTreeSet::new());
        self.runs.push(Changed { key, steps, created: false, offset: 0 });
        place
    }

    /// What changed since the last batch, which begins anew.
    pub(super) fn take_run_changes(&mut self, cache: &RunCache) -> Vec<RunChange> {
        let runs = std::mem::take(&mut self.runs).into_iter();
        runs.map(|Changed { key, steps, created, offset }| RunChange {
            run: cache.get(&key).expect("a changed run stays until it is stored").clone(),
            offset,
            steps: steps.into_iter().collect(),
            created,
        })
        .collect()
    }
}
