//! What runs and steps wait for.

use serde::{Deserialize, Serialize};
use spine_schemas::{HeldBy, StepKey, time::Micros};

/// What a step awaits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitRef {
    /// The signal; `None` where only time is awaited.
    pub signal: Option<String>,
    /// Until when.
    pub until: Micros,
    /// Offset of the event that began it; of two waits the older one gets the signal.
    pub offset: u64,
}

/// What holds a step back that may start otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What does.
    pub by: HeldBy,
    /// Log time from which on it does.
    pub at: Micros,
    /// The earliest time at which it may end, as far as was known then.
    pub until: Micros,
}

/// A named wait of an open run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What for.
    pub wait_for: WaitKind,
    /// Of which step, if one.
    pub step: Option<StepKey>,
    /// Until when, if a timer runs.
    pub until: Option<Micros>,
}

/// What an open run or step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitKind {
    /// The owner will start or decide at once.
    Owner,
    /// A running attempt.
    Attempt,
    /// The next attempt's time.
    Retry,
    /// The end of a free deferral.
    Deferral,
    /// Somebody who finds out whether an attempt took effect.
    Resolution,
    /// The tool, which is asked whether an attempt took effect.
    Probe,
    /// Whoever forks a run: not all finished steps are here.
    Fork,
    /// An operator who redrives or discards a letter.
    DeadLetter,
    /// Somebody who decides what is to be done.
    Task,
    /// Somebody who approves of a call.
    Approval,
    /// A signal from outside.
    Signal,
    /// A time.
    Sleep,
    /// The steps that stand in for it.
    Fallback,
    /// The tool, whose circuit breaker is open.
    Breaker,
    /// The end of the pause that the tool asked for.
    RateLimit,
    /// Somebody who ends the pause of its tool.
    ToolPaused,
    /// Somebody who ends the pause of its tenant.
    TenantPaused,
    /// Somebody who ends the pause.
    Paused,
    /// A worker that asks for work from the step's queue.
    Worker,
    /// The run that its attempt is.
    Child,
    /// The agent that drives the run.
    Client,
    /// The outside system that reports the run.
    Reporter,
}
