//! Which events may come next in an open run; the simulator holds the log against them.

use crate::{RunState, StepState, StepStatus};
use spine_schemas::{Driver, OnExhausted};

/// The events that concern the run as a whole.
pub(super) fn of_run(run: &RunState) -> &'static [&'static str] {
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
pub(super) fn of_step(run: &RunState, step: &StepState) -> Vec<&'static str> {
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
