//! The checkers: what must hold of the log, the store, the letters and the effects, whatever happened.

use crate::{
    approvals::Approvals,
    children::Children,
    folded::Folded,
    forks,
    memo::Memoized,
    node::INSTALLATION,
    pauses::Heard,
    random::Random,
    recovery,
    sessions::Sessions,
    signals::Signals,
    store::{Rows, SimStore},
    tools::RemoteEffect,
    transitions::Transitions,
    turns,
    turns::Turns,
    workload::{Ledger, TOPIC},
};
use spine_log::{EventLog, PartitionReader, ReadLimit, Record, TopicPartition};
use spine_runs::{PartitionState, Place, RunState, StepStatus, Verdict, fold, why};
use spine_schemas::{
    BRAIN_SCOPE, Body, Digest, Effect, Event, RunKey, StepEvent, StepKey, StepSpec,
    codec::{self, SchemaBook},
    keys,
    spec::RUN_TOOL,
};
use spine_workers::replay;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

/// What an accepted start was of.
#[derive(Debug)]
struct Begun {
    spec: Arc<StepSpec>,
    edit: u32,
}

/// What reading the whole log again gives.
#[derive(Default)]
pub(crate) struct Reading {
    runs: BTreeMap<RunKey, Arc<RunState>>,
    starts: BTreeMap<(RunKey, StepKey, u32), Begun>,
    letters_due: BTreeSet<Digest>,
    turns: Turns,
    pub(crate) transitions: Transitions,
    approvals: Approvals,
    signals: Signals,
    sessions: Sessions,
    memoized: Memoized,
    children: Children,
    heard: Heard,
    pub(crate) events: u64,
    /// A digest of every record, for comparing two runs of one seed.
    pub(crate) history: Option<Digest>,
}

/// Every record of a partition.
pub(crate) async fn all_records<L: EventLog>(log: &L, at: &TopicPartition) -> Vec<Record> {
    let end = log.bounds(at).await.unwrap().end;
    let mut records = Vec::new();
    let mut reader = log.reader(at, 0).await.unwrap();
    while reader.position() < end {
        let limit = ReadLimit { records: 1000, bytes: 1 << 24 };
        records.extend(reader.next(limit).await.unwrap());
    }
    records.retain(|record| record.offset < end);
    records
}

/// Reads and folds the log from its beginning, independently of the owners, of whom is known what they had heard.
pub(crate) async fn read_log<L: EventLog>(log: &L, partitions: u32, heard: &Heard) -> Reading {
    let book = SchemaBook::default();
    let mut reading = Reading { heard: heard.clone(), ..Reading::default() };
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for partition in 0..partitions {
        let at = TopicPartition::new(TOPIC, partition);
        let mut state = PartitionState::default();
        for record in all_records(log, &at).await {
            let value = record.value.clone().unwrap();
            parts.push(value.to_vec());
            parts.push(record.timestamp.0.to_be_bytes().to_vec());
            let event = codec::decode(&value, &book).unwrap();
            reading.take(&mut state, &record, &event);
        }
    }
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    reading.memoized.check();
    reading.signals.check(&reading.runs);
    reading.history = Some(Digest::of_parts(&slices));
    reading
}

impl Reading {
    fn take(&mut self, state: &mut PartitionState, record: &Record, event: &Event) {
        self.events += 1;
        let (offset, at) = (record.offset, record.timestamp);
        let place = Place { partition: 0, offset, at };
        let Some(key) = event.run_key() else {
            let verdict = fold(state, &mut None, event, place);
            trace(record, event, &verdict);
            return;
        };
        let before = self.runs.get(&key).cloned();
        let mut run = before.clone();
        let verdict = fold(state, &mut run, event, place);
        trace(record, event, &verdict);
        let (before, after) = (before.as_deref(), run.as_deref());
        let folded = Folded { event, offset, verdict: &verdict, before, after };
        let owner = state.claim.as_ref().map(|claim| claim.claim.worker.as_str());
        self.check_event(&folded, owner);
        if let Some(run) = run {
            self.turns.check(&run, event);
            self.check_counters(&run);
            self.runs.insert(key, run);
        }
    }

    fn check_event(&mut self, folded: &Folded<'_>, owner: Option<&str>) {
        let Folded { event, before, after, .. } = *folded;
        self.approvals.take(folded);
        self.transitions.take(folded);
        self.children.take(before, event, folded.is_applied());
        self.signals.take(folded);
        self.sessions.take(folded);
        check_late_success(before, event, folded.verdict);
        recovery::check(folded);
        if !folded.is_applied() {
            return;
        }
        check_named(folded);
        let Body::Step(_, key, body) = &event.body else { return };
        let step = after.and_then(|run| run.steps.get(key));
        self.memoized.take(event, step.map(|step| &*step.spec));
        if let Some((run, step)) = folded.begun() {
            self.heard.check(owner, event, after);
            // A begin carries no attempt: the fold assigned it.
            let place = (run.key.clone(), key.clone(), step.attempt);
            self.starts.insert(place, Begun { spec: step.spec.clone(), edit: step.edit });
        }
        if let StepEvent::DeadLettered { letter_id, .. } = body {
            self.letters_due.insert(*letter_id);
        }
    }

