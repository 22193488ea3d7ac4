//! The state of a run and of a partition, as folded from the log. Data only: what changes it is in `fold`.
//!
//! Everything here is stored; nothing is inferred from anything but events, so two folds of one
//! log are equal byte for byte.

mod claim_form;
mod holder;
mod probing;
mod stall;
mod wait;

pub use holder::Holder;
pub use probing::Probing;
pub use stall::Stall;
pub use wait::{Held, Wait, WaitKind, WaitRef};

use crate::{Answer, Steps};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spine_schemas::{
    Claim, Digest, Driver, Output, Payload, Plan, RunCreated, RunKey, StepError, StepKey, StepSpec,
    Usage, time::Micros,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Rules by which this version folds. Carried in every claim. From 2 on a run's state keeps at most
/// [`crate::limits::RUN_BYTES`] of payloads; from 3 on the release of an attempt that never was is stale;
/// from 4 on failing steps may be left out, replaced, undone or asked about, and runs cancelled and paused;
/// from 5 on steps may be held back by what is the matter with their tool, and failures be free for it;
/// from 6 on runs may be forks of others, tools be asked what became of an attempt, and agents' begins be held back;
/// from 7 on no wait ends in a pause, and a step that is taken over may have been edited.
pub const FOLD_VERSION: u32 = 7;

/// What is known about a partition as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// The current claim.
    pub claim: Option<ClaimState>,
    /// Offset of the newest claim over a restored log; careful steps not touched since are unknown.
    pub restored_at: Option<u64>,
    /// Offsets of records that owners decided to set aside, the newest
    /// [`spine_schemas::limits::DISPOSED_RECORDS`] of them, so that each has one letter.
    pub set_aside: BTreeSet<u64>,
    /// Letters of records that were closed, newest last, at most
    /// [`spine_schemas::limits::DISPOSED_RECORDS`], so that none is put back twice.
    pub disposed: VecDeque<Digest>,
}

impl PartitionState {
    /// Offset of the current claim.
    pub fn current_claim(&self) -> Option<u64> {
        self.claim.as_ref().map(|claim| claim.offset)
    }
}

/// A claim and where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimState {
    /// Its offset; decisions carry it.
    pub offset: u64,
    /// Its log time; leases of earlier attempts count again from here.
    pub at: Micros,
    /// What was claimed.
    #[serde(with = "claim_form")]
    pub claim: Claim,
}

/// The state of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// Its identity.
    pub key: RunKey,
    /// How it began; never changes.
    pub created: Arc<RunCreated>,
    /// The plan with what its brain has added; see [`RunState::plan`].
    pub grown: Option<Arc<Plan>>,
    /// Digest of all that `created` holds, for telling a repeat from a conflict.
    pub created_digest: Digest,
    /// Offset of its first event.
    pub created_offset: u64,
    /// Log time of its first event.
    pub created_at: Micros,
    /// What became of it.
    pub status: RunStatus,
    /// Log time of its end.
    pub ended_at: Option<Micros>,
    /// What it produced.
    pub output: Option<Output>,
    /// Why it failed or was cancelled.
    pub error: Option<StepError>,
    /// The step that it failed with.
    pub failed_step: Option<StepKey>,
    /// Set from the request to cancel it on.
    pub cancel: Option<Box<CancelRequest>>,
    /// Set from the decision to undo what it has done on.
    pub undo: Option<Box<Undo>>,
    /// Set while nothing new may start.
    pub paused: Option<Box<Pause>>,
    /// How long it was paused before, in milliseconds. Its deadline is later by so much.
    pub paused_ms: u64,
    /// Set while no event has moved it for too long; the next one that does clears it.
    pub stalled: Option<Box<Stall>>,
    /// Signals that no step has awaited yet, the oldest first, at most
    /// [`spine_schemas::limits::RUN_SIGNALS`].
    pub signals: VecDeque<Signal>,
    /// Its steps. A plan step is here from its scheduling on.
    pub steps: Steps,
    /// Recent batches, newest last, at most [`spine_schemas::limits::RUN_BATCHES`].
    pub batches: VecDeque<BatchProgress>,
    /// Sessions of a journal run, at most [`spine_schemas::limits::RUN_SESSIONS`].
    pub sessions: BTreeMap<String, Session>,
    /// Hashes of the ids of decisions that were counted.
    pub seen: BTreeSet<u64>,
    /// Recorded decisions.
    pub decisions: u32,
    /// What its attempts used.
    pub totals: Totals,
    /// Offset of the newest event that was applied to it.
    pub last_offset: u64,
    /// Log time of that event.
    pub last_at: Micros,
}

