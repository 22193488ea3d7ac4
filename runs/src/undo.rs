//! Undoing what a run has done: which step is undone next, and what may still start in a run that is
//! about to end or that is paused.

use crate::{RunState, StepState, StepStatus, brain, unresolved};
use spine_schemas::{
    Driver, OnExhausted, Plan, PlanStep, Role, StepKey, UNDO_SCOPE,
    mutants::{Mutant, planted},
    time::Micros,
};

/// What comes next in a run that is being undone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next<'r> {
    /// Something runs, or is not known, or has not been undone yet.
    Wait,
    /// This is done next.
    Undo(&'r PlanStep),
    /// Nothing is left to undo.
    Done,
}

/// The step that ended last and has not been undone, as long as nothing is open. Whether a careful step
/// has happened is found out first.
pub(crate) fn next(run: &RunState) -> Next<'_> {
    if !is_quiet(run) || run.steps.unsettled().any(|step| is_undo(run, &step.key) && !step.given_up)
    {
        return Next::Wait;
    }
    let Some(plan) = run.plan() else { return Next::Done };
    let extra = plan.steps[plan.listed..].iter();
    let open = extra.filter(|undo| !run.steps.contains_key(&undo.key));
    let done = open.filter_map(|undo| match undo.role {
        Role::Undo { of } => {
            let step = run.steps.get(&plan.steps[of].key)?;
            concerns(run, step).then_some((order(step), undo))
        }
        Role::Listed | Role::Ask { .. } | Role::Fallback { .. } => None,
    });
    let newest = if planted(Mutant::UndoOutOfOrder) {
        done.min_by_key(|(order, _)| *order)
    } else {
        done.max_by_key(|(order, _)| *order)
    };
    newest.map_or(Next::Done, |(_, undo)| Next::Undo(undo))
}

/// Whether what a step has done is undone when its run is.
fn concerns(run: &RunState, step: &StepState) -> bool {
    let is_ours = !step.reused || undoes_reused(run);
    is_ours && may_have_happened(step)
}

/// Whether there may be something to undo: also where an attempt gave no answer and the step was given up.
fn may_have_happened(step: &StepState) -> bool {
    step.status == StepStatus::Completed || unresolved::any(Driver::Plan, step)
}

/// Whether a fork undoes what was done in the run that it was made of, too.
fn undoes_reused(run: &RunState) -> bool {
    run.created.fork.as_ref().is_some_and(|fork| fork.undo_reused)
}

/// Whatever depends on a step was scheduled after its end, so this order is that of the effects.
fn order(step: &StepState) -> (Option<Micros>, u64) {
    let last = step.attempts.last().and_then(|attempt| attempt.ended_at);
    (step.ended_at.or(last), step.scheduled_offset)
}

/// Whether no attempt runs and none is in question.
pub(crate) fn is_quiet(run: &RunState) -> bool {
    [StepStatus::Running, StepStatus::Unknown].iter().all(|status| run.steps.count(*status) == 0)
}

/// Whether a step's failure makes the run be undone, as soon as it is known what else has happened.
pub(crate) fn waits_to_begin(run: &RunState, step: &StepState) -> bool {
    let failed = step.status == StepStatus::Failed && !step.given_up;
    let undoes = run.driver() == Driver::Plan && step.spec.on_exhausted == OnExhausted::Compensate;
    failed && undoes && run.undo.is_none() && run.steps.count(StepStatus::Unknown) > 0
}

/// Whether a run is on its way back, or is bound to turn back when nothing of it is open any more.
pub(crate) fn goes_back(run: &RunState) -> bool {
    let is_asked = run.cancel.as_ref().is_some_and(|cancel| cancel.compensate);
    let fails = |step: &StepState| {
        let failed = step.status == StepStatus::Failed && !step.given_up;
        failed && step.spec.on_exhausted == OnExhausted::Compensate
    };
    let turns_back = || run.undo.is_some() || run.steps.unsettled().any(|step| fails(step));
    run.is_open() && run.driver() == Driver::Plan && (is_asked || turns_back())
}

/// Whether what a planned step has done was undone, or is going to be. What was left out is gone with what
/// stands in for it.
pub(crate) fn is_taken_back(run: &RunState, plan: &Plan, at: usize) -> bool {
    let Some(step) = run.steps.get(&plan.steps[at].key) else { return false };
    let begun = |undo: &PlanStep| run.steps.contains_key(&undo.key);
    let own =
        plan.undo(at).is_some_and(|undo| begun(undo) || (concerns(run, step) && goes_back(run)));
    let stands_in = |other: usize| {
        matches!(plan.steps[other].role, Role::Fallback { of, .. } if of == at)
            && is_taken_back(run, plan, other)
    };
    let is_replaced = step.status == StepStatus::Skipped;
    own || (is_replaced && (plan.listed..plan.steps.len()).any(stands_in))
}

/// Whether a step of a plan run undoes another. The scope alone does not tell in runs that are older
/// than its meaning.
pub(crate) fn is_undo(run: &RunState, key: &StepKey) -> bool {
    let in_scope = key.scope.split('/').next() == Some(UNDO_SCOPE);
    let planned = || run.plan().and_then(|plan| plan.find(key));
    in_scope && planned().is_some_and(|(_, step)| matches!(step.role, Role::Undo { .. }))
}

/// Whether a step may be scheduled, as far as the run as a whole is concerned.
pub(crate) fn may_schedule(run: &RunState, key: &StepKey) -> bool {
    match &run.undo {
        Some(_) => matches!(next(run), Next::Undo(undo) if undo.key == *key),
        None => run.cancel.is_none() && !is_undo(run, key) && brain::may_schedule(run, key),
    }
}

/// Whether a cancelled run may end, as far as its attempts are concerned.
pub(crate) fn none_runs(run: &RunState) -> bool {
    run.steps.count(StepStatus::Running) == 0 || planted(Mutant::CancelSkipsRunning)
}

/// Whether an attempt of a step may start, as far as pauses and the end of the run are concerned.
pub(crate) fn may_start(run: &RunState, key: &StepKey) -> bool {
    is_free(run, key, run.steps.get(key).map(|step| &**step))
}

/// The same where the step is at hand; `None` where there is none yet.
pub(crate) fn is_free(run: &RunState, key: &StepKey, step: Option<&StepState>) -> bool {
    let paused = run.paused.is_some() || step.is_some_and(|step| step.paused.is_some());
    let goes_on = match &run.undo {
        Some(_) => run.driver() == Driver::Plan && is_undo(run, key),
        None => run.cancel.is_none(),
    };
    goes_on && (!paused || planted(Mutant::StartWhilePaused))
}
