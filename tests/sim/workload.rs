//! What the simulated world asks of Spine: plan runs, reported runs, and operators who put things right.

use crate::{
    agent,
    clock::SimClock,
    node::CONTROL,
    plans,
    random::Random,
    store::SimStore,
    tools::{RemoteEffect, SimTools},
    worker::{self, Doors, QUEUE},
};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, TopicPartition, Urgency};
use spine_runs::{AttemptEnd, RunState, StepState, StepStatus, Verdict};
use spine_schemas::{
    BRAIN_SCOPE, Body, Digest, Driver, Effect, Event, HeldBy, InputEdit, Output, Payload,
    Resolution, RunCreated, RunEvent, RunKey, StepEvent, StepKey, StepSpec, StepStarted,
    TaskVerdict, Then, codec,
    control::{Change, ControlRecord},
    keys,
};
use spine_store::{LetterKind, LetterStatus};
use spine_workers::Clock;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

pub(crate) const TOPIC: &str = "spine.steps";

/// How often agents begin anew on a run that has not ended.
const ROUNDS: u32 = 40;

/// An append that was acknowledged, for the checker.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    pub(crate) at: TopicPartition,
    pub(crate) offset: u64,
    pub(crate) event_id: String,
}

/// What the clients know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) acked: Arc<Mutex<Vec<Acked>>>,
    pub(crate) runs: Arc<Mutex<Vec<RunKey>>>,
    next_id: Arc<Mutex<u64>>,
}

impl Ledger {
    fn event_id(&self) -> String {
        let mut next = self.next_id.lock().unwrap();
        *next += 1;
        format!("client-{next}")
    }
}

/// A client's way to the log: reconnects when a process is replaced.
pub(crate) trait Access: Clone + Send + Sync + 'static {
    type Log: EventLog;
    /// The log, as long as some process is up.
    fn log(&self) -> Option<Self::Log>;
    /// The verdict on the event at an offset of partition 0, if a process tells it in time.
    fn verdict(&self, offset: u64) -> impl Future<Output = Option<Verdict>> + Send;
    /// What pauses a call of a tool for a tenant, as the door of the process that is up knows it.
    fn pause_of(&self, tenant: &str, tool: &str) -> Option<HeldBy>;
}

pub(crate) struct Clients<A> {
    pub(crate) access: A,
    pub(crate) store: SimStore,
    pub(crate) tools: SimTools,
    pub(crate) clock: SimClock,
    pub(crate) random: Random,
    pub(crate) ledger: Ledger,
    pub(crate) partitions: u32,
    /// Where workers ask.
    pub(crate) doors: Doors,
}

impl<A: Access> Clients<A> {
    /// Submits runs and reports over a while.
    pub(crate) async fn submit(&self, runs: u64) {
        for number in 0..runs {
            tokio::time::sleep(Duration::from_millis(self.random.below(400))).await;
            let key = RunKey::new("default", &format!("run-{number}"));
            self.ledger.runs.lock().unwrap().push(key.clone());
            if self.random.chance(20) {
                self.report(&key).await;
            } else {
                let body = Body::Run(key.run_id.clone(), plans::created(&self.random));
                self.append(&key, vec![body], true).await;
                if self.random.chance(25) {
                    self.signal_early(&key).await;
                }
                if self.random.chance(8) {
                    self.change_mind(&key).await;
                }
            }
        }
    }

    /// Cancels a run that has only just begun, while its first steps run.
    async fn change_mind(&self, key: &RunKey) {
        tokio::time::sleep(Duration::from_millis(self.random.below(60))).await;
        let compensate = self.random.chance(50);
        let event = RunEvent::CancelRequested { reason: "changed my mind".into(), compensate };
        self.append(key, vec![Body::Run(key.run_id.clone(), event)], false).await;
    }

    /// Two workers share the queue.
    pub(crate) async fn work(&self) {
        tokio::join!(worker::work(self, "w1"), worker::work(self, "w2"));
    }