/// What became of a run. `waiting` is not a state of its own: see [`RunState::waits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Open.
    Running,
    /// All went well.
    Completed,
    /// It ended well with something left out or of lower quality.
    Degraded,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// Somebody asked that the run end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// Why.
    pub reason: String,
    /// Whether what was done is undone first.
    pub compensate: bool,
    /// Log time of the request.
    pub at: Micros,
}

/// What the run has done is undone, the newest first; then it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undo {
    /// Why; the run ends with it.
    pub error: StepError,
    /// The step that failed, if one.
    pub step: Option<StepKey>,
    /// Log time of the decision.
    pub at: Micros,
}

/// A signal that no step has awaited yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// What it says.
    pub data: Payload,
}

/// Nothing new starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Why.
    pub reason: String,
    /// Who asked for it.
    pub by: String,
    /// Log time of the request. Budgets and deadlines stand still from here.
    pub at: Micros,
}

/// The state of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepState {
    /// Its identity inside the run.
    pub key: StepKey,
    /// What it was asked to do; replaced only by an operator's edit.
    pub spec: Arc<StepSpec>,
    /// Where it is in its life.
    pub status: StepStatus,
    /// Offset of the event that scheduled it (or first started it).
    pub scheduled_offset: u64,
    /// Log time of that event.
    pub scheduled_at: Micros,
    /// Log time from which budgets and deadlines count: its scheduling, or the last redrive.
    pub budget_from: Micros,
    /// Log time of the first start since `budget_from`.
    pub first_started_at: Option<Micros>,
    /// Number of the newest attempt; 0 before the first.
    pub attempt: u32,
    /// Charged attempts since the last redrive.
    pub charged: u32,
    /// Attempts lost in a row.
    pub lost_in_row: u32,
    /// Attempts in a row that were free of charge; the back-off of deferrals grows with it.
    pub free_in_row: u32,
    /// How often it was redriven.
    pub generation: u32,
    /// How often its input was edited.
    pub edit: u32,
    /// The attempt that runs now.
    pub live: Option<Live>,
    /// When it may be tried again, while it waits for that.
    pub due_at: Option<Micros>,
    /// The error of the newest attempt that failed.
    pub error: Option<StepError>,
    /// What it produced.
    pub output: Option<Output>,
    /// Attempts, oldest first; the middle is left out beyond
    /// [`spine_schemas::limits::ATTEMPT_HISTORY`].
    pub attempts: Vec<AttemptState>,
    /// How many attempts were left out.
    pub attempts_omitted: u32,
    /// The open letter.
    pub letter: Option<LetterRef>,
    /// The question to a person that is open.
    pub task: Option<Box<TaskRef>>,
    /// How many questions there were.
    pub tasks: u32,
    /// Set while no attempt of it may start.
    pub paused: Option<Box<Pause>>,
    /// What it awaits.
    pub wait: Option<Box<WaitRef>>,
    /// What holds it back while it is deferred.
    pub held: Option<Box<Held>>,
    /// Log time from which on a breaker holds it back, calls that try its tool aside.
    pub breaker_since: Option<Micros>,
    /// What its tool said when it was asked whether an attempt took effect, as long as that is not clear.
    pub probe: Option<Box<Probing>>,
    /// Digest of the call that was approved of.
    pub approved: Option<Digest>,
    /// Set when it ended in the run that this one is a fork of.
    pub reused: bool,
    /// Set when nobody will try again and the run is to fail: policy `fail`, or a discard.
    pub given_up: bool,
    /// Set when an older attempt turned out to have succeeded after a newer one had started.
    pub late_success: bool,
    /// Log time of its end.
    pub ended_at: Option<Micros>,
    /// Offset of the newest event that was applied to it.
    pub last_offset: u64,
    /// The newest event that paused or resumed it, if there was one.
    pub still: Option<Still>,
}

