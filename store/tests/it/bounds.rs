//! Full disks and locks: the batch fails as unavailable, nothing changes, and it goes through later.

use crate::story::{apply_all, batches};
use rusqlite::Connection;
use spine_schemas::Payload;
use spine_store::{
    Error, RunFilter, RunStore,
    contract::samples,
    sqlite::{Options, SqliteStore},
};
use std::sync::Arc;
use tempfile::TempDir;

/// SQLite answers as on a full disk when the file may not grow.
#[tokio::test]
async fn a_full_disk_is_unavailable_and_passes() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store.sqlite");
    let small = Options::file(&path).with_max_bytes(600 * 1024);
    let store = SqliteStore::open(&small).unwrap();
    let mut batches = batches(3);
    apply_all(&store, &batches[..1]).await;
    let mut large = samples::full_run("default", "large", 9);
    let mut created = (*large.created).clone();
    created.input = Payload::opaque("x", vec![7; 1024 * 1024]);
    large.created = Arc::new(created);
    batches[1].runs.push(samples::created(&large));
    for _ in 0..2 {
        let failed = store.apply(batches[1].clone()).await;
        let Err(error @ Error::Unavailable(_)) = &failed else { panic!("{failed:?}") };
        assert!(error.is_retryable());
    }
    let progress = store.progress(0).await.unwrap().unwrap();
    assert_eq!(progress, batches[0].progress, "nothing of it was stored");
    let page = store.list_runs(&RunFilter::default(), None, 10).await.unwrap();
    assert_eq!(page.rows.len(), 1, "reading goes on");
    drop(store);
    let store = SqliteStore::open(&Options::file(&path)).unwrap();
    apply_all(&store, &batches[1..]).await;
    let loaded = store.load_runs(0, std::slice::from_ref(&large.key)).await.unwrap();
    assert_eq!(loaded, [Some(large)]);
}

/// Readers never wait for the writer, nor the writer for readers.
#[tokio::test]
async fn a_long_read_of_another_process_holds_nobody_up() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = SqliteStore::open(&Options::file(&path)).unwrap();
    let batches = batches(20);
    apply_all(&store, &batches[..1]).await;
    let mut reader = Connection::open(&path).unwrap();
    let read = reader.transaction().unwrap();
    let runs = || read.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap();
    let before: i64 = runs();
    apply_all(&store, &batches[1..]).await;
    assert_eq!((before, runs()), (1, 1), "it sees the store as of its beginning");
    let page = store.list_runs(&RunFilter::default(), None, 100).await.unwrap();
    assert_eq!(page.rows.len(), 20);
}
