//! The typed event: a closed enum with one variant per kind and no optional field that the kind requires.
//!
//! The wide Avro record is a wire form only; `codec` turns it into these types and refuses illegal
//! combinations. Which event is legal in which state is decided in `runs`.

use crate::{
    Digest, Driver, Fault, Finding, Fork, HeldBy, Output, Payload, Plan, RecordClass, RunKey,
    StepError, StepKey, StepSpec, time::Micros,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// Something that happened, or that a claimed owner decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Identity of this event; a second copy carries the same.
    pub event_id: String,
    /// The tenant that it belongs to.
    pub tenant: Arc<str>,
    /// When it happened, by its author's clock. Order never rests on it.
    pub occurred_at: Micros,
    /// Who says so.
    pub actor: String,
    /// Position of the owner's claim, on decisions only.
    pub claim: Option<u64>,
    /// W3C trace ids.
    pub trace: Option<Trace>,
    /// Bounded map of the caller's own attributes.
    pub attributes: BTreeMap<String, String>,
    /// The key that encrypts the payloads, if any.
    pub key_id: Option<String>,
    /// The batch of one run that this event was appended in.
    pub batch: Option<BatchItem>,
    /// The journal operation that this event records.
    pub op: Option<Op>,
    /// What happened.
    pub body: Body,
}

impl Event {
    /// An event with nothing beside what each one has: no claim, trace, attributes, batch or operation.
    pub fn new(
        event_id: impl Into<String>,
        tenant: impl Into<Arc<str>>,
        occurred_at: Micros,
        actor: impl Into<String>,
        body: Body,
    ) -> Self {
        Self {
            event_id: event_id.into(),
            tenant: tenant.into(),
            occurred_at,
            actor: actor.into(),
            claim: None,
            trace: None,
            attributes: BTreeMap::new(),
            key_id: None,
            batch: None,
            op: None,
            body,
        }
    }

    /// The run that the event is about; control events have none.
    pub fn run_id(&self) -> Option<&Arc<str>> {
        match &self.body {
            Body::Run(run_id, _) | Body::Step(run_id, _, _) => Some(run_id),
            Body::Partition(_) => None,
        }
    }

    /// Tenant and run id; control events have none.
    pub fn run_key(&self) -> Option<RunKey> {
        let run_id = self.run_id()?.clone();
        Some(RunKey { tenant: self.tenant.clone(), run_id })
    }
}

/// W3C trace context ids, as lower-case hexadecimal text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// 32 digits.
    pub trace_id: String,
    /// 16 digits.
    pub span_id: String,
}

/// An event's place in a batch of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchItem {
    /// Identity of the batch.
    pub id: String,
    /// From 0.
    pub index: u32,
}

/// A journal operation: the same pair gets the same answer again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The agent's session.
    pub session: String,
    /// Number of the operation inside the session.
    pub op_id: u64,
    /// The session that this one replaces; its attempts are lost at once.
    pub replaces: Option<String>,
    /// The version of the workflow that the agent runs, if it says so: a run keeps the one it began with.
    pub version: Option<String>,
}

/// What an event is about, and what happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// A run as a whole.
    Run(Arc<str>, RunEvent),
    /// One step of a run.
    Step(Arc<str>, StepKey, StepEvent),
    /// The partition: its owner and its records.
    Partition(PartitionEvent),
}

/// What happened to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEvent {
    /// `run_created`
    Created(Box<RunCreated>),
    /// `run_completed`
    Completed {
        /// What the run produced.
        output: Option<Output>,
    },
    /// `run_failed`
    Failed {
        /// Why.
        error: StepError,
        /// The step that it failed with, if one.
        step: Option<StepKey>,
    },
    /// `cancel_requested`
    CancelRequested {
        /// Why.
        reason: String,
        /// Whether what was done is undone first.
        compensate: bool,
    },
    /// `run_cancelled`
    Cancelled {
        /// Why.
        reason: String,
    },
    /// `compensation_started`
    CompensationStarted {
        /// Why what was done is undone; the run ends with it.
        error: StepError,
        /// The step that failed, if one.
        step: Option<StepKey>,
    },
    /// `signal_received`
    SignalReceived {
        /// Its name; a step awaits it.
        name: String,
        /// What it says.
        data: Payload,
    },
    /// `run_paused`
    Paused {
        /// Why.
        reason: String,
    },
    /// `run_resumed`
    Resumed {
        /// Why.
        reason: String,
    },
    /// `run_stalled`
    Stalled {
        /// What it waits for, and who can move it.
        reason: String,
        /// The step that it waits for, if one.
        step: Option<StepKey>,
        /// Offset of the newest event that had moved the run, as the owner knew it.
        moved: u64,
    },
    /// `decision_recorded`
    DecisionRecorded(Box<Decision>),
}

