//! Rows that wait for the store, with what changed in each run since the last batch.

use crate::cache::RunCache;
use spine_runs::{RunState, Verdict};
use spine_schemas::{Body, Event, RunKey, StepKey};
use spine_store::{DecisionRow, EventRow, LetterClosing, LetterRow, RefusalRow, RunChange};
use std::{
    collections::{BTreeMap, BTreeSet},
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
    runs: BTreeMap<RunKey, Changed>,
}

#[derive(Debug, Default)]
struct Changed {
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
        let changed = self.runs.entry(run.key.clone()).or_default();
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

    pub(super) fn run_changes(&self, cache: &RunCache) -> Vec<RunChange> {
        self.runs
            .iter()
            .map(|(key, changed)| RunChange {
                run: cache.get(key).expect("a changed run stays until it is stored").clone(),
                offset: changed.offset,
                steps: changed.steps.iter().cloned().collect(),
                created: changed.created,
            })
            .collect()
    }
}
