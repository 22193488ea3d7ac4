//! Events about a step: which rule folds which kind.

use super::{
    Place, Verdict, attempt, begin,
    gate::{Author, late},
    operator,
    outcome::{self, Which},
    pause, probe, reuse,
    stand_in::{self, LeftOut},
    task, wait,
};
use crate::{Answer, Reason, RunState, StepState, StepStatus, WaitKind};
use spine_schemas::{Driver, Event, StepEvent, StepKey};

pub(super) fn fold(
    state: &mut RunState,
    event: &Event,
    key: &StepKey,
    body: &StepEvent,
    place: Place,
    author: Author,
) -> Verdict {
    if !state.is_open() && !is_allowed_after_end(body, state.driver()) {
        return after_end(state, key, body, author);
    }
    if author == Author::Owner && state.driver() == Driver::Record {
        return author.reject(Reason::WrongDriver);
    }
    if state.takes_over() && !state.is_ending() && !matches!(body, StepEvent::Reused { .. }) {
        return not_yet(author);
    }
    match body {
        StepEvent::Scheduled(spec) => attempt::scheduled(state, key, spec, place, author),
        StepEvent::Started(start) => match start.attempt {
            None => begin::begin(state, event, key, start, place),
            Some(number) => attempt::started(state, key, number, start, event.claim, place, author),
        },
        StepEvent::Heartbeat { attempt, lease } => {
            attempt::heartbeat(state, key, *attempt, *lease, place, author)
        }
        StepEvent::Completed { .. }
        | StepEvent::Failed { .. }
        | StepEvent::Released { .. }
        | StepEvent::Lost { .. } => fold_end(state, key, body, place, author),
        StepEvent::RetryScheduled { attempt, due_at } => {
            attempt::waits(state, key, *attempt, *due_at, StepStatus::RetryWaiting, place)
        }
        StepEvent::Deferred { attempt, due_at, held_by } => {
            attempt::deferred(state, key, *attempt, *due_at, *held_by, place)
        }
        StepEvent::Unknown { attempt, reason } => {
            attempt::unknown(state, key, *attempt, reason, place, author)
        }
        StepEvent::FaultInjected { attempt, fault } => {
            attempt::fault_injected(state, key, *attempt, *fault, place)
        }
        StepEvent::Reused { spec, output, skipped, edited } => {
            let ended = (output.as_ref(), skipped.is_some());
            reuse::reused(state, key, (spec, *edited), ended, place, author)
        }
        StepEvent::Probed(finding) => probe::probed(state, key, finding, place),
        StepEvent::TaskOpened { .. }
        | StepEvent::TaskDecided { .. }
        | StepEvent::TaskExpired { .. }
        | StepEvent::ApprovalRequested { .. }
        | StepEvent::WaitCreated { .. }
        | StepEvent::WaitExpired => fold_waiting(state, event, (key, body), place, author),
        StepEvent::Paused { reason } => pause::pause_step(state, event, key, reason, place),
        StepEvent::Resumed { .. } => pause::resume_step(state, key, place),
        StepEvent::Skipped { .. }
        | StepEvent::Cancelled { .. }
        | StepEvent::FallbackStarted { .. } => fold_stand_in(state, key, body, place, author),
        StepEvent::DeadLettered { attempt, letter_id, error } => {
            operator::dead_lettered(state, key, *attempt, *letter_id, error, place)
        }
        StepEvent::Resolved(resolution) => operator::resolved(state, key, resolution, place),
        StepEvent::Redriven { letter_id, force, edit, .. } => {
            operator::redriven(state, key, *letter_id, *force, edit.as_ref(), place)
        }
        StepEvent::Discarded { letter_id, then, .. } => {
            operator::discarded(state, key, *letter_id, *then, place)
        }
    }
}

/// The verdict on what comes before a fork has all that it takes over. An agent asks again.
fn not_yet(author: Author) -> Verdict {
    match author {
        Author::Requester => {
            let answer = Answer::Wait { wait_for: WaitKind::Fork, until: None };
            Verdict::Refused(Reason::StepAbsent, answer)
        }
        Author::Owner | Author::Runner | Author::Reporter => author.reject(Reason::StepAbsent),
    }
}

/// The ends of attempts.
fn fold_end(
    state: &mut RunState,
    key: &StepKey,
    body: &StepEvent,
    place: Place,
    author: Author,
) -> Verdict {
    let which = |attempt: u32, lease: Option<u64>| Which { key, attempt, lease };
    if let StepEvent::Completed { attempt, lease, output, usage } = body {
        let which = which(*attempt, *lease);
        outcome::completed(state, which, output, usage.as_ref(), place, author)
    } else if let StepEvent::Failed { attempt, lease, error, usage } = body {
        let which = which(*attempt, *lease);
        outcome::failed(state, which, error, usage.as_ref(), place, author)
    } else if let StepEvent::Released { attempt, lease, error } = body {
        let which = which(*attempt, Some(*lease));
        outcome::released(state, which, error.as_ref(), place, author)
    } else if let StepEvent::Lost { attempt, lease, heartbeat, reason } = body {
        let which = which(*attempt, Some(*lease));
        attempt::lost(state, which, *heartbeat, reason, place, author)
    } else {
        unreachable!("only the ends of attempts come here")
    }
}

