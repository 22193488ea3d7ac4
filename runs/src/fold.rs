//! The fold: one event, in log order, onto the state of its partition and run.
//!
//! Pure, total and deterministic: no event panics, and time is the log's own. What should happen
//! next is not decided here but in `decide`.

mod attempt;
mod begin;
mod gate;
mod operator;
mod outcome;
mod partition;
mod run;
mod session;
mod step;

use crate::{Answer, PartitionState, Reason, RunState};
use spine_schemas::{Body, Event, limits, time::Micros};
use std::sync::Arc;

/// Where an event lies, and when the log took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its partition.
    pub partition: u32,
    /// Its offset. The offset of a start is the lease of its attempt.
    pub offset: u64,
    /// Log time.
    pub at: Micros,
}

/// What the fold made of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It changed the state. Requests get their answer.
    Applied(Answer),
    /// It changed nothing: a duplicate, an older claim, a lost race, or late evidence. A repeated
    /// request gets its first answer again.
    Stale(Reason, Option<Answer>),
    /// A request that the state does not allow.
    Refused(Reason, Answer),
    /// An event that its author had no right to append in this state: it becomes a dead letter.
    Illegal(Reason),
}

impl Verdict {
    /// Whether a later item of the same batch may rest on this one.
    pub fn counts_as_applied(&self) -> bool {
        match self {
            Self::Applied(_) | Self::Stale(Reason::Duplicate, _) => true,
            Self::Stale(..) | Self::Refused(..) | Self::Illegal(_) => false,
        }
    }

    /// The answer to the request, if it was one.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Applied(answer) | Self::Refused(_, answer) => Some(answer),
            Self::Stale(_, answer) => answer.as_ref(),
            Self::Illegal(_) => None,
        }
    }

    /// Why it was not applied.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Applied(_) => None,
            Self::Stale(reason, _) | Self::Refused(reason, _) | Self::Illegal(reason) => {
                Some(*reason)
            }
        }
    }
}

/// Folds one event. `run` is the state of the event's run, `None` where there is none yet; control
/// events leave it alone.
pub fn fold(
    partition: &mut PartitionState,
    run: &mut Option<Arc<RunState>>,
    event: &Event,
    place: Place,
) -> Verdict {
    let (run_event, step_event) = match &event.body {
        Body::Partition(body) => return partition::fold(partition, event, body, place),
        Body::Run(_, body) => (Some(body), None),
        Body::Step(_, key, body) => (None, Some((key, body))),
    };
    let author = gate::author(event, run.as_deref().map(RunState::driver));
    if let Err(verdict) = gate::check_claim(partition, event, author) {
        return note_batch(run, event, verdict);
    }
    if run.is_none() {
        let verdict = match run_event {
            Some(body) => run::create(run, event, body, place, author),
            None => author.reject(Reason::RunAbsent),
        };
        return note_batch(run, event, verdict);
    }
    let Some(state) = run.as_mut().map(Arc::make_mut) else {
        unreachable!("the run is there: checked above")
    };
    let verdict = match gate::check_batch(state, event, author) {
        Err(verdict) => verdict,
        Ok(()) => {
            session::fold_with_op(state, event, place, |state| match (run_event, step_event) {
                (Some(body), _) => run::fold(state, event, body, place, author),
                (None, Some((key, body))) => step::fold(state, event, key, body, place, author),
                (None, None) => unreachable!("an event is about a run or a step"),
            })
        }
    };
    if matches!(verdict, Verdict::Applied(_)) {
        state.last_offset = place.offset;
        state.last_at = place.at;
    }
    note_batch(run, event, verdict)
}

/// Remembers how far a batch was applied, so that later items know about their predecessor.
fn note_batch(run: &mut Option<Arc<RunState>>, event: &Event, verdict: Verdict) -> Verdict {
    if let (Some(item), Some(state)) = (&event.batch, run.as_mut()) {
        let state = Arc::make_mut(state);
        gate::note_item(&mut state.batches, item, verdict.counts_as_applied());
        while state.batches.len() > limits::RUN_BATCHES {
            state.batches.pop_front();
        }
    }
    verdict
}

#[cfg(test)]
mod tests;
