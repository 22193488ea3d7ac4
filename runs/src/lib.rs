//! What events mean: fold, decide and retry as pure functions over the state of runs.
//!
//! No I/O, no clock, no tokio. Time and identity come in as values, so that any history can be
//! folded again with the same result.

mod state;
mod waits;

pub use state::{
    Answer, AttemptEnd, AttemptState, BatchProgress, ClaimState, FOLD_VERSION, Holder, LetterRef,
    Live, OpAnswer, PartitionState, Reason, RunState, RunStatus, Session, StepState, StepStatus,
    Totals, Wait, WaitKind,
};
pub use waits::StepCounts;
