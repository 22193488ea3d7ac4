//! What the owner of a partition should do next for one run: a pure, level-triggered function.
//!
//! It looks only at the state, at the time and at what the owner knows of itself, so it may run at
//! any moment and any number of times. What it returns becomes true only when the fold accepts it.

mod planned;
mod recover;

use crate::{
    HeldAt, Holder, Lack, Live, Memo, RunState, Slots, StepState, StepStatus, fallback,
    fold::is_cleared,
    limits::{BATCH_BYTES, LACKS},
    memo,
    retry::{self, Next},
    slots::{Grant, Open, Taken},
    stall, undo, unresolved, weight,
};
use spine_schemas::{
    Body, Driver, ErrorClass, HeldBy, OnExhausted, Output, StepError, StepEvent, StepKey,
    StepStarted, keys, limits,
    mutants::{Mutant, planted},
    spec::{Act, act_of},
    time::Micros,
};
use std::collections::{BTreeMap, BTreeSet};

/// What the owner knows when it decides.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The time, by the owner's clock.
    pub now: Micros,
    /// Offset of its current claim.
    pub claim: u64,
    /// Log time of that claim.
    pub claim_at: Micros,
    /// Offset of the newest claim over a restored log.
    pub restored_at: Option<u64>,
    /// Leases of the attempts that this process still runs or whose outcome it has not read back.
    pub held: &'a BTreeSet<u64>,
    /// Claims that this process made itself.
    pub own_claims: &'a BTreeSet<u64>,
    /// Whether earlier owners are surely gone, as the lock of an embedded log proves.
    pub exclusive: bool,
    /// A run that no event moves for so long is stalled; 0 turns that off.
    pub stall_after_ms: u64,
    /// Results that may stand in for calls.
    pub memo: Option<&'a Memo>,
}

/// What to append for a run, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// Decisions, and releases of attempts that were never sent.
    pub bodies: Vec<Body>,
    /// What starts had to wait for: decide again when there is some of it.
    pub starved: BTreeSet<Lack>,
    /// Where starts are held back: decide again when that lets some through.
    pub held: BTreeSet<HeldAt>,
    /// Steps that wait for a worker, by queue: decide again when one asks.
    pub queued: BTreeMap<String, usize>,
    /// Whether it stopped early, for its bytes or for its work: decide again when this has been read
    /// back. What is here stands without the rest.
    pub more: bool,
    bytes: usize,
}

/// One round of decisions. The caller folds them ahead and asks again until nothing is left.
pub fn decide(run: &RunState, owner: &Owner<'_>, slots: &mut Slots) -> Decided {
    let mut decided = Decided::default();
    if !run.is_open() {
        return decided;
    }
    // A fork may be given up before it has begun.
    let has_begun = !run.takes_over() || run.cancel.is_some();
    if run.driver() != Driver::Record && has_begun {
        decide_steps(run, owner, slots, &mut decided);
    }
    if decided.bodies.is_empty()
        && let Some(event) = stall::of(run, owner)
    {
        decided.push(Body::Run(run.key.run_id.clone(), event));
    }
    decided
}

/// What the steps of a run ask for, and where they ask for nothing, the run.
fn decide_steps(run: &RunState, owner: &Owner<'_>, slots: &mut Slots, decided: &mut Decided) {
    let phase = Phase::of(run, owner.now);
    let mut open = Open::of(run);
    for step in run.steps.unsettled() {
        if decided.bytes >= BATCH_BYTES {
            decided.more = true;
            break;
        }
        match decide_step(run, step, owner, &phase) {
            Some(StepEvent::Started(_)) => {
                decided.start(run, step, slots, &mut open, owner.now);
            }
            Some(event) => decided.push_step(run, &step.key, event),
            None => {}
        }
    }
    if decided.bodies.is_empty() {
        decide_run(run, phase, decided);
    }
}

