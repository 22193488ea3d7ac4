//! Events about a step: which rule folds which kind.

use super::{Place, Verdict, attempt, begin, gate::Author, operator, outcome};
use crate::{Reason, RunState};
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
        return author.reject(Reason::RunEnded);
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
        StepEvent::Completed {
            attempt,
            lease,
            output,
            usage,
        } => {
            let which = outcome::Which {
                key,
                attempt: *attempt,
                lease: *lease,
            };
            outcome::completed(state, which, output, usage.as_ref(), place, author)
        }
        StepEvent::Failed {
            attempt,
            lease,
            error,
            usage,
        } => {
            let which = outcome::Which {
                key,
                attempt: *attempt,
                lease: *lease,
            };
            outcome::failed(state, which, error, usage.as_ref(), place, author)
        }
        StepEvent::Released {
            attempt,
            lease,
            error,
        } => {
            let which = outcome::Which {
                key,
                attempt: *attempt,
                lease: Some(*lease),
            };
            outcome::released(state, which, error.as_ref(), place, author)
        }
        StepEvent::Lost {
            attempt,
            lease,
            heartbeat,
            reason,
        } => {
            let which = outcome::Which {
                key,
                attempt: *attempt,
                lease: Some(*lease),
            };
            attempt::lost(state, which, *heartbeat, reason, place, author)
        }
        StepEvent::RetryScheduled { attempt, due_at } => attempt::waits(
            state,
            key,
            *attempt,
            *due_at,
            crate::StepStatus::RetryWaiting,
            place,
        ),
        StepEvent::Deferred { attempt, due_at } => attempt::waits(
            state,
            key,
            *attempt,
            *due_at,
            crate::StepStatus::Deferred,
            place,
        ),
        StepEvent::Unknown { attempt, reason } => {
            attempt::unknown(state, key, *attempt, reason, place, author)
        }
        StepEvent::FaultInjected { attempt, fault } => {
            attempt::fault_injected(state, key, *attempt, *fault, place)
        }
        StepEvent::Skipped { reason } => outcome::left_out(
            state,
            key,
            crate::StepStatus::Skipped,
            reason,
            place,
            author,
        ),
        StepEvent::Cancelled { reason } => outcome::left_out(
            state,
            key,
            crate::StepStatus::Cancelled,
            reason,
            place,
            author,
        ),
        StepEvent::Resolved(resolution) => operator::resolved(state, key, resolution, place),
        StepEvent::DeadLettered {
            attempt,
            letter_id,
            error,
        } => operator::dead_lettered(state, key, *attempt, *letter_id, error, place),
        StepEvent::Redriven {
            letter_id,
            force,
            edit,
            ..
        } => operator::redriven(state, key, *letter_id, *force, edit.as_ref(), place),
        StepEvent::Discarded {
            letter_id, then, ..
        } => operator::discarded(state, key, *letter_id, *then, place),
    }
}

/// Letters can be closed after their run has ended; a `begin` is answered by its own rule.
fn is_allowed_after_end(body: &StepEvent, driver: Driver) -> bool {
    match body {
        StepEvent::Discarded { .. } => true,
        StepEvent::Started(start) => start.attempt.is_none() && driver == Driver::Journal,
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
        | StepEvent::Redriven { .. }
        | StepEvent::FaultInjected { .. } => false,
    }
}
