//! Runs whose turn comes soon are read from the store while the partition goes on, so that it need not stand still for
//! them then. Nothing depends on it: what was not read by then is loaded when it is needed (`decide::load`).

use super::Owner;
use crate::{Clock, limits, tools::Tools};
use spine_log::EventLog;
use spine_runs::RunState;
use spine_schemas::RunKey;
use spine_store::RunStore;
use std::collections::BTreeSet;
use tokio::{task::JoinSet, time::Instant};

/// What the store has for runs.
pub(super) type Read = spine_store::Result<Vec<(RunKey, Option<RunState>)>>;

/// Runs that are being read.
#[derive(Debug, Default)]
pub(super) struct Prefetch {
    pub(super) reading: JoinSet<Read>,
    /// Of those that are being read, those of which nothing was loaded meanwhile. What is loaded may change and be let
    /// go again, and then what was read before is old.
    asked: BTreeSet<RunKey>,
    /// After a store that did not answer.
    resumes_at: Option<Instant>,
}

impl Prefetch {
    /// A run is loaded: what is being read of it will not be used.
    pub(super) fn forget(&mut self, key: &RunKey) {
        self.asked.remove(key);
    }

    fn may_begin(&self) -> bool {
        self.reading.is_empty() && self.resumes_at.is_none_or(|at| at <= Instant::now())
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Begins to read the runs whose turn comes next, unless some are being read.
    pub(super) fn prefetch(&mut self) {
        if self.claim.held().is_none() || self.holding.is_held() || !self.prefetch.may_begin() {
            return;
        }
        let keys = self.whose_turn_comes();
        if keys.is_empty() {
            return;
        }
        self.prefetch.asked.clone_from(&keys);
        let (store, partition) = (self.node.store.clone(), self.tp.partition);
        let keys: Vec<RunKey> = keys.into_iter().collect();
        self.prefetch.reading.spawn(async move {
            let states = store.load_runs(partition, &keys).await?;
            Ok(keys.into_iter().zip(states).collect())
        });
    }

    /// Those that are not in memory of the runs that may be looked at next.
    fn whose_turn_comes(&self) -> BTreeSet<RunKey> {
        let most = limits::PREFETCH_RUNS;
        let expected = self.node.hub.take_expected(self.tp.partition);
        let soon = self.node.clock.now().plus_ms(limits::PREFETCH_MS);
        // However many places there are.
        let held = self.held.next(most).take(4 * most);
        let waiting = held.chain(self.starved.next(most));
        let all = expected.iter().chain(waiting).chain(self.timers.due_by(soon).take(most));
        let missing = all.filter(|key| !self.cache.knows(key));
        missing.take(most).cloned().collect()
    }

    /// Keeps what was read, unless the run was loaded meanwhile.
    pub(super) fn prefetched(&mut self, read: Read) -> crate::Result<()> {
        let asked = std::mem::take(&mut self.prefetch.asked);
        match read {
            Ok(states) => {
                let states = states.into_iter().filter(|(key, _)| asked.contains(key));
                self.keep(states)
            }
            // Whoever needs it finds out what is the matter.
            Err(_) => {
                self.prefetch.resumes_at = Some(Instant::now() + limits::RETRY_MOST);
                Ok(())
            }
        }
    }
}