/// Which way a run goes.
#[derive(Clone, Debug)]
enum Phase {
    /// On with its steps.
    Forward,
    /// Nothing starts until somebody says so.
    Paused,
    /// To its end, with the step that it fails with, and why.
    Failing(StepKey, StepError),
    /// To its end, because somebody asked for it.
    Cancelling,
    /// To its end, because its time is over.
    Overdue(Micros),
    /// Back.
    Undoing,
}

impl Phase {
    fn of(run: &RunState, now: Micros) -> Self {
        if run.paused.is_some() && !planted(Mutant::StartWhilePaused) {
            return Self::Paused;
        }
        if run.undo.is_some() {
            return Self::Undoing;
        }
        if run.cancel.is_some() {
            return Self::Cancelling;
        }
        let failing = failing_step(run, now);
        // What is to be undone is, whatever the time.
        let undoes = failing.as_ref().is_some_and(|(step, _)| recover::undoes(run, step));
        if let Some(deadline) = run.deadline().filter(|deadline| *deadline <= now && !undoes) {
            return Self::Overdue(deadline);
        }
        match failing {
            Some((step, error)) => Self::Failing(step, error),
            None => Self::Forward,
        }
    }

    /// Whether steps of this kind go on: are started, retried, given letters.
    fn moves(&self, run: &RunState, key: &StepKey) -> bool {
        match self {
            Self::Forward | Self::Failing(..) => true,
            Self::Undoing => undo::is_undo(run, key),
            Self::Paused | Self::Cancelling | Self::Overdue(_) => false,
        }
    }

    fn starts(&self, run: &RunState, key: &StepKey) -> bool {
        match self {
            Self::Forward => true,
            Self::Undoing => undo::is_undo(run, key),
            Self::Paused | Self::Failing(..) | Self::Cancelling | Self::Overdue(_) => false,
        }
    }
}

impl Decided {
    fn push(&mut self, body: Body) {
        self.bytes += weight::of(&body);
        self.bodies.push(body);
    }

    fn push_step(&mut self, run: &RunState, key: &StepKey, event: StepEvent) {
        self.push(Body::Step(run.key.run_id.clone(), key.clone(), event));
    }

    /// Starts a step, if there is a slot for it. One that is held back says so, once; one that waits in
    /// a queue waits for a worker.
    fn start(
        &mut self,
        run: &RunState,
        step: &StepState,
        slots: &mut Slots,
        open: &mut Open,
        now: Micros,
    ) {
        let attempt = step.attempt + 1;
        match slots.take(run, step, *open) {
            Taken::Granted => {
                open.calls += 1;
                self.push_step(run, &step.key, start(attempt, None));
            }
            Taken::Leased(grant) => {
                open.leased += 1;
                self.push_step(run, &step.key, start(attempt, Some(grant)));
            }
            Taken::Child => self.push_step(run, &step.key, start(attempt, None)),
            Taken::Starved => self.lack(&step.spec.tool),
            Taken::NoRetry => drop(self.starved.insert(Lack::Retry)),
            Taken::Enough => {}
            Taken::Unasked(queue) => {
                *self.queued.entry(queue).or_default() += 1;
                if step.held_back().is_some() {
                    self.hold(run, step, HeldBy::Worker, now);
                }
            }
            Taken::Held(at, hold) => {
                self.held.insert(at);
                self.hold(run, step, hold.by, hold.until);
            }
        }
    }

    /// Lists a tool for which there was no slot.
    fn lack(&mut self, tool: &str) {
        let is_listed = self.starved.iter().any(|lack| match lack {
            Lack::Any => true,
            Lack::Tool(listed) => listed == tool,
            Lack::Retry => false,
        });
        if is_listed {
            return;
        }
        if self.starved.len() >= LACKS {
            self.starved.retain(|lack| *lack == Lack::Retry);
            self.starved.insert(Lack::Any);
        } else {
            self.starved.insert(Lack::Tool(tool.to_owned()));
        }
    }

