//! Journal operations: the same session and number get the same answer again.

use super::{Place, Verdict, attempt};
use crate::{Answer, Holder, OpAnswer, Reason, RunState, Session, StepStatus};
use spine_schemas::{
    Body, Digest, Event, Op, RunEvent, StepEvent, StepKey, limits,
    mutants::{Mutant, planted},
};

/// Folds an event that may record an operation and was not answered before, and keeps its answer.
pub(super) fn fold_with_op(
    state: &mut RunState,
    event: &Event,
    place: Place,
    fold: impl FnOnce(&mut RunState) -> Verdict,
) -> Verdict {
    let Some(op) = &event.op else {
        return fold(state);
    };
    let took_over = replace_session(state, op, place);
    let verdict = fold(state);
    let Some(answer) = verdict.answer().cloned() else {
        return verdict;
    };
    remember(state, op, hash_of_question(event), answer.clone(), place);
    if took_over {
        return Verdict::Applied(answer);
    }
    verdict
}

/// The verdict on an operation whose number is known already, or whose session may not ask any more.
pub(super) fn answered_before(state: &RunState, event: &Event) -> Option<Verdict> {
    let op = event.op.as_ref()?;
    let refused = |code| Some(Verdict::Refused(code, Answer::Denied { code }));
    let session = state.sessions.get(&op.session)?;
    let is_replaced = session.replaced_by.is_some();
    if let Some(known) = session.ops.get(&op.op_id) {
        let answer = known.answer.clone();
        // Its attempt was lost when the session was replaced, so it must not act on it now.
        let is_void = is_replaced && matches!(answer, Answer::Execute { .. });
        return if known.asked != hash_of_question(event) {
            refused(Reason::OpReused)
        } else if is_void {
            refused(Reason::SessionGone)
        } else if answer.grants() {
            Some(Verdict::Stale(Reason::Duplicate, Some(answer)))
        } else {
            Some(Verdict::Refused(Reason::Duplicate, answer))
        };
    }
    // Outcomes are never fenced: what a replaced agent did, it did.
    let forgotten = session.forgotten.is_some_and(|newest| op.op_id <= newest);
    let is_gone = is_replaced && !planted(Mutant::ReplacedSessionBegins);
    if (is_gone || forgotten) && !crate::is_outcome(&event.body) {
        return refused(Reason::SessionGone);
    }
    None
}

/// A session that names the one before it takes over: the attempts of the old one are lost at once.
/// Says whether it took any.
fn replace_session(state: &mut RunState, op: &Op, place: Place) -> bool {
    let Some(old) = op.replaces.as_ref().filter(|old| **old != op.session) else {
        return false;
    };
    let by_itself = state.sessions.get(&op.session);
    if !state.is_open() || by_itself.is_some_and(|session| session.replaced_by.is_some()) {
        return false;
    }
    // The old one may not have been heard of yet: what it appended may still be on its way.
    let session = session_of(state, old, place);
    if session.replaced_by.is_some() {
        return false;
    }
    session.replaced_by = Some(op.session.clone());
    let held: Vec<StepKey> = state
        .steps
        .unsettled()
        .filter(|step| step.status == StepStatus::Running)
        .filter(|step| {
            step.live.as_ref().is_some_and(|live| live.holder == Holder::Session(old.clone()))
        })
        .map(|step| step.key.clone())
        .collect();
    for key in &held {
        if let Some(mut step) = state.steps.get_mut(key) {
            attempt::lose(&mut step, "its session was replaced", place);
        }
    }
    !held.is_empty()
}

fn session_of<'a>(state: &'a mut RunState, name: &str, place: Place) -> &'a mut Session {
    if !state.sessions.contains_key(name) {
        make_room(state);
    }
    let session = state.sessions.entry(name.to_owned()).or_default();
    session.last_at = place.at;
    session
}

fn remember(state: &mut RunState, op: &Op, asked: u64, answer: Answer, place: Place) {
    let session = session_of(state, &op.session, place);
    session.ops.insert(op.op_id, OpAnswer { asked, answer });
    while session.ops.len() > limits::SESSION_OPS {
        if let Some((dropped, _)) = session.ops.pop_first() {
            session.forgotten = session.forgotten.max(Some(dropped));
        }
    }
}

