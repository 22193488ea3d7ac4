//! What a step waits for, and what somebody can do about it.

use crate::{Holder, Pause, RunState, StepState, StepStatus, WaitKind, fallback, input, retry};
use spine_schemas::{Driver, HeldBy, OnExhausted, keys, spec::queue_of};

/// The tenant that commands mean where none is given.
const DEFAULT_TENANT: &str = "default";

/// What a step waits for, without a full stop.
pub(super) fn sentence(run: &RunState, step: &StepState) -> String {
    let text = held(run, step);
    match fallback::replaced(run, step) {
        Some(replaced) => format!("{text}; it stands in for step {}", replaced.key),
        None => text,
    }
}

fn held(run: &RunState, step: &StepState) -> String {
    let Some(paused) = &step.paused else { return unpaused(run, step) };
    let Pause { at, by, reason } = &**paused;
    let resume = format!("'spine steps resume {} {}{}'", run.key.run_id, step.key, of_tenant(run));
    if run.wait_of(step).is_some_and(|(wait_for, _)| wait_for == WaitKind::Paused) {
        return format!(
            "Step {} is paused since {at} by {by} ({reason}): {resume} lets it go on",
            step.key
        );
    }
    // What a person must say can be said meanwhile.
    let waits = unpaused(run, step);
    format!("{waits}; it is paused by {by} ({reason}), too, and begins nothing before {resume}")
}

fn unpaused(run: &RunState, step: &StepState) -> String {
    let key = &step.key;
    match step.status {
        StepStatus::Scheduled if run.waits_for_worker(step) => unasked(step),
        StepStatus::Scheduled => match run.driver() {
            Driver::Plan => format!(
                "Step {key} may start: the owner starts attempt {} as soon as a slot is free",
                step.attempt + 1
            ),
            Driver::Journal => format!("Step {key} may start: the agent must begin it"),
            Driver::Record => format!("Step {key} is scheduled: its start has not been reported"),
        },
        StepStatus::Running => running(run, step),
        StepStatus::RetryWaiting => format!(
            "Step {key} failed with {}; {} at {}",
            last_error(step),
            again(run, step),
            due(step)
        ),
        StepStatus::Deferred => deferred(run, step),
        StepStatus::Unknown => unknown(run, step),
        StepStatus::Failed if step.given_up => match run.driver() {
            Driver::Plan => format!("Step {key} was given up: the run fails when no attempt runs"),
            Driver::Journal => format!("Step {key} was given up: the agent must end the run"),
            Driver::Record => format!("Step {key} failed and the end of the run was not reported"),
        },
        StepStatus::Failed => match run.driver() {
            Driver::Plan | Driver::Journal => format!(
                "Step {key} failed with {}: the owner is about to decide what follows",
                last_error(step)
            ),
            Driver::Record => format!(
                "Step {key} failed with {}: its next attempt has not been reported",
                last_error(step)
            ),
        },
        StepStatus::Awaiting => awaiting(run, step),
        StepStatus::DeadLettered => dead_lettered(run, step),
        StepStatus::Completed | StepStatus::Skipped | StepStatus::Cancelled => {
            format!("Step {key} has ended")
        }
    }
}

/// The run as an argument of a command.
pub(super) fn named(run: &RunState) -> String {
    format!("{}{}", run.key.run_id, of_tenant(run))
}

/// What a command needs besides, where the run is not the default tenant's.
fn of_tenant(run: &RunState) -> String {
    match &*run.key.tenant {
        DEFAULT_TENANT => String::new(),
        tenant => format!(" --tenant {tenant}"),
    }
}

/// Why a step gets no other attempt by itself. Only some have used up what they had.
fn exhausted(step: &StepState) -> String {
    let error = last_error(step);
    if step.charged >= step.spec.retry.max_attempts {
        return format!("used up its attempts with {error}");
    }
    format!("is not tried again after {error}")
}

