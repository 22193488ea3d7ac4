//! A batch is in the store as a whole or not at all, whatever ends the process.

use crate::story::{self, BATCH, apply_all, batches};
use rusqlite::Connection;
use spine_store::{
    Error, RunStore,
    sqlite::{Options, SqliteStore, compare, open_read_only},
};
use tempfile::TempDir;

/// Cuts the write-ahead log at many places, as a loss of power may, and goes on from what is left.
#[tokio::test]
async fn any_cut_of_the_write_ahead_log_leaves_whole_batches() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("whole.sqlite");
    let batches = batches(12);
    let store = SqliteStore::open(&Options::inline_file(&path, "s1")).unwrap();
    let _reader = without_checkpoints(&path);
    apply_all(&store, &batches).await;
    let length = std::fs::metadata(story::wal(&path)).unwrap().len();
    let mut seen = std::collections::BTreeSet::new();
    for cut in 0..=30 {
        let torn = dir.path().join(format!("torn{cut}.sqlite"));
        story::copy(&path, &torn);
        let file = std::fs::OpenOptions::new().write(true).open(story::wal(&torn)).unwrap();
        file.set_len(length * cut / 30).unwrap();
        let done = check_whole_batches(&torn).await;
        seen.insert(done);
        let again = SqliteStore::open(&Options::inline_file(&torn, "s1")).unwrap();
        apply_all(&again, &batches[done as usize..]).await;
        drop(again);
        let comparison = compare(&path, &torn, 10).unwrap();
        assert!(comparison.is_equal(), "cut {cut}: {:#?}", comparison.differences);
    }
    assert!(seen.len() > 6, "the cuts fell between many batches: {seen:?}");
    assert!(seen.contains(&12), "nothing was lost without a cut");
}

/// A reader of the empty store. While it reads, nothing is copied from the write-ahead log into the file: what
/// is copied was synced before, and no loss of power takes it away again.
fn without_checkpoints(path: &std::path::Path) -> Connection {
    let reader = Connection::open(path).unwrap();
    reader.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_master").unwrap();
    reader
}

/// How many batches are there.
async fn check_whole_batches(path: &std::path::Path) -> u64 {
    let raw = Connection::open(path).unwrap();
    let count = |sql: &str| raw.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let done = count("SELECT coalesce(max(log_offset) + 1, 0) FROM progress") / BATCH;
    assert_eq!(count("SELECT count(*) FROM events"), done * BATCH);
    assert_eq!(count("SELECT count(*) FROM run_specs"), done);
    assert_eq!(count("SELECT count(*) FROM dead_letters"), done);
    assert_eq!(count("SELECT count(*) FROM dead_letters WHERE status = 'open'"), done.min(1));
    done
}

/// An error in the middle of a batch takes back all that the batch had written before.
#[tokio::test]
async fn a_failure_inside_a_batch_leaves_nothing_of_it() {
    let dir = TempDir::new().unwrap();
    let (path, clean) = (dir.path().join("a.sqlite"), dir.path().join("b.sqlite"));
    let batches = batches(4);
    let store = SqliteStore::open(&Options::file(&path)).unwrap();
    let undisturbed = SqliteStore::open(&Options::file(&clean)).unwrap();
    apply_all(&store, &batches[..2]).await;
    apply_all(&undisturbed, &batches[..2]).await;
    let raw = Connection::open(&path).unwrap();
    for table in ["runs", "steps", "events", "dead_letters"] {
        let fail = format!(
            "CREATE TRIGGER fail BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'planted'); END"
        );
        raw.execute_batch(&fail).unwrap();
        let failed = store.apply(batches[2].clone()).await;
        assert!(matches!(failed, Err(Error::Damaged(_))), "{table}: {failed:?}");
        raw.execute_batch("DROP TRIGGER fail").unwrap();
        let comparison = compare(&path, &clean, 10).unwrap();
        assert!(comparison.is_equal(), "{table}: {:#?}", comparison.differences);
        assert_eq!(comparison.progress, []);
    }
    apply_all(&store, &batches[2..]).await;
    apply_all(&undisturbed, &batches[2..]).await;
    assert!(compare(&path, &clean, 10).unwrap().is_equal());
}

/// A process that is killed does not close its files; the next one finds all that was applied.
#[tokio::test]
async fn a_store_that_was_not_closed_keeps_every_applied_batch() {
    let dir = TempDir::new().unwrap();
    let (path, found) = (dir.path().join("a.sqlite"), dir.path().join("b.sqlite"));
    let store = SqliteStore::open(&Options::file(&path)).unwrap();
    apply_all(&store, &batches(3)).await;
    story::copy(&path, &found);
    let progress = store.progress(0).await.unwrap();
    assert_eq!(open_read_only(&found).unwrap().progress(0).unwrap(), progress);
    let again = SqliteStore::open(&Options::file(&found)).unwrap();
    assert_eq!(again.store_id(), store.store_id());
    assert!(compare(&path, &found, 10).unwrap().is_equal());
}
