//! Appending outcomes alone. They are never fenced and rest on nothing, so they go into the log even
//! where nothing may be decided: after another owner's claim while this one winds down, and while the
//! partition is held.

use super::{Owner, append::Outbox};
use crate::{Clock, Result, tools::Tools};
use spine_log::EventLog;
use spine_runs::{Batch, Stamp};
use spine_schemas::{Body, Event, RunKey};
use spine_store::RunStore;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Appends the outcomes that are due. An owner that is only waiting for its claim keeps them,
    /// since it will append them together with what follows from them.
    pub(super) fn outcomes_only(&mut self) -> Result<()> {
        if self.drain_until.is_none() && !self.holding.is_held() {
            return Ok(());
        }
        let mut outbox = Outbox::default();
        for key in self.attempts.runs_with_outcomes() {
            if self.appends.is_latched(&key) {
                continue;
            }
            let stamp = self.stamp();
            let outcomes = self.attempts.take_outcomes(&key).into_iter().enumerate();
            let events = outcomes.map(|(index, body)| outcome(&key, &stamp, index, body)).collect();
            self.post(&mut outbox, &key, Batch { events, ..Batch::default() })?;
            if outbox.is_full() {
                self.send(&mut outbox);
            }
        }
        self.send(&mut outbox);
        Ok(())
    }
}

pub(super) fn outcome(key: &RunKey, stamp: &Stamp, index: usize, body: Body) -> Event {
    Event::new(
        format!("{}.{index}", stamp.batch_id),
        key.tenant.clone(),
        stamp.now,
        stamp.actor.clone(),
        body,
    )
}
