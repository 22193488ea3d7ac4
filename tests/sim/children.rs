//! What must hold of runs that are steps of others: one for each attempt, told of what becomes of its
//! parent, and its end is the end of the attempt.

use spine_runs::{AttemptEnd, AttemptState, RunState, RunStatus, StepState};
use spine_schemas::{Body, Event, RunEvent, RunKey, keys, spec::RUN_TOOL};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What was seen of them in the log.
#[derive(Debug, Default)]
pub(crate) struct Children {
    /// Those that ran when their parent was to be cancelled.
    to_cancel: BTreeSet<RunKey>,
    /// Runs that were asked to end.
    asked: BTreeSet<RunKey>,
}

impl Children {
    /// Takes an event and whether it was applied to the run.
    pub(crate) fn take(&mut self, before: Option<&RunState>, event: &Event, applied: bool) {
        let Body::Run(_, body) = &event.body else { return };
        let Some(key) = event.run_key() else { return };
        if matches!(body, RunEvent::CancelRequested { .. } | RunEvent::Cancelled { .. }) {
            self.asked.insert(key);
        }
        if let (RunEvent::CancelRequested { .. }, true, Some(run)) = (body, applied, before) {
            let running = run.steps.values().filter(|step| step.live.is_some());
            let children = running.filter(|step| step.spec.tool == RUN_TOOL);
            self.to_cancel.extend(children.map(|step| child(run, step, step.attempt)));
        }
    }

    /// Once all runs have ended.
    pub(crate) fn check(&self, runs: &BTreeMap<RunKey, Arc<RunState>>) {
        for key in &self.to_cancel {
            assert!(self.asked.contains(key), "{key}: goes on in a run that is cancelled");
        }
        for run in runs.values().filter(|run| run.driver() == spine_schemas::Driver::Plan) {
            let steps = run.steps.values();
            for step in steps.filter(|step| step.spec.tool == RUN_TOOL && !step.reused) {
                for attempt in &step.attempts {
                    check_attempt(run, step, attempt, runs);
                }
            }
            check_caller(run, runs);
        }
    }
}

fn child(run: &RunState, step: &StepState, attempt: u32) -> RunKey {
    RunKey::new(&run.key.tenant, &keys::child_run_id(&run.key, &step.key, attempt))
}

fn check_attempt(
    run: &RunState,
    step: &StepState,
    attempt: &AttemptState,
    runs: &BTreeMap<RunKey, Arc<RunState>>,
) {
    let key = child(run, step, attempt.attempt);
    let began = runs.get(&key).unwrap_or_else(|| panic!("{key} never began"));
    assert!(!began.is_open(), "{key} has not ended");
    let digest = |output: &Option<spine_schemas::Output>| {
        output.as_ref().map(|output| output.payload.digest)
    };
    match &attempt.end {
        AttemptEnd::Completed => {
            let ended_well = matches!(began.status, RunStatus::Completed | RunStatus::Degraded);
            assert!(ended_well, "{key}: {:?}, and its step completed", began.status);
            if began.output.is_some() {
                assert_eq!(digest(&began.output), digest(&step.output), "{key}: another output");
            }
        }
        // Of one that was killed an operator may say that it did not happen.
        AttemptEnd::Failed(_) | AttemptEnd::DidNotHappen => {
            let ended_badly = matches!(began.status, RunStatus::Failed | RunStatus::Cancelled);
            assert!(ended_badly, "{key}: {:?}, and its step failed", began.status);
        }
        // Its own run had ended before.
        AttemptEnd::Lost(_) | AttemptEnd::Running => {
            assert!(!run.is_open(), "{key}: ended, and its step was not told");
        }
        AttemptEnd::Released(_) => panic!("{key}: given back"),
    }
}

/// Every run that says that it is an attempt of a step is one.
fn check_caller(run: &RunState, runs: &BTreeMap<RunKey, Arc<RunState>>) {
    let Some(caller) = &run.created.caller else { return };
    let parent = RunKey::new(&run.key.tenant, run.created.parent.as_deref().unwrap());
    let step = &runs[&parent].steps[&caller.step];
    let attempt = step.attempts.iter().find(|attempt| attempt.attempt == caller.attempt);
    assert_eq!(attempt.map(|attempt| attempt.lease), Some(caller.lease), "{}", run.key);
}
