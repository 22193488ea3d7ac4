//! What outlives an owner: calls that still run when it ends, outcomes that it could not append, and
//! starts that it did not read back, on which nobody will act.
//!
//! The process lives on, so nothing that it comes to know is lost: outcomes rest on nothing and are
//! never fenced, so each is appended alone, whoever owns the partition by then. A next owner in
//! another process waits out the lease before it gives an attempt up; one in this process knows by
//! [`Inherited`] which attempts are held and which were never sent.

use super::{
    Owner,
    append::{Appends, Written},
    attempts::Attempts,
    outcomes::outcome,
};
use crate::{
    Clock, Error, Result, limits,
    tools::{CallEnd, Tools},
};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, TopicPartition, Urgency};
use spine_runs::Stamp;
use spine_schemas::{Event, RunKey, codec};
use spine_store::RunStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::task::JoinSet;

/// What the owners that a process had tell those that it will have. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inherited(Arc<Mutex<BTreeMap<u32, Known>>>);

/// What is known of one partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Claims that this process held: it knows what became of every start under them.
    pub(super) claims: BTreeSet<u64>,
    /// Leases of attempts that outlived their owners.
    pub(super) leases: BTreeSet<u64>,
}

impl Inherited {
    pub(super) fn of(&self, partition: u32) -> Known {
        self.all().get(&partition).cloned().unwrap_or_default()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u32, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An owner ended. The starts under a claim that is forgotten are in doubt, as those of another
    /// process are.
    fn leave(&self, partition: u32, claims: BTreeSet<u64>, leases: impl Iterator<Item = u64>) {
        let mut all = self.all();
        let known = all.entry(partition).or_default();
        known.claims = claims;
        while known.claims.len() > limits::OWN_CLAIMS {
            known.claims.pop_first();
        }
        known.leases.extend(leases);
    }

    fn is_done(&self, partition: u32, lease: u64) {
        if let Some(known) = self.all().get_mut(&partition) {
            known.leases.remove(&lease);
        }
    }
}

/// Attempts without an owner.
pub(crate) struct Late<L, C> {
    log: L,
    clock: C,
    tp: TopicPartition,
    worker: String,
    attempts: Attempts,
    calls: JoinSet<(u64, CallEnd)>,
    appends: Appends,
    writes: JoinSet<Written>,
    inherited: Inherited,
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// What is left of an owner that ended, if anything is.
    pub(super) fn leave(mut self, inherited: Inherited) -> Option<Late<L, C>> {
        // Only what was read back is surely in the log; the second copy of an outcome folds to nothing.
        self.attempts.append_again();
        let partition = self.tp.partition;
        inherited.leave(partition, self.claim.own, self.attempts.leases());
        if self.attempts.is_empty() && self.appends.starts() == 0 {
            return None;
        }
        let (attempts, starts) = (self.attempts.len(), self.appends.starts());
        tracing::info!(partition, attempts, starts, "outliving their owner");
        Some(Late {
            log: self.node.log,
            clock: self.node.clock,
            tp: self.tp,
            worker: self.node.config.worker.clone(),
            attempts: self.attempts,
            calls: self.calls,
            appends: self.appends,
            writes: self.writes,
            inherited,
        })
    }
}

impl<L: EventLog, C: Clock> Late<L, C> {
    /// Waits for what is under way and appends every outcome, until the log has them all.
    ///
    /// # Errors
    /// Those of the log that do not pass.
    pub(crate) async fn finish(mut self) -> Result<()> {
        loop {
            for (lease, attempt) in self.appends.take_unread_starts() {
                self.attempts.insert(lease, attempt);
            }
            self.append_due().await?;
            tokio::select! {
                biased;
                Some(ended) = self.writes.join_next() => {
                    let written = ended.unwrap_or_else(super::broken);
                    if let Written::Batches(posted, Ok(appended)) = written {
                        self.appends.acknowledge(&posted, &appended);
                    }
                }
                Some(ended) = self.calls.join_next() => {
                    let (lease, end) = ended.unwrap_or_else(super::broken);
                    self.attempts.call_ended(lease, end);
                }
                else => return Ok(()),
            }
        }
    }

    async fn append_due(&mut self) -> Result<()> {
        while let Some((lease, run, bodies)) = self.attempts.due() {
            let stamp = Stamp {
                batch_id: format!("{}-{}-late-{lease}", self.worker, self.tp.partition),
                actor: format!("owner:{}", self.worker),
                now: self.clock.now(),
            };
            let bodies = bodies.iter().cloned().enumerate();
            let events = bodies.map(|(index, body)| outcome(run, &stamp, index, body));
            let records = events.map(|event| record(run, event)).collect::<Result<_>>()?;
            self.append(records).await?;
            self.attempts.remove(lease);
            self.inherited.is_done(self.tp.partition, lease);
        }
        Ok(())
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<()> {
        let mut pause = limits::RETRY_FIRST;
        loop {
            match self.log.append(&self.tp, records.clone(), Urgency::Outcome).await {
                Ok(_) => return Ok(()),
                Err(error) if super::is_transient(&error) => {
                    tracing::warn!(to = %self.tp, %error, "outcome not appended, trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(limits::LATE_RETRY_MOST);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn record(run: &RunKey, event: Event) -> Result<NewRecord> {
    let value = codec::encode(&event.fit()).map_err(|error| Error::Encode(error.to_string()))?;
    Ok(NewRecord::plain(Some(Bytes::from(run.record_key())), value))
}
