//! What the owner appends, and which runs wait until it has been read back.

use super::Owner;
use crate::{Clock, Error, Result, limits, metrics, tools::Tools};
use bytes::Bytes;
use spine_log::{Appended, EventLog, NewRecord, Urgency};
use spine_runs::Batch;
use spine_schemas::{Event, RunKey, codec, fault_points};
use spine_store::RunStore;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// The end of an append.
#[derive(Debug)]
pub(super) enum Written {
    /// Of a claim.
    Claim(spine_log::Result<Appended>),
    /// Of batches of these runs.
    Batches(Vec<RunKey>, spine_log::Result<Appended>),
    /// Of outcomes of these runs, with nothing that rests on them.
    Outcomes(Vec<RunKey>, spine_log::Result<Appended>),
}

/// Batches under way. While a run's batch has not been read back, nothing more is decided for it.
#[derive(Debug, Default)]
pub(super) struct Appends {
    latched: BTreeMap<RunKey, Latch>,
    paused_until: Option<Instant>,
    pause: Duration,
}

#[derive(Debug)]
struct Latch {
    last_event_id: String,
    starts: usize,
    /// When it was sent; the time-outs of its starts count from here.
    posted_at: Instant,
}

impl Appends {
    pub(super) fn is_latched(&self, key: &RunKey) -> bool {
        self.latched.contains_key(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.latched.is_empty()
    }

    /// Starts that were appended and not read back.
    pub(super) fn starts(&self) -> usize {
        self.latched.values().map(|latch| latch.starts).sum()
    }

    pub(super) fn clear(&mut self) {
        self.latched.clear();
    }

    /// When the run's batch was sent.
    pub(super) fn posted_at(&self, key: &RunKey) -> Instant {
        self.latched.get(key).map_or_else(Instant::now, |latch| latch.posted_at)
    }

    /// Frees the run whose batch ends with this event.
    pub(super) fn read_back(&mut self, key: &RunKey, event_id: &str) {
        if self.latched.get(key).is_some_and(|latch| latch.last_event_id == event_id) {
            self.latched.remove(key);
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| until > Instant::now())
    }

    pub(super) fn resumes_at(&self) -> Option<Instant> {
        self.paused_until
    }
}

/// Batches of several runs on their way into one append.
#[derive(Default)]
pub(super) struct Outbox {
    records: Vec<NewRecord>,
    runs: Vec<RunKey>,
    /// Whether an outcome is among them, which may use the head-room of a full disk.
    outcome: bool,
}

impl Outbox {
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= limits::APPEND_RECORDS
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Puts a run's batch into the outbox and latches the run.
    pub(super) fn post(&mut self, outbox: &mut Outbox, key: &RunKey, batch: Batch) -> Result<()> {
        let record_key = Bytes::from(key.record_key());
        let posted_at = Instant::now();
        let mut starts = 0;
        let mut last_event_id = String::new();
        #[cfg(feature = "mutants")]
        self.act_early(key, &batch.events);
        for event in batch.events {
            let event = event.fit();
            let value = codec::encode(&event).map_err(|e| Error::Encode(e.to_string()))?;
            let key = Some(record_key.clone());
            outbox.records.push(NewRecord { key, headers: Vec::new(), value: Some(value) });
            outbox.outcome |= spine_runs::is_outcome(&event.body);
            starts += usize::from(is_start(&event));
            last_event_id = event.event_id;
        }
        self.appends.latched.insert(key.clone(), Latch { last_event_id, starts, posted_at });
        outbox.runs.push(key.clone());
        Ok(())
    }

    /// Appends what the outbox holds.
    pub(super) fn send(&mut self, outbox: &mut Outbox) {
        if outbox.records.is_empty() {
            return;
        }
        let Outbox { records, runs, outcome } = std::mem::take(outbox);
        fault_points::reach("decided");
        metrics::observe_decided(records.len());
        let decided = self.claim.held().is_some() && !self.holding.is_held();
        let urgency = if outcome { Urgency::Outcome } else { Urgency::Normal };
        let (log, tp) = (self.node.log.clone(), self.tp.clone());
        self.writes.spawn(async move {
            let result = log.append(&tp, records, urgency).await;
            if decided { Written::Batches(runs, result) } else { Written::Outcomes(runs, result) }
        });
    }

    /// An append ended. Success shows when the records are read back; after a failure that left
    /// nothing behind the runs are tried again; after an ambiguous one the owner claims anew.
    pub(super) fn written(&mut self, written: Written) -> Result<()> {
        let (runs, repeatable, result) = match written {
            Written::Claim(result) => (Vec::new(), false, result),
            Written::Batches(runs, result) => (runs, false, result),
            // Outcomes may be in the log twice: the second one folds to nothing.
            Written::Outcomes(runs, result) => (runs, true, result),
        };
        let Err(error) = result else {
            self.appends.pause = Duration::ZERO;
            return Ok(());
        };
        if !super::is_transient(&error) {
            return Err(error.into());
        }
        tracing::warn!(partition = self.tp.partition, %error, "append failed, trying again");
        self.appends.pause =
            (self.appends.pause * 2).clamp(limits::RETRY_FIRST, limits::RETRY_MOST);
        self.appends.paused_until = Some(Instant::now() + self.appends.pause);
        if runs.is_empty() {
            self.claim.give_up();
            return Ok(());
        }
        let ambiguous = error.is_ambiguous() && !repeatable;
        if ambiguous {
            self.claim.renew();
        }
        // An owner that goes claims no more; it still appends the outcomes that it holds.
        if !ambiguous || self.drain_until.is_some() {
            for key in runs {
                self.appends.latched.remove(&key);
                self.attempts.append_again_of(&key);
                self.ready.insert(key);
            }
        }
        Ok(())
    }
}

fn is_start(event: &Event) -> bool {
    matches!(&event.body, spine_schemas::Body::Step(_, _, spine_schemas::StepEvent::Started(_)))
}
