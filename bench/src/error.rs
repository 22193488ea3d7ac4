//! Why a benchmark could not be run. Slow is not an error.

use std::io;

/// What a benchmark fails with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine refused something: a file, a socket, a process. Look at the cause.
    #[error("could not {what}: {source}")]
    Machine {
        /// What was tried, as the end of "could not …".
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A server that is measured did not do its work: it ended, was not ready, or refused a request. Its
    /// own log says why.
    #[error("{0}")]
    Server(String),
    /// A peer or a ceiling could not be run. The job can be left out.
    #[error("{0}")]
    Peer(String),
    /// The log could not be opened or used.
    #[error("log: {0}")]
    Log(#[from] spine_log::Error),
    /// The store could not be opened or used.
    #[error("store: {0}")]
    Store(#[from] spine_store::Error),
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what was tried when the machine refused.
pub(crate) fn tried<T>(what: impl Into<String>, result: io::Result<T>) -> Result<T> {
    result.map_err(|source| Error::Machine { what: what.into(), source })
}
