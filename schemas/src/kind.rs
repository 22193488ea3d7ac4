//! The kinds of events by name, for tables, metrics and headers. What a kind carries is in `event`.

use crate::{Body, Event, PartitionEvent, RunEvent, StepEvent};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happened, as one word. The order is that of the symbols in the Avro schema.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each kind is documented at its variant of the typed event")]
pub enum Kind {
    /// A kind that is newer than this build.
    #[default]
    Unknown,
    RunCreated,
    RunCompleted,
    RunFailed,
    RunCancelled,
    DecisionRecorded,
    StepScheduled,
    StepStarted,
    StepHeartbeat,
    StepCompleted,
    StepFailed,
    StepLost,
    StepRetryScheduled,
    StepDeferred,
    StepReleased,
    StepUnknown,
    StepResolved,
    StepSkipped,
    StepCancelled,
    StepDeadLettered,
    StepRedriven,
    StepDiscarded,
    FaultInjected,
    OwnerClaimed,
    RecordDeadLettered,
    RecordDisposed,
    CancelRequested,
    CompensationStarted,
    RunPaused,
    RunResumed,
    FallbackStarted,
    TaskOpened,
    TaskDecided,
    StepPaused,
    StepResumed,
    SignalReceived,
    WaitCreated,
    WaitExpired,
    ApprovalRequested,
    TaskExpired,
    StepReused,
    StepProbed,
    RunStalled,
}

impl Kind {
    /// The name in events, tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::RunCreated => "run_created",
            Self::RunCompleted => "run_completed",
            Self::RunFailed => "run_failed",
            Self::RunCancelled => "run_cancelled",
            Self::DecisionRecorded => "decision_recorded",
            Self::StepScheduled => "step_scheduled",
            Self::StepStarted => "step_started",
            Self::StepHeartbeat => "step_heartbeat",
            Self::StepCompleted => "step_completed",
            Self::StepFailed => "step_failed",
            Self::StepLost => "step_lost",
            Self::StepRetryScheduled => "step_retry_scheduled",
            Self::StepDeferred => "step_deferred",
            Self::StepReleased => "step_released",
            Self::StepUnknown => "step_unknown",
            Self::StepResolved => "step_resolved",
            Self::StepSkipped => "step_skipped",
            Self::StepCancelled => "step_cancelled",
            Self::StepDeadLettered => "step_dead_lettered",
            Self::StepRedriven => "step_redriven",
            Self::StepDiscarded => "step_discarded",
            Self::FaultInjected => "fault_injected",
            Self::OwnerClaimed => "owner_claimed",
            Self::RecordDeadLettered => "record_dead_lettered",
            Self::RecordDisposed => "record_disposed",
            Self::CancelRequested => "cancel_requested",
            Self::CompensationStarted => "compensation_started",
            Self::RunPaused => "run_paused",
            Self::RunResumed => "run_resumed",
            Self::FallbackStarted => "fallback_started",
            Self::TaskOpened => "task_opened",
            Self::TaskDecided => "task_decided",
            Self::StepPaused => "step_paused",
            Self::StepResumed => "step_resumed",
            Self::SignalReceived => "signal_received",
            Self::WaitCreated => "wait_created",
            Self::WaitExpired => "wait_expired",
            Self::ApprovalRequested => "approval_requested",
            Self::TaskExpired => "task_expired",
            Self::StepReused => "step_reused",
            Self::StepProbed => "step_probed",
            Self::RunStalled => "run_stalled",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Event {
    /// What happened, as one word.
    pub fn kind(&self) -> Kind {
        self.body.kind()
    }
}

impl Body {
    /// What happened, as one word.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Run(_, event) => event.kind(),
            Self::Step(_, _, event) => event.kind(),
            Self::Partition(event) => event.kind(),
        }
    }
}

impl RunEvent {
    /// What happened, as one word.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Created(_) => Kind::RunCreated,
            Self::Completed { .. } => Kind::RunCompleted,
            Self::Failed { .. } => Kind::RunFailed,
            Self::Cancelled { .. } => Kind::RunCancelled,
            Self::DecisionRecorded(_) => Kind::DecisionRecorded,
            Self::CancelRequested { .. } => Kind::CancelRequested,
            Self::CompensationStarted { .. } => Kind::CompensationStarted,
            Self::SignalReceived { .. } => Kind::SignalReceived,
            Self::Paused { .. } => Kind::RunPaused,
            Self::Resumed { .. } => Kind::RunResumed,
            Self::Stalled { .. } => Kind::RunStalled,
        }
    }
}

impl StepEvent {
    /// What happened, as one word.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Scheduled(_) => Kind::StepScheduled,
            Self::Started(_) => Kind::StepStarted,
            Self::Heartbeat { .. } => Kind::StepHeartbeat,
            Self::Completed { .. } => Kind::StepCompleted,
            Self::Failed { .. } => Kind::StepFailed,
            Self::Lost { .. } => Kind::StepLost,
            Self::RetryScheduled { .. } => Kind::StepRetryScheduled,
            Self::Deferred { .. } => Kind::StepDeferred,
            Self::Released { .. } => Kind::StepReleased,
            Self::Unknown { .. } => Kind::StepUnknown,
            Self::Resolved(_) => Kind::StepResolved,
            Self::Skipped { .. } => Kind::StepSkipped,
            Self::Cancelled { .. } => Kind::StepCancelled,
            Self::DeadLettered { .. } => Kind::StepDeadLettered,
            Self::Redriven { .. } => Kind::StepRedriven,
            Self::Discarded { .. } => Kind::StepDiscarded,
            Self::FaultInjected { .. } => Kind::FaultInjected,
            Self::FallbackStarted { .. } => Kind::FallbackStarted,
            Self::TaskOpened { .. } => Kind::TaskOpened,
            Self::TaskDecided { .. } => Kind::TaskDecided,
            Self::TaskExpired { .. } => Kind::TaskExpired,
            Self::Reused { .. } => Kind::StepReused,
            Self::Probed(_) => Kind::StepProbed,
            Self::ApprovalRequested { .. } => Kind::ApprovalRequested,
            Self::WaitCreated { .. } => Kind::WaitCreated,
            Self::WaitExpired => Kind::WaitExpired,
            Self::Paused { .. } => Kind::StepPaused,
            Self::Resumed { .. } => Kind::StepResumed,
        }
    }
}

impl PartitionEvent {
    /// What happened, as one word.
    pub fn kind(&self) -> Kind {
        match self {
            Self::OwnerClaimed(_) => Kind::OwnerClaimed,
            Self::RecordDeadLettered { .. } => Kind::RecordDeadLettered,
            Self::RecordDisposed { .. } => Kind::RecordDisposed,
        }
    }
}
