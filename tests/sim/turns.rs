//! What must hold of runs with a brain: the answer that was taken first is the answer, and the plan is what the
//! run began with and the answers, in their order.

use spine_runs::{RunState, StepStatus, brain};
use spine_schemas::{BRAIN_SCOPE, Body, Digest, Event, RunKey, StepEvent, StepKey};
use std::collections::BTreeMap;

/// Answers that were taken.
#[derive(Default)]
pub(crate) struct Turns(BTreeMap<(RunKey, StepKey), Digest>);

impl Turns {
    /// Looks at a run after an event of it was folded.
    pub(crate) fn check(&mut self, run: &RunState, event: &Event) {
        let Body::Step(_, key, _) = &event.body else { return };
        if *key.scope != *BRAIN_SCOPE {
            return;
        }
        let name = &run.key;
        let rebuilt = brain::grown(&run.created, &run.steps).unwrap();
        assert!(rebuilt == run.grown, "{name}: the plan does not follow from the answers");
        let asked = run.steps.values().filter(|step| *step.key.scope == *BRAIN_SCOPE);
        for step in asked.filter(|step| step.status == StepStatus::Completed) {
            let digest = step.output.as_ref().unwrap().payload.digest;
            let first = self.0.entry((name.clone(), step.key.clone())).or_insert(digest);
            assert_eq!(*first, digest, "{name} {}: another answer was taken", step.key);
        }
    }
}

/// Whether an event is an answer that its run cannot take.
pub(crate) fn is_nonsense(run: &RunState, event: &Event) -> bool {
    let Body::Step(_, key, StepEvent::Completed { output, .. }) = &event.body else { return false };
    matches!(brain::answered(run, key, output), Some(Err(_)))
}
