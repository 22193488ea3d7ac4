//! Waiting for signals and for time: how a step begins to, and what ends it.

use super::{Place, Verdict, attempt, gate::Author, run};
use crate::{Answer, Reason, RunState, Signal, StepState, StepStatus, WaitRef, kept, undo};
use spine_schemas::{
    Driver, ErrorClass, Event, Output, Payload, StepError, StepKey, StepSpec, limits,
    mutants::{Mutant, planted},
    spec::{Act, act_of},
    time::Micros,
};
use std::sync::Arc;

/// What is awaited, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited<'a> {
    pub(super) signal: Option<&'a str>,
    pub(super) expires_at: Micros,
    pub(super) spec: Option<&'a Arc<StepSpec>>,
}

/// `wait_created`: the owner's decision in a plan run, an agent's request in a journal run.
pub(super) fn created(
    state: &mut RunState,
    key: &StepKey,
    awaited: Awaited<'_>,
    place: Place,
    author: Author,
) -> Verdict {
    match (state.driver(), author) {
        (Driver::Plan, Author::Owner) => created_by_owner(state, key, awaited, place),
        (Driver::Journal, Author::Requester) => created_by_agent(state, key, awaited, place),
        (Driver::Plan | Driver::Journal | Driver::Record, _) => author.reject(Reason::WrongDriver),
    }
}

