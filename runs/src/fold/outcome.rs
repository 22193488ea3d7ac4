//! Outcomes: how an attempt ended, in time or late. Matched by attempt and lease, never fenced.

use super::{
    Place, Verdict,
    attempt::{end_attempt, lose},
    gate::{Author, late},
};
use crate::{
    Answer, AttemptEnd, AttemptState, Reason, RunState, StepState, StepStatus, brain, kept, retry,
    unresolved,
};
use spine_schemas::{
    Driver, ErrorClass, Output, StepError, StepEvent, StepKey, Usage,
    mutants::{Mutant, planted},
};

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
    let numbered = |attempt: &&AttemptState| attempt.attempt == which.attempt;
    let Some(known) = step.attempts.iter().rfind(numbered) else {
        return Err(if is_left_out(step, which.attempt) {
            Reason::Late
        } else {
            Reason::WrongAttempt
        });
    };
    if driver != Driver::Record && Some(known.lease) != which.lease {
        return Err(Reason::WrongLease);
    }
    if step.live.as_ref().is_some_and(|live| live.attempt == which.attempt) {
        return Ok(Timing::Live);
    }
    Ok(if step.attempt == which.attempt && step.edit == known.edit {
        Timing::Newest
    } else {
        Timing::Superseded
    })
}

/// Whether an attempt was dropped from the middle of a long history, so that its lease is not known.
fn is_left_out(step: &StepState, attempt: u32) -> bool {
    let first = step.attempts.first().map_or(0, |first| first.attempt);
    step.attempts_omitted > 0 && first < attempt && attempt < step.attempt
}

/// An outcome without a matching attempt was invented; one with a wrong lease was, too.
fn mismatch(author: Author, reason: Reason) -> Verdict {
    if reason == Reason::Late {
        return late(reason);
    }
    author.reject(reason)
}

pub(super) fn completed(
    state: &mut RunState,
    which: Which<'_>,
    output: &Output,
    usage: Option<&Usage>,
    place: Place,
    author: Author,
) -> Verdict {
    if planted(Mutant::AnswerReplaced) {
        replace_answer(state, which, output);
    }
    let grown = match brain::answered(state, which.key, output) {
        None => None,
        Some(Ok(plan)) => Some(plan),
        // Whoever ran the attempt should have said so.
        Some(Err(error)) => return failed(state, which, &error, usage, place, author),
    };
    let (driver, undoing) = (state.driver(), state.undo.is_some());
    let has_room = kept::has_room(state, output.payload.data.len());
    let Some(mut step) = state.steps.get_mut(which.key) else {
        return mismatch(author, Reason::StepAbsent);
    };
    let timing = match timing(&step, which, driver) {
        Ok(timing) => timing,
        Err(reason) => return mismatch(author, reason),
    };
    if step.status == StepStatus::Completed {
        return match timing {
            Timing::Live | Timing::Newest => author.duplicate(),
            Timing::Superseded => late(Reason::Late),
        };
    }
    // What turns out to have happened while its run is undone is undone, too.
    let given_up = step.given_up && !undoing;
    if step.status.is_terminal() || given_up {
        return late(Reason::Late);
    }
    if planted(Mutant::IgnoreLateSuccess) && step.generation > 0 && step.live.is_none() {
        return late(Reason::Late);
    }
    let mut completes = false;
    match timing {
        Timing::Live | Timing::Newest => {
            completes = true;
            let output = kept::output(output, has_room);
            complete(&mut step, which, output, usage, place);
        }
        Timing::Superseded if step.late_success => return late(Reason::Late),
        Timing::Superseded => keep_evidence(&mut step, which.attempt, driver),
    }
    let step = &mut *step;
    step.last_offset = place.offset;
    if completes && grown.is_some() {
        state.grown = grown;
    }
    if let Some(usage) = usage {
        state.totals.add(usage);
    }
    Verdict::Applied(Answer::Ok)
}

/// What [`Mutant::AnswerReplaced`] does.
fn replace_answer(state: &mut RunState, which: Which<'_>, output: &Output) {
    let is_ask = brain::asks(state, which.key).is_some();
    let plan = brain::replaced(state, which.key, output).filter(|_| is_ask);
    if let (Some(plan), Some(mut step)) = (plan, state.steps.get_mut(which.key)) {
        step.output = Some(output.clone());
        state.grown = Some(plan);
    }
}

/// Whether a step ended by exactly this success.
pub(super) fn is_repeat(step: &StepState, body: &StepEvent, driver: Driver) -> bool {
    let StepEvent::Completed { attempt, lease, .. } = body else { return false };
    let which = Which { key: &step.key, attempt: *attempt, lease: *lease };
    let is_done = step.status == StepStatus::Completed;
    is_done && matches!(timing(step, which, driver), Ok(Timing::Newest))
}

/// Completes a step from any state in which no newer start has been accepted; closes its letter.
fn complete(
    step: &mut StepState,
    which: Which<'_>,
    output: Output,
    usage: Option<&Usage>,
    place: Place,
) {
    end_attempt(step, AttemptEnd::Completed, false, place);
    note_cost(step, which.attempt, usage);
    step.status = StepStatus::Completed;
    step.given_up = false;
    step.output = Some(output);
    step.letter = None;
    step.task = None;
    step.due_at = None;
    step.lost_in_row = 0;
    step.free_in_row = 0;
    step.ended_at = Some(place.at);
}

