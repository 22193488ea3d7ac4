//! Outcomes: how an attempt ended, in time or late. Matched by attempt and lease, never fenced.

use super::{
    Place, Verdict,
    attempt::{end_attempt, lose},
    gate::Author,
};
use crate::{Answer, AttemptEnd, Reason, RunState, StepState, StepStatus, retry};
use spine_schemas::{Driver, ErrorClass, Output, StepError, StepKey, Usage};
use std::sync::Arc;

/// The attempt that an outcome is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which<'a> {
    pub(super) key: &'a StepKey,
    pub(super) attempt: u32,
    pub(super) lease: Option<u64>,
}

/// How an outcome relates to the step's state.
enum Timing {
    /// Its attempt runs.
    Live,
    /// Its attempt is over, and no newer one has started.
    Newest,
    /// A newer attempt has started.
    Superseded,
}

fn timing(step: &StepState, which: Which<'_>, driver: Driver) -> Result<Timing, Reason> {
    let known = |attempt: &&crate::AttemptState| {
        attempt.attempt == which.attempt
            && (driver == Driver::Record || Some(attempt.lease) == which.lease)
    };
    if !step.attempts.iter().any(|attempt| known(&attempt)) {
        let numbered = step
            .attempts
            .iter()
            .any(|attempt| attempt.attempt == which.attempt);
        return Err(if numbered {
            Reason::WrongLease
        } else {
            Reason::WrongAttempt
        });
    }
    if step
        .live
        .as_ref()
        .is_some_and(|live| live.attempt == which.attempt)
    {
        return Ok(Timing::Live);
    }
    Ok(if step.attempt == which.attempt {
        Timing::Newest
    } else {
        Timing::Superseded
    })
}

/// An outcome without a matching attempt was invented; one with a wrong lease was, too.
fn mismatch(author: Author, reason: Reason) -> Verdict {
    match author {
        Author::Runner => Verdict::Illegal(reason),
        Author::Owner | Author::Requester | Author::Reporter => author.reject(reason),
    }
}

pub(super) fn completed(
    state: &mut RunState,
    which: Which<'_>,
    output: &Output,
    usage: Option<&Usage>,
    place: Place,
    author: Author,
) -> Verdict {
    let driver = state.driver();
    let Some(step) = state.steps.get_mut(which.key) else {
        return mismatch(author, Reason::StepAbsent);
    };
    let timing = match timing(step, which, driver) {
        Ok(timing) => timing,
        Err(reason) => return mismatch(author, reason),
    };
    if step.status == StepStatus::Completed {
        return match timing {
            Timing::Live | Timing::Newest => author.duplicate(),
            Timing::Superseded => late(),
        };
    }
    if step.status.is_terminal() || step.given_up {
        return late();
    }
    let step = Arc::make_mut(step);
    match timing {
        Timing::Live | Timing::Newest => complete(step, which, output, usage, place),
        Timing::Superseded if step.late_success => return late(),
        Timing::Superseded => step.late_success = true,
    }
    step.last_offset = place.offset;
    if let Some(usage) = usage {
        state.totals.add(usage);
    }
    Verdict::Applied(Answer::Ok)
}

/// Completes a step from any state in which no newer start has been accepted; closes its letter.
fn complete(
    step: &mut StepState,
    which: Which<'_>,
    output: &Output,
    usage: Option<&Usage>,
    place: Place,
) {
    end_attempt(step, AttemptEnd::Completed, false, place);
    note_cost(step, which.attempt, usage);
    step.status = StepStatus::Completed;
    step.output = Some(output.clone());
    step.letter = None;
    step.due_at = None;
    step.lost_in_row = 0;
    step.free_in_row = 0;
    step.ended_at = Some(place.at);
}

fn note_cost(step: &mut StepState, attempt: u32, usage: Option<&Usage>) {
    let cost_micros = usage
        .map(|usage| usage.cost_micros)
        .filter(|cost| *cost > 0);
    if let Some(entry) = step
        .attempts
        .iter_mut()
        .rev()
        .find(|entry| entry.attempt == attempt)
    {
        entry.cost_micros = cost_micros.or(entry.cost_micros);
    }
}

fn late() -> Verdict {
    Verdict::Stale(Reason::Late, Some(Answer::Denied { code: Reason::Late }))
}

