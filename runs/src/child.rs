//! Runs that are steps of others: what one of them is told because of an event of the other.
//!
//! A message follows from the applied event and the state after it, and from nothing else, so whoever sends
//! it again sends the same. It is a request or an outcome like any other: the receiving run judges it, and a
//! second copy changes nothing. How messages get there, and that progress waits for them, is the owner's.

use crate::{
    AttemptEnd, Place, Reason, RunState, RunStatus, StepState, StepStatus, Totals, Verdict,
};
use spine_schemas::{
    BatchItem, Body, Caller, Driver, ErrorClass, Event, Output, Payload, RunCreated, RunEvent,
    StepError, StepEvent, Usage, keys,
    mutants::{Mutant, planted},
    spec::RUN_TOOL,
    time::Micros,
};
use std::sync::Arc;

/// Who says so.
const ACTOR: &str = "spine";

/// What other runs are to be told because of an event and what the fold made of it. `run` is the state after
/// it.
pub fn messages(run: &RunState, event: &Event, verdict: &Verdict, place: Place) -> Vec<Event> {
    let bodies = match verdict {
        Verdict::Applied(_) => after(run, event, place),
        Verdict::Refused(Reason::RunExists, _) => not_created(run, event),
        // Whoever begins it once more does not know how it ended.
        Verdict::Stale(Reason::Duplicate, _) if begins(event) => outcome(run).into_iter().collect(),
        Verdict::Refused(..) | Verdict::Stale(..) | Verdict::Illegal(_) => Vec::new(),
    };
    let number = |(index, body)| message(run, place.offset, index, place.at, body);
    bodies.into_iter().enumerate().map(number).collect()
}

/// The same for all that an open run may have begun before somebody took it over: what was sent then may have
/// been lost with a store.
pub fn messages_again(run: &RunState) -> Vec<Event> {
    let again = children(run).flat_map(|step| {
        let lease = step.live.as_ref().map_or(0, |live| live.lease);
        let begin = created(run, step).map(|event| to_child(run, step, event));
        let asked = run.cancel.as_ref();
        let end = asked.map(|asked| cancel(run, &asked.reason, asked.compensate));
        let end = end.map(|event| to_child(run, step, event));
        let bodies = begin.into_iter().chain(end).enumerate();
        bodies.map(move |(index, body)| message(run, lease, index, run.last_at, body))
    });
    again.collect()
}

fn message(run: &RunState, offset: u64, index: usize, at: Micros, body: Body) -> Event {
    let id = keys::message_id(&run.key, offset, index);
    // A run is stored after every item of a batch, also where only that it came is news.
    let batch = match &body {
        Body::Run(_, RunEvent::Paused { .. } | RunEvent::Resumed { .. }) => {
            Some(BatchItem { id: id.clone(), index: 0 })
        }
        Body::Run(..) | Body::Step(..) | Body::Partition(_) => None,
    };
    Event { batch, ..Event::new(id, run.key.tenant.clone(), at, ACTOR, body) }
}

fn begins(event: &Event) -> bool {
    let Body::Run(_, RunEvent::Created(created)) = &event.body else { return false };
    created.caller.is_some()
}

fn after(run: &RunState, event: &Event, place: Place) -> Vec<Body> {
    match &event.body {
        Body::Run(_, body) => after_run(run, body, place),
        Body::Step(_, key, body) => match run.steps.get(key).filter(|step| step.is_child()) {
            Some(step) => after_step(run, step, body),
            None => Vec::new(),
        },
        Body::Partition(_) => Vec::new(),
    }
}

