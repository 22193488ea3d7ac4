//! `begin`: an agent asks to run a step, and the state answers.

use super::{Place, Verdict, approval, attempt};
use crate::{
    Answer, Holder, Reason, RunState, StepState, StepStatus, WaitKind, kept, undo, unresolved,
};
use spine_schemas::{
    Driver, Event, HeldBy, StepKey, StepSpec, StepStarted, limits,
    mutants::{Mutant, planted},
    spec,
};
use std::sync::Arc;

pub(super) fn begin(
    state: &mut RunState,
    event: &Event,
    key: &StepKey,
    start: &StepStarted,
    place: Place,
) -> Verdict {
    let denied = |code| Verdict::Refused(code, Answer::Denied { code });
    if state.driver() != Driver::Journal {
        return denied(Reason::WrongDriver);
    }
    let (Some(op), Some(spec)) = (&event.op, &start.spec) else {
        return denied(Reason::StepAbsent);
    };
    if let Some(answer) =
        state.steps.get(key).and_then(|step| answer_without_start(step, spec, place))
    {
        return if answer.grants() {
            Verdict::Stale(Reason::Duplicate, Some(answer))
        } else if !state.is_open() {
            // Nobody can open what stands in the way any more.
            denied(Reason::RunEnded)
        } else {
            Verdict::Refused(Reason::StepState, answer)
        };
    }
    if !state.is_open() {
        return denied(Reason::RunEnded);
    }
    if state.is_ending() {
        return denied(Reason::RunEnding);
    }
    if !undo::may_start(state, key) {
        let answer = Answer::Wait { wait_for: WaitKind::Paused, until: None };
        return Verdict::Refused(Reason::StepState, answer);
    }
    // People may be asked meanwhile; a call that they approved of waits.
    let asks = || approval::would_ask(state.steps.get(key).map(|step| &**step), spec);
    if let Some(wait_for) = held_at_the_door(start).filter(|_| !asks()) {
        return Verdict::Refused(Reason::StepState, Answer::Wait { wait_for, until: None });
    }
    if !state.steps.contains_key(key) {
        let has_room = kept::has_room(state, spec.input.data.len());
        if state.steps.len() >= limits::RUN_STEPS || !has_room {
            return denied(Reason::LimitReached);
        }
        state.steps.insert(Arc::new(attempt::fresh(key, spec, place)));
    }
    let run_key = state.key.clone();
    let mut step = state.steps.get_mut(key).expect("the step is there: made above");
    approval::demand(&mut step, spec);
    if let Some(asked) = approval::ask_for_agent(&run_key, &mut step, place) {
        return asked;
    }
    let lease_ms = start.lease_ms.unwrap_or(spec::LEASE_MS).min(limits::TIMEOUT_MS);
    let number = step.attempt + 1;
    attempt::start_attempt(&mut step, number, Holder::Session(op.session.clone()), lease_ms, place);
    let edit = step.edit;
    state.totals.attempts += 1;
    let lease_until = place.at.plus_ms(lease_ms);
    Verdict::Applied(Answer::Execute { attempt: number, lease: place.offset, lease_until, edit })
}

/// The pause of a tool or tenant that whoever took the request knew of. Nothing else is known of those here.
fn held_at_the_door(start: &StepStarted) -> Option<WaitKind> {
    let held_by = start.held_by.filter(|_| !planted(Mutant::BeginWhileHeld));
    match held_by? {
        HeldBy::ToolPaused => Some(WaitKind::ToolPaused),
        HeldBy::TenantPaused => Some(WaitKind::TenantPaused),
        // Agents call their tools themselves.
        HeldBy::Breaker | HeldBy::RateLimit | HeldBy::Worker => None,
    }
}

/// The answer where no attempt may start now; `None` where one may.
fn answer_without_start(step: &StepState, spec: &StepSpec, place: Place) -> Option<Answer> {
    // After an operator's edit the stored input is the operator's; the agent still sends its own.
    if step.edit == 0 && step.spec.input.digest != spec.input.digest {
        let (stored, given) = (step.spec.input.digest, spec.input.digest);
        return Some(Answer::Conflict { stored, given });
    }
    if let Some(conflict) = approval::other_call(step, spec) {
        return Some(conflict);
    }
    let wait = |wait_for, until| Some(Answer::Wait { wait_for, until });
    if step.status.may_start() && unresolved::key_is_forgotten(Driver::Journal, step, place.at) {
        // The owner is about to park it.
        let attempt = step.attempt;
        return Some(Answer::Unknown { attempt });
    }
    match step.status {
        StepStatus::Scheduled => None,
        StepStatus::RetryWaiting | StepStatus::Deferred => {
            let due = step.due_at.filter(|due| place.at < *due)?;
            let deferred = step.status == StepStatus::Deferred;
            wait(if deferred { WaitKind::Deferral } else { WaitKind::Retry }, Some(due))
        }
        StepStatus::Running => wait(WaitKind::Attempt, step.lease_until()),
        StepStatus::Failed if step.given_up => Some(Answer::Denied { code: Reason::GivenUp }),
        StepStatus::Failed => wait(WaitKind::Owner, None),
        StepStatus::Awaiting => Some(match &step.task {
            Some(task) if task.call.is_some() => {
                Answer::Asked { task_id: task.task_id, until: task.until }
            }
            Some(_) | None => {
                let (wait_for, until) = step.awaited();
                Answer::Wait { wait_for, until }
            }
        }),
        StepStatus::Unknown => Some(Answer::Unknown { attempt: step.attempt }),
        StepStatus::Completed | StepStatus::Skipped => Some(Answer::Replay),
        StepStatus::DeadLettered => match &step.letter {
            Some(letter) => Some(Answer::DeadLettered { letter_id: letter.letter_id }),
            None => wait(WaitKind::DeadLetter, None),
        },
        StepStatus::Cancelled => Some(Answer::Denied { code: Reason::StepState }),
    }
}
