//! What the driver's and the servers' errors mean for the caller of a store.

use crate::Error;
use scylla::errors::{DbError, ExecutionError, NewSessionError, PrepareError, RequestAttemptError};

/// Whether the same request may succeed in a moment: every write is idempotent.
pub(super) fn passes(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => {
            passes_on_server(error)
        }
        ExecutionError::BadQuery(_) | ExecutionError::UseKeyspaceError(_) => false,
        ExecutionError::PrepareError(_)
        | ExecutionError::EmptyPlan
        | ExecutionError::ConnectionPoolError(_)
        | ExecutionError::LastAttemptError(_)
        | ExecutionError::RequestTimeout(_)
        | ExecutionError::SchemaAgreementError(_)
        | ExecutionError::MetadataError(_) => true,
        // The enum is open: what a later driver adds is tried again, within the same bound.
        _ => true,
    }
}

fn passes_on_server(error: &DbError) -> bool {
    match error {
        DbError::Unavailable { .. }
        | DbError::Overloaded
        | DbError::IsBootstrapping
        | DbError::TruncateError
        | DbError::ReadTimeout { .. }
        | DbError::WriteTimeout { .. }
        | DbError::ReadFailure { .. }
        | DbError::WriteFailure { .. }
        | DbError::Unprepared { .. }
        | DbError::ServerError
        | DbError::RateLimitReached { .. } => true,
        DbError::SyntaxError
        | DbError::Invalid
        | DbError::AlreadyExists { .. }
        | DbError::FunctionFailure { .. }
        | DbError::AuthenticationError
        | DbError::Unauthorized
        | DbError::ConfigError
        | DbError::ProtocolError
        | DbError::Other(_) => false,
        _ => true,
    }
}

/// A request that failed for good, or for longer than we try.
pub(super) fn of_request(what: &str, error: &ExecutionError) -> Error {
    if passes(error) {
        return Error::Unavailable(format!("{what}: {error}"));
    }
    match error {
        // A value that does not fit its column: a row of ours, so a bug or a changed table.
        ExecutionError::BadQuery(_) => Error::Damaged(format!("{what}: {error}")),
        _ => Error::Refused(format!(
            "{what}: {error}; if the keyspace was changed or removed, replay the log into a fresh one"
        )),
    }
}

pub(super) fn of_prepare(what: &str, error: PrepareError) -> Error {
    match error {
        PrepareError::AllAttemptsFailed {
            first_attempt: RequestAttemptError::DbError(db, text),
        } if !passes_on_server(&db) => Error::Refused(format!(
            "{what}: {db}: {text}; the keyspace is not a store of this version: replay the log \
             into a fresh one"
        )),
        other => Error::Unavailable(format!("{what}: {other}")),
    }
}

pub(super) fn of_session(name: &str, error: &NewSessionError) -> Error {
    Error::Unavailable(format!("open {name}: {error}"))
}

/// Rows that the driver cannot read: not what this version asked for.
pub(super) fn of_rows(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Damaged(format!("{what}: {error}"))
}

/// Whether a statement failed because another process had made the same thing before.
pub(super) fn exists_already(error: &ExecutionError) -> bool {
    matches!(
        error,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::AlreadyExists { .. },
            _
        ))
    )
}
