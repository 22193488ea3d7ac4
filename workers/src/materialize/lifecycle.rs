//! Transitions that are told outside: which an applied event is, and what its record says.

use super::{letters, step_of};
use spine_log::Record;
use spine_runs::{Holder, RunState, RunStatus, StepState, StepStatus};
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

/// How steps were before an event.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    /// Of the step that it is about.
    unknown: bool,
    letter: Option<Digest>,
    /// Steps of the session that it replaces.
    held: Vec<StepKey>,
}

impl Before {
    pub(super) fn of(run: Option<&RunState>, event: &Event) -> Self {
        let Some(run) = run else { return Self::default() };
        let replaces = event.op.as_ref().and_then(|op| op.replaces.as_deref());
        let held = replaces.map(|session| held_by(run, session)).unwrap_or_default();
        let step = match &event.body {
            Body::Step(_, key, _) => run.steps.get(key),
            Body::Run(..) | Body::Partition(_) => None,
        };
        let Some(step) = step else { return Self { held, ..Self::default() } };
        let letter = step.letter.as_ref().map(|letter| letter.letter_id);
        Self { unknown: step.status == StepStatus::Unknown, letter, held }
    }
}

fn held_by(run: &RunState, session: &str) -> Vec<StepKey> {
    let is_held = |step: &StepState| {
        let holder = step.live.as_ref().map(|live| &live.holder);
        matches!(holder, Some(Holder::Session(name)) if name == session)
    };
    let held = run.steps.unsettled().filter(|step| is_held(step));
    held.map(|step| step.key.clone()).collect()
}

/// Steps whose outcome is not known since their session was replaced, whatever became of the operation that said so,
/// and whatever is told of that. Each has an id of its own, made of the event's and the step.
pub(super) fn of_takeover(
    (topic, partition): (&str, u32),
    record: &Record,
    event: &Event,
    (run, before): (&RunState, &Before),
    told: Option<&Told>,
) -> Vec<Told> {
    let is_told = |key: &StepKey| {
        told.is_some_and(|told| {
            let record = &told.record;
            record.kind == Transition::StepUnknown
                && record.step.as_ref().is_some_and(|step| *step == key.to_string())
        })
    };
    let steps = before.held.iter().filter_map(|key| run.steps.get(key));
    let lost = steps.filter(|step| step.status == StepStatus::Unknown && !is_told(&step.key));
    let of_step = |step: &StepState| {
        let mut record = of_kind((topic, partition), record, event, run, Transition::StepUnknown);
        record.event_id = format!("{}/{}", event.event_id, step.key);
        record.step = Some(step.key.to_string());
        record.reason = step.error.as_ref().map(|error| error.message.clone());
        Told { run: Some(run.key.clone()), record }
    };
    lost.map(|step| of_step(step)).collect()
}

/// What each record about a run says.
fn of_kind(
    (topic, partition): (&str, u32),
    record: &Record,
    event: &Event,
    run: &RunState,
    kind: Transition,
) -> LifecycleRecord {
    let place = position(topic, partition, record);
    let kinds = (kind, event.kind().as_str());
    LifecycleRecord {
        tenant: Some(run.key.tenant.to_string()),
        run_id: Some(run.key.run_id.to_string()),
        workflow: Some(run.created.workflow.clone()),
        version: Some(run.created.version.clone()),
        status: Some(run.public_status().to_owned()),
        ..LifecycleRecord::new(&*event.event_id, kinds, record.timestamp, place)
    }
}

/// What an applied event about a run means to others, if anything; `closings` are those that it made.
pub(super) fn of_run(
    topic: &str,
    partition: u32,
    record: &Record,
    event: &Event,
    (run, before): (&RunState, &Before),
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
        step: step_of(&event.body).map(StepKey::to_string),
        reason,
        error_code,
        letter_id,
        task_id,
        ..of_kind((topic, partition), record, event, run, kind)
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
    before: &Before,
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