fn dead_lettered(run: &RunState, step: &StepState) -> String {
    let letter = step.letter.as_ref().map(|letter| letter.letter_id.to_string());
    let (letter, exhausted) = (letter.unwrap_or_default(), exhausted(step));
    let may_act_twice = step.attempt > 0 && step.spec.effect.is_careful();
    let (flag, because) = if input::is_template(run, step) {
        ("--input FILE ", " (what its own input refers to is not there)")
    } else if may_act_twice {
        ("--force ", " (its effect may take place twice)")
    } else {
        ("", "")
    };
    let redrive = format!("'spine dead-letters redrive {letter} {flag}--reason …'{because}");
    match &step.task {
        // Only what undoes has both.
        Some(task) => format!(
            "Step {} {exhausted}, and the rest is undone after it: repair the cause, then run {redrive}, or \
             'spine tasks decide {} --complete --reason …' if it was undone by hand, or '--skip'. \
             'spine runs kill {}' ends the run as it is",
            step.key,
            task.task_id,
            named(run)
        ),
        None => format!(
            "Step {} {exhausted}: repair the cause, then run {redrive}, or 'discard'",
            step.key
        ),
    }
}

fn deferred(run: &RunState, step: &StepState) -> String {
    let key = &step.key;
    let Some(held) = step.held_back() else {
        return format!(
            "Step {key} was put off free of charge after {}; {} at {}",
            last_error(step),
            again(run, step),
            due(step)
        );
    };
    let (tool, since, until) = (&step.spec.tool, held.at, held.until);
    let instead = retry::patience_until(step);
    match held.by {
        HeldBy::Breaker if instead.is_some() => format!(
            "Step {key} is held back since {since}, and spends no attempt: the circuit breaker of {tool} is \
             open. If it has not started by {}, its {} stands in",
            instead.unwrap_or(until),
            if step.spec.on_exhausted == OnExhausted::Skip { "default" } else { "fallback" }
        ),
        HeldBy::Breaker => format!(
            "Step {key} is held back since {since}, and spends no attempt: the circuit breaker of {tool} is \
             open, or lets only a few calls through. It starts after calls of the tool have succeeded, at {until} \
             at the earliest; 'spine tools list' shows the breaker"
        ),
        HeldBy::RateLimit => format!(
            "Step {key} is held back since {since}, and spends no attempt: {tool} asked for a pause. Calls begin \
             again a few at a time, this one at {until} at the earliest"
        ),
        HeldBy::ToolPaused => format!(
            "Step {key} is held back since {since}: somebody paused {tool}, or opened its breaker. 'spine tools \
             resume {tool} --reason …' lets it go on, or 'spine tools breaker {tool} auto --reason …'"
        ),
        HeldBy::TenantPaused => format!(
            "Step {key} is held back since {since}: somebody paused tenant {tenant}. 'spine tenants resume \
             {tenant} --reason …' lets it go on",
            tenant = run.key.tenant
        ),
        HeldBy::Worker => unasked(step),
    }
}

fn unknown(run: &RunState, step: &StepState) -> String {
    let (key, attempt, error) = (&step.key, step.attempt, last_error(step));
    let mut text =
        format!("Attempt {attempt} of step {key} may or may not have taken effect ({error}): ");
    let tool = step.spec.probe.as_ref().map_or("", |probe| &probe.tool);
    match (step.next_probe().filter(|_| run.paused.is_none()), &step.probe) {
        (Some(_), None) => text.push_str(&format!("{tool} is asked now. You may ")),
        (Some(due), Some(probing)) => text.push_str(&format!(
            "{tool} is asked again at {due}, for the {} time ({}). You may ",
            ordinal(probing.asked + 1),
            probing.answer
        )),
        (None, Some(probing)) => {
            text.push_str(&format!("{tool} cannot tell ({}). You must ", probing.answer));
        }
        (None, None) => {}
    }
    let (run_id, tenant) = (&run.key.run_id, of_tenant(run));
    text.push_str(&format!(
        "find out, then run 'spine steps resolve {run_id} {key}{tenant} --happened --reason …', or '--not'"
    ));
    text
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        (..) => "th",
    };
    format!("{number}{ending}")
}

/// A step that waits in a queue.
fn unasked(step: &StepState) -> String {
    let queue = queue_of(&step.spec.tool).unwrap_or_default();
    format!(
        "Step {} waits in the queue {queue}: no worker has asked for it yet. It begins as soon as one does \
         ('POST /v1/queues/{queue}/lease'): see that one runs",
        step.key
    )
}

