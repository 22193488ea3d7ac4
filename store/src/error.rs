//! What can go wrong with a store, and what the caller should do.

use thiserror::Error;

/// The result of a store operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed store operation.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// Progress is not what the batch expected: another owner wrote. Nothing was written; stop
    /// deciding and claim again.
    #[error("progress of partition {partition} is {found:?}, expected {expected:?}")]
    Lost {
        /// The partition.
        partition: u32,
        /// Offset that the batch expected.
        expected: Option<u64>,
        /// Offset that is stored.
        found: Option<u64>,
    },
    /// The store cannot be used now. Try again with back-off; nothing is dead-lettered for it.
    #[error("store unavailable: {0}")]
    Unavailable(String),
    /// The store is of another generation or version, or not a store. Fix the set-up, or remove
    /// it: it is rebuilt from the log.
    #[error("{0}")]
    Refused(String),
    /// A stored row cannot be read back. Remove the store: it is rebuilt from the log.
    #[error("damaged row: {0}")]
    Damaged(String),
    /// A cursor or filter that this store did not hand out. A mistake of the caller.
    #[error("{0}")]
    BadQuery(String),
}

impl Error {
    /// Whether the same call may succeed later without anybody's help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Lost { .. } | Self::Refused(_) | Self::Damaged(_) | Self::BadQuery(_) => false,
        }
    }
}
