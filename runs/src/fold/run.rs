//! Events about a run as a whole: creation, end, recorded decisions.

use super::{Place, Verdict, attempt::end_attempt, ending, gate::Author, pause, wait};
use crate::{
    Answer, AttemptEnd, Reason, RunState, RunStatus, Stall, StepState, StepStatus, Steps, Totals,
    brain,
};
use spine_schemas::{
    Body, BrainEnd, Caller, Digest, Driver, Event, Fork, Output, RunCreated, RunEvent, RunKey,
    StepError, StepKey, limits,
    mutants::{Mutant, planted},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// The first event of a run must create it.
pub(super) fn create(
    run: &mut Option<Arc<RunState>>,
    event: &Event,
    place: Place,
    author: Author,
) -> Verdict {
    let Body::Run(run_id, RunEvent::Created(created)) = &event.body else {
        return author.reject(Reason::RunAbsent);
    };
    let key = RunKey { tenant: event.tenant.clone(), run_id: run_id.clone() };
    *run = Some(Arc::new(RunState {
        key,
        created_digest: created_digest(created),
        created: Arc::new(RunCreated::clone(created)),
        grown: None,
        created_offset: place.offset,
        created_at: place.at,
        status: RunStatus::Running,
        ended_at: None,
        output: None,
        error: None,
        failed_step: None,
        cancel: None,
        undo: None,
        paused: None,
        paused_ms: 0,
        stalled: None,
        signals: VecDeque::new(),
        steps: Steps::default(),
        batches: VecDeque::new(),
        sessions: BTreeMap::new(),
        seen: BTreeSet::new(),
        decisions: 0,
        totals: Totals::default(),
        last_offset: place.offset,
        last_at: place.at,
    }));
    Verdict::Applied(Answer::Ok)
}

/// The digest by which a repeated creation is told from a conflicting one.
pub(super) fn created_digest(created: &RunCreated) -> Digest {
    let tags: Vec<u8> = serde_json::to_vec(&created.tags).expect("a map of strings is JSON");
    let plan = created.plan.as_ref().map_or(Digest::of_bytes(b""), |plan| {
        spine_schemas::canonical::digest("plan", &plan.source)
            .unwrap_or_else(|_| Digest::of_bytes(&plan.source))
    });
    Digest::of_parts(&[
        created.workflow.as_bytes(),
        created.version.as_bytes(),
        format!("{:?}", created.driver).as_bytes(),
        &created.input.digest.0,
        &tags,
        created.parent.as_deref().unwrap_or("").as_bytes(),
        &plan.0,
        &created.fork.as_deref().map(fork_digest).unwrap_or_default(),
        &created.caller.as_deref().map(caller_digest).unwrap_or_default(),
    ])
}

/// A start tells one attempt from every other. The time that its run has left is not what it is: whoever begins
/// it again may see another.
fn caller_digest(caller: &Caller) -> Vec<u8> {
    let Caller { step, attempt, lease, deadline: _ } = caller;
    let numbers = [u64::from(*attempt).to_be_bytes(), lease.to_be_bytes()];
    [&numbers.concat()[..], step.to_string().as_bytes()].concat()
}

fn fork_digest(fork: &Fork) -> Vec<u8> {
    let Fork { run_id, step, reused, undo_reused, force, reason } = fork;
    let step = step.as_ref().map(StepKey::to_string).unwrap_or_default();
    let flags = [u8::from(*undo_reused), u8::from(*force)];
    let parts =
        [run_id.as_bytes(), step.as_bytes(), &reused.to_be_bytes(), &flags, reason.as_bytes()];
    Digest::of_parts(&parts).0.to_vec()
}

pub(super) fn fold(
    state: &mut RunState,
    event: &Event,
    body: &RunEvent,
    place: Place,
    author: Author,
) -> Verdict {
    match body {
        RunEvent::Created(created) => created_again(state, created, author),
        RunEvent::Completed { output } => completed(state, output.as_ref(), place, author),
        RunEvent::Failed { error, step } => failed(state, error, step.as_ref(), place, author),
        RunEvent::CancelRequested { reason, compensate } => {
            ending::cancel_requested(state, reason, *compensate, place, author)
        }
        RunEvent::CompensationStarted { error, step } => {
            ending::compensation_started(state, error, step.as_ref(), place, author)
        }
        RunEvent::Cancelled { reason } => ending::cancelled(state, reason, place, author),
        RunEvent::SignalReceived { name, data } => {
            wait::signal_received(state, event, name, data, place, author)
        }
        RunEvent::Paused { reason } => {
            once(state, event, |state| pause::pause_run(state, event, reason, place))
        }
        RunEvent::Resumed { .. } => once(state, event, |state| pause::resume_run(state, place)),
        RunEvent::Stalled { reason, step, moved } => {
            stalled(state, reason, step.as_ref(), *moved, place, author)
        }
        RunEvent::DecisionRecorded(_) => decision(state, event, author),
    }
}

fn created_again(state: &RunState, created: &RunCreated, author: Author) -> Verdict {
    let given = created_digest(created);
    if given == state.created_digest {
        return author.duplicate();
    }
    let stored = state.created_digest;
    match author {
        Author::Requester => {
            Verdict::Refused(Reason::RunExists, Answer::Conflict { stored, given })
        }
        Author::Owner | Author::Runner | Author::Reporter => author.reject(Reason::RunExists),
    }
}

fn completed(
    state: &mut RunState,
    output: Option<&Output>,
    place: Place,
    author: Author,
) -> Verdict {
    if !state.is_open() {
        return ended_already(state, author, |status| {
            matches!(status, RunStatus::Completed | RunStatus::Degraded)
        });
    }
    if state.takes_over() || !may_complete(state) {
        return author.reject(Reason::StepState);
    }
    let is_plan = state.driver() == Driver::Plan;
    let left_out = state.steps.values().any(|step| {
        // What was not called for in the end was not left out, nor what the brain decided against.
        let cancelled = step.status == StepStatus::Cancelled;
        let needless = is_plan && (cancelled || brain::has_dropped(state, &step.key));
        !needless && step.status != StepStatus::Completed
            || step.output.as_ref().is_some_and(|output| output.degraded)
    });
    let degraded = left_out || output.is_some_and(|output| output.degraded);
    state.output = output.cloned();
    end(state, if degraded { RunStatus::Degraded } else { RunStatus::Completed }, place)
}

/// A plan ends when all its steps have; an agent may end its run when nothing is in the open.
fn may_complete(state: &RunState) -> bool {
    match state.driver() {
        Driver::Plan => {
            let Some(plan) = state.plan() else { return false };
            let mut listed = plan.in_list()[plan.settled..].iter();
            let all = listed.all(|step| state.steps.contains_key(&step.key));
            let given_up = matches!(plan.brain_end, Some(BrainEnd::Fail(_)));
            all && !given_up && state.steps.unsettled().next().is_none() && !state.is_ending()
        }
        Driver::Journal => {
            let open = [StepStatus::Running, StepStatus::Unknown];
            open.iter().all(|status| state.steps.count(*status) == 0)
        }
        Driver::Record => true,
    }
}

fn failed(
    state: &mut RunState,
    error: &StepError,
    step: Option<&StepKey>,
    place: Place,
    author: Author,
) -> Verdict {
    if !state.is_open() {
        return ended_already(state, author, |status| status == RunStatus::Failed);
    }
    let running = state.steps.count(StepStatus::Running) > 0;
    if running && state.driver() != Driver::Record {
        return author.reject(Reason::StepState);
    }
    if author == Author::Owner && state.is_ending() && !ending::is_undone(state) {
        return author.reject(Reason::StepState);
    }
    if let Some(mut failed) = step.and_then(|key| state.steps.get_mut(key)) {
        if !failed.status.is_terminal() {
            give_up(&mut failed, error, place);
        } else if author != Author::Reporter {
            return author.reject(Reason::StepState);
        }
    }
    state.error = Some(error.clone());
    let began_with = state.undo.as_ref().and_then(|undo| undo.step.as_ref());
    state.failed_step = step.or(began_with).cloned();
    end(state, RunStatus::Failed, place)
}

/// The step with which a run fails. An open letter and an open question stay what they are.
pub(super) fn give_up(step: &mut StepState, error: &StepError, place: Place) {
    match step.status {
        StepStatus::DeadLettered | StepStatus::Unknown => {}
        StepStatus::Scheduled
        | StepStatus::Running
        | StepStatus::RetryWaiting
        | StepStatus::Deferred
        | StepStatus::Awaiting
        | StepStatus::Completed
        | StepStatus::Failed
        | StepStatus::Skipped
        | StepStatus::Cancelled => {
            if step.live.is_some() {
                end_attempt(step, AttemptEnd::Failed(error.clone()), false, place);
            }
            step.status = StepStatus::Failed;
            step.error.get_or_insert_with(|| error.clone());
        }
    }
    step.due_at = None;
    step.task = None;
    step.wait = None;
    step.given_up = true;
    step.ended_at.get_or_insert(place.at);
    step.last_offset = place.offset;
}

pub(super) fn ended_already(
    state: &RunState,
    author: Author,
    same: impl Fn(RunStatus) -> bool,
) -> Verdict {
    if same(state.status) { author.duplicate() } else { author.reject(Reason::RunEnded) }
}

/// Ends the run; steps that wait end with it, and so do attempts that Spine answers for.
pub(super) fn end(state: &mut RunState, status: RunStatus, place: Place) -> Verdict {
    state.status = status;
    state.ended_at = Some(place.at);
    state.paused = None;
    cancel_waiting(state, place);
    if state.driver() != Driver::Record {
        lose_running(state, place);
    }
    // A letter outlives its run; nobody can answer a question any more.
    for key in unsettled_in(state, |step| step.task.is_some()) {
        let mut step = state.steps.get_mut(&key).expect("it was among them");
        step.task = None;
        step.last_offset = place.offset;
    }
    Verdict::Applied(Answer::Ok)
}

/// Steps that wait are cancelled. Open letters and open questions about effects stay what they are.
pub(super) fn cancel_waiting(state: &mut RunState, place: Place) {
    for key in unsettled_in(state, |step| step.status.waits_for_its_run()) {
        let mut step = state.steps.get_mut(&key).expect("it was among them");
        cancel_step(&mut step, place);
    }
}

fn lose_running(state: &mut RunState, place: Place) {
    for key in unsettled_in(state, |step| step.status == StepStatus::Running) {
        let mut step = state.steps.get_mut(&key).expect("it was among them");
        let step = &mut *step;
        end_attempt(step, AttemptEnd::Lost("the run ended".into()), false, place);
        if step.spec.effect.is_careful() {
            step.status = StepStatus::Unknown;
        } else {
            cancel_step(step, place);
        }
    }
}

fn unsettled_in(state: &RunState, wanted: impl Fn(&StepState) -> bool) -> Vec<StepKey> {
    let steps = state.steps.unsettled().filter(|step| wanted(step));
    steps.map(|step| step.key.clone()).collect()
}

fn cancel_step(step: &mut StepState, place: Place) {
    step.status = StepStatus::Cancelled;
    step.task = None;
    step.wait = None;
    step.due_at = None;
    step.ended_at = Some(place.at);
    step.last_offset = place.offset;
}

/// The owner saw that nothing had moved the run since an event. If another one came in between, that was
/// not so.
fn stalled(
    state: &mut RunState,
    reason: &str,
    step: Option<&StepKey>,
    moved: u64,
    place: Place,
    author: Author,
) -> Verdict {
    if !state.is_open() {
        return author.reject(Reason::RunEnded);
    }
    if state.stalled.is_some() || state.paused.is_some() || state.last_offset != moved {
        return author.reject(Reason::StepState);
    }
    let (since, at, step, reason) = (state.last_at, place.at, step.cloned(), reason.to_owned());
    state.stalled = Some(Box::new(Stall { since, moved, at, step, reason }));
    Verdict::Applied(Answer::Ok)
}

/// What undoes and is undone counts once: a copy that comes after the other must not count again.
fn once(
    state: &mut RunState,
    event: &Event,
    fold: impl FnOnce(&mut RunState) -> Verdict,
) -> Verdict {
    let hash = Digest::of_bytes(event.event_id.as_bytes()).short();
    if state.seen.contains(&hash) {
        return Author::Requester.duplicate();
    }
    let verdict = fold(state);
    // One that found nothing to change has come all the same.
    let counts = verdict.counts_as_applied() && state.seen.len() < limits::RUN_EVENT_IDS;
    if counts && (event.batch.is_some() || matches!(verdict, Verdict::Applied(_))) {
        state.seen.insert(hash);
    }
    verdict
}

fn decision(state: &mut RunState, event: &Event, author: Author) -> Verdict {
    let hash = match unseen(state, event, author) {
        Ok(hash) => hash,
        Err(verdict) => return verdict,
    };
    state.seen.insert(hash);
    state.decisions += 1;
    Verdict::Applied(Answer::Ok)
}

/// The hash under which an event is remembered that counts once, unless it has been counted, or can be
/// counted no more.
pub(super) fn unseen(state: &RunState, event: &Event, author: Author) -> Result<u64, Verdict> {
    let hash = Digest::of_bytes(event.event_id.as_bytes()).short();
    if state.seen.contains(&hash) && !planted(Mutant::SignalCountsTwice) {
        return Err(author.duplicate());
    }
    if !state.is_open() {
        return Err(author.reject(Reason::RunEnded));
    }
    if state.seen.len() >= limits::RUN_EVENT_IDS {
        return Err(author.reject(Reason::LimitReached));
    }
    Ok(hash)
}
