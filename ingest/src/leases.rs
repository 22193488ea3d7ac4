//! The seam to the owners of queued steps: what workers ask for, and what they are granted.
//!
//! The command line wires it to the owners of this process, and to those of others; this crate never sees
//! either.

use futures::future::BoxFuture;
use serde_json::value::RawValue;
use spine_schemas::{Digest, Effect, Payload, RunKey, StepKey, time::Micros};
use std::{collections::BTreeSet, time::Duration};

/// What a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The queue.
    pub queue: String,
    /// Its name.
    pub worker: String,
    /// Most steps that it takes.
    pub max: usize,
    /// How long it has each without a heartbeat.
    pub lease_ms: u64,
    /// The tenants whose steps it takes; `None` for all.
    pub tenants: Option<BTreeSet<String>>,
    /// How long it waits while there is nothing.
    pub wait: Duration,
    /// Whether the owners of this process alone are asked: what another process asks for is never
    /// forwarded again.
    pub here: bool,
}

/// A step that a worker was granted by an owner of this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// The partition of its run.
    pub partition: u32,
    /// Its run.
    pub run: RunKey,
    /// Itself.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The offset of its start.
    pub offset: u64,
    /// When the lease ends unless a heartbeat comes.
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

/// A granted step.
#[derive(Clone, Debug)]
pub enum Leased {
    /// By an owner of this process.
    Here(Box<Granted>),
    /// By one of another process, in the JSON that it answered with.
    Elsewhere(Box<RawValue>),
}

/// The owners, as workers ask them.
pub trait Leases: Send + Sync + 'static {
    /// Steps that are granted as soon as there are any; none when the time to wait is over. When the
    /// caller goes before the answer, what was granted is given back where that is still possible.
    fn lease(&self, poll: Poll) -> BoxFuture<'_, Vec<Leased>>;
}
