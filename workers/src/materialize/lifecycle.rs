//! Transitions that are told outside: which an applied event is, and what its record says.

use super::{letters, step_of};
use spine_log::Record;
use spine_runs::{RunState, RunStatus, StepStatus};
use spine_schemas::{
    Body, Digest, Event, LifecyclePosition, LifecycleRecord, PartitionEvent, RunEvent, RunKey,
    StepEvent, StepKey, Transition, keys,
};
use spine_store::{LetterClosing, LetterStatus};

/// A transition that must be in its topic before progress may pass its event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    /// The run, by which its record is keyed.
    pub(crate) run: Option<RunKey>,
    /// What is told.
    pub(crate) record: LifecycleRecord,
}

/// How a step was before an event about it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    unknown: bool,
    letter: Option<Digest>,
}

impl Before {
    pub(super) fn of(run: Option<&RunState>, event: &Event) -> Self {
        let Body::Step(_, key, _) = &event.body else { return Self::default() };
        let Some(step) = run.and_then(|run| run.steps.get(key)) else { return Self::default() };
        let letter = step.letter.as_ref().map(|letter| letter.letter_id);
        Self { unknown: step.status == StepStatus::Unknown, letter }
    }
}

/// What an applied event about a run means to others, if anything; `closings` are those that it made.
pub(super) fn of_run(
    topic: &str,
    partition: u32,
    record: &Record,
    event: &Event,
    (run, before): (&RunState, Before),
    closings: &[LetterClosing],
) -> Option<Told> {
    let asked = asked_by_agent(run, event, record.offset);
    let (kind, letter_id) = match &event.body {
        Body::Run(_, body) => (run_transition(run, body)?, None),
        Body::Step(..) if asked.is_some() => (Transition::ApprovalRequested, None),
        Body::Step(_, key, body) => step_transition(run, key, body, before, closings)?,
        Body::Partition(_) => return None,
    };
    let (reason, error_code) = why(run, event);
    let task_id = match &event.body {
        Body::Step(
            _,
            _,
            StepEvent::TaskOpened { task_id, .. } | StepEvent::ApprovalRequested { task_id, .. },
        ) => Some(*task_id),
        Body::Run(..) | Body::Step(..) | Body::Partition(_) => asked,
    };
    let told = LifecycleRecord {
        event_id: event.event_id.clone(),
        kind,
        event: event.kind().as_str().to_owned(),
        tenant: Some(run.key.tenant.to_string()),
        run_id: Some(run.key.run_id.to_string()),
        workflow: Some(run.created.workflow.clone()),
        version: Some(run.created.version.clone()),
        step: step_of(&event.body).map(StepKey::to_string),
        status: Some(run.public_status().to_owned()),
        reason,
        error_code,
        letter_id,
        task_id,
        at: record.timestamp.to_string(),
        position: position(topic, partition, record),
    };
    Some(Told { run: Some(run.key.clone()), record: told })
}

/// The task with which an agent's `begin` makes people be asked.
fn asked_by_agent(run: &RunState, event: &Event, offset: u64) -> Option<Digest> {
    let Body::Step(_, key, StepEvent::Started(_)) = &event.body else { return None };
    let step = run.steps.get(key).filter(|step| step.asks_since(offset))?;
    step.task.as_ref().map(|task| task.task_id)
}

fn position(topic: &str, partition: u32, record: &Record) -> LifecyclePosition {
    LifecyclePosition { topic: topic.to_owned(), partition, offset: record.offset }
}

fn run_transition(run: &RunState, body: &RunEvent) -> Option<Transition> {
    Some(match body {
        RunEvent::Created(_) => Transition::RunCreated,
        RunEvent::Completed { .. } if run.status == RunStatus::Degraded => Transition::RunDegraded,
        RunEvent::Completed { .. } => Transition::RunCompleted,
        RunEvent::Failed { .. } => Transition::RunFailed,
        RunEvent::Cancelled { .. } => Transition::RunCancelled,
        RunEvent::CompensationStarted { .. } => Transition::CompensationStarted,
        RunEvent::Paused { .. } => Transition::RunPaused,
        RunEvent::Resumed { .. } => Transition::RunResumed,
        RunEvent::Stalled { .. } => Transition::RunStalled,
        RunEvent::CancelRequested { .. }
        | RunEvent::SignalReceived { .. }
        | RunEvent::DecisionRecorded(_) => return None,
    })
}

