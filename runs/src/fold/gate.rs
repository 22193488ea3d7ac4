//! Who may append what: claims for decisions, drivers for requests, whole predecessors for batches.

use super::Verdict;
use crate::{Answer, BatchProgress, Reason, RunState};
use spine_schemas::{BatchItem, Body, Driver, Event, RunEvent, StepEvent, limits};
use std::collections::VecDeque;

/// In which role an event was appended. The role decides what a refusal is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// The owner of the partition, under a claim.
    Owner,
    /// Whoever ran an attempt: matched by attempt and lease, never fenced.
    Runner,
    /// Somebody who asks and is answered.
    Requester,
    /// An outside system that reports facts.
    Reporter,
}

impl Author {
    /// The verdict on an event of this author that the state does not allow.
    pub(super) fn reject(self, reason: Reason) -> Verdict {
        match self {
            Self::Owner => Verdict::Stale(Reason::LostRace, None),
            Self::Runner if reason == Reason::RunEnded => late(reason),
            Self::Runner => Verdict::Illegal(reason),
            Self::Requester => Verdict::Refused(reason, Answer::Denied { code: reason }),
            Self::Reporter => Verdict::Illegal(reason),
        }
    }

    /// The verdict on an event that was applied before.
    pub(super) fn duplicate(self) -> Verdict {
        Verdict::Stale(Reason::Duplicate, Some(Answer::Ok))
    }
}

/// The verdict on a fact that came after the step or run had moved on: kept as evidence.
pub(super) fn late(code: Reason) -> Verdict {
    Verdict::Stale(Reason::Late, Some(Answer::Denied { code }))
}

/// The role of an event's author, from its kind, the driver of its run, and its operation.
pub(super) fn author(event: &Event, driver: Option<Driver>) -> Author {
    if event.op.is_some() && is_operation(&event.body) {
        return Author::Requester;
    }
    match &event.body {
        Body::Partition(_) => Author::Owner,
        Body::Run(_, body) => run_author(body, driver, event.claim.is_some()),
        // What an owner decided that a step reuses; a fork's are asked for.
        Body::Step(_, _, StepEvent::Reused { .. })
            if event.claim.is_some() && driver == Some(Driver::Plan) =>
        {
            Author::Owner
        }
        Body::Step(_, _, body) => step_author(body, driver),
    }
}

fn run_author(body: &RunEvent, driver: Option<Driver>, claimed: bool) -> Author {
    match body {
        RunEvent::Created(created) => match created.driver {
            Driver::Record => Author::Reporter,
            Driver::Plan | Driver::Journal => Author::Requester,
        },
        RunEvent::Completed { .. } | RunEvent::Failed { .. } => match driver {
            Some(Driver::Plan) => Author::Owner,
            Some(Driver::Journal) => Author::Requester,
            Some(Driver::Record) | None => Author::Reporter,
        },
        RunEvent::CompensationStarted { .. } | RunEvent::Stalled { .. } => Author::Owner,
        RunEvent::CancelRequested { .. }
        | RunEvent::SignalReceived { .. }
        | RunEvent::Paused { .. }
        | RunEvent::Resumed { .. } => Author::Requester,
        // Whoever asked for it may do so at once; the owner does it when nothing runs any more.
        RunEvent::Cancelled { .. } if claimed && driver != Some(Driver::Record) => Author::Owner,
        RunEvent::Cancelled { .. } | RunEvent::DecisionRecorded(_) => match driver {
            Some(Driver::Plan | Driver::Journal) => Author::Requester,
            Some(Driver::Record) | None => Author::Reporter,
        },
    }
}

fn step_author(body: &StepEvent, driver: Option<Driver>) -> Author {
    let record = matches!(driver, Some(Driver::Record) | None);
    let or = |other: Author| if record { Author::Reporter } else { other };
    match body {
        StepEvent::Started(start) if start.attempt.is_none() => Author::Requester,
        StepEvent::WaitCreated { spec, .. } if spec.is_some() => Author::Requester,
        StepEvent::WaitCreated { .. } => Author::Owner,
        StepEvent::Scheduled(_)
        | StepEvent::Started(_)
        | StepEvent::Unknown { .. }
        | StepEvent::Skipped { .. }
        | StepEvent::Cancelled { .. } => or(Author::Owner),
        StepEvent::Completed { .. } | StepEvent::Failed { .. } => or(Author::Runner),
        StepEvent::Heartbeat { .. } => or(Author::Requester),
        StepEvent::Released { .. } => Author::Runner,
        StepEvent::Resolved(_)
        | StepEvent::Redriven { .. }
        | StepEvent::Discarded { .. }
        | StepEvent::TaskDecided { .. }
        | StepEvent::Reused { .. }
        | StepEvent::Paused { .. }
        | StepEvent::Resumed { .. } => Author::Requester,
        StepEvent::Lost { .. }
        | StepEvent::RetryScheduled { .. }
        | StepEvent::Deferred { .. }
        | StepEvent::DeadLettered { .. }
        | StepEvent::FallbackStarted { .. }
        | StepEvent::TaskOpened { .. }
        | StepEvent::TaskExpired { .. }
        | StepEvent::ApprovalRequested { .. }
        | StepEvent::WaitExpired
        | StepEvent::Probed(_)
        | StepEvent::FaultInjected { .. } => Author::Owner,
    }
}

