//! What can stop an owner, and what must be done about it.

use thiserror::Error;

/// The result of an owner's work.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an owner stopped.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The log failed. Retryable if the log says so.
    #[error("log: {0}")]
    Log(#[from] spine_log::Error),
    /// The store failed. Retryable if the store says so; when it lost its place, start anew.
    #[error("store: {0}")]
    Store(#[from] spine_store::Error),
    /// The log is not the one that the store was folded from, or lacks its end. A person must
    /// choose: bring the right log, or remove the store, or claim the log as restored.
    #[error("{0}")]
    RolledBack(String),
    /// Records were written by a newer Spine. Install that version; nothing was skipped.
    #[error("partition {partition} holds an event of a newer version at offset {offset}: {what}")]
    Newer {
        /// The partition.
        partition: u32,
        /// The offset.
        offset: u64,
        /// What is newer.
        what: String,
    },
    /// A record of ours could not be encoded: a mistake in Spine.
    #[error("event refused by the codec: {0}")]
    Encode(String),
}

impl Error {
    /// Whether the owner may simply start again after a pause.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Log(error) => error.is_retryable(),
            Self::Store(spine_store::Error::Lost { .. }) => true,
            Self::Store(error) => error.is_retryable(),
            Self::RolledBack(_) | Self::Newer { .. } | Self::Encode(_) => false,
        }
    }
}
