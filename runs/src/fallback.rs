//! Fallbacks: the steps that take over from one that is out of attempts.

use crate::{RunState, StepState, StepStatus};
use spine_schemas::{Output, Payload, PlanStep, Role};

/// What stands in for a step that awaits its fallback, once that has ended.
pub(crate) fn stand_in(run: &RunState, step: &StepState) -> Option<Output> {
    if !awaits_fallback(step) {
        return None;
    }
    let plan = run.plan()?;
    let (at, _) = plan.find(&step.key)?;
    let last = run.steps.get(&plan.fallback(at).last()?.key).filter(|last| ended_well(last))?;
    let output = last.output.clone().unwrap_or_else(|| Output::of(Payload::null()));
    Some(Output { degraded: true, source: Some(format!("step {}", last.key)), ..output })
}

/// Whether a step of a fallback waits although what it stands in for has ended after all.
pub(crate) fn is_needless(run: &RunState, step: &StepState) -> bool {
    let waiting = step.is_undecided() || step.status == StepStatus::Awaiting;
    waiting && is_overtaken(run, step)
}

/// Whether what a step stands in for has ended, or what that stands in for.
fn is_overtaken(run: &RunState, step: &StepState) -> bool {
    let mut chain = std::iter::successors(replaced(run, step), |step| replaced(run, step));
    chain.any(|step| step.status.is_terminal())
}

/// The step that one of a fallback stands in for.
pub(crate) fn replaced<'r>(run: &'r RunState, step: &StepState) -> Option<&'r StepState> {
    let plan = run.plan()?;
    let planned = plan.steps[plan.listed..].iter().find(|planned| planned.key == step.key)?;
    match planned.role {
        Role::Fallback { of, .. } => run.steps.get(&plan.steps[of].key).map(|step| &**step),
        Role::Listed | Role::Ask { .. } | Role::Undo { .. } => None,
    }
}

/// Whether the time has come for a planned step, as far as its role is concerned.
pub(crate) fn is_called_for(run: &RunState, planned: &PlanStep) -> bool {
    match planned.role {
        Role::Listed => true,
        // What its answer rests on does not change any more.
        Role::Ask { .. } => run.steps.unsettled().next().is_none(),
        Role::Undo { .. } => false,
        Role::Fallback { of, .. } => {
            let plan = run.plan();
            let key = plan.map(|plan| &plan.steps[of].key);
            key.and_then(|key| run.steps.get(key))
                .is_some_and(|step| awaits_fallback(step) && !is_overtaken(run, step))
        }
    }
}

/// Whether other steps are to take over.
fn awaits_fallback(step: &StepState) -> bool {
    step.status == StepStatus::Awaiting && step.task.is_none() && step.wait.is_none()
}

/// Whether what comes after a step may begin.
pub(crate) fn ended_well(step: &StepState) -> bool {
    matches!(step.status, StepStatus::Completed | StepStatus::Skipped)
}
