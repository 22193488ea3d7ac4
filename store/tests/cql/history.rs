//! Real histories for tests: events folded by the rules, cut into batches as one likes.

use bytes::Bytes;
use spine_runs::{
    Owner, PartitionState, Place, RunState, Slots, Stamp, StepState, StepStatus, Verdict, ahead,
    fold,
};
use spine_schemas::{
    Body, Claim, Decision, Digest, Driver, Effect, ErrorClass, Event, Op, Output, PartitionEvent,
    Payload, Plan, RunCreated, RunEvent, RunKey, StepError, StepEvent, StepKey, StepSpec,
    StepStarted, codec, keys, time::Micros,
};
use spine_store::{
    DecisionRow, EventRow, LetterClosing, LetterKind, LetterRow, LetterStatus, Progress,
    RefusalRow, RunChange, StoreBatch, VerdictKind,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

const PLAN: &str = r#"{"steps":[
    {"name":"a","tool":"t","effect":"idempotent","retry":{"max_attempts":2}},
    {"name":"b","tool":"t","effect":"at_most_once","after":[],"retry":{"max_attempts":2}},
    {"name":"c","tool":"t","effect":"pure","after":["a"],"retry":{"max_attempts":1}}]}"#;

/// Random numbers that are the same for the same seed.
pub(crate) struct Luck(u64);

impl Luck {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One partition of a log, with what the fold made of each event.
pub(crate) struct History {
    pub(crate) partition: u32,
    state: PartitionState,
    runs: BTreeMap<RunKey, Arc<RunState>>,
    now: Micros,
    records: Vec<Record>,
}

/// An event and the rows that follow from it.
struct Record {
    at: Micros,
    state: PartitionState,
    key: Option<RunKey>,
    event: Option<(EventRow, Bytes)>,
    /// The run after it, if it left a trace, and the steps that it touched.
    run: Option<(Arc<RunState>, Vec<StepKey>, bool)>,
    decision: Option<DecisionRow>,
    letter: Option<LetterRow>,
    closing: Option<LetterClosing>,
    refusal: Option<RefusalRow>,
}

impl History {
    /// A claimed partition.
    pub(crate) fn new(partition: u32) -> Self {
        let now = Micros(1_700_000_000_000_000);
        let (state, runs, records) = Default::default();
        let mut history = Self { partition, state, runs, now, records };
        history.claim();
        history
    }

    /// A history of random doings.
    pub(crate) fn random(partition: u32, luck: &mut Luck, doings: u64) -> Self {
        let mut history = Self::new(partition);
        for _ in 0..doings {
            let key = RunKey::new(
                ["default", "other"][luck.below(2) as usize],
                &format!("p{partition}-{}", luck.below(3)),
            );
            history.do_something(&key, luck);
        }
        history
    }

    pub(crate) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn keys(&self) -> Vec<RunKey> {
        let keys: BTreeSet<RunKey> =
            self.records.iter().filter_map(|record| record.key.clone()).collect();
        keys.into_iter().collect()
    }

    /// How many events were judged so.
    pub(crate) fn count(&self, verdict: VerdictKind) -> usize {
        let events = self.records.iter().filter_map(|record| record.event.as_ref());
        events.filter(|(event, _)| event.verdict == verdict).count()
    }

    pub(crate) fn letters(&self) -> usize {
        self.records.iter().filter(|record| record.letter.is_some()).count()
    }

    /// A run right after an offset.
    pub(crate) fn run_at(&self, key: &RunKey, offset: u64) -> Option<RunState> {
        let upto = &self.records[..=offset as usize];
        let of_run = upto.iter().rev().filter(|record| record.key.as_ref() == Some(key));
        let run = of_run.filter_map(|record| record.run.as_ref()).next();
        run.map(|(run, _, _)| (**run).clone())
    }

