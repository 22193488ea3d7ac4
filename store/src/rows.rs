//! The rows of a store, free of any adapter: what a batch of folded events changes, and what queries give.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spine_runs::{Answer, PartitionState, Reason, RunState};
use spine_schemas::{Digest, RunKey, StepKey, time::Micros};
use std::sync::Arc;

/// How far a partition has been stored. Written with, or after, every row that it covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The log that it is about.
    pub log_id: String,
    /// Offset of the newest event that is stored.
    pub offset: u64,
    /// Chain hash before that event, and after it; a log with another record there differs.
    pub chain_before: Digest,
    /// See `chain_before`.
    pub chain: Digest,
    /// Log time of that event.
    pub at: Micros,
    /// The partition's folded state after that event.
    pub partition_state: PartitionState,
}

/// All that a range of folded events changes in one partition.
#[derive(Clone, Debug)]
pub struct StoreBatch {
    /// The partition.
    pub partition: u32,
    /// Offset of the progress that this batch follows; `None` on a fresh store.
    pub expected: Option<u64>,
    /// Progress after the batch.
    pub progress: Progress,
    /// Runs whose state changed, each once, with its newest state.
    pub runs: Vec<RunChange>,
    /// One row per event of a run, in offset order, whatever its verdict.
    pub events: Vec<EventRow>,
    /// The framed value of each of these events, in the same order. A store without transactions
    /// keeps them, so that it can fold a run again up to its progress.
    pub values: Vec<Bytes>,
    /// Recorded decisions.
    pub decisions: Vec<DecisionRow>,
    /// Letters that were opened.
    pub letters: Vec<LetterRow>,
    /// Letters that were closed, each after its opening (in this batch or an earlier one). A
    /// closing of a letter that is not there or not open changes nothing.
    pub closings: Vec<LetterClosing>,
    /// Requests that the fold refused.
    pub refusals: Vec<RefusalRow>,
}

/// The newest state of a run and which of its steps changed since it was last handed over.
#[derive(Clone, Debug)]
pub struct RunChange {
    /// The whole state.
    pub run: Arc<RunState>,
    /// Offset of the newest event that left a trace in it. Not always `run.last_offset`: an event
    /// that was not applied may be remembered as an operation, or as an item of a batch.
    pub offset: u64,
    /// The steps to write; the others are stored already.
    pub steps: Vec<StepKey>,
    /// Whether the run is new to the store, so that its immutable part must be written too.
    pub created: bool,
}

/// One event in the history of a run. The bytes are read from the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// The run.
    pub key: RunKey,
    /// Partition of the event.
    pub partition: u32,
    /// Offset of the event.
    pub offset: u64,
    /// Log time.
    pub at: Micros,
    /// Kind, for example `step_started`.
    pub kind: String,
    /// The step, if it is about one.
    pub step: Option<StepKey>,
    /// The attempt, if it is about one.
    pub attempt: Option<u32>,
    /// Who said so.
    pub actor: String,
    /// What the fold made of it.
    pub verdict: VerdictKind,
    /// Why it was not applied.
    pub reason: Option<Reason>,
}

/// What the fold made of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// It changed the state.
    Applied,
    /// A duplicate, an older claim, a lost race, or late evidence.
    Stale,
    /// A request that the state does not allow.
    Refused,
    /// Set aside as a dead letter.
    Illegal,
}

impl VerdictKind {
    /// The name in JSON and in stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Stale => "stale",
            Self::Refused => "refused",
            Self::Illegal => "illegal",
        }
    }
}

/// A recorded decision, ordered by position.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionRow {
    /// The run.
    pub key: RunKey,
    /// Partition of the event.
    pub partition: u32,
    /// Offset of the event.
    pub offset: u64,
    /// Log time.
    pub at: Micros,
    /// What was decided, with payloads.
    pub decision: spine_schemas::Decision,
    /// Who appended it.
    pub actor: String,
}

