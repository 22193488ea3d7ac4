//! Dead letters: when one is due, what its row says, how it is built, and when it is closed.

use crate::limits as most;
use bytes::Bytes;
use serde::Serialize;
use spine_log::Record;
use spine_runs::{AttemptEnd, AttemptState, Place, Reason, RunState, StepState};
use spine_schemas::{
    Body, DeadLetter, Digest, ErrorClass, Event, LetterAttempt, LetterSource, PartitionEvent,
    RecordClass, RunEvent, RunKey, StepError, StepEvent, StepKey, TaskVerdict, Then,
    codec::{self, SchemaBook},
    limits,
    time::Micros,
};
use spine_store::{LetterClosing, LetterKind, LetterRow, LetterStatus};
use std::sync::Arc;

/// A letter that must reach the dead-letter topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LetterDue {
    /// Of a step that was just dead-lettered.
    Step {
        /// Its run.
        run: RunKey,
        /// The step right after the deciding event.
        step: Arc<StepState>,
    },
    /// Of a record.
    Record {
        /// Offset of the record.
        offset: u64,
        /// Why.
        class: RecordClass,
        /// For people.
        message: String,
        /// Offset of the deciding event; the record itself where the fold refused it.
        decided: u64,
        /// Log time of the deciding event.
        at: Micros,
    },
}

/// Why a record is set aside.
pub(super) struct Cause<'a> {
    pub(super) class: RecordClass,
    pub(super) message: &'a str,
    pub(super) decided: u64,
    pub(super) at: Micros,
}

/// What waits for a person, as it was before an event that may close it.
#[derive(Debug)]
pub(super) struct Open {
    step: StepKey,
    letter: Option<Digest>,
    task: Option<Digest>,
}

impl Open {
    fn of(step: &StepState) -> Option<Self> {
        let letter = step.letter.as_ref().map(|letter| letter.letter_id);
        let task = step.task.as_ref().map(|task| task.task_id);
        let waits = letter.is_some() || task.is_some();
        waits.then(|| Self { step: step.key.clone(), letter, task })
    }
}

/// What is open of the step that an event is about; with one that may end its run, of all steps.
pub(super) fn open(run: Option<&RunState>, event: &Event) -> Vec<Open> {
    let Some(run) = run else { return Vec::new() };
    match &event.body {
        Body::Step(_, key, _) => {
            run.steps.get(key).and_then(|step| Open::of(step)).into_iter().collect()
        }
        Body::Run(_, RunEvent::DecisionRecorded(_) | RunEvent::Created(_)) => Vec::new(),
        Body::Run(..) => run.steps.unsettled().filter_map(|step| Open::of(step)).collect(),
        Body::Partition(_) => Vec::new(),
    }
}

/// How an applied event closed what was open before.
pub(super) fn closings(
    run: Option<&RunState>,
    event: &Event,
    before: &[Open],
    place: Place,
) -> Vec<LetterClosing> {
    let (offset, at) = (place.offset, place.at);
    let close = |letter_id: Digest, (status, reason): (LetterStatus, String)| LetterClosing {
        letter_id,
        status,
        offset,
        at,
        by: event.actor.clone(),
        reason,
    };
    let mut closings = Vec::new();
    for open in before {
        let Some(step) = run.and_then(|run| run.steps.get(&open.step)) else { continue };
        let letter = open.letter.filter(|_| step.letter.is_none());
        closings.extend(letter.map(|id| close(id, end_of_letter(event))));
        let task = open.task.filter(|_| step.task.is_none());
        closings.extend(task.map(|id| close(id, end_of_task(event))));
    }
    closings
}

