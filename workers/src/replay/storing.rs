//! Storing beside the fold: one batch is being stored, the next one waits at hand, so that the store never
//! idles between two; a third one gathers meanwhile.

use crate::Result;
use spine_store::{RunStore, StoreBatch};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};

/// A task that stores batches, each after the one before.
pub(super) struct Storing {
    /// `None` once no more comes.
    batches: Option<mpsc::Sender<StoreBatch>>,
    stored: watch::Receiver<Option<u64>>,
    /// Ends with this.
    task: JoinSet<Result<()>>,
}

impl Storing {
    /// Begins with nothing to store.
    pub(super) fn start<S: RunStore>(store: S) -> Self {
        let (sender, batches) = mpsc::channel(1);
        let (tell, stored) = watch::channel(None);
        let mut task = JoinSet::new();
        task.spawn(store_all(store, batches, tell));
        Self { batches: Some(sender), stored, task }
    }

    /// The newest offset that this has stored.
    pub(super) fn stored(&self) -> Option<u64> {
        *self.stored.borrow()
    }

    /// Whether the next batch would wait at hand, not in the way.
    pub(super) fn has_room(&self) -> bool {
        self.batches.as_ref().is_some_and(|batches| batches.capacity() > 0)
    }

    /// Hands a batch over; waits until there is room.
    ///
    /// # Errors
    /// Why an earlier batch was not stored.
    pub(super) async fn hand_over(&mut self, batch: StoreBatch) -> Result<()> {
        let Some(batches) = &self.batches else { return self.end().await };
        match batches.send(batch).await {
            Ok(()) => Ok(()),
            Err(_) => self.end().await,
        }
    }

    /// Waits until all is stored that was handed over.
    ///
    /// # Errors
    /// Why a batch was not stored.
    pub(super) async fn end(&mut self) -> Result<()> {
        self.batches = None;
        let broken = |error: JoinError| std::panic::resume_unwind(error.into_panic());
        self.task.join_next().await.unwrap_or(Ok(Ok(()))).unwrap_or_else(broken)
    }
}

async fn store_all<S: RunStore>(
    store: S,
    mut batches: mpsc::Receiver<StoreBatch>,
    tell: watch::Sender<Option<u64>>,
) -> Result<()> {
    while let Some(batch) = batches.recv().await {
        let offset = batch.progress.offset;
        store.apply(batch).await?;
        // Where nobody looks any more, it is stored all the same.
        tell.send_replace(Some(offset));
    }
    Ok(())
}
