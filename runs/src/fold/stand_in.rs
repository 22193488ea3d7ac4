//! Steps that are left out, and those that others stand in for.

use super::{
    Place, Verdict,
    attempt::{end_attempt, fresh},
    gate::Author,
};
use crate::{
    Answer, AttemptEnd, Reason, RunState, StepState, StepStatus, brain, fallback, input, kept,
};
use spine_schemas::{BRAIN_DROPPED, Driver, ErrorClass, OnExhausted, Output, StepError, StepKey};
use std::sync::Arc;

/// How a step is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeftOut<'a> {
    pub(super) status: StepStatus,
    pub(super) reason: &'a str,
    /// What stands in for its output.
    pub(super) output: Option<&'a Output>,
}

/// `step_skipped` and `step_cancelled`: reported in record runs; decided for an agent's step whose
/// attempt ended as cancelled, and for a plan's step that can be done without.
pub(super) fn left_out(
    state: &mut RunState,
    key: &StepKey,
    how: LeftOut<'_>,
    place: Place,
    author: Author,
) -> Verdict {
    let LeftOut { status, reason, output } = how;
    let driver = state.driver();
    let has_room = kept::has_room(state, output.map_or(0, |output| output.payload.data.len()));
    let Some(step) = state.steps.get(key) else {
        return never_begun(state, key, how, place, author);
    };
    if step.status == status {
        return author.duplicate();
    }
    let cancels = status == StepStatus::Cancelled;
    let may_leave_out = match driver {
        Driver::Record => true,
        Driver::Journal => cancels && ended_cancelled(step),
        Driver::Plan if cancels => fallback::is_needless(state, step),
        Driver::Plan => may_be_missing(step) || fallback::stand_in(state, step).is_some(),
    };
    let mut step = state.steps.get_mut(key).expect("the step is there: looked at above");
    if !may_leave_out {
        return author.reject(Reason::WrongDriver);
    }
    if step.status.is_terminal() {
        return author.reject(Reason::StepState);
    }
    let step = &mut *step;
    let class = ErrorClass::Cancelled;
    if step.live.is_some() {
        end_attempt(
            step,
            AttemptEnd::Failed(StepError::new(class, status.as_str(), reason)),
            false,
            place,
        );
    }
    step.status = status;
    step.output = output.map(|output| kept::output(output, has_room));
    step.task = None;
    step.wait = None;
    step.due_at = None;
    step.ended_at = Some(place.at);
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

/// `step_skipped` of a step that has not begun: the brain of its run has dropped it.
fn never_begun(
    state: &mut RunState,
    key: &StepKey,
    how: LeftOut<'_>,
    place: Place,
    author: Author,
) -> Verdict {
    let is_gone = how.status == StepStatus::Skipped && brain::has_dropped(state, key);
    let planned = state.plan().filter(|_| is_gone).and_then(|plan| plan.find(key));
    let Some((_, planned)) = planned else {
        return author.reject(Reason::StepAbsent);
    };
    if state.is_ending() {
        return author.reject(Reason::StepState);
    }
    let spec = Arc::new(input::unresolved(planned));
    let has_room = kept::has_room(state, spec.input.data.len());
    let mut step = fresh(key, &kept::spec(&spec, has_room), place);
    step.status = StepStatus::Skipped;
    step.error = Some(StepError::new(ErrorClass::Cancelled, BRAIN_DROPPED, how.reason));
    step.ended_at = Some(place.at);
    state.steps.insert(Arc::new(step));
    Verdict::Applied(Answer::Ok)
}

/// The owner's decision that other steps take over from one that is out of attempts.
pub(super) fn fallback_started(
    state: &mut RunState,
    key: &StepKey,
    attempt: u32,
    error: &StepError,
    place: Place,
) -> Verdict {
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let has_fallback = step.spec.on_exhausted == OnExhausted::Fallback;
    if !has_fallback || !step.is_undecided() || step.attempt != attempt {
        return Author::Owner.reject(Reason::LostRace);
    }
    let step = &mut *step;
    step.status = StepStatus::Awaiting;
    step.error = Some(error.clone());
    step.due_at = None;
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

fn ended_cancelled(step: &StepState) -> bool {
    let class = step.error.as_ref().map(|error| error.class);
    step.status == StepStatus::Failed && !step.given_up && class == Some(ErrorClass::Cancelled)
}

/// Whether a plan's step is one that its plan can do without, and no attempt of it is open or unclear.
fn may_be_missing(step: &StepState) -> bool {
    step.is_undecided() && step.spec.on_exhausted == OnExhausted::Skip
}
