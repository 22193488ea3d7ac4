//! What can go wrong with a log, and what the caller should do.

use thiserror::Error;

/// The result of a log operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed log operation.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// Too many appends wait already. Nothing was appended: try again after a pause.
    #[error("the append queue is full")]
    Busy,
    /// No space for new work. Nothing was appended: make room on the disk, then try again.
    #[error("no space left for new work on {path} ({free_bytes} bytes free)")]
    Full {
        /// The directory of the log.
        path: String,
        /// Free bytes that were seen.
        free_bytes: u64,
    },
    /// A record or a batch is over its limit. Never try it again as it is.
    #[error("{what} of {actual_bytes} bytes is over the limit of {limit_bytes}")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// Its size.
        actual_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The topic, partition or offset does not exist. A mistake of the caller or of configuration.
    #[error("{0} does not exist")]
    Missing(String),
    /// Stored bytes are not what was written. Stop and restore; the message names file and offset.
    #[error("{0}")]
    Damaged(String),
    /// Another process owns the directory, or it was made by another version. Fix the set-up.
    #[error("{0}")]
    Refused(String),
    /// Durability is no longer certain; the log takes nothing until it is opened again. It is not
    /// known whether the batch will be there then.
    #[error("the log stopped after a failed sync: {0}")]
    Poisoned(String),
    /// The outcome is not known, or the log cannot be reached. Claim again before deciding.
    #[error("{0}")]
    Unavailable(String),
}

impl Error {
    /// Whether the same call may succeed later without anybody's help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Busy | Self::Full { .. } | Self::Unavailable(_) => true,
            Self::TooLarge { .. }
            | Self::Missing(_)
            | Self::Damaged(_)
            | Self::Refused(_)
            | Self::Poisoned(_) => false,
        }
    }

    /// Whether the batch may have been appended although the call failed.
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Poisoned(_) | Self::Unavailable(_) => true,
            Self::Busy
            | Self::Full { .. }
            | Self::TooLarge { .. }
            | Self::Missing(_)
            | Self::Damaged(_)
            | Self::Refused(_) => false,
        }
    }
}
