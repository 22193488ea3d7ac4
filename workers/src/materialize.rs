//! From folded events to rows: what a range of the log changes in the store. Used by the owner, which
//! follows the log, and by replay, which reads it again; so both give equal rows.

mod letters;
mod lifecycle;
mod pending;

pub(crate) use letters::{LetterDue, record_letter, step_letter};
pub(crate) use lifecycle::Told;

use crate::{cache::RunCache, chain};
use pending::Pending;
use spine_log::Record;
use spine_runs::{Answer, PartitionState, Place, RunState, RunStatus, Verdict, fold};
use spine_schemas::{Body, Digest, Event, RecordClass, RunEvent, RunKey, StepEvent, StepKey, keys};
use spine_store::{
    DecisionRow, EventRow, LetterClosing, Progress, RefusalRow, StoreBatch, VerdictKind,
};
use std::{collections::BTreeMap, sync::Arc};

/// Folds the records of one partition in order and gathers the rows that they change.
#[derive(Debug)]
pub(crate) struct Materializer {
    partition: u32,
    topic: Arc<str>,
    log_id: String,
    state: PartitionState,
    mark: Option<Mark>,
    stored: Option<u64>,
    pending: Pending,
    /// Whether transitions are told; a replay tells nothing.
    tells: bool,
    ends: Ends,
}

/// Runs that ended, by what became of them.
#[derive(Debug)]
struct Ends {
    /// Whether they count. A store that is built anew has counted what it had before.
    count: bool,
    /// Since the last batch.
    gathered: BTreeMap<RunStatus, u64>,
    /// In batches that were handed over.
    handed: BTreeMap<RunStatus, u64>,
}

impl Ends {
    fn note(&mut self, status: RunStatus) {
        if self.count {
            *self.gathered.entry(status).or_default() += 1;
        }
    }

    fn hand_over(&mut self) {
        for (status, runs) in std::mem::take(&mut self.gathered) {
            *self.handed.entry(status).or_default() += runs;
        }
    }
}

/// The newest record that was folded or passed over.
#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: u64,
    chain_before: Digest,
    chain: Digest,
    at: spine_schemas::time::Micros,
}

/// What folding one record gave.
#[derive(Debug)]
pub(crate) struct Folded {
    /// What the fold made of it.
    pub(crate) verdict: Verdict,
    /// The run that it is about.
    pub(crate) run: Option<RunKey>,
    /// The letter that must be in the dead-letter topic before progress may pass.
    pub(crate) letter: Option<LetterDue>,
    /// The transitions that must be told before progress may pass.
    pub(crate) told: Vec<Told>,
}

impl Materializer {
    /// Starts after the stored progress, or at the beginning of the log.
    pub(crate) fn new(
        partition: u32,
        topic: Arc<str>,
        log_id: &str,
        progress: Option<Progress>,
    ) -> Self {
        let stored = progress.as_ref().map(|progress| progress.offset);
        let (gathered, handed) = (BTreeMap::new(), BTreeMap::new());
        let ends = Ends { count: stored.is_some(), gathered, handed };
        let mark = progress.as_ref().map(|progress| Mark {
            offset: progress.offset,
            chain_before: progress.chain_before,
            chain: progress.chain,
            at: progress.at,
        });
        let state = progress.map(|progress| progress.partition_state).unwrap_or_default();
        let log_id = log_id.to_owned();
        let pending = Pending::default();
        Self { partition, topic, log_id, state, mark, stored, pending, tells: false, ends }
    }

    /// From now on it says which transitions are to be told.
    #[must_use]
    pub(crate) fn telling(self, tells: bool) -> Self {
        Self { tells, ..self }
    }

    /// From now on ends of runs count, also where the store is built anew.
    pub(crate) fn count_ends(&mut self) {
        self.ends.count = true;
    }

    /// Runs that ended in batches that were handed over since the last time, by what became of them.
    pub(crate) fn take_ends(&mut self) -> BTreeMap<RunStatus, u64> {
        std::mem::take(&mut self.ends.handed)
    }

    /// The partition's folded state.
    pub(crate) fn state(&self) -> &PartitionState {
        &self.state
    }

    /// Offset of the newest record that was folded.
    pub(crate) fn folded(&self) -> Option<u64> {
        self.mark.map(|mark| mark.offset)
    }

