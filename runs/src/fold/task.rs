//! Questions to a person: how one is opened about a step, and what its answer does.

use super::{Place, Verdict, gate::Author, operator, stand_in};
use crate::{Answer, Reason, RunState, StepStatus, TaskRef, kept, undo};
use spine_schemas::{Digest, OnExhausted, Output, Payload, StepError, StepKey, TaskVerdict, keys};

/// The owner's decision to ask. The id follows from the step alone.
pub(super) fn opened(
    state: &mut RunState,
    key: &StepKey,
    attempt: u32,
    task_id: Digest,
    error: &StepError,
    place: Place,
) -> Verdict {
    let (run_key, is_undo) = (state.key.clone(), undo::is_undo(state, key));
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let expected = keys::task_id(&run_key, key, step.tasks);
    let asks = stand_in::waits(&step) && step.spec.on_exhausted == OnExhausted::Escalate;
    // What could not be undone has a letter, and somebody is told of it all the same.
    let is_stuck_undo = step.status == StepStatus::DeadLettered && is_undo;
    let may_ask = (asks || is_stuck_undo) && step.task.is_none();
    if !may_ask || step.attempt != attempt || task_id != expected {
        return Author::Owner.reject(Reason::LostRace);
    }
    let step = &mut *step;
    if asks {
        step.status = StepStatus::Awaiting;
        step.error = Some(error.clone());
        step.due_at = None;
    }
    step.tasks += 1;
    step.task = Some(TaskRef { task_id, offset: place.offset, at: place.at });
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

/// The first answer counts.
pub(super) fn decided(
    state: &mut RunState,
    key: &StepKey,
    task_id: Digest,
    verdict: TaskVerdict,
    output: Option<&Output>,
    place: Place,
) -> Verdict {
    let refuse = |code| Verdict::Refused(code, Answer::Denied { code });
    let (driver, open) = (state.driver(), state.is_open());
    let found = output.cloned().unwrap_or_else(|| Output::of(Payload::null()));
    let has_room = kept::has_room(state, found.payload.data.len());
    let Some(mut step) = state.steps.get_mut(key) else {
        return refuse(Reason::StepAbsent);
    };
    if step.task.as_ref().is_none_or(|task| task.task_id != task_id) {
        return refuse(Reason::TaskClosed);
    }
    if !open {
        return refuse(Reason::RunEnded);
    }
    let step = &mut *step;
    match verdict {
        TaskVerdict::Retry => {
            operator::accept_unresolved(driver, step);
            operator::put_back(step, place);
            return Verdict::Applied(Answer::Ok);
        }
        TaskVerdict::Complete => {
            let found = kept::output(&found, has_room);
            step.output = Some(Output { source: Some("task".into()), ..found });
            step.status = StepStatus::Completed;
        }
        TaskVerdict::Skip => {
            let given = output.is_some().then(|| kept::output(&found, has_room));
            let source = Some("task".to_owned());
            step.output = given.map(|given| Output { degraded: true, source, ..given });
            step.status = StepStatus::Skipped;
        }
        TaskVerdict::Fail => {
            step.status = StepStatus::Failed;
            step.given_up = true;
        }
    }
    step.task = None;
    step.letter = None;
    step.ended_at = Some(place.at);
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}