/// What an event means for its step. A step may become unknown, and a letter be closed, by many kinds.
fn step_transition(
    run: &RunState,
    key: &StepKey,
    body: &StepEvent,
    before: Before,
    closings: &[LetterClosing],
) -> Option<(Transition, Option<Digest>)> {
    let step = run.steps.get(key)?;
    if let StepEvent::DeadLettered { letter_id, .. } = body {
        return Some((Transition::StepDeadLettered, Some(*letter_id)));
    }
    let closed = closings.iter().find(|closing| Some(closing.letter_id) == before.letter);
    if let Some(LetterClosing { letter_id, status, .. }) = closed {
        let kind = match status {
            LetterStatus::Redriven => Transition::LetterRedriven,
            LetterStatus::Discarded => Transition::LetterDiscarded,
            LetterStatus::Resolved | LetterStatus::Decided | LetterStatus::Open => {
                Transition::LetterResolved
            }
        };
        return Some((kind, Some(*letter_id)));
    }
    let kind = match body {
        StepEvent::TaskOpened { .. } => Transition::TaskOpened,
        StepEvent::ApprovalRequested { .. } => Transition::ApprovalRequested,
        _ if step.status == StepStatus::Unknown && !before.unknown => Transition::StepUnknown,
        _ => return None,
    };
    Some((kind, None))
}

/// Why, for people, and the code of the error if it is one.
fn why(run: &RunState, event: &Event) -> (Option<String>, Option<String>) {
    let error = match &event.body {
        Body::Run(
            _,
            RunEvent::Failed { error, .. } | RunEvent::CompensationStarted { error, .. },
        )
        | Body::Step(
            _,
            _,
            StepEvent::Failed { error, .. }
            | StepEvent::DeadLettered { error, .. }
            | StepEvent::TaskOpened { error, .. },
        ) => error,
        other => return (reason_of(run, other), None),
    };
    (Some(error.message.clone()), Some(error.code.clone()))
}

fn reason_of(run: &RunState, body: &Body) -> Option<String> {
    match body {
        Body::Run(_, event) => match event {
            RunEvent::Cancelled { reason }
            | RunEvent::Paused { reason }
            | RunEvent::Resumed { reason }
            | RunEvent::Stalled { reason, .. } => Some(reason.clone()),
            _ => None,
        },
        Body::Step(_, key, event) => match event {
            StepEvent::Lost { reason, .. }
            | StepEvent::Unknown { reason, .. }
            | StepEvent::Redriven { reason, .. }
            | StepEvent::Discarded { reason, .. }
            | StepEvent::TaskDecided { reason, .. } => Some(reason.clone()),
            StepEvent::Resolved(resolution) => Some(resolution.reason.clone()),
            StepEvent::ApprovalRequested { .. } | StepEvent::Started(_) => {
                let step = run.steps.get(key)?;
                Some(format!("may {} be called?", step.spec.tool))
            }
            _ => None,
        },
        Body::Partition(_) => None,
    }
}

/// What an applied event about the partition means to others: a record was set aside, or its letter
/// closed.
pub(super) fn of_partition(
    (log_id, topic, partition): (&str, &str, u32),
    record: &Record,
    event: &Event,
) -> Option<Told> {
    let Body::Partition(body) = &event.body else { return None };
    let (kind, letter_id, reason, error_code) = match body {
        PartitionEvent::RecordDeadLettered { offset, class, message } => {
            let id = keys::record_letter_id(log_id, topic, partition, *offset);
            (Transition::RecordDeadLettered, id, message, Some(class.as_str().to_owned()))
        }
        PartitionEvent::RecordDisposed { letter_id, redriven, reason } => {
            let closed =
                if *redriven { Transition::LetterRedriven } else { Transition::LetterDiscarded };
            (closed, *letter_id, reason, None)
        }
        PartitionEvent::OwnerClaimed(_) => return None,
    };
    let place = position(topic, partition, record);
    let reason = Some(reason.clone());
    Some(of_record(event, kind, letter_id, (reason, error_code), (record, place)))
}

/// The letter of an event that the fold did not allow.
pub(super) fn illegal(
    (log_id, topic, partition): (&str, &str, u32),
    record: &Record,
    event: &Event,
    reason: spine_runs::Reason,
) -> Told {
    let id = keys::record_letter_id(log_id, topic, partition, record.offset);
    let why = (Some(letters::illegal_message(event, reason)), Some("illegal_event".to_owned()));
    let place = position(topic, partition, record);
    let mut told = of_record(event, Transition::RecordDeadLettered, id, why, (record, place));
    // A record that nobody could allow may carry the id of another event: its letter tells it apart.
    told.record.event_id = format!("letter-{id}");
    told.run = event.run_key();
    told.record.tenant = told.run.as_ref().map(|run| run.tenant.to_string());
    told.record.run_id = told.run.as_ref().map(|run| run.run_id.to_string());
    told.record.step = step_of(&event.body).map(StepKey::to_string);
    told
}

fn of_record(
    event: &Event,
    kind: Transition,
    letter_id: Digest,
    (reason, error_code): (Option<String>, Option<String>),
    (record, position): (&Record, LifecyclePosition),
) -> Told {
    let kinds = (kind, event.kind().as_str());
    let told = LifecycleRecord::new(&*event.event_id, kinds, record.timestamp, position);
    let letter_id = Some(letter_id);
    let record = LifecycleRecord { reason, error_code, letter_id, ..told };
    Told { run: None, record }
}
