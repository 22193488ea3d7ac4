//! Questions to a person: how one is opened about a step, and what its answer does.

use super::{Place, Verdict, approval, gate::Author, operator};
use crate::{
    Answer, Reason, RunState, StepState, StepStatus, TaskRef, brain, input, kept, undo, unresolved,
};
use spine_schemas::{
    Digest, Driver, ErrorClass, OnExhausted, Output, Payload, StepError, StepKey, TaskVerdict,
    keys, time::Micros,
};

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
    let asks = step.is_undecided() && step.spec.on_exhausted == OnExhausted::Escalate;
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
    let (offset, at) = (place.offset, place.at);
    let task = TaskRef { task_id, offset, at, call: None, until: None, approvers: Vec::new() };
    step.task = Some(Box::new(task));
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

/// The owner's decision to ask before a call. It is bound to that call.
pub(super) fn approval_requested(
    state: &mut RunState,
    key: &StepKey,
    request: &Request,
    place: Place,
) -> Verdict {
    let (run_key, may_start) = (state.key.clone(), undo::may_start(state, key));
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let expected = keys::task_id(&run_key, key, step.tasks);
    let asks = step.status.may_start() && may_start && step.spec.approval_ms.is_some();
    let is_same = request.attempt == step.attempt + 1 && request.call == step.call_digest();
    if !asks || !is_same || request.task_id != expected {
        return Author::Owner.reject(Reason::LostRace);
    }
    approval::ask(&mut step, request.task_id, request.expires_at, place);
    Verdict::Applied(Answer::Ok)
}

/// What `approval_requested` says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) attempt: u32,
    pub(super) task_id: Digest,
    pub(super) call: Digest,
    pub(super) expires_at: Micros,
}

/// The owner's decision that nobody answered in time, which means no.
pub(super) fn expired(
    state: &mut RunState,
    key: &StepKey,
    task_id: Digest,
    place: Place,
) -> Verdict {
    // Time stands still in a pause, also for a decision that was made before it was read.
    let goes_on = undo::may_start(state, key);
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let asked = step.task.as_ref().is_some_and(|task| {
        task.task_id == task_id && task.until.is_some() && step.status == StepStatus::Awaiting
    });
    if !asked || !goes_on {
        return Author::Owner.reject(Reason::LostRace);
    }
    refuse_call(&mut step, "approval_expired", "nobody approved of the call in time", place);
    Verdict::Applied(Answer::Ok)
}

/// A call that must not be made is a failure of its own, and never a success with a text.
fn refuse_call(step: &mut StepState, code: &str, message: &str, place: Place) {
    step.error = Some(StepError::new(ErrorClass::Policy, code, message));
    step.status = StepStatus::Failed;
    step.task = None;
    step.last_offset = place.offset;
}

/// An older attempt turned out to have succeeded while somebody was asked: where repeating may hurt that is
/// looked into first.
pub(super) fn heed_evidence(step: &mut StepState) {
    if step.late_success && step.spec.effect.is_careful() {
        step.status = StepStatus::Unknown;
    }
}

/// The answer to a request that the state does not allow.
pub(super) fn refuse(code: Reason) -> Verdict {
    Verdict::Refused(code, Answer::Denied { code })
}

/// The step is tried again with its full budget, unless the remote may have forgotten its key.
fn retried(step: &mut StepState, driver: Driver, place: Place) -> Verdict {
    if unresolved::key_is_forgotten(driver, step, place.at) {
        return refuse(Reason::NeedsForce);
    }
    operator::accept_unresolved(driver, step);
    operator::put_back(step, place);
    heed_evidence(step);
    Verdict::Applied(Answer::Ok)
}

/// What somebody answered, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision<'a> {
    pub(super) verdict: TaskVerdict,
    pub(super) reason: &'a str,
    /// Who it was.
    pub(super) by: &'a str,
}

/// The first answer counts, and where a call needs more than one approval, the one that completes them.
pub(super) fn decided(
    state: &mut RunState,
    key: &StepKey,
    task_id: Digest,
    decision: Decision<'_>,
    output: Option<&Output>,
    place: Place,
) -> Verdict {
    let Decision { verdict, reason, by } = decision;
    let (driver, open, is_paused) = (state.driver(), state.is_open(), state.paused.is_some());
    let found = output.cloned().unwrap_or_else(|| Output::of(Payload::null()));
    let has_room = kept::has_room(state, found.payload.data.len());
    let completes = verdict == TaskVerdict::Complete;
    let grown = brain::answered(state, key, &found).filter(|_| completes);
    let has_template = state.steps.get(key).is_some_and(|step| input::is_template(state, step));
    let Some(mut step) = state.steps.get_mut(key) else {
        return refuse(Reason::StepAbsent);
    };
    if step.task.as_ref().is_none_or(|task| task.task_id != task_id) {
        return refuse(Reason::TaskClosed);
    }
    if !open {
        return refuse(Reason::RunEnded);
    }
    let about_call = step.task.as_ref().is_some_and(|task| task.call.is_some());
    let answers_call = matches!(verdict, TaskVerdict::Approve | TaskVerdict::Deny);
    if about_call != answers_call {
        return refuse(Reason::StepState);
    }
    if let Some(Err(_)) = grown {
        return refuse(Reason::BrainAnswer);
    }
    let step = &mut *step;
    match verdict {
        TaskVerdict::Approve => return approval::approve(step, by, is_paused, place),
        TaskVerdict::Deny => {
            refuse_call(step, "approval_denied", reason, place);
            return Verdict::Applied(Answer::Ok);
        }
        TaskVerdict::Retry if has_template => return refuse(Reason::InputUnresolved),
        TaskVerdict::Retry => return retried(step, driver, place),
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
    if let Some(Ok(plan)) = grown {
        state.grown = Some(plan);
    }
    Verdict::Applied(Answer::Ok)
}