/// How a run begins.
#[derive(Clone, Debug, PartialEq)]
pub struct RunCreated {
    /// Name of the workflow.
    pub workflow: String,
    /// Version of the workflow; the run keeps it.
    pub version: String,
    /// Who drives the run.
    pub driver: Driver,
    /// The run's input.
    pub input: Payload,
    /// The caller's tags.
    pub tags: BTreeMap<String, String>,
    /// The run that made this one.
    pub parent: Option<String>,
    /// The steps, for a plan run and only there.
    pub plan: Option<Arc<Plan>>,
    /// The run whose finished steps this one takes over.
    pub fork: Option<Box<Fork>>,
    /// The attempt of a step of the parent that this run is.
    pub caller: Option<Box<Caller>>,
}

/// The attempt of a step that is a run of its own. Whoever owns that run tells it how the run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The step.
    pub step: StepKey,
    /// Its attempt.
    pub attempt: u32,
    /// Offset of the start, in the partition of the parent.
    pub lease: u64,
    /// When the time of the parent is over, if it is limited.
    pub deadline: Option<Micros>,
}

/// What an agent decided, and on what grounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The choice in one word or sentence.
    pub decision: String,
    /// What was asked.
    pub request: String,
    /// Who decided.
    pub agent: String,
    /// On what grounds.
    pub reasoning: String,
    /// What is to be done.
    pub action: String,
    /// With which arguments.
    pub params: Option<Payload>,
    /// What came of it, when already known.
    pub result: Option<Payload>,
    /// What went wrong, when it did.
    pub error: Option<String>,
    /// 0 to 1, if the agent says.
    pub confidence: Option<f64>,
    /// The step that it belongs to, if one.
    pub step: Option<StepKey>,
}

/// What happened to a step.
#[derive(Clone, Debug, PartialEq)]
pub enum StepEvent {
    /// `step_scheduled`
    Scheduled(Arc<StepSpec>),
    /// `step_started`
    Started(StepStarted),
    /// `step_heartbeat`
    Heartbeat {
        /// The attempt that is alive.
        attempt: u32,
        /// Its lease.
        lease: Option<u64>,
    },
    /// `step_completed`
    Completed {
        /// The attempt that succeeded.
        attempt: u32,
        /// Its lease.
        lease: Option<u64>,
        /// What it produced.
        output: Output,
        /// What it cost.
        usage: Option<Usage>,
    },
    /// `step_failed`
    Failed {
        /// The attempt that failed.
        attempt: u32,
        /// Its lease.
        lease: Option<u64>,
        /// Why.
        error: StepError,
        /// What it cost all the same.
        usage: Option<Usage>,
    },
    /// `step_lost`
    Lost {
        /// The attempt whose worker is gone.
        attempt: u32,
        /// Its lease.
        lease: u64,
        /// Position of the last heartbeat that the owner saw; the lease itself if none.
        heartbeat: u64,
        /// Why it counts as lost.
        reason: String,
    },
    /// `step_retry_scheduled`
    RetryScheduled {
        /// The attempt that failed.
        attempt: u32,
        /// When the next one may begin.
        due_at: Micros,
    },
    /// `step_deferred`
    Deferred {
        /// The attempt that was put off free of charge, or the newest one before the one that is held
        /// back.
        attempt: u32,
        /// When the next one may begin; the earliest time where something holds it back.
        due_at: Micros,
        /// What holds it back, where no failure did.
        held_by: Option<HeldBy>,
    },
    /// `step_released`
    Released {
        /// The attempt that was never sent.
        attempt: u32,
        /// Its lease.
        lease: u64,
        /// Why it could not be sent, for example a refused connection; `None` when it was handed
        /// back without trying.
        error: Option<StepError>,
    },
    /// `step_unknown`
    Unknown {
        /// The attempt whose outcome is not known; 0 when even that is not known.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// `step_resolved`
    Resolved(Resolution),
    /// `step_skipped`
    Skipped {
        /// Why.
        reason: String,
        /// What stands in for its output, if anything does.
        output: Option<Output>,
    },
    /// `step_cancelled`
    Cancelled {
        /// Why.
        reason: String,
    },
    /// `step_dead_lettered`
    DeadLettered {
        /// The last attempt.
        attempt: u32,
        /// Identity of the letter.
        letter_id: Digest,
        /// What ended the retrying.
        error: StepError,
    },
    /// `step_redriven`
    Redriven {
        /// The letter that is put back to work.
        letter_id: Digest,
        /// Why.
        reason: String,
        /// Set when an effect may repeat and the operator accepts that.
        force: bool,
        /// Another input, if any.
        edit: Option<InputEdit>,
    },
    /// `step_discarded`
    Discarded {
        /// The letter that is given up.
        letter_id: Digest,
        /// What follows for the run.
        then: Then,
        /// Why.
        reason: String,
    },
    /// `fallback_started`
    FallbackStarted {
        /// The last attempt.
        attempt: u32,
        /// What ended the retrying.
        error: StepError,
    },
    /// `task_opened`
    TaskOpened {
        /// The last attempt.
        attempt: u32,
        /// Identity of the task.
        task_id: Digest,
        /// What ended the retrying.
        error: StepError,
    },
    /// `task_expired`
    TaskExpired {
        /// The task.
        task_id: Digest,
    },
    /// `approval_requested`
    ApprovalRequested {
        /// The attempt that needs it.
        attempt: u32,
        /// Identity of the task that asks for it.
        task_id: Digest,
        /// Digest of the exact call that is asked about.
        call: Digest,
        /// When no answer means no.
        expires_at: Micros,
    },
    /// `wait_created`
    WaitCreated {
        /// The signal that is awaited; `None` where only time is.
        signal: Option<String>,
        /// Until when.
        expires_at: Micros,
        /// The spec, where the step was not scheduled by an earlier event.
        spec: Option<Arc<StepSpec>>,
    },
    /// `wait_expired`
    WaitExpired,
    /// `task_decided`
    TaskDecided {
        /// The task.
        task_id: Digest,
        /// What was decided.
        verdict: TaskVerdict,
        /// What the step produced, where it was done by hand, or what stands in for that.
        output: Option<Output>,
        /// Why.
        reason: String,
    },
    /// `step_paused`
    Paused {
        /// Why.
        reason: String,
    },
    /// `step_resumed`
    Resumed {
        /// Why.
        reason: String,
    },
    /// `step_reused`
    Reused {
        /// What it was asked to do in the run that it comes from.
        spec: Arc<StepSpec>,
        /// What it produced there, or what stands in for that.
        output: Option<Output>,
        /// Set where it was left out there.
        skipped: Option<String>,
        /// Whether an operator had given it another input there.
        edited: bool,
    },
    /// `step_probed`
    Probed(Finding),
    /// `fault_injected`
    FaultInjected {
        /// The attempt that was not sent.
        attempt: u32,
        /// What was pretended.
        fault: Fault,
    },
}

/// The start of an attempt: the intent that is durable before any effect.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepStarted {
    /// The attempt; `None` in a journal's `begin`, where the fold assigns it.
    pub attempt: Option<u32>,
    /// The spec, where the step was not scheduled by an earlier event.
    pub spec: Option<Arc<StepSpec>>,
    /// How long the attempt of an agent or of a worker is held without a heartbeat.
    pub lease_ms: Option<u64>,
    /// The worker that asked for it; of steps that wait in a queue only.
    pub worker: Option<String>,
    /// The pause that an agent's door knew of when the agent asked: then no attempt begins.
    pub held_by: Option<HeldBy>,
}