    /// The offset at which reading goes on.
    pub(crate) fn next_offset(&self) -> u64 {
        self.mark.map_or(0, |mark| mark.offset + 1)
    }

    /// Events folded and not yet handed to the store, and the bytes that they hold.
    pub(crate) fn pending_size(&self) -> (usize, usize) {
        (self.pending.events.len() + self.pending.letters.len(), self.pending.bytes)
    }

    /// Whether anything was folded that the store does not have.
    pub(crate) fn is_behind(&self) -> bool {
        self.folded() > self.stored
    }

    /// Folds one event onto its partition and run. The run's state must be in the cache.
    pub(crate) fn fold(&mut self, cache: &mut RunCache, record: &Record, event: &Event) -> Folded {
        let place =
            Place { partition: self.partition, offset: record.offset, at: record.timestamp };
        self.advance(record);
        let Some(key) = event.run_key() else {
            let verdict = fold(&mut self.state, &mut None, event, place);
            let letter = self.control_rows(record, event, &verdict);
            let told =
                self.tells.then(|| self.told_of_partition(record, event, &verdict)).flatten();
            return Folded { verdict, run: None, letter, told: Vec::from_iter(told) };
        };
        let bytes = record.value.as_ref().map_or(0, bytes::Bytes::len);
        let slot = cache.slot(&key, record.offset, bytes);
        let before = letters::open(slot.as_deref(), event);
        let was = lifecycle::Before::of(slot.as_deref().filter(|_| self.tells), event);
        let was_open = slot.as_deref().is_some_and(RunState::is_open);
        let verdict = fold(&mut self.state, slot, event, place);
        let run = slot.clone();
        if let Some(run) = run.as_deref().filter(|run| was_open && !run.is_open()) {
            self.ends.note(run.status);
        }
        self.pending.bytes += bytes;
        let letter = self.run_rows(record, event, &key, run.as_ref(), &verdict);
        let mut closings = Vec::new();
        if let (Verdict::Applied(_), false) = (&verdict, before.is_empty()) {
            closings = letters::closings(run.as_deref(), event, &before, place);
        }
        let told = match (&verdict, run.as_deref().filter(|_| self.tells)) {
            (Verdict::Applied(answer), Some(run)) => {
                self.told_of_run((record, event, answer), (run, &was), &closings)
            }
            (Verdict::Illegal(reason), _) if self.tells => {
                vec![lifecycle::illegal(self.place(), record, event, *reason)]
            }
            _ => Vec::new(),
        };
        self.pending.closings.extend(closings);
        Folded { verdict, run: Some(key), letter, told }
    }

    fn place(&self) -> (&str, &str, u32) {
        (&self.log_id, &self.topic, self.partition)
    }

    /// A refused operation may change who holds what, and does not do what it says.
    fn told_of_run(
        &self,
        (record, event, answer): (&Record, &Event, &Answer),
        of: (&RunState, &lifecycle::Before),
        closings: &[LetterClosing],
    ) -> Vec<Told> {
        let (topic, partition) = (&self.topic, self.partition);
        let does = answer.grants() || is_asked(answer);
        let own = does.then(|| lifecycle::of_run(topic, partition, record, event, of, closings));
        let own = own.flatten();
        let others = lifecycle::of_takeover((topic, partition), record, event, of, own.as_ref());
        own.into_iter().chain(others).collect()
    }

    fn told_of_partition(&self, record: &Record, event: &Event, verdict: &Verdict) -> Option<Told> {
        match verdict {
            Verdict::Applied(_) => lifecycle::of_partition(self.place(), record, event),
            Verdict::Illegal(reason) => {
                Some(lifecycle::illegal(self.place(), record, event, *reason))
            }
            Verdict::Stale(..) | Verdict::Refused(..) => None,
        }
    }

    /// Passes over a record that a claimed owner decided to set aside; its letter follows from
    /// that decision, not from here.
    pub(crate) fn pass_over(&mut self, record: &Record) {
        self.advance(record);
    }

    fn advance(&mut self, record: &Record) {
        assert!(record.offset >= self.next_offset(), "records are folded in order, each once");
        let before = self
            .mark
            .map_or_else(|| chain::origin(&self.log_id, self.partition), |mark| mark.chain);
        self.mark = Some(Mark {
            offset: record.offset,
            chain_before: before,
            chain: chain::link(&before, &self.log_id, self.partition, record),
            at: record.timestamp,
        });
    }

