//! The life of an attempt up to its outcome: scheduled, started, alive, lost, waiting again.

use super::{
    Place, Verdict, approval,
    gate::{Author, late},
    outcome::Which,
};
use crate::{
    Answer, AttemptEnd, AttemptState, Held, Holder, Live, Reason, RunState, StepState, StepStatus,
    kept, undo, unresolved,
};
use spine_schemas::{
    Driver, ErrorClass, Fault, HeldBy, StepError, StepKey, StepSpec, StepStarted, limits,
    spec::{self, RUN_TOOL, act_of, queue_of},
    time::Micros,
};
use std::sync::Arc;

/// A step as it looks when it is first heard of.
pub(super) fn fresh(key: &StepKey, spec: &Arc<StepSpec>, place: Place) -> StepState {
    StepState {
        key: key.clone(),
        spec: spec.clone(),
        status: StepStatus::Scheduled,
        scheduled_offset: place.offset,
        scheduled_at: place.at,
        budget_from: place.at,
        first_started_at: None,
        attempt: 0,
        charged: 0,
        lost_in_row: 0,
        free_in_row: 0,
        generation: 0,
        edit: 0,
        live: None,
        due_at: None,
        error: None,
        output: None,
        attempts: Vec::new(),
        attempts_omitted: 0,
        letter: None,
        task: None,
        tasks: 0,
        paused: None,
        wait: None,
        held: None,
        breaker_since: None,
        probe: None,
        approved: None,
        reused: false,
        given_up: false,
        late_success: false,
        ended_at: None,
        last_offset: place.offset,
        still: None,
    }
}

pub(super) fn scheduled(
    state: &mut RunState,
    key: &StepKey,
    spec: &Arc<StepSpec>,
    place: Place,
    author: Author,
) -> Verdict {
    if state.driver() == Driver::Journal {
        return author.reject(Reason::WrongDriver);
    }
    if let Some(step) = state.steps.get(key) {
        return if step.spec.input.digest == spec.input.digest {
            author.duplicate()
        } else {
            author.reject(Reason::StepConflict)
        };
    }
    if state.steps.len() >= limits::RUN_STEPS {
        return author.reject(Reason::LimitReached);
    }
    if author == Author::Owner && !undo::may_schedule(state, key) {
        return author.reject(Reason::LostRace);
    }
    // What was reported has happened, so it is kept; what an owner decides it has found room for.
    let reported = state.driver() == Driver::Record;
    let has_room = !reported || kept::has_room(state, spec.input.data.len());
    let spec = kept::spec(spec, has_room);
    state.steps.insert(Arc::new(fresh(key, &spec, place)));
    Verdict::Applied(Answer::Ok)
}

/// `step_started` with a number: the owner's decision in a plan run, a report in a record run.
pub(super) fn started(
    state: &mut RunState,
    key: &StepKey,
    number: u32,
    start: &StepStarted,
    claim: Option<u64>,
    place: Place,
    author: Author,
) -> Verdict {
    match state.driver() {
        Driver::Plan => {
            let is_run = |step: &StepState| step.spec.tool == RUN_TOOL;
            let holder = match &start.worker {
                Some(worker) => Holder::Worker(worker.clone()),
                None if state.steps.get(key).is_some_and(|step| is_run(step)) => Holder::Child,
                None => Holder::Owner(claim.unwrap_or_default()),
            };
            started_by_owner(state, key, number, (holder, start.lease_ms), place, author)
        }
        Driver::Record => started_outside(state, key, number, start, place, author),
        Driver::Journal => author.reject(Reason::WrongDriver),
    }
}

fn started_by_owner(
    state: &mut RunState,
    key: &StepKey,
    number: u32,
    (holder, lease_ms): (Holder, Option<u64>),
    place: Place,
    author: Author,
) -> Verdict {
    if !undo::may_start(state, key) {
        return author.reject(Reason::LostRace);
    }
    let Some(mut step) = state.steps.get_mut(key) else {
        return author.reject(Reason::StepAbsent);
    };
    if !step.status.may_start() || number != step.attempt + 1 || !is_cleared(&step) {
        return author.reject(Reason::LostRace);
    }
    let is_leased = matches!(holder, Holder::Worker(_));
    if is_leased != queue_of(&step.spec.tool).is_some() {
        return author.reject(Reason::LostRace);
    }
    let step = &mut *step;
    let lease_ms = match lease_ms.filter(|_| is_leased) {
        // Nobody works longer on an attempt than that may take.
        Some(lease_ms) => lease_ms.min(step.spec.timeout_ms),
        None if is_leased => spec::LEASE_MS,
        None => step.spec.timeout_ms,
    };
    start_attempt(step, number, holder, lease_ms, place);
    state.totals.attempts += 1;
    Verdict::Applied(Answer::Ok)
}

/// Whether the step is one that acts, and somebody has approved of exactly this call where that is
/// asked for.
pub(crate) fn is_cleared(step: &StepState) -> bool {
    act_of(&step.spec.tool).acts() && approval::is_approved(step)
}

