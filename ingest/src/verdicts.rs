//! The seam to the owner of a partition: what became of the request at a position.
//!
//! The command line wires it to the workers of this process; this crate never sees them.

use spine_runs::Verdict;
use std::future::Future;
use thiserror::Error;

/// Answers for the owners of all partitions.
pub trait Verdicts: Clone + Send + Sync + 'static {
    /// The fold's verdict on the request at a position. Waits until it is folded.
    ///
    /// # Errors
    /// [`VerdictError::Unavailable`] after the deadline, [`VerdictError::Forgotten`] long after.
    /// The request stays in the log and is answered when it is sent again.
    fn wait(
        &self,
        partition: u32,
        offset: u64,
    ) -> impl Future<Output = Result<Verdict, VerdictError>> + Send;

    /// Waits until the store's progress of a partition has reached an offset.
    ///
    /// # Errors
    /// [`VerdictError::Unavailable`] after the deadline.
    fn stored(
        &self,
        partition: u32,
        offset: u64,
    ) -> impl Future<Output = Result<(), VerdictError>> + Send;

    /// Whether every partition has an owner that has caught up.
    ///
    /// # Errors
    /// Says what is missing.
    fn ready(&self) -> Result<(), String>;

    /// Whether a tool may be called, so that a plan is refused at the door.
    ///
    /// # Errors
    /// Says what is wrong and how to allow it.
    fn check_tool(&self, tool: &str) -> Result<(), String>;
}

/// Why there is no verdict.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerdictError {
    /// Not folded, or not stored, within the deadline. Ask again; nothing is lost.
    #[error("{0}")]
    Unavailable(String),
    /// Folded long ago and no longer remembered by the owner. The store has the refusals; what was
    /// asked under an id or an `op_id` gets its answer when it is sent again.
    #[error("the verdict is no longer remembered")]
    Forgotten,
}
