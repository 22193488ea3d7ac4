//! Whether a new run would ask for what another one asked for, so that what became of it there holds here, too.

use crate::{RunState, StepState, StepStatus, fallback, input};
use spine_schemas::{Plan, PlanStep, StepSpec, canonical};

/// Whether a run asks for what another one asked for, but for an operator's edit: that repaired the input, and was
/// not the plan's.
pub(super) fn asks_the_same(
    (original, planned, done): (&RunState, &PlanStep, &StepState),
    (new, step): (&RunState, &PlanStep),
) -> bool {
    let ((found_before, asked), (is_found, asks)) = (asks(original, planned), asks(new, step));
    // What was never called for want of its input would be so again, if the same is written there.
    let was_called = done.status != StepStatus::Skipped || done.attempt > 0;
    let is_known = if was_called { found_before && is_found } else { found_before == is_found };
    let same_input = is_known && asked.input.digest == asks.input.digest;
    let same_call = done.spec.tool == asks.tool && done.spec.effect == asks.effect;
    let source = |of: &PlanStep| of.child.as_ref().map(|child| child.plan.source.clone());
    same_input && same_call && source(planned) == source(step)
}

/// What a step would be asked to do now, and whether all that its input names is found.
fn asks(run: &RunState, step: &PlanStep) -> (bool, StepSpec) {
    match input::resolve(run, step, &mut 0) {
        Ok(spec) => (true, spec),
        Err(unable) => (false, unable.0),
    }
}

/// Whether the new run would leave a step out as another one did, if that did, and ask for the same of all that was
/// done in its place. `at` is its place in the plan of the other one.
pub(super) fn stands_in_as_before(
    original: (&RunState, &Plan),
    new: &RunState,
    (at, done): (usize, &StepState),
) -> bool {
    let Some(plan) = new.plan().filter(|_| done.status == StepStatus::Skipped) else { return true };
    let Some((new_at, _)) = plan.find(&done.key) else { return false };
    stands_in(original, (&mut new.clone(), plan), (at, new_at))
}

/// The new run gets what stands in, since what comes later may refer to it.
fn stands_in(
    (original, before): (&RunState, &Plan),
    (new, plan): (&mut RunState, &Plan),
    (at, new_at): (usize, usize),
) -> bool {
    let keys =
        |plan: &Plan, at| -> Vec<_> { plan.fallback(at).map(|step| step.key.clone()).collect() };
    let chain = keys(before, at);
    if !is_left_out_alike(&before.steps[at], &plan.steps[new_at]) || chain != keys(plan, new_at) {
        return false;
    }
    for key in chain {
        let done = original.steps.get(&key).filter(|step| fallback::ended_well(step));
        // It was not called for, or was overtaken.
        let Some(done) = done.cloned() else { continue };
        let (Some((at, planned)), Some((new_at, step))) = (before.find(&key), plan.find(&key))
        else {
            return false;
        };
        let is_same = asks_the_same((original, planned, &done), (new, step));
        let is_left_out = done.status == StepStatus::Skipped;
        let at = (at, new_at);
        if !is_same || is_left_out && !stands_in((original, before), (new, plan), at) {
            return false;
        }
        new.steps.insert(done);
    }
    true
}

/// Whether a step that was left out would be so by its new plan, with the same in place of its output.
fn is_left_out_alike(before: &PlanStep, now: &PlanStep) -> bool {
    let default =
        |step: &PlanStep| step.default.as_ref().map(|text| canonical::digest("default", text).ok());
    before.on_exhausted == now.on_exhausted && default(before) == default(now)
}