    fn check_counters(&self, run: &RunState) {
        for step in run.steps.values() {
            let most = step.spec.retry.max_attempts;
            let (charged, key) = (step.charged, &step.key);
            assert!(charged <= most, "{} {key}: {charged} charged of {most}", run.key);
        }
    }

    /// The live store equals the fold, and a replay into a fresh store equals the live one.
    pub(crate) async fn check_store<L: EventLog>(&self, log: &L, partitions: u32, live: &SimStore) {
        let rows = live.rows();
        for (key, run) in &self.runs {
            let stored = rows.runs.get(key).unwrap_or_else(|| panic!("{key} is not stored"));
            assert_eq!(stored, run, "{key} in the store differs from the fold");
        }
        assert_eq!(rows.runs.len(), self.runs.len(), "the store has runs that the log has not");
        let fresh = SimStore::new("replayed", Random::new(1));
        let book = Arc::new(SchemaBook::default());
        for partition in 0..partitions {
            let at = TopicPartition::new(TOPIC, partition);
            let end = log.bounds(&at).await.unwrap().end;
            replay::replay(log, &fresh, &at, end, &book, |_| {}).await.unwrap();
        }
        equal_rows(&rows, &fresh.rows());
    }

    /// Acknowledged events are where they were acknowledged.
    pub(crate) async fn check_acked<L: EventLog>(&self, log: &L, ledger: &Ledger) {
        let book = SchemaBook::default();
        let mut partitions: BTreeMap<TopicPartition, Vec<Record>> = BTreeMap::new();
        let all_acked = ledger.acked.lock().unwrap().clone();
        for acked in all_acked {
            if !partitions.contains_key(&acked.at) {
                partitions.insert(acked.at.clone(), all_records(log, &acked.at).await);
            }
            let records = &partitions[&acked.at];
            let found = records.binary_search_by_key(&acked.offset, |record| record.offset);
            let record = found.ok().map(|index| &records[index]);
            let record = record.unwrap_or_else(|| panic!("acknowledged, then lost: {acked:?}"));
            let event = codec::decode(record.value.as_deref().unwrap(), &book).unwrap();
            assert_eq!(event.event_id, acked.event_id, "another event at an acknowledged place");
        }
    }

    /// Every letter has its event, every event its letter, and repeats are equal byte for byte.
    pub(crate) async fn check_letters<L: EventLog>(&self, log: &L, partitions: u32, rows: &Rows) {
        let book = SchemaBook::default();
        let mut found: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
        for partition in 0..partitions {
            let at = TopicPartition::new(format!("{TOPIC}.dlq"), partition);
            for record in all_records(log, &at).await {
                let value = record.value.unwrap().to_vec();
                let letter = codec::decode_letter(&value, &book).unwrap();
                if let Some(before) = found.insert(letter.letter_id, value.clone()) {
                    assert_eq!(before, value, "letter {} has two forms", letter.letter_id);
                }
            }
        }
        let published: BTreeSet<Digest> = found.keys().copied().collect();
        let letters = rows.letters.values().filter(|row| row.kind != spine_store::LetterKind::Task);
        let stored: BTreeSet<Digest> = letters.map(|row| row.letter_id).collect();
        assert_eq!(published, stored, "letters in the topic and in the store differ");
        assert!(self.letters_due.is_subset(&published), "a dead-lettered step has no letter");
        let steps = rows.letters.values().filter(|row| row.step.is_some());
        let of_steps = steps.filter(|row| row.kind == spine_store::LetterKind::Step);
        for row in of_steps {
            assert!(self.letters_due.contains(&row.letter_id), "a letter without its event");
        }
    }

    /// Every effect has an earlier accepted start; careful steps act at most once.
    pub(crate) fn check_effects(&self, effects: &BTreeMap<(RunKey, StepKey), Vec<RemoteEffect>>) {
        for ((key, step), effects) in effects {
            for effect in effects {
                self.check_call(key, step, effect);
            }
            let run = &self.runs[key];
            let state = &run.steps[step];
            let keys: BTreeSet<&String> = effects.iter().map(|effect| &effect.key).collect();
            // An edit gives another key. What may have had its effect cannot be edited, but for a brain that was
            // asked and said what no plan can take.
            let may_differ = state.spec.effect == Effect::Pure || *step.scope == *BRAIN_SCOPE;
            assert!(keys.len() <= 1 || may_differ, "{key} {step}: more than one idempotency key");
            if state.spec.effect.is_careful() {
                let count = effects.len();
                assert!(count <= 1, "{key} {step}: {count} effects of a careful step: {effects:?}");
            }
        }
        self.check_completed(effects);
        forks::check(&self.runs, effects);
    }