/// Forgets the session that was silent longest, of those that hold no attempt if there is one.
fn make_room(state: &mut RunState) {
    while state.sessions.len() >= limits::RUN_SESSIONS {
        let holds = |name: &str| {
            state.steps.unsettled().any(|step| {
                step.live.as_ref().is_some_and(|live| match &live.holder {
                    Holder::Session(holder) => holder == name,
                    Holder::Owner(_) | Holder::Outside | Holder::Worker(_) | Holder::Child => false,
                })
            })
        };
        let oldest = state
            .sessions
            .iter()
            .min_by_key(|(name, session)| (holds(name), session.last_at, (*name).clone()))
            .map(|(name, _)| name.clone());
        match oldest {
            Some(name) => state.sessions.remove(&name),
            None => return,
        };
    }
}

/// A hash of what an operation asks, so that its number cannot stand for another question.
fn hash_of_question(event: &Event) -> u64 {
    let (kind, step, detail): (&str, String, Vec<u8>) = match &event.body {
        Body::Run(_, body) => match body {
            RunEvent::Created(_) => ("created", String::new(), Vec::new()),
            RunEvent::Completed { output } => {
                let digest = output.as_ref().map(|output| output.payload.digest.0.to_vec());
                ("run_completed", String::new(), digest.unwrap_or_default())
            }
            RunEvent::Failed { error, .. } => {
                ("run_failed", String::new(), error.code.clone().into_bytes())
            }
            RunEvent::Cancelled { .. } => ("run_cancelled", String::new(), Vec::new()),
            RunEvent::CancelRequested { .. }
            | RunEvent::CompensationStarted { .. }
            | RunEvent::SignalReceived { .. }
            | RunEvent::Paused { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::Stalled { .. } => ("other", String::new(), Vec::new()),
            RunEvent::DecisionRecorded(decision) => {
                ("decision", String::new(), decision.decision.clone().into_bytes())
            }
        },
        Body::Step(_, key, body) => {
            let (kind, detail) = step_question(body);
            (kind, key.to_string(), detail)
        }
        Body::Partition(_) => ("partition", String::new(), Vec::new()),
    };
    Digest::of_parts(&[kind.as_bytes(), step.as_bytes(), &detail]).short()
}

fn step_question(body: &StepEvent) -> (&'static str, Vec<u8>) {
    match body {
        StepEvent::Started(start) => {
            let digest = start.spec.as_ref().map(|spec| spec.input.digest.0.to_vec());
            ("begin", digest.unwrap_or_default())
        }
        StepEvent::Completed { attempt, output, .. } => {
            let mut detail = attempt.to_be_bytes().to_vec();
            detail.extend_from_slice(&output.payload.digest.0);
            ("complete", detail)
        }
        StepEvent::Failed { attempt, error, .. } => {
            let mut detail = attempt.to_be_bytes().to_vec();
            detail.extend_from_slice(error.code.as_bytes());
            ("fail", detail)
        }
        StepEvent::WaitCreated { spec, .. } => {
            let digest = spec.as_ref().map(|spec| spec.input.digest.0.to_vec());
            let mut detail = digest.unwrap_or_default();
            if let Some(spec) = spec {
                detail.extend_from_slice(&spec.deadline_ms.to_be_bytes());
                detail.extend_from_slice(spec.tool.as_bytes());
            }
            ("await", detail)
        }
        StepEvent::Heartbeat { attempt, .. } => ("heartbeat", attempt.to_be_bytes().to_vec()),
        StepEvent::Scheduled(_)
        | StepEvent::Lost { .. }
        | StepEvent::RetryScheduled { .. }
        | StepEvent::Deferred { .. }
        | StepEvent::Released { .. }
        | StepEvent::Unknown { .. }
        | StepEvent::Resolved(_)
        | StepEvent::Skipped { .. }
        | StepEvent::Cancelled { .. }
        | StepEvent::DeadLettered { .. }
        | StepEvent::Redriven { .. }
        | StepEvent::Discarded { .. }
        | StepEvent::FallbackStarted { .. }
        | StepEvent::TaskOpened { .. }
        | StepEvent::TaskDecided { .. }
        | StepEvent::TaskExpired { .. }
        | StepEvent::Reused { .. }
        | StepEvent::Probed(_)
        | StepEvent::ApprovalRequested { .. }
        | StepEvent::WaitExpired
        | StepEvent::Paused { .. }
        | StepEvent::Resumed { .. }
        | StepEvent::FaultInjected { .. } => ("other", Vec::new()),
    }
}