    /// The batch of a range of offsets.
    pub(crate) fn batch(&self, range: Range<u64>) -> StoreBatch {
        let last = &self.records[range.end as usize - 1];
        let offset = range.end - 1;
        let chain = |offset: u64| Digest::of_bytes(&offset.to_be_bytes());
        let mut batch = StoreBatch {
            partition: self.partition,
            expected: range.start.checked_sub(1),
            progress: Progress {
                log_id: "l1".into(),
                offset,
                chain_before: chain(offset),
                chain: chain(offset + 1),
                at: last.at,
                partition_state: last.state.clone(),
            },
            runs: Vec::new(),
            events: Vec::new(),
            values: Vec::new(),
            decisions: Vec::new(),
            letters: Vec::new(),
            closings: Vec::new(),
            refusals: Vec::new(),
        };
        let mut runs: BTreeMap<&RunKey, (RunChange, BTreeSet<StepKey>)> = BTreeMap::new();
        for offset in range {
            let record = &self.records[offset as usize];
            if let Some((event, value)) = &record.event {
                batch.events.push(event.clone());
                batch.values.push(value.clone());
            }
            batch.decisions.extend(record.decision.clone());
            batch.letters.extend(record.letter.clone());
            batch.closings.extend(record.closing.clone());
            batch.refusals.extend(record.refusal.clone());
            if let (Some(key), Some((run, steps, created))) = (&record.key, &record.run) {
                let change =
                    RunChange { run: run.clone(), offset, steps: Vec::new(), created: *created };
                let (newest, touched) =
                    runs.entry(key).or_insert_with(|| (change.clone(), BTreeSet::new()));
                *newest = RunChange { created: newest.created || *created, ..change };
                touched.extend(steps.iter().cloned());
            }
        }
        batch.runs = runs
            .into_values()
            .map(|(change, steps)| RunChange { steps: steps.into_iter().collect(), ..change })
            .collect();
        batch
    }

    fn event(&self, key: &RunKey, body: Body) -> Event {
        Event::new(
            format!("e{}-{}", self.partition, self.records.len()),
            key.tenant.clone(),
            self.now,
            "test",
            body,
        )
    }

    fn append(&mut self, key: &RunKey, body: Body) -> Verdict {
        let event = self.event(key, body);
        self.fold(&event)
    }

    fn fold(&mut self, event: &Event) -> Verdict {
        let offset = self.len();
        self.now = self.now.plus_ms(1);
        let place = Place { partition: self.partition, offset, at: self.now };
        let key = event.run_key();
        let mut run = key.as_ref().and_then(|key| self.runs.get(key).cloned());
        let before = letter_of(run.as_deref(), event);
        let verdict = fold(&mut self.state, &mut run, event, place);
        let record = self.record(event, key.clone(), run.as_ref(), &verdict, (place, before));
        self.records.push(record);
        if let (Some(key), Some(run)) = (key, run) {
            self.runs.insert(key, run);
        }
        verdict
    }

    fn record(
        &self,
        event: &Event,
        key: Option<RunKey>,
        run: Option<&Arc<RunState>>,
        verdict: &Verdict,
        (place, before): (Place, Option<Digest>),
    ) -> Record {
        let offset = place.offset;
        let mut record = Record {
            at: place.at,
            state: self.state.clone(),
            key: key.clone(),
            event: None,
            run: None,
            decision: None,
            letter: None,
            closing: None,
            refusal: None,
        };
        let Some(key) = key else { return record };
        let row = event_row(event, &key, verdict, place);
        record.event = Some((row, codec::encode(event).unwrap()));
        let applied = matches!(verdict, Verdict::Applied(_));
        let trace = applied || event.op.is_some() || event.batch.is_some();
        record.run = run.filter(|_| trace).map(|run| {
            let mut steps: Vec<StepKey> = (run.steps.values())
                .filter(|step| step.last_offset == offset)
                .map(|step| step.key.clone())
                .collect();
            if let Body::Step(_, step, _) = &event.body {
                steps.extend(run.steps.contains_key(step).then(|| step.clone()));
            }
            (run.clone(), steps, applied && run.created_offset == offset)
        });
        if let Verdict::Refused(reason, answer) = verdict {
            record.refusal = Some(RefusalRow {
                partition: self.partition,
                offset,
                key: Some(key.clone()),
                reason: *reason,
                answer: Some(answer.clone()),
                at: place.at,
            });
        }
        if applied {
            record.letter = opened(event, &key, run, place);
            record.closing = before
                .filter(|_| letter_of(run.map(AsRef::as_ref), event).is_none())
                .map(|id| closing(id, event, place));
            if let Body::Run(_, RunEvent::DecisionRecorded(decision)) = &event.body {
                record.decision = Some(DecisionRow {
                    key,
                    partition: self.partition,
                    offset,
                    at: place.at,
                    decision: decision.as_ref().clone(),
                    actor: event.actor.clone(),
                });
            }
        }
        record
    }

