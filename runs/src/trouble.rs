//! What fails or is retried in a run now: each step that has not ended although an attempt of it failed, why, and
//! since when. Grouping it over runs is up to whoever asks.

use crate::{AttemptEnd, AttemptState, RunState, StepState};
use spine_schemas::{StepError, time::Micros};

/// A step in trouble.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trouble<'a> {
    /// The step. Its status says what comes next.
    pub step: &'a StepState,
    /// Why the newest attempt failed that did.
    pub cause: Cause<'a>,
    /// Log time of the first failure.
    pub since: Micros,
    /// Log time of the newest one.
    pub last: Micros,
}

/// How an attempt failed.
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
    let (since, _) = step.attempts.iter().find_map(failure)?;
    let (last, cause) = step.attempts.iter().rev().find_map(failure)?;
    Some(Trouble { step, cause, since, last })
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