fn started_outside(
    state: &mut RunState,
    key: &StepKey,
    number: u32,
    start: &StepStarted,
    place: Place,
    author: Author,
) -> Verdict {
    if number == 0 {
        return author.reject(Reason::WrongAttempt);
    }
    if !state.steps.contains_key(key) {
        let Some(spec) = &start.spec else {
            return author.reject(Reason::StepAbsent);
        };
        let verdict = scheduled(state, key, spec, place, author);
        if !matches!(verdict, Verdict::Applied(_)) {
            return verdict;
        }
    }
    let mut step = state.steps.get_mut(key).expect("the step is there: checked or made above");
    let given = start.spec.as_ref().map(|spec| spec.input.digest);
    if given.is_some_and(|given| given != step.spec.input.digest) {
        return author.reject(Reason::StepConflict);
    }
    if number <= step.attempt {
        return author.duplicate();
    }
    if step.status.is_terminal() {
        return author.reject(Reason::StepState);
    }
    let step = &mut *step;
    if step.live.is_some() {
        end_attempt(step, AttemptEnd::Lost("a newer attempt was reported".into()), false, place);
    }
    let lease_ms = step.spec.timeout_ms;
    start_attempt(step, number, Holder::Outside, lease_ms, place);
    state.totals.attempts += 1;
    Verdict::Applied(Answer::Ok)
}

/// Puts a step into its next attempt. The lease of the attempt is the offset of its start.
pub(super) fn start_attempt(
    step: &mut StepState,
    number: u32,
    holder: Holder,
    lease_ms: u64,
    place: Place,
) {
    let driver = match &holder {
        Holder::Owner(_) | Holder::Worker(_) | Holder::Child => Driver::Plan,
        Holder::Session(_) => Driver::Journal,
        Holder::Outside => Driver::Record,
    };
    step.status = StepStatus::Running;
    step.attempt = number;
    step.due_at = None;
    step.held = None;
    step.probe = None;
    step.ended_at = None;
    step.first_started_at.get_or_insert(place.at);
    step.last_offset = place.offset;
    step.live = Some(Live {
        attempt: number,
        lease: place.offset,
        holder,
        started_at: place.at,
        lease_ms,
        heartbeat: place.offset,
        heartbeat_at: place.at,
    });
    // Nearly every step has one.
    step.attempts.reserve_exact(1);
    step.attempts.push(AttemptState {
        attempt: number,
        lease: place.offset,
        started_at: place.at,
        ended_at: None,
        end: AttemptEnd::Running,
        charged: false,
        edit: step.edit,
        accepted: false,
        injected: None,
        cost_micros: None,
    });
    if step.attempts.len() > limits::ATTEMPT_HISTORY {
        shorten_history(step, driver);
    }
}

/// The first attempt and the newest ones tell the story; the middle is counted. The first one that
/// may have taken effect stays, too: the life of the key counts from it.
fn shorten_history(step: &mut StepState, driver: Driver) {
    let keeps_next = unresolved::first(driver, step) == Some(1);
    step.attempts.remove(if keeps_next { 2 } else { 1 });
    step.attempts_omitted += 1;
}

/// Ends the newest attempt in the history and takes its lease away. An attempt that had ended before
/// is judged anew: it never spends budget twice.
pub(super) fn end_attempt(step: &mut StepState, end: AttemptEnd, charged: bool, place: Place) {
    step.live = None;
    step.last_offset = place.offset;
    if let Some(last) = step.attempts.last_mut() {
        step.charged = step.charged.saturating_sub(u32::from(last.charged));
        step.charged += u32::from(charged);
        last.ended_at = Some(place.at);
        last.end = end;
        last.charged = charged;
    }
}

