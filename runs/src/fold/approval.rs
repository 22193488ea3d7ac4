//! Calls that people have to approve of: how they are asked, and when enough of them have said yes.

use super::{Place, Verdict, pause, task};
use crate::{Answer, Reason, StepState, StepStatus, TaskRef};
use spine_schemas::{
    Digest, RunKey, StepSpec, keys,
    mutants::{Mutant, planted},
    time::Micros,
};
use std::sync::Arc;

/// Asks about the call that the next attempt of the step would make. What was said of another one does
/// not count for it.
pub(super) fn ask(step: &mut StepState, task_id: Digest, expires_at: Micros, place: Place) {
    step.status = StepStatus::Awaiting;
    step.due_at = None;
    step.approved = None;
    step.tasks += 1;
    step.task = Some(Box::new(TaskRef {
        task_id,
        offset: place.offset,
        at: place.at,
        call: Some(step.call_digest()),
        until: Some(expires_at),
        approvers: Vec::new(),
    }));
    step.last_offset = place.offset;
}

/// The same for an agent, which is told to wait; `None` where the call may be made. Nobody asks for it but
/// the agent, so its own `begin` is the request.
pub(super) fn ask_for_agent(run: &RunKey, step: &mut StepState, place: Place) -> Option<Verdict> {
    let expires_ms = step.spec.approval_ms.filter(|_| !is_approved(step))?;
    let task_id = keys::task_id(run, &step.key, step.tasks);
    let until = place.at.plus_ms(expires_ms);
    ask(step, task_id, until, place);
    Some(Verdict::Applied(Answer::Asked { task_id, until: Some(until) }))
}

/// Whether somebody has approved of exactly this call, where that is asked for.
pub(super) fn is_approved(step: &StepState) -> bool {
    step.spec.approval_ms.is_none()
        || step.approved == Some(step.call_digest())
        || planted(Mutant::ApprovalNotCompared) && step.approved.is_some()
}

/// Whether people would be asked now, before an agent's call of a step is made.
pub(super) fn would_ask(step: Option<&StepState>, asked: &StepSpec) -> bool {
    let Some(step) = step else { return asked.approval_ms.is_some() };
    let mut step = step.clone();
    demand(&mut step, asked);
    !is_approved(&step)
}

/// An agent may ask for approval of a step that it began without. It cannot take back what it asked for.
pub(super) fn demand(step: &mut StepState, asked: &StepSpec) {
    if step.spec.approval_ms.is_none() && asked.approval_ms.is_some() {
        let (approval_ms, quorum) = (asked.approval_ms, asked.quorum);
        step.spec = Arc::new(StepSpec { approval_ms, quorum, ..StepSpec::clone(&step.spec) });
    } else if step.spec.approval_ms.is_some() && asked.quorum > step.spec.quorum {
        // Those who have said yes were fewer than are wanted now.
        let quorum = asked.quorum;
        step.spec = Arc::new(StepSpec { quorum, ..StepSpec::clone(&step.spec) });
        step.approved = None;
    }
}

/// Whether an agent's `begin` is of another call than the one that is approved of, or asked about: then it gets
/// the digests of both. The input is compared where approval is not asked for, too.
pub(super) fn other_call(step: &StepState, asked: &StepSpec) -> Option<Answer> {
    let is_asked_for = step.spec.approval_ms.or(asked.approval_ms).is_some();
    let is_same = step.spec.tool == asked.tool && step.spec.effect == asked.effect;
    (is_asked_for && !is_same).then(|| Answer::Conflict {
        stored: step.call_digest(),
        given: asked.call_digest(step.generation, step.edit),
    })
}

/// One more person approves. Each counts once, and the last that is needed lets the call be made.
/// What is said when the time is over is no answer, unless a pause makes that time stand still.
pub(super) fn approve(
    step: &mut StepState,
    by: &str,
    run_is_paused: bool,
    place: Place,
) -> Verdict {
    let stands_still = run_is_paused || step.paused.is_some();
    let needed = step.spec.quorum.unwrap_or(1);
    let Some(task) = step.task.as_mut() else { return task::refuse(Reason::TaskClosed) };
    if task.until.is_some_and(|until| until <= place.at) && !stands_still {
        return task::refuse(Reason::TaskClosed);
    }
    if task.approvers.iter().any(|before| before == by) && !planted(Mutant::ApproverCountsTwice) {
        return task::refuse(Reason::ApprovedAlready);
    }
    let approvals = task.approvers.len() as u32 + 1;
    if approvals < needed {
        task.approvers.push(by.to_owned());
        step.last_offset = place.offset;
        return Verdict::Applied(Answer::Counted { approvals, needed });
    }
    // The time of whoever was asked is not the step's.
    let (at, call) = (task.at, task.call);
    pause::stand_still(step, at, place.at);
    step.approved = call;
    step.task = None;
    step.status = StepStatus::Scheduled;
    step.last_offset = place.offset;
    task::heed_evidence(step);
    Verdict::Applied(Answer::Ok)
}
