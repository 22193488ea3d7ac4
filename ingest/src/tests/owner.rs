//! An owner that folds whatever is in the log when somebody asks for a verdict, and stores it row by
//! row. It decides nothing by itself: tests append its decisions.

use super::world::TOPIC;
use crate::{VerdictError, Verdicts};
use spine_log::{
    EventLog, PartitionReader, ReadLimit, Record, TopicPartition, embedded::EmbeddedLog,
};
use spine_runs::{Answer, AttemptEnd, PartitionState, Place, RunState, StepState, Verdict, fold};
use spine_schemas::{
    Body, Digest, Event, PartitionEvent, RunEvent, RunKey, StepEvent, Then,
    codec::{self, SchemaBook},
    keys,
};
use spine_store::{
    DecisionRow, EventRow, LetterClosing, LetterKind, LetterRow, LetterStatus, Progress,
    RefusalRow, RunChange, RunStore, StoreBatch, VerdictKind, sqlite::SqliteStore,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Mutex;

#[derive(Clone)]
pub(super) struct Owner(Arc<Inner>);

struct Inner {
    log: EmbeddedLog,
    store: SqliteStore,
    book: SchemaBook,
    folded: Mutex<BTreeMap<u32, Folded>>,
    /// Set to pretend that the owner is gone.
    silent: AtomicBool,
    /// Set to pretend that another owner came between, which remembers no verdict.
    forgetful: AtomicBool,
}

#[derive(Default)]
struct Folded {
    partition: PartitionState,
    runs: BTreeMap<RunKey, Arc<RunState>>,
    next: u64,
    verdicts: Vec<Verdict>,
}

impl Owner {
    pub(super) fn new(log: EmbeddedLog, store: SqliteStore) -> Self {
        let book = SchemaBook::compiled_in();
        let folded = Mutex::default();
        let (silent, forgetful) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Inner { log, store, book, folded, silent, forgetful }))
    }

    pub(super) fn fall_silent(&self) {
        self.0.silent.store(true, Ordering::SeqCst);
    }

    pub(super) fn forget(&self) {
        self.0.forgetful.store(true, Ordering::SeqCst);
    }

    pub(super) async fn state(&self, run: &RunKey) -> Option<Arc<RunState>> {
        let folded = self.0.folded.lock().await;
        folded.values().find_map(|folded| folded.runs.get(run).cloned())
    }

    /// Offset of the claim that is current once everything is folded.
    pub(super) async fn claim(&self, partition: u32) -> Option<u64> {
        let of = TopicPartition::new(TOPIC, partition);
        let end = self.0.log.bounds(&of).await.unwrap().end;
        if let Some(newest) = end.checked_sub(1) {
            self.reach(partition, newest).await.unwrap();
        }
        let folded = self.0.folded.lock().await;
        folded.get(&partition)?.partition.claim.as_ref().map(|claim| claim.offset)
    }

    /// Folds and stores everything up to an offset.
    async fn reach(&self, partition: u32, offset: u64) -> Result<Verdict, VerdictError> {
        if self.0.silent.load(Ordering::SeqCst) {
            return Err(VerdictError::Unavailable("no owner".into()));
        }
        let mut folded = self.0.folded.lock().await;
        let folded = folded.entry(partition).or_default();
        let of = TopicPartition::new(TOPIC, partition);
        let mut reader = self.0.log.reader(&of, folded.next).await.unwrap();
        while folded.next <= offset {
            let limit = ReadLimit { records: 1, bytes: usize::MAX };
            for record in reader.next(limit).await.unwrap() {
                self.take(partition, folded, &record).await;
            }
        }
        Ok(folded.verdicts[offset as usize].clone())
    }

    async fn take(&self, partition: u32, folded: &mut Folded, record: &Record) {
        let place = Place { partition, offset: record.offset, at: record.timestamp };
        let value = record.value.as_deref().unwrap();
        let event = codec::decode(value, &self.0.book).unwrap();
        let key = event.run_key();
        let before = key.as_ref().and_then(|key| folded.runs.get(key).cloned());
        let mut run = before.clone();
        let verdict = fold(&mut folded.partition, &mut run, &event, place);
        let mut batch = empty_batch(partition, folded, record, self.0.log.log_id());
        if let (Some(key), Some(run)) = (key, run) {
            let steps = run.steps.keys().cloned().collect();
            batch.runs.push(RunChange {
                run: run.clone(),
                offset: record.offset,
                steps,
                created: before.is_none(),
            });
            folded.runs.insert(key, run);
        }
        describe(&mut batch, folded, &event, record, &verdict, self.0.log.log_id());
        self.0.store.apply(batch).await.unwrap();
        folded.verdicts.push(verdict);
        folded.next = record.offset + 1;
    }
}

