//! The store in one SQLite file. Any process may read it at the same time; one writes.
//!
//! A writer thread and a few reader threads own the connections, so that no task waits inside
//! SQLite; or everything runs on the caller's thread, for the simulator.

mod compare;
mod fault;
mod fill;
mod lane;
mod list;
mod number;
mod open;
mod read;
mod sync;
mod write;
mod write_runs;

pub use crate::comparison::{Comparison, Difference, ProgressDifference, TableComparison};
use crate::{
    DecisionRow, EventRow, LetterFilter, LetterRow, Page, Progress, RefusalRow, Result, RunFilter,
    RunRow, RunStore, StoreBatch, limits, metrics,
};
pub use compare::compare;
pub use fill::Filling;
use fill::Usable;
use lane::Lane;
use open::Place;
use rusqlite::Connection;
use spine_runs::RunState;
use spine_schemas::{Digest, RunKey, time::Micros};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Where statements run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// On a writer thread and on this many reader threads.
    Threads {
        /// At least one.
        readers: usize,
    },
    /// On the caller's thread, one after the other. Deterministic; blocks the caller.
    Inline,
}

/// How to open a store.
#[derive(Clone, Debug)]
pub struct Options {
    place: Place,
    execution: Execution,
    store_id: Option<String>,
    max_bytes: Option<u64>,
}

impl Options {
    /// A store in a file, on threads. It is made where there is none, with a random id.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let execution = Execution::Threads { readers: limits::READERS };
        Self { place: Place::File(path.into()), execution, store_id: None, max_bytes: None }
    }

    /// A store in a file, on the caller's thread. `store_id` is used only when it is made.
    pub fn inline_file(path: impl Into<PathBuf>, store_id: impl Into<String>) -> Self {
        let place = Place::File(path.into());
        Self {
            place,
            execution: Execution::Inline,
            store_id: Some(store_id.into()),
            max_bytes: None,
        }
    }

    /// A store in memory, on the caller's thread; gone with its last clone.
    pub fn inline_memory(store_id: impl Into<String>) -> Self {
        let place = Place::Memory;
        Self {
            place,
            execution: Execution::Inline,
            store_id: Some(store_id.into()),
            max_bytes: None,
        }
    }

    /// The file is not to grow beyond this. A batch that needs more fails as on a full disk.
    #[must_use]
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// With another number of reader threads. No effect on an inline store.
    #[must_use]
    pub fn with_readers(mut self, readers: usize) -> Self {
        if let Execution::Threads { .. } = self.execution {
            self.execution = Execution::Threads { readers: readers.max(1) };
        }
        self
    }
}

/// A store of folded runs in SQLite. Clones share it; the last one closes it.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store_id: String,
    lanes: Lanes,
}

#[derive(Debug)]
enum Lanes {
    Threads {
        writer: Lane,
        readers: Lane,
    },
    Inline(Mutex<Connection>),
    /// One connection, which nobody else must disturb.
    Filling {
        lane: Lane,
        usable: Usable,
    },
}

impl SqliteStore {
    /// Opens a store, or makes it. Blocks: call it before the loops start.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] when the file is not a store of this version,
    /// [`crate::Error::Unavailable`] when it cannot be opened.
    pub fn open(options: &Options) -> Result<Self> {
        let (connection, store_id) = open::writer(&options.place, options.store_id.as_deref())?;
        if let Some(bytes) = options.max_bytes {
            open::limit(&connection, bytes)?;
        }
        let lanes = match (options.execution, &options.place) {
            (Execution::Threads { readers }, Place::File(path)) => {
                let connections =
                    (0..readers).map(|_| open::reader(path)).collect::<Result<Vec<_>>>()?;
                Lanes::Threads {
                    writer: Lane::start("store-writer", vec![connection], limits::WRITER_QUEUE)?,
                    readers: Lane::start("store-reader", connections, limits::READER_QUEUE)?,
                }
            }
            // A database in memory belongs to its one connection.
            (Execution::Threads { .. }, Place::Memory) | (Execution::Inline, _) => {
                Lanes::Inline(Mutex::new(connection))
            }
        };
        Ok(Self { inner: Arc::new(Inner { store_id, lanes }) })
    }

    async fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match &self.inner.lanes {
            Lanes::Threads { writer: lane, .. } | Lanes::Filling { lane, .. } => {
                lane.run(job).await
            }
            Lanes::Inline(connection) => inline(connection, job),
        }
    }

    async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match &self.inner.lanes {
            Lanes::Threads { readers: lane, .. } | Lanes::Filling { lane, .. } => {
                lane.run(job).await
            }
            Lanes::Inline(connection) => inline(connection, job),
        }
    }
}

