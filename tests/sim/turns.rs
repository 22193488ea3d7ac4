//! What must hold of runs with a brain: the answer that was taken first is the answer, the plan is what the run
//! began with and the answers, in their order, and nothing begins that comes behind an open question or was dropped.

use spine_runs::{RunState, RunStatus, StepStatus, brain};
use spine_schemas::{BRAIN_SCOPE, Body, Digest, Event, Plan, RunEvent, RunKey, StepEvent, StepKey};
use std::collections::BTreeMap;

/// Answers that were taken.
#[derive(Default)]
pub(crate) struct Turns(BTreeMap<(RunKey, StepKey), Digest>);

impl Turns {
    /// Looks at a run after an event of it was folded.
    pub(crate) fn check(&mut self, run: &RunState, event: &Event) {
        if let Some(plan) = run.plan().filter(|plan| plan.brain.is_some()) {
            check_list(run, plan, event);
        }
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

/// What was dropped was left out and nothing else, and all of it when the run completes; the rest comes in turns.
fn check_list(run: &RunState, plan: &Plan, event: &Event) {
    let (name, mut open) = (&run.key, None);
    let completes = matches!(&event.body, Body::Run(_, RunEvent::Completed { .. }));
    let completed = completes && matches!(run.status, RunStatus::Completed | RunStatus::Degraded);
    for planned in plan.in_list() {
        let (key, state) = (&planned.key, run.steps.get(&planned.key));
        if plan.dropped.contains_key(key) {
            let begun = state.filter(|it| it.status != StepStatus::Skipped || it.attempt > 0);
            assert!(begun.is_none(), "{name} {key}: dropped, and begun all the same");
            assert!(!completed || state.is_some(), "{name} {key}: dropped, and the log is silent");
            continue;
        }
        if let Some(ask) = open.filter(|_| state.is_some()) {
            panic!("{name} {key}: began before {ask} was answered");
        }
        let has_answer = state
            .is_some_and(|it| matches!(it.status, StepStatus::Completed | StepStatus::Skipped));
        if *key.scope == *BRAIN_SCOPE && !has_answer {
            open = Some(key);
        }
    }
}

/// Whether an event is an answer that its run cannot take.
pub(crate) fn is_nonsense(run: &RunState, event: &Event) -> bool {
    let Body::Step(_, key, StepEvent::Completed { output, .. }) = &event.body else { return false };
    matches!(brain::answered(run, key, output), Some(Err(_)))
}