fn end_of_letter(event: &Event) -> (LetterStatus, String) {
    let Body::Step(_, _, body) = &event.body else {
        return (LetterStatus::Resolved, event.kind().as_str().to_owned());
    };
    match body {
        StepEvent::Redriven { reason, .. } => (LetterStatus::Redriven, reason.clone()),
        StepEvent::Discarded { reason, then, .. } => {
            let then = match then {
                Then::Fail => "fail",
                Then::Skip => "skip",
            };
            (LetterStatus::Discarded, format!("{reason} (then {then})"))
        }
        StepEvent::TaskDecided { verdict, reason, .. } => match verdict {
            TaskVerdict::Retry => (LetterStatus::Redriven, reason.clone()),
            TaskVerdict::Complete => (LetterStatus::Resolved, reason.clone()),
            TaskVerdict::Skip => (LetterStatus::Discarded, format!("{reason} (then skip)")),
            TaskVerdict::Fail => (LetterStatus::Discarded, format!("{reason} (then fail)")),
            TaskVerdict::Approve | TaskVerdict::Deny => (LetterStatus::Resolved, reason.clone()),
        },
        StepEvent::Completed { attempt, .. } => {
            (LetterStatus::Resolved, format!("attempt {attempt} turned out to have succeeded"))
        }
        _ => (LetterStatus::Resolved, event.kind().as_str().to_owned()),
    }
}

fn end_of_task(event: &Event) -> (LetterStatus, String) {
    match &event.body {
        Body::Step(_, _, StepEvent::TaskDecided { verdict, reason, .. }) => {
            let verdict = match verdict {
                TaskVerdict::Retry => "retry",
                TaskVerdict::Complete => "complete",
                TaskVerdict::Skip => "skip",
                TaskVerdict::Fail => "fail",
                TaskVerdict::Approve => "approve",
                TaskVerdict::Deny => "deny",
            };
            (LetterStatus::Decided, format!("{verdict}: {reason}"))
        }
        Body::Step(..) | Body::Run(..) | Body::Partition(_) => {
            (LetterStatus::Resolved, event.kind().as_str().to_owned())
        }
    }
}

/// How a disposal closes a record's letter.
pub(super) fn disposal(
    body: &PartitionEvent,
    event: &Event,
    record: &Record,
) -> Option<LetterClosing> {
    let PartitionEvent::RecordDisposed { letter_id, redriven, reason } = body else {
        return None;
    };
    Some(LetterClosing {
        letter_id: *letter_id,
        status: if *redriven { LetterStatus::Redriven } else { LetterStatus::Discarded },
        offset: record.offset,
        at: record.timestamp,
        by: event.actor.clone(),
        reason: reason.clone(),
    })
}

/// The record that a decision sets aside.
pub(super) fn set_aside(body: &PartitionEvent) -> Option<(u64, RecordClass, String)> {
    match body {
        PartitionEvent::RecordDeadLettered { offset, class, message } => {
            Some((*offset, *class, message.clone()))
        }
        PartitionEvent::OwnerClaimed(_) | PartitionEvent::RecordDisposed { .. } => None,
    }
}

/// For people: what was not allowed, and why.
pub(super) fn illegal_message(event: &Event, reason: Reason) -> String {
    let subject = match &event.body {
        Body::Step(run, step, _) => format!("step {step} of run {run}"),
        Body::Run(run, _) => format!("run {run}"),
        Body::Partition(_) => "the partition".to_owned(),
    };
    format!("{} for {subject}: {}", event.kind(), reason_text(reason))
}

/// The stored name of a reason, as in refusals.
fn reason_text(reason: Reason) -> String {
    serde_json::to_value(reason)
        .ok()
        .and_then(|value| value.as_str().map(|name| name.replace('_', " ")))
        .unwrap_or_default()
}

/// The row of a step's letter, from the state right after the deciding event.
pub(super) fn step_row(partition: u32, run: &RunKey, step: &StepState) -> Option<LetterRow> {
    let letter = step.letter.as_ref()?;
    row_of(LetterKind::Step, partition, run, step, (letter.letter_id, letter.offset, letter.at))
}

/// The row of a question about a step, from the state right after the event that opened it.
pub(super) fn task_row(partition: u32, run: &RunKey, step: &StepState) -> Option<LetterRow> {
    let task = step.task.as_ref()?;
    row_of(LetterKind::Task, partition, run, step, (task.task_id, task.offset, task.at))
}

