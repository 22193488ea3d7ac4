//! The fold: one event, in log order, onto the state of its partition and run.
//!
//! Pure, total and deterministic: no event panics, and time is the log's own. What should happen
//! next is not decided here but in `decide`.

mod approval;
mod attempt;
mod begin;
mod ending;
mod gate;
mod operator;
mod outcome;
mod partition;
mod pause;
mod probe;
mod reuse;
mod run;
mod session;
mod stand_in;
mod step;
mod task;
mod wait;

pub(crate) use attempt::is_cleared;

use crate::{Answer, PartitionState, Reason, RunState};
use serde::{Deserialize, Serialize};
use spine_schemas::{BatchItem, Body, Event, Found, RunEvent, StepEvent, time::Micros};
use std::{collections::VecDeque, sync::Arc};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It changed the state. Requests get their answer, which may still be a refusal when all that
    /// it changed is that a session took over.
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
            Self::Applied(answer) => answer.grants(),
            Self::Stale(Reason::Duplicate, _) => true,
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
///
/// An event that is not applied changes no step and no run, but what is remembered of operations, batches and
/// pauses that came may change: a run is stored again after every event that carries either of the first two.
pub fn fold(
    partition: &mut PartitionState,
    run: &mut Option<Arc<RunState>>,
    event: &Event,
    place: Place,
) -> Verdict {
    match &event.body {
        Body::Partition(body) => partition::fold(partition, event, body, place),
        Body::Run(..) | Body::Step(..) => fold_run(partition.current_claim(), run, event, place),
    }
}

/// Folds once more an event whose verdict is known, onto the same state of its run; `reason` is the
/// one that it was not applied for. The partition's state is not needed: a run depends on it only
/// through the claim, and the reason says whether that was the event's own.
///
/// Gives the same verdict as the first time. Control events leave a run alone and are no business
/// of this function.
pub fn refold(
    run: &mut Option<Arc<RunState>>,
    event: &Event,
    place: Place,
    reason: Option<Reason>,
) -> Verdict {
    let under = match reason {
        Some(Reason::OlderClaim) => return Verdict::Stale(Reason::OlderClaim, None),
        Some(Reason::NoClaim) => return Verdict::Illegal(Reason::NoClaim),
        Some(_) | None => event.claim,
    };
    fold_run(under, run, event, place)
}

/// Folds an event about a run or a step, which leaves the partition alone. `claim` is the current one.
pub(crate) fn fold_run(
    claim: Option<u64>,
    run: &mut Option<Arc<RunState>>,
    event: &Event,
    place: Place,
) -> Verdict {
    let driver = run.as_deref().map(RunState::driver);
    let author = gate::author(event, driver);
    let allowed = gate::check_claim(claim, event, author)
        .and_then(|()| gate::check_op(event, run.as_deref()))
        .and_then(|()| match run.as_deref() {
            Some(state) => gate::check_batch(&state.batches, event, author),
            None => gate::check_batch(&VecDeque::new(), event, author),
        });
    // The state may be shared with readers: until here nothing asked for a copy of its own.
    let verdict = match (allowed, run.as_mut()) {
        (Err(verdict), _) => return verdict,
        (Ok(()), None) => run::create(run, event, place, author),
        (Ok(()), Some(state)) => match session::answered_before(state, event) {
            Some(verdict) => verdict,
            None => fold_onto(Arc::make_mut(state), event, place, author),
        },
    };
    if let (Some(item), Some(state)) = (&event.batch, run.as_mut()) {
        note_item(state, item, verdict.counts_as_applied());
    }
    verdict
}

fn fold_onto(state: &mut RunState, event: &Event, place: Place, author: gate::Author) -> Verdict {
    let verdict = session::fold_with_op(state, event, place, |state| match &event.body {
        Body::Run(_, body) => run::fold(state, event, body, place, author),
        Body::Step(_, key, body) => step::fold(state, event, key, body, place, author),
        Body::Partition(_) => unreachable!("control events are folded elsewhere"),
    });
    if let Verdict::Applied(_) = verdict {
        let stalls = matches!(event.body, Body::Run(_, RunEvent::Stalled { .. }));
        // An answer that says nothing moves nothing.
        let is_idle = matches!(&event.body, Body::Step(_, _, StepEvent::Probed(finding))
            if finding.found == Found::Unclear);
        state.last_offset = place.offset;
        if !is_idle {
            state.last_at = place.at;
        }
        if !stalls && !is_idle {
            state.stalled = None;
        }
    }
    verdict
}

/// Remembers how far a batch was applied, so that later items know about their predecessor.
pub(crate) fn note_item(state: &mut Arc<RunState>, item: &BatchItem, applied: bool) {
    if gate::is_news(&state.batches, item) {
        gate::note_item(&mut Arc::make_mut(state).batches, item, applied);
    }
}