    pub(crate) fn claim(&mut self) {
        let claim = Claim {
            worker: "w1".into(),
            address: String::new(),
            store_id: "s".into(),
            log_id: "l1".into(),
            fold_version: spine_runs::FOLD_VERSION,
            partitions: 1,
            over: self.state.current_claim(),
            restored: false,
        };
        let none = RunKey::new("default", "");
        self.append(&none, Body::Partition(PartitionEvent::OwnerClaimed(claim)));
    }

    pub(crate) fn create(&mut self, key: &RunKey, driver: Driver) {
        let plan = (driver == Driver::Plan).then(|| Arc::new(Plan::parse(PLAN).unwrap()));
        let created = RunCreated {
            workflow: "w".into(),
            version: "1".into(),
            driver,
            input: Payload::null(),
            tags: BTreeMap::new(),
            parent: None,
            plan,
            fork: None,
            caller: None,
        };
        let body = Body::Run(key.run_id.clone(), RunEvent::Created(Box::new(created)));
        self.append(key, body);
    }

    /// The owner decides for a run, after an outcome.
    pub(crate) fn settle(&mut self, key: &RunKey, outcomes: Vec<Body>) {
        let Some(run) = self.runs.get(key).cloned() else { return };
        let claim = self.state.claim.clone().unwrap();
        let (held, own) = (BTreeSet::new(), BTreeSet::from([claim.offset]));
        let owner = Owner {
            now: self.now,
            claim: claim.offset,
            claim_at: claim.at,
            restored_at: None,
            held: &held,
            own_claims: &own,
            exclusive: false,
            stall_after_ms: 0,
            memo: None,
        };
        let batch_id = format!("b{}", self.len());
        let stamp = Stamp { batch_id, actor: "owner".into(), now: self.now };
        let slots = &mut Slots::unlimited();
        for event in ahead(&self.state, &run, outcomes, &owner, slots, &stamp).events {
            self.fold(&event);
        }
    }