    /// Two agents race over a run until one of them has ended it. Of those that vanish one is replaced by name, so
    /// that its lease is over at once; and so is one that lives, now and then.
    pub(crate) async fn drive(&self, key: &RunKey) {
        self.append(key, vec![Body::Run(key.run_id.clone(), agent::created())], true).await;
        if self.random.chance(30) {
            self.signal_early(key).await;
        }
        for round in 0..ROUNDS {
            let (one, two) = (format!("one-{round}"), format!("two-{round}"));
            let names_last = round > 0 && self.random.chance(60);
            let last = names_last.then(|| format!("one-{}", round - 1));
            let rival = self.random.chance(25).then(|| one.clone());
            tokio::join!(agent::drive(self, key, &one, last), agent::drive(self, key, &two, rival));
            let rest_ms = if self.random.chance(50) { 200 } else { 1000 };
            tokio::time::sleep(Duration::from_millis(rest_ms)).await;
            let rows = self.store.rows();
            if rows.runs.get(key).is_some_and(|run| !run.is_open()) {
                return;
            }
        }
    }

    /// Looks for what waits for a person, and does what a careful operator would.
    pub(crate) async fn operate(&self) {
        let (mut paused, mut forks) = (None, 0);
        loop {
            tokio::time::sleep(Duration::from_millis(700 + self.random.below(600))).await;
            paused = self.hold_back(paused).await;
            let rows = self.store.rows();
            for run in rows.runs.values() {
                self.steer(run).await;
                self.signal_some(run).await;
                self.fork_some(run, &mut forks).await;
                self.answer_again(run).await;
                for step in run.steps.values().filter(|_| run.is_open()) {
                    if self.random.chance(50) {
                        self.report_late(run, step).await;
                    }
                    if step.status == StepStatus::Unknown {
                        self.resolve(run, step).await;
                    }
                }
            }
            let open = rows.letters.values().filter(|row| row.status == LetterStatus::Open);
            for letter in open.filter(|row| row.kind != LetterKind::Record) {
                let key = RunKey::new(
                    letter.tenant.as_deref().unwrap_or_default(),
                    letter.run_id.as_deref().unwrap_or_default(),
                );
                let step = letter.step.clone().unwrap();
                let Some(run) = rows.runs.get(&key) else { continue };
                let letter_id = letter.letter_id;
                let reason = "simulated operator".to_owned();
                let event = if letter.kind == LetterKind::Task {
                    self.answer(letter_id, letter.code == "approval", reason)
                } else if self.random.chance(90) || !run.is_open() {
                    let edit = self.edit_some(run, &step);
                    StepEvent::Redriven { letter_id, reason, force: true, edit }
                } else {
                    let then = if self.random.chance(50) { Then::Skip } else { Then::Fail };
                    StepEvent::Discarded { letter_id, then, reason }
                };
                let body = Body::Step(key.run_id.clone(), step, event);
                if letter.code != "approval" {
                    self.append(&key, vec![body], false).await;
                    continue;
                }
                // People differ; some say it twice.
                let actor = format!("person-{}", self.random.below(3));
                let event = Event { actor, ..self.event(&key, body) };
                self.append_event(&key, &event).await;
            }
        }
    }

    /// Another input for a step, now and then. It is refused while an attempt may have taken effect.
    fn edit_some(&self, run: &RunState, step: &StepKey) -> Option<InputEdit> {
        let before = run.steps.get(step)?.spec.input.digest;
        let after = plans::number(&self.random);
        self.random.chance(30).then_some(InputEdit { before, after })
    }

    /// Pauses a tool or the tenant now and then, and lets it go on soon after.
    async fn hold_back(&self, paused: Option<Change>) -> Option<Change> {
        let (change, paused) = match paused {
            Some(Change::ToolPaused { tool }) => (Change::ToolResumed { tool }, None),
            Some(_) => (Change::TenantResumed { tenant: "default".into() }, None),
            None if self.random.chance(4) => {
                let tool = match self.random.below(5) {
                    3 => format!("queue:{QUEUE}"),
                    4 => agent::TOOL.to_owned(),
                    number => format!("http://tool/{number}"),
                };
                let tenant = "default".into();
                let is_tool = self.random.chance(70);
                let change = if is_tool {
                    Change::ToolPaused { tool }
                } else {
                    Change::TenantPaused { tenant }
                };
                (change.clone(), Some(change))
            }
            None => return None,
        };
        let key = Some(Bytes::from(change.key()));
        let (by, reason) = ("operator".to_owned(), "simulated".to_owned());
        let record = ControlRecord { at: self.clock.now(), by, reason, change };
        let record = NewRecord::plain(key, record.to_json());
        self.append_records(&TopicPartition::new(CONTROL, 0), vec![record], &[]).await;
        paused
    }

