//! What SQLite's errors mean for the caller of a store.

use crate::Error;
use rusqlite::ErrorCode;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(code) => of_code(code, error.to_string()),
            // A value of another type than the column's, which a strict table does not take.
            None => Self::Damaged(error.to_string()),
        }
    }
}

fn of_code(code: ErrorCode, message: String) -> Error {
    match code {
        ErrorCode::NotADatabase => Error::Refused(format!(
            "open the store: {message}; if the file is meant to be a store, remove it: \
             it is rebuilt from the log"
        )),
        // A full disk, a lock or a failed read passes, or a person makes it pass.
        ErrorCode::DiskFull
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::SystemIoFailure
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory
        | ErrorCode::PermissionDenied
        | ErrorCode::ReadOnly
        | ErrorCode::OperationAborted
        | ErrorCode::OperationInterrupted
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::NoLargeFileSupport
        | ErrorCode::SchemaChanged => Error::Unavailable(message),
        // Somebody changed the file, or we have a bug: either way the rows cannot be trusted.
        ErrorCode::DatabaseCorrupt
        | ErrorCode::InternalMalfunction
        | ErrorCode::NotFound
        | ErrorCode::TooBig
        | ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::ApiMisuse
        | ErrorCode::AuthorizationForStatementDenied
        | ErrorCode::ParameterOutOfRange
        | ErrorCode::Unknown => Error::Damaged(message),
        // The enum is open: what a later SQLite adds is looked at by a person.
        other => Error::Damaged(format!("{other:?}: {message}")),
    }
}
