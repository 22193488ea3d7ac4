//! When a run counts as stalled: nothing holds it back on purpose, no event has moved it for too long,
//! and it does not merely wait for a time that is known.
//!
//! Every wait has a moment from which on silence counts. For what waits for somebody it is the newest
//! event; for what waits for a time, that time; for what waits for its turn, the end of the leases of
//! what runs. So the answer needs no look at the clock, and one timer finds it.

use crate::{
    Answer, Owner, RunState, Session, StepState, WaitKind,
    limits::STALL_GRACE_MS,
    why::{stuck, why},
};
use spine_schemas::{RunEvent, StepKey, time::Micros};

/// The decision that a run is stalled, if it is time for that.
pub(crate) fn of(run: &RunState, owner: &Owner<'_>) -> Option<RunEvent> {
    let (_, step) = next(run, owner).filter(|(at, _)| *at <= owner.now)?;
    let reason = step.map_or_else(|| why(run).sentence, |step| stuck(run, step));
    let step: Option<StepKey> = step.map(|step| step.key.clone());
    Some(RunEvent::Stalled { reason, step, moved: run.last_offset })
}

/// When a run counts as stalled unless an event moves it before, and the step that it waits for then.
/// `None` where it is stalled already, or would never be.
pub(crate) fn next<'a>(
    run: &'a RunState,
    owner: &Owner<'_>,
) -> Option<(Micros, Option<&'a StepState>)> {
    let after_ms = owner.stall_after_ms;
    if after_ms == 0 || !run.is_open() || run.paused.is_some() || run.stalled.is_some() {
        return None;
    }
    let lease_ends = |step: &StepState| {
        let live = step.live.as_ref().filter(|_| !step.is_child())?;
        Some(live.lease_ends_at(owner.claim_at))
    };
    let busy_until = run.steps.unsettled().filter_map(|step| lease_ends(step)).max();
    // An agent that asks in vain is not silent: somebody wants that nothing moves.
    let asked_at = run.sessions.values().filter(|session| is_held_back(session));
    let asked_at = asked_at.map(|session| session.last_at).max();
    let busy_until = busy_until.max(asked_at);
    let mut first: Option<(Micros, Option<&StepState>)> = None;
    let mut is_held = false;
    for step in run.steps.unsettled() {
        let Some((wait_for, until)) = run.wait_of(step) else { continue };
        match silent_from(wait_for, until, lease_ends(step), busy_until) {
            Silence::Since(from) => {
                let from = from.map_or(run.last_at, |from| from.max(run.last_at));
                if first.is_none_or(|(at, _)| from < at) {
                    first = Some((from, Some(step)));
                }
            }
            Silence::OnPurpose | Silence::OfRun => is_held = true,
            Silence::OfAnother => {}
        }
    }
    // No step at all: then the next one, or the end, is what somebody owes.
    let idle_from = asked_at.map_or(run.last_at, |asked| asked.max(run.last_at));
    let first = first.or_else(|| (!is_held).then_some((idle_from, None)));
    // Whoever should have moved it could not, as long as there was no owner.
    let grace = owner.claim_at.plus_ms(after_ms.min(STALL_GRACE_MS));
    first.map(|(from, step)| (from.plus_ms(after_ms).max(grace), step))
}

/// Whether an agent was told at last that its tool or its tenant is paused.
fn is_held_back(session: &Session) -> bool {
    session.ops.last_key_value().is_some_and(|(_, op)| match &op.answer {
        Answer::Wait { wait_for, .. } => {
            matches!(wait_for, WaitKind::ToolPaused | WaitKind::TenantPaused)
        }
        Answer::Ok
        | Answer::Counted { .. }
        | Answer::Execute { .. }
        | Answer::Replay
        | Answer::Asked { .. }
        | Answer::Unknown { .. }
        | Answer::Denied { .. }
        | Answer::DeadLettered { .. }
        | Answer::Conflict { .. }
        | Answer::NotTried => false,
    })
}

/// From when on silence about a step counts.
enum Silence {
    /// From then on, or from the newest event if that is later, or no time is known.
    Since(Option<Micros>),
    /// Never: somebody wants it to stand still.
    OnPurpose,
    /// Never: other steps stand in for it, and their silence counts.
    OfAnother,
    /// Never here: the run that it is may stall itself.
    OfRun,
}

fn silent_from(
    wait_for: WaitKind,
    until: Option<Micros>,
    lease_ends: Option<Micros>,
    busy_until: Option<Micros>,
) -> Silence {
    match wait_for {
        WaitKind::Paused | WaitKind::ToolPaused | WaitKind::TenantPaused => Silence::OnPurpose,
        WaitKind::Fallback => Silence::OfAnother,
        WaitKind::Child => Silence::OfRun,
        WaitKind::Resolution
        | WaitKind::DeadLetter
        | WaitKind::Task
        | WaitKind::Approval
        | WaitKind::Signal
        | WaitKind::Fork
        | WaitKind::Probe
        | WaitKind::Worker
        | WaitKind::Breaker => Silence::Since(None),
        WaitKind::Attempt => Silence::Since(lease_ends),
        WaitKind::Retry | WaitKind::Deferral | WaitKind::Sleep | WaitKind::RateLimit => {
            Silence::Since(until)
        }
        // Its turn may come when what runs has ended.
        WaitKind::Owner | WaitKind::Client | WaitKind::Reporter => Silence::Since(busy_until),
    }
}