fn after_run(run: &RunState, body: &RunEvent, place: Place) -> Vec<Body> {
    let told = |step: &StepState, event: &RunEvent| to_child(run, step, event.clone());
    match body {
        RunEvent::Completed { .. } | RunEvent::Failed { .. } => outcome(run).into_iter().collect(),
        RunEvent::Cancelled { .. } => {
            let event = RunEvent::Cancelled { reason: of_parent(run, "ended") };
            let killed = run.steps.values().filter(|step| was_cut_off(run, step, place));
            killed.map(|step| told(step, &event)).chain(outcome(run)).collect()
        }
        RunEvent::CancelRequested { reason, compensate } => {
            if planted(Mutant::CancelSkipsChildren) {
                return Vec::new();
            }
            let event = cancel(run, reason, *compensate);
            children(run).map(|step| told(step, &event)).collect()
        }
        RunEvent::Paused { reason } => {
            let event =
                RunEvent::Paused { reason: of_parent(run, &format!("is paused: {reason}")) };
            children(run).map(|step| told(step, &event)).collect()
        }
        RunEvent::Resumed { reason } => {
            let event = RunEvent::Resumed { reason: of_parent(run, &format!("goes on: {reason}")) };
            let go_on = children(run).filter(|step| step.paused.is_none());
            go_on.map(|step| told(step, &event)).collect()
        }
        RunEvent::Created(_)
        | RunEvent::CompensationStarted { .. }
        | RunEvent::SignalReceived { .. }
        | RunEvent::Stalled { .. }
        | RunEvent::DecisionRecorded(_) => Vec::new(),
    }
}

/// What the run of a step is told because of an event of the step.
fn after_step(run: &RunState, step: &StepState, body: &StepEvent) -> Vec<Body> {
    let event = match body {
        StepEvent::Started(_) => created(run, step),
        StepEvent::Paused { reason } => {
            Some(RunEvent::Paused { reason: of_step(run, step, reason) })
        }
        StepEvent::Resumed { .. } if run.paused.is_some() => None,
        StepEvent::Resumed { reason } => {
            Some(RunEvent::Resumed { reason: of_step(run, step, reason) })
        }
        StepEvent::Scheduled(_)
        | StepEvent::Heartbeat { .. }
        | StepEvent::Completed { .. }
        | StepEvent::Failed { .. }
        | StepEvent::Lost { .. }
        | StepEvent::RetryScheduled { .. }
        | StepEvent::Deferred { .. }
        | StepEvent::Released { .. }
        | StepEvent::Unknown { .. }
        | StepEvent::Resolved(_)
        | StepEvent::Skipped { .. }
        | StepEvent::Cancelled { .. }
        | StepEvent::DeadLettered { .. }
        | StepEvent::Redriven { .. }
        | StepEvent::Discarded { .. }
        | StepEvent::FallbackStarted { .. }
        | StepEvent::TaskOpened { .. }
        | StepEvent::TaskDecided { .. }
        | StepEvent::TaskExpired { .. }
        | StepEvent::ApprovalRequested { .. }
        | StepEvent::WaitCreated { .. }
        | StepEvent::WaitExpired
        | StepEvent::Reused { .. }
        | StepEvent::Probed(_)
        | StepEvent::FaultInjected { .. } => None,
    };
    event.map(|event| to_child(run, step, event)).into_iter().collect()
}

/// How the run of a step begins.
fn created(run: &RunState, step: &StepState) -> Option<RunEvent> {
    let (plan, live) = (run.plan()?, step.live.as_ref()?);
    let child = plan.find(&step.key)?.1.child.as_deref()?;
    let caller = Caller {
        step: step.key.clone(),
        attempt: live.attempt,
        lease: live.lease,
        deadline: run.time_limit(),
    };
    Some(RunEvent::Created(Box::new(RunCreated {
        workflow: child.workflow.clone().unwrap_or_else(|| run.created.workflow.clone()),
        version: child.version.clone().unwrap_or_else(|| run.created.version.clone()),
        driver: Driver::Plan,
        input: step.spec.input.clone(),
        tags: run.created.tags.clone(),
        parent: Some(run.key.run_id.to_string()),
        plan: Some(child.plan.clone()),
        fork: None,
        caller: Some(Box::new(caller)),
    })))
}