    fn answer(&self, task_id: Digest, about_call: bool, reason: String) -> StepEvent {
        // What was not done cannot be called done: the checkers look at the tools.
        let verdicts =
            [TaskVerdict::Retry, TaskVerdict::Retry, TaskVerdict::Skip, TaskVerdict::Fail];
        let verdict = match about_call {
            true if self.random.chance(80) => TaskVerdict::Approve,
            true => TaskVerdict::Deny,
            false => verdicts[self.random.below(4) as usize],
        };
        StepEvent::TaskDecided { task_id, verdict, output: None, reason }
    }

    /// Holds runs back now and then, lets them go on, and ends a few.
    async fn steer(&self, run: &RunState) {
        if !run.is_open() || run.driver() == Driver::Record {
            return;
        }
        let reason = || "simulated operator".to_owned();
        let event = if run.paused.is_some() {
            RunEvent::Resumed { reason: reason() }
        } else {
            let compensate = run.driver() == Driver::Plan && self.random.chance(60);
            match self.random.below(150) {
                0..2 => RunEvent::CancelRequested { reason: reason(), compensate },
                2 => RunEvent::Cancelled { reason: reason() },
                3..8 => RunEvent::Paused { reason: reason() },
                _ => return self.steer_step(run).await,
            }
        };
        self.append(&run.key, vec![Body::Run(run.key.run_id.clone(), event)], false).await;
    }

    async fn steer_step(&self, run: &RunState) {
        let Some(step) = run.steps.unsettled().next() else { return };
        let reason = "simulated operator".to_owned();
        let event = match step.paused {
            Some(_) => StepEvent::Resumed { reason },
            None if self.random.chance(3) => StepEvent::Paused { reason },
            None => return,
        };
        let body = Body::Step(run.key.run_id.clone(), step.key.clone(), event);
        self.append(&run.key, vec![body], false).await;
    }

    /// An outcome that was under way when its worker gave the attempt up arrives after all.
    async fn report_late(&self, run: &RunState, step: &StepState) {
        let Some(last) = step.attempts.last() else { return };
        let given_up = match &last.end {
            AttemptEnd::Lost(_) => true,
            AttemptEnd::Failed(error) => error.code == "timeout" || error.code == "dropped",
            AttemptEnd::Running
            | AttemptEnd::Completed
            | AttemptEnd::Released(_)
            | AttemptEnd::DidNotHappen => false,
        };
        let place = (run.key.clone(), step.key.clone());
        let acted = |effects: &Vec<RemoteEffect>| {
            effects.iter().any(|effect| effect.attempt == last.attempt)
        };
        if given_up && self.tools.effects().get(&place).is_some_and(acted) {
            let (attempt, lease) = (last.attempt, Some(last.lease));
            let said = self.tools.says(&run.key, &step.key, attempt, step.input_bytes());
            let output = Output::of(said);
            let event = StepEvent::Completed { attempt, lease, output, usage: None };
            let body = Body::Step(run.key.run_id.clone(), step.key.clone(), event);
            self.append(&run.key, vec![body], false).await;
        }
    }

    /// What a brain said to an attempt that nobody waited for any more arrives after another answer was taken.
    async fn answer_again(&self, run: &RunState) {
        let asks = run.steps.values().filter(|step| *step.key.scope == *BRAIN_SCOPE);
        for step in asks.filter(|step| step.status == StepStatus::Completed && run.is_open()) {
            let newest = step.attempt;
            for other in step.attempts.iter().filter(|other| other.attempt != newest) {
                let (attempt, lease) = (other.attempt, Some(other.lease));
                let said = self.tools.says(&run.key, &step.key, attempt, step.input_bytes());
                let output = Output::of(said);
                let event = StepEvent::Completed { attempt, lease, output, usage: None };
                let body = Body::Step(run.key.run_id.clone(), step.key.clone(), event);
                self.append(&run.key, vec![body], false).await;
            }
        }
    }

    /// Tells what really happened, once the attempt's time has surely passed.
    async fn resolve(&self, run: &RunState, step: &StepState) {
        let Some(last) = step.attempts.last() else { return };
        let since = last.ended_at.unwrap_or(last.started_at);
        if self.clock.now() < since.plus_ms(step.spec.timeout_ms + 2000) {
            return;
        }
        let effects = self.tools.effects();
        let place = (run.key.clone(), step.key.clone());
        let happened = effects
            .get(&place)
            .is_some_and(|effects| effects.iter().any(|effect| effect.attempt <= step.attempt));
        let output = happened.then(|| Output::of(Payload::null()));
        let event = StepEvent::Resolved(Resolution {
            attempt: step.attempt,
            happened,
            output,
            reason: "looked at the remote".into(),
        });
        let body = Body::Step(run.key.run_id.clone(), step.key.clone(), event);
        self.append(&run.key, vec![body], false).await;
    }