    fn control_rows(
        &mut self,
        record: &Record,
        event: &Event,
        verdict: &Verdict,
    ) -> Option<LetterDue> {
        let Body::Partition(body) = &event.body else {
            return None;
        };
        if let Verdict::Refused(reason, answer) = verdict {
            self.pending.refusals.push(RefusalRow {
                partition: self.partition,
                offset: record.offset,
                key: None,
                reason: *reason,
                answer: Some(answer.clone()),
                at: record.timestamp,
            });
        }
        match verdict {
            Verdict::Illegal(reason) => Some(self.illegal(record, event, *reason)),
            Verdict::Applied(_) => {
                self.pending.closings.extend(letters::disposal(body, event, record));
                letters::set_aside(body).map(|(offset, class, message)| LetterDue::Record {
                    offset,
                    class,
                    message,
                    decided: record.offset,
                    at: record.timestamp,
                })
            }
            Verdict::Stale(..) | Verdict::Refused(..) => None,
        }
    }

    /// The row of a record letter, once the record itself is at hand.
    pub(crate) fn open_record_letter(
        &mut self,
        due: &LetterDue,
        original: &Record,
        event: Option<&Event>,
    ) {
        if let LetterDue::Record { offset, class, message, decided, at } = due {
            let id = keys::record_letter_id(&self.log_id, &self.topic, self.partition, *offset);
            self.pending.letters.push(letters::record_row(
                id,
                self.partition,
                original,
                event,
                letters::Cause { class: *class, message, decided: *decided, at: *at },
            ));
        }
    }

    fn illegal(&mut self, record: &Record, event: &Event, reason: spine_runs::Reason) -> LetterDue {
        let message = letters::illegal_message(event, reason);
        let due = LetterDue::Record {
            offset: record.offset,
            class: RecordClass::IllegalEvent,
            message,
            decided: record.offset,
            at: record.timestamp,
        };
        self.open_record_letter(&due, record, Some(event));
        due
    }

    fn run_rows(
        &mut self,
        record: &Record,
        event: &Event,
        key: &RunKey,
        run: Option<&Arc<RunState>>,
        verdict: &Verdict,
    ) -> Option<LetterDue> {
        self.pending.events.push(event_row(self.partition, record, event, key, verdict));
        self.pending.values.push(record.value.clone().unwrap_or_default());
        if let Some(run) = run {
            self.pending.note_run(run, event, record.offset, verdict);
        }
        match verdict {
            Verdict::Illegal(reason) => Some(self.illegal(record, event, *reason)),
            Verdict::Refused(reason, answer) => {
                self.pending.refusals.push(RefusalRow {
                    partition: self.partition,
                    offset: record.offset,
                    key: Some(key.clone()),
                    reason: *reason,
                    answer: Some(answer.clone()),
                    at: record.timestamp,
                });
                None
            }
            Verdict::Stale(..) => None,
            Verdict::Applied(_) => self.applied_rows(record, event, key, run),
        }
    }

    fn applied_rows(
        &mut self,
        record: &Record,
        event: &Event,
        key: &RunKey,
        run: Option<&Arc<RunState>>,
    ) -> Option<LetterDue> {
        match &event.body {
            Body::Run(_, RunEvent::DecisionRecorded(decision)) => {
                self.pending.decisions.push(DecisionRow {
                    key: key.clone(),
                    partition: self.partition,
                    offset: record.offset,
                    at: record.timestamp,
                    decision: decision.as_ref().clone(),
                    actor: event.actor.clone(),
                });
                None
            }
            Body::Step(_, step, StepEvent::DeadLettered { .. }) => {
                let state = run?.steps.get(step)?;
                self.pending.letters.extend(letters::step_row(self.partition, key, state));
                Some(LetterDue::Step { run: key.clone(), step: state.clone() })
            }
            Body::Step(
                _,
                step,
                StepEvent::TaskOpened { .. } | StepEvent::ApprovalRequested { .. },
            ) => {
                let state = run?.steps.get(step)?;
                self.pending.letters.extend(letters::task_row(self.partition, key, state));
                None
            }
            // An agent's `begin` asks for itself.
            Body::Step(_, step, StepEvent::Started(_)) => {
                let state = run?.steps.get(step).filter(|step| step.asks_since(record.offset))?;
                self.pending.letters.extend(letters::task_row(self.partition, key, state));
                None
            }
            Body::Run(..) | Body::Step(..) | Body::Partition(_) => None,
        }
    }

