//! Those who listen to runs of this partition: let in between two events, told of each event that concerns an attempt.

use super::Owner;
use crate::{Clock, limits, tools::Tools};
use spine_log::EventLog;
use spine_runs::RunState;
use spine_schemas::{Body, Event, RunKey};
use spine_store::RunStore;
use std::sync::Arc;
use tokio::time::timeout;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Lets those in who asked, each at the state that is folded now. Before it has claimed, or while it
    /// is held, it is not known which attempts run, and they are sent away.
    pub(super) async fn admit_listeners(&mut self) {
        let partition = self.tp.partition;
        let asked = self.node.streams.take_asked(partition);
        if self.claim.held().is_none() || self.holding.is_held() {
            return;
        }
        for asked in asked {
            match self.look_at(&asked.run).await {
                Some(run) => self.node.streams.admit(partition, asked, run.as_deref()),
                // Those behind are sent away, too: the owner has better things to do than to wait.
                None => return,
            }
        }
    }

    /// The run as it is folded now. It is asked for once, for a moment, and left to the store where it was: who listens
    /// must not hold up who works. `None` where the store does not answer.
    async fn look_at(&mut self, key: &RunKey) -> Option<Option<Arc<RunState>>> {
        if self.cache.knows(key) {
            return Some(self.cache.get(key).cloned());
        }
        let keys = [key.clone()];
        let loaded = self.node.store.load_runs(self.tp.partition, &keys);
        let loaded = timeout(limits::LISTENER_LOAD, loaded).await.ok()?.ok()?;
        Some(loaded.into_iter().next().flatten().map(Arc::new))
    }

    /// Tells of an event that was applied.
    pub(super) fn tell_listeners(&self, event: &Event, key: &RunKey) {
        if self.node.streams.is_silent() {
            return;
        }
        let Some(run) = self.cache.get(key) else { return };
        let changed = match &event.body {
            Body::Step(_, step, _) => Some(step),
            Body::Run(..) | Body::Partition(_) => None,
        };
        self.node.streams.follow(run, changed);
    }
}