/// What a person or a probe found out about an unknown outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// The attempt in question.
    pub attempt: u32,
    /// Whether the effect took place.
    pub happened: bool,
    /// What the step produced, when it happened.
    pub output: Option<Output>,
    /// How it was found out.
    pub reason: String,
}

/// An operator's change of a dead-lettered step's input, recorded before and after.
#[derive(Clone, Debug, PartialEq)]
pub struct InputEdit {
    /// Digest of the input that is replaced.
    pub before: Digest,
    /// The new input.
    pub after: Payload,
}

/// What follows when a letter is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// The run fails.
    Fail,
    /// The step is skipped and the run goes on, degraded.
    Skip,
}

/// What a person decided about a step that they were asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskVerdict {
    /// It is tried again, with its full budget.
    Retry,
    /// It was done by other means.
    Complete,
    /// It is left out, and the run goes on, degraded.
    Skip,
    /// The run fails.
    Fail,
    /// The call may be made.
    Approve,
    /// The call must not be made.
    Deny,
}

/// What an attempt used, in the provider's own classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Who charged for it.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Tokens read at full price.
    pub input_uncached: u64,
    /// Tokens read from a cache.
    pub cache_read: u64,
    /// Tokens written to a cache.
    pub cache_write: u64,
    /// Tokens of the answer.
    pub output_text: u64,
    /// Tokens of reasoning.
    pub output_reasoning: u64,
    /// Integer micro-units of money.
    pub cost_micros: u64,
    /// The price table that the cost comes from.
    pub price_version: Option<String>,
}

/// What happened to a partition.
#[derive(Clone, Debug, PartialEq)]
pub enum PartitionEvent {
    /// `owner_claimed`
    OwnerClaimed(Claim),
    /// `record_dead_lettered`
    RecordDeadLettered {
        /// Offset of the record that is set aside.
        offset: u64,
        /// Why.
        class: RecordClass,
        /// For people.
        message: String,
    },
    /// `record_disposed`
    RecordDisposed {
        /// The record letter that is closed.
        letter_id: Digest,
        /// Whether the original bytes follow at a new position.
        redriven: bool,
        /// Why.
        reason: String,
    },
}

/// An owner's claim on a partition; accepted only if `over` is the current claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The process that claims.
    pub worker: String,
    /// Where other nodes reach it.
    pub address: String,
    /// The store that it fills.
    pub store_id: String,
    /// The log that it means.
    pub log_id: String,
    /// The rules that it folds by.
    pub fold_version: u32,
    /// Partition count of the topic.
    pub partitions: u32,
    /// Position of the claim that it replaces; `None` on a fresh partition.
    pub over: Option<u64>,
    /// Whether the log was restored from a backup, so that careful steps become unknown.
    pub restored: bool,
}
