//! Many tasks on one store: reads while it writes, dropped callers, and bugs that must not hide.

use crate::story::{apply_all, batches};
use spine_schemas::StepKey;
use spine_store::{
    RunFilter, RunStore,
    contract::samples,
    sqlite::{Options, SqliteStore},
};
use tempfile::TempDir;

#[tokio::test]
async fn readers_see_whole_batches_while_the_writer_works() {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(&Options::file(dir.path().join("store.sqlite"))).unwrap();
    let batches = batches(60);
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut last = 0;
                while last < 60 {
                    let page = store.list_runs(&RunFilter::default(), None, 100).await.unwrap();
                    assert!(page.rows.len() >= last, "runs do not go away");
                    last = page.rows.len();
                    let keys: Vec<_> = page.rows.into_iter().map(|row| row.key).collect();
                    let loaded = store.load_runs(0, &keys).await.unwrap();
                    assert!(loaded.iter().all(Option::is_some), "each listed run has its rows");
                }
            })
        })
        .collect();
    apply_all(&store, &batches).await;
    for reader in readers {
        reader.await.unwrap();
    }
}

/// A caller that stops waiting does not take back what it had handed over.
#[tokio::test]
async fn a_dropped_apply_is_applied_or_not_but_never_in_part() {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(&Options::file(dir.path().join("store.sqlite"))).unwrap();
    let batches = batches(2);
    let dropped = tokio::time::timeout(std::time::Duration::ZERO, store.apply(batches[0].clone()));
    let _ = dropped.await;
    // Either the first call got through, and this one is lost, or this one is applied.
    let _ = store.apply(batches[0].clone()).await;
    store.apply(batches[1].clone()).await.unwrap();
    let progress = store.progress(0).await.unwrap().unwrap();
    assert_eq!(progress, batches[1].progress);
}

/// A bug in a batch ends its caller, takes the batch back, and leaves the store at work.
#[tokio::test]
async fn a_panic_reaches_the_caller_and_the_store_goes_on() {
    let dir = TempDir::new().unwrap();
    let store = SqliteStore::open(&Options::file(dir.path().join("store.sqlite"))).unwrap();
    let batches = batches(2);
    let mut wrong = batches[0].clone();
    let mut change = samples::created(&samples::run("default", "r", 3));
    change.steps.push(StepKey::named("no such step"));
    wrong.runs.push(change);
    let writer = store.clone();
    let ended = tokio::spawn(async move { writer.apply(wrong).await }).await;
    assert!(ended.unwrap_err().is_panic());
    assert_eq!(store.progress(0).await.unwrap(), None);
    apply_all(&store, &batches).await;
}