    /// The running attempt of a run's first such step ends.
    pub(crate) fn outcome(&mut self, key: &RunKey, class: Option<ErrorClass>) {
        let found = self.steps_in(key, StepStatus::Running);
        let Some(step) = found.first() else { return };
        let (attempt, lease) = (step.attempt, Some(step.live.as_ref().unwrap().lease));
        let event = match class {
            None => {
                let output = Output::of(Payload::json("output", r#"{"ok":true}"#).unwrap());
                StepEvent::Completed { attempt, lease, output, usage: None }
            }
            Some(class) => {
                let error = StepError::new(class, class.as_str(), "it failed");
                StepEvent::Failed { attempt, lease, error, usage: None }
            }
        };
        let outcome = Body::Step(key.run_id.clone(), step.key.clone(), event);
        if self.runs[key].driver() == Driver::Plan {
            self.settle(key, vec![outcome]);
        } else {
            self.append(key, outcome);
            self.settle(key, Vec::new());
        }
    }

    fn steps_in(&self, key: &RunKey, status: StepStatus) -> Vec<Arc<StepState>> {
        let steps = self.runs.get(key).into_iter().flat_map(|run| run.steps.values());
        steps.filter(|step| step.status == status).cloned().collect()
    }

    pub(crate) fn redrive(&mut self, key: &RunKey) {
        let Some(step) = self.steps_in(key, StepStatus::DeadLettered).pop() else { return };
        let letter_id = keys::step_letter_id(key, &step.key, step.generation);
        let reason = "again".into();
        let event = StepEvent::Redriven { letter_id, reason, force: true, edit: None };
        self.append(key, Body::Step(key.run_id.clone(), step.key.clone(), event));
    }

    fn begin(&mut self, key: &RunKey, name: &str, op_id: u64) {
        let spec = StepSpec::new("t", Effect::Idempotent, Payload::null());
        let start = StepStarted { spec: Some(Arc::new(spec)), ..StepStarted::default() };
        let body = Body::Step(key.run_id.clone(), StepKey::named(name), StepEvent::Started(start));
        let op = Some(Op { session: "S1".into(), op_id, replaces: None, version: None });
        let event = Event { op, ..self.event(key, body) };
        self.fold(&event);
    }

    pub(crate) fn decide(&mut self, key: &RunKey) {
        let event = RunEvent::DecisionRecorded(Box::new(decision()));
        self.append(key, Body::Run(key.run_id.clone(), event));
    }

    pub(crate) fn wait_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
    }

    fn do_something(&mut self, key: &RunKey, luck: &mut Luck) {
        let classes = [ErrorClass::Transient, ErrorClass::Terminal, ErrorClass::UnknownOutcome];
        match luck.below(16) {
            0..=2 => {
                let journal = key.run_id.ends_with('2');
                self.create(key, if journal { Driver::Journal } else { Driver::Plan });
                self.settle(key, Vec::new());
            }
            3 => self.claim(),
            4..=6 => self.outcome(key, None),
            7..=9 => self.outcome(key, Some(classes[luck.below(3) as usize])),
            10 => {
                self.wait_ms(3_600_000);
                self.settle(key, Vec::new());
            }
            11 => {
                self.redrive(key);
                self.settle(key, Vec::new());
            }
            12 | 13 => self.begin(key, ["x", "y"][luck.below(2) as usize], luck.below(6)),
            14 => self.decide(key),
            // A report of an attempt that nobody knows.
            _ => {
                let error = StepError::new(ErrorClass::Terminal, "x", "");
                let event = StepEvent::Failed { attempt: 9, lease: Some(1), error, usage: None };
                self.append(key, Body::Step(key.run_id.clone(), StepKey::named("a"), event));
            }
        }
    }
}

fn decision() -> Decision {
    Decision {
        decision: "refund".into(),
        request: String::new(),
        agent: "agent-1".into(),
        reasoning: String::new(),
        action: String::new(),
        params: Some(Payload::null()),
        result: None,
        error: None,
        confidence: None,
        step: None,
    }
}

fn letter_of(run: Option<&RunState>, event: &Event) -> Option<Digest> {
    let Body::Step(_, key, _) = &event.body else { return None };
    run?.steps.get(key)?.letter.as_ref().map(|letter| letter.letter_id)
}

fn opened(
    event: &Event,
    key: &RunKey,
    run: Option<&Arc<RunState>>,
    place: Place,
) -> Option<LetterRow> {
    let Body::Step(_, step, StepEvent::DeadLettered { letter_id, error, .. }) = &event.body else {
        return None;
    };
    let state = run?.steps.get(step)?;
    Some(LetterRow {
        letter_id: *letter_id,
        kind: LetterKind::Step,
        status: LetterStatus::Open,
        partition: place.partition,
        source_offset: state.scheduled_offset,
        offset: place.offset,
        tenant: Some(key.tenant.to_string()),
        run_id: Some(key.run_id.to_string()),
        step: Some(step.clone()),
        class: error.class.as_str().into(),
        code: error.code.clone(),
        message: error.message.clone(),
        generation: state.generation,
        attempts: state.attempt,
        attempts_json: "[]".into(),
        tool: Some(state.spec.tool.clone()),
        dead_at: place.at,
        closed_at: None,
        closed_by: None,
        closed_reason: None,
    })
}

fn closing(letter_id: Digest, event: &Event, place: Place) -> LetterClosing {
    LetterClosing {
        letter_id,
        status: LetterStatus::Redriven,
        offset: place.offset,
        at: place.at,
        by: event.actor.clone(),
        reason: event.kind().as_str().to_owned(),
    }
}

fn event_row(event: &Event, key: &RunKey, verdict: &Verdict, place: Place) -> EventRow {
    EventRow {
        key: key.clone(),
        partition: place.partition,
        offset: place.offset,
        at: place.at,
        kind: event.kind().as_str().to_owned(),
        step: match &event.body {
            Body::Step(_, step, _) => Some(step.clone()),
            Body::Run(..) | Body::Partition(_) => None,
        },
        attempt: None,
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
