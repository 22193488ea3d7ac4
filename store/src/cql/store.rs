//! The handle of an open keyspace, and its share in the contract.

use super::{
    cells::{self, Cells},
    link::Link,
    open::{self, Opened},
    options::Options,
    statements::Statements,
    write::Lane,
};
use crate::{
    DecisionRow, Error, EventRow, LetterFilter, LetterRow, Page, Progress, RefusalRow, Result,
    RunFilter, RunRow, RunStore, StoreBatch,
    form::{read_digest, read_json},
    metrics,
};
use bytes::Bytes;
use scylla::value::CqlValue;
use spine_runs::RunState;
use spine_schemas::{Digest, RunKey, codec::SchemaBook, time::Micros};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// A store of folded runs in a keyspace. Clones share the session; the last one closes it.
#[derive(Clone)]
pub struct CqlStore {
    inner: Arc<Inner>,
}

struct Inner {
    link: Link,
    statements: Statements,
    keyspace: String,
    store_id: String,
    read_only: bool,
    book: Arc<SchemaBook>,
    lanes: Mutex<HashMap<u32, Lane>>,
}

impl fmt::Debug for CqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CqlStore").field("keyspace", &self.inner.keyspace).finish_non_exhaustive()
    }
}

/// Progress of a partition, and the bucket below which no run is open.
pub(super) struct Extent {
    pub(super) progress: Progress,
    pub(super) open_from: i64,
}

impl CqlStore {
    /// Opens a store, or makes it. Call it on the runtime that runs the loops.
    ///
    /// # Errors
    /// [`Error::Refused`] when the keyspace is not a store of this version or the options contradict
    /// each other, [`Error::Unavailable`] when no node answers.
    pub async fn open(options: &Options) -> Result<Self> {
        let Opened { link, keyspace, store_id } = open::open(options).await?;
        let statements = Statements::prepare(&link.session, &keyspace).await?;
        let inner = Inner {
            link,
            statements,
            keyspace,
            store_id,
            read_only: options.read_only,
            book: Arc::clone(&options.book),
            lanes: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The keyspace that holds the rows: the asked one, or the one that its pointer names.
    pub fn keyspace(&self) -> &str {
        &self.inner.keyspace
    }

    /// Every partition that the store knows, with its progress, in their order.
    ///
    /// # Errors
    /// As [`RunStore::progress`].
    pub async fn all_progress(&self) -> Result<Vec<(u32, Progress)>> {
        let read = |cells: &mut Cells| Ok((cells.partition()?, read_progress(cells)?));
        let statement = &self.statements().all_progress;
        let mut all = self.link().rows("read progress", statement, &[], read).await?;
        all.sort_unstable_by_key(|(partition, _)| *partition);
        Ok(all)
    }

    pub(super) fn link(&self) -> &Link {
        &self.inner.link
    }

    pub(super) fn statements(&self) -> &Statements {
        &self.inner.statements
    }

    pub(super) fn book(&self) -> &SchemaBook {
        &self.inner.book
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.inner.read_only
    }

    pub(super) fn refuse_writing(&self) -> Result<()> {
        if self.inner.read_only {
            return Err(Error::Refused(format!(
                "write keyspace {}: it was opened for reading; open it for writing",
                self.inner.keyspace
            )));
        }
        Ok(())
    }

    /// The queue of this process's batches of a partition.
    pub(super) fn lane(&self, partition: u32) -> Lane {
        let mut lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(lanes.entry(partition).or_default())
    }

    pub(super) async fn read_progress(&self, partition: u32) -> Result<Option<Progress>> {
        Ok(self.extent(partition).await?.map(|extent| extent.progress))
    }

    pub(super) async fn extent(&self, partition: u32) -> Result<Option<Extent>> {
        let read = |cells: &mut Cells| {
            cells.next();
            // The hint alone is no progress.
            let log_id = match cells.optional_text()? {
                None => return Ok(None),
                Some(log_id) => log_id,
            };
            let progress = Progress { log_id, ..read_progress_after(cells)? };
            let open_from = cells.optional_big()?.unwrap_or(0);
            Ok(Some(Extent { progress, open_from }))
        };
        let key = [CqlValue::Int(cells::partition(partition))];
        let statement = &self.statements().progress;
        Ok(self.link().row("read progress", statement, &key, read).await?.flatten())
    }
}

fn read_progress(cells: &mut Cells) -> Result<Progress> {
    let log_id = cells.string()?;
    Ok(Progress { log_id, ..read_progress_after(cells)? })
}

/// What follows the log's id in a row.
fn read_progress_after(cells: &mut Cells) -> Result<Progress> {
    Ok(Progress {
        log_id: String::new(),
        offset: cells.offset()?,
        chain_before: read_digest("chain_before", &cells.blob()?)?,
        chain: read_digest("chain", &cells.blob()?)?,
        at: Micros(cells.big()?),
        partition_state: read_json("progress", &cells.text()?)?,
    })
}

impl RunStore for CqlStore {
    fn store_id(&self) -> &str {
        &self.inner.store_id
    }

    async fn progress(&self, partition: u32) -> Result<Option<Progress>> {
        self.read_progress(partition).await
    }

    async fn apply(&self, batch: impl Into<Arc<StoreBatch>> + Send) -> Result<()> {
        let batch: Arc<StoreBatch> = batch.into();
        let started = metrics::start();
        let outcome = self.apply_batch(&batch).await;
        metrics::observe_batch_seconds(started, outcome.is_ok());
        outcome
    }

    /// Each state is one as of a progress that was read during the call.
    async fn load_runs(&self, partition: u32, keys: &[RunKey]) -> Result<Vec<Option<RunState>>> {
        self.load(partition, keys).await
    }

    async fn open_runs(
        &self,
        partition: u32,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunKey>> {
        self.read_open(partition, cursor, limit).await
    }

    async fn due_runs(
        &self,
        partition: u32,
        until: Micros,
        limit: usize,
    ) -> Result<Vec<(Micros, RunKey)>> {
        self.read_due(partition, until, limit).await
    }

    async fn list_runs(
        &self,
        filter: &RunFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunRow>> {
        self.page_of_runs(filter, cursor, limit).await
    }

    async fn run_events(&self, key: &RunKey, from: u64, limit: usize) -> Result<Vec<EventRow>> {
        self.read_events(key, from, limit).await
    }

    async fn event_values(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Option<Vec<(u64, Bytes)>>> {
        self.read_event_values(key, from, limit, bytes).await.map(Some)
    }

    async fn run_decisions(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DecisionRow>> {
        self.read_decisions(key, from, limit).await
    }

    async fn list_letters(
        &self,
        filter: &LetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<LetterRow>> {
        self.page_of_letters(filter, cursor, limit).await
    }

    async fn letter(&self, id: &Digest) -> Result<Option<LetterRow>> {
        self.read_letter(*id).await
    }

    async fn refusal(&self, partition: u32, offset: u64) -> Result<Option<RefusalRow>> {
        self.read_refusal(partition, offset).await
    }
}
