//! The seam to the owner of a partition: what became of the request at a position.
//!
//! The command line wires it to the workers of this process, and to those of others; this crate never
//! sees either.

use serde::{Deserialize, Serialize};
use spine_runs::Verdict;
use spine_store::Progress;
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

    /// The same, from this process alone: what another one asks for is never forwarded again.
    ///
    /// # Errors
    /// As [`Self::wait`], and [`VerdictError::NotOwner`].
    fn wait_here(
        &self,
        partition: u32,
        offset: u64,
    ) -> impl Future<Output = Result<Verdict, VerdictError>> + Send;

    /// Lets a partition go on that was stopped by a flood of bad records. Gives the offset at which
    /// it stood.
    ///
    /// # Errors
    /// [`VerdictError::NotOwner`], [`VerdictError::NotStopped`].
    fn resume(&self, partition: u32, actor: &str, reason: &str) -> Result<u64, VerdictError>;

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
    /// Another process owns the partition. Ask there, if it is known.
    #[error("this process does not own the partition")]
    NotOwner(Option<ClaimHolder>),
    /// The partition was not stopped.
    #[error("the partition was not stopped")]
    NotStopped,
}

/// Who claimed a partition, as far as this process knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimHolder {
    /// Offset of the claim.
    pub claim: u64,
    /// Where it can be reached, as `host:port`.
    pub address: String,
}

impl ClaimHolder {
    /// The one in a stored state.
    pub fn of(progress: &Progress) -> Option<Self> {
        let state = progress.partition_state.claim.as_ref()?;
        Some(Self { claim: state.offset, address: state.claim.address.clone() })
    }

    /// The newest claim, once the store was asked. A process may have folded a newer one than the store has, or an
    /// older one.
    pub fn newest(stored: Option<&Progress>, folded: Option<Self>) -> Option<Self> {
        let stored = stored.and_then(Self::of);
        stored.into_iter().chain(folded).max_by_key(|holder| holder.claim)
    }
}