/// A panic inside a job leaves a connection whose transaction was rolled back: it stays usable.
fn inline<T>(
    connection: &Mutex<Connection>,
    job: impl FnOnce(&mut Connection) -> Result<T>,
) -> Result<T> {
    job(&mut connection.lock().unwrap_or_else(PoisonError::into_inner))
}

impl RunStore for SqliteStore {
    fn store_id(&self) -> &str {
        &self.inner.store_id
    }

    async fn progress(&self, partition: u32) -> Result<Option<Progress>> {
        self.read(move |connection| read::progress(connection, partition)).await
    }

    async fn apply(&self, batch: impl Into<Arc<StoreBatch>> + Send) -> Result<()> {
        let batch: Arc<StoreBatch> = batch.into();
        let filling = match &self.inner.lanes {
            Lanes::Filling { usable, .. } => Some(usable.clone()),
            Lanes::Threads { .. } | Lanes::Inline(_) => None,
        };
        self.write(move |connection| {
            let started = metrics::start();
            let outcome = match filling {
                Some(usable) => usable.apply(connection, &batch),
                None => write::apply(connection, &batch),
            };
            metrics::observe_batch_seconds(started, outcome.is_ok());
            if outcome.is_ok() {
                metrics::observe_rows(&batch);
            }
            outcome
        })
        .await
    }

    async fn load_runs(&self, partition: u32, keys: &[RunKey]) -> Result<Vec<Option<RunState>>> {
        let keys = keys.to_vec();
        self.read(move |connection| read::load_runs(connection, partition, &keys)).await
    }

    async fn open_runs(
        &self,
        partition: u32,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunKey>> {
        let cursor = cursor.map(str::to_owned);
        self.read(move |connection| {
            read::open_runs(connection, partition, cursor.as_deref(), limit)
        })
        .await
    }

    async fn due_runs(
        &self,
        partition: u32,
        until: Micros,
        limit: usize,
    ) -> Result<Vec<(Micros, RunKey)>> {
        self.read(move |connection| read::due_runs(connection, partition, until, limit)).await
    }

    async fn list_runs(
        &self,
        filter: &RunFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunRow>> {
        let (filter, cursor) = (filter.clone(), cursor.map(str::to_owned));
        self.read(move |connection| list::runs(connection, &filter, cursor.as_deref(), limit)).await
    }

    async fn run_events(&self, key: &RunKey, from: u64, limit: usize) -> Result<Vec<EventRow>> {
        let key = key.clone();
        self.read(move |connection| read::run_events(connection, &key, from, limit)).await
    }

    async fn run_decisions(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DecisionRow>> {
        let key = key.clone();
        self.read(move |connection| read::run_decisions(connection, &key, from, limit)).await
    }

    async fn list_letters(
        &self,
        filter: &LetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<LetterRow>> {
        let (filter, cursor) = (filter.clone(), cursor.map(str::to_owned));
        self.read(move |connection| list::letters(connection, &filter, cursor.as_deref(), limit))
            .await
    }

    async fn letter(&self, id: &Digest) -> Result<Option<LetterRow>> {
        let id = *id;
        self.read(move |connection| list::letter(connection, &id)).await
    }

    async fn refusal(&self, partition: u32, offset: u64) -> Result<Option<RefusalRow>> {
        self.read(move |connection| read::refusal(connection, partition, offset)).await
    }
}

/// A store file that is only looked at, also while another process writes it. Blocks.
#[derive(Debug)]
pub struct ReadOnlyStore {
    connection: Connection,
    store_id: String,
}

/// Opens a store file without the ability to change it.
///
/// # Errors
/// As [`SqliteStore::open`]; also when there is no file.
pub fn open_read_only(path: &Path) -> Result<ReadOnlyStore> {
    let (connection, store_id) = open::read_only(path)?;
    Ok(ReadOnlyStore { connection, store_id })
}

impl ReadOnlyStore {
    /// The identity of the store.
    pub fn store_id(&self) -> &str {
        &self.store_id
    }

    /// How far a partition has been stored.
    ///
    /// # Errors
    /// As [`RunStore::progress`].
    pub fn progress(&self, partition: u32) -> Result<Option<Progress>> {
        read::progress(&self.connection, partition)
    }

    /// Every partition that the store knows, with its progress.
    ///
    /// # Errors
    /// As [`RunStore::progress`].
    pub fn all_progress(&self) -> Result<Vec<(u32, Progress)>> {
        read::all_progress(&self.connection)
    }
}