fn created_by_owner(
    state: &mut RunState,
    key: &StepKey,
    awaited: Awaited<'_>,
    place: Place,
) -> Verdict {
    if !undo::may_start(state, key) {
        return Author::Owner.reject(Reason::LostRace);
    }
    let Some(step) = state.steps.get(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let fits = match act_of(&step.spec.tool) {
        Act::Signal(name) => awaited.signal == Some(name),
        Act::Sleep(_) => awaited.signal.is_none(),
        Act::Call | Act::Queue(_) | Act::Run => false,
    };
    if !fits || !step.status.may_start() {
        return Author::Owner.reject(Reason::LostRace);
    }
    begin(state, key, awaited, place);
    Verdict::Applied(Answer::Ok)
}

fn created_by_agent(
    state: &mut RunState,
    key: &StepKey,
    awaited: Awaited<'_>,
    place: Place,
) -> Verdict {
    let refuse = |code| Verdict::Refused(code, Answer::Denied { code });
    let Some(spec) = awaited.spec else { return refuse(Reason::StepAbsent) };
    let known = state.steps.get(key).map(|step| again(step, spec));
    match known {
        Some(verdict @ Verdict::Stale(..)) => return verdict,
        Some(_) | None if !state.is_open() => return refuse(Reason::RunEnded),
        Some(_) | None if state.is_ending() => return refuse(Reason::RunEnding),
        Some(verdict) => return verdict,
        None => {}
    }
    let has_room = kept::has_room(state, spec.input.data.len());
    if state.steps.len() >= limits::RUN_STEPS || !has_room {
        return refuse(Reason::LimitReached);
    }
    state.steps.insert(Arc::new(attempt::fresh(key, spec, place)));
    begin(state, key, awaited, place);
    let step = &state.steps[key];
    if step.status == StepStatus::Completed {
        return Verdict::Applied(Answer::Replay);
    }
    let (wait_for, until) = step.awaited();
    Verdict::Applied(Answer::Wait { wait_for, until })
}

/// The answer to whoever awaits a step that is there already.
fn again(step: &StepState, spec: &StepSpec) -> Verdict {
    let refuse = |code, answer| Verdict::Refused(code, answer);
    if step.spec.tool != spec.tool || step.spec.input.digest != spec.input.digest {
        let (stored, given) = (step.spec.input.digest, spec.input.digest);
        return refuse(Reason::StepConflict, Answer::Conflict { stored, given });
    }
    if matches!(step.status, StepStatus::Completed | StepStatus::Skipped) {
        return Verdict::Stale(Reason::Duplicate, Some(Answer::Replay));
    }
    match &step.wait {
        Some(_) => {
            let (wait_for, until) = step.awaited();
            refuse(Reason::StepState, Answer::Wait { wait_for, until })
        }
        None => refuse(Reason::WaitExpired, Answer::Denied { code: Reason::WaitExpired }),
    }
}

/// Begins to wait; a signal that came before ends it at once.
fn begin(state: &mut RunState, key: &StepKey, awaited: Awaited<'_>, place: Place) {
    let came = |signal: &Signal| Some(signal.name.as_str()) == awaited.signal;
    let came = state.signals.iter().position(came);
    let came = came.and_then(|at| match planted(Mutant::SignalTakenTwice) {
        true => state.signals.get(at).cloned(),
        false => state.signals.remove(at),
    });
    let mut step = state.steps.get_mut(key).expect("the step is there: looked at before");
    let step = &mut *step;
    step.status = StepStatus::Awaiting;
    step.due_at = None;
    step.first_started_at.get_or_insert(place.at);
    step.last_offset = place.offset;
    let signal = awaited.signal.map(str::to_owned);
    let wait = WaitRef { signal, until: awaited.expires_at, offset: place.offset };
    step.wait = Some(Box::new(wait));
    if let Some(signal) = came {
        let source = Some(format!("signal {}", signal.name));
        complete(step, Output { source, ..Output::of(signal.data) }, place);
    }
}

fn complete(step: &mut StepState, output: Output, place: Place) {
    step.wait = None;
    step.status = StepStatus::Completed;
    step.output = Some(output);
    step.ended_at = Some(place.at);
    step.last_offset = place.offset;
}

/// `signal_received`: ends the oldest wait for it, or is kept for the next one.
pub(super) fn signal_received(
    state: &mut RunState,
    event: &Event,
    name: &str,
    data: &Payload,
    place: Place,
    author: Author,
) -> Verdict {
    if state.driver() == Driver::Record {
        return author.reject(Reason::WrongDriver);
    }
    let hash = match run::unseen(state, event, author) {
        Ok(hash) => hash,
        Err(verdict) => return verdict,
    };
    if !kept::has_room(state, data.data.len()) {
        return author.reject(Reason::LimitReached);
    }
    let awaits = |step: &&Arc<StepState>| {
        step.wait.as_ref().is_some_and(|wait| wait.signal.as_deref() == Some(name))
    };
    let waiting = state.steps.unsettled().filter(awaits);
    let since = |step: &&Arc<StepState>| step.wait.as_ref().map(|wait| wait.offset);
    let oldest = if planted(Mutant::SignalToNewestWait) {
        waiting.max_by_key(since)
    } else {
        waiting.min_by_key(since)
    };
    if let Some(key) = oldest.map(|step| step.key.clone()) {
        let mut step = state.steps.get_mut(&key).expect("it was among them");
        let source = Some(format!("signal {name}"));
        complete(&mut step, Output { source, ..Output::of(data.clone()) }, place);
    } else if keeps_no_more(state, data) {
        return author.reject(Reason::LimitReached);
    } else if !planted(Mutant::EarlySignalForgotten) {
        let (name, data) = (name.to_owned(), data.clone());
        state.signals.push_back(Signal { name, data });
    }
    state.seen.insert(hash);
    Verdict::Applied(Answer::Ok)
}

/// Whether the run has as many signals that nobody awaits as it may have.
fn keeps_no_more(state: &RunState, data: &Payload) -> bool {
    let bytes: usize = state.signals.iter().map(|signal| signal.data.data.len()).sum();
    state.signals.len() >= limits::RUN_SIGNALS || bytes + data.data.len() > limits::RUN_SIGNAL_BYTES
}

/// The owner's decision that the time is over: a sleep is done, and a signal did not come.
pub(super) fn expired(state: &mut RunState, key: &StepKey, place: Place) -> Verdict {
    let driver = state.driver();
    // Time stands still in a pause, also for a decision that was made before it was read.
    let goes_on = undo::may_start(state, key);
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let Some(wait) = step.wait.clone().filter(|_| goes_on) else {
        return Author::Owner.reject(Reason::LostRace);
    };
    let step = &mut *step;
    match wait.signal {
        None => complete(step, Output::of(Payload::null()), place),
        Some(name) => {
            let message = format!("the signal {name} did not come in time");
            step.wait = None;
            step.error = Some(StepError::new(ErrorClass::Timeout, "wait_expired", message));
            step.status = StepStatus::Failed;
            // An agent decides itself what follows.
            step.given_up = driver == Driver::Journal;
            step.last_offset = place.offset;
        }
    }
    Verdict::Applied(Answer::Ok)
}
