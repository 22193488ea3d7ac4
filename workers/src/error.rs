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
    /// Another store than ours follows this log, and each of the two would see half of what
    /// happens. A person must choose: stop this server, or take over from one that is gone for good.
    #[error(
        "partition {partition} is claimed by worker {worker} with the store {store_id}, and this \
         server's store {own} belongs to this server alone: two such servers on one log would \
         undo each other's claims. Once that server is gone for good, start with --take-over"
    )]
    OtherStore {
        /// The partition.
        partition: u32,
        /// The store of whoever holds the claim.
        store_id: String,
        /// Who holds it.
        worker: String,
        /// Our store.
        own: String,
    },
    /// The topic has another number of partitions than its owners claimed. A person must restore
    /// the topic, or replay it under a new log.
    #[error(
        "partition count changed from {from} to {to}: run ids would move to other partitions. \
         Restore the topic with {from} partitions, or replay it under a new log"
    )]
    PartitionsChanged {
        /// As it was claimed.
        from: u32,
        /// As it is now.
        to: u32,
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
            Self::RolledBack(_)
            | Self::Newer { .. }
            | Self::OtherStore { .. }
            | Self::PartitionsChanged { .. }
            | Self::Encode(_) => false,
        }
    }
}
