//! What follows from a failed attempt: charged or free, tried again or not, and when.
//!
//! A pure function of the error, the step's counters and two times. One row per error class, in
//! one exhaustive match, so that a new class cannot be forgotten.

use crate::{AttemptEnd, StepState, brain};
use spine_schemas::{
    Digest, Effect, ErrorClass, HeldBy, OnExhausted, RetryPolicy, RunKey, StepError, limits,
    spec::act_of, time::Micros,
};

/// What an error class means for budget and retrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassRow {
    /// Whether an attempt that ended so spends budget.
    pub charged: bool,
    /// Whether another attempt may help.
    pub retried: bool,
    /// Whether a step that ends so gets a letter (or fails its run, by its policy).
    pub dead_lettered: bool,
}

/// The row of a class.
pub fn class_row(class: ErrorClass) -> ClassRow {
    let row = |charged, retried, dead_lettered| ClassRow { charged, retried, dead_lettered };
    match class {
        ErrorClass::Transient => row(true, true, true),
        ErrorClass::Timeout => row(true, true, true),
        ErrorClass::RateLimited => row(false, true, true),
        ErrorClass::Lost => row(false, true, true),
        ErrorClass::Terminal => row(true, false, true),
        ErrorClass::Contract => row(true, false, true),
        ErrorClass::TooLarge => row(true, false, true),
        ErrorClass::Policy => row(false, false, true),
        ErrorClass::Budget => row(false, false, true),
        ErrorClass::NonDeterminism => row(false, false, true),
        ErrorClass::UnknownOutcome => row(true, false, true),
        ErrorClass::Cancelled => row(false, false, false),
    }
}

/// Whether an attempt of a step that failed so may have taken effect all the same.
///
/// For the careful classes everything but a definite refusal is ambiguous. The executor and the
/// journal say `unknown_outcome` where they know; a time-out or a lost worker is silence too.
pub fn is_ambiguous(effect: Effect, class: ErrorClass) -> bool {
    match class {
        ErrorClass::UnknownOutcome => effect != Effect::Pure,
        ErrorClass::Timeout | ErrorClass::Lost => effect != Effect::Pure,
        ErrorClass::Transient => effect == Effect::Idempotent,
        ErrorClass::RateLimited
        | ErrorClass::Terminal
        | ErrorClass::Contract
        | ErrorClass::Policy
        | ErrorClass::Budget
        | ErrorClass::NonDeterminism
        | ErrorClass::TooLarge
        | ErrorClass::Cancelled => false,
    }
}

/// What follows from a failure.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Another attempt, not before the time; the failure was charged.
    Retry(Micros),
    /// Another attempt, not before the time; the failure was free.
    Defer(Micros),
    /// No further attempt, for this reason.
    Exhausted(StepError),
}

/// What follows for a step whose newest attempt failed, seen at `now`.
pub fn after_failure(run: &RunKey, step: &StepState, now: Micros) -> Next {
    let error = last_error(step);
    // Nobody tries again by itself what somebody has forbidden.
    let unsent = is_unsent(step) && error.class != ErrorClass::Policy;
    let row = class_row(error.class);
    if step.lost_in_row >= limits::LOST_IN_ROW {
        return Next::Exhausted(lost_too_often(step.lost_in_row));
    }
    // What did not come in time is not awaited again by itself.
    let waited = !act_of(&step.spec.tool).acts();
    // Whoever may be asked twice may say something better the second time.
    let asks_again = brain::said_nonsense(&error) && !step.spec.effect.is_careful();
    if waited || (!unsent && !row.retried && !asks_again) {
        return Next::Exhausted(error);
    }
    let free = unsent || error.free || !row.charged;
    if !free && step.charged >= step.spec.retry.max_attempts {
        return Next::Exhausted(error);
    }
    let failures = if free { step.free_in_row } else { step.charged };
    let wait_ms = backoff_ms(&step.spec.retry, failures, jitter_seed(run, step))
        .max(error.retry_after_ms.unwrap_or(0).min(limits::DEADLINE_MS));
    let due = now.plus_ms(wait_ms);
    if step.deadline().is_some_and(|deadline| due >= deadline) {
        return Next::Exhausted(error);
    }
    if !free && is_past_elapsed(step, due) {
        return Next::Exhausted(error);
    }
    if free { Next::Defer(due) } else { Next::Retry(due) }
}

