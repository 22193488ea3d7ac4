//! The store follows: one batch under way, the next one gathering, and a bound on both.

use super::Owner;
use crate::{Clock, Result, limits, metrics, tools::Tools};
use spine_log::EventLog;
use spine_schemas::mutants::{Mutant, planted};
use spine_store::RunStore;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Whether the partition may go on: a full window holds it until the store has caught up,
    /// and so does a record that must wait.
    pub(super) fn may_read(&self) -> bool {
        !self.holding.is_held() && !self.has_gathered(1)
    }

    /// Whether what was folded and not stored fills this part of the window.
    fn has_gathered(&self, part: usize) -> bool {
        let (events, bytes) = self.fold.pending_size();
        let share = limits::share(self.node.hub.owned());
        events >= share.window_events / part || bytes >= share.window_bytes / part
    }

    /// Hands everything that was folded to the store, if it is idle and enough has gathered.
    pub(super) fn store_some(&mut self) {
        if self.storing.is_empty() && self.store_due_in().is_some_and(|wait| wait.is_zero()) {
            self.store_all();
        }
    }

    /// How long what was folded may still gather; `None` where there is nothing, or the store is busy.
    pub(super) fn store_due_in(&self) -> Option<Duration> {
        if !self.fold.is_behind() || !self.storing.is_empty() {
            return None;
        }
        let is_wanted = self.node.hub.is_store_wanted(self.tp.partition);
        // From half of the window on, so that the other half has room while the store is busy.
        if is_wanted || self.sweep.is_some() || self.has_gathered(2) {
            return Some(Duration::ZERO);
        }
        Some(self.pace.next_in())
    }

    /// Hands everything that was folded to the store.
    fn store_all(&mut self) {
        let Some(batch) = self.fold.take_batch(&self.cache) else {
            return;
        };
        self.pace.began();
        self.storing_offset = Some(batch.progress.offset);
        let kept = Arc::new(batch);
        let store = self.node.store.clone();
        let orders = self.orders.clone();
        let partition = self.tp.partition;
        let mut barrier = self.telling.barrier();
        self.storing.spawn(async move {
            if !planted(Mutant::ProgressBeforeTelling) && !barrier.passed().await {
                let message = "what was folded was not told before the owner went".into();
                return Err(spine_store::Error::Unavailable(message));
            }
            let mut pause = limits::RETRY_FIRST;
            loop {
                match store.apply(kept.clone()).await {
                    Err(error) if error.is_retryable() && !orders.must_go() => {
                        tracing::warn!(partition, %error, "store does not take rows");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(limits::RETRY_MOST);
                    }
                    result => return result,
                }
            }
        });
    }

    /// A batch was stored: progress has passed its events.
    pub(super) fn stored(&mut self, result: spine_store::Result<()>) -> Result<()> {
        result?;
        self.stored = self.storing_offset.take();
        self.pace.ended();
        for (status, runs) in self.fold.take_ends() {
            metrics::observe_ended(status, runs);
        }
        if let Some(offset) = self.stored {
            self.node.hub.set_stored(self.tp.partition, offset);
            metrics::observe_stored(self.tp.partition, offset);
        }
        Ok(())
    }

    /// Before the owner goes: what was folded is stored.
    pub(super) async fn store_rest(&mut self) -> Result<()> {
        self.tell_rest().await?;
        while self.fold.is_behind() || !self.storing.is_empty() {
            if self.storing.is_empty() {
                self.store_all();
            }
            match self.storing.join_next().await {
                Some(Ok(result)) => self.stored(result)?,
                Some(Err(_)) | None => return Ok(()),
            }
        }
        Ok(())
    }
}

/// How often the store is given a batch: the longer the newest one took, the more gathers for the next.
#[derive(Default)]
pub(super) struct Pace {
    /// When the newest batch was handed to the store.
    begun: Option<Instant>,
    /// How long the newest one took that was stored.
    took: Duration,
}

impl Pace {
    fn began(&mut self) {
        self.begun = Some(Instant::now());
    }

    fn ended(&mut self) {
        self.took = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
    }

    fn next_in(&self) -> Duration {
        let every = store_every(self.took);
        self.begun.map_or(Duration::ZERO, |begun| every.saturating_sub(begun.elapsed()))
    }
}

/// From the begin of a batch that took so long to that of the next one.
fn store_every(took: Duration) -> Duration {
    let rest = took.saturating_mul(limits::STORE_PART);
    rest.clamp(limits::STORE_EVERY, limits::STORE_EVERY_MOST)
}

#[cfg(test)]
mod tests {
    use super::store_every;
    use std::time::Duration;

    #[test]
    fn a_batch_that_took_long_is_followed_later_within_bounds() {
        let every = |took| store_every(Duration::from_millis(took)).as_millis();
        assert_eq!([0, 12, 13, 30, 50, 60_000].map(every), [50, 50, 52, 120, 200, 200]);
        assert_eq!(store_every(Duration::MAX), Duration::from_millis(200));
    }
}