fn row_of(
    kind: LetterKind,
    partition: u32,
    run: &RunKey,
    step: &StepState,
    (letter_id, offset, dead_at): (Digest, u64, Micros),
) -> Option<LetterRow> {
    let asked = StepError::new(
        ErrorClass::Policy,
        "approval",
        format!("may {} be called?", step.spec.tool),
    );
    let is_approval = step.task.as_ref().is_some_and(|task| task.call.is_some());
    let error = if is_approval { &asked } else { step.error.as_ref()? };
    Some(LetterRow {
        letter_id,
        kind,
        status: LetterStatus::Open,
        partition,
        source_offset: step.scheduled_offset,
        offset,
        tenant: Some(run.tenant.to_string()),
        run_id: Some(run.run_id.to_string()),
        step: Some(step.key.clone()),
        class: error.class.as_str().to_owned(),
        code: error.code.clone(),
        message: error.message.clone(),
        generation: step.generation,
        attempts: step.attempt,
        attempts_json: attempts_json(step),
        tool: Some(step.spec.tool.clone()),
        dead_at,
        closed_at: None,
        closed_by: None,
        closed_reason: None,
    })
}

impl LetterDue {
    /// The event in a record that was set aside, as whoever decided it could read it. What was not
    /// readable then stays so: a schema that came later must not make a replay's row another one.
    pub(crate) fn event_in(&self, original: &Record, book: &SchemaBook) -> Option<Event> {
        match self {
            Self::Record { class: RecordClass::WrongPartition, .. } => {
                codec::decode(original.value.as_deref()?, book).ok()
            }
            Self::Record { .. } | Self::Step { .. } => None,
        }
    }
}

/// The row of a record's letter.
pub(super) fn record_row(
    letter_id: Digest,
    partition: u32,
    original: &Record,
    event: Option<&Event>,
    cause: Cause<'_>,
) -> LetterRow {
    let key = event.and_then(Event::run_key);
    let step = event.and_then(|event| match &event.body {
        Body::Step(_, step, _) => Some(step.clone()),
        Body::Run(..) | Body::Partition(_) => None,
    });
    LetterRow {
        letter_id,
        kind: LetterKind::Record,
        status: LetterStatus::Open,
        partition,
        source_offset: original.offset,
        offset: cause.decided,
        tenant: key.as_ref().map(|key| key.tenant.to_string()),
        run_id: key.as_ref().map(|key| key.run_id.to_string()),
        step,
        class: cause.class.as_str().to_owned(),
        code: event.map_or("record", |event| event.kind().as_str()).to_owned(),
        message: cut(cause.message),
        generation: 0,
        attempts: 0,
        attempts_json: "[]".to_owned(),
        tool: None,
        dead_at: cause.at,
        closed_at: None,
        closed_by: None,
        closed_reason: None,
    }
}

/// The letter of a step, as it goes to the dead-letter topic. Equal every time it is built.
pub(crate) fn step_letter(
    topic: &str,
    partition: u32,
    run: &RunKey,
    step: &StepState,
    original: &Record,
) -> Option<DeadLetter> {
    let letter = step.letter.as_ref()?;
    let error = step.error.as_ref()?;
    let kept = Kept::of(original);
    Some(DeadLetter {
        letter_id: letter.letter_id,
        source: LetterSource::Step {
            run: run.clone(),
            step: step.key.clone(),
            class: error.class,
            generation: step.generation,
            policy: serde_json::to_string(&step.spec.retry).unwrap_or_default(),
            attempts: step.attempts.iter().map(letter_attempt).collect(),
            attempts_omitted: step.attempts_omitted,
        },
        topic: topic.to_owned(),
        partition,
        offset: original.offset,
        key: kept.key,
        headers: kept.headers,
        value: kept.value,
        code: error.code.clone(),
        message: cut(&(kept.note + &error.message)),
        dead_at: letter.at,
    })
}

