//! What people do with stuck steps: resolve an unknown outcome, redrive or discard a letter; and
//! how a letter comes about.

use super::{Place, Verdict, gate::Author};
use crate::{
    Answer, AttemptEnd, LetterRef, Reason, RunState, StepState, StepStatus, brain, input, kept,
    undo, unresolved,
};
use spine_schemas::{
    Digest, Driver, Effect, InputEdit, OnExhausted, Output, Payload, Resolution, StepError,
    StepKey, StepSpec, Then, keys, time::Micros,
};
use std::sync::Arc;

fn refuse(code: Reason) -> Verdict {
    Verdict::Refused(code, Answer::Denied { code })
}

pub(super) fn resolved(
    state: &mut RunState,
    key: &StepKey,
    resolution: &Resolution,
    place: Place,
) -> Verdict {
    let driver = state.driver();
    let found = resolution.output.clone().unwrap_or_else(|| Output::of(Payload::null()));
    let has_room = kept::has_room(state, found.payload.data.len());
    let grown = match brain::answered(state, key, &found).filter(|_| resolution.happened) {
        Some(Err(_)) => return refuse(Reason::BrainAnswer),
        Some(Ok(plan)) => Some(plan),
        None => None,
    };
    let Some(mut step) = state.steps.get_mut(key) else {
        return refuse(Reason::StepAbsent);
    };
    if step.status != StepStatus::Unknown {
        return refuse(Reason::StepState);
    }
    if step.attempt != resolution.attempt {
        return refuse(Reason::WrongAttempt);
    }
    let step = &mut *step;
    step.last_offset = place.offset;
    step.lost_in_row = 0;
    if resolution.happened {
        happened(step, kept::output(&found, has_room), "resolved", place);
    } else {
        did_not_happen(driver, step);
    }
    state.grown = grown.or_else(|| state.grown.take());
    Verdict::Applied(Answer::Ok)
}

/// The effect of a step took place; `source` says who found that out.
pub(super) fn happened(step: &mut StepState, found: Output, source: &str, place: Place) {
    step.late_success = false;
    step.probe = None;
    step.output = Some(Output { source: Some(source.into()), ..found });
    step.status = StepStatus::Completed;
    step.ended_at = Some(place.at);
}

/// Whoever looked found no effect of the step at all, so all its attempts are settled.
pub(super) fn did_not_happen(driver: Driver, step: &mut StepState) {
    step.late_success = false;
    step.probe = None;
    let spec = step.spec.clone();
    for attempt in &mut step.attempts {
        if unresolved::is_unresolved(driver, &spec, attempt) {
            attempt.end = AttemptEnd::DidNotHappen;
        }
    }
    // What the attempts cost stays spent: a probe that always finds nothing must not retry for ever.
    step.status = if step.charged >= step.spec.retry.max_attempts {
        StepStatus::Failed
    } else {
        StepStatus::Scheduled
    };
}