/// Until when a step that has an alternative waits for an open breaker: as long as the retries that it has
/// left would have taken. A step without one waits until its deadline.
pub(crate) fn patience_until(step: &StepState) -> Option<Micros> {
    let has_alternative = match step.spec.on_exhausted {
        OnExhausted::Skip | OnExhausted::Fallback => true,
        OnExhausted::DeadLetter
        | OnExhausted::Fail
        | OnExhausted::Compensate
        | OnExhausted::Escalate => false,
    };
    step.held_back().filter(|held| held.by == HeldBy::Breaker && has_alternative)?;
    let policy = &step.spec.retry;
    let left = step.charged.max(1)..policy.max_attempts;
    let ms = left.map(|failures| backoff_ms(policy, failures, 0)).fold(0, u64::saturating_add);
    step.breaker_since.map(|since| since.plus_ms(ms))
}

/// The error for a step whose deadline, start limit or patience with a breaker is over while it waits.
pub fn overdue(step: &StepState, now: Micros) -> Option<StepError> {
    let late = |limit: Option<Micros>| limit.is_some_and(|limit| now >= limit);
    let timeout = |code: &str, text: &str| StepError::new(ErrorClass::Timeout, code, text);
    if late(step.deadline()) {
        return Some(timeout("step_deadline", "the step's deadline passed"));
    }
    if late(patience_until(step)) {
        let message =
            "the breaker of the tool held it back as long as the retries would have taken";
        return Some(StepError::new(ErrorClass::Transient, "breaker_open", message));
    }
    if late(step.start_deadline()) {
        return Some(timeout("schedule_to_start", "the step was not started in time"));
    }
    None
}

/// The wait after a number of failures, at least 1: exponential, capped, and shortened by up to the
/// jitter's part of itself. Never longer than the policy's maximum.
pub fn backoff_ms(policy: &RetryPolicy, failures: u32, seed: u64) -> u64 {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    // Held finite, so that a policy without waits stays one: nothing times infinity is no number.
    let growth = policy.multiplier.powi(exponent).min(f64::MAX);
    let grown = policy.initial_ms as f64 * growth;
    let capped = grown.min(policy.max_ms as f64);
    let part = (seed >> 11) as f64 / (1u64 << 53) as f64;
    (capped * (1.0 - policy.jitter * part)).ceil() as u64
}

/// The first wait that the policy allows after a number of failures.
pub fn shortest_backoff_ms(policy: &RetryPolicy, failures: u32) -> u64 {
    backoff_ms(policy, failures, u64::MAX)
}

fn jitter_seed(run: &RunKey, step: &StepState) -> u64 {
    let digest = Digest::of_parts(&[
        run.to_string().as_bytes(),
        step.key.to_string().as_bytes(),
        &step.attempt.to_be_bytes(),
    ]);
    digest.short()
}

fn last_error(step: &StepState) -> StepError {
    step.error.clone().unwrap_or_else(|| {
        StepError::new(ErrorClass::Transient, "unspecified", "the attempt failed without an error")
    })
}

/// Whether the newest attempt ended without having been sent; such an attempt is free.
fn is_unsent(step: &StepState) -> bool {
    matches!(step.attempts.last().map(|last| &last.end), Some(AttemptEnd::Released(Some(_))))
}

fn is_past_elapsed(step: &StepState, due: Micros) -> bool {
    let limit_ms = step.spec.retry.max_elapsed_ms;
    let since_first = |first: Micros| due.ms_since(first) > limit_ms;
    limit_ms > 0 && step.first_started_at.is_some_and(since_first)
}

fn lost_too_often(times: u32) -> StepError {
    let message = format!("{times} attempts in a row ended with their worker");
    StepError::new(ErrorClass::Lost, "lost_too_often", message)
}