    /// Everything since the last batch, as one batch; `None` when the store has it all.
    pub(crate) fn take_batch(&mut self, cache: &RunCache) -> Option<StoreBatch> {
        let mark = self.mark.filter(|_| self.is_behind())?;
        let expected = self.stored;
        self.stored = Some(mark.offset);
        self.ends.hand_over();
        let next = self.pending.begun_anew();
        let mut pending = std::mem::replace(&mut self.pending, next);
        Some(StoreBatch {
            partition: self.partition,
            expected,
            progress: Progress {
                log_id: self.log_id.clone(),
                offset: mark.offset,
                chain_before: mark.chain_before,
                chain: mark.chain,
                at: mark.at,
                partition_state: self.state.clone(),
            },
            runs: pending.take_run_changes(cache),
            events: pending.events,
            values: pending.values,
            decisions: pending.decisions,
            letters: pending.letters,
            closings: pending.closings,
            refusals: pending.refusals,
        })
    }
}

/// Whether a `begin` made people be asked, which it does although it is not granted.
fn is_asked(answer: &Answer) -> bool {
    matches!(answer, Answer::Asked { .. })
}

fn event_row(
    partition: u32,
    record: &Record,
    event: &Event,
    key: &RunKey,
    verdict: &Verdict,
) -> EventRow {
    EventRow {
        key: key.clone(),
        partition,
        offset: record.offset,
        at: record.timestamp,
        kind: event.kind().as_str().to_owned(),
        step: step_of(&event.body).cloned(),
        attempt: attempt_of(&event.body),
        actor: event.actor.clone(),
        verdict: match verdict {
            Verdict::Applied(_) => VerdictKind::Applied,
            Verdict::Stale(..) => VerdictKind::Stale,
            Verdict::Refused(..) => VerdictKind::Refused,
            Verdict::Illegal(_) => VerdictKind::Illegal,
        },
        reason: verdict.reason(),
    }
}

fn step_of(body: &Body) -> Option<&StepKey> {
    match body {
        Body::Step(_, key, _) => Some(key),
        Body::Run(
            _,
            RunEvent::Failed { step, .. }
            | RunEvent::CompensationStarted { step, .. }
            | RunEvent::Stalled { step, .. },
        ) => step.as_ref(),
        Body::Run(_, RunEvent::DecisionRecorded(decision)) => decision.step.as_ref(),
        Body::Run(..) | Body::Partition(_) => None,
    }
}

fn attempt_of(body: &Body) -> Option<u32> {
    let Body::Step(_, _, event) = body else {
        return None;
    };
    match event {
        StepEvent::Started(start) => start.attempt,
        StepEvent::Heartbeat { attempt, .. }
        | StepEvent::Completed { attempt, .. }
        | StepEvent::Failed { attempt, .. }
        | StepEvent::Lost { attempt, .. }
        | StepEvent::RetryScheduled { attempt, .. }
        | StepEvent::Deferred { attempt, .. }
        | StepEvent::Released { attempt, .. }
        | StepEvent::Unknown { attempt, .. }
        | StepEvent::DeadLettered { attempt, .. }
        | StepEvent::FallbackStarted { attempt, .. }
        | StepEvent::TaskOpened { attempt, .. }
        | StepEvent::ApprovalRequested { attempt, .. }
        | StepEvent::FaultInjected { attempt, .. } => Some(*attempt),
        StepEvent::Resolved(resolution) => Some(resolution.attempt),
        StepEvent::Probed(finding) => Some(finding.attempt),
        StepEvent::Scheduled(_)
        | StepEvent::Skipped { .. }
        | StepEvent::Cancelled { .. }
        | StepEvent::Redriven { .. }
        | StepEvent::TaskDecided { .. }
        | StepEvent::TaskExpired { .. }
        | StepEvent::Reused { .. }
        | StepEvent::WaitCreated { .. }
        | StepEvent::WaitExpired
        | StepEvent::Paused { .. }
        | StepEvent::Resumed { .. }
        | StepEvent::Discarded { .. } => None,
    }
}
