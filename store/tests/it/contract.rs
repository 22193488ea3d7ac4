//! The contract suite on the SQLite adapter, on threads and inline.

use spine_store::{
    contract::{Stores, check_all},
    sqlite::{Options, SqliteStore},
};
use std::{cell::Cell, path::PathBuf};
use tempfile::TempDir;

struct Files {
    dir: TempDir,
    made: Cell<u32>,
    options: fn(PathBuf) -> Options,
}

impl Files {
    fn new(options: fn(PathBuf) -> Options) -> Self {
        Self { dir: TempDir::new().unwrap(), made: Cell::new(0), options }
    }

    fn open(&self) -> SqliteStore {
        let path = self.dir.path().join(format!("{}.sqlite", self.made.get()));
        SqliteStore::open(&(self.options)(path)).unwrap()
    }
}

impl Stores for Files {
    type Store = SqliteStore;

    async fn fresh(&self) -> SqliteStore {
        self.made.set(self.made.get() + 1);
        self.open()
    }

    async fn reopen(&self, store: SqliteStore) -> Option<SqliteStore> {
        drop(store);
        Some(self.open())
    }
}

struct InMemory;

impl Stores for InMemory {
    type Store = SqliteStore;

    async fn fresh(&self) -> SqliteStore {
        SqliteStore::open(&Options::inline_memory("s1")).unwrap()
    }

    async fn reopen(&self, _store: SqliteStore) -> Option<SqliteStore> {
        None
    }
}

#[tokio::test]
async fn file_on_threads() {
    check_all(&Files::new(Options::file)).await;
}

#[tokio::test]
async fn file_with_many_readers() {
    check_all(&Files::new(|path| Options::file(path).with_readers(4))).await;
}

#[tokio::test]
async fn file_inline() {
    check_all(&Files::new(|path| Options::inline_file(path, "s1"))).await;
}

#[tokio::test]
async fn memory_inline() {
    check_all(&InMemory).await;
}
