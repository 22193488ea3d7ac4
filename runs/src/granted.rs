//! What a worker of a queue gets with a step: the lease that it may end it by, and all that it needs to do it.
//! Whose turn it is the owner decides; how it is asked for over HTTP is the receiving side's.

use spine_schemas::{Digest, Effect, Payload, RunKey, StepKey, time::Micros};

/// A step that a worker was granted.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantedStep {
    /// The partition of its run.
    pub partition: u32,
    /// Its run.
    pub run: RunKey,
    /// Itself.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The lease: the offset of the start.
    pub offset: u64,
    /// When it ends unless a heartbeat comes.
    pub until: Micros,
    /// The key under which the worker's remotes do it at most once.
    pub idempotency_key: Digest,
    /// The step's input.
    pub input: Payload,
    /// What repeating may do.
    pub effect: Effect,
    /// How long the attempt may take in all.
    pub timeout_ms: u64,
    /// W3C trace context to pass on.
    pub traceparent: String,
}
