//! The store that a URL named: each call goes to the adapter behind it.

use bytes::Bytes;
use spine_runs::RunState;
use spine_schemas::{Digest, RunKey, time::Micros};
use spine_store::{
    DecisionRow, EventRow, LetterFilter, LetterRow, Page, Progress, RefusalRow, Result, RunFilter,
    RunRow, RunStore, StoreBatch, cql::CqlStore, sqlite::SqliteStore,
};
use std::sync::Arc;

/// A store of one of the two kinds.
#[derive(Clone, Debug)]
pub(crate) enum AnyStore {
    /// A file of this machine.
    Sqlite(SqliteStore),
    /// A keyspace of a ScyllaDB or Cassandra cluster.
    Cql(CqlStore),
}

/// Runs an expression on the adapter behind it.
macro_rules! each {
    ($any:expr, $one:ident => $call:expr) => {
        match $any {
            Self::Sqlite($one) => $call,
            Self::Cql($one) => $call,
        }
    };
}

impl RunStore for AnyStore {
    fn store_id(&self) -> &str {
        each!(self, store => store.store_id())
    }

    async fn progress(&self, partition: u32) -> Result<Option<Progress>> {
        each!(self, store => store.progress(partition).await)
    }

    async fn apply(&self, batch: impl Into<Arc<StoreBatch>> + Send) -> Result<()> {
        each!(self, store => store.apply(batch).await)
    }

    async fn load_runs(&self, partition: u32, keys: &[RunKey]) -> Result<Vec<Option<RunState>>> {
        each!(self, store => store.load_runs(partition, keys).await)
    }

    async fn open_runs(
        &self,
        partition: u32,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunKey>> {
        each!(self, store => store.open_runs(partition, cursor, limit).await)
    }

    async fn due_runs(
        &self,
        partition: u32,
        until: Micros,
        limit: usize,
    ) -> Result<Vec<(Micros, RunKey)>> {
        each!(self, store => store.due_runs(partition, until, limit).await)
    }

    async fn list_runs(
        &self,
        filter: &RunFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunRow>> {
        each!(self, store => store.list_runs(filter, cursor, limit).await)
    }

    async fn run_events(&self, key: &RunKey, from: u64, limit: usize) -> Result<Vec<EventRow>> {
        each!(self, store => store.run_events(key, from, limit).await)
    }

    async fn event_values(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Option<Vec<(u64, Bytes)>>> {
        each!(self, store => store.event_values(key, from, limit, bytes).await)
    }

    async fn run_decisions(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
    ) -> Result<Vec<DecisionRow>> {
        each!(self, store => store.run_decisions(key, from, limit).await)
    }

    async fn list_letters(
        &self,
        filter: &LetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<LetterRow>> {
        each!(self, store => store.list_letters(filter, cursor, limit).await)
    }

    async fn letter(&self, id: &Digest) -> Result<Option<LetterRow>> {
        each!(self, store => store.letter(id).await)
    }

    async fn refusal(&self, partition: u32, offset: u64) -> Result<Option<RefusalRow>> {
        each!(self, store => store.refusal(partition, offset).await)
    }
}
