//! How large an event will be, near enough to end a batch in time.

use spine_schemas::{Body, Payload, RunEvent, StepError, StepEvent, StepSpec};

/// Bytes of an event beside its payload and texts, with the names and ids in it.
const ENVELOPE_BYTES: usize = 1024;

/// Bytes of an event with this body, about. Exact in what can be large: payloads, errors, reasons.
pub(crate) fn of(body: &Body) -> usize {
    let rest = match body {
        Body::Run(_, event) => of_run_event(event),
        Body::Step(_, _, event) => of_step_event(event),
        Body::Partition(_) => 0,
    };
    ENVELOPE_BYTES + rest
}

fn of_run_event(event: &RunEvent) -> usize {
    match event {
        RunEvent::Created(created) => {
            let plan = created.plan.as_ref().map_or(0, |plan| plan.source.len());
            of_payload(&created.input) + plan
        }
        RunEvent::Completed { output } => {
            output.as_ref().map_or(0, |output| of_payload(&output.payload))
        }
        RunEvent::Failed { error, step: _ } | RunEvent::CompensationStarted { error, step: _ } => {
            of_error(error)
        }
        RunEvent::SignalReceived { name, data } => name.len() + of_payload(data),
        RunEvent::Cancelled { reason }
        | RunEvent::CancelRequested { reason, compensate: _ }
        | RunEvent::Paused { reason }
        | RunEvent::Resumed { reason }
        | RunEvent::Stalled { reason, step: _, moved: _ } => reason.len(),
        RunEvent::DecisionRecorded(decision) => {
            let texts = [&decision.decision, &decision.request, &decision.reasoning];
            let texts = texts.map(String::len).iter().sum::<usize>() + decision.action.len();
            let payloads = [&decision.params, &decision.result];
            texts + payloads.into_iter().flatten().map(of_payload).sum::<usize>()
        }
    }
}

fn of_step_event(event: &StepEvent) -> usize {
    match event {
        StepEvent::Scheduled(spec) => of_spec(spec),
        StepEvent::Started(started) => started.spec.as_deref().map_or(0, of_spec),
        StepEvent::Completed { output, .. } => of_payload(&output.payload),
        StepEvent::Failed { error, .. }
        | StepEvent::DeadLettered { error, .. }
        | StepEvent::FallbackStarted { error, .. }
        | StepEvent::TaskOpened { error, .. } => of_error(error),
        StepEvent::Released { error, .. } => error.as_ref().map_or(0, of_error),
        StepEvent::Skipped { reason, output } | StepEvent::TaskDecided { reason, output, .. } => {
            reason.len() + output.as_ref().map_or(0, |output| of_payload(&output.payload))
        }
        StepEvent::Lost { reason, .. }
        | StepEvent::Unknown { reason, .. }
        | StepEvent::Cancelled { reason }
        | StepEvent::Paused { reason }
        | StepEvent::Resumed { reason }
        | StepEvent::Discarded { reason, .. } => reason.len(),
        StepEvent::Resolved(resolution) => {
            let output = resolution.output.as_ref().map_or(0, |output| of_payload(&output.payload));
            resolution.reason.len() + output
        }
        StepEvent::Reused { spec, output, skipped: _, edited: _ } => {
            of_spec(spec) + output.as_ref().map_or(0, |output| of_payload(&output.payload))
        }
        StepEvent::Probed(finding) => {
            let output = finding.output.as_ref().map_or(0, |output| of_payload(&output.payload));
            finding.reason.len() + output
        }
        StepEvent::Redriven { reason, edit, .. } => {
            reason.len() + edit.as_ref().map_or(0, |edit| of_payload(&edit.after))
        }
        StepEvent::Heartbeat { .. }
        | StepEvent::RetryScheduled { .. }
        | StepEvent::Deferred { .. }
        | StepEvent::TaskExpired { .. }
        | StepEvent::ApprovalRequested { .. }
        | StepEvent::WaitExpired
        | StepEvent::FaultInjected { .. } => 0,
        StepEvent::WaitCreated { signal, spec, .. } => {
            signal.as_ref().map_or(0, String::len) + spec.as_deref().map_or(0, of_spec)
        }
    }
}

fn of_spec(spec: &StepSpec) -> usize {
    spec.tool.len() + 4 * spec.not_applied.len() + of_payload(&spec.input)
}

fn of_payload(payload: &Payload) -> usize {
    payload.content_type.len() + payload.data.len()
}

fn of_error(error: &StepError) -> usize {
    error.code.len() + error.message.len()
}
