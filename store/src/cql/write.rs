//! Applying a batch: every row first, all acknowledged, then the progress.
//!
//! Rows of one CQL partition go together. Nothing is read before it is written: versions and
//! timestamps follow from the log, so rows that come twice, late or in another order change nothing.

use super::{
    cells::{Values, partition},
    crew,
    rows::Rows,
    stamp,
    statements::Put,
    store::CqlStore,
};
use crate::{
    Error, Progress, Result, StoreBatch,
    form::{offset_column, write_json},
    limits, metrics,
};
use scylla::statement::batch::{Batch, BatchType};
use scylla::value::CqlValue;
use std::sync::Arc;

/// A row to be written; its values end, or begin, with the timestamp.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) put: Put,
    pub(super) values: Values,
}

impl CqlStore {
    /// Applies a batch if progress is the expected one.
    pub(super) async fn apply_batch(&self, batch: &StoreBatch) -> Result<()> {
        assert!(
            batch.expected.is_none_or(|before| before <= batch.progress.offset),
            "progress never goes back"
        );
        self.refuse_writing()?;
        // Of two batches of this process one waits, and then finds the other's progress.
        let lane = self.lane(batch.partition);
        let mut uncertain = lane.lock().await;
        let found = self.read_progress(batch.partition).await?;
        let offset = found.as_ref().map(|found| found.offset);
        if uncertain.is_some() && found == *uncertain && found.as_ref() == Some(&batch.progress) {
            // Our own write of it was not acknowledged, but it has arrived; its rows had before.
            *uncertain = None;
            return Ok(());
        }
        if offset != batch.expected {
            return Err(Error::Lost {
                partition: batch.partition,
                expected: batch.expected,
                found: offset,
            });
        }
        self.write_rows(batch).await?;
        *uncertain = Some(batch.progress.clone());
        self.write_progress(batch.partition, &batch.progress).await?;
        *uncertain = None;
        metrics::observe_rows(batch);
        Ok(())
    }

    /// Writes the rows of a batch without its progress, as a process does that dies in between, or
    /// one that lost its partition. For tests.
    ///
    /// # Errors
    /// As [`crate::RunStore::apply`].
    #[doc(hidden)]
    pub async fn write_rows(&self, batch: &StoreBatch) -> Result<()> {
        let chains = Rows::of(batch)?.into_chains();
        crew::all(chains.into_iter().map(|chain| {
            let store = self.clone();
            async move {
                for group in chain {
                    store.write_group(group).await?;
                }
                Ok(())
            }
        }))
        .await?;
        Ok(())
    }

    /// Writes rows of one CQL partition.
    async fn write_group(&self, group: Vec<Write>) -> Result<()> {
        if let [row] = &group[..] {
            return self.write_row("write a row", row).await;
        }
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        let mut values: Vec<Vec<CqlValue>> = Vec::with_capacity(group.len());
        for row in group {
            batch.append_statement(self.statements().put(row.put).clone());
            values.push(row.values.cells);
        }
        self.link().write_batch("write rows", &batch, &values).await
    }

    pub(super) async fn write_row(&self, what: &str, row: &Write) -> Result<()> {
        self.link().write(what, self.statements().put(row.put), &row.values.cells).await
    }

    async fn write_progress(&self, number: u32, progress: &Progress) -> Result<()> {
        let Progress { log_id, offset, chain_before, chain, at, partition_state } = progress;
        let values = Values::default()
            .int(partition(number))
            .text(log_id)
            .big(offset_column(*offset))
            .blobs([&chain_before.0, &chain.0])
            .big(at.0)
            .text(&write_json("progress", partition_state)?)
            .big(stamp::put(*offset));
        self.write_row("write progress", &Write { put: Put::Progress, values }).await
    }
}

/// Cuts the rows of one partition into batches of bounded size.
pub(super) fn cut(rows: Vec<Write>) -> Vec<Vec<Write>> {
    let mut batches: Vec<Vec<Write>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let fits = bytes + row.values.bytes <= limits::CQL_BATCH_BYTES;
        match batches.last_mut() {
            Some(batch) if fits && batch.len() < limits::CQL_BATCH_ROWS => {
                bytes += row.values.bytes;
                batch.push(row);
            }
            _ => {
                bytes = row.values.bytes;
                batches.push(vec![row]);
            }
        }
    }
    batches
}

/// Progress whose write was not acknowledged, if that happened last.
pub(super) type Lane = Arc<tokio::sync::Mutex<Option<Progress>>>;