/// An event that held a step back or let it go, and moved nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Still {
    /// Its offset.
    pub offset: u64,
    /// Offset of the newest event before that moved the step.
    pub before: u64,
}

/// Where a step is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// May start now.
    Scheduled,
    /// An attempt runs.
    Running,
    /// Waits for its next attempt after a charged failure.
    RetryWaiting,
    /// Waits for its next attempt after one that was free of charge, or is held back.
    Deferred,
    /// Somebody was asked what to do, or other steps stand in for it.
    Awaiting,
    /// An attempt may or may not have taken effect; somebody must find out.
    Unknown,
    /// Done.
    Completed,
    /// Its newest attempt failed: what follows is being decided, or it is given up.
    Failed,
    /// Its letter waits for an operator.
    DeadLettered,
    /// Left out.
    Skipped,
    /// Cancelled.
    Cancelled,
}

/// A running attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Its number.
    pub attempt: u32,
    /// Its lease: the offset of its start.
    pub lease: u64,
    /// Who runs it.
    pub holder: Holder,
    /// Log time of its start.
    pub started_at: Micros,
    /// How long it is held without a heartbeat.
    pub lease_ms: u64,
    /// Offset of its last heartbeat; the lease if none.
    pub heartbeat: u64,
    /// Log time of its last heartbeat, or of its start.
    pub heartbeat_at: Micros,
}

/// An attempt in a step's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptState {
    /// Its number.
    pub attempt: u32,
    /// Its lease.
    pub lease: u64,
    /// Log time of its start.
    pub started_at: Micros,
    /// Log time of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Micros>,
    /// How it ended.
    pub end: AttemptEnd,
    /// Whether it spent budget.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub charged: bool,
    /// Which edit of the input it was given; a success with an older one does not end the step.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub edit: u32,
    /// Set when an operator redrove the step by force, although this attempt may have taken effect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepted: bool,
    /// The fault that was injected instead of a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected: Option<spine_schemas::Fault>,
    /// What it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptEnd {
    /// Not yet.
    Running,
    /// Well.
    Completed,
    /// With an error.
    Failed(StepError),
    /// Its worker is gone.
    Lost(String),
    /// It was never sent.
    Released(Option<StepError>),
    /// Found out not to have happened.
    DidNotHappen,
}

/// A step's open letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterRef {
    /// Its id.
    pub letter_id: Digest,
    /// Offset of the event that decided it.
    pub offset: u64,
    /// Log time of that event.
    pub at: Micros,
}

/// An open question about a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRef {
    /// Its id.
    pub task_id: Digest,
    /// Offset of the event that opened it.
    pub offset: u64,
    /// Log time of that event.
    pub at: Micros,
    /// Digest of the call that is asked about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Digest>,
    /// When no answer means no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Micros>,
    /// Who approved of the call, as long as more people have to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
}

/// How far a batch was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchProgress {
    /// Identity of the batch.
    pub id: String,
    /// Index of its newest item; once the batch is broken, of the item that broke it.
    pub index: u32,
    /// Whether every item up to there was applied.
    pub whole: bool,
}

/// What is remembered of an agent's session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Answers by operation number; the oldest go beyond [`spine_schemas::limits::SESSION_OPS`].
    pub ops: BTreeMap<u64, OpAnswer>,
    /// Highest operation number whose answer was dropped.
    pub forgotten: Option<u64>,
    /// The session that replaced this one.
    pub replaced_by: Option<String>,
    /// Log time of its newest operation.
    pub last_at: Micros,
}

