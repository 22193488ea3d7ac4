//! Journal operations: the same session and number get the same answer again.

use super::{Place, Verdict, attempt};
use crate::{Answer, Holder, OpAnswer, Reason, RunState, Session, StepStatus};
use spine_schemas::{Body, Digest, Event, Op, RunEvent, StepEvent, StepKey, limits};
use std::sync::Arc;

/// Folds an event that may record an operation: repeats are answered from memory, first ones are
/// folded and their answers kept.
pub(super) fn fold_with_op(
    state: &mut RunState,
    event: &Event,
    place: Place,
    fold: impl FnOnce(&mut RunState) -> Verdict,
) -> Verdict {
    let Some(op) = &event.op else {
        return fold(state);
    };
    let asked = hash_of_question(event);
    if let Some(verdict) = answered_before(state, op, asked) {
        return verdict;
    }
    replace_session(state, op, place);
    let verdict = fold(state);
    if let Some(answer) = verdict.answer() {
        remember(state, op, asked, answer.clone(), place);
    }
    verdict
}

fn answered_before(state: &RunState, op: &Op, asked: u64) -> Option<Verdict> {
    let refused = |code| Some(Verdict::Refused(code, Answer::Denied { code }));
    let session = state.sessions.get(&op.session)?;
    if let Some(known) = session.ops.get(&op.op_id) {
        if known.asked != asked {
            return refused(Reason::OpReused);
        }
        return Some(Verdict::Stale(
            Reason::Duplicate,
            Some(known.answer.clone()),
        ));
    }
    let forgotten = session.forgotten.is_some_and(|newest| op.op_id <= newest);
    if session.replaced_by.is_some() || forgotten {
        return refused(Reason::SessionGone);
    }
    None
}

/// A session that names the one before it takes over: the attempts of the old one are lost at once.
fn replace_session(state: &mut RunState, op: &Op, place: Place) {
    let Some(old) = op.replaces.as_ref().filter(|old| **old != op.session) else {
        return;
    };
    if let Some(session) = state.sessions.get_mut(old) {
        if session.replaced_by.is_some() {
            return;
        }
        session.replaced_by = Some(op.session.clone());
    }
    let held: Vec<StepKey> = state
        .steps
        .values()
        .filter(|step| step.status == StepStatus::Running)
        .filter(|step| {
            step.live
                .as_ref()
                .is_some_and(|live| live.holder == Holder::Session(old.clone()))
        })
        .map(|step| step.key.clone())
        .collect();
    for key in held {
        if let Some(step) = state.steps.get_mut(&key) {
            attempt::lose(Arc::make_mut(step), "its session was replaced", place);
        }
    }
}

fn remember(state: &mut RunState, op: &Op, asked: u64, answer: Answer, place: Place) {
    if !state.sessions.contains_key(&op.session) {
        make_room(state);
    }
    let session: &mut Session = state.sessions.entry(op.session.clone()).or_default();
    session.last_at = place.at;
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
            state.steps.values().any(|step| {
                step.live.as_ref().is_some_and(|live| match &live.holder {
                    Holder::Session(holder) => holder == name,
                    Holder::Owner(_) | Holder::Outside => false,
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
                let digest = output
                    .as_ref()
                    .map(|output| output.payload.digest.0.to_vec());
                ("run_completed", String::new(), digest.unwrap_or_default())
            }
            RunEvent::Failed { error, .. } => {
                ("run_failed", String::new(), error.code.clone().into_bytes())
            }
            RunEvent::Cancelled { .. } => ("run_cancelled", String::new(), Vec::new()),
            RunEvent::DecisionRecorded(decision) => (
                "decision",
                String::new(),
                decision.decision.clone().into_bytes(),
            ),
        },
        Body::Step(_, key, body) => {
            let (kind, detail) = step_question(body);
            (kind, key.to_string(), detail)
        }
        Body::Partition(_) => ("partition", String::new(), Vec::new()),
    };
    let digest = Digest::of_parts(&[kind.as_bytes(), step.as_bytes(), &detail]);
    u64::from_be_bytes(digest.0[..8].try_into().expect("a digest has 32 bytes"))
}

fn step_question(body: &StepEvent) -> (&'static str, Vec<u8>) {
    match body {
        StepEvent::Started(start) => {
            let digest = start.spec.as_ref().map(|spec| spec.input.digest.0.to_vec());
            ("begin", digest.unwrap_or_default())
        }
        StepEvent::Completed {
            attempt, output, ..
        } => {
            let mut detail = attempt.to_be_bytes().to_vec();
            detail.extend_from_slice(&output.payload.digest.0);
            ("complete", detail)
        }
        StepEvent::Failed { attempt, error, .. } => {
            let mut detail = attempt.to_be_bytes().to_vec();
            detail.extend_from_slice(error.code.as_bytes());
            ("fail", detail)
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
        | StepEvent::FaultInjected { .. } => ("other", Vec::new()),
    }
}
