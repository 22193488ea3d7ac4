//! A log of one run with its owner, for tests: every event is folded at a place of its own.

use super::bodies::{
    claimed, completed, created, failed, key_of, kind_of, redriven, resolved, step,
};
use crate::{
    Answer, Batch, Grant, Holds, Memo, Owner, PartitionState, Place, RunState, Slots, Stamp,
    StepState, StepStatus, Verdict, ahead, decide, fold,
};
use spine_schemas::{
    Body, Digest, Driver, Effect, ErrorClass, Event, Op, Plan, StepEvent, Then, keys, time::Micros,
};
use std::{collections::BTreeSet, sync::Arc};

/// For how long the worker asks.
pub(super) const LEASE_MS: u64 = 5_000;

/// A partition, one run of it, and the owner that decides for it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) partition: PartitionState,
    pub(super) run: Option<Arc<RunState>>,
    pub(super) offset: u64,
    pub(super) now: Micros,
    pub(super) held: BTreeSet<u64>,
    pub(super) own_claims: BTreeSet<u64>,
    pub(super) exclusive: bool,
    pub(super) stall_after_ms: u64,
    /// What holds steps back.
    pub(super) holds: Holds,
    /// What is known of calls.
    pub(super) memo: Option<Memo>,
    /// How many steps a worker asks for in the queue `q`.
    pub(super) polled: usize,
    pub(super) log: Vec<(Event, Place)>,
}

impl Given {
    /// A claimed partition without a run.
    pub(super) fn nothing() -> Self {
        let mut given = Self {
            partition: PartitionState::default(),
            run: None,
            offset: 10,
            now: Micros(1_700_000_000_000_000),
            held: BTreeSet::new(),
            own_claims: BTreeSet::new(),
            exclusive: false,
            stall_after_ms: 0,
            holds: Holds::default(),
            memo: None,
            polled: 0,
            log: Vec::new(),
        };
        given.claim();
        given
    }

    /// A plan run; the plan's `steps` as JSON.
    pub(super) fn plan(steps: &str) -> Self {
        let mut given = Self::nothing();
        let plan = Plan::parse(format!(r#"{{"steps":{steps}}}"#)).expect("a legal plan");
        let verdict = given.append(created(Driver::Plan, Some(plan)));
        assert_eq!(verdict, Verdict::Applied(Answer::Ok));
        given
    }

    /// A plan run of one step `a`, with more members for its JSON.
    pub(super) fn one(effect: Effect, more: &str) -> Self {
        let effect = effect.as_str();
        let step = format!(r#"[{{"name":"a","tool":"t","effect":"{effect}"{more}}}]"#);
        Self::plan(&step)
    }

    /// A plan run of one step `a` whose first attempt runs.
    pub(super) fn running(effect: Effect, more: &str) -> Self {
        let mut given = Self::one(effect, more);
        given.settle();
        assert_eq!(given.status(), StepStatus::Running);
        given
    }

    pub(super) fn journal() -> Self {
        let mut given = Self::nothing();
        given.append(created(Driver::Journal, None));
        given
    }

    pub(super) fn record() -> Self {
        let mut given = Self::nothing();
        given.append(created(Driver::Record, None));
        given
    }

    pub(super) fn run(&self) -> &RunState {
        self.run.as_deref().expect("the run is there")
    }

    pub(super) fn step(&self, name: &str) -> &StepState {
        &self.run().steps[&key_of(name)]
    }

    /// The status of step `a`.
    pub(super) fn status(&self) -> StepStatus {
        self.step("a").status
    }

    /// The lease of step `a`.
    pub(super) fn lease(&self) -> u64 {
        let live = self.step("a").live.as_ref();
        live.expect("step a runs").lease
    }

    pub(super) fn after(&mut self, ms: u64) -> &mut Self {
        self.now = self.now.plus_ms(ms);
        self
    }

    /// Folds an event at the next place.
    pub(super) fn fold(&mut self, event: Event) -> Verdict {
        self.offset += 1;
        let place = Place { partition: 0, offset: self.offset, at: self.now };
        let verdict = fold(&mut self.partition, &mut self.run, &event, place);
        self.log.push((event, place));
        verdict
    }

    /// Folds an event without a claim.
    pub(super) fn append(&mut self, body: Body) -> Verdict {
        let event = self.event(body);
        self.fold(event)
    }

    /// Folds a decision under the current claim.
    pub(super) fn decide(&mut self, body: Body) -> Verdict {
        let claim = Some(self.claim_offset());
        let event = Event { claim, ..self.event(body) };
        self.fold(event)
    }

    /// Folds an operation of an agent.
    pub(super) fn op(&mut self, session: &str, op_id: u64, body: Body) -> Verdict {
        let event = self.op_event(session, op_id, body);
        self.fold(event)
    }

    pub(super) fn op_event(&self, session: &str, op_id: u64, body: Body) -> Event {
        let op = Some(Op { session: session.into(), op_id, replaces: None, version: None });
        Event { op, ..self.event(body) }
    }

    pub(super) fn event(&self, body: Body) -> Event {
        Event::new(format!("e{}", self.offset + 1), "default", self.now, "test", body)
    }

    /// The owner claims over the current claim.
    pub(super) fn claim(&mut self) -> Verdict {
        let over = self.partition.claim.as_ref().map(|claim| claim.offset);
        let verdict = self.append(claimed(over, false));
        self.own_claims.insert(self.offset);
        verdict
    }

    pub(super) fn claim_offset(&self) -> u64 {
        self.partition.claim.as_ref().expect("claimed").offset
    }

    pub(super) fn owner(&self) -> Owner<'_> {
        let claim = self.partition.claim.as_ref().expect("claimed");
        Owner {
            now: self.now,
            claim: claim.offset,
            claim_at: claim.at,
            restored_at: self.partition.restored_at,
            held: &self.held,
            own_claims: &self.own_claims,
            exclusive: self.exclusive,
            stall_after_ms: self.stall_after_ms,
            memo: self.memo.as_ref(),
        }
    }

    pub(super) fn slots(&self) -> Slots {
        let slots = Slots::unlimited().with(usize::MAX, self.holds.clone());
        let grant = Grant { worker: "w".into(), lease_ms: LEASE_MS, ticket: 7 };
        let place = (self.run().key.clone(), "q".to_owned());
        slots.asked([(place, vec![grant; self.polled])].into())
    }

    /// What the owner would append now, with outcomes first.
    pub(super) fn ahead(&self, outcomes: Vec<Body>) -> Batch {
        let stamp =
            Stamp { batch_id: format!("b{}", self.offset), actor: "owner".into(), now: self.now };
        let run = self.run.as_ref().expect("the run is there");
        let slots = &mut self.slots();
        ahead(&self.partition, run, outcomes, &self.owner(), slots, &stamp)
    }

    /// Appends what the owner decides until nothing is left; the kinds of what was applied.
    pub(super) fn settle(&mut self) -> Vec<&'static str> {
        self.settle_with(Vec::new())
    }

    /// As `settle`, while a worker asks: what it still asks for then is not there.
    pub(super) fn settle_asked(&mut self) -> Vec<&'static str> {
        let kinds = self.apply(Vec::new());
        self.polled = 0;
        assert_eq!(self.apply(Vec::new()), Vec::<&str>::new(), "decisions settle");
        kinds
    }