/// What an agent may do by an operation. A number on anything else gives no right to append it.
fn is_operation(body: &Body) -> bool {
    match body {
        Body::Run(_, event) => match event {
            RunEvent::Created(_)
            | RunEvent::CancelRequested { .. }
            | RunEvent::CompensationStarted { .. }
            | RunEvent::SignalReceived { .. }
            | RunEvent::Paused { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::Stalled { .. } => false,
            RunEvent::Completed { .. }
            | RunEvent::Failed { .. }
            | RunEvent::Cancelled { .. }
            | RunEvent::DecisionRecorded(_) => true,
        },
        Body::Step(_, _, event) => match event {
            StepEvent::Started(start) => start.attempt.is_none(),
            StepEvent::WaitCreated { spec, .. } => spec.is_some(),
            StepEvent::Heartbeat { .. }
            | StepEvent::Completed { .. }
            | StepEvent::Failed { .. }
            | StepEvent::Released { .. } => true,
            StepEvent::Scheduled(_)
            | StepEvent::Lost { .. }
            | StepEvent::RetryScheduled { .. }
            | StepEvent::Deferred { .. }
            | StepEvent::Unknown { .. }
            | StepEvent::Resolved(_)
            | StepEvent::Skipped { .. }
            | StepEvent::Cancelled { .. }
            | StepEvent::DeadLettered { .. }
            | StepEvent::Redriven { .. }
            | StepEvent::Discarded { .. }
            | StepEvent::FallbackStarted { .. }
            | StepEvent::TaskOpened { .. }
            | StepEvent::TaskDecided { .. }
            | StepEvent::TaskExpired { .. }
            | StepEvent::ApprovalRequested { .. }
            | StepEvent::WaitExpired
            | StepEvent::Paused { .. }
            | StepEvent::Resumed { .. }
            | StepEvent::Reused { .. }
            | StepEvent::Probed(_)
            | StepEvent::FaultInjected { .. } => false,
        },
        Body::Partition(_) => false,
    }
}

/// Operations are an agent's, in a run that an agent drives, of the version that it runs.
pub(super) fn check_op(event: &Event, run: Option<&RunState>) -> Result<(), Verdict> {
    let Some(op) = &event.op else { return Ok(()) };
    if !is_operation(&event.body) {
        return Err(Verdict::Illegal(Reason::WrongDriver));
    }
    // A run ends with the version that it began with: no history mixes two.
    let runs_other =
        |run: &RunState| op.version.as_ref().is_some_and(|version| *version != run.created.version);
    // What has happened is told whoever tells it.
    if run.is_some_and(runs_other) && !crate::is_outcome(&event.body) {
        return Err(Author::Requester.reject(Reason::VersionConflict));
    }
    match run.map(RunState::driver) {
        Some(Driver::Journal) | None => Ok(()),
        Some(Driver::Plan | Driver::Record) => Err(Author::Requester.reject(Reason::WrongDriver)),
    }
}

/// Decisions fold only under the current claim; everything else carries none.
pub(super) fn check_claim(
    current: Option<u64>,
    event: &Event,
    author: Author,
) -> Result<(), Verdict> {
    match (author, event.claim) {
        (Author::Owner, None)
        | (Author::Runner | Author::Requester | Author::Reporter, Some(_)) => {
            Err(Verdict::Illegal(Reason::NoClaim))
        }
        (Author::Owner, claim) if claim == current => Ok(()),
        (Author::Owner, claim) if claim < current => Err(Verdict::Stale(Reason::OlderClaim, None)),
        (Author::Owner, _) => Err(Verdict::Illegal(Reason::NoClaim)),
        (Author::Runner | Author::Requester | Author::Reporter, None) => Ok(()),
    }
}

/// A request or decision needs every earlier item of its batch; outcomes and facts never do.
pub(super) fn check_batch(
    batches: &VecDeque<BatchProgress>,
    event: &Event,
    author: Author,
) -> Result<(), Verdict> {
    let Some(item) = event.batch.as_ref().filter(|item| item.index > 0) else {
        return Ok(());
    };
    let rests_on_applied = |batch: &BatchProgress| {
        // A repeat rests on what came before it, whatever became of what came after it.
        item.index <= batch.index || (batch.whole && item.index - 1 == batch.index)
    };
    let known = batches.iter().find(|batch| batch.id == item.id);
    if known.is_some_and(rests_on_applied) || crate::is_outcome(&event.body) {
        return Ok(());
    }
    match author {
        Author::Owner => Err(Verdict::Stale(Reason::BrokenBatch, None)),
        Author::Requester => Err(Verdict::Refused(Reason::BrokenBatch, Answer::NotTried)),
        Author::Runner | Author::Reporter => Ok(()),
    }
}

/// Whether noting this item would change anything: a repeat does not, nor does an item of a batch
/// that is broken already.
pub(super) fn is_news(batches: &VecDeque<BatchProgress>, item: &BatchItem) -> bool {
    let known = batches.iter().find(|batch| batch.id == item.id);
    known.is_none_or(|batch| batch.whole && item.index > batch.index)
}

/// Notes one item that is news. A gap breaks the batch at its first missing item.
pub(super) fn note_item(batches: &mut VecDeque<BatchProgress>, item: &BatchItem, applied: bool) {
    match batches.iter_mut().find(|batch| batch.id == item.id) {
        Some(batch) => {
            batch.whole = applied && item.index - 1 == batch.index;
            batch.index += 1;
        }
        None => batches.push_back(BatchProgress {
            id: item.id.clone(),
            index: 0,
            whole: applied && item.index == 0,
        }),
    }
    while batches.len() > limits::RUN_BATCHES {
        batches.pop_front();
    }
}
