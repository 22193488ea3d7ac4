//! What follows when a step is out of attempts, and how a run ends that is not to go on.

use crate::{RunState, StepState, fallback, retry, undo};
use spine_schemas::{
    BRAIN_FAILED, Driver, ErrorClass, OnDeadline, OnExhausted, Output, Payload, Plan, RunEvent,
    StepError, StepEvent, StepKey, keys, time::Micros,
};

/// A letter, or what stands in for the step, unless the run ends with it; then [`fail`] says so.
pub(super) fn exhausted(run: &RunState, step: &StepState, error: StepError) -> Option<StepEvent> {
    let (is_plan, policy) = (run.driver() == Driver::Plan, step.spec.on_exhausted);
    // The run of a step that undoes another is on its way to its end already.
    let is_undo = undo::is_undo(run, &step.key);
    if is_plan && !is_undo && fails_run(policy, &error) {
        return None;
    }
    if !is_undo && !retry::class_row(error.class).dead_lettered {
        let reason = error.message;
        return Some(StepEvent::Cancelled { reason });
    }
    let policy =
        if is_plan || policy == OnExhausted::Escalate { policy } else { OnExhausted::DeadLetter };
    Some(instead(run, &Tried::of(step), policy, error))
}

/// The same for a step that cannot run at all, as it was scheduled; `None` where its run fails.
pub(super) fn unable(
    run: &RunState,
    key: &StepKey,
    policy: OnExhausted,
    error: StepError,
) -> Option<StepEvent> {
    let never = Tried { key, attempt: 0, generation: 0, tasks: 0 };
    (!fails_run(policy, &error)).then(|| instead(run, &never, policy, error))
}

/// How far a step has come.
struct Tried<'a> {
    key: &'a StepKey,
    attempt: u32,
    generation: u32,
    tasks: u32,
}

impl<'a> Tried<'a> {
    fn of(step: &'a StepState) -> Self {
        let StepState { key, attempt, generation, tasks, .. } = step;
        Self { key, attempt: *attempt, generation: *generation, tasks: *tasks }
    }
}

/// What a policy does instead of another attempt.
fn instead(run: &RunState, tried: &Tried<'_>, policy: OnExhausted, error: StepError) -> StepEvent {
    let attempt = tried.attempt;
    match policy {
        OnExhausted::Skip => skipped(run, tried.key, &error),
        OnExhausted::Fallback => StepEvent::FallbackStarted { attempt, error },
        OnExhausted::Escalate => {
            let task_id = keys::task_id(&run.key, tried.key, tried.tasks);
            StepEvent::TaskOpened { attempt, task_id, error }
        }
        // Where the run does not fail all the same.
        OnExhausted::DeadLetter | OnExhausted::Fail | OnExhausted::Compensate => {
            let letter_id = keys::step_letter_id(&run.key, tried.key, tried.generation);
            StepEvent::DeadLettered { attempt, letter_id, error }
        }
    }
}

/// Asks somebody what to do about a step.
pub(super) fn ask(run: &RunState, step: &StepState, error: StepError) -> StepEvent {
    instead(run, &Tried::of(step), OnExhausted::Escalate, error)
}

/// Leaves a step out; the plan's default stands in for its output.
fn skipped(run: &RunState, key: &StepKey, error: &StepError) -> StepEvent {
    let planned = run.plan().and_then(|plan| plan.find(key));
    let default = planned.and_then(|(_, step)| step.default.clone());
    let payload = default.and_then(|default| Payload::json("default", default).ok());
    let source = Some("default".to_owned());
    StepEvent::Skipped {
        reason: format!("{}: {}", error.code, error.message),
        output: payload.map(|payload| Output { payload, degraded: true, source }),
    }
}

/// Ends a step of a fallback that is no longer called for.
pub(super) fn needless(run: &RunState, step: &StepState) -> Option<StepEvent> {
    let replaced = fallback::replaced(run, step).filter(|_| fallback::is_needless(run, step))?;
    Some(StepEvent::Cancelled { reason: format!("step {} ended after all", replaced.key) })
}

/// Whether a plan run ends with a step that ended so. One that was cancelled gets no letter, and
/// nothing that comes after it could ever run.
pub(super) fn fails_run(policy: OnExhausted, error: &StepError) -> bool {
    let ends = match policy {
        OnExhausted::Fail | OnExhausted::Compensate => true,
        OnExhausted::DeadLetter
        | OnExhausted::Skip
        | OnExhausted::Fallback
        | OnExhausted::Escalate => false,
    };
    ends || !retry::class_row(error.class).dead_lettered
}

/// Whether the failure of a step makes the run be undone.
pub(super) fn undoes(run: &RunState, step: &StepKey) -> bool {
    run.steps.get(step).is_some_and(|step| step.spec.on_exhausted == OnExhausted::Compensate)
}

/// The end of a run that fails with a step, once nothing runs, or the beginning of its way back, once
/// it is known what has happened.
pub(super) fn fail(run: &RunState, step: StepKey, error: StepError) -> Option<RunEvent> {
    let undoes = undoes(run, &step);
    end(run, error, Some(step), undoes)
}

fn end(run: &RunState, error: StepError, step: Option<StepKey>, undoes: bool) -> Option<RunEvent> {
    if undoes {
        let back = RunEvent::CompensationStarted { error, step };
        return undo::is_quiet(run).then_some(back);
    }
    (super::running_steps(run) == 0).then_some(RunEvent::Failed { error, step })
}

/// The same for a run that its brain gives up: what that says of a brain that fails, holds for it.
pub(super) fn give_up(run: &RunState, plan: &Plan, reason: &str) -> Option<RunEvent> {
    let policy = plan.brain.as_ref().map(|brain| brain.on_exhausted);
    let error = StepError::new(ErrorClass::Terminal, BRAIN_FAILED, reason);
    end(run, error, None, policy == Some(OnExhausted::Compensate))
}

/// The same for a run that is cancelled.
pub(super) fn cancel(run: &RunState) -> Option<RunEvent> {
    let asked = run.cancel.as_ref()?;
    let reason = asked.reason.clone();
    if asked.compensate {
        return end(run, StepError::new(ErrorClass::Cancelled, "cancelled", reason), None, true);
    }
    undo::none_runs(run).then_some(RunEvent::Cancelled { reason })
}

/// The same for a run whose time is over.
pub(super) fn overdue(run: &RunState, deadline: Micros) -> Option<RunEvent> {
    let plan = run.plan()?;
    let message = format!("the run had not ended by {deadline}");
    let error = StepError::new(ErrorClass::Timeout, "run_deadline", message);
    end(run, error, None, plan.on_deadline == OnDeadline::Compensate)
}

/// The end of a run that was undone.
pub(super) fn undone(run: &RunState) -> Option<RunEvent> {
    if let Some(asked) = &run.cancel {
        return Some(RunEvent::Cancelled { reason: asked.reason.clone() });
    }
    let undo = run.undo.as_ref()?;
    // It may turn out to have succeeded.
    let open = |key: &&StepKey| run.steps.get(key).is_some_and(|step| !step.status.is_terminal());
    let step = undo.step.as_ref().filter(open).cloned();
    Some(RunEvent::Failed { error: undo.error.clone(), step })
}