    fn hold(&mut self, run: &RunState, step: &StepState, by: HeldBy, due_at: Micros) {
        if step.held_back().is_none_or(|held| held.by != by) {
            let (attempt, held_by) = (step.attempt, Some(by));
            self.push_step(run, &step.key, StepEvent::Deferred { attempt, due_at, held_by });
        }
    }
}

fn running_steps(run: &RunState) -> usize {
    run.steps.count(StepStatus::Running) as usize
}

/// The decision that a step's own state asks for, if any.
fn decide_step(
    run: &RunState,
    step: &StepState,
    owner: &Owner<'_>,
    phase: &Phase,
) -> Option<StepEvent> {
    if let Some(event) = cut_by_restore(run, step, owner) {
        return Some(event);
    }
    let paused = step.paused.is_some() && !planted(Mutant::StartWhilePaused);
    let stands_still = paused || !phase.moves(run, &step.key);
    match step.status {
        StepStatus::Running => step.live.as_ref().and_then(|live| end_of_live(step, live, owner)),
        _ if stands_still => None,
        StepStatus::Failed => after_failure(run, step, owner.now),
        StepStatus::Scheduled | StepStatus::RetryWaiting | StepStatus::Deferred => {
            after_waiting(run, step, owner, phase)
        }
        StepStatus::Awaiting => after_awaiting(run, step, owner.now),
        StepStatus::DeadLettered if undo::is_undo(run, &step.key) && step.task.is_none() => {
            step.error.clone().map(|error| recover::ask(run, step, error))
        }
        StepStatus::Unknown
        | StepStatus::Completed
        | StepStatus::DeadLettered
        | StepStatus::Skipped
        | StepStatus::Cancelled => None,
    }
}

/// The next start of a step that waits, or the end of its waiting.
fn after_waiting(
    run: &RunState,
    step: &StepState,
    owner: &Owner<'_>,
    phase: &Phase,
) -> Option<StepEvent> {
    if let Some(event) = recover::needless(run, step) {
        return Some(event);
    }
    if let Some(error) = retry::overdue(step, owner.now) {
        return recover::exhausted(run, step, error);
    }
    if unresolved::key_is_forgotten(run.driver(), step, owner.now) {
        return Some(StepEvent::Unknown {
            attempt: step.attempt,
            reason: "the remote may have forgotten the key of an earlier attempt".into(),
        });
    }
    let due = step.due_at.is_none_or(|due| due <= owner.now);
    let may_start = run.driver() == Driver::Plan && phase.starts(run, &step.key);
    if !may_start || !due {
        return None;
    }
    let known = memo::instead(run, step, owner.memo, owner.now);
    Some(known.unwrap_or_else(|| begin(run, step, owner.now)))
}

/// What begins a step: an attempt, a wait, or the question whether the call may be made.
fn begin(run: &RunState, step: &StepState, now: Micros) -> StepEvent {
    let spec = None;
    match act_of(&step.spec.tool) {
        Act::Signal(name) => {
            let expires_at = step.deadline().unwrap_or(now.plus_ms(limits::DEADLINE_MS));
            StepEvent::WaitCreated { signal: Some(name.to_owned()), expires_at, spec }
        }
        Act::Sleep(ms) => {
            StepEvent::WaitCreated { signal: None, expires_at: now.plus_ms(ms), spec }
        }
        Act::Call | Act::Queue(_) | Act::Run => match step.spec.approval_ms {
            Some(ms) if !is_cleared(step) => StepEvent::ApprovalRequested {
                attempt: step.attempt + 1,
                task_id: keys::task_id(&run.key, &step.key, step.tasks),
                call: step.call_digest(),
                expires_at: now.plus_ms(ms),
            },
            // Who gets it, and for how long, is seen when it is granted.
            Some(_) | None => start(step.attempt + 1, None),
        },
    }
}

