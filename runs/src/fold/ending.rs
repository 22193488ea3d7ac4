//! Runs that are made to end: cancelled, killed, or undone first.

use super::{Place, Verdict, gate::Author, run};
use crate::{Answer, CancelRequest, Reason, RunState, RunStatus, Undo, undo};
use spine_schemas::{Driver, ErrorClass, StepError, StepKey};

/// Somebody asks that the run end. What runs is waited for, nothing new starts, and a pause is over.
pub(super) fn cancel_requested(
    state: &mut RunState,
    reason: &str,
    compensate: bool,
    place: Place,
    author: Author,
) -> Verdict {
    if !state.is_open() {
        return run::ended_already(state, author, |status| status == RunStatus::Cancelled);
    }
    match state.driver() {
        Driver::Plan => {}
        // Only the agent knows how its steps are undone.
        Driver::Journal if !compensate => {}
        Driver::Journal | Driver::Record => return author.reject(Reason::WrongDriver),
    }
    if state.cancel.as_ref().is_some_and(|known| known.compensate || !compensate) {
        return author.duplicate();
    }
    // It failed, and is on its way to its end already.
    if state.undo.is_some() {
        return author.reject(Reason::RunEnding);
    }
    let (reason, at) = (reason.to_owned(), place.at);
    state.cancel = Some(Box::new(CancelRequest { reason, compensate, at }));
    state.paused = None;
    Verdict::Applied(Answer::Ok)
}

/// The owner's decision to undo what was done. What waits is given up with it.
pub(super) fn compensation_started(
    state: &mut RunState,
    error: &StepError,
    step: Option<&StepKey>,
    place: Place,
    author: Author,
) -> Verdict {
    if !state.is_open() {
        return author.reject(Reason::RunEnded);
    }
    if state.driver() != Driver::Plan || state.undo.is_some() || !undo::is_quiet(state) {
        return author.reject(Reason::StepState);
    }
    if let Some(mut failed) = step.and_then(|key| state.steps.get_mut(key)) {
        if failed.status.is_terminal() {
            return author.reject(Reason::StepState);
        }
        run::give_up(&mut failed, error, place);
    }
    run::cancel_waiting(state, place);
    let (error, step) = (error.clone(), step.cloned());
    state.undo = Some(Box::new(Undo { error, step, at: place.at }));
    Verdict::Applied(Answer::Ok)
}

/// The end of a cancelled run: the owner's decision when nothing runs any more, the agent's own, or
/// somebody's who does not wait for what runs.
pub(super) fn cancelled(
    state: &mut RunState,
    reason: &str,
    place: Place,
    author: Author,
) -> Verdict {
    if !state.is_open() {
        return run::ended_already(state, author, |status| status == RunStatus::Cancelled);
    }
    if author == Author::Owner {
        let running = !undo::none_runs(state);
        let asked = state.cancel.as_ref();
        let undone = |compensate: bool| !compensate || is_undone(state);
        if running || !asked.is_some_and(|asked| undone(asked.compensate)) {
            return author.reject(Reason::StepState);
        }
    }
    state.error = Some(StepError::new(ErrorClass::Cancelled, "cancelled", reason));
    run::end(state, RunStatus::Cancelled, place)
}

/// Whether all that the run has done was undone.
pub(super) fn is_undone(state: &RunState) -> bool {
    state.undo.is_some() && matches!(undo::next(state), undo::Next::Done)
}
