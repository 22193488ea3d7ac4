//! What must hold of runs that are held back, made to end, or undone; told from the plan and the log
//! alone, not by the rules that decide.

use crate::folded::Folded;
use spine_runs::{RunState, StepState, StepStatus};
use spine_schemas::{Body, Plan, Role, RunEvent, StepEvent, StepKey, time::Micros};

/// Checks an event that was applied against the state before it.
pub(crate) fn check(folded: &Folded<'_>) {
    let Some(before) = folded.before.filter(|_| folded.is_applied()) else { return };
    match &folded.event.body {
        Body::Step(_, key, StepEvent::Started(_)) if folded.begun().is_some() => {
            check_start(before, key);
        }
        Body::Step(_, key, StepEvent::Scheduled(_)) => {
            check_order(before, key);
            check_whole(before, key);
        }
        Body::Run(_, RunEvent::Failed { .. } | RunEvent::Cancelled { .. })
            if folded.event.claim.is_some() =>
        {
            check_end(before);
        }
        Body::Step(..) | Body::Run(..) | Body::Partition(_) => {}
    }
}

fn check_start(before: &RunState, key: &StepKey) {
    let name = &before.key;
    assert!(before.paused.is_none(), "{name} {key}: started although its run is paused");
    let step = before.steps.get(key);
    let paused = step.is_some_and(|step| step.paused.is_some());
    assert!(!paused, "{name} {key}: started although it is paused");
    if before.cancel.is_some() || before.undo.is_some() {
        let undoes = undone_by(before, key).is_some();
        assert!(undoes && before.undo.is_some(), "{name} {key}: started in a run that ends");
    }
}

/// A fork begins when it has all that it takes over.
fn check_whole(before: &RunState, key: &StepKey) {
    let Some(fork) = before.created.fork.as_ref().filter(|_| !before.is_ending()) else { return };
    let here = before.steps.values().filter(|step| step.reused).count();
    assert_eq!(here, fork.reused as usize, "{} {key}: began before that", before.key);
}

/// The step that another undoes.
fn undone_by<'r>(run: &'r RunState, key: &StepKey) -> Option<&'r StepState> {
    let plan = run.plan()?;
    let (_, planned) = plan.find(key)?;
    match planned.role {
        Role::Undo { of } => run.steps.get(&plan.steps[of].key).map(|step| &**step),
        Role::Listed | Role::Ask { .. } | Role::Fallback { .. } => None,
    }
}

/// Steps that completed, can be undone, and have not begun to be.
fn to_undo<'r>(run: &'r RunState, plan: &'r Plan) -> impl Iterator<Item = &'r StepState> {
    plan.steps.iter().enumerate().filter_map(|(at, planned)| {
        let undo = plan.undo(at)?;
        let step = run.steps.get(&planned.key)?;
        let undoes_reused = run.created.fork.as_ref().is_some_and(|fork| fork.undo_reused);
        let is_ours = !step.reused || undoes_reused;
        let done = step.status == StepStatus::Completed;
        let open = done && is_ours && !run.steps.contains_key(&undo.key);
        open.then_some(&**step)
    })
}

fn end_of(step: &StepState) -> (Option<Micros>, u64) {
    (step.ended_at, step.scheduled_offset)
}

/// One at a time, the newest effect first.
fn check_order(before: &RunState, key: &StepKey) {
    let Some(undone) = undone_by(before, key) else { return };
    let plan = before.plan().unwrap();
    let name = &before.key;
    assert!(before.undo.is_some(), "{name} {key}: nothing is being undone");
    for other in before.steps.values() {
        let open = !other.status.is_terminal() && !other.given_up;
        let undoes = undone_by(before, &other.key).is_some();
        assert!(!(open && undoes), "{name} {key}: begins before {} has ended", other.key);
    }
    if undone.status == StepStatus::Completed {
        for other in to_undo(before, plan) {
            assert!(end_of(other) <= end_of(undone), "{name} {key}: {} ended later", other.key);
        }
    }
}

/// The owner ends a run when nothing of it runs, and one that is undone when nothing is left of it.
fn check_end(before: &RunState) {
    let name = &before.key;
    assert_eq!(before.steps.count(StepStatus::Running), 0, "{name}: ended while an attempt runs");
    let asked = before.cancel.as_ref().is_some_and(|cancel| cancel.compensate);
    let plan = before.plan().filter(|_| asked || before.undo.is_some());
    let left = plan.and_then(|plan| to_undo(before, plan).next());
    assert!(left.is_none(), "{name}: ended although {left:?} was not undone");
}
