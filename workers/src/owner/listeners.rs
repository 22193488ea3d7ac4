//! Those who listen to runs of this partition: let in between two events, told of each event that concerns an attempt.

use super::Owner;
use crate::{Clock, Result, tools::Tools};
use spine_log::EventLog;
use spine_schemas::{Body, Event, RunKey};
use spine_store::RunStore;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Lets those in who asked, each at the state that is folded now. As long as there is more in the log than was
    /// folded, it is not known which attempts run, and they are sent away.
    pub(super) async fn admit_listeners(&mut self) -> Result<()> {
        let partition = self.tp.partition;
        let asked = self.node.streams.take_asked(partition);
        if self.claim.held().is_none() {
            return Ok(());
        }
        self.load(asked.iter().map(|asked| &asked.run)).await?;
        for asked in asked {
            let run = self.cache.get(&asked.run).cloned();
            self.node.streams.admit(partition, asked, run.as_deref());
        }
        Ok(())
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