pub(super) fn heartbeat(
    state: &mut RunState,
    key: &StepKey,
    attempt: u32,
    lease: Option<u64>,
    place: Place,
    author: Author,
) -> Verdict {
    let needs_lease = state.driver() != Driver::Record;
    let Some(mut step) = state.steps.get_mut(key) else {
        return author.reject(Reason::StepAbsent);
    };
    let Some(live) = step.live.as_ref() else {
        return reject_past(author, &step, attempt, Reason::StepState);
    };
    if live.attempt != attempt {
        return reject_past(author, &step, attempt, Reason::WrongAttempt);
    }
    if needs_lease && lease != Some(live.lease) {
        return author.reject(Reason::WrongLease);
    }
    let step = &mut *step;
    if let Some(live) = step.live.as_mut() {
        live.heartbeat = place.offset;
        live.heartbeat_at = place.at;
    }
    step.lost_in_row = 0;
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

/// A report about an attempt that has been passed comes late, perhaps for the second time.
fn reject_past(author: Author, step: &StepState, attempt: u32, reason: Reason) -> Verdict {
    if author == Author::Reporter && attempt <= step.attempt {
        return late(reason);
    }
    author.reject(reason)
}

/// The owner's decision that an attempt's worker is gone, unless it has been heard of since.
pub(super) fn lost(
    state: &mut RunState,
    which: Which<'_>,
    heartbeat: u64,
    reason: &str,
    place: Place,
    author: Author,
) -> Verdict {
    let Some(mut step) = state.steps.get_mut(which.key) else {
        return author.reject(Reason::StepAbsent);
    };
    let current = step.live.as_ref().is_some_and(|live| {
        live.attempt == which.attempt
            && Some(live.lease) == which.lease
            && live.heartbeat == heartbeat
    });
    if !current {
        return author.reject(Reason::LostRace);
    }
    lose(&mut step, reason, place);
    Verdict::Applied(Answer::Ok)
}

/// What a lost attempt leads to is decided by the effect class: go again, or find out first.
pub(super) fn lose(step: &mut StepState, reason: &str, place: Place) {
    step.lost_in_row += 1;
    step.error = Some(StepError::new(ErrorClass::Lost, "worker_lost", reason));
    end_attempt(step, AttemptEnd::Lost(reason.to_owned()), false, place);
    step.status = if step.spec.effect.is_careful() {
        StepStatus::Unknown
    } else if step.lost_in_row >= limits::LOST_IN_ROW {
        StepStatus::Failed
    } else {
        StepStatus::Scheduled
    };
}

/// The owner's decision that a failed step waits for its next attempt.
pub(super) fn waits(
    state: &mut RunState,
    key: &StepKey,
    attempt: u32,
    due_at: Micros,
    status: StepStatus,
    place: Place,
) -> Verdict {
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let is_spent = step.charged >= step.spec.retry.max_attempts;
    if step.status != StepStatus::Failed || step.given_up || step.attempt != attempt || is_spent {
        return Author::Owner.reject(Reason::LostRace);
    }
    let step = &mut *step;
    step.status = status;
    step.held = None;
    step.due_at = Some(due_at);
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

/// The owner's decision that a step waits free of charge: after a failure, or held back by something.
pub(super) fn deferred(
    state: &mut RunState,
    key: &StepKey,
    attempt: u32,
    due_at: Micros,
    held_by: Option<HeldBy>,
    place: Place,
) -> Verdict {
    match held_by {
        None => waits(state, key, attempt, due_at, StepStatus::Deferred, place),
        Some(by) => held(state, key, attempt, Held { by, at: place.at, until: due_at }, place),
    }
}

/// The owner's decision that a step which may start is held back, whatever its own state.
fn held(state: &mut RunState, key: &StepKey, attempt: u32, held: Held, place: Place) -> Verdict {
    let may_start = state.driver() == Driver::Plan && undo::may_start(state, key);
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let is_held = step.held_back().is_some_and(|before| before.by == held.by);
    if !may_start || !step.status.may_start() || step.attempt != attempt || is_held {
        return Author::Owner.reject(Reason::LostRace);
    }
    let step = &mut *step;
    step.status = StepStatus::Deferred;
    step.due_at = None;
    if held.by == HeldBy::Breaker {
        step.breaker_since.get_or_insert(held.at);
    }
    step.held = Some(Box::new(held));
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

/// `step_unknown`: reported by an outside system, or decided after a restore for a careful step
/// whose history may have been cut.
pub(super) fn unknown(
    state: &mut RunState,
    key: &StepKey,
    attempt: u32,
    reason: &str,
    place: Place,
    author: Author,
) -> Verdict {
    let Some(mut step) = state.steps.get_mut(key) else {
        return author.reject(Reason::StepAbsent);
    };
    if attempt != step.attempt {
        return reject_past(author, &step, attempt, Reason::WrongAttempt);
    }
    if step.status == StepStatus::Unknown {
        return author.duplicate();
    }
    let unasked = step.status == StepStatus::Awaiting && step.task.is_none();
    let parked = step.status == StepStatus::DeadLettered || unasked;
    if step.status.is_terminal() || parked || step.given_up {
        return reject_past(author, &step, attempt, Reason::StepState);
    }
    let step = &mut *step;
    if step.live.is_some() {
        end_attempt(step, AttemptEnd::Lost(reason.to_owned()), false, place);
    }
    step.error = Some(StepError::new(ErrorClass::UnknownOutcome, "unknown", reason));
    step.status = StepStatus::Unknown;
    step.task = None;
    step.due_at = None;
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}

pub(super) fn fault_injected(
    state: &mut RunState,
    key: &StepKey,
    attempt: u32,
    fault: Fault,
    place: Place,
) -> Verdict {
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    if step.live.as_ref().is_none_or(|live| live.attempt != attempt) {
        return Author::Owner.reject(Reason::LostRace);
    }
    if (step.attempts.last()).is_some_and(|last| last.injected.is_some()) {
        return Author::Owner.duplicate();
    }
    let step = &mut *step;
    if let Some(last) = step.attempts.last_mut() {
        last.injected = Some(fault);
    }
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}