/// The answer to an operation, for giving it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpAnswer {
    /// Hash of what was asked, so that another question under the same number is noticed.
    pub asked: u64,
    /// What was answered.
    pub answer: Answer,
}

/// Sums over a run's attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Attempts that were started.
    pub attempts: u64,
    /// Integer micro-units of money.
    pub cost_micros: u64,
    /// Tokens read at full price.
    pub input_uncached: u64,
    /// Tokens read from a cache.
    pub cache_read: u64,
    /// Tokens written to a cache.
    pub cache_write: u64,
    /// Tokens of answers.
    pub output_text: u64,
    /// Tokens of reasoning.
    pub output_reasoning: u64,
}

impl Totals {
    /// Adds what one attempt used; saturates.
    pub fn add(&mut self, usage: &Usage) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.cost_micros, usage.cost_micros);
        add(&mut self.input_uncached, usage.input_uncached);
        add(&mut self.cache_read, usage.cache_read);
        add(&mut self.cache_write, usage.cache_write);
        add(&mut self.output_text, usage.output_text);
        add(&mut self.output_reasoning, usage.output_reasoning);
    }
}

impl RunState {
    /// Whether the run has not ended.
    pub fn is_open(&self) -> bool {
        match self.status {
            RunStatus::Running => true,
            RunStatus::Completed
            | RunStatus::Degraded
            | RunStatus::Failed
            | RunStatus::Cancelled => false,
        }
    }

    /// Whether it is about to end, so that nothing of its own goes on.
    pub fn is_ending(&self) -> bool {
        self.cancel.is_some() || self.undo.is_some()
    }

    /// Who drives the run.
    pub fn driver(&self) -> Driver {
        self.created.driver
    }
}

impl StepState {
    /// Digest of the call that its next attempt would make.
    pub fn call_digest(&self) -> Digest {
        self.spec.call_digest(self.generation, self.edit)
    }

    /// Whether its owner may decide what follows: it waits for an attempt, or its newest one failed.
    pub(crate) fn is_undecided(&self) -> bool {
        self.status.may_start() || (self.status == StepStatus::Failed && !self.given_up)
    }

    /// Offset of the newest event that moved the step: no pause, and no end of one.
    pub(crate) fn moved_offset(&self) -> u64 {
        match self.still {
            Some(still) if still.offset == self.last_offset => still.before,
            Some(_) | None => self.last_offset,
        }
    }

    /// The bytes of the step's input as text for a tool.
    pub fn input_bytes(&self) -> &Bytes {
        &self.spec.input.data
    }
}

impl StepStatus {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Cancelled as usize + 1;

    /// Whether the step cannot move any more.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Completed | Self::Skipped | Self::Cancelled => true,
            Self::Scheduled
            | Self::Running
            | Self::RetryWaiting
            | Self::Deferred
            | Self::Awaiting
            | Self::Unknown
            | Self::Failed
            | Self::DeadLettered => false,
        }
    }

    /// Whether an attempt may start now or when it is due.
    pub(crate) fn may_start(self) -> bool {
        match self {
            Self::Scheduled | Self::RetryWaiting | Self::Deferred => true,
            Self::Running
            | Self::Awaiting
            | Self::Unknown
            | Self::Completed
            | Self::Failed
            | Self::DeadLettered
            | Self::Skipped
            | Self::Cancelled => false,
        }
    }

    /// Whether the step neither runs nor leaves anything behind that outlives its run.
    pub(crate) fn waits_for_its_run(self) -> bool {
        self.may_start() || self == Self::Awaiting
    }

    /// The public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::RetryWaiting => "retry_waiting",
            Self::Deferred => "deferred",
            Self::Awaiting => "awaiting",
            Self::Unknown => "unknown",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::DeadLettered => "dead_lettered",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl RunStatus {
    /// The public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