    /// What was done is what an accepted start was of: with its input, under its key.
    fn check_call(&self, key: &RunKey, step: &StepKey, effect: &RemoteEffect) {
        let attempt = effect.attempt;
        let start = (key.clone(), step.clone(), attempt);
        let begun = self.starts.get(&start).unwrap_or_else(|| {
            panic!("{key} {step}: attempt {attempt} acted without an accepted start")
        });
        let Some(input) = effect.input else { return };
        let (given, edit) = (begun.spec.input.digest, begun.edit);
        assert_eq!(input, given, "{key} {step}: attempt {attempt} with another input");
        let own = keys::idempotency_key(INSTALLATION, key, step, edit).to_string();
        assert_eq!(effect.key, own, "{key} {step}: attempt {attempt} under another key");
    }

    /// A careful step that is completed has acted exactly once; one known not to be done, never.
    fn check_completed(&self, effects: &BTreeMap<(RunKey, StepKey), Vec<RemoteEffect>>) {
        for (key, run) in &self.runs {
            if run.driver() == spine_schemas::Driver::Record {
                continue;
            }
            // What a run has done that is a step is its own.
            let steps = run.steps.values().filter(|step| step.spec.tool != RUN_TOOL);
            for step in steps.filter(|step| step.spec.effect.is_careful()) {
                let count = effects.get(&(key.clone(), step.key.clone())).map_or(0, Vec::len);
                match step.status {
                    StepStatus::Completed if step.reused => {}
                    StepStatus::Completed => {
                        assert_eq!(count, 1, "{key} {}: completed, {count} effects", step.key);
                    }
                    StepStatus::Unknown | StepStatus::Running => assert!(count <= 1),
                    StepStatus::Scheduled
                    | StepStatus::RetryWaiting
                    | StepStatus::Deferred
                    | StepStatus::Failed
                    | StepStatus::Awaiting
                    | StepStatus::DeadLettered
                    | StepStatus::Skipped
                    | StepStatus::Cancelled => {
                        assert_eq!(count, 0, "{key} {}: {:?} but acted", step.key, step.status);
                    }
                }
            }
        }
    }

    /// Once everything works again, every run has ended.
    pub(crate) fn check_ended(&self, ledger: &Ledger) {
        for key in ledger.runs.lock().unwrap().iter() {
            let run = self.runs.get(key).unwrap_or_else(|| panic!("{key} never began"));
            assert!(!run.is_open(), "{key} has not ended: {}", why(run).sentence);
        }
        self.children.check(&self.runs);
    }
}

/// Tells each event, when `SPINE_SIM_TRACE` is set: all of them, or those of one run.
fn trace(record: &Record, event: &Event, verdict: &Verdict) {
    let Ok(wanted) = std::env::var("SPINE_SIM_TRACE") else { return };
    let run = event.run_id().map_or("-", |run| run.as_ref());
    if wanted == "all" || wanted == run || run == "-" {
        let (at, offset, claim) = (record.timestamp.0 % 1_000_000_000, record.offset, event.claim);
        println!("{at} {offset} claim {claim:?} {:?} -> {verdict:?}", event.body);
    }
}

/// What comes next is what `runs why` named.
fn check_named(folded: &Folded<'_>) {
    let Some(before) = folded.before else { return };
    let (expected, kind) = (why(before), folded.event.kind().as_str());
    assert!(
        expected.next.contains(&kind),
        "offset {}: {kind} came although '{}' named {:?}",
        folded.offset,
        expected.sentence,
        expected.next
    );
}

/// A success of the newest attempt completes its step from every state in which no newer start was
/// accepted, however late it comes.
fn check_late_success(before: Option<&RunState>, event: &Event, verdict: &Verdict) {
    let Body::Step(_, key, StepEvent::Completed { attempt, lease, .. }) = &event.body else {
        return;
    };
    let Some(run) = before.filter(|run| run.is_open()) else { return };
    // What no plan can take from its brain is no success.
    if turns::is_nonsense(run, event) {
        return;
    }
    let Some(step) = run.steps.get(key) else { return };
    let newest = step.attempts.last().filter(|last| {
        last.attempt == *attempt && Some(last.lease) == *lease && last.edit == step.edit
    });
    let waits = matches!(
        step.status,
        StepStatus::Unknown
            | StepStatus::DeadLettered
            | StepStatus::RetryWaiting
            | StepStatus::Scheduled
    );
    if newest.is_some() && waits && event.op.is_none() {
        let applied = matches!(verdict, Verdict::Applied(_));
        assert!(applied, "{} {key}: a late success was not taken: {verdict:?}", run.key);
    }
}

fn equal_rows(live: &Rows, replayed: &Rows) {
    equal_maps("run", &live.runs, &replayed.runs);
    equal_maps("event row", &live.events, &replayed.events);
    equal_maps("decision row", &live.decisions, &replayed.decisions);
    equal_maps("letter row", &live.letters, &replayed.letters);
    equal_maps("refusal row", &live.refusals, &replayed.refusals);
}

fn equal_maps<K: Ord + Debug, V: PartialEq + Debug>(
    what: &str,
    live: &BTreeMap<K, V>,
    replayed: &BTreeMap<K, V>,
) {
    let places: BTreeSet<&K> = live.keys().chain(replayed.keys()).collect();
    for place in places {
        let (live, replayed) = (live.get(place), replayed.get(place));
        assert!(live == replayed, "{what} {place:?}: live {live:?}, replayed {replayed:?}");
    }
}
