//! What is cut rather than refused: an outcome is never lost for its size, since its step has run.

use crate::{Body, Event, Output, RunEvent, StepError, StepEvent, limits};

/// Stands at the end of a text that was cut.
const MARK: &str = " [cut]";

impl Event {
    /// The same event, within the limits where the limits may cut: outputs over
    /// [`limits::PAYLOAD_BYTES`] are omitted, messages and reasons over [`limits::MESSAGE_BYTES`] are
    /// cut and marked. Inputs are left as they are; `check` refuses them.
    #[must_use]
    pub fn fit(mut self) -> Self {
        match &mut self.body {
            Body::Run(_, event) => fit_run_event(event),
            Body::Step(_, _, event) => fit_step_event(event),
            Body::Partition(_) => {}
        }
        self
    }
}

fn fit_run_event(event: &mut RunEvent) {
    match event {
        RunEvent::Completed { output: Some(output) } => fit_output(output),
        RunEvent::Failed { error, step: _ } | RunEvent::CompensationStarted { error, step: _ } => {
            fit_error(error);
        }
        RunEvent::Cancelled { reason }
        | RunEvent::CancelRequested { reason, compensate: _ }
        | RunEvent::Paused { reason }
        | RunEvent::Resumed { reason }
        | RunEvent::Stalled { reason, .. } => cut(reason, limits::MESSAGE_BYTES),
        RunEvent::Created(_)
        | RunEvent::Completed { output: None }
        | RunEvent::SignalReceived { .. }
        | RunEvent::DecisionRecorded(_) => {}
    }
}

fn fit_step_event(event: &mut StepEvent) {
    match event {
        StepEvent::Completed { output, .. } => fit_output(output),
        StepEvent::Failed { error, .. }
        | StepEvent::DeadLettered { error, .. }
        | StepEvent::FallbackStarted { error, .. }
        | StepEvent::TaskOpened { error, .. }
        | StepEvent::Released { error: Some(error), .. } => fit_error(error),
        StepEvent::Resolved(resolution) => {
            cut(&mut resolution.reason, limits::MESSAGE_BYTES);
            resolution.output.iter_mut().for_each(fit_output);
        }
        StepEvent::Probed(finding) => {
            cut(&mut finding.reason, limits::MESSAGE_BYTES);
            finding.output.iter_mut().for_each(fit_output);
        }
        StepEvent::Skipped { reason, output } | StepEvent::TaskDecided { reason, output, .. } => {
            cut(reason, limits::MESSAGE_BYTES);
            output.iter_mut().for_each(fit_output);
        }
        StepEvent::Lost { reason, .. }
        | StepEvent::Unknown { reason, .. }
        | StepEvent::Cancelled { reason }
        | StepEvent::Paused { reason }
        | StepEvent::Resumed { reason }
        | StepEvent::Redriven { reason, .. }
        | StepEvent::Discarded { reason, .. } => cut(reason, limits::MESSAGE_BYTES),
        StepEvent::Scheduled(_)
        | StepEvent::Started(_)
        | StepEvent::Heartbeat { .. }
        | StepEvent::RetryScheduled { .. }
        | StepEvent::Deferred { .. }
        | StepEvent::Released { error: None, .. }
        | StepEvent::TaskExpired { .. }
        | StepEvent::Reused { .. }
        | StepEvent::ApprovalRequested { .. }
        | StepEvent::WaitCreated { .. }
        | StepEvent::WaitExpired
        | StepEvent::FaultInjected { .. } => {}
    }
}

fn fit_output(output: &mut Output) {
    output.payload.omit_large();
}

fn fit_error(error: &mut StepError) {
    cut(&mut error.code, limits::NAME_BYTES);
    cut(&mut error.message, limits::MESSAGE_BYTES);
}

/// Cuts a text to at most `limit` bytes, at the end of a character, and marks it.
pub(crate) fn cut(text: &mut String, limit: usize) {
    if text.len() <= limit {
        return;
    }
    text.truncate(text.floor_char_boundary(limit - MARK.len()));
    text.push_str(MARK);
}