    /// As `settle`, after an outcome.
    pub(super) fn settle_with(&mut self, outcomes: Vec<Body>) -> Vec<&'static str> {
        let kinds = self.apply(outcomes);
        let again = decide(self.run(), &self.owner(), &mut self.slots());
        assert_eq!(again.bodies, Vec::new(), "decisions settle");
        kinds
    }

    fn apply(&mut self, outcomes: Vec<Body>) -> Vec<&'static str> {
        let late = outcomes.len();
        let mut kinds = Vec::new();
        for event in self.ahead(outcomes).events {
            let (kind, body, in_batch) =
                (kind_of(&event.body), event.body.clone(), event.batch.is_some());
            let verdict = self.fold(event);
            let applied = matches!(verdict, Verdict::Applied(_));
            assert!(applied || late > 0, "{body:?} is not taken: {verdict:?}");
            assert_eq!(applied, in_batch, "{body:?}: {verdict:?}");
            if applied {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// Fails step `a`'s running attempt, and lets the owner decide.
    pub(super) fn fail(&mut self, class: ErrorClass) -> Vec<&'static str> {
        let (attempt, lease) = (self.step("a").attempt, self.lease());
        self.settle_with(vec![failed("a", attempt, lease, class)])
    }

    /// Completes step `a`'s running attempt, and lets the owner decide.
    pub(super) fn complete(&mut self) -> Vec<&'static str> {
        let (attempt, lease) = (self.step("a").attempt, self.lease());
        self.settle_with(vec![completed("a", attempt, lease)])
    }

    /// Waits until step `a` is due, and lets the owner decide.
    pub(super) fn wait_for_due(&mut self) -> Vec<&'static str> {
        self.now = self.step("a").due_at.expect("step a waits");
        self.settle()
    }

    /// Loses step `a`'s attempt by a new claim of another process.
    pub(super) fn lose_owner(&mut self) -> Vec<&'static str> {
        self.claim();
        self.own_claims.clear();
        self.after(3_600_000);
        self.settle()
    }

    pub(super) fn letter(&self, name: &str) -> Digest {
        let step = self.step(name);
        keys::step_letter_id(&self.run().key, &step.key, step.generation)
    }

    pub(super) fn redrive(&mut self, force: bool) -> Verdict {
        let letter_id = self.letter("a");
        self.append(redriven("a", letter_id, force))
    }

    pub(super) fn discard(&mut self, then: Then) -> Verdict {
        let letter_id = self.letter("a");
        let reason = "test".into();
        self.append(step("a", StepEvent::Discarded { letter_id, then, reason }))
    }

    pub(super) fn resolve_step(&mut self, name: &str, attempt: u32, happened: bool) -> Verdict {
        self.append(resolved(name, attempt, happened))
    }

    pub(super) fn resolve(&mut self, happened: bool) -> Verdict {
        let attempt = self.step("a").attempt;
        self.append(resolved("a", attempt, happened))
    }
}
