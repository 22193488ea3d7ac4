//! The seam to the owners of queued steps: what workers ask for, and what they are granted.
//!
//! The command line wires it to the owners of this process, and to those of others; this crate never sees
//! either.

use futures::future::BoxFuture;
use serde_json::value::RawValue;
use spine_runs::GrantedStep;
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

/// A granted step.
#[derive(Clone, Debug)]
pub enum Leased {
    /// By an owner of this process.
    Here(Box<GrantedStep>),
    /// By one of another process, in the JSON that it answered with.
    Elsewhere(Box<RawValue>),
}

/// The owners, as workers ask them.
pub trait Leases: Send + Sync + 'static {
    /// Steps that are granted as soon as there are any; none when the time to wait is over. When the
    /// caller goes before the answer, what was granted is given back where that is still possible.
    fn lease(&self, poll: Poll) -> BoxFuture<'_, Vec<Leased>>;
}