/// The owner's decision that retrying is over. The letter's id follows from the step alone.
pub(super) fn dead_lettered(
    state: &mut RunState,
    key: &StepKey,
    attempt: u32,
    letter_id: Digest,
    error: &StepError,
    place: Place,
) -> Verdict {
    let run_key = state.key.clone();
    let is_plan = state.driver() == Driver::Plan;
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let expected = keys::step_letter_id(&run_key, key, step.generation);
    let by_letter = match step.spec.on_exhausted {
        OnExhausted::DeadLetter | OnExhausted::Fail => true,
        OnExhausted::Skip
        | OnExhausted::Fallback
        | OnExhausted::Compensate
        | OnExhausted::Escalate => !is_plan,
    };
    if !step.is_undecided() || !by_letter || step.attempt != attempt || letter_id != expected {
        return Author::Owner.reject(Reason::LostRace);
    }
    let step = &mut *step;
    step.status = StepStatus::DeadLettered;
    step.due_at = None;
    step.error = Some(error.clone());
    step.letter = Some(LetterRef { letter_id, offset: place.offset, at: place.at });
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

pub(super) fn redriven(
    state: &mut RunState,
    key: &StepKey,
    letter_id: Digest,
    force: bool,
    edit: Option<&InputEdit>,
    place: Place,
) -> Verdict {
    let driver = state.driver();
    let open = state.is_open();
    let is_ending = state.is_ending() && !undo::is_undo(state, key);
    let has_room = edit.is_none_or(|edit| kept::has_room(state, edit.after.data.len()));
    let has_template =
        edit.is_none() && state.steps.get(key).is_some_and(|step| input::is_template(state, step));
    let Some(mut step) = state.steps.get_mut(key) else {
        return refuse(Reason::StepAbsent);
    };
    if step.letter.as_ref().is_none_or(|letter| letter.letter_id != letter_id) {
        return refuse(Reason::LetterClosed);
    }
    if !open {
        return refuse(Reason::RunEnded);
    }
    // It would only be cancelled with its run.
    if is_ending {
        return refuse(Reason::RunEnding);
    }
    if step.status != StepStatus::DeadLettered {
        return refuse(Reason::StepState);
    }
    if has_template {
        return refuse(Reason::InputUnresolved);
    }
    if needs_force(driver, &step, place.at) && !force {
        return refuse(Reason::NeedsForce);
    }
    if let Some(edit) = edit {
        if unresolved::any(driver, &step) {
            return refuse(Reason::EditUnresolved);
        }
        if edit.before != step.spec.input.digest {
            let (stored, given) = (step.spec.input.digest, edit.before);
            return Verdict::Refused(Reason::StepConflict, Answer::Conflict { stored, given });
        }
        if !has_room {
            return refuse(Reason::LimitReached);
        }
    }
    let step = &mut *step;
    if let Some(edit) = edit {
        let spec = StepSpec { input: edit.after.clone(), ..StepSpec::clone(&step.spec) };
        step.spec = Arc::new(spec);
        step.edit += 1;
    }
    if force {
        accept_unresolved(driver, step);
    }
    put_back(step, place);
    Verdict::Applied(Answer::Ok)
}

/// Whoever forces a redrive accepts that the attempts so far may have taken effect.
pub(super) fn accept_unresolved(driver: Driver, step: &mut StepState) {
    let spec = step.spec.clone();
    for attempt in &mut step.attempts {
        attempt.accepted |= unresolved::is_unresolved(driver, &spec, attempt);
    }
}

/// A redriven step keeps its identity, key and history, and gets its full budget again.
pub(super) fn put_back(step: &mut StepState, place: Place) {
    step.generation += 1;
    step.charged = 0;
    step.lost_in_row = 0;
    step.free_in_row = 0;
    step.budget_from = place.at;
    step.first_started_at = None;
    step.breaker_since = None;
    step.letter = None;
    step.task = None;
    step.status = StepStatus::Scheduled;
    step.last_offset = place.offset;
}

/// Whether another attempt may repeat an effect: a careful step, or one with an unresolved attempt
/// that the remote may have forgotten by now.
fn needs_force(driver: Driver, step: &StepState, now: Micros) -> bool {
    match step.spec.effect {
        // What was never begun repeats nothing.
        _ if step.attempt == 0 => false,
        Effect::Pure => false,
        Effect::Idempotent => unresolved::key_is_forgotten(driver, step, now),
        Effect::Probe | Effect::AtMostOnce => true,
    }
}

pub(super) fn discarded(
    state: &mut RunState,
    key: &StepKey,
    letter_id: Digest,
    then: Then,
    place: Place,
) -> Verdict {
    let open = state.is_open();
    let Some(mut step) = state.steps.get_mut(key) else {
        return refuse(Reason::StepAbsent);
    };
    if step.letter.as_ref().is_none_or(|letter| letter.letter_id != letter_id) {
        return refuse(Reason::LetterClosed);
    }
    let step = &mut *step;
    step.letter = None;
    step.task = None;
    step.last_offset = place.offset;
    step.ended_at = Some(place.at);
    match then {
        Then::Skip if open => step.status = StepStatus::Skipped,
        Then::Skip | Then::Fail => {
            step.status = StepStatus::Failed;
            step.given_up = true;
        }
    }
    Verdict::Applied(Answer::Ok)
}
