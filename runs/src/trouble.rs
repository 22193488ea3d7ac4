//! What fails or is retried in a run now: each step that has not ended although it, or an attempt of it, failed, why, and
//! since when. Grouping it over runs is up to whoever asks.

use crate::{AttemptEnd, AttemptState, RunState, StepState, StepStatus};
use spine_schemas::{StepError, time::Micros};

/// A step in trouble.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trouble<'a> {
    /// The step. Its status says what comes next.
    pub step: &'a StepState,
    /// Why it stopped, or else why the newest attempt failed that did.
    pub cause: Cause<'a>,
    /// Log time of the first failure of an attempt; else of the letter or question, or of its scheduling.
    pub since: Micros,
    /// Log time of the newest one.
    pub last: Micros,
}

/// How something failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause<'a> {
    /// Somebody said so.
    Error(&'a StepError),
    /// Whoever ran it is gone.
    Lost(&'a str),
}

/// The steps of an open run that are in trouble; none of one that has ended.
pub fn troubles(run: &RunState) -> impl Iterator<Item = Trouble<'_>> {
    let steps = run.is_open().then(|| run.steps.unsettled());
    steps.into_iter().flatten().filter_map(|step| trouble(step))
}

fn trouble(step: &StepState) -> Option<Trouble<'_>> {
    let first = step.attempts.iter().find_map(failure);
    let newest = step.attempts.iter().rev().find_map(failure);
    // Where the step has stopped, its own error says why: a deadline, say, that passed before anything began.
    let stopped = step.error.as_ref().filter(|_| has_stopped(step)).map(Cause::Error);
    let cause = stopped.or(newest.map(|(_, cause)| cause))?;
    let opened = step.letter.as_ref().map(|letter| letter.at);
    let opened = opened.or_else(|| step.task.as_ref().map(|task| task.at));
    let at = opened.unwrap_or(step.scheduled_at);
    let since = first.map_or(at, |(at, _)| at);
    Some(Trouble { step, cause, since, last: newest.map_or(at, |(at, _)| at) })
}

/// Whether it goes on only when somebody, or another step, has dealt with it.
fn has_stopped(step: &StepState) -> bool {
    match step.status {
        StepStatus::Failed
        | StepStatus::DeadLettered
        | StepStatus::Unknown
        | StepStatus::Awaiting => true,
        StepStatus::Scheduled
        | StepStatus::Running
        | StepStatus::RetryWaiting
        | StepStatus::Deferred
        | StepStatus::Completed
        | StepStatus::Skipped
        | StepStatus::Cancelled => false,
    }
}

/// When and why an attempt failed.
fn failure(attempt: &AttemptState) -> Option<(Micros, Cause<'_>)> {
    let cause = match &attempt.end {
        AttemptEnd::Failed(error) | AttemptEnd::Released(Some(error)) => Cause::Error(error),
        AttemptEnd::Lost(why) => Cause::Lost(why),
        AttemptEnd::Running
        | AttemptEnd::Completed
        | AttemptEnd::Released(None)
        | AttemptEnd::DidNotHappen => return None,
    };
    Some((attempt.ended_at.unwrap_or(attempt.started_at), cause))
}
