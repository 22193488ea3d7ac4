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

#[cfg(test)]
mod tests {
    use crate::Error;
    use rusqlite::Connection;
    use std::time::Duration;

    fn outcome(done: rusqlite::Result<()>) -> Error {
        Error::from(done.unwrap_err())
    }

    #[test]
    fn a_lock_is_unavailable() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Connection::open(dir.path().join("a.sqlite")).unwrap();
        let (holder, waiter) = (open(), open());
        waiter.busy_timeout(Duration::ZERO).unwrap();
        holder.execute_batch("CREATE TABLE t (x); BEGIN EXCLUSIVE").unwrap();
        let error = outcome(waiter.execute_batch("INSERT INTO t VALUES (1)"));
        assert!(matches!(error, Error::Unavailable(_)) && error.is_retryable(), "{error}");
    }

    #[test]
    fn a_corrupt_page_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sqlite");
        let made = Connection::open(&path).unwrap();
        made.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(20000))").unwrap();
        drop(made);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096..].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let error = outcome(Connection::open(&path).unwrap().execute_batch("DELETE FROM t"));
        assert!(matches!(error, Error::Damaged(_)) && !error.is_retryable(), "{error}");
    }

    #[test]
    fn a_value_of_another_type_is_damage() {
        let memory = Connection::open_in_memory().unwrap();
        let read = memory.query_row("SELECT 'x'", [], |row| row.get::<_, i64>(0));
        assert!(matches!(Error::from(read.unwrap_err()), Error::Damaged(_)));
    }
}