/// The end of a run that is a step of another, as the end of that step's attempt.
fn outcome(run: &RunState) -> Option<Body> {
    let caller = run.created.caller.as_deref()?;
    let (attempt, lease) = (caller.attempt, Some(caller.lease));
    let usage = usage(run);
    let failed = |class, code: &str, what: &str| {
        let message = format!("run {} {what}{}", run.key.run_id, because(run));
        let error = StepError::new(class, code, message);
        StepEvent::Failed { attempt, lease, error, usage: usage.clone() }
    };
    let event = match run.status {
        RunStatus::Completed | RunStatus::Degraded => {
            let mut output = run.output.clone().unwrap_or_else(|| Output::of(Payload::null()));
            output.degraded |= run.status == RunStatus::Degraded;
            StepEvent::Completed { attempt, lease, output, usage: usage.clone() }
        }
        // It has spent the budgets of its own steps, so its parent does not begin all over by itself.
        RunStatus::Failed => failed(ErrorClass::Terminal, "child_failed", "failed"),
        RunStatus::Cancelled if run.steps.count(StepStatus::Unknown) > 0 => {
            let what = "was ended while nobody knew what its steps had done";
            failed(ErrorClass::UnknownOutcome, "child_killed", what)
        }
        RunStatus::Cancelled => failed(ErrorClass::Cancelled, "child_cancelled", "was cancelled"),
        RunStatus::Running => return None,
    };
    Some(to_parent(run, caller, event))
}

/// Another run has the id of the one that was to be begun.
fn not_created(run: &RunState, event: &Event) -> Vec<Body> {
    let Body::Run(_, RunEvent::Created(created)) = &event.body else { return Vec::new() };
    let (Some(caller), Some(parent)) = (created.caller.as_deref(), &created.parent) else {
        return Vec::new();
    };
    let message = format!("another run has the id {} already", run.key.run_id);
    let error = StepError::new(ErrorClass::Terminal, "child_exists", message);
    let (attempt, lease) = (caller.attempt, Some(caller.lease));
    let event = StepEvent::Failed { attempt, lease, error, usage: None };
    vec![Body::Step(parent.as_str().into(), caller.step.clone(), event)]
}

/// Steps that are runs, and run.
fn children(run: &RunState) -> impl Iterator<Item = &StepState> {
    let running = run.steps.count(StepStatus::Running) > 0;
    let steps = running.then(|| run.steps.unsettled()).into_iter().flatten();
    steps.map(|step| &**step).filter(|step| step.is_child())
}

/// Whether a step was a run that its own run did not wait for when it ended.
fn was_cut_off(run: &RunState, step: &StepState, place: Place) -> bool {
    let is_run = run.driver() == Driver::Plan && step.spec.tool == RUN_TOOL;
    let last = step.attempts.last().filter(|_| is_run);
    last.is_some_and(|last| {
        last.ended_at == Some(place.at) && matches!(last.end, AttemptEnd::Lost(_))
    })
}

fn to_child(run: &RunState, step: &StepState, event: RunEvent) -> Body {
    Body::Run(keys::child_run_id(&run.key, &step.key, step.attempt).into(), event)
}

fn to_parent(run: &RunState, caller: &Caller, event: StepEvent) -> Body {
    let parent: Arc<str> = run.created.parent.as_deref().unwrap_or_default().into();
    Body::Step(parent, caller.step.clone(), event)
}

fn of_parent(run: &RunState, what: &str) -> String {
    format!("run {} {what}", run.key.run_id)
}

fn cancel(run: &RunState, reason: &str, compensate: bool) -> RunEvent {
    let reason = of_parent(run, &format!("is being cancelled: {reason}"));
    RunEvent::CancelRequested { reason, compensate }
}

fn of_step(run: &RunState, step: &StepState, reason: &str) -> String {
    format!("step {} of run {}: {reason}", step.key, run.key.run_id)
}

fn because(run: &RunState) -> String {
    let step = run.failed_step.as_ref().map(|step| format!(" with step {step}"));
    let error = run.error.as_ref().map(|error| format!(" ({}: {})", error.code, error.message));
    format!("{}{}", step.unwrap_or_default(), error.unwrap_or_default())
}

/// What all its steps have cost, if anything.
fn usage(run: &RunState) -> Option<Usage> {
    let totals = run.totals;
    let nothing = Totals { attempts: totals.attempts, ..Totals::default() };
    // Sums may be more than an event can say.
    let within = |sum: u64| sum.min(i64::MAX as u64);
    (totals != nothing).then(|| Usage {
        provider: None,
        model: None,
        input_uncached: within(totals.input_uncached),
        cache_read: within(totals.cache_read),
        cache_write: within(totals.cache_write),
        output_text: within(totals.output_text),
        output_reasoning: within(totals.output_reasoning),
        cost_micros: within(totals.cost_micros),
        price_version: None,
    })
}
