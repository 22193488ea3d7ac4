//! What is not a store of this version is refused by name, with the way out, and left untouched.

use crate::story::{apply_all, batches};
use rusqlite::Connection;
use spine_store::{
    Error, RunStore,
    contract::samples,
    sqlite::{Options, SqliteStore, open_read_only},
};
use std::path::Path;
use tempfile::TempDir;

fn refusal(path: &Path) -> String {
    let by_reader = open_read_only(path).map(|_| ()).unwrap_err();
    let by_writer = SqliteStore::open(&Options::file(path)).map(|_| ()).unwrap_err();
    assert_eq!(by_reader, by_writer, "both say the same");
    let Error::Refused(message) = by_writer else { panic!("{by_writer:?}") };
    message
}

#[tokio::test]
async fn other_files_are_refused_and_left_as_they_are() {
    let dir = TempDir::new().unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough for a header ".repeat(50)).unwrap();
    let other = dir.path().join("other.sqlite");
    let foreign = Connection::open(&other).unwrap();
    foreign.execute_batch("CREATE TABLE runs (id INTEGER)").unwrap();
    drop(foreign);
    for path in [text, other] {
        let before = std::fs::read(&path).unwrap();
        assert!(refusal(&path).contains("remove it"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn another_generation_or_fold_is_refused_with_the_way_out() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store.sqlite");
    drop(SqliteStore::open(&Options::file(&path)).unwrap());
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("UPDATE meta SET value = '999' WHERE name = 'fold_version'").unwrap();
    assert!(refusal(&path).contains("folded by rules 999"));
    raw.execute_batch("PRAGMA user_version = 77").unwrap();
    let message = refusal(&path);
    assert!(message.contains("generation 77"), "{message}");
    assert!(message.contains("remove the file: it is rebuilt from the log"), "{message}");
}

#[test]
fn a_missing_directory_is_unavailable_and_named() {
    let failed = SqliteStore::open(&Options::file("/nowhere/at/all.sqlite")).map(|_| ());
    let Err(Error::Unavailable(message)) = failed else { panic!("{failed:?}") };
    assert!(message.contains("/nowhere/at/all.sqlite"), "{message}");
    assert!(matches!(open_read_only(Path::new("/nowhere.sqlite")), Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_changed_row_is_damage_that_names_its_place() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store.sqlite");
    let store = SqliteStore::open(&Options::file(&path)).unwrap();
    apply_all(&store, &batches(1)).await;
    let raw = Connection::open(&path).unwrap();
    raw.execute_batch("UPDATE runs SET seen = x'010203'").unwrap();
    let key = samples::full_run("default", "r0", 0).key;
    let failed = store.load_runs(0, &[key]).await;
    let Err(Error::Damaged(message)) = failed else { panic!("{failed:?}") };
    assert_eq!(message, "run default/r0: seen: 3 bytes");
}

#[tokio::test]
async fn a_store_keeps_the_id_that_it_was_made_with() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store.sqlite");
    let made = SqliteStore::open(&Options::inline_file(&path, "first")).unwrap();
    assert_eq!(made.store_id(), "first");
    drop(made);
    let again = SqliteStore::open(&Options::inline_file(&path, "second")).unwrap();
    assert_eq!(again.store_id(), "first");
    let random = SqliteStore::open(&Options::file(dir.path().join("x.sqlite"))).unwrap();
    let other = SqliteStore::open(&Options::file(dir.path().join("y.sqlite"))).unwrap();
    assert_eq!(random.store_id().len(), 32);
    assert_ne!(random.store_id(), other.store_id());
}
