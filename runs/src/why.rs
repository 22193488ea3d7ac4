//! Why a run is not finished and what happens next, in one sentence that is true.
//!
//! The words come from an exhaustive match over the waiting states, and beside them stands the set
//! of events one of which comes next; the simulator holds the log against it. Here is what concerns the run
//! as a whole.

mod next;
mod step;

pub use step::approved_so_far;

use crate::{
    RunState, RunStatus, StepState, StepStatus,
    brain::{self, Turn},
    undo,
};
use spine_schemas::Driver;

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
    let mut next: Vec<&'static str> = next::of_run(run).to_vec();
    if run.stalled.is_none() && run.paused.is_none() {
        next.push("run_stalled");
    }
    if run.plan().is_some_and(|plan| brain::to_leave_out(run, plan).next().is_some()) {
        next.push("step_skipped");
    }
    for step in run.steps.unsettled() {
        next.extend(next::of_step(run, step));
    }
    next.sort_unstable();
    next.dedup();
    let mut sentence = on_the_whole(run).unwrap_or_default();
    let Some((_, nearest)) = reasons.first() else {
        sentence.push_str(&idle(run));
        return Why { sentence, next };
    };
    sentence.push_str(&step::sentence(run, nearest));
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
    sentence.push_str(&step::sentence(run, step));
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
            paused.at,
            paused.by,
            paused.reason,
            step::named(run)
        ));
    }
    (!text.is_empty()).then_some(text)
}

/// How far the run has come with its brain: a sentence that ends with a space.
fn turn_sentence(run: &RunState, turn: &Turn<'_>) -> String {
    let Turn { tool, turn, max_turns } = *turn;
    let asks = run.plan().and_then(|plan| plan.next_ask());
    let asked = asks.and_then(|ask| run.steps.get(&ask.key));
    match (turn, asks) {
        (0, _) => {
            format!("The brain {tool} is asked for more steps when those before have ended. ")
        }
        (_, Some(_)) if asked.is_some_and(|ask| ask.status.is_terminal()) => format!(
            "Turn {turn} was left out, so the brain {tool} is not asked any more: what is listed is done as it is. "
        ),
        (_, Some(ask)) if asked.is_some() => format!(
            "Turn {turn} of at most {max_turns}: step {} asks the brain {tool} what comes next. ",
            ask.key
        ),
        (_, Some(ask)) => format!(
            "Turn {turn} of at most {max_turns}: the brain {tool} is asked again when {} have ended. ",
            if brain::asks_behind_others(run, ask) {
                "the steps before that"
            } else {
                "the steps that it gave"
            }
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
                let (key, error) = (&step.key, step::last_error(step));
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
        return format!(
            " Of what it had done {} undone, and there was more to undo.",
            counted(done.len())
        );
    }
    match (done.len(), left.len()) {
        (0, 0) => " Nothing of it had to be undone.".into(),
        (_, 0) => " What it had done was undone.".into(),
        (done, left) => {
            format!(" Of what it had done {} undone, and {} not.", counted(done), counted(left))
        }
    }
}

fn counted(steps: usize) -> String {
    match steps {
        0 => "no step was".into(),
        1 => "one step was".into(),
        steps => format!("{steps} steps were"),
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
             again, with the same content and '--run-id {}', or 'spine runs cancel {}' ends it.",
            run.steps.len(),
            fork.reused,
            fork.run_id,
            run.key.run_id,
            step::named(run)
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
