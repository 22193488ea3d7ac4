//! What an event is: typed events, their Avro and JSON forms, identities and limits.
//!
//! What events *mean* is decided in `runs`; where they are kept, in `log`. This crate knows neither.

#[cfg(any(test, feature = "arbitrary"))]
pub mod arbitrary;
pub mod canonical;
mod check;
pub mod codec;
pub mod compat;
pub mod control;
mod error;
mod event;
mod failure;
pub mod fault_points;
mod finding;
mod fit;
mod fork;
mod ids;
pub mod json;
pub mod keys;
mod kind;
mod letter;
mod lifecycle;
pub mod limits;
pub mod mutants;
pub mod payload;
mod plan;
pub mod spec;
pub mod time;
mod wire;

pub use error::{Error, Result};
pub use event::{
    BatchItem, Body, Caller, Claim, Decision, Event, InputEdit, Op, PartitionEvent, Resolution,
    RunCreated, RunEvent, StepEvent, StepStarted, TaskVerdict, Then, Trace, Usage,
};
pub use failure::{ErrorClass, Fault, HeldBy, RecordClass, StepError};
pub use finding::{Finding, Found};
pub use fork::Fork;
pub use ids::{Digest, RunKey, StepKey, check_id, check_tenant};
pub use kind::Kind;
pub use letter::{DeadLetter, LetterAttempt, LetterSource};
pub use lifecycle::{LifecyclePosition, LifecycleRecord, Transition};
pub use payload::{Output, Payload};
pub use plan::{
    Approval, BRAIN_ANSWER, BRAIN_DROPPED, BRAIN_FAILED, BRAIN_SCOPE, Brain, BrainEnd, Child,
    OnDeadline, Plan, PlanFault, PlanStep, Role, UNDO_SCOPE, ask_key, kept_state,
};
pub use spec::{Driver, Effect, OnExhausted, Probe, RetryPolicy, StepSpec};