/// What ends a step that waits for a signal, for a time, for an answer, or for its fallback.
fn after_awaiting(run: &RunState, step: &StepState, now: Micros) -> Option<StepEvent> {
    if let Some(event) = recover::needless(run, step) {
        return Some(event);
    }
    if let Some(wait) = &step.wait {
        return (now >= wait.until).then_some(StepEvent::WaitExpired);
    }
    if let Some(task) = &step.task {
        let over = task.until.is_some_and(|until| now >= until);
        return over.then_some(StepEvent::TaskExpired { task_id: task.task_id });
    }
    fallback::stand_in(run, step).map(replaced)
}

fn replaced(output: Output) -> StepEvent {
    let source = output.source.as_deref().unwrap_or("its fallback");
    StepEvent::Skipped { reason: format!("{source} stands in for it"), output: Some(output) }
}

fn start(attempt: u32, grant: Option<Grant>) -> StepEvent {
    let (worker, lease_ms) = grant.map(|grant| (grant.worker, grant.lease_ms)).unzip();
    let attempt = Some(attempt);
    StepEvent::Started(StepStarted { attempt, lease_ms, worker, ..StepStarted::default() })
}

/// After a restore the log may lack the newest attempts, so no careful step may simply go on; nor
/// may one begin that looks new, in a run that is older than the restore.
fn cut_by_restore(run: &RunState, step: &StepState, owner: &Owner<'_>) -> Option<StepEvent> {
    // What it is was begun again with the log, and tells how it ended.
    if step.is_child() {
        return None;
    }
    let restored_at = owner.restored_at?;
    let moved_offset = step.moved_offset();
    let untouched = moved_offset == step.scheduled_offset && step.attempt == 0;
    let looks_new = untouched && run.created_offset < restored_at;
    let may_lack = moved_offset < restored_at || looks_new;
    let open = match step.status {
        StepStatus::Scheduled
        | StepStatus::Running
        | StepStatus::RetryWaiting
        | StepStatus::Deferred
        | StepStatus::Failed => !step.given_up,
        // The answer, and what it led to, may be missing.
        StepStatus::Awaiting => step.task.as_ref().is_some_and(|task| task.offset < restored_at),
        StepStatus::Unknown
        | StepStatus::Completed
        | StepStatus::DeadLettered
        | StepStatus::Skipped
        | StepStatus::Cancelled => false,
    };
    let cut = open && may_lack && step.spec.effect.is_careful();
    let reason = || "the log was restored: newer attempts may be missing".to_owned();
    cut.then(|| StepEvent::Unknown { attempt: step.attempt, reason: reason() })
}

/// Whether a running attempt is over without an outcome: its worker is gone, or it was never sent.
fn end_of_live(step: &StepState, live: &Live, owner: &Owner<'_>) -> Option<StepEvent> {
    let lost = |reason: &str| StepEvent::Lost {
        attempt: live.attempt,
        lease: live.lease,
        heartbeat: live.heartbeat,
        reason: reason.to_owned(),
    };
    let until = live.lease_ends_at(owner.claim_at);
    match &live.holder {
        // Whoever runs the child tells how it ended, however long that takes.
        Holder::Outside | Holder::Child => None,
        Holder::Worker(_) => match step.work_ends_at(live, owner.claim_at) {
            over if over < until => (owner.now >= over).then(|| out_of_time(step, live)),
            _ => (owner.now >= until).then(|| lost("its lease ended")),
        },
        Holder::Session(_) => (owner.now >= until).then(|| lost("its lease ended")),
        Holder::Owner(claim) if *claim == owner.claim || owner.held.contains(&live.lease) => None,
        Holder::Owner(claim) if owner.own_claims.contains(claim) => {
            Some(StepEvent::Released { attempt: live.attempt, lease: live.lease, error: None })
        }
        Holder::Owner(_) if owner.exclusive => Some(lost("the server that ran it ended")),
        Holder::Owner(_) => (owner.now >= until).then(|| lost("its owner was replaced")),
    }
}

