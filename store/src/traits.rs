//! The store contract. Every adapter passes the suite in `contract.rs`.

use crate::{
    DecisionRow, EventRow, LetterFilter, LetterRow, Page, Progress, RefusalRow, Result, RunFilter,
    RunRow, StoreBatch,
};
use bytes::Bytes;
use spine_runs::RunState;
use spine_schemas::{Digest, RunKey, time::Micros};
use std::{future::Future, sync::Arc};

/// A store of folded runs.
pub trait RunStore: Clone + Send + Sync + 'static {
    /// The identity of this store, made once with it. Claims carry it.
    fn store_id(&self) -> &str;

    /// How far a partition has been stored; `None` on a fresh store.
    fn progress(&self, partition: u32) -> impl Future<Output = Result<Option<Progress>>> + Send;

    /// Applies a batch with its progress: all of it or nothing, or (in a store without
    /// transactions) rows first and progress last, so that applying it again gives equal rows.
    ///
    /// # Errors
    /// [`crate::Error::Lost`] when the stored progress is not the expected one.
    fn apply(
        &self,
        batch: impl Into<Arc<StoreBatch>> + Send,
    ) -> impl Future<Output = Result<()>> + Send;

    /// The states of runs exactly as of progress, in the order asked; `None` where there is none.
    fn load_runs(
        &self,
        partition: u32,
        keys: &[RunKey],
    ) -> impl Future<Output = Result<Vec<Option<RunState>>>> + Send;

    /// Open runs of a partition in an order of the store's own, with stable paging. Runs that opened
    /// or ended after progress may be missing or there.
    fn open_runs(
        &self,
        partition: u32,
        cursor: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<RunKey>>> + Send;

    /// Open runs of a partition whose due time is at or before `until`, earliest first, at most
    /// `limit` and [`SCAN_ROWS`](crate::limits::SCAN_ROWS), with that time.
    fn due_runs(
        &self,
        partition: u32,
        until: Micros,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(Micros, RunKey)>>> + Send;

    /// Runs, newest first, with stable paging under writes.
    fn list_runs(
        &self,
        filter: &RunFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<RunRow>>> + Send;

    /// The history of a run in offset order, from an offset on, at most `limit`.
    fn run_events(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<EventRow>>> + Send;

    /// The bytes of the same events by offset, where the store keeps them; `None` where only the log has them.
    /// Ends early once it has so many bytes.
    fn event_values(
        &self,
        _key: &RunKey,
        _from: u64,
        _limit: usize,
        _bytes: usize,
    ) -> impl Future<Output = Result<Option<Vec<(u64, Bytes)>>>> + Send {
        async { Ok(None) }
    }

    /// The recorded decisions of a run in offset order, from an offset on, at most `limit`.
    fn run_decisions(
        &self,
        key: &RunKey,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<DecisionRow>>> + Send;

    /// Letters or questions, newest first.
    fn list_letters(
        &self,
        filter: &LetterFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<LetterRow>>> + Send;

    /// One letter.
    fn letter(&self, id: &Digest) -> impl Future<Output = Result<Option<LetterRow>>> + Send;

    /// The refusal of the request at a position, if it was refused.
    fn refusal(
        &self,
        partition: u32,
        offset: u64,
    ) -> impl Future<Output = Result<Option<RefusalRow>>> + Send;
}
