//! What a step is asked to do: tool, effect class, retry policy and time limits.

use crate::{Digest, Error, Payload, Result, limits};
use serde::{Deserialize, Serialize};

/// Who decides what a run does next. Fixed when the run is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// The run carries its steps; Spine runs them.
    Plan,
    /// An agent process owns the loop and calls the journal.
    Journal,
    /// An outside system reports facts; Spine executes nothing.
    Record,
}

/// What repeating a step may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Reads or computes only.
    Pure,
    /// The remote honours our idempotency key.
    Idempotent,
    /// The remote can be asked whether it happened.
    Probe,
    /// Repeating may hurt.
    #[default]
    AtMostOnce,
}

impl Effect {
    /// Whether an attempt without a known outcome must not be repeated by itself.
    pub fn is_careful(self) -> bool {
        match self {
            Self::Pure | Self::Idempotent => false,
            Self::Probe | Self::AtMostOnce => true,
        }
    }

    /// The name in plans and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Idempotent => "idempotent",
            Self::Probe => "probe",
            Self::AtMostOnce => "at_most_once",
        }
    }
}

/// What happens when the retry policy is exhausted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExhausted {
    /// The step goes to the dead-letter topic and its run waits.
    #[default]
    DeadLetter,
    /// The run fails.
    Fail,
    /// The step is left out, with the plan's default in place of its output, and the run ends degraded.
    Skip,
    /// The steps of its fallback take over, and the output of the last one is its own.
    Fallback,
    /// What the run has done is undone, the newest first, and the run fails.
    Compensate,
    /// Somebody is asked what to do.
    Escalate,
}

/// When a failed step is tried again. Data, copied into the step when it is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Charged attempts in all, the first one included.
    pub max_attempts: u32,
    /// Wait after the first failure.
    pub initial_ms: u64,
    /// Growth of the wait from one failure to the next.
    pub multiplier: f64,
    /// Longest wait.
    pub max_ms: u64,
    /// Part of the wait, 0 to 1, that varies by step and attempt.
    pub jitter: f64,
    /// No further attempt begins later than this after the first one; 0 is no limit.
    pub max_elapsed_ms: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 4,
            initial_ms: 200,
            multiplier: 2.0,
            max_ms: 60_000,
            jitter: 0.2,
            max_elapsed_ms: 0,
        }
    }
}

impl RetryPolicy {
    /// Checks the numbers of the policy.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the number by its path below `field`.
    pub fn check(&self, field: &str) -> Result<()> {
        let wrong =
            |name: &str, message: &str| Err(Error::invalid(format!("{field}.{name}"), message));
        if self.max_attempts == 0 || self.max_attempts > limits::MAX_ATTEMPTS {
            return wrong("max_attempts", "must be between 1 and 1000");
        }
        if !(1.0..=1000.0).contains(&self.multiplier) {
            return wrong("multiplier", "must be between 1 and 1000");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return wrong("jitter", "must be between 0 and 1");
        }
        if self.max_ms > limits::BACKOFF_MS || self.initial_ms > self.max_ms {
            return wrong("initial_ms", "must not be above max_ms, and max_ms at most 86400000");
        }
        if self.max_elapsed_ms > limits::DEADLINE_MS {
            return wrong("max_elapsed_ms", "must not be longer than a year");
        }
        Ok(())
    }
}

/// Default time-out of one attempt.
pub const TIMEOUT_MS: u64 = 30_000;
/// The same of an attempt by a worker: its lease tells sooner whether anybody is still at it.
pub const QUEUE_TIMEOUT_MS: u64 = 24 * 3600 * 1000;
/// Default deadline of a whole step, from its scheduling.
pub const DEADLINE_MS: u64 = 24 * 3600 * 1000;
/// Default time for which remotes are trusted to remember our key.
pub const KEY_TTL_MS: u64 = 23 * 3600 * 1000;
/// Default lease of an attempt of an agent or of a worker.
pub const LEASE_MS: u64 = 30_000;

