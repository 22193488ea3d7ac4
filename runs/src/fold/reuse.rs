//! Steps that a fork takes over from the run that it was made of, and those that take the result of an equal call.

use super::{Place, Verdict, attempt, gate::Author};
use crate::{Answer, Reason, RunState, StepState, StepStatus, brain, kept, memo, undo};
use spine_schemas::{Output, Role, StepKey, StepSpec};
use std::sync::Arc;

/// `step_reused`: a step that ended well elsewhere has ended well here. Nothing else of the run begins before
/// it has all that it takes over.
pub(super) fn reused(
    state: &mut RunState,
    key: &StepKey,
    (spec, is_edited): (&Arc<StepSpec>, bool),
    (output, is_skipped): (Option<&Output>, bool),
    place: Place,
    author: Author,
) -> Verdict {
    if author == Author::Owner {
        return recalled(state, key, spec, (output, is_skipped), place);
    }
    if let Some(step) = state.steps.get(key) {
        let is_same = step.reused && step.spec.input.digest == spec.input.digest;
        return if is_same { author.duplicate() } else { author.reject(Reason::StepConflict) };
    }
    if !state.is_open() {
        return author.reject(Reason::RunEnded);
    }
    if !state.takes_over() || state.is_ending() {
        return author.reject(Reason::StepState);
    }
    let plan = state.plan();
    let fits = plan.is_none_or(|plan| {
        plan.find(key).is_some_and(|(_, step)| !matches!(step.role, Role::Undo { .. }))
    });
    if !fits {
        return author.reject(Reason::StepAbsent);
    }
    let asked = brain::asks(state, key).is_some() && !is_skipped;
    let answer = output.filter(|_| asked).and_then(|found| brain::answered(state, key, found));
    let grown = match answer {
        Some(Ok(plan)) => Some(plan),
        Some(Err(_)) => return author.reject(Reason::BrainAnswer),
        None if asked => return author.reject(Reason::StepState),
        None => None,
    };
    let bytes = spec.input.data.len() + output.map_or(0, |output| output.payload.data.len());
    let has_room = kept::has_room(state, bytes);
    // An answer must stay: the plan is made of it.
    if grown.is_some() && !has_room {
        return author.reject(Reason::LimitReached);
    }
    let mut step = attempt::fresh(key, &kept::spec(spec, has_room), place);
    step.reused = true;
    // Its agent asks with an input of its own, and is told what became of it.
    step.edit = u32::from(is_edited);
    step.status = if is_skipped { StepStatus::Skipped } else { StepStatus::Completed };
    step.output = output.map(|output| kept::output(output, has_room));
    step.ended_at = Some(place.at);
    state.steps.insert(Arc::new(step));
    if grown.is_some() {
        state.grown = grown;
    }
    Verdict::Applied(Answer::Ok)
}

/// `step_reused` of an owner: the result of an equal call stands in for an attempt.
fn recalled(
    state: &mut RunState,
    key: &StepKey,
    spec: &Arc<StepSpec>,
    (output, is_skipped): (Option<&Output>, bool),
    place: Place,
) -> Verdict {
    let may_start = state.is_open() && !state.takes_over() && undo::may_start(state, key);
    let has_room = kept::has_room(state, output.map_or(0, |output| output.payload.data.len()));
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let given = output.filter(|output| !is_skipped && memo::is_whole(output));
    let Some(output) = given.filter(|_| may_start && takes(&step, spec)) else {
        return Author::Owner.reject(Reason::LostRace);
    };
    let step = &mut *step;
    let output = kept::output(output, has_room);
    step.output = Some(Output { source: Some(memo::SOURCE.to_owned()), ..output });
    step.status = StepStatus::Completed;
    step.due_at = None;
    step.held = None;
    step.ended_at = Some(place.at);
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

/// Whether a step may take the result of a call that was asked for so.
fn takes(step: &StepState, spec: &StepSpec) -> bool {
    let (own, given) = (&step.spec.input, &spec.input);
    let is_equal = own.digest == given.digest && own.content_type == given.content_type;
    let is_same = is_equal && step.spec.tool == spec.tool;
    step.status.may_start() && is_same && memo::may_recall(&step.spec)
}
