//! What events mean: fold, decide and retry as pure functions over the state of runs.
//!
//! No I/O, no clock, no tokio. Time and identity come in as values, so that any history can be
//! folded again with the same result.

#![deny(clippy::wildcard_enum_match_arm)]

mod ahead;
mod answer;
pub mod brain;
pub mod breaker;
mod child;
mod controls;
mod decide;
mod diff;
mod fallback;
pub mod fold;
mod fork;
mod granted;
mod input;
mod kept;
pub mod limits;
mod memo;
mod probe;
pub mod retry;
mod slots;
mod stall;
mod state;
mod steps;
mod stream;
mod trouble;
mod undo;
mod unresolved;
mod waits;
mod wake;
mod weight;
mod why;

pub use ahead::{Batch, Stamp, ahead, is_outcome};
pub use answer::{Answer, Reason};
pub use child::{messages, messages_again};
pub use controls::{Controls, ToolControl};
pub use decide::{Decided, Owner, decide};
pub use diff::{Differs, RunDiff, StepDiff, diff};
pub use fold::{Place, Verdict, fold, refold};
pub use fork::{AgainStep, Because, Forked, Happened, ReusedStep, forked};
pub use granted::GrantedStep;
pub use memo::Memo;
pub use probe::{ProbeAnswer, finding, probes_due, quiet_after_ms};
pub use slots::{Bounds, Busy, Grant, HeldAt, Hold, Holds, Lack, Leased, Rest, Slots};
pub use state::{
    AttemptEnd, AttemptState, BatchProgress, CancelRequest, ClaimState, FOLD_VERSION, Held, Holder,
    LetterRef, Live, OpAnswer, PartitionState, Pause, Probing, RunState, RunStatus, Session,
    Signal, Stall, StepState, StepStatus, Still, TaskRef, Totals, Undo, Wait, WaitKind, WaitRef,
};
pub use steps::{StepMut, Steps};
pub use stream::{NotLive, Part, Said, Speakers};
pub use trouble::{Cause, Trouble, troubles};
pub use waits::StepCounts;
pub use wake::{stall_at, wake_at};
pub use why::{Why, approved_so_far, why};

#[cfg(test)]
mod tests;
