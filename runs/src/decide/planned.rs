//! A plan's next steps: on, or back.

use super::{Decided, recover, running_steps};
use crate::{
    RunState, brain, fallback, input,
    limits::{BATCH_BYTES, LOOK_UP_BYTES},
    undo,
};
use spine_schemas::{
    Body, BrainEnd, OnExhausted, Output, Payload, Plan, PlanStep, RunEvent, StepError, StepEvent,
    StepKey, StepSpec,
};
use std::sync::Arc;

/// New steps, or the end of the run.
pub(super) fn go_on(run: &RunState, decided: &mut Decided) {
    let Some(plan) = run.plan().cloned() else {
        return;
    };
    let ended_well =
        |step: &PlanStep| run.steps.get(&step.key).is_some_and(|step| fallback::ended_well(step));
    for step in brain::to_leave_out(run, &plan) {
        if decided.bytes >= BATCH_BYTES {
            decided.more = true;
            return;
        }
        decided.push_step(run, &step.key, brain::left_out(&plan, step));
    }
    let unscheduled = plan.steps.len().saturating_sub(run.steps.len());
    // What was listed before the newest answer of a brain has all ended.
    let next = (plan.steps[plan.settled..].iter())
        .filter(|step| !run.steps.contains_key(&step.key))
        .filter(|step| !plan.dropped.contains_key(&step.key))
        .take(unscheduled);
    let mut read_bytes = 0;
    for step in next.filter(|step| step.after.iter().all(|before| ended_well(&plan.steps[*before])))
    {
        if !fallback::is_called_for(run, step) {
            continue;
        }
        // Between two steps: a step that cannot run is scheduled and ended together.
        if decided.bytes >= BATCH_BYTES || read_bytes >= LOOK_UP_BYTES {
            decided.more = true;
            return;
        }
        if !schedule(run, step, &mut read_bytes, decided) {
            return;
        }
    }
    let settled = run.steps.unsettled().next().is_none();
    if settled
        && plan.in_list()[plan.settled..].iter().all(ended_well)
        && let Some(event) = end(run, &plan)
    {
        decided.push(Body::Run(run.key.run_id.clone(), event));
    }
}

/// The end of a run whose steps have all ended well: what its brain says, else the output of the last one.
fn end(run: &RunState, plan: &Plan) -> Option<RunEvent> {
    let output = match &plan.brain_end {
        Some(BrainEnd::Fail(reason)) => return recover::give_up(run, plan, reason),
        Some(BrainEnd::Done(output)) => {
            let payload = output.clone().and_then(|json| Payload::json("output", json).ok());
            // The newest answer came from the step behind which nothing had begun.
            let ask = plan.settled.checked_sub(1).and_then(|place| plan.steps.get(place));
            let source = ask.map(|ask| format!("step {}", ask.key));
            payload.map(|payload| Output { payload, degraded: false, source })
        }
        None => plan.in_list().last().and_then(|last| output_of(run, &last.key)),
    };
    Some(RunEvent::Completed { output })
}

/// The next step that undoes another, or the end of the run.
pub(super) fn go_back(run: &RunState, decided: &mut Decided) {
    match undo::next(run) {
        undo::Next::Wait => {}
        undo::Next::Undo(step) => _ = schedule(run, step, &mut 0, decided),
        undo::Next::Done => {
            if let Some(event) = recover::undone(run) {
                decided.push(Body::Run(run.key.run_id.clone(), event));
            }
        }
    }
}

/// Schedules a step with its input resolved. Where that cannot be done the step ends at once, with
/// an error that names the source. Says whether the run goes on.
fn schedule(
    run: &RunState,
    step: &PlanStep,
    read_bytes: &mut usize,
    decided: &mut Decided,
) -> bool {
    match input::resolve(run, step, read_bytes) {
        Ok(spec) => {
            decided.push_step(run, &step.key, StepEvent::Scheduled(Arc::new(spec)));
            true
        }
        Err(unresolved) => {
            let (spec, error) = *unresolved;
            end_at_once(run, step, spec, error, decided)
        }
    }
}

fn end_at_once(
    run: &RunState,
    step: &PlanStep,
    spec: StepSpec,
    error: StepError,
    decided: &mut Decided,
) -> bool {
    let policy = spec.on_exhausted;
    let scheduled = StepEvent::Scheduled(Arc::new(spec));
    if let Some(event) = recover::unable(run, &step.key, policy, error.clone()) {
        decided.push_step(run, &step.key, scheduled);
        decided.push_step(run, &step.key, event);
        return true;
    }
    // It is scheduled with the end of the run, when nothing runs any more.
    let undoes = policy == OnExhausted::Compensate;
    let may_end = if undoes { undo::is_quiet(run) } else { running_steps(run) == 0 };
    if !may_end {
        // What else would begin now would only have to be undone.
        return !undoes;
    }
    // What else could be scheduled now would only be cancelled with the run.
    decided.bodies.clear();
    decided.push_step(run, &step.key, scheduled);
    let failed = Some(step.key.clone());
    let end = if undoes {
        RunEvent::CompensationStarted { error, step: failed }
    } else {
        RunEvent::Failed { error, step: failed }
    };
    decided.push(Body::Run(run.key.run_id.clone(), end));
    false
}

fn output_of(run: &RunState, key: &StepKey) -> Option<Output> {
    run.steps.get(key).and_then(|step| step.output.clone())
}