/// An older attempt turned out to have succeeded. Where repeating may hurt nothing more is tried by
/// itself: not after the newer attempt, and not now if that has ended already.
fn keep_evidence(step: &mut StepState, attempt: u32, driver: Driver) {
    step.late_success = true;
    let goes_on = match step.status {
        StepStatus::Scheduled
        | StepStatus::RetryWaiting
        | StepStatus::Deferred
        | StepStatus::Failed => true,
        StepStatus::Running
        | StepStatus::Awaiting
        | StepStatus::Unknown
        | StepStatus::Completed
        | StepStatus::DeadLettered
        | StepStatus::Skipped
        | StepStatus::Cancelled => false,
    };
    if goes_on && step.spec.effect.is_careful() && driver != Driver::Record {
        let message = format!("attempt {attempt} turned out to have succeeded");
        let class = ErrorClass::UnknownOutcome;
        step.error = Some(StepError::new(class, "late_success", message));
        step.status = StepStatus::Unknown;
        step.due_at = None;
    }
}

fn note_cost(step: &mut StepState, attempt: u32, usage: Option<&Usage>) {
    let cost_micros = usage.map(|usage| usage.cost_micros).filter(|cost| *cost > 0);
    if let Some(entry) = step.attempts.iter_mut().rev().find(|entry| entry.attempt == attempt) {
        entry.cost_micros = cost_micros.or(entry.cost_micros);
    }
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
    let Some(mut step) = state.steps.get_mut(which.key) else {
        return mismatch(author, Reason::StepAbsent);
    };
    let timing = match timing(&step, which, driver) {
        Ok(timing) => timing,
        Err(reason) => return mismatch(author, reason),
    };
    let acted = unresolved::may_have_acted(driver, &step.spec, error.class);
    match timing {
        Timing::Live => {}
        Timing::Newest if step.status == StepStatus::Failed => return author.duplicate(),
        // A definite failure settles what was unknown.
        Timing::Newest if is_open_question(&step, driver) && !acted => {}
        Timing::Newest | Timing::Superseded => return late(Reason::Late),
    }
    let step = &mut *step;
    fail(step, error, driver, place);
    note_cost(step, which.attempt, usage);
    if let Some(usage) = usage {
        state.totals.add(usage);
    }
    Verdict::Applied(Answer::Ok)
}

/// Whether the step waits to learn what became of its newest attempt, and of no other.
fn is_open_question(step: &StepState, driver: Driver) -> bool {
    let newest = step.attempts.last();
    step.status == StepStatus::Unknown
        && !step.late_success
        && newest.is_some_and(|newest| match newest.end {
            AttemptEnd::Lost(_) => true,
            AttemptEnd::Running
            | AttemptEnd::Completed
            | AttemptEnd::Failed(_)
            | AttemptEnd::Released(_)
            | AttemptEnd::DidNotHappen => unresolved::is_unresolved(driver, &step.spec, newest),
        })
}

/// Ends the newest attempt with an error. A careful step whose attempt may have taken effect is
/// parked; so is one whose older attempt turned out to have succeeded.
fn fail(step: &mut StepState, error: &StepError, driver: Driver, place: Place) {
    if error.class == ErrorClass::Lost && driver != Driver::Record {
        return lose(step, &error.message, place);
    }
    let charged = retry::class_row(error.class).charged && !error.free;
    let careful = step.spec.effect.is_careful();
    let acted = unresolved::may_have_acted(driver, &step.spec, error.class);
    let ambiguous = acted || (step.late_success && driver != Driver::Record);
    end_attempt(step, AttemptEnd::Failed(error.clone()), charged, place);
    step.error = Some(error.clone());
    step.lost_in_row = 0;
    step.breaker_since = step.breaker_since.filter(|_| !charged);
    step.free_in_row = if charged { 0 } else { step.free_in_row + 1 };
    step.status = if careful && ambiguous { StepStatus::Unknown } else { StepStatus::Failed };
}

pub(super) fn released(
    state: &mut RunState,
    which: Which<'_>,
    error: Option<&StepError>,
    place: Place,
    author: Author,
) -> Verdict {
    let driver = state.driver();
    // Whoever never sent an attempt cannot know whether its start was accepted. If it was not, there
    // is nothing to give back, and nobody is at fault.
    let reject = |reason| match error {
        None if driver != Driver::Record => late(reason),
        None | Some(_) => mismatch(author, reason),
    };
    let Some(mut step) = state.steps.get_mut(which.key) else {
        return reject(Reason::StepAbsent);
    };
    match timing(&step, which, driver) {
        Ok(Timing::Live) => {}
        Ok(Timing::Newest) if is_open_question(&step, driver) => {}
        Ok(Timing::Newest | Timing::Superseded) => return late(Reason::Late),
        Err(reason) => return reject(reason),
    }
    // Whoever read its start has begun the run that it is, whatever became of who decided it.
    if step.is_child() {
        return late(Reason::Late);
    }
    let step = &mut *step;
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
