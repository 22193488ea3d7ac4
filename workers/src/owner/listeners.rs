//! Those who listen to runs of this partition: let in between two events, told of each event that concerns an attempt.

use super::Owner;
use crate::{Clock, limits, tools::Tools};
use spine_log::EventLog;
use spine_schemas::{Body, Event, RunKey};
use spine_store::RunStore;
use tokio::time::timeout;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Lets those in who asked, each at the state that is folded now. Before it has claimed, or while it
    /// is held, it is not known which attempts run, and they are sent away. Runs that are not at hand are
    /// asked for once, for a moment: who listens must not hold up who works.
    pub(super) async fn admit_listeners(&mut self) {
        let partition = self.tp.partition;
        let asked = self.node.streams.take_asked(partition);
        if self.deciding().is_none() {
            return;
        }
        let (known, unknown): (Vec<_>, Vec<_>) =
            asked.into_iter().partition(|asked| self.cache.knows(&asked.run));
        for asked in known {
            let run = self.cache.get(&asked.run).cloned();
            self.node.streams.admit(partition, asked, run.as_deref());
        }
        if unknown.is_empty() || self.node.streams.is_deaf() {
            return;
        }
        let keys: Vec<RunKey> = unknown.iter().map(|asked| asked.run.clone()).collect();
        match timeout(limits::LISTENER_LOAD, self.node.store.load_runs(partition, &keys)).await {
            Ok(Ok(runs)) => {
                for (asked, run) in unknown.into_iter().zip(runs) {
                    self.node.streams.admit(partition, asked, run.as_ref());
                }
            }
            // They are sent away, and for a while all whose run is not at hand.
            Ok(Err(_)) | Err(_) => self.node.streams.be_deaf(),
        }
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