/// A step as it was scheduled: everything that later decisions need, so that none is inferred.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSpec {
    /// `http(s)://…`, `queue:NAME`, `signal:NAME`, `sleep:MS`, `run`, or the caller's own name for the tool where Spine does not call it.
    pub tool: String,
    /// What the tool is given.
    pub input: Payload,
    /// What repeating may do.
    pub effect: Effect,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Start-to-close limit of one attempt, or the lease of a journal attempt.
    pub timeout_ms: u64,
    /// Schedule-to-start limit; 0 is none.
    pub schedule_to_start_ms: u64,
    /// Limit of the whole step from its scheduling; 0 is none.
    pub deadline_ms: u64,
    /// How long the remote remembers our idempotency key.
    pub key_ttl_ms: u64,
    /// What happens when retrying is over.
    pub on_exhausted: OnExhausted,
    /// HTTP statuses by which this tool says that nothing was applied.
    pub not_applied: Vec<u16>,
    /// How long somebody has to approve of each call; `None` where nobody is asked.
    pub approval_ms: Option<u64>,
    /// How to find out whether an attempt took effect, where the tool can be asked.
    pub probe: Option<Box<Probe>>,
    /// How many people have to approve of each call, where that is more than one.
    pub quorum: Option<u32>,
    /// How old the result of an equal call may be that is taken instead of calling; `None` for never.
    pub memo_ms: Option<u64>,
}

/// Where a tool is asked whether an attempt took effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// `http(s)://…`
    pub tool: String,
    /// Whether its "no" makes the key of the call void, so that a call that comes late has no effect.
    #[serde(default)]
    pub voids: bool,
}

/// What a step does when it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// A tool is called.
    Call,
    /// A signal of this name is awaited.
    Signal(&'a str),
    /// So many milliseconds pass.
    Sleep(u64),
    /// An outside worker does it that asks for work from the queue of this name.
    Queue(&'a str),
    /// Another run does it, which the plan knows.
    Run,
}

impl Act<'_> {
    /// Whether something outside acts, so that there are attempts, which may take effect. The others wait.
    pub fn acts(self) -> bool {
        match self {
            Self::Call | Self::Queue(_) | Self::Run => true,
            Self::Signal(_) | Self::Sleep(_) => false,
        }
    }
}

/// The queue that a tool's address names, if it is one.
pub fn queue_of(tool: &str) -> Option<&str> {
    tool.strip_prefix("queue:")
}

/// The tool of a step that is a run of its own.
pub const RUN_TOOL: &str = "run";

/// What a tool's address means.
pub fn act_of(tool: &str) -> Act<'_> {
    if let Some(name) = tool.strip_prefix("signal:") {
        return Act::Signal(name);
    }
    if let Some(name) = queue_of(tool) {
        return Act::Queue(name);
    }
    if tool == RUN_TOOL {
        return Act::Run;
    }
    match tool.strip_prefix("sleep:").map(str::parse) {
        Some(Ok(ms)) => Act::Sleep(ms),
        Some(Err(_)) | None => Act::Call,
    }
}

impl StepSpec {
    /// Digest of the exact call: what an approval is bound to.
    pub fn call_digest(&self, generation: u32, edit: u32) -> Digest {
        Digest::of_parts(&[
            self.tool.as_bytes(),
            &self.input.digest.0,
            self.input.content_type.as_bytes(),
            self.effect.as_str().as_bytes(),
            &generation.to_be_bytes(),
            &edit.to_be_bytes(),
        ])
    }

    /// A spec with the defaults, for a tool and its input.
    pub fn new(tool: impl Into<String>, effect: Effect, input: Payload) -> Self {
        Self {
            tool: tool.into(),
            input,
            effect,
            retry: RetryPolicy::default(),
            timeout_ms: TIMEOUT_MS,
            schedule_to_start_ms: 0,
            deadline_ms: DEADLINE_MS,
            key_ttl_ms: KEY_TTL_MS,
            on_exhausted: OnExhausted::default(),
            not_applied: Vec::new(),
            approval_ms: None,
            probe: None,
            quorum: None,
            memo_ms: None,
        }
    }
}
