//! Why a run is not finished and what happens next, in one sentence that is true.
//!
//! The words come from an exhaustive match over the waiting states, and beside them stands the set
//! of events one of which comes next; the simulator holds the log against it.

use crate::{
    Holder, RunState, RunStatus, StepState, StepStatus,
    brain::{self, Turn},
    retry, undo,
};
use spine_schemas::{Driver, HeldBy, OnExhausted, keys, spec::queue_of};

/// The answer to "why is this run not finished?".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// For people.
    pub sentence: String,
    /// Kinds of events one of which is the next to be applied to the run. Empty once it has ended
    /// and no letter of it is open.
    pub next: Vec<&'static str>,
}

/// Explains a run.
pub fn why(run: &RunState) -> Why {
    if let Some(sentence) = ended(run) {
        // A letter outlives its run: an operator may still close it.
        let open_letter = run.steps.unsettled().any(|step| step.letter.is_some());
        let next = if open_letter { vec!["step_discarded"] } else { Vec::new() };
        return Why { sentence, next };
    }
    let moves = |step: &&std::sync::Arc<StepState>| concerns(run, step);
    let unsettled = run.steps.unsettled().filter(moves);
    let mut reasons: Vec<(u8, &StepState)> =
        unsettled.filter_map(|step| Some((nearness(step)?, step.as_ref()))).collect();
    reasons.sort_by_key(|(nearness, _)| *nearness);
    let mut next: Vec<&'static str> = run_level_next(run).to_vec();
    if run.stalled.is_none() && run.paused.is_none() {
        next.push("run_stalled");
    }
    for step in run.steps.unsettled() {
        next.extend(step_next(run, step));
    }
    next.sort_unstable();
    next.dedup();
    let mut sentence = on_the_whole(run).unwrap_or_default();
    let Some((_, nearest)) = reasons.first() else {
        sentence.push_str(&idle(run));
        return Why { sentence, next };
    };
    sentence.push_str(&step_sentence(run, nearest));
    match reasons.len() - 1 {
        0 => {}
        1 => sentence.push_str(" (one other step is open, too)"),
        others => sentence.push_str(&format!(" ({others} other steps are open, too)")),
    }
    sentence.push('.');
    Why { sentence, next }
}

/// What a run waits for with a step that does not move, and who can move it.
pub(crate) fn stuck(run: &RunState, step: &StepState) -> String {
    let mut sentence = on_the_whole(run).unwrap_or_default();
    sentence.push_str(&step_sentence(run, step));
    sentence.push('.');
    sentence
}

/// Whether the run as a whole waits for a step. One that is about to end waits for what it cannot leave.
fn concerns(run: &RunState, step: &StepState) -> bool {
    let (running, unknown) =
        (step.status == StepStatus::Running, step.status == StepStatus::Unknown);
    if run.undo.is_some() {
        return running || unknown || undo::is_undo(run, &step.key);
    }
    match &run.cancel {
        Some(cancel) => running || (unknown && cancel.compensate),
        None if undo::waits_to_begin(run, step) => false,
        None => run.paused.is_none() || running,
    }
}

/// What holds for the run as a whole: a sentence that ends with a space.
fn on_the_whole(run: &RunState) -> Option<String> {
    let mut text = String::new();
    if let Some(stall) = &run.stalled {
        text = format!("The run is stalled: no event has moved it since {}. ", stall.since);
    }
    text.push_str(&ending(run));
    if let Some(deadline) = run.deadline() {
        text.push_str(&format!("The run fails unless it ends by {deadline}. "));
    }
    if let Some(turn) = brain::turn_of(run).filter(|_| !run.is_ending()) {
        text.push_str(&turn_sentence(run, &turn));
    }
    if let Some(paused) = &run.paused {
        text.push_str(&format!(
            "The run is paused since {} by {} ({}): 'spine runs resume {}' lets it go on. ",
            paused.at, paused.by, paused.reason, run.key.run_id
        ));
    }
    (!text.is_empty()).then_some(text)
}

/// How far the run has come with its brain: a sentence that ends with a space.
fn turn_sentence(run: &RunState, turn: &Turn<'_>) -> String {
    let Turn { tool, turn, max_turns } = *turn;
    let asks = run.plan().and_then(|plan| plan.next_ask());
    let asks_now = asks.is_some_and(|ask| run.steps.contains_key(&ask.key));
    match (turn, asks) {
        (0, _) => {
            format!("The brain {tool} is asked for more steps when those before have ended. ")
        }
        (_, Some(ask)) if asks_now => format!(
            "Turn {turn} of at most {max_turns}: step {} asks the brain {tool} what comes next. ",
            ask.key
        ),
        (_, Some(_)) => format!(
            "Turn {turn} of at most {max_turns}: the brain {tool} is asked again when the steps that it gave \
             have ended. "
        ),
        (_, None) => format!("The brain {tool} has ended the run at turn {turn}. "),
    }
}