/// What waits for a person, as they see it: a dead letter, or a question about a step. Both are opened by
/// one event, closed by the first that follows, and listed newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterRow {
    /// Its id.
    pub letter_id: Digest,
    /// What it is about.
    pub kind: LetterKind,
    /// What became of it.
    pub status: LetterStatus,
    /// Partition of the letter and of its original.
    pub partition: u32,
    /// Offset of the original: the event that scheduled the step, or the record.
    pub source_offset: u64,
    /// Offset of the deciding event; letters are listed by it.
    pub offset: u64,
    /// Tenant, where the original names one.
    pub tenant: Option<String>,
    /// Run, where the original names one.
    pub run_id: Option<String>,
    /// Step, where it is about one.
    pub step: Option<StepKey>,
    /// Error class: of a step or of a record.
    pub class: String,
    /// A stable code for grouping.
    pub code: String,
    /// For people.
    pub message: String,
    /// Redrive generation of the step.
    pub generation: u32,
    /// How many attempts the step had in all.
    pub attempts: u32,
    /// Every attempt with times and error, as JSON text.
    pub attempts_json: String,
    /// The step's tool.
    pub tool: Option<String>,
    /// Log time of the deciding event.
    pub dead_at: Micros,
    /// Log time at which it was closed.
    pub closed_at: Option<Micros>,
    /// Who closed it.
    pub closed_by: Option<String>,
    /// Why it was closed.
    pub closed_reason: Option<String>,
}

/// The end of an open letter: sets its status and the `closed_*` fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterClosing {
    /// The letter.
    pub letter_id: Digest,
    /// What became of it; never `Open`.
    pub status: LetterStatus,
    /// Offset of the event that closed it.
    pub offset: u64,
    /// Log time of that event.
    pub at: Micros,
    /// Who closed it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl LetterRow {
    /// Closes an open letter. Gives whether it was open; a closed one is left as it is.
    pub fn close(&mut self, closing: &LetterClosing) -> bool {
        assert_eq!(self.letter_id, closing.letter_id, "a closing is of one letter");
        if self.status != LetterStatus::Open {
            return false;
        }
        self.status = closing.status;
        self.closed_at = Some(closing.at);
        self.closed_by = Some(closing.by.clone());
        self.closed_reason = Some(closing.reason.clone());
        true
    }
}

/// What a letter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterKind {
    /// A step.
    Step,
    /// A record.
    Record,
    /// A question about a step.
    Task,
}

impl LetterKind {
    /// The name in JSON and in stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Record => "record",
            Self::Task => "task",
        }
    }
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterStatus {
    /// It waits for an operator.
    Open,
    /// Put back to work.
    Redriven,
    /// A late success made it needless.
    Resolved,
    /// Given up.
    Discarded,
    /// The question was answered.
    Decided,
}

impl LetterStatus {
    /// The name in JSON and in stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriven => "redriven",
            Self::Resolved => "resolved",
            Self::Discarded => "discarded",
            Self::Decided => "decided",
        }
    }
}

/// A refused request and its answer, for those who ask later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalRow {
    /// Partition of the request.
    pub partition: u32,
    /// Offset of the request.
    pub offset: u64,
    /// The run, if it named one.
    pub key: Option<RunKey>,
    /// Why.
    pub reason: Reason,
    /// The answer that was given.
    pub answer: Option<Answer>,
    /// Log time.
    pub at: Micros,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// The run.
    pub key: RunKey,
    /// Its workflow.
    pub workflow: String,
    /// Version of the workflow.
    pub version: String,
    /// Who drives it: `plan`, `journal` or `record`.
    pub driver: String,
    /// `running`, `waiting`, `completed`, `degraded`, `failed` or `cancelled`.
    pub status: String,
    /// Steps in all (of a plan: planned ones), completed, failed and dead-lettered.
    pub steps: [u32; 4],
    /// Attempts of all steps.
    pub attempts: u64,
    /// Integer micro-units of money.
    pub cost_micros: u64,
    /// Log time of its first event.
    pub started_at: Micros,
    /// Log time of its end.
    pub ended_at: Option<Micros>,
    /// Partition of its events.
    pub partition: u32,
    /// Offset of the newest event that was applied to it.
    pub last_offset: u64,
    /// Of a stalled run: log time of the newest event that moved it.
    pub stalled_since: Option<Micros>,
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Of this tenant only.
    pub tenant: Option<String>,
    /// Of this workflow only.
    pub workflow: Option<String>,
    /// In this public status only.
    pub status: Option<String>,
}

/// Which letters to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Questions instead of letters.
    pub tasks: bool,
    /// In this status only.
    pub status: Option<LetterStatus>,
    /// Of this tenant only.
    pub tenant: Option<String>,
}

impl LetterFilter {
    /// Whether a row is of the kind and in the status that is asked for.
    pub fn takes(&self, row: &LetterRow) -> bool {
        let is_task = row.kind == LetterKind::Task;
        is_task == self.tasks && self.status.is_none_or(|status| row.status == status)
    }
}

/// A page of a list and the cursor of the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}
