//! Reading and folding: what each record means for the state, for letters and for those who wait.

use super::Owner;
use crate::{Clock, Error, Result, materialize::Folded, metrics, order::Orders, tools::Tools};
use spine_log::{EventLog, Record};
use spine_runs::{FOLD_VERSION, Verdict};
use spine_schemas::{
    Body, Event, PartitionEvent, RecordClass, RunEvent, RunKey, StepEvent, codec, keys,
    mutants::{Mutant, planted},
    time::Micros,
};
use spine_store::RunStore;
use std::future::Future;

/// What a record turns out to be.
pub(crate) enum Read {
    Event(Box<Event>),
    Bad(RecordClass, String),
    /// An owner's decision in the log says to pass over it.
    Aside,
}

impl Read {
    pub(crate) fn event(&self) -> Option<&Event> {
        match self {
            Self::Event(event) => Some(event),
            Self::Bad(..) | Self::Aside => None,
        }
    }
}

/// Decodes a record and checks that it belongs where it lies.
///
/// # Errors
/// [`Error::Newer`] for an event that this version must not pass over.
pub(crate) fn read_event(
    record: &Record,
    partition: u32,
    partitions: u32,
    book: &codec::SchemaBook,
) -> Result<Read> {
    let newer = |what| Error::Newer { partition, offset: record.offset, what };
    let Some(value) = record.value.as_deref() else {
        return Ok(Read::Bad(RecordClass::Decode, "the record has no value".into()));
    };
    let event = match codec::decode(value, book) {
        Ok(event) => event,
        Err(spine_schemas::Error::UnknownKind { field, symbol, claimed: true }) => {
            return Err(newer(format!("{field} {symbol}")));
        }
        Err(error @ spine_schemas::Error::SchemaUnknown(_)) => {
            return Ok(Read::Bad(RecordClass::SchemaUnknown, error.to_string()));
        }
        Err(error) => return Ok(Read::Bad(RecordClass::Decode, error.to_string())),
    };
    if let Body::Partition(PartitionEvent::OwnerClaimed(claim)) = &event.body
        && claim.fold_version > FOLD_VERSION
    {
        return Err(newer(format!("fold version {}", claim.fold_version)));
    }
    let expected = event.run_key().map(|key| key.record_key());
    if expected.as_deref() != record.key.as_deref() {
        let message = "the record's key is not tenant/run_id of its event".to_owned();
        return Ok(Read::Bad(RecordClass::WrongPartition, message));
    }
    let home = expected.map_or(partition, |key| keys::partition_of(&key, partitions));
    if home != partition {
        let message = format!("its key belongs to partition {home}");
        return Ok(Read::Bad(RecordClass::WrongPartition, message));
    }
    Ok(Read::Event(Box::new(event)))
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Folds everything that was read, up to a record that must wait.
    pub(super) async fn fold_unread(&mut self) -> Result<()> {
        let mut events = Vec::with_capacity(self.unread.len());
        while let Some(record) = self.unread.pop_front() {
            self.scan.take(&record, &self.node.book);
            let read = self.read(&record)?;
            if self.must_wait(&record, &read) {
                self.unread.push_front(record);
                break;
            }
            events.push((record, read));
        }
        self.decide_ahead(&events).await?;
        let keys: Vec<RunKey> =
            events.iter().filter_map(|(_, read)| read.event()?.run_key()).collect();
        self.load(keys.iter()).await?;
        let (mut due, mut messages) = (Vec::new(), Vec::new());
        let mut last = None;
        for (record, read) in events {
            last = Some(record.offset);
            match read {
                Read::Event(event) => {
                    let folded = self.fold.fold(&mut self.cache, &record, &event);
                    self.after_fold(&record, &event, &folded);
                    for told in &folded.told {
                        self.telling.add(record.offset, told);
                    }
                    messages.extend(self.messages_of(&record, &event, &folded));
                    if let Some(letter) = folded.letter {
                        due.push((letter, record));
                    }
                }
                Read::Bad(class, message) => self.pass_bad(&record, class, message).await?,
                Read::Aside => self.fold.pass_over(&record),
            }
        }
        self.publish(due).await?;
        // Whoever is to hear of it does not wait for what the store is asked next.
        self.tell_some();
        self.tell_runs(messages).await?;
        if let Some(offset) = last {
            self.scan.forget_below(offset);
            self.node.hub.set_folded(self.tp.partition, offset);
            // Whoever waited for a verdict answers its caller before this task decides what comes next.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn read(&self, record: &Record) -> Result<Read> {
        if self.scan.is_set_aside(record.offset) {
            return Ok(Read::Aside);
        }
        read_event(record, self.tp.partition, self.partitions, &self.node.book)
    }

    /// What an event means for the owner itself.
    fn after_fold(&mut self, record: &Record, event: &Event, folded: &Folded) {
        metrics::observe_folded(&folded.verdict);
        let applied = matches!(folded.verdict, Verdict::Applied(_));
        if let Body::Partition(PartitionEvent::OwnerClaimed(_)) = &event.body {
            self.claim_folded(event, applied, record.offset, record.timestamp);
        }
        if !applied || event.op.is_some() || is_answered(event) {
            self.node.hub.note(self.tp.partition, record.offset, folded.verdict.clone());
        }
        let Some(key) = &folded.run else { return };
        self.outcome_folded(event, &folded.verdict);
        if applied {
            if let Body::Run(_, RunEvent::Stalled { reason, .. }) = &event.body {
                tracing::warn!(run = %key, reason, "the run is stalled");
                metrics::observe_stalled();
            }
            self.remember(event, key, record.timestamp);
            self.tell_listeners(event, key);
            self.act_on_start(event, key, record.offset);
        } else {
            self.not_handed_over(event, key, None);
        }
        self.freed += self.appends.read_back(key, &event.event_id);
        if self.claim.held().is_some() {
            self.ready.insert(key.clone());
        }
    }

    /// Keeps what a step's call gave, for equal calls.
    fn remember(&self, event: &Event, key: &RunKey, at: Micros) {
        let Body::Step(_, step, body) = &event.body else { return };
        let Some(run) = self.cache.get(key) else { return };
        let Some(step) = run.steps.get(step) else { return };
        let held = self.claim.held().map(|held| held.offset);
        let is_mine = held.is_some() && event.claim == held;
        self.node.memos.take(event, (run, step), body, (at, is_mine));
    }

    /// A start is acted on only if it was accepted under the current claim, and only here, when it
    /// is read: once.
    fn act_on_start(&mut self, event: &Event, key: &RunKey, offset: u64) {
        let Body::Step(_, step_key, StepEvent::Started(_)) = &event.body else { return };
        let held = self.claim.held().map(|held| held.offset);
        let is_mine = held.is_some() && event.claim == held;
        if !is_mine && !planted(Mutant::ActOnEarlierClaim) {
            self.not_handed_over(event, key, Some(offset));
            return;
        }
        self.appends.start_read(key, step_key);
        let Some(run) = self.cache.get(key).cloned() else { return };
        let Some(step) = run.steps.get(step_key).cloned() else { return };
        if let Some(live) = step.live.as_ref().filter(|live| live.lease == offset) {
            self.act(&run, &step, live);
        }
    }

    /// A bad record is passed over once a claimed owner's decision about it is in the log. If there
    /// is none yet, this owner appends it and reads ahead until it is there.
    async fn pass_bad(
        &mut self,
        record: &Record,
        class: RecordClass,
        message: String,
    ) -> Result<()> {
        while !self.scan.is_set_aside(record.offset) {
            let Some(claim) = self.claim_in_log() else {
                let message = "another owner claimed the partition while a bad record was held";
                return Err(spine_log::Error::Unavailable(message.into()).into());
            };
            self.decide_about(claim, vec![(record.offset, class, message.clone())]).await?;
        }
        tracing::warn!(partition = self.tp.partition, offset = record.offset, %class, message,
            "record set aside");
        self.fold.pass_over(record);
        Ok(())
    }

    /// Decides about all bad records of a read at once, since an append and a read for each of a flood
    /// would hold the partition for minutes. What is not decided by it, [`Self::pass_bad`] decides.
    async fn decide_ahead(&mut self, read: &[(Record, Read)]) -> Result<()> {
        let undecided = read.iter().filter_map(|(record, read)| match read {
            Read::Bad(class, message) => Some((record.offset, *class, message.clone())),
            Read::Event(_) | Read::Aside => None,
        });
        let bad: Vec<_> = undecided.filter(|(at, ..)| !self.scan.is_set_aside(*at)).collect();
        match self.claim_in_log().filter(|_| !bad.is_empty()) {
            Some(claim) => self.decide_about(claim, bad).await,
            None => Ok(()),
        }
    }

    /// The newest claim that was scanned, if it is this owner's.
    fn claim_in_log(&self) -> Option<u64> {
        self.scan.current_claim().filter(|now| self.claim.own.contains(now))
    }

    async fn decide_about(
        &mut self,
        claim: u64,
        bad: Vec<(u64, RecordClass, String)>,
    ) -> Result<()> {
        let mut values = Vec::with_capacity(bad.len());
        for (offset, class, message) in bad {
            self.batches += 1;
            let message = self.holding.with_resumed(message);
            let event_id = format!("aside-{}-{claim}-{offset}-{}", self.tp.partition, self.batches);
            let body = PartitionEvent::RecordDeadLettered { offset, class, message };
            let event = self.control_event(event_id, Some(claim), body);
            let value = codec::encode(&event).map_err(|error| Error::Encode(error.to_string()))?;
            values.push(value);
        }
        let appended = self.append_control(values).await?;
        self.scan_to(appended.last_offset + 1).await
    }

    /// Calls the store until it answers; a store outage delays, it loses nothing.
    pub(super) async fn patiently<R, F>(orders: &Orders, call: impl Fn() -> F + Send) -> Result<R>
    where
        F: Future<Output = spine_store::Result<R>> + Send,
    {
        let mut pause = crate::limits::RETRY_FIRST;
        loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(error) if error.is_retryable() && !orders.must_go() => {
                    tracing::warn!(%error, "store call failed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(crate::limits::RETRY_MOST);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whether somebody may wait for the verdict on an event that carries no operation.
fn is_answered(event: &Event) -> bool {
    match &event.body {
        Body::Run(_, spine_schemas::RunEvent::Created(_)) => true,
        Body::Step(_, _, body) => matches!(
            body,
            StepEvent::Resolved(_)
                | StepEvent::Redriven { .. }
                | StepEvent::Discarded { .. }
                | StepEvent::TaskDecided { .. }
        ),
        Body::Run(..) => false,
        Body::Partition(_) => true,
    }
}
