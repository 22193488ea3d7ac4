//! A store that is filled at one go has its name when it is whole, and not before.

use crate::story::{apply_all, batches};
use spine_store::{
    Error, RunStore, StoreBatch,
    contract::samples,
    sqlite::{Filling, Options, SqliteStore, compare, open_read_only},
};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn part_of(path: &Path) -> PathBuf {
    path.with_extension("sqlite.filling")
}

fn refusal<T: std::fmt::Debug>(outcome: spine_store::Result<T>) -> String {
    let Err(Error::Refused(message)) = outcome else { panic!("{outcome:?}") };
    message
}

async fn applied(dir: &TempDir, count: u64) -> PathBuf {
    let path = dir.path().join("applied.sqlite");
    let store = SqliteStore::open(&Options::file(&path)).unwrap();
    apply_all(&store, &batches(count)).await;
    path
}

#[tokio::test]
async fn a_filled_store_is_like_any_other_and_goes_on_as_one() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.sqlite");
    let batches = batches(40);
    let filling = Filling::begin(&path).unwrap();
    apply_all(filling.store(), &batches[..30]).await;
    assert!(!path.exists() && part_of(&path).exists());
    filling.finish().await.unwrap();
    assert!(path.exists() && !part_of(&path).exists());
    let again = SqliteStore::open(&Options::file(&path)).unwrap();
    apply_all(&again, &batches[30..]).await;
    let comparison = compare(&path, &applied(&dir, 40).await, 10).unwrap();
    assert!(comparison.is_equal(), "{:#?}", comparison.differences);
    assert_eq!(comparison.progress, []);
}

#[tokio::test]
async fn what_was_applied_can_be_read_back_while_it_is_filled() {
    let dir = TempDir::new().unwrap();
    let filling = Filling::begin(&dir.path().join("a.sqlite")).unwrap();
    let batches = batches(3);
    apply_all(filling.store(), &batches).await;
    let progress = filling.store().progress(0).await.unwrap().unwrap();
    assert_eq!(progress.offset, batches[2].progress.offset);
    let keys = [samples::full_run("default", "r0", 0).key, samples::run("default", "none", 0).key];
    let loaded = filling.store().load_runs(0, &keys).await.unwrap();
    assert_eq!(loaded.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
}

/// Batches of more than the cache holds, so that pages are in the file before the end.
fn large() -> Vec<StoreBatch> {
    let mut large = batches(300);
    for row in large.iter_mut().flat_map(|batch| &mut batch.decisions) {
        row.decision.reasoning = "because ".repeat(40_000);
    }
    large
}

#[tokio::test]
async fn what_left_the_cache_and_the_memory_of_the_file_is_sound() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.sqlite");
    let filling = Filling::begin(&path).unwrap();
    let large = large();
    apply_all(filling.store(), &large).await;
    let early = [samples::full_run("default", "r0", 0).key];
    assert!(filling.store().load_runs(0, &early).await.unwrap()[0].is_some());
    filling.finish().await.unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(one("PRAGMA integrity_check"), "ok");
    let written = large.iter().flat_map(|batch| &batch.decisions).count();
    let found = one("SELECT count(*) || ' ' || min(length(reasoning)) FROM decisions");
    assert_eq!(found, format!("{written} 320000"));
}

/// The file as a killed process, or a loss of power, leaves it: at any moment it is no store.
#[tokio::test]
async fn what_a_killed_process_leaves_is_no_store_and_is_begun_again() {
    let dir = TempDir::new().unwrap();
    let (path, left) = (dir.path().join("a.sqlite"), dir.path().join("b.sqlite"));
    let filling = Filling::begin(&path).unwrap();
    apply_all(filling.store(), &large()).await;
    std::fs::copy(part_of(&path), &left).unwrap();
    assert!(std::fs::metadata(&left).unwrap().len() > 1_000_000, "nothing was written yet");
    drop(filling);
    for opened in
        [open_read_only(&left).map(|_| ()), SqliteStore::open(&Options::file(&left)).map(|_| ())]
    {
        assert!(refusal(opened).contains("remove it"));
    }
    std::fs::rename(&left, part_of(&path)).unwrap();
    let filling = Filling::begin(&path).unwrap();
    apply_all(filling.store(), &batches(12)).await;
    filling.finish().await.unwrap();
    assert!(compare(&path, &applied(&dir, 12).await, 10).unwrap().is_equal());
}

#[tokio::test]
async fn a_store_that_was_not_finished_leaves_no_file() {
    let dir = TempDir::new().unwrap();
    let filling = Filling::begin(&dir.path().join("a.sqlite")).unwrap();
    apply_all(filling.store(), &batches(3)).await;
    drop(filling);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn after_a_failed_batch_nothing_can_be_finished() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.sqlite");
    let filling = Filling::begin(&path).unwrap();
    let mut batches = batches(3);
    apply_all(filling.store(), &batches[..1]).await;
    let again = batches[0].events[0].clone();
    batches[1].events.push(again);
    let failed = filling.store().apply(batches[1].clone()).await;
    assert!(matches!(failed, Err(Error::Damaged(_))), "{failed:?}");
    assert!(refusal(filling.store().apply(batches[2].clone()).await).contains("replay again"));
    assert!(refusal(filling.finish().await).contains("replay again"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_finished_store_takes_no_further_batch() {
    let dir = TempDir::new().unwrap();
    let filling = Filling::begin(&dir.path().join("a.sqlite")).unwrap();
    let store = filling.store().clone();
    let batches = batches(2);
    apply_all(&store, &batches[..1]).await;
    filling.finish().await.unwrap();
    assert!(refusal(store.apply(batches[1].clone()).await).contains("replay again"));
}

#[test]
fn what_is_there_or_is_being_filled_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.sqlite");
    let filling = Filling::begin(&path).unwrap();
    assert!(refusal(Filling::begin(&path)).contains("is being filled by another process"));
    assert!(part_of(&path).exists());
    drop(filling);
    for there in ["a.sqlite", "a.sqlite-wal", "a.sqlite-journal"] {
        let there = dir.path().join(there);
        std::fs::write(&there, "x").unwrap();
        let message = refusal(Filling::begin(&path));
        assert!(message.contains(&format!("{} is there already", there.display())), "{message}");
        std::fs::remove_file(&there).unwrap();
    }
}