/// The end of an attempt that its worker keeps alive beyond its time. Like a call that got no answer in
/// time it is charged, so it does not go on for ever.
fn out_of_time(step: &StepState, live: &Live) -> StepEvent {
    let message = format!("the worker had not ended it after {} ms", step.spec.timeout_ms);
    let error = StepError::new(ErrorClass::Timeout, "worker_timeout", message);
    let (attempt, lease) = (live.attempt, Some(live.lease));
    StepEvent::Failed { attempt, lease, error, usage: None }
}

fn after_failure(run: &RunState, step: &StepState, now: Micros) -> Option<StepEvent> {
    if step.given_up {
        return None;
    }
    let attempt = step.attempt;
    if let Some(event) = recover::needless(run, step) {
        return Some(event);
    }
    match retry::after_failure(&run.key, step, now) {
        Next::Retry(due_at) => Some(StepEvent::RetryScheduled { attempt, due_at }),
        Next::Defer(due_at) => Some(StepEvent::Deferred { attempt, due_at, held_by: None }),
        Next::Exhausted(error) => recover::exhausted(run, step, error),
    }
}

/// The step with which the run is bound to fail, if there is one, and why.
fn failing_step(run: &RunState, now: Micros) -> Option<(StepKey, StepError)> {
    if run.driver() != Driver::Plan {
        return None;
    }
    let mut failing = run.steps.unsettled().filter_map(|step| {
        let error = if step.status == StepStatus::Failed && step.given_up {
            step.error.clone()
        } else {
            let fails = |error: &StepError| recover::fails_run(step.spec.on_exhausted, error);
            let needed = !fallback::is_needless(run, step) && step.paused.is_none();
            exhaustion(run, step, now).filter(|error| needed && fails(error))
        };
        error.map(|error| (step, error))
    });
    // Of several the one counts that asks for what was done to be undone.
    let first = failing.next()?;
    let undoes = |step: &StepState| step.spec.on_exhausted == OnExhausted::Compensate;
    let (step, error) = if undoes(first.0) {
        first
    } else {
        failing.find(|(step, _)| undoes(step)).unwrap_or(first)
    };
    Some((step.key.clone(), error))
}

fn exhaustion(run: &RunState, step: &StepState, now: Micros) -> Option<StepError> {
    match step.status {
        StepStatus::Failed => match retry::after_failure(&run.key, step, now) {
            Next::Exhausted(error) => Some(error),
            Next::Retry(_) | Next::Defer(_) => None,
        },
        StepStatus::Scheduled | StepStatus::RetryWaiting | StepStatus::Deferred => {
            retry::overdue(step, now)
        }
        StepStatus::Running
        | StepStatus::Awaiting
        | StepStatus::Unknown
        | StepStatus::Completed
        | StepStatus::DeadLettered
        | StepStatus::Skipped
        | StepStatus::Cancelled => None,
    }
}

/// What is to be done for the run as a whole, when its steps ask for nothing.
fn decide_run(run: &RunState, phase: Phase, decided: &mut Decided) {
    let of_run = |event| Body::Run(run.key.run_id.clone(), event);
    match phase {
        Phase::Paused => {}
        Phase::Forward if run.driver() == Driver::Plan => planned::go_on(run, decided),
        Phase::Forward => {}
        // A run that is bound to fail starts nothing more and fails when its last running attempt has
        // ended.
        Phase::Failing(step, error) => {
            if let Some(event) = recover::fail(run, step, error) {
                decided.push(of_run(event));
            }
        }
        Phase::Cancelling => {
            if let Some(event) = recover::cancel(run) {
                decided.push(of_run(event));
            }
        }
        Phase::Overdue(deadline) => {
            if let Some(event) = recover::overdue(run, deadline) {
                decided.push(of_run(event));
            }
        }
        Phase::Undoing => planned::go_back(run, decided),
    }
}
