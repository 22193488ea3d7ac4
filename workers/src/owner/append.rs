//! What the owner appends, and which runs wait until it has been read back.

use super::{Owner, attempts::Attempt};
use crate::{Clock, Error, Result, limits, metrics, tools::Tools};
use bytes::Bytes;
use spine_log::{Appended, EventLog, NewRecord, Urgency};
use spine_runs::{Batch, Busy};
use spine_schemas::{Body, Event, RunKey, StepEvent, StepKey, codec, fault_points};
use spine_store::RunStore;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// The end of an append.
#[derive(Debug)]
pub(super) enum Written {
    /// Of a claim.
    Claim(spine_log::Result<Appended>),
    /// Of batches of runs.
    Batches(Vec<Posted>, spine_log::Result<Appended>),
    /// Of outcomes of runs, with nothing that rests on them.
    Outcomes(Vec<Posted>, spine_log::Result<Appended>),
}

/// A run's batch in an append.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) run: RunKey,
    batch: u64,
    /// Its first record among those of the append.
    first: usize,
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
    batch: u64,
    last_event_id: String,
    starts: Vec<Start>,
    /// When it was sent; the time-outs of its starts count from here.
    posted_at: Instant,
    /// Where it is, once the log has acknowledged it: the append, and its first record there.
    appended: Option<(Appended, usize)>,
}

/// A start in a batch.
#[derive(Debug)]
struct Start {
    /// Its record among those of the batch.
    index: usize,
    step: StepKey,
    attempt: u32,
    /// What it will call.
    tool: String,
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
        self.latched.values().map(|latch| latch.starts.len()).sum()
    }

    /// Counts starts that were appended and not read back among the attempts that run.
    pub(super) fn count(&self, busy: &mut Busy) {
        for (run, latch) in &self.latched {
            for start in &latch.starts {
                match busy.tools.get_mut(&start.tool) {
                    Some(count) => *count += 1,
                    None => drop(busy.tools.insert(start.tool.clone(), 1)),
                }
            }
            if !latch.starts.is_empty() {
                *busy.tenants.entry(run.tenant.clone()).or_default() += latch.starts.len();
            }
        }
    }

    /// Attempts of a tool whose start was appended and not read back.
    pub(super) fn starts_at(&self, tool: &str) -> usize {
        let starts = self.latched.values().flat_map(|latch| &latch.starts);
        starts.filter(|start| start.tool == tool).count()
    }

    /// The log has acknowledged an append. A run whose batch has been read back already may have
    /// another one under way by now.
    pub(super) fn acknowledge(&mut self, posted: &[Posted], appended: &Appended) {
        for one in posted {
            if let Some(latch) = self.latched.get_mut(&one.run)
                && latch.batch == one.batch
            {
                latch.appended = Some((appended.clone(), one.first));
            }
        }
    }

    /// Takes the starts that are in the log and were not read back, with their leases. Nobody acts
    /// on them once their owner has ended.
    pub(super) fn take_unread_starts(&mut self) -> Vec<(u64, Attempt)> {
        let mut unread = Vec::new();
        self.latched.retain(|run, latch| {
            let Some((appended, first)) = &latch.appended else { return true };
            let offsets: Vec<u64> = appended.offsets().skip(*first).collect();
            for start in std::mem::take(&mut latch.starts) {
                let attempt =
                    Attempt::never_sent(run, start.step, start.attempt, offsets[start.index]);
                unread.push((offsets[start.index], attempt));
            }
            false
        });
        unread
    }

    pub(super) fn clear(&mut self) {
        self.latched.clear();
    }

    /// When the run's batch was sent.
    pub(super) fn posted_at(&self, key: &RunKey) -> Instant {
        self.latched.get(key).map_or_else(Instant::now, |latch| latch.posted_at)
    }

    /// A start was read and is acted on, though the rest of its batch may be still to come.
    pub(super) fn start_read(&mut self, key: &RunKey, step: &StepKey) {
        if let Some(latch) = self.latched.get_mut(key) {
            latch.starts.retain(|start| start.step != *step);
        }
    }

    /// Frees the run whose batch ends with this event. Gives how many of its starts nobody acts on.
    pub(super) fn read_back(&mut self, key: &RunKey, event_id: &str) -> usize {
        match self.latched.get(key) {
            Some(latch) if latch.last_event_id == event_id => {
                self.latched.remove(key).map_or(0, |latch| latch.starts.len())
            }
            Some(_) | None => 0,
        }
    }

    /// Whether nothing is appended for now. That ends with [`Self::end_pause`] alone, so that all of a turn
    /// sees the same: a pause that ended in its middle would be waited for by nobody.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Ends a pause whose time is over.
    pub(super) fn end_pause(&mut self) {
        self.paused_until = self.paused_until.filter(|until| *until > Instant::now());
    }

    pub(super) fn resumes_at(&self) -> Option<Instant> {
        self.paused_until
    }
}

