//! Why steps fail and why records are set aside: closed sets, so that every use is exhaustive.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why an attempt failed. What follows from each is one row in `runs::retry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// Passing trouble: may work when tried again.
    Transient,
    /// The remote asked for a pause (429, or 503 with `Retry-After`).
    RateLimited,
    /// The attempt ran into its time-out.
    Timeout,
    /// The worker that ran the attempt is gone.
    Lost,
    /// Trying again cannot help.
    Terminal,
    /// Input or output broke the tool's contract.
    Contract,
    /// A policy said no.
    Policy,
    /// A budget said no.
    Budget,
    /// Sent, no answer, and not safe to repeat.
    UnknownOutcome,
    /// The same identity came with other content.
    NonDeterminism,
    /// A value is over its limit.
    TooLarge,
    /// Cancelled before it ended.
    Cancelled,
}

impl ErrorClass {
    /// The name in events, letters and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Lost => "lost",
            Self::Terminal => "terminal",
            Self::Contract => "contract",
            Self::Policy => "policy",
            Self::Budget => "budget",
            Self::UnknownOutcome => "unknown_outcome",
            Self::NonDeterminism => "non_determinism",
            Self::TooLarge => "too_large",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a record was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordClass {
    /// Its bytes are not a legal event.
    Decode,
    /// Its schema never turned up.
    SchemaUnknown,
    /// Its key belongs to another partition.
    WrongPartition,
    /// Its event is not allowed in the state that the log had reached.
    IllegalEvent,
}

impl RecordClass {
    /// The name in events, letters and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::SchemaUnknown => "schema_unknown",
            Self::WrongPartition => "wrong_partition",
            Self::IllegalEvent => "illegal_event",
        }
    }
}

impl fmt::Display for RecordClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The error of one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// What follows from it.
    pub class: ErrorClass,
    /// A stable code for grouping, for example `http_503`.
    pub code: String,
    /// For people; at most [`crate::limits::MESSAGE_BYTES`] bytes.
    pub message: String,
    /// How long the remote asked us to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Whether the attempt spends no budget although its class would: the tool was known to be down.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub free: bool,
}

impl StepError {
    /// An error without a wish for a pause. A message over its limit is cut and marked.
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        let mut message = message.into();
        crate::fit::cut(&mut message, crate::limits::MESSAGE_BYTES);
        Self { class, code: code.into(), message, retry_after_ms: None, free: false }
    }
}

/// What holds steps back that call a tool, whatever their own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBy {
    /// The circuit breaker of the tool.
    Breaker,
    /// The tool asked for a pause.
    RateLimit,
    /// An operator paused the tool.
    ToolPaused,
    /// An operator paused the tenant.
    TenantPaused,
    /// Nothing but that no worker has asked for it: what held it back before is over.
    Worker,
}

impl HeldBy {
    /// The name in events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            Self::RateLimit => "rate_limit",
            Self::ToolPaused => "tool_paused",
            Self::TenantPaused => "tenant_paused",
            Self::Worker => "worker",
        }
    }
}

/// A fault that a plan injects on a test tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The attempt ends as if the tool had not answered in time; the tool is not called.
    Timeout,
    /// The attempt ends as if the tool had answered 503; the tool is not called.
    Transient,
    /// The attempt ends as if the tool had refused for good; the tool is not called.
    Terminal,
}

impl Fault {
    /// The name in plans and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Transient => "transient",
            Self::Terminal => "terminal",
        }
    }
}