/// How the run is about to end, as a sentence that ends with a space; empty if it is not.
fn ending(run: &RunState) -> String {
    let mut text = String::new();
    match (&run.undo, &run.cancel) {
        (_, Some(cancel)) => {
            text = format!("The run is being cancelled ({}). ", cancel.reason);
            if run.undo.is_some() {
                text.push_str("What it has done is undone first. ");
            }
        }
        (Some(undo), None) => {
            let with = undo.step.as_ref().map(|step| format!(" with step {step}"));
            text = format!(
                "The run failed{} ({}: {}), and what it has done is being undone. ",
                with.unwrap_or_default(),
                undo.error.code,
                undo.error.message
            );
        }
        (None, None) => {
            let failed = run.steps.unsettled().find(|step| undo::waits_to_begin(run, step));
            if let Some(step) = failed {
                let (key, error) = (&step.key, last_error(step));
                text = format!(
                    "The run failed with step {key} ({error}), and what it has done is undone as soon as it \
                     is known what that is. "
                );
            }
        }
    }
    text
}

fn ended(run: &RunState) -> Option<String> {
    let at = run.ended_at.map(|at| at.to_string()).unwrap_or_default();
    let reason = run.error.as_ref().map(|error| format!("{}: {}", error.code, error.message));
    let reason = reason.unwrap_or_else(|| "no reason was given".into());
    match run.status {
        RunStatus::Running => None,
        RunStatus::Completed => Some(format!("The run completed at {at}.")),
        RunStatus::Degraded => {
            Some(format!("The run completed at {at}, with something left out or degraded."))
        }
        RunStatus::Failed => Some(match &run.failed_step {
            Some(step) => {
                format!("The run failed at {at} with step {step} ({reason}).{}", undone(run))
            }
            None => format!("The run failed at {at} ({reason}).{}", undone(run)),
        }),
        RunStatus::Cancelled => {
            Some(format!("The run was cancelled at {at} ({reason}).{}", undone(run)))
        }
    }
}

/// What became of what the run had done: a sentence that begins with a space, if it was undone.
fn undone(run: &RunState) -> String {
    if run.undo.is_none() {
        return String::new();
    }
    let undos = run.steps.values().filter(|step| undo::is_undo(run, &step.key));
    let (done, left): (Vec<_>, Vec<_>) =
        undos.partition(|step| step.status == StepStatus::Completed);
    if !matches!(undo::next(run), undo::Next::Done) {
        return format!(" Of what it had done {} steps were undone, and not all.", done.len());
    }
    match (done.len(), left.len()) {
        (0, 0) => " Nothing of it had to be undone.".into(),
        (_, 0) => " What it had done was undone.".into(),
        (done, left) => {
            format!(" Of what it had done {done} steps were undone and {left} were not.")
        }
    }
}

/// Which open step is likely to move first; `None` for steps that have ended.
fn nearness(step: &StepState) -> Option<u8> {
    match step.status {
        StepStatus::Running => Some(0),
        StepStatus::Scheduled => Some(1),
        StepStatus::Failed => Some(2),
        StepStatus::RetryWaiting => Some(3),
        StepStatus::Deferred => Some(4),
        StepStatus::Unknown => Some(5),
        StepStatus::DeadLettered => Some(6),
        StepStatus::Awaiting => Some(7),
        StepStatus::Completed | StepStatus::Skipped | StepStatus::Cancelled => None,
    }
}

fn idle(run: &RunState) -> String {
    if run.paused.is_some() {
        return "No attempt runs.".into();
    }
    if run.undo.is_some() {
        return "The owner undoes the next step or ends the run now.".into();
    }
    if run.cancel.is_some() {
        return "No attempt runs: the owner ends it now.".into();
    }
    if let Some(fork) = run.created.fork.as_ref().filter(|_| run.takes_over()) {
        return format!(
            "{} of the {} finished steps that it takes over from run {} are here: whoever forked it must do so \
             again, with the same run id and content, or cancel it.",
            run.steps.len(),
            fork.reused,
            fork.run_id
        );
    }
    match run.driver() {
        Driver::Plan => "No step is open: the owner will schedule the next ones or end the run now.",
        Driver::Journal => {
            "No step is open: the agent that drives the run must begin its next step or end the run."
        }
        Driver::Record => "No step is open: the system that reports the run has not reported its end.",
    }
    .into()
}