/// The letter of a record.
pub(crate) fn record_letter(
    letter_id: Digest,
    topic: &str,
    partition: u32,
    due: &LetterDue,
    original: &Record,
) -> Option<DeadLetter> {
    let LetterDue::Record { class, message, at, .. } = due else {
        return None;
    };
    let kept = Kept::of(original);
    Some(DeadLetter {
        letter_id,
        source: LetterSource::Record { class: *class },
        topic: topic.to_owned(),
        partition,
        offset: original.offset,
        key: kept.key,
        headers: kept.headers,
        value: kept.value,
        code: class.as_str().to_owned(),
        message: cut(&(kept.note + message)),
        dead_at: *at,
    })
}

/// What a letter holds of its original. Brokers measure a record after compression, so one may be
/// larger than a letter can be; then it stays where it is, and the letter says what it is.
struct Kept {
    key: Option<Bytes>,
    headers: Vec<(String, Bytes)>,
    value: Option<Bytes>,
    /// Goes before the message, if anything was left out.
    note: String,
}

impl Kept {
    fn of(original: &Record) -> Self {
        let Record { key, headers, value, .. } = original;
        let size_of = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let named = headers.iter().map(|(name, value)| name.len() + value.len());
        let (key_bytes, header_bytes) = (size_of(key), named.sum::<usize>());
        let all = key_bytes + header_bytes + size_of(value);
        if all <= most::ORIGINAL_BYTES {
            let (key, headers, value) = (key.clone(), headers.clone(), value.clone());
            return Self { key, headers, value, note: String::new() };
        }
        let digest = value.as_deref().map_or(String::new(), |bytes| {
            format!(", SHA-256 of the value {}", Digest::of_bytes(bytes))
        });
        let note = format!("the original of {all} bytes is left where it was{digest}: ");
        let key = key.clone().filter(|_| key_bytes <= most::ORIGINAL_KEY_BYTES);
        let few = header_bytes <= most::ORIGINAL_KEY_BYTES;
        Self { key, headers: if few { headers.clone() } else { Vec::new() }, value: None, note }
    }
}

fn letter_attempt(attempt: &AttemptState) -> LetterAttempt {
    let error = attempt_error(attempt);
    LetterAttempt {
        attempt: attempt.attempt,
        started_at: attempt.started_at,
        ended_at: attempt.ended_at.unwrap_or(attempt.started_at),
        class: error.class,
        code: error.code,
        message: error.message,
    }
}

/// The error of an attempt, in words also where it had none of its own.
fn attempt_error(attempt: &AttemptState) -> StepError {
    match &attempt.end {
        AttemptEnd::Failed(error) | AttemptEnd::Released(Some(error)) => error.clone(),
        AttemptEnd::Lost(reason) => StepError::new(ErrorClass::Lost, "worker_lost", reason.clone()),
        AttemptEnd::Released(None) => {
            StepError::new(ErrorClass::Transient, "released", "handed back before it was sent")
        }
        AttemptEnd::DidNotHappen => StepError::new(
            ErrorClass::UnknownOutcome,
            "did_not_happen",
            "found out not to have taken effect",
        ),
        AttemptEnd::Running | AttemptEnd::Completed => {
            StepError::new(ErrorClass::UnknownOutcome, "no_error", "the attempt has no error")
        }
    }
}

#[derive(Serialize)]
struct AttemptJson {
    attempt: u32,
    started_at: String,
    ended_at: Option<String>,
    class: ErrorClass,
    code: String,
    message: String,
    charged: bool,
}

fn attempts_json(step: &StepState) -> String {
    let attempts: Vec<AttemptJson> = step
        .attempts
        .iter()
        .map(|attempt| {
            let error = attempt_error(attempt);
            AttemptJson {
                attempt: attempt.attempt,
                started_at: attempt.started_at.to_string(),
                ended_at: attempt.ended_at.map(|at| at.to_string()),
                class: error.class,
                code: error.code,
                message: error.message,
                charged: attempt.charged,
            }
        })
        .collect();
    serde_json::to_string(&attempts).expect("plain fields are JSON")
}

/// Text within the limit for messages; a cut one says so.
fn cut(text: &str) -> String {
    if text.len() <= limits::MESSAGE_BYTES {
        return text.to_owned();
    }
    let mut end = limits::MESSAGE_BYTES - 4;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{} …", &text[..end])
}