pub(super) fn failed(
    state: &mut RunState,
    which: Which<'_>,
    error: &StepError,
    usage: Option<&Usage>,
    place: Place,
    author: Author,
) -> Verdict {
    let driver = state.driver();
    let Some(step) = state.steps.get_mut(which.key) else {
        return mismatch(author, Reason::StepAbsent);
    };
    let timing = match timing(step, which, driver) {
        Ok(timing) => timing,
        Err(reason) => return mismatch(author, reason),
    };
    let step = Arc::make_mut(step);
    match timing {
        Timing::Live => fail(step, error, driver, place),
        Timing::Newest if step.status == StepStatus::Failed => return author.duplicate(),
        // A definite failure settles what was unknown; it was charged when it became unknown.
        Timing::Newest
            if step.status == StepStatus::Unknown
                && !step.late_success
                && !retry::is_ambiguous(step.spec.effect, error.class) =>
        {
            step.error = Some(error.clone());
            end_attempt(step, AttemptEnd::Failed(error.clone()), false, place);
            step.status = StepStatus::Failed;
        }
        Timing::Newest | Timing::Superseded => return late(),
    }
    note_cost(step, which.attempt, usage);
    if let Some(usage) = usage {
        state.totals.add(usage);
    }
    Verdict::Applied(Answer::Ok)
}

/// Ends the live attempt with an error. A careful step whose attempt may have taken effect is
/// parked; so is one whose older attempt turned out to have succeeded.
fn fail(step: &mut StepState, error: &StepError, driver: Driver, place: Place) {
    if error.class == ErrorClass::Lost && driver != Driver::Record {
        return lose(step, &error.message, place);
    }
    let charged = retry::class_row(error.class).charged;
    let careful = step.spec.effect.is_careful();
    let ambiguous = retry::is_ambiguous(step.spec.effect, error.class) || step.late_success;
    end_attempt(step, AttemptEnd::Failed(error.clone()), charged, place);
    step.error = Some(error.clone());
    step.lost_in_row = 0;
    step.free_in_row = if charged { 0 } else { step.free_in_row + 1 };
    step.status = if careful && ambiguous && driver != Driver::Record {
        StepStatus::Unknown
    } else {
        StepStatus::Failed
    };
}

pub(super) fn released(
    state: &mut RunState,
    which: Which<'_>,
    error: Option<&StepError>,
    place: Place,
    author: Author,
) -> Verdict {
    let driver = state.driver();
    let Some(step) = state.steps.get_mut(which.key) else {
        return mismatch(author, Reason::StepAbsent);
    };
    match timing(step, which, driver) {
        Ok(Timing::Live) => {}
        Ok(Timing::Newest | Timing::Superseded) => return late(),
        Err(reason) => return mismatch(author, reason),
    }
    let step = Arc::make_mut(step);
    end_attempt(step, AttemptEnd::Released(error.cloned()), false, place);
    if let Some(error) = error {
        step.error = Some(error.clone());
        step.free_in_row += 1;
        step.lost_in_row = 0;
    }
    let careful = step.spec.effect.is_careful();
    step.status = match error {
        _ if careful && step.late_success => StepStatus::Unknown,
        Some(_) => StepStatus::Failed,
        None => StepStatus::Scheduled,
    };
    Verdict::Applied(Answer::Ok)
}

/// `step_skipped` and `step_cancelled`: reported in record runs; decided elsewhere only for a step
/// whose attempt ended as cancelled.
pub(super) fn left_out(
    state: &mut RunState,
    key: &StepKey,
    status: StepStatus,
    reason: &str,
    place: Place,
    author: Author,
) -> Verdict {
    if state.driver() != Driver::Record {
        return author.reject(Reason::WrongDriver);
    }
    let Some(step) = state.steps.get_mut(key) else {
        return author.reject(Reason::StepAbsent);
    };
    if step.status == status {
        return author.duplicate();
    }
    if step.status.is_terminal() {
        return author.reject(Reason::StepState);
    }
    let step = Arc::make_mut(step);
    let class = ErrorClass::Cancelled;
    if step.live.is_some() {
        end_attempt(
            step,
            AttemptEnd::Failed(StepError::new(class, status.as_str(), reason)),
            false,
            place,
        );
    }
    step.status = status;
    step.ended_at = Some(place.at);
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}