fn step_sentence(run: &RunState, step: &StepState) -> String {
    let key = &step.key;
    let stuck = matches!(step.status, StepStatus::Unknown | StepStatus::DeadLettered);
    if let Some(paused) = step.paused.as_ref().filter(|_| step.live.is_none() && !stuck) {
        return format!(
            "Step {key} is paused since {} by {} ({}): 'spine steps resume {} {key}' lets it go on",
            paused.at, paused.by, paused.reason, run.key.run_id
        );
    }
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
        StepStatus::DeadLettered => {
            let letter = step.letter.as_ref().map(|letter| letter.letter_id.to_string());
            let letter = letter.unwrap_or_default();
            format!(
                "Step {key} used up its attempts with {}: repair the cause, then run \
                 'spine dead-letters redrive {letter} --reason …', or 'discard'",
                last_error(step)
            )
        }
        StepStatus::Completed | StepStatus::Skipped | StepStatus::Cancelled => {
            format!("Step {key} has ended")
        }
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
    let run_id = &run.key.run_id;
    text.push_str(&format!(
        "find out, then run 'spine steps resolve {run_id} {key} --happened' or '--not'"
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
                "Step {key} waits for the signal {name} until {}: 'spine runs signal {} {name}' sends it",
                wait.until, run.key.run_id
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
            "Step {key} used up its attempts with {}, and somebody is asked what to do since {}: \
             'spine tasks decide {} --retry --reason …', or '--complete', '--skip', '--fail'",
            last_error(step),
            task.at,
            task.task_id
        ),
        None => format!(
            "Step {key} used up its attempts with {}, and its fallback takes over: the owner \
             schedules the next step of that, or ends this one, now",
            last_error(step)
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
                "Step {key} is a run of its own since {since}, and ends with it: 'spine runs why {child}' says what \
                 that waits for"
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

fn last_error(step: &StepState) -> String {
    match &step.error {
        Some(error) => format!("{} ({})", error.code, error.class),
        None => "an unnamed error".into(),
    }
}

fn run_level_next(run: &RunState) -> &'static [&'static str] {
    if run.takes_over() {
        return &[
            "step_reused",
            "decision_recorded",
            "run_failed",
            "run_cancelled",
            "cancel_requested",
            "compensation_started",
            "run_paused",
            "run_resumed",
            "signal_received",
        ];
    }
    match run.driver() {
        Driver::Plan => &[
            "decision_recorded",
            "step_scheduled",
            "run_completed",
            "run_failed",
            "run_cancelled",
            "cancel_requested",
            "compensation_started",
            "run_paused",
            "run_resumed",
            "signal_received",
        ],
        Driver::Journal => &[
            "decision_recorded",
            "step_started",
            "run_completed",
            "run_failed",
            "run_cancelled",
            "cancel_requested",
            "run_paused",
            "run_resumed",
            "signal_received",
            "wait_created",
        ],
        Driver::Record => &[
            "decision_recorded",
            "step_scheduled",
            "step_started",
            "run_completed",
            "run_failed",
            "run_cancelled",
        ],
    }
}

/// The events that an open step waits for.
fn step_next(run: &RunState, step: &StepState) -> Vec<&'static str> {
    let is_plan = run.driver() == Driver::Plan;
    let exhausted = match step.spec.on_exhausted {
        _ if step.given_up && run.driver() != Driver::Journal => "run_failed",
        OnExhausted::Fail if run.driver() != Driver::Journal => "run_failed",
        OnExhausted::Skip if is_plan => "step_skipped",
        OnExhausted::Fallback if is_plan => "fallback_started",
        OnExhausted::Compensate if is_plan => "compensation_started",
        OnExhausted::Escalate => "task_opened",
        OnExhausted::DeadLetter
        | OnExhausted::Fail
        | OnExhausted::Skip
        | OnExhausted::Fallback
        | OnExhausted::Compensate => "step_dead_lettered",
    };
    let mut next = match step.status {
        StepStatus::Running => {
            vec!["step_completed", "step_failed", "step_heartbeat", "step_lost", "step_released"]
        }
        StepStatus::Scheduled | StepStatus::RetryWaiting | StepStatus::Deferred => vec![
            "step_started",
            "step_deferred",
            "wait_created",
            "approval_requested",
            "step_cancelled",
            exhausted,
        ],
        StepStatus::Unknown => vec!["step_resolved", "step_probed", "step_released"],
        StepStatus::Failed => {
            vec!["step_retry_scheduled", "step_deferred", "step_cancelled", exhausted]
        }
        StepStatus::DeadLettered => vec!["step_redriven", "step_discarded", "task_opened"],
        StepStatus::Awaiting => {
            vec!["step_skipped", "step_cancelled", "wait_expired", "task_expired"]
        }
        StepStatus::Completed | StepStatus::Skipped | StepStatus::Cancelled => vec![],
    };
    if step.status.may_start() && step.spec.memo_ms.is_some() {
        next.push("step_reused");
    }
    if step.task.is_some() {
        next.push("task_decided");
    }
    // An attempt that is over can still report how it ended, and one that runs may be made to fail.
    if step.attempt > 0 && !step.status.is_terminal() {
        next.extend(["step_completed", "step_failed"]);
    }
    if step.status == StepStatus::Running {
        next.push("fault_injected");
    }
    match run.driver() {
        Driver::Record => next.extend(["step_skipped", "step_cancelled", "step_unknown"]),
        Driver::Plan | Driver::Journal => {
            next.extend(["step_unknown", "step_paused", "step_resumed"]);
        }
    }
    next
}
