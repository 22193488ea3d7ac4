//! What the owner of a partition should do next for one run: a pure, level-triggered function.
//!
//! It looks only at the state, at the time and at what the owner knows of itself, so it may run at
//! any moment and any number of times. What it returns becomes true only when the fold accepts it.

use crate::{
    Holder, Live, RunState, StepState, StepStatus, input,
    limits::{BATCH_BYTES, LOOK_UP_BYTES},
    retry::{self, Next},
    unresolved, weight,
};
use spine_schemas::{
    Body, Driver, OnExhausted, Output, PlanStep, RunEvent, StepError, StepEvent, StepKey,
    StepStarted, keys, time::Micros,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
}

/// How many attempts may still be started, in all and per tool and run.
#[derive(Clone, Debug)]
pub struct Slots {
    free: usize,
    per_run: usize,
    per_tool: usize,
    tools: BTreeMap<String, usize>,
}

impl Slots {
    /// Slots for `free` more attempts, at most `per_run` open ones in a run and `per_tool` of a
    /// tool, of which `tools` counts the open ones.
    pub fn new(
        free: usize,
        per_run: usize,
        per_tool: usize,
        tools: BTreeMap<String, usize>,
    ) -> Self {
        Self { free, per_run, per_tool, tools }
    }

    /// Slots without a limit, for tests and for asking what would happen next.
    pub fn unlimited() -> Self {
        Self::new(usize::MAX, usize::MAX, usize::MAX, BTreeMap::new())
    }

    fn take(&mut self, tool: &str, open_in_run: usize) -> bool {
        let open_of_tool = self.tools.get(tool).copied().unwrap_or(0);
        if self.free == 0 || open_in_run >= self.per_run || open_of_tool >= self.per_tool {
            return false;
        }
        self.free -= 1;
        self.tools.insert(tool.to_owned(), open_of_tool + 1);
        true
    }
}

/// What to append for a run, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decided {
    /// Decisions, and releases of attempts that were never sent.
    pub bodies: Vec<Body>,
    /// Whether a start had to wait for a slot: decide again when one is free.
    pub starved: bool,
    /// Whether it stopped early, for its bytes or for its work: decide again when this has been read
    /// back. What is here stands without the rest.
    pub more: bool,
    bytes: usize,
}

/// One round of decisions. The caller folds them ahead and asks again until nothing is left.
pub fn decide(run: &RunState, owner: &Owner<'_>, slots: &mut Slots) -> Decided {
    let mut decided = Decided::default();
    if !run.is_open() || run.driver() == Driver::Record {
        return decided;
    }
    let failing = failing_step(run, owner.now);
    let may_start = failing.is_none() && run.driver() == Driver::Plan;
    let mut open = running_steps(run);
    for step in run.steps.unsettled() {
        if decided.bytes >= BATCH_BYTES {
            decided.more = true;
            break;
        }
        if let Some(event) = decide_step(run, step, owner, may_start) {
            if let StepEvent::Started(_) = event {
                if !slots.take(&step.spec.tool, open) {
                    decided.starved = true;
                    continue;
                }
                open += 1;
            }
            decided.push_step(run, &step.key, event);
        }
    }
    if run.driver() == Driver::Plan && decided.bodies.is_empty() {
        decide_plan(run, failing, &mut decided);
    }
    decided
}

impl Decided {
    fn push(&mut self, body: Body) {
        self.bytes += weight::of(&body);
        self.bodies.push(body);
    }

