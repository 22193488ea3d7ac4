//! Pauses: nothing new starts while one stands, and the clocks of what waits stand still.

use super::{Place, Verdict};
use crate::{Answer, Pause, Reason, RunState, StepState, Still};
use spine_schemas::{Driver, Event, StepKey, time::Micros};

fn refuse(code: Reason) -> Verdict {
    Verdict::Refused(code, Answer::Denied { code })
}

fn duplicate() -> Verdict {
    Verdict::Stale(Reason::Duplicate, Some(Answer::Ok))
}

pub(super) fn pause_run(
    state: &mut RunState,
    event: &Event,
    reason: &str,
    place: Place,
) -> Verdict {
    if let Some(refused) = refused(state) {
        return refused;
    }
    if state.cancel.is_some() && state.undo.is_none() {
        return refuse(Reason::RunEnding);
    }
    if state.paused.is_some() {
        return duplicate();
    }
    state.paused = Some(Box::new(pause(event, reason, place)));
    Verdict::Applied(Answer::Ok)
}

pub(super) fn resume_run(state: &mut RunState, place: Place) -> Verdict {
    if let Some(refused) = refused(state) {
        return refused;
    }
    let Some(paused) = state.paused.take() else { return duplicate() };
    state.paused_ms = state.paused_ms.saturating_add(place.at.ms_since(paused.at));
    let keys: Vec<StepKey> = state.steps.unsettled().map(|step| step.key.clone()).collect();
    for key in &keys {
        let mut step = state.steps.get_mut(key).expect("it was among them");
        // One that is paused by itself gets its time back when that ends.
        match &mut step.paused {
            Some(own) => own.at = own.at.min(paused.at),
            None => stand_still(&mut step, paused.at, place.at),
        }
        stays(&mut step, place);
    }
    Verdict::Applied(Answer::Ok)
}

pub(super) fn pause_step(
    state: &mut RunState,
    event: &Event,
    key: &StepKey,
    reason: &str,
    place: Place,
) -> Verdict {
    if let Some(refused) = refused(state) {
        return refused;
    }
    let Some(mut step) = state.steps.get_mut(key) else {
        return refuse(Reason::StepAbsent);
    };
    if step.status.is_terminal() {
        return refuse(Reason::StepState);
    }
    if step.paused.is_some() {
        return duplicate();
    }
    step.paused = Some(Box::new(pause(event, reason, place)));
    stays(&mut step, place);
    Verdict::Applied(Answer::Ok)
}

pub(super) fn resume_step(state: &mut RunState, key: &StepKey, place: Place) -> Verdict {
    if let Some(refused) = refused(state) {
        return refused;
    }
    // What the run's own pause holds back is given back with that.
    let until = state.paused.as_ref().map_or(place.at, |run| run.at);
    let Some(mut step) = state.steps.get_mut(key) else {
        return refuse(Reason::StepAbsent);
    };
    if step.status.is_terminal() {
        return refuse(Reason::StepState);
    }
    let Some(paused) = step.paused.clone() else { return duplicate() };
    let step = &mut *step;
    step.paused = None;
    stays(step, place);
    stand_still(step, paused.at, until);
    Verdict::Applied(Answer::Ok)
}

/// Whether the run is one that Spine can hold back.
fn refused(state: &RunState) -> Option<Verdict> {
    if !state.is_open() {
        return Some(refuse(Reason::RunEnded));
    }
    match state.driver() {
        Driver::Plan | Driver::Journal => None,
        Driver::Record => Some(refuse(Reason::WrongDriver)),
    }
}

fn pause(event: &Event, reason: &str, place: Place) -> Pause {
    Pause { reason: reason.to_owned(), by: event.actor.clone(), at: place.at }
}

/// Notes an event that moves nothing of the step.
fn stays(step: &mut StepState, place: Place) {
    step.still = Some(Still { offset: place.offset, before: step.moved_offset() });
    step.last_offset = place.offset;
}

/// Moves budgets and deadlines by the time that a step was held back.
pub(super) fn stand_still(step: &mut StepState, from: Micros, to: Micros) {
    let wait_from = step.first_started_at.map_or(from, |began| began.max(from));
    if let Some(wait) = &mut step.wait {
        wait.until = wait.until.plus_ms(to.ms_since(wait_from));
    }
    if let Some(task) = &mut step.task {
        let held_ms = to.ms_since(from.max(task.at));
        task.until = task.until.map(|until| until.plus_ms(held_ms));
    }
    let times =
        [Some(&mut step.budget_from), step.first_started_at.as_mut(), step.breaker_since.as_mut()];
    for at in times.into_iter().flatten() {
        *at = at.plus_ms(to.ms_since(from.max(*at)));
    }
}