    /// Reports a finished run, as an outside system would; sometimes twice, sometimes out of order.
    async fn report(&self, key: &RunKey) {
        let created = RunEvent::Created(Box::new(RunCreated {
            workflow: "reported".into(),
            version: "1".into(),
            driver: Driver::Record,
            input: Payload::null(),
            tags: BTreeMap::new(),
            parent: None,
            plan: None,
            fork: None,
            caller: None,
        }));
        let step = StepKey::named("work");
        let spec = Arc::new(StepSpec::new("outside", Effect::Pure, Payload::null()));
        let started = StepStarted { attempt: Some(1), spec: Some(spec), ..StepStarted::default() };
        let output = Output::of(Payload::null());
        let of_step = |event| Body::Step(key.run_id.clone(), step.clone(), event);
        let mut bodies = vec![
            Body::Run(key.run_id.clone(), created),
            of_step(StepEvent::Started(started)),
            of_step(StepEvent::Completed { attempt: 1, lease: None, output, usage: None }),
            Body::Run(key.run_id.clone(), RunEvent::Completed { output: None }),
        ];
        if self.random.chance(10) {
            bodies.swap(1, 2);
            bodies.push(bodies[2].clone());
        }
        self.append(key, bodies, true).await;
    }

    /// Appends events of one run; tries again, with the same ids, until acknowledged if it must.
    pub(crate) async fn append(&self, key: &RunKey, bodies: Vec<Body>, must: bool) {
        let events: Vec<Event> = bodies.into_iter().map(|body| self.event(key, body)).collect();
        let (at, records) = self.records(key, &events);
        if must {
            return self.append_records(&at, records, &events).await;
        }
        self.append_once(&at, records, &events).await;
    }

    /// Appends events of one run until they are acknowledged.
    pub(crate) async fn append_events(&self, key: &RunKey, events: &[Event]) {
        let (at, records) = self.records(key, events);
        self.append_records(&at, records, events).await;
    }

    fn records(&self, key: &RunKey, events: &[Event]) -> (TopicPartition, Vec<NewRecord>) {
        let record_key = Bytes::from(key.record_key());
        let partition = keys::partition_of(&record_key, self.partitions);
        let at = TopicPartition::new(TOPIC, partition);
        let records: Vec<NewRecord> = events
            .iter()
            .map(|event| NewRecord::plain(Some(record_key.clone()), codec::encode(event).unwrap()))
            .collect();
        (at, records)
    }

    /// Appends until it is acknowledged.
    async fn append_records(&self, at: &TopicPartition, records: Vec<NewRecord>, events: &[Event]) {
        while !self.append_once(at, records.clone(), events).await {
            tokio::time::sleep(Duration::from_millis(20 + self.random.below(200))).await;
        }
    }

    /// Appends, and notes what was acknowledged; says whether it was.
    async fn append_once(
        &self,
        at: &TopicPartition,
        records: Vec<NewRecord>,
        events: &[Event],
    ) -> bool {
        let Some(log) = self.access.log() else { return false };
        let Ok(appended) = log.append(at, records, Urgency::Normal).await else { return false };
        let mut acked = self.ledger.acked.lock().unwrap();
        for (offset, event) in appended.offsets().zip(events) {
            let event_id = event.event_id.clone();
            acked.push(Acked { at: at.clone(), offset, event_id });
        }
        true
    }

    /// Appends one event once; gives its offset when it was acknowledged.
    pub(crate) async fn append_event(&self, key: &RunKey, event: &Event) -> Option<u64> {
        let record_key = Bytes::from(key.record_key());
        let at = TopicPartition::new(TOPIC, keys::partition_of(&record_key, self.partitions));
        let record = NewRecord::plain(Some(record_key), codec::encode(event).unwrap());
        let appended = self.access.log()?.append(&at, vec![record], Urgency::Normal).await.ok()?;
        let (offset, event_id) = (appended.first_offset, event.event_id.clone());
        self.ledger.acked.lock().unwrap().push(Acked { at, offset, event_id });
        Some(offset)
    }

    pub(crate) fn event(&self, key: &RunKey, body: Body) -> Event {
        Event::new(self.ledger.event_id(), key.tenant.clone(), self.clock.now(), "client", body)
    }
}