    fn push_step(&mut self, run: &RunState, key: &StepKey, event: StepEvent) {
        self.push(Body::Step(run.key.run_id.clone(), key.clone(), event));
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
    may_start: bool,
) -> Option<StepEvent> {
    if let Some(event) = cut_by_restore(run, step, owner) {
        return Some(event);
    }
    match step.status {
        StepStatus::Running => step.live.as_ref().and_then(|live| end_of_live(live, owner)),
        StepStatus::Failed => after_failure(run, step, owner.now),
        StepStatus::Scheduled | StepStatus::RetryWaiting | StepStatus::Deferred => {
            if let Some(error) = retry::overdue(step, owner.now) {
                return exhausted(run, step, error);
            }
            if unresolved::key_is_forgotten(run.driver(), step, owner.now) {
                return Some(StepEvent::Unknown {
                    attempt: step.attempt,
                    reason: "the remote may have forgotten the key of an earlier attempt".into(),
                });
            }
            let due = step.due_at.is_none_or(|due| due <= owner.now);
            (may_start && due).then(|| start(step.attempt + 1))
        }
        StepStatus::Unknown
        | StepStatus::Completed
        | StepStatus::DeadLettered
        | StepStatus::Skipped
        | StepStatus::Cancelled => None,
    }
}

fn start(attempt: u32) -> StepEvent {
    StepEvent::Started(StepStarted { attempt: Some(attempt), spec: None, lease_ms: None })
}

/// After a restore the log may lack the newest attempts, so no careful step may simply go on; nor
/// may one begin that looks new, in a run that is older than the restore.
fn cut_by_restore(run: &RunState, step: &StepState, owner: &Owner<'_>) -> Option<StepEvent> {
    let restored_at = owner.restored_at?;
    let untouched = step.last_offset == step.scheduled_offset && step.attempt == 0;
    let looks_new = untouched && run.created_offset < restored_at;
    let may_lack = step.last_offset < restored_at || looks_new;
    let open = match step.status {
        StepStatus::Scheduled
        | StepStatus::Running
        | StepStatus::RetryWaiting
        | StepStatus::Deferred
        | StepStatus::Failed => !step.given_up,
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
fn end_of_live(live: &Live, owner: &Owner<'_>) -> Option<StepEvent> {
    let lost = |reason: &str| StepEvent::Lost {
        attempt: live.attempt,
        lease: live.lease,
        heartbeat: live.heartbeat,
        reason: reason.to_owned(),
    };
    // Leases count again from the claim: nobody could renew them while there was no owner.
    let until = live.heartbeat_at.max(owner.claim_at).plus_ms(live.lease_ms);
    match &live.holder {
        Holder::Outside => None,
        Holder::Session(_) => (owner.now >= until).then(|| lost("its lease ended")),
        Holder::Owner(claim) if *claim == owner.claim || owner.held.contains(&live.lease) => None,
        Holder::Owner(claim) if owner.own_claims.contains(claim) => {
            Some(StepEvent::Released { attempt: live.attempt, lease: live.lease, error: None })
        }
        Holder::Owner(_) if owner.exclusive => Some(lost("the server that ran it ended")),
        Holder::Owner(_) => (owner.now >= until).then(|| lost("its owner was replaced")),
    }
}

fn after_failure(run: &RunState, step: &StepState, now: Micros) -> Option<StepEvent> {
    if step.given_up {
        return None;
    }
    let attempt = step.attempt;
    match retry::after_failure(&run.key, step, now) {
        Next::Retry(due_at) => Some(StepEvent::RetryScheduled { attempt, due_at }),
        Next::Defer(due_at) => Some(StepEvent::Deferred { attempt, due_at }),
        Next::Exhausted(error) => exhausted(run, step, error),
    }
}

/// A letter, unless the run fails instead; then `decide_plan` ends the run.
fn exhausted(run: &RunState, step: &StepState, error: StepError) -> Option<StepEvent> {
    let is_plan = run.driver() == Driver::Plan;
    if is_plan && fails_run(step.spec.on_exhausted, &error) {
        return None;
    }
    if !retry::class_row(error.class).dead_lettered {
        let reason = error.message;
        return Some(StepEvent::Cancelled { reason });
    }
    Some(StepEvent::DeadLettered {
        attempt: step.attempt,
        letter_id: keys::step_letter_id(&run.key, &step.key, step.generation),
        error,
    })
}

/// Whether a plan run ends with a step that ended so. One that was cancelled gets no letter, and
/// nothing that comes after it could ever run.
fn fails_run(policy: OnExhausted, error: &StepError) -> bool {
    policy == OnExhausted::Fail || !retry::class_row(error.class).dead_lettered
}

/// The step with which the run is bound to fail, if there is one, and why.
fn failing_step(run: &RunState, now: Micros) -> Option<(StepKey, StepError)> {
    run.steps.unsettled().find_map(|step| {
        let error = if step.status == StepStatus::Failed && step.given_up {
            step.error.clone()
        } else {
            let fails = |error: &StepError| fails_run(step.spec.on_exhausted, error);
            exhaustion(run, step, now).filter(fails)
        };
        error.map(|error| (step.key.clone(), error))
    })
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
        | StepStatus::Unknown
        | StepStatus::Completed
        | StepStatus::DeadLettered
        | StepStatus::Skipped
        | StepStatus::Cancelled => None,
    }
}

/// New steps, or the end of the run. A run that is bound to fail starts nothing more and fails
/// when its last running attempt has ended.
fn decide_plan(run: &RunState, failing: Option<(StepKey, StepError)>, decided: &mut Decided) {
    let run_event = |event| Body::Run(run.key.run_id.clone(), event);
    if let Some((step, error)) = failing {
        if running_steps(run) == 0 {
            let step = Some(step);
            decided.push(run_event(RunEvent::Failed { error, step }));
        }
        return;
    }
    let Some(plan) = run.created.plan.clone() else {
        return;
    };
    let ended_well = |index: &usize| {
        run.steps
            .get(&plan.steps[*index].key)
            .is_some_and(|step| matches!(step.status, StepStatus::Completed | StepStatus::Skipped))
    };
    let unscheduled = plan.steps.len().saturating_sub(run.steps.len());
    let next =
        (plan.steps.iter()).filter(|step| !run.steps.contains_key(&step.key)).take(unscheduled);
    let mut read_bytes = 0;
    for step in next.filter(|step| step.after.iter().all(ended_well)) {
        // Between two steps: a step that cannot run is scheduled and ended together.
        if decided.bytes >= BATCH_BYTES || read_bytes >= LOOK_UP_BYTES {
            decided.more = true;
            return;
        }
        if !schedule(run, step, &mut read_bytes, decided) {
            return;
        }
    }
    if (0..plan.steps.len()).all(|index| ended_well(&index)) {
        let output = plan.steps.last().and_then(|last| output_of(run, &last.key));
        decided.push(run_event(RunEvent::Completed { output }));
    }
}

/// Schedules a step with its input resolved. Where that cannot be done the step ends at once, with
/// an error that names the source. Says whether the run goes on.
fn schedule(
    run: &RunState,
    step: &PlanStep,
    read_bytes: &mut usize,
    decided: &mut Decided,
) -> bool {
    match input::resolve(run, step, read_bytes) {
        Ok(spec) => decided.push_step(run, &step.key, StepEvent::Scheduled(Arc::new(spec))),
        Err(unresolved) => {
            let (spec, error) = *unresolved;
            let failed = match spec.on_exhausted {
                OnExhausted::DeadLetter => Some(Body::Step(
                    run.key.run_id.clone(),
                    step.key.clone(),
                    StepEvent::DeadLettered {
                        attempt: 0,
                        letter_id: keys::step_letter_id(&run.key, &step.key, 0),
                        error,
                    },
                )),
                OnExhausted::Fail if running_steps(run) == 0 => Some(Body::Run(
                    run.key.run_id.clone(),
                    RunEvent::Failed { error, step: Some(step.key.clone()) },
                )),
                OnExhausted::Fail => None,
            };
            let Some(failed) = failed else { return true };
            let ends_run = matches!(failed, Body::Run(..));
            if ends_run {
                // What else could be scheduled now would only be cancelled with the run.
                decided.bodies.clear();
            }
            decided.push_step(run, &step.key, StepEvent::Scheduled(Arc::new(spec)));
            decided.push(failed);
            return !ends_run;
        }
    }
    true
}

fn output_of(run: &RunState, key: &StepKey) -> Option<Output> {
    run.steps.get(key).and_then(|step| step.output.clone())
}
