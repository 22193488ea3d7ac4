//! Runs of which something is about to be asked, so that their owner may read them from the store before.

use crate::limits;
use spine_schemas::RunKey;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The runs of one partition, no more than are read at one time.
#[derive(Debug, Default)]
pub(super) struct Expected {
    runs: Mutex<Vec<RunKey>>,
    more: Notify,
}

impl Expected {
    pub(super) fn push(&self, run: &RunKey) {
        let mut runs = self.runs();
        if runs.len() < limits::PREFETCH_RUNS {
            runs.push(run.clone());
            drop(runs);
            self.more.notify_one();
        }
    }

    pub(super) fn take(&self) -> Vec<RunKey> {
        std::mem::take(&mut *self.runs())
    }

    /// Waits until there are more.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    fn runs(&self) -> MutexGuard<'_, Vec<RunKey>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