impl Verdicts for Owner {
    async fn wait(&self, partition: u32, offset: u64) -> Result<Verdict, VerdictError> {
        let verdict = self.reach(partition, offset).await?;
        match self.0.forgetful.load(Ordering::SeqCst) {
            true => Err(VerdictError::Forgotten),
            false => Ok(verdict),
        }
    }

    async fn wait_here(&self, partition: u32, offset: u64) -> Result<Verdict, VerdictError> {
        self.reach(partition, offset).await
    }

    fn resume(&self, _partition: u32, _actor: &str, _reason: &str) -> Result<u64, VerdictError> {
        Err(VerdictError::NotStopped)
    }

    async fn stored(&self, partition: u32, offset: u64) -> Result<(), VerdictError> {
        let of = TopicPartition::new(TOPIC, partition);
        let bounds = self.0.log.bounds(&of).await.map_err(|error| unavailable(&error))?;
        if offset >= bounds.end {
            return Err(VerdictError::Unavailable("not there yet".into()));
        }
        self.reach(partition, offset).await.map(drop)
    }

    fn ready(&self) -> Result<(), String> {
        let silent = self.0.silent.load(Ordering::SeqCst);
        if silent { Err("partition 0: no owner yet".into()) } else { Ok(()) }
    }

    fn check_tool(&self, tool: &str) -> Result<(), String> {
        match tool.starts_with("http://127.0.0.1") {
            true => Ok(()),
            false => Err(format!("{tool} is not on an allowed host")),
        }
    }
}

fn unavailable(error: &spine_log::Error) -> VerdictError {
    VerdictError::Unavailable(error.to_string())
}

fn empty_batch(partition: u32, folded: &Folded, record: &Record, log_id: &str) -> StoreBatch {
    let zero = Digest([0; 32]);
    StoreBatch {
        partition,
        expected: folded.next.checked_sub(1),
        progress: Progress {
            log_id: log_id.to_owned(),
            offset: record.offset,
            chain_before: zero,
            chain: zero,
            at: record.timestamp,
            partition_state: folded.partition.clone(),
        },
        runs: Vec::new(),
        events: Vec::new(),
        values: Vec::new(),
        decisions: Vec::new(),
        letters: Vec::new(),
        closings: Vec::new(),
        refusals: Vec::new(),
    }
}

/// The rows that an event leaves, whatever became of it.
fn describe(
    batch: &mut StoreBatch,
    folded: &Folded,
    event: &Event,
    record: &Record,
    verdict: &Verdict,
    log_id: &str,
) {
    let (offset, at) = (record.offset, record.timestamp);
    if let Some(key) = event.run_key() {
        batch.events.push(event_row(key, batch.partition, event, record, verdict));
    }
    match verdict {
        Verdict::Applied(_) => applied(batch, folded, event, record),
        Verdict::Stale(..) => {}
        Verdict::Refused(reason, answer) => batch.refusals.push(RefusalRow {
            partition: batch.partition,
            offset,
            key: event.run_key(),
            reason: *reason,
            answer: Some(answer.clone()),
            at,
        }),
        Verdict::Illegal(_) => {
            batch.letters.push(record_letter(batch.partition, event, record, log_id));
        }
    }
}

