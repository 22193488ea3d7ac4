//! Opening a store file: making a new one, or proving that it is ours and of this version.

use crate::{Error, Result, limits};
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};
use spine_runs::FOLD_VERSION;
use std::{path::Path, time::Duration};

/// Marks the file as a Spine store, for `file` and for us: "Spin".
const APPLICATION_ID: i32 = 0x5370_696e;
/// The form of tables and columns. Raise it with any change of `schema.sql` or of `form`.
const GENERATION: i32 = 1;

/// Where a store lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File(std::path::PathBuf),
    Memory,
}

/// The connection that writes; makes the store when there is none.
pub(super) fn writer(place: &Place, store_id: Option<&str>) -> Result<(Connection, String)> {
    let mut connection = match place {
        Place::File(path) => connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, true)?,
        Place::Memory => Connection::open_in_memory()?,
    };
    set_up(&connection, limits::WRITER_CACHE_KIB)?;
    if is_blank(&connection)? {
        create(&mut connection, store_id)?;
    }
    let store_id = check_identity(&connection, &name_of(place))?;
    // Only now: a file that is not ours has not been touched.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    let pages = limits::CHECKPOINT_BYTES / limits::SQLITE_PAGE_BYTES;
    connection.pragma_update(None, "wal_autocheckpoint", pages)?;
    connection.pragma_update(None, "journal_size_limit", limits::WAL_BYTES)?;
    Ok((connection, store_id))
}

/// The connection that fills an empty file, in a transaction that stays open. Nothing of it is a database
/// until that is committed; nothing is synced.
pub(super) fn filler(path: &Path) -> Result<(Connection, String)> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, true)?;
    // First: SQLite counts the cache in pages of the size that it knows by then.
    connection.pragma_update(None, "page_size", limits::SQLITE_PAGE_BYTES)?;
    set_up(&connection, limits::FILLER_CACHE_KIB)?;
    connection.pragma_update(None, "locking_mode", "exclusive")?;
    connection.pragma_update(None, "journal_mode", "off")?;
    connection.pragma_update(None, "synchronous", "off")?;
    connection.execute_batch("BEGIN EXCLUSIVE")?;
    make_tables(&connection, None)?;
    let store_id = check_identity(&connection, &path.display().to_string())?;
    Ok((connection, store_id))
}

/// Bounds the file to whole pages within `bytes`. Never below what it already holds.
pub(super) fn limit(connection: &Connection, bytes: u64) -> Result<()> {
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page;
    connection.pragma_update(None, "max_page_count", pages.max(1))?;
    Ok(())
}

/// A connection that reads what [`writer`] made.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, false)?;
    set_up(&connection, limits::READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// A connection that cannot write, to a store of any process.
pub(super) fn read_only(path: &Path) -> Result<(Connection, String)> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, false)?;
    set_up(&connection, limits::READER_CACHE_KIB)?;
    let store_id = check_identity(&connection, &path.display().to_string())?;
    Ok((connection, store_id))
}

fn connect(path: &Path, access: OpenFlags, create: bool) -> Result<Connection> {
    let mut flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    Connection::open_with_flags(path, flags).map_err(|error| {
        Error::Unavailable(format!("cannot open store {}: {error}", path.display()))
    })
}

fn set_up(connection: &Connection, cache_kib: i64) -> Result<()> {
    connection.busy_timeout(Duration::from_millis(limits::BUSY_TIMEOUT_MS))?;
    connection.set_prepared_statement_cache_capacity(limits::STATEMENTS);
    // A negative number means KiB instead of pages.
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(())
}

fn name_of(place: &Place) -> String {
    match place {
        Place::File(path) => path.display().to_string(),
        Place::Memory => "in memory".into(),
    }
}

fn is_blank(connection: &Connection) -> Result<bool> {
    let objects: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    Ok(objects == 0 && header(connection)? == (0, 0))
}

/// Application id and version from the file's header.
fn header(connection: &Connection) -> Result<(i32, i32)> {
    let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((application, version))
}

/// Makes all tables in one transaction: a crash leaves a blank file or a whole store.
fn create(connection: &mut Connection, store_id: Option<&str>) -> Result<()> {
    connection.pragma_update(None, "page_size", limits::SQLITE_PAGE_BYTES)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !is_blank(&transaction)? {
        // Another process was faster; its store is checked next.
        return Ok(());
    }
    make_tables(&transaction, store_id)?;
    transaction.commit()?;
    Ok(())
}

/// The tables of an empty store, and what it is.
fn make_tables(connection: &Connection, store_id: Option<&str>) -> Result<()> {
    connection.execute_batch(include_str!("schema.sql"))?;
    let store_id = match store_id {
        Some(given) => given.to_owned(),
        None => connection.query_row("SELECT lower(hex(randomblob(16)))", [], |r| r.get(0))?,
    };
    let mut insert = connection.prepare("INSERT INTO meta (name, value) VALUES (?1, ?2)")?;
    insert.execute(params!["store_id", store_id])?;
    insert.execute(params!["generation", GENERATION.to_string()])?;
    insert.execute(params!["fold_version", FOLD_VERSION.to_string()])?;
    drop(insert);
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", GENERATION)?;
    Ok(())
}

/// Refuses what is not a store of this version; gives the store's identity.
fn check_identity(connection: &Connection, name: &str) -> Result<String> {
    let (application, generation) = header(connection)?;
    if application != APPLICATION_ID {
        return Err(Error::Refused(format!(
            "open {name}: it is not a Spine store; choose another file, or remove it if it is not needed"
        )));
    }
    if generation != GENERATION {
        return Err(Error::Refused(format!(
            "open store {name}: it has generation {generation}, this version uses {GENERATION}; \
             remove the file: it is rebuilt from the log"
        )));
    }
    let fold_version = meta(connection, "fold_version")?;
    if fold_version != FOLD_VERSION.to_string() {
        return Err(Error::Refused(format!(
            "open store {name}: it was folded by rules {fold_version}, this version uses \
             {FOLD_VERSION}; remove the file: it is rebuilt from the log"
        )));
    }
    meta(connection, "store_id")
}

fn meta(connection: &Connection, name: &str) -> Result<String> {
    let value: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
        .optional()?;
    value.ok_or_else(|| Error::Damaged(format!("meta has no {name}")))
}