fn awaiting(run: &RunState, step: &StepState) -> String {
    let key = &step.key;
    if let Some(wait) = &step.wait {
        return match &wait.signal {
            Some(name) => format!(
                "Step {key} waits for the signal {name} until {}: 'spine runs signal {} {name}{}' sends it",
                wait.until,
                run.key.run_id,
                of_tenant(run)
            ),
            None => format!("Step {key} sleeps until {}", wait.until),
        };
    }
    match &step.task {
        Some(task) if task.call.is_some() => format!(
            "Step {key} may call {} only if {} of it until {}{}: 'spine tasks decide {} \
             --approve --reason …', or '--deny'",
            step.spec.tool,
            match step.spec.quorum {
                Some(needed) => format!("{needed} people approve"),
                None => "somebody approves".into(),
            },
            task.until.map(|until| until.to_string()).unwrap_or_default(),
            approved_so_far(step.spec.quorum.unwrap_or(1), &task.approvers)
                .map(|so_far| format!("; {so_far}"))
                .unwrap_or_default(),
            task.task_id
        ),
        Some(task) => format!(
            "Step {key} {}, and somebody is asked what to do since {}: \
             'spine tasks decide {} --retry --reason …', or '--complete', '--skip', '--fail'",
            exhausted(step),
            task.at,
            task.task_id
        ),
        None => format!(
            "Step {key} {}, and its fallback takes over: the owner schedules the next step of that, or \
             ends this one, now",
            exhausted(step)
        ),
    }
}

/// Who has approved of a call so far, and who must not again; `None` where nobody has.
pub fn approved_so_far(needed: u32, by: &[String]) -> Option<String> {
    let (given, names, not) = (by.len() as u32, by.join(", "), by.join(" or "));
    let missing = match needed.saturating_sub(given) {
        1 => "one".to_owned(),
        missing => missing.to_string(),
    };
    let text = format!("approved by {given} of {needed}: {names}; needs {missing} more, not {not}");
    (!by.is_empty()).then_some(text)
}

fn running(run: &RunState, step: &StepState) -> String {
    let until = step.lease_until().map(|until| until.to_string()).unwrap_or_default();
    let since = step.live.as_ref().map(|live| live.started_at.to_string()).unwrap_or_default();
    let (key, attempt) = (&step.key, step.attempt);
    match step.live.as_ref().map(|live| &live.holder) {
        Some(Holder::Session(session)) => format!(
            "Attempt {attempt} of step {key} is held by session {session} since {since}; without \
             a heartbeat its lease ends at {until}"
        ),
        Some(Holder::Worker(worker)) => format!(
            "Attempt {attempt} of step {key} is held by worker {worker} since {since}; without a heartbeat, \
             or at the end of its time, it is over at {until}"
        ),
        Some(Holder::Child) => {
            let child = keys::child_run_id(&run.key, key, attempt);
            format!(
                "Step {key} is a run of its own since {since}, and ends with it: 'spine runs why {child}{}' says \
                 what that waits for",
                of_tenant(run)
            )
        }
        Some(Holder::Outside) => {
            format!("Attempt {attempt} of step {key} was reported as started at {since}")
        }
        Some(Holder::Owner(_)) | None => format!(
            "Attempt {attempt} of step {key} runs since {since} and ends by {until} at the latest"
        ),
    }
}

fn again(run: &RunState, step: &StepState) -> String {
    let attempt = step.attempt + 1;
    match run.driver() {
        Driver::Plan if queue_of(&step.spec.tool).is_some() => {
            format!("a worker gets attempt {attempt} if it asks")
        }
        Driver::Plan => format!("attempt {attempt} starts"),
        Driver::Journal => format!("the agent may begin attempt {attempt}"),
        Driver::Record => format!("attempt {attempt} is expected"),
    }
}

fn due(step: &StepState) -> String {
    step.due_at.map(|due| due.to_string()).unwrap_or_default()
}

pub(super) fn last_error(step: &StepState) -> String {
    match &step.error {
        Some(error) => format!("{} ({})", error.code, error.class),
        None => "an unnamed error".into(),
    }
}
