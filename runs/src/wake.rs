//! When an owner must look at a run again although no event came.

use crate::{Holder, Owner, RunState, StepState, StepStatus, stall};
use spine_schemas::{Driver, time::Micros};

/// The earliest time at which [`crate::decide`] may have something new to say for this run, as
/// seen by an owner. `None` when only an event can change that.
///
/// Steps that may start now are not listed: they wait for a slot, not for a time. Their limits are.
pub fn wake_at(run: &RunState, owner: &Owner<'_>) -> Option<Micros> {
    let decided = next_decision(run, owner);
    decided.into_iter().chain(stall_at(run, owner)).min()
}

/// When the run counts as stalled unless an event moves it before. Other than what else wakes its owner
/// it is nothing that the store knows: it depends on a setting.
pub fn stall_at(run: &RunState, owner: &Owner<'_>) -> Option<Micros> {
    stall::next(run, owner).map(|(at, _)| at)
}

/// The same without what only watches.
fn next_decision(run: &RunState, owner: &Owner<'_>) -> Option<Micros> {
    if !run.is_open() || run.driver() == Driver::Record {
        return None;
    }
    let deadline = run.deadline();
    let is_overdue = deadline.is_some_and(|at| at <= owner.now);
    let deadline = deadline.filter(|_| !is_overdue);
    // A run whose time is over waits for what runs or is not known, and for nothing else.
    let open = [StepStatus::Running, StepStatus::Unknown];
    let moves = |step: &StepState| !is_overdue || open.contains(&step.status);
    let steps = run.steps.unsettled().filter(|step| run.may_move(step) && moves(step));
    steps.filter_map(|step| step_wakes_at(step, owner)).chain(deadline).min()
}

fn step_wakes_at(step: &StepState, owner: &Owner<'_>) -> Option<Micros> {
    match step.status {
        StepStatus::Running => lease_ends(step, owner),
        StepStatus::Scheduled | StepStatus::RetryWaiting | StepStatus::Deferred => {
            let due = step.due_at.filter(|due| *due > owner.now);
            due.into_iter().chain(step.limit_after(Some(owner.now))).min()
        }
        StepStatus::Awaiting => step.next_due(),
        StepStatus::Unknown => step.next_probe().filter(|due| *due > owner.now),
        StepStatus::Completed
        | StepStatus::Failed
        | StepStatus::DeadLettered
        | StepStatus::Skipped
        | StepStatus::Cancelled => None,
    }
}

fn lease_ends(step: &StepState, owner: &Owner<'_>) -> Option<Micros> {
    let live = step.live.as_ref()?;
    let until = live.lease_ends_at(owner.claim_at);
    match &live.holder {
        Holder::Outside | Holder::Child => None,
        Holder::Session(_) => Some(until),
        Holder::Worker(_) => Some(until.min(step.work_ends_at(live, owner.claim_at))),
        Holder::Owner(claim) if *claim == owner.claim || owner.held.contains(&live.lease) => None,
        Holder::Owner(_) => Some(until),
    }
}