/// Batches of several runs on their way into one append.
#[derive(Default)]
pub(super) struct Outbox {
    records: Vec<NewRecord>,
    bytes: usize,
    posted: Vec<Posted>,
    /// Whether an outcome is among them, which may use the head-room of a full disk.
    outcome: bool,
}

impl Outbox {
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= limits::APPEND_RECORDS || self.bytes >= limits::APPEND_BYTES
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
        let first = outbox.records.len();
        let starts = self.starts_in(key, &batch.events);
        let mut last_event_id = String::new();
        #[cfg(feature = "mutants")]
        self.act_early(key, &batch.events);
        for event in batch.events {
            let event = event.fit();
            let value = codec::encode(&event).map_err(|e| Error::Encode(e.to_string()))?;
            let key = Some(record_key.clone());
            outbox.bytes += value.len();
            outbox.records.push(NewRecord::plain(key, value));
            outbox.outcome |= spine_runs::is_outcome(&event.body);
            last_event_id = event.event_id;
        }
        let batch = self.batches;
        let latch = Latch { batch, last_event_id, starts, posted_at, appended: None };
        self.appends.latched.insert(key.clone(), latch);
        outbox.posted.push(Posted { run: key.clone(), batch, first });
        Ok(())
    }

    /// The starts in a batch. A step may be scheduled in the same one.
    fn starts_in(&self, key: &RunKey, events: &[Event]) -> Vec<Start> {
        let run = self.cache.get(key);
        let (mut scheduled, mut starts) = (BTreeMap::new(), Vec::new());
        for (index, event) in events.iter().enumerate() {
            let Body::Step(_, step, body) = &event.body else { continue };
            if let StepEvent::Scheduled(spec) = body {
                scheduled.insert(step, spec);
            }
            let StepEvent::Started(started) = body else { continue };
            let Some(attempt) = started.attempt else { continue };
            let known = || Some(&run?.steps.get(step)?.spec);
            let spec = scheduled.get(step).copied().or_else(known);
            let tool = spec.map(|spec| spec.tool.clone()).unwrap_or_default();
            starts.push(Start { index, step: step.clone(), attempt, tool });
        }
        starts
    }

    /// Appends what the outbox holds.
    pub(super) fn send(&mut self, outbox: &mut Outbox) {
        if outbox.records.is_empty() {
            return;
        }
        let Outbox { records, posted, outcome, .. } = std::mem::take(outbox);
        fault_points::reach("decided");
        metrics::observe_decided(records.len());
        let decided = self.deciding().is_some();
        let urgency = if outcome { Urgency::Outcome } else { Urgency::Normal };
        let (log, tp) = (self.node.log.clone(), self.tp.clone());
        self.writes.spawn(async move {
            let result = log.append(&tp, records, urgency).await;
            if decided {
                Written::Batches(posted, result)
            } else {
                Written::Outcomes(posted, result)
            }
        });
    }

    /// An append ended. Success shows when the records are read back; after a failure that left
    /// nothing behind the runs are tried again; after an ambiguous one the owner claims anew.
    pub(super) fn written(&mut self, written: Written) -> Result<()> {
        let (posted, repeatable, result) = match written {
            Written::Claim(result) => (Vec::new(), false, result),
            Written::Batches(posted, result) => (posted, false, result),
            // Outcomes may be in the log twice: the second one folds to nothing.
            Written::Outcomes(posted, result) => (posted, true, result),
        };
        let error = match result {
            Ok(appended) => {
                self.appends.pause = Duration::ZERO;
                self.appends.acknowledge(&posted, &appended);
                return Ok(());
            }
            Err(error) => error,
        };
        if !super::is_transient(&error) {
            return Err(error.into());
        }
        tracing::warn!(partition = self.tp.partition, %error, "append failed, trying again");
        self.appends.pause =
            (self.appends.pause * 2).clamp(limits::RETRY_FIRST, limits::RETRY_MOST);
        self.appends.paused_until = Some(Instant::now() + self.appends.pause);
        if posted.is_empty() {
            self.claim.give_up();
            return Ok(());
        }
        let ambiguous = error.is_ambiguous() && !repeatable;
        if ambiguous {
            self.claim.renew();
        }
        // An owner that goes claims no more; it still appends the outcomes that it holds.
        if !ambiguous || self.drain_until.is_some() {
            for Posted { run, .. } in posted {
                self.freed +=
                    self.appends.latched.remove(&run).map_or(0, |latch| latch.starts.len());
                self.granted.forget(&run);
                self.attempts.append_again_of(&run);
                self.ready.insert(run);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_for_all_of_a_turn_at_once_however_long_that_takes() {
        let until = Instant::now() + Duration::from_secs(1);
        let mut appends = Appends { paused_until: Some(until), ..Appends::default() };
        appends.end_pause();
        tokio::time::advance(Duration::from_secs(2)).await;
        let what_a_turn_sees = (appends.is_paused(), appends.resumes_at());
        assert_eq!(what_a_turn_sees, (true, Some(until)), "nobody would wait for its end");
        appends.end_pause();
        assert_eq!((appends.is_paused(), appends.resumes_at()), (false, None));
    }
}