fn event_row(
    key: RunKey,
    partition: u32,
    event: &Event,
    record: &Record,
    verdict: &Verdict,
) -> EventRow {
    let step = match &event.body {
        Body::Step(_, step, _) => Some(step.clone()),
        Body::Run(..) | Body::Partition(_) => None,
    };
    EventRow {
        key,
        partition,
        offset: record.offset,
        at: record.timestamp,
        kind: event.kind().as_str().to_owned(),
        step,
        attempt: None,
        actor: event.actor.clone(),
        verdict: match verdict {
            Verdict::Applied(Answer::Ok) | Verdict::Applied(_) => VerdictKind::Applied,
            Verdict::Stale(..) => VerdictKind::Stale,
            Verdict::Refused(..) => VerdictKind::Refused,
            Verdict::Illegal(_) => VerdictKind::Illegal,
        },
        reason: verdict.reason(),
    }
}

fn applied(batch: &mut StoreBatch, folded: &Folded, event: &Event, record: &Record) {
    let (partition, offset, at) = (batch.partition, record.offset, record.timestamp);
    let close = |letter_id, status, reason: &str| LetterClosing {
        letter_id,
        status,
        offset,
        at,
        by: event.actor.clone(),
        reason: reason.to_owned(),
    };
    match &event.body {
        Body::Run(_, RunEvent::DecisionRecorded(decision)) => batch.decisions.push(DecisionRow {
            key: event.run_key().unwrap(),
            partition,
            offset,
            at,
            decision: spine_schemas::Decision::clone(decision),
            actor: event.actor.clone(),
        }),
        Body::Step(_, step, StepEvent::DeadLettered { .. }) => {
            let run = event.run_key().unwrap();
            let state = folded.runs[&run].steps[step].clone();
            batch.letters.push(step_letter(partition, &run, &state, offset));
        }
        Body::Step(_, _, StepEvent::Redriven { letter_id, reason, .. }) => {
            batch.closings.push(close(*letter_id, LetterStatus::Redriven, reason));
        }
        Body::Step(
            _,
            _,
            StepEvent::Discarded { letter_id, reason, then: Then::Fail | Then::Skip },
        ) => {
            batch.closings.push(close(*letter_id, LetterStatus::Discarded, reason));
        }
        Body::Partition(PartitionEvent::RecordDisposed { letter_id, redriven, reason }) => {
            let status = if *redriven { LetterStatus::Redriven } else { LetterStatus::Discarded };
            batch.closings.push(close(*letter_id, status, reason));
        }
        _ => {}
    }
}

fn step_letter(partition: u32, run: &RunKey, step: &StepState, offset: u64) -> LetterRow {
    let letter = step.letter.as_ref().unwrap();
    let error = step.error.as_ref().unwrap();
    let attempts: Vec<serde_json::Value> = step
        .attempts
        .iter()
        .map(|attempt| {
            let AttemptEnd::Failed(error) = &attempt.end else { panic!("{attempt:?}") };
            serde_json::json!({
                "attempt": attempt.attempt,
                "started_at": attempt.started_at.to_string(),
                "ended_at": attempt.ended_at.map(|at| at.to_string()),
                "class": error.class,
                "code": error.code,
            })
        })
        .collect();
    LetterRow {
        letter_id: letter.letter_id,
        kind: LetterKind::Step,
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
        attempts_json: serde_json::to_string(&attempts).unwrap(),
        tool: Some(step.spec.tool.clone()),
        dead_at: letter.at,
        closed_at: None,
        closed_by: None,
        closed_reason: None,
    }
}

fn record_letter(partition: u32, event: &Event, record: &Record, log_id: &str) -> LetterRow {
    let key = event.run_key();
    LetterRow {
        letter_id: keys::record_letter_id(log_id, TOPIC, partition, record.offset),
        kind: LetterKind::Record,
        status: LetterStatus::Open,
        partition,
        source_offset: record.offset,
        offset: record.offset,
        tenant: key.as_ref().map(|key| key.tenant.to_string()),
        run_id: key.as_ref().map(|key| key.run_id.to_string()),
        step: None,
        class: "illegal_event".to_owned(),
        code: event.kind().as_str().to_owned(),
        message: "illegal".to_owned(),
        generation: 0,
        attempts: 0,
        attempts_json: "[]".to_owned(),
        tool: None,
        dead_at: record.timestamp,
        closed_at: None,
        closed_by: None,
        closed_reason: None,
    }
}