/// A step that does not run, or not any more, or for which others stand in.
fn fold_stand_in(
    state: &mut RunState,
    key: &StepKey,
    body: &StepEvent,
    place: Place,
    author: Author,
) -> Verdict {
    if let StepEvent::FallbackStarted { attempt, error } = body {
        return stand_in::fallback_started(state, key, *attempt, error, place);
    }
    let how = if let StepEvent::Skipped { reason, output } = body {
        LeftOut { status: StepStatus::Skipped, reason, output: output.as_ref() }
    } else if let StepEvent::Cancelled { reason } = body {
        LeftOut { status: StepStatus::Cancelled, reason, output: None }
    } else {
        unreachable!("only steps that do not run come here")
    };
    stand_in::left_out(state, key, how, place, author)
}

/// What waits for somebody or something, and what came of that.
fn fold_waiting(
    state: &mut RunState,
    event: &Event,
    (key, body): (&StepKey, &StepEvent),
    place: Place,
    author: Author,
) -> Verdict {
    if let StepEvent::TaskOpened { attempt, task_id, error } = body {
        task::opened(state, key, *attempt, *task_id, error, place)
    } else if let StepEvent::TaskDecided { task_id, verdict, output, reason } = body {
        let decision = task::Decision { verdict: *verdict, reason, by: &event.actor };
        task::decided(state, key, *task_id, decision, output.as_ref(), place)
    } else if let StepEvent::TaskExpired { task_id } = body {
        task::expired(state, key, *task_id, place)
    } else if let StepEvent::ApprovalRequested { attempt, task_id, call, expires_at } = body {
        let (attempt, task_id, call, expires_at) = (*attempt, *task_id, *call, *expires_at);
        let request = task::Request { attempt, task_id, call, expires_at };
        task::approval_requested(state, key, &request, place)
    } else if let StepEvent::WaitCreated { signal, expires_at, spec } = body {
        let (signal, expires_at) = (signal.as_deref(), *expires_at);
        let awaited = wait::Awaited { signal, expires_at, spec: spec.as_ref() };
        wait::created(state, key, awaited, place, author)
    } else if let StepEvent::WaitExpired = body {
        wait::expired(state, key, place)
    } else {
        unreachable!("only waits and questions come here")
    }
}

/// What comes after the end of a run is refused, or kept as evidence. A report that says nothing
/// new is a repeat, not a fault of its author.
fn after_end(state: &RunState, key: &StepKey, body: &StepEvent, author: Author) -> Verdict {
    let is_known = |step: &StepState| match body {
        StepEvent::Scheduled(spec) => spec.input.digest == step.spec.input.digest,
        StepEvent::Started(start) => start.attempt.is_some_and(|number| number <= step.attempt),
        StepEvent::Heartbeat { attempt, .. }
        | StepEvent::Completed { attempt, .. }
        | StepEvent::Failed { attempt, .. }
        | StepEvent::Unknown { attempt, .. } => *attempt <= step.attempt,
        StepEvent::Skipped { .. } | StepEvent::Cancelled { .. } => step.status.is_terminal(),
        StepEvent::Lost { .. }
        | StepEvent::RetryScheduled { .. }
        | StepEvent::Deferred { .. }
        | StepEvent::Released { .. }
        | StepEvent::Resolved(_)
        | StepEvent::DeadLettered { .. }
        | StepEvent::Redriven { .. }
        | StepEvent::Discarded { .. }
        | StepEvent::FallbackStarted { .. }
        | StepEvent::TaskOpened { .. }
        | StepEvent::TaskDecided { .. }
        | StepEvent::TaskExpired { .. }
        | StepEvent::ApprovalRequested { .. }
        | StepEvent::WaitCreated { .. }
        | StepEvent::WaitExpired
        | StepEvent::Paused { .. }
        | StepEvent::Resumed { .. }
        | StepEvent::Reused { .. }
        | StepEvent::Probed(_)
        | StepEvent::FaultInjected { .. } => false,
    };
    let known = state.steps.get(key).is_some_and(|step| is_known(step));
    if known && author == Author::Reporter {
        return late(Reason::RunEnded);
    }
    // Whoever was not answered says it again. That the run ended by it is no other answer.
    let is_repeat = |step: &StepState| outcome::is_repeat(step, body, state.driver());
    if author == Author::Runner && state.steps.get(key).is_some_and(|step| is_repeat(step)) {
        return author.duplicate();
    }
    author.reject(Reason::RunEnded)
}

/// Letters can be closed after their run has ended, and whoever answers a question or forks a run again is told
/// so; a `begin` and an `await` are answered by rules of their own.
fn is_allowed_after_end(body: &StepEvent, driver: Driver) -> bool {
    match body {
        StepEvent::Discarded { .. }
        | StepEvent::Redriven { .. }
        | StepEvent::Reused { .. }
        | StepEvent::TaskDecided { .. } => true,
        StepEvent::Started(start) => start.attempt.is_none() && driver == Driver::Journal,
        StepEvent::WaitCreated { .. } => driver == Driver::Journal,
        StepEvent::Scheduled(_)
        | StepEvent::Heartbeat { .. }
        | StepEvent::Completed { .. }
        | StepEvent::Failed { .. }
        | StepEvent::Lost { .. }
        | StepEvent::RetryScheduled { .. }
        | StepEvent::Deferred { .. }
        | StepEvent::Released { .. }
        | StepEvent::Unknown { .. }
        | StepEvent::Resolved(_)
        | StepEvent::Skipped { .. }
        | StepEvent::Cancelled { .. }
        | StepEvent::DeadLettered { .. }
        | StepEvent::FallbackStarted { .. }
        | StepEvent::TaskOpened { .. }
        | StepEvent::TaskExpired { .. }
        | StepEvent::ApprovalRequested { .. }
        | StepEvent::WaitExpired
        | StepEvent::Paused { .. }
        | StepEvent::Resumed { .. }
        | StepEvent::Probed(_)
        | StepEvent::FaultInjected { .. } => false,
    }
}
